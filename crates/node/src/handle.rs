//! The handle: a cheap, cloneable way to ask a running node and to tell it things.
//!
//! Questions travel to the driver as closures over the core, so that the
//! driver knows no question by name; only leaving, which takes time, is a
//! request of its own.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dui_consensus::founding::ClusterId;
use dui_consensus::machine::View;
use dui_core::{
    Acks, Counters, DiscoveryInfo, Entry, Event, ForgetError, Member, NodeId, NotParted, Now, Peer,
    PublishError, SelfInfo, SharedChoice, SharedInfo, UserEvent, Why,
};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::calls::Calls;
use crate::discovery::{Board, ProviderState};
use crate::doctor::Kit;
use crate::history::{EventStream, History};
use crate::managers::Front;
use crate::shared::{SharedWrite, WriteRequest, WriteResult};

/// What a node is up to: for health checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Not leaving, one peer or one discovery window was seen, and, for a
    /// manager that expects others, a leader is known.
    pub ready: bool,
    /// From the first step of leaving on.
    pub leaving: bool,
}

/// An event with its place in this run's order: what SSE clients resume from.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequenced {
    /// Counts events of this run from 1, without gaps. A [`NodeEvent::Reset`]
    /// has the number of the newest event, which the present state includes.
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
    /// The managers of this cluster agreed on another view of the members.
    View(ClusterId, View),
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
    /// See [`NotParted`].
    #[error(transparent)]
    NotParted(#[from] NotParted),
}

/// A shared entry as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedEntry {
    /// The entry.
    pub entry: Entry,
    /// When it was read, ms of the hybrid clock, which judges how long it lives.
    pub at_ms: u64,
}

impl SharedEntry {
    fn of(peer: &Peer, now: Now, key: &str) -> Option<Self> {
        let entry = peer.entry(now, key)?;
        let at_ms = peer.shared_ms(now);
        Some(Self { entry, at_ms })
    }
}

/// Shared entries by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedPage {
    /// The entries.
    pub entries: Vec<Entry>,
    /// When they were read, ms of the hybrid clock.
    pub at_ms: u64,
    /// The newest event that they include; see [`Sequenced::sequence`].
    pub sequence: u64,
}

/// How a leave went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaveOutcome {
    /// Peers that confirmed; 0 when the leave timeout was over first.
    pub acked: usize,
    /// Peers that should have.
    pub wanted: usize,
}

/// A running node. Cloning is cheap; dropping a handle changes nothing.
///
/// Every method fails with [`ApiError::Stopped`] once the node has stopped.
#[derive(Clone, Debug)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    history: Arc<History>,
    providers: Board,
    pub(crate) kit: Arc<Kit>,
    /// Examinations take turns.
    pub(crate) examining: Arc<Mutex<()>>,
    pub(crate) front: Arc<Front>,
    /// Set before anybody else has a handle.
    pub(crate) calls: Arc<OnceLock<Calls>>,
    leave_timeout: Duration,
}

/// What to do with the core when the driver comes to it.
pub(crate) type Question = Box<dyn FnOnce(&mut Peer, Now) + Send>;

/// What a handle asks of the driver.
pub(crate) enum Request {
    /// A question about the core or a command to it; replies by itself.
    Ask(Question),
    /// Write entries, and tell each who asked when its are done.
    Write(Vec<WriteRequest>),
    /// Leave, and tell how it went.
    Leave(oneshot::Sender<LeaveOutcome>),
}

impl Handle {
    pub(crate) fn new(
        requests: mpsc::Sender<Request>,
        history: Arc<History>,
        providers: Board,
        kit: Kit,
        front: Arc<Front>,
        leave_timeout: Duration,
    ) -> Self {
        Self {
            requests,
            history,
            providers,
            kit: Arc::new(kit),
            examining: Arc::default(),
            front,
            calls: Arc::default(),
            leave_timeout,
        }
    }

    /// This node about itself.
    ///
    /// # Errors
    /// [`ApiError::Stopped`].
    pub async fn this(&self) -> Result<SelfInfo, ApiError> {
        self.ask(|peer, _| peer.this()).await
    }

    /// Every member in every state, this node included, sorted by name.
    ///
    /// # Errors
    /// [`ApiError::Stopped`].
    pub async fn members(&self) -> Result<Vec<Member>, ApiError> {
        let mut members = self.ask(|peer, _| peer.members()).await?;
        members.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        Ok(members)
    }

    /// Why a member is in its state; `None` for an unknown id.
    ///
    /// # Errors
    /// [`ApiError::Stopped`].
    pub async fn why(&self, id: NodeId) -> Result<Option<Why>, ApiError> {
        self.ask(move |peer, _| peer.why(id)).await
    }

    /// What each provider found, and which peers are lost.
    ///
    /// # Errors
    /// [`ApiError::Stopped`].
    pub async fn discovery(&self) -> Result<DiscoveryInfo, ApiError> {
        self.ask(|peer, _| peer.discovery()).await
    }

    /// How each provider that was asked for is doing; what it found is in
    /// [`Handle::discovery`].
    pub fn providers(&self) -> Vec<ProviderState> {
        self.providers.read()
    }

    /// Kept user events in timestamp order.
    ///
    /// # Errors
    /// [`ApiError::Stopped`].
    pub async fn events(&self) -> Result<Vec<UserEvent>, ApiError> {
        self.ask(|peer, _| peer.events()).await
    }

    /// What was counted since the start.
    ///
    /// # Errors
    /// [`ApiError::Stopped`].
    pub async fn counters(&self) -> Result<Counters, ApiError> {
        self.ask(|peer, _| peer.counters()).await
    }

    /// Whether the node is ready, and whether it leaves.
    ///
    /// # Errors
    /// [`ApiError::Stopped`].
    pub async fn status(&self) -> Result<Status, ApiError> {
        let led = match self.front.waits_for() {
            None => true,
            Some(waits) => waits.is_over(&self.leader().await?),
        };
        self.ask(move |peer, now| {
            let leaving = peer.this().leaving;
            Status {
                ready: peer.settled(now) && !leaving && led,
                leaving,
            }
        })
        .await
    }

    /// Publishes a user event; on return it is on its way to every member.
    /// `name` has 1 to 128 bytes, `payload` at most 8 KiB.
    ///
    /// # Errors
    /// [`ApiError::Publish`], [`ApiError::Stopped`].
    pub async fn publish(&self, name: String, payload: Vec<u8>) -> Result<UserEvent, ApiError> {
        let published = self.ask(move |peer, now| peer.publish(now, &name, &payload));
        Ok(published.await??)
    }

    /// The shared entry of a key; `None` if there is none.
    ///
    /// # Errors
    /// [`ApiError::Stopped`].
    pub async fn entry(&self, key: String) -> Result<Option<SharedEntry>, ApiError> {
        self.ask(move |peer, now| SharedEntry::of(peer, now, &key))
            .await
    }

    /// Shared entries of these keys, in their order.
    ///
    /// # Errors
    /// [`ApiError::Stopped`].
    pub async fn entries(&self, keys: Vec<String>) -> Result<Vec<Option<SharedEntry>>, ApiError> {
        self.ask(move |peer, now| {
            let entry = |key: &String| SharedEntry::of(peer, now, key);
            keys.iter().map(entry).collect()
        })
        .await
    }

    /// A page of shared entries by key: those that begin with `prefix` and
    /// come after `after`, at most `limit`.
    ///
    /// # Errors
    /// [`ApiError::Stopped`].
    pub async fn page(
        &self,
        prefix: String,
        after: Option<String>,
        limit: usize,
    ) -> Result<SharedPage, ApiError> {
        let history = self.history.clone();
        self.ask(move |peer, now| SharedPage {
            entries: peer.list(now, &prefix, after.as_deref(), limit),
            at_ms: peer.shared_ms(now),
            sequence: history.newest(),
        })
        .await
    }

    /// Shared entries from above.
    ///
    /// # Errors
    /// [`ApiError::Stopped`].
    pub async fn shared(&self) -> Result<SharedInfo, ApiError> {
        self.ask(|peer, now| peer.shared(now)).await
    }

    /// Writes shared entries, in their order; what is taken becomes durable
    /// together. Returns when so many members hold them as `acks` says, or
    /// the time is over: a result for each.
    ///
    /// # Errors
    /// [`ApiError::Stopped`].
    pub async fn write(
        &self,
        writes: Vec<SharedWrite>,
        acks: Acks,
        timeout: Duration,
    ) -> Result<Vec<WriteResult>, ApiError> {
        let (reply, results) = oneshot::channel();
        self.request(Request::Write(vec![WriteRequest {
            writes,
            acks,
            timeout,
            reply,
        }]))
        .await?;
        results.await.map_err(|_| ApiError::Stopped)
    }

    /// Removes a member for good; the answer is the member as last seen. A
    /// live one only with `force`.
    ///
    /// # Errors
    /// [`ApiError::Forget`], [`ApiError::Stopped`].
    pub async fn forget(&self, id: NodeId, force: bool) -> Result<Member, ApiError> {
        let forgotten = self.ask(move |peer, now| peer.forget(now, id, force));
        Ok(forgotten.await??)
    }

    /// Decides which shared entries stay after a parting for longer than
    /// tombstones live. How many this node kept, or gave up; see
    /// [`Peer::recover_shared`] for what has to be said where.
    ///
    /// # Errors
    /// [`ApiError::NotParted`], [`ApiError::Stopped`].
    pub async fn recover_shared(&self, choice: SharedChoice) -> Result<usize, ApiError> {
        let recovered = self.ask(move |peer, now| peer.recover_shared(now, choice));
        Ok(recovered.await??)
    }

    /// Leaves and waits until that is done or
    /// [`Options::leave_timeout`](crate::Options::leave_timeout) is over.
    /// Idempotent: every caller learns the outcome of the one leave. The node
    /// stays up in state `left` until it is stopped.
    ///
    /// # Errors
    /// [`ApiError::Stopped`].
    pub async fn leave(&self) -> Result<LeaveOutcome, ApiError> {
        self.front.depart(self.leave_timeout / 2).await;
        let (reply, outcome) = oneshot::channel();
        self.request(Request::Leave(reply)).await?;
        outcome.await.map_err(|_| ApiError::Stopped)
    }

    /// Events from now on, or from just after `after` when this run still
    /// keeps what followed it (the last 16,384); otherwise `Reset` comes first.
    ///
    /// # Errors
    /// [`ApiError::Stopped`].
    pub async fn subscribe(&self, after: Option<u64>) -> Result<EventStream, ApiError> {
        if self.requests.is_closed() {
            return Err(ApiError::Stopped);
        }
        Ok(self.history.subscribe(after))
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.requests.is_closed()
    }

    /// Resolves once the node has stopped.
    pub(crate) async fn stopped(&self) {
        self.requests.closed().await;
    }

    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Peer, Now) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let (reply, answer) = oneshot::channel();
        let ask = move |peer: &mut Peer, now| {
            // Whoever asked may have gone; a command is carried out all the same.
            let _ = reply.send(question(peer, now));
        };
        self.request(Request::Ask(Box::new(ask))).await?;
        answer.await.map_err(|_| ApiError::Stopped)
    }

    async fn request(&self, request: Request) -> Result<(), ApiError> {
        self.requests
            .send(request)
            .await
            .map_err(|_| ApiError::Stopped)
    }
}

impl Request {
    /// How many writes of entries it asks for: what it costs.
    pub(crate) fn writes(&self) -> usize {
        match self {
            Request::Write(all) => all.iter().map(|request| request.writes.len()).sum(),
            Request::Ask(_) | Request::Leave(_) => 0,
        }
    }

    /// Takes on what the next one asks for, too; what cannot be done together
    /// comes back.
    pub(crate) fn join(&mut self, next: Request) -> Result<(), Request> {
        match (self, next) {
            (Request::Write(all), Request::Write(more)) => {
                all.extend(more);
                Ok(())
            }
            (_, next) => Err(next),
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Request::Ask(_) => "Ask",
            Request::Write(_) => "Write",
            Request::Leave(_) => "Leave",
        })
    }
}
