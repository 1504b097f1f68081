//! Connection: the life of one stream, reading and writing at once.
//!
//! Between frames a stream may be silent for ever: its end is what the other
//! side listens for. Within a frame it may not: who begins one must finish it,
//! and who accepts one must read it, within five seconds each.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dui_core::{EndOfStream, StreamId};
use tokio::io::Interest;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::StreamEvent;
use super::frame::{Incoming, Outgoing, Step};
use super::secure::{Sealing, Unsecured};

/// A stream that was accepted has to say something.
const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(2);

/// A frame, once begun, has to be complete.
pub(super) const FRAME_TIMEOUT: Duration = Duration::from_secs(5);

const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// How long the other side may take to close after we did.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// Connects from `source`.
///
/// # Errors
/// How the stream ended before it began.
pub(crate) async fn connect(source: IpAddr, to: SocketAddr) -> Result<TcpStream, EndOfStream> {
    let connecting = async {
        let socket = if to.is_ipv4() {
            TcpSocket::new_v4()?
        } else {
            TcpSocket::new_v6()?
        };
        socket.bind(SocketAddr::new(source, 0))?;
        socket.connect(to).await
    };
    match timeout(CONNECT_TIMEOUT, connecting).await {
        Ok(Ok(socket)) => Ok(socket),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            Err(EndOfStream::Refused)
        }
        Ok(Err(_)) | Err(_) => Err(EndOfStream::Broken),
    }
}

/// Tells the driver that a handshake failed, and why if that is known.
pub(super) async fn report_unsecured(
    stream: StreamId,
    why: Unsecured,
    events: &mpsc::Sender<StreamEvent>,
) {
    if let Unsecured::Refused(refusal, stranger) = why {
        // No driver any more, nobody to tell.
        let refused = StreamEvent::Refused(stream, refusal, stranger);
        let _ = events.send(refused).await;
    }
    report(stream, Some(EndOfStream::Silent), events).await;
}

/// Tells the driver of an end that it did not ask for.
pub(super) async fn report(
    stream: StreamId,
    how: Option<EndOfStream>,
    events: &mpsc::Sender<StreamEvent>,
) {
    if let Some(how) = how {
        // No driver any more, nobody to tell.
        let _ = events.send(StreamEvent::Ended(stream, how)).await;
    }
}

/// Reads the first frame of an accepted stream, which has to come soon.
///
/// # Errors
/// How the stream ended before that.
pub(super) async fn first_frame(
    socket: &TcpStream,
    sealing: &mut Sealing,
) -> Result<Vec<u8>, EndOfStream> {
    let mut incoming = Incoming::default();
    let reading = async {
        loop {
            socket.readable().await.map_err(|error| end_of(&error))?;
            match incoming.step(|buffer| socket.try_read(buffer)) {
                Ok(Step::Frame(frame)) => return sealing.open(frame).ok_or(EndOfStream::Broken),
                Ok(Step::Partial) => {}
                Ok(Step::End) => return Err(EndOfStream::Closed),
                Ok(Step::TooLarge) => return Err(EndOfStream::Broken),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(end_of(&error)),
            }
        }
    };
    let read = timeout(FIRST_FRAME_TIMEOUT, reading).await;
    read.unwrap_or(Err(EndOfStream::Broken))
}

/// [`run`] for whoever has a channel of its own, which ends with the stream.
pub(crate) async fn carry(
    socket: TcpStream,
    sealing: Sealing,
    queue: mpsc::Receiver<Vec<u8>>,
    events: mpsc::Sender<StreamEvent>,
) {
    // However it ended, the receiver sees that it did.
    let _ = run(StreamId(0), socket, sealing, queue, &events).await;
}

/// Carries frames until the stream ends; `None` when our side closed it.
pub(super) async fn run(
    stream: StreamId,
    socket: TcpStream,
    mut sealing: Sealing,
    mut queue: mpsc::Receiver<Vec<u8>>,
    events: &mpsc::Sender<StreamEvent>,
) -> Option<EndOfStream> {
    // Small frames decide about life and death; they do not wait for more.
    // A socket that refuses this is about to end anyway.
    let _ = socket.set_nodelay(true);
    let mut incoming = Incoming::default();
    let mut read_by: Option<Instant> = None;
    let mut outgoing: Option<(Outgoing, Instant)> = None;
    loop {
        let interest = match outgoing {
            Some(_) => Interest::READABLE | Interest::WRITABLE,
            None => Interest::READABLE,
        };
        let write_by = outgoing.as_ref().map(|(_, by)| *by);
        let deadline = read_by.into_iter().chain(write_by).min();
        let ready = tokio::select! {
            ready = socket.ready(interest) => ready,
            frame = queue.recv(), if outgoing.is_none() => match frame {
                Some(frame) => {
                    let Some(sealed) = sealing.seal(frame) else {
                        return Some(EndOfStream::Broken);
                    };
                    outgoing = Some((Outgoing::new(&sealed), Instant::now() + FRAME_TIMEOUT));
                    continue;
                }
                None => {
                    linger(socket).await;
                    return None;
                }
            },
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                return Some(EndOfStream::Broken);
            }
        };
        let ready = match ready {
            Ok(ready) => ready,
            Err(error) => return Some(end_of(&error)),
        };
        if ready.is_writable()
            && let Some((frame, _)) = &mut outgoing
        {
            match frame.step(|bytes| socket.try_write(bytes)) {
                Ok(true) => outgoing = None,
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Some(end_of(&error)),
            }
        }
        if ready.is_readable() || ready.is_read_closed() {
            match incoming.step(|buffer| socket.try_read(buffer)) {
                Ok(Step::Frame(frame)) => {
                    let Some(frame) = sealing.open(frame) else {
                        return Some(EndOfStream::Broken);
                    };
                    read_by = None;
                    events.send(StreamEvent::Frame(stream, frame)).await.ok()?;
                }
                Ok(Step::Partial) => {
                    read_by = read_by.or_else(|| Some(Instant::now() + FRAME_TIMEOUT));
                }
                Ok(Step::End) => return Some(EndOfStream::Closed),
                Ok(Step::TooLarge) => return Some(EndOfStream::Broken),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Some(end_of(&error)),
            }
        }
    }
}

/// How an established stream ended that failed with `error`.
fn end_of(error: &io::Error) -> EndOfStream {
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => EndOfStream::Closed,
        _ => EndOfStream::Broken,
    }
}

/// Says FIN and waits for the other side's: a socket that is closed with
/// something unread is reset, and the reset may overtake our last frame.
async fn linger(mut socket: TcpStream) {
    use tokio::io::AsyncWriteExt;

    let discarding = async {
        socket.shutdown().await?;
        let mut discarded = [0; 256];
        loop {
            socket.readable().await?;
            match socket.try_read(&mut discarded) {
                Ok(0) => return Ok::<(), io::Error>(()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
    };
    // However the other side takes it, we are done.
    let _ = timeout(LINGER_TIMEOUT, discarding).await;
}
