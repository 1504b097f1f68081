//! Wire: one stream between two processes, as TCP carries it.
//!
//! Frames arrive whole and in order. Where nothing gets through they wait and
//! are tried again, at growing distances, until the kernel gives up; so what
//! was said just before a cut arrives after it. The end of a side follows its
//! last frame.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use dui_core::StreamId;

use crate::host::Place;
use crate::queue::Ns;

/// A connect without an answer is given up.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// A handshake that its acceptor does not answer.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// Who accepts is told what the stream is for within this.
pub(crate) const FIRST_FRAME_TIMEOUT: Duration = Duration::from_secs(2);
/// First retransmission, and the longest wait between two.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(120);
/// The kernel gives up then (Linux: tcp_retries2 = 15).
const RETRY_FOR: Duration = Duration::from_secs(924);
/// Frames that wait at most; one more breaks the stream.
const BACKLOG_MAX: usize = 128;

/// What travels along a wire.
#[derive(Debug)]
pub(crate) enum Segment {
    Frame(Vec<u8>),
    Fin,
}

/// One side of a wire.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) place: Place,
    pub(crate) life: u32,
    pub(crate) stream: StreamId,
    /// Where this side was when the stream was opened: it does not move.
    pub(crate) address: SocketAddr,
    /// Closed by its process, or gone with it.
    pub(crate) gone: bool,
    /// A frame of this side has arrived.
    pub(crate) spoke: bool,
    /// What has to be sent again.
    pub(crate) backlog: VecDeque<Segment>,
    blocked_since: Ns,
    wait: Duration,
    /// When the last segment arrives: the next one does not overtake it.
    last_at: Ns,
}

impl End {
    pub(crate) fn new(place: Place, life: u32, stream: StreamId, address: SocketAddr) -> Self {
        Self {
            place,
            life,
            stream,
            address,
            gone: false,
            spoke: false,
            backlog: VecDeque::new(),
            blocked_since: 0,
            wait: RETRY_FIRST,
            last_at: 0,
        }
    }

    /// When a segment arrives that is sent at `at` and takes `delay`.
    pub(crate) fn in_order(&mut self, at: Ns, delay: Ns) -> Ns {
        self.last_at = self.last_at.max(at + delay);
        self.last_at
    }

    /// Keeps a segment that does not get through. When to try again, if this
    /// is the first; `Err`: too many wait.
    pub(crate) fn hold(&mut self, now: Ns, segment: Segment) -> Result<Option<Ns>, ()> {
        let first = self.backlog.is_empty();
        if self.backlog.len() >= BACKLOG_MAX && matches!(segment, Segment::Frame(_)) {
            return Err(());
        }
        self.backlog.push_back(segment);
        if !first {
            return Ok(None);
        }
        self.blocked_since = now;
        self.wait = RETRY_FIRST;
        Ok(Some(now + RETRY_FIRST.as_nanos() as Ns))
    }

    /// It did not get through again: when to try next; `None`: never.
    pub(crate) fn try_later(&mut self, now: Ns) -> Option<Ns> {
        if now - self.blocked_since > RETRY_FOR.as_nanos() as Ns {
            return None;
        }
        self.wait = (self.wait * 2).min(RETRY_MAX);
        Some(now + self.wait.as_nanos() as Ns)
    }
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Wire {
    /// Who opened it, and who accepted it once that is so.
    pub(crate) ends: [Option<End>; 2],
    pub(crate) to: SocketAddr,
    pub(crate) opened_at: Ns,
    /// Frames of the opener leave from then on; `None`: not connected yet.
    pub(crate) ready_at: Option<Ns>,
    /// The acceptor's kernel has answered, its process not yet.
    pub(crate) connected: bool,
    /// What the opener said before.
    pub(crate) early: Vec<Segment>,
}
