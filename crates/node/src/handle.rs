//! The handle: a cheap, cloneable way to ask a running node and to tell it things.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use dui_core::{
    Counters, DiscoveryInfo, Event, ForgetError, Member, NodeId, PublishError, SelfInfo, UserEvent,
    Why,
};
use futures_core::Stream;
use tokio::sync::{mpsc, oneshot};

/// What a node is up to: for health checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Not leaving, and one peer or one discovery window was seen.
    pub ready: bool,
    /// From the first step of leaving on.
    pub leaving: bool,
}

/// An event with its place in this run's order: what SSE clients resume from.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequenced {
    /// Counts events of this run from 1, without gaps.
    pub sequence: u64,
    /// Wall clock of this node when it happened, ms since the Unix epoch.
    pub at_ms: u64,
    /// What happened.
    pub event: NodeEvent,
}

/// An event of a stream.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum NodeEvent {
    /// News from the core.
    Core(Event),
    /// This node begins to leave; the last event of every stream.
    Leaving,
    /// Events were missed (a slow reader, or a resume point no longer kept):
    /// read the present state anew. Carries no gap-free past.
    Reset,
}

/// Why a request to a node failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiError {
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
    /// See [`PublishError`].
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// See [`ForgetError`].
    #[error(transparent)]
    Forget(#[from] ForgetError),
}

/// How a leave went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaveOutcome {
    /// Peers that confirmed.
    pub acked: usize,
    /// Peers that should have.
    pub wanted: usize,
}

/// A running node. Cloning is cheap; dropping a handle changes nothing.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
}

/// What a handle asks of the driver.
#[derive(Debug)]
pub(crate) enum Request {
    /* one variant per method below, with a oneshot reply */
    _Placeholder(oneshot::Sender<()>),
}

#[allow(clippy::todo, unused_variables, missing_docs)]
impl Handle {
    /// This node about itself.
    pub async fn this(&self) -> Result<SelfInfo, ApiError> {
        todo!()
    }
    /// Every member in every state, this node included, sorted by name.
    pub async fn members(&self) -> Result<Vec<Member>, ApiError> {
        todo!()
    }
    pub async fn why(&self, id: NodeId) -> Result<Option<Why>, ApiError> {
        todo!()
    }
    pub async fn discovery(&self) -> Result<DiscoveryInfo, ApiError> {
        todo!()
    }
    /// Kept user events in timestamp order.
    pub async fn events(&self) -> Result<Vec<UserEvent>, ApiError> {
        todo!()
    }
    pub async fn counters(&self) -> Result<Counters, ApiError> {
        todo!()
    }
    pub async fn status(&self) -> Result<Status, ApiError> {
        todo!()
    }
    pub async fn publish(&self, name: String, payload: Vec<u8>) -> Result<UserEvent, ApiError> {
        todo!()
    }
    pub async fn forget(&self, id: NodeId, force: bool) -> Result<Member, ApiError> {
        todo!()
    }
    /// Leaves and waits until that is done or `--leave-timeout` is over.
    /// Idempotent: the node stays up in state `left` until it is stopped.
    pub async fn leave(&self) -> Result<LeaveOutcome, ApiError> {
        todo!()
    }
    /// Events from now on, or from just after `after` when this run still
    /// keeps what followed it (the last 4,096); otherwise `Reset` comes first.
    pub async fn subscribe(&self, after: Option<u64>) -> Result<EventStream, ApiError> {
        todo!()
    }
}

/// Events of a node, in order; see [`Handle::subscribe`]. Bounded: a reader
/// that falls behind gets [`NodeEvent::Reset`] instead of the missed part.
#[derive(Debug)]
pub struct EventStream {}

impl Stream for EventStream {
    type Item = Sequenced;

    fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Sequenced>> {
        Poll::Ready(None)
    }
}

#[allow(dead_code)]
const LEAVE_TIMEOUT: Duration = Duration::from_secs(8);
