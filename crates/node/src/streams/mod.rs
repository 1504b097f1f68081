//! Streams: TCP connections that carry whole frames, one small task each.
//!
//! The driver never waits for a stream. What it sends goes into a bounded
//! queue, and a stream whose queue is full is broken; what a stream received
//! waits in a bounded channel until the driver takes it, which stops its
//! reading and, in the end, the other side.

mod admission;
mod connection;
mod frame;
mod secure;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dui_core::{EndOfStream, Refusal, Stranger, StreamId};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use admission::Admission;
pub(crate) use connection::{carry, connect};
use frame::FRAME_BYTES_MAX;
pub(crate) use secure::{Sealing, Security};

use crate::calls::{Door, is_hello};

/// Frames that wait for a slow peer; one more breaks the stream.
const QUEUE_FRAMES_MAX: usize = 64;

/// Events of all streams that wait for a busy driver.
const EVENTS_MAX: usize = 64;

/// How long no connection is accepted after the system had none to give.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What a stream tells the driver.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StreamEvent {
    /// A whole frame, without its length.
    Frame(StreamId, Vec<u8>),
    /// The other side is not one of us; the end follows.
    Refused(StreamId, Refusal, Option<Stranger>),
    /// Nothing more will come.
    Ended(StreamId, EndOfStream),
}

/// All streams of a node.
#[derive(Debug)]
pub(crate) struct Streams {
    open: HashMap<StreamId, Open>,
    events: mpsc::Sender<StreamEvent>,
    admission: Admission,
    /// Odd numbers, for those that we accept.
    next_accepted: u64,
    /// Streams connect from this address, so that the other side sees the
    /// node where it knows it.
    source: IpAddr,
    security: Arc<Security>,
    /// Where streams go that carry calls.
    door: Arc<Door>,
}

#[derive(Debug)]
struct Open {
    frames: mpsc::Sender<Vec<u8>>,
    task: AbortHandle,
}

impl Streams {
    /// No stream yet; their events arrive at the receiver.
    pub(crate) fn new(
        source: IpAddr,
        security: Arc<Security>,
        door: Arc<Door>,
    ) -> (Self, mpsc::Receiver<StreamEvent>) {
        let (events, received) = mpsc::channel(EVENTS_MAX);
        let streams = Self {
            open: HashMap::new(),
            events,
            admission: Admission::default(),
            next_accepted: 1,
            source,
            security,
            door,
        };
        (streams, received)
    }

    /// The node is elsewhere: new streams connect from there.
    pub(crate) fn moved(&mut self, source: IpAddr) {
        self.source = source;
    }

    /// Connects. Frames may be sent at once and wait.
    pub(crate) fn open(&mut self, stream: StreamId, to: SocketAddr) {
        let security = self.security.clone();
        let events = self.events.clone();
        let (frames, queue) = mpsc::channel(QUEUE_FRAMES_MAX);
        let source = self.source;
        let task = tokio::spawn(async move {
            let mut socket = match connection::connect(source, to).await {
                Ok(socket) => socket,
                Err(how) => return connection::report(stream, Some(how), &events).await,
            };
            let sealing = match security.open(&mut socket, to).await {
                Ok(sealing) => sealing,
                Err(why) => return connection::report_unsecured(stream, why, &events).await,
            };
            let how = connection::run(stream, socket, sealing, queue, &events).await;
            connection::report(stream, how, &events).await;
        });
        let task = task.abort_handle();
        self.open.insert(stream, Open { frames, task });
    }

    /// Takes over an accepted connection; `None` where there are too many
    /// (then it is closed).
    pub(crate) fn accept(&mut self, socket: TcpStream, from: SocketAddr) -> Option<StreamId> {
        let Some(admitted) = self.admission.admit(from.ip()) else {
            tracing::debug!(target: "dui", event = "stream_not_admitted", %from);
            return None;
        };
        let stream = StreamId(self.next_accepted);
        self.next_accepted += 2;
        let events = self.events.clone();
        let (frames, queue) = mpsc::channel(QUEUE_FRAMES_MAX);
        let (security, door) = (self.security.clone(), self.door.clone());
        let task = tokio::spawn(async move {
            let mut socket = socket;
            let mut sealing = match security.accept(&mut socket, from).await {
                Ok(sealing) => sealing,
                Err(why) => {
                    drop((socket, admitted));
                    return connection::report_unsecured(stream, why, &events).await;
                }
            };
            let how = match connection::first_frame(&socket, &mut sealing).await {
                Ok(first) if is_hello(&first) => {
                    door.serve(socket, sealing, &first).await;
                    Some(EndOfStream::Closed)
                }
                // No driver any more, nobody to tell.
                Ok(first) => match events.send(StreamEvent::Frame(stream, first)).await {
                    Ok(()) => connection::run(stream, socket, sealing, queue, &events).await,
                    Err(_) => None,
                },
                Err(how) => Some(how),
            };
            drop(admitted);
            connection::report(stream, how, &events).await;
        });
        let task = task.abort_handle();
        self.open.insert(stream, Open { frames, task });
        Some(stream)
    }

    /// Sends one frame; to a stream that is gone, nothing.
    ///
    /// # Errors
    /// [`EndOfStream::Broken`] when the frame is too large or too many wait:
    /// the stream is gone then.
    pub(crate) fn send(&mut self, stream: StreamId, frame: &[u8]) -> Result<(), EndOfStream> {
        let Some(open) = self.open.get(&stream) else {
            return Ok(());
        };
        if frame.len() <= FRAME_BYTES_MAX {
            match open.frames.try_send(frame.to_vec()) {
                // A task that has just ended tells so itself.
                Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(_)) => {}
            }
        }
        open.task.abort();
        self.open.remove(&stream);
        Err(EndOfStream::Broken)
    }

    /// Closes a stream after what was sent before.
    pub(crate) fn close(&mut self, stream: StreamId) {
        // The task sees its queue end, flushes and says FIN.
        self.open.remove(&stream);
    }

    /// `event`, unless it is of a stream that was closed meanwhile.
    pub(crate) fn admit(&mut self, event: StreamEvent) -> Option<StreamEvent> {
        let current = match &event {
            StreamEvent::Frame(stream, _) | StreamEvent::Refused(stream, ..) => {
                self.open.contains_key(stream)
            }
            StreamEvent::Ended(stream, _) => self.open.remove(stream).is_some(),
        };
        current.then_some(event)
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        // A stopped node says nothing more: its sockets simply close.
        for open in self.open.values() {
            open.task.abort();
        }
    }
}

/// Accepts connections.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    paused_until: Option<Instant>,
}

impl Listener {
    /// Takes over a bound, non-blocking listener.
    ///
    /// # Errors
    /// Outside of a tokio runtime.
    pub(crate) fn new(listener: std::net::TcpListener) -> io::Result<Self> {
        Ok(Self {
            listener: TcpListener::from_std(listener)?,
            paused_until: None,
        })
    }

    /// The next connection. Cancel safe.
    pub(crate) async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            if let Some(until) = self.paused_until {
                sleep_until(until).await;
                self.paused_until = None;
            }
            match self.listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of file descriptors, most likely: the connection
                    // stays in the backlog, and asking again at once would spin.
                    tracing::warn!(
                        target: "dui", event = "accept_failed", %error,
                        remedy = "raise the limit of open files (ulimit -n)",
                    );
                    self.paused_until = Some(Instant::now() + ACCEPT_PAUSE);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
