//! Driver: the one task of a node, which waits for whatever happens next.
//!
//! It owns the core and everything that feeds it, so nothing needs a lock, and
//! a node that has nothing to do costs nothing: there is no tick. What comes
//! in bursts is taken in batches, but never so much that others wait long.

use std::future::pending;
use std::io;
use std::net::SocketAddr;

use dui_core::{Fatal, Input};
use tokio::io::Ready;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};

use crate::clock;
use crate::discovery::Find;
use crate::entries::Outcome;
use crate::handle::Request;
use crate::location::follow::{Follower, News};
use crate::moving::{Home, Moving};
use crate::shell::{DataDir, Shell};
use crate::streams::StreamEvent;
use crate::udp::{self, PeerSocket, Readiness};

/// Packets of one kind handled before others get their turn.
const BATCH_MAX: usize = 64;

/// Writes of requests handled before others get their turn: some hundred
/// microseconds, so that a busy client cannot make this node miss a probe.
const WRITES_MAX: usize = 128;

/// A node at work.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) shell: Shell,
    pub(crate) home: Home,
    pub(crate) stream_events: mpsc::Receiver<StreamEvent>,
    pub(crate) requests: mpsc::Receiver<Request>,
    /// `None` on loopback, where nothing changes.
    pub(crate) follower: Option<Follower>,
    /// Resolves when the node is to stop, or its owner is gone.
    pub(crate) stop: oneshot::Receiver<()>,
}

/// What the driver waits for.
enum Wake<'a> {
    Packets(io::Result<Readiness<'a>>),
    Found(Find),
    Accepted((TcpStream, SocketAddr)),
    Stream(StreamEvent),
    Request(Request),
    Network(News),
    Move,
    Disk(Outcome),
    Timer,
    Stop,
}

impl Driver {
    /// Runs the node until it is told to stop, or until the core says that it
    /// cannot go on.
    pub(crate) async fn run(self) -> Option<Fatal> {
        let Self {
            mut shell,
            mut home,
            mut stream_events,
            mut requests,
            mut follower,
            mut stop,
        } = self;
        let mut buffer = udp::receive_buffer();
        let timer = sleep_until(Instant::now());
        tokio::pin!(timer);
        let mut moving = Moving::default();
        // What the timer was set for: resetting it costs more than comparing.
        let mut armed_for = None;

        shell.carry_out().await;
        while shell.fatal.is_none() {
            let next = shell.next_timer();
            if armed_for != Some(next) {
                timer.as_mut().reset(clock::instant_of(next));
                armed_for = Some(next);
            }
            let wake = tokio::select! {
                // What has arrived comes before what is due: a member must not
                // be judged while its answer lies in our socket.
                biased;
                _ = &mut stop => Wake::Stop,
                ready = home.udp.ready() => Wake::Packets(ready),
                find = shell.discovery.next(&mut buffer) => Wake::Found(find),
                accepted = home.listener.accept() => Wake::Accepted(accepted),
                Some(event) = stream_events.recv() => Wake::Stream(event),
                outcome = next_outcome(&mut shell.data_dir) => Wake::Disk(outcome),
                Some(request) = requests.recv() => Wake::Request(request),
                news = news_of(&mut follower) => Wake::Network(news),
                () = moving.due() => Wake::Move,
                () = &mut timer => Wake::Timer,
            };
            match wake {
                Wake::Packets(Ok(ready)) => {
                    take_packets(&mut shell, &home.udp, ready, &mut buffer).await;
                }
                // The runtime shuts down, and the sockets with it.
                Wake::Packets(Err(_)) | Wake::Stop => break,
                Wake::Found(find) => take_finds(&mut shell, find, &mut buffer).await,
                Wake::Accepted((socket, from)) => {
                    if let Some(stream) = shell.streams.accept(socket, from) {
                        shell.tell(Input::StreamAccepted { stream, from }).await;
                    }
                }
                Wake::Stream(event) => take_stream_event(&mut shell, event).await,
                Wake::Disk(outcome) => take_outcomes(&mut shell, outcome).await,
                Wake::Request(request) => take_requests(&mut shell, request, &mut requests).await,
                Wake::Network(news) => {
                    if let Some(location) = news.location {
                        moving.want(location);
                    }
                    // A move looks at the network anew by itself.
                    let moved = moving.go(&mut home, &mut shell, &mut buffer).await;
                    if news.network && !moved {
                        shell.discovery.network_changed();
                    }
                }
                Wake::Move => {
                    moving.go(&mut home, &mut shell, &mut buffer).await;
                }
                // It was set for something that is due, which is done below.
                Wake::Timer => armed_for = None,
            }
            shell.take_due_timers().await;
        }
        shell.finish().await
    }
}

/// What the disk has done next; never without a disk.
async fn next_outcome(data_dir: &mut Option<DataDir>) -> Outcome {
    if let Some(dir) = data_dir
        && let Some(outcome) = dir.entries.outcome().await
    {
        return outcome;
    }
    pending().await
}

/// Outcomes of the disk, as many as have come.
async fn take_outcomes(shell: &mut Shell, first: Outcome) {
    shell.take_outcome(first).await;
    for _ in 1..BATCH_MAX {
        let dir = shell.data_dir.as_mut();
        let Some(next) = dir.and_then(|dir| dir.entries.try_outcome()) else {
            return;
        };
        shell.take_outcome(next).await;
    }
}

/// Requests of handles, as many as have come and fit a turn, in their order;
/// writes that follow one another become one.
async fn take_requests(
    shell: &mut Shell,
    mut request: Request,
    requests: &mut mpsc::Receiver<Request>,
) {
    let mut writes = request.writes();
    for _ in 1..BATCH_MAX {
        if writes >= WRITES_MAX {
            break;
        }
        let Ok(next) = requests.try_recv() else {
            shell.serve(request).await;
            return;
        };
        writes += next.writes();
        if let Err(next) = request.join(next) {
            shell.serve(std::mem::replace(&mut request, next)).await;
        }
    }
    shell.serve(request).await;
    yield_now().await;
}

/// The next news of the network; never where there are none.
async fn news_of(follower: &mut Option<Follower>) -> News {
    match follower {
        Some(follower) => follower.next().await,
        None => pending().await,
    }
}

/// Refusals and packets, as many as have come.
async fn take_packets(
    shell: &mut Shell,
    udp: &PeerSocket,
    mut ready: Readiness<'_>,
    buffer: &mut [u8],
) {
    if ready.ready().is_error() {
        let mut drained = false;
        for _ in 0..BATCH_MAX {
            let Some(peer) = udp.refusal() else {
                drained = true;
                break;
            };
            shell.tell(Input::Unreachable { peer }).await;
        }
        if drained {
            PeerSocket::drained(&mut ready, Ready::ERROR);
        }
    }
    for _ in 0..BATCH_MAX {
        let Some((length, from)) = udp.receive(buffer) else {
            PeerSocket::drained(&mut ready, Ready::READABLE);
            return;
        };
        let bytes = &buffer[..length];
        shell.tell(Input::Datagram { from, bytes }).await;
    }
    yield_now().await;
}

/// Beacons and addresses, as many as have come.
async fn take_finds(shell: &mut Shell, first: Find, buffer: &mut [u8]) {
    let mut find = first;
    for _ in 0..BATCH_MAX {
        let input = match find {
            Find::Beacon {
                provider,
                from,
                length,
            } => Input::Beacon {
                from,
                bytes: &buffer[..length],
                provider,
            },
            Find::Candidates {
                provider,
                addresses,
            } => Input::Candidates {
                provider,
                addresses,
            },
        };
        shell.tell(input).await;
        match shell.discovery.try_next(buffer) {
            Some(next) => find = next,
            None => return,
        }
    }
    yield_now().await;
}

async fn take_stream_event(shell: &mut Shell, event: StreamEvent) {
    match shell.streams.admit(event) {
        Some(StreamEvent::Frame(stream, frame)) => {
            let bytes = &frame[..];
            shell.tell(Input::StreamFrame { stream, bytes }).await;
        }
        Some(StreamEvent::Refused(_, refusal, stranger)) => {
            let input = Input::StreamRefused { refusal, stranger };
            shell.tell(input).await;
        }
        Some(StreamEvent::Ended(stream, how)) => {
            shell.tell(Input::StreamEnded { stream, how }).await;
        }
        None => {}
    }
}
