//! Group: one manager's part in the Raft group of a cluster.
//!
//! The Raft library decides; here it gets its timings, its disk and its
//! network, and everything that others ask of it comes in as a [`Call`].
//!
//! A leader sends heartbeats every 300 ms, which is little traffic. A follower
//! that has heard none for 700 ms, and 600 to 700 more, asks the others
//! whether they would vote for it; only then does it campaign (pre-vote,
//! Raft dissertation, section 9.6). A leader whose *process* died is noticed
//! sooner: membership has evidence of that within milliseconds, and
//! [`Group::leader_died`] campaigns at once, as if the leader had handed over.
//! On a slow disk all of that but the heartbeats takes longer: see `patience`.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dui_core::NodeId;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{
    ClientWriteError, InitializeError, NetworkError, RPCError, RaftError, ReplicationClosed,
    StreamingError, Unreachable,
};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use openraft::{AnyError, ChangeMembers, Config, Instant as _, SnapshotPolicy};
use tokio::sync::watch;

use crate::call::{Answer, Call, Raft as RaftCall};
use crate::founding::ClusterId;
use crate::machine::{Agreed, Machine};
use crate::patience::Patience;
use crate::record::{Command, Outcome};
use crate::store::{self, LogStore, StoreError, StoreMetrics};
use crate::types::{Kind, RaftId, Types, Vote};

/// Between two heartbeats; also how long a call with records may take.
const HEARTBEAT_MS: u64 = 300;
/// A snapshot goes as one message, which takes longer than a call.
const SNAPSHOT_MS: u64 = 10_000;
/// Records after which a snapshot is made.
const SNAPSHOT_EVERY: u64 = 4_096;
/// Records in one call.
const PAYLOAD_MAX: u64 = 256;

/// Over which connection a call goes: none waits for what is in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Heartbeats and votes.
    Pulse,
    /// Records, and all else.
    Log,
    /// Snapshots.
    Bulk,
}

/// A call that did not reach the other, or its answer us.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unreached(pub String);

/// A future of a call.
pub type Calling = Pin<Box<dyn Future<Output = Result<Vec<u8>, Unreached>> + Send>>;

/// How a call reaches another manager, wherever that lives now.
pub trait Wire: Send + Sync + 'static {
    /// Asks `to`; the answer is that very node's.
    fn call(&self, to: NodeId, lane: Lane, call: Vec<u8>, timeout: Duration) -> Calling;
}

/// Why a group did not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// Its data cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Another one leads, if anybody does.
    #[error("this manager does not lead")]
    NotLeader(Option<NodeId>),
    /// Another change of the voters is under way.
    #[error("another change of the managers is under way: try again in a moment")]
    Busy,
    /// The library gave up: most likely the disk did.
    #[error("the managers' log is stopped: {0}")]
    Stopped(String),
}

/// One manager's part. Cloning is cheap.
#[derive(Clone)]
pub struct Group {
    cluster: ClusterId,
    raft: openraft::Raft<Types, Machine>,
    agreed: watch::Receiver<Agreed>,
    log: LogStore,
    patience: Patience,
}

impl Group {
    /// Takes part in the group of `cluster` as `me`, with what is in `dir`, or
    /// in memory alone.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn start(
        cluster: ClusterId,
        me: NodeId,
        dir: Option<&Path>,
        wire: Arc<dyn Wire>,
    ) -> Result<Self, GroupError> {
        let opened = match dir {
            Some(dir) => {
                let dir = dir.to_owned();
                tokio::task::spawn_blocking(move || store::open(&dir))
                    .await
                    .map_err(|gone| GroupError::Stopped(gone.to_string()))??
            }
            None => store::in_memory(),
        };
        Self::start_on(cluster, me, opened, wire).await
    }

    /// As [`Self::start`], with what has been opened.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn start_on(
        cluster: ClusterId,
        me: NodeId,
        opened: store::Opened,
        wire: Arc<dyn Wire>,
    ) -> Result<Self, GroupError> {
        let (machine, agreed) = Machine::open(opened.snapshots)?;
        let network = Network { cluster, wire };
        let sync = opened.log.metrics().fsync_time_last;
        let patience = Patience::of(sync);
        if patience.is_stretched() {
            tracing::warn!(
                target: "dui", event = "slow_disk", fsync_ms = sync.as_millis() as u64,
                election_timeout_ms = patience.min_ms(),
                remedy = "elections wait for it until the next start: give the data directory a \
                          faster disk, or one of its own",
            );
        }
        let raft = openraft::Raft::new(
            RaftId(me),
            Arc::new(config(patience)),
            network,
            opened.log.clone(),
            machine,
        )
        .await
        .map_err(|fatal| GroupError::Stopped(fatal.to_string()))?;
        Ok(Self {
            cluster,
            raft,
            agreed,
            log: opened.log,
            patience,
        })
    }

    /// The first configuration: the same on each of these managers, so that
    /// it matters little who says it first. What has begun is left alone.
    ///
    /// # Errors
    /// [`GroupError::Stopped`].
    pub async fn begin(&self, voters: &[NodeId], kind: Kind) -> Result<(), GroupError> {
        let voters = voters.iter().map(|id| (RaftId(*id), kind));
        let voters: BTreeMap<RaftId, Kind> = voters.collect();
        match self.raft.initialize(voters).await {
            Ok(()) => Ok(()),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
            Err(error) => Err(GroupError::Stopped(error.to_string())),
        }
    }

    // --- getters ---

    /// Which cluster's it is.
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// What is agreed, now and whenever it changes.
    pub fn agreed(&self) -> watch::Receiver<Agreed> {
        self.agreed.clone()
    }

    /// What its disk has done.
    pub fn store_metrics(&self) -> StoreMetrics {
        self.log.metrics()
    }

    /// Whether its disk has become so slow since it was started that it elects
    /// nobody any more. Started anew, it waits for the disk as it is now.
    pub fn is_outpaced(&self) -> bool {
        let sync = self.log.metrics().fsync_time_last;
        self.patience.is_outgrown(sync)
    }

    /// The longest election timeout, and how long a leader is taken for alive.
    pub fn election_timeout(&self) -> Duration {
        Duration::from_millis(self.patience.max_ms())
    }

    /// How the group is, now and whenever that changes.
    pub fn pulse(&self) -> Pulse {
        Pulse(self.raft.metrics())
    }

    // --- commands ---

    /// Writes a record; returns once it is applied here.
    ///
    /// # Errors
    /// [`GroupError`]: whether it was written is open, unless this manager did
    /// not lead to begin with.
    pub async fn write(&self, command: Command) -> Result<Outcome, GroupError> {
        let written = self.raft.client_write(command).await;
        Ok(written.map_err(of_write)?.data)
    }

    /// Gives these managers all records, so that they may vote later.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn teach(&self, learners: &BTreeMap<NodeId, Kind>) -> Result<(), GroupError> {
        let nodes = learners.iter().map(|(id, kind)| (RaftId(*id), *kind));
        let nodes: BTreeMap<RaftId, Kind> = nodes.collect();
        let change = ChangeMembers::AddNodes(nodes);
        self.raft
            .change_membership(change, true)
            .await
            .map_err(of_write)?;
        Ok(())
    }

    /// These and no others vote from now on, in one joint change. Who votes
    /// no more gets no more records either.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn set_voters(&self, voters: &BTreeSet<NodeId>) -> Result<(), GroupError> {
        let voters: BTreeSet<RaftId> = voters.iter().copied().map(RaftId).collect();
        self.raft
            .change_membership(voters, false)
            .await
            .map_err(of_write)?;
        Ok(())
    }

    /// These get no more records; none of them votes.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn dismiss(&self, learners: &BTreeSet<NodeId>) -> Result<(), GroupError> {
        let ids: BTreeSet<RaftId> = learners.iter().copied().map(RaftId).collect();
        let change = ChangeMembers::RemoveNodes(ids);
        self.raft
            .change_membership(change, true)
            .await
            .map_err(of_write)?;
        Ok(())
    }

    /// Hands leadership over. It shows in the metrics when that has happened.
    ///
    /// # Errors
    /// [`GroupError::Stopped`].
    pub async fn hand_over(&self, to: NodeId) -> Result<(), GroupError> {
        let handed = self.raft.trigger().transfer_leader(RaftId(to)).await;
        handed.map_err(|fatal| GroupError::Stopped(fatal.to_string()))
    }

    /// There is evidence that the leader's process died: campaigns at once,
    /// though its lease has not ended. Were it alive, it would have to give way
    /// to the next one, and nothing would be lost.
    ///
    /// # Errors
    /// [`GroupError::Stopped`].
    pub async fn leader_died(&self, leader: NodeId) -> Result<(), GroupError> {
        let metrics = self.raft.metrics().borrow_watched().clone();
        if metrics.current_leader != Some(RaftId(leader)) {
            return Ok(());
        }
        let me = *self.raft.node_id();
        let request = TransferLeaderRequest::new(metrics.vote, me, None);
        let handed = self.raft.handle_transfer_leader(request).await;
        handed
            .map(drop)
            .map_err(|fatal| GroupError::Stopped(fatal.to_string()))
    }

    /// Whether it campaigns when it hears of no leader. Who is removed from the
    /// group, and may not know it, must not.
    pub fn set_campaigning(&self, campaigns: bool) {
        self.raft.runtime_config().elect(campaigns);
    }

    /// Waits until a majority has confirmed that this manager leads, and
    /// everything before that is applied here: what is read then is not old.
    ///
    /// # Errors
    /// [`GroupError`].
    pub async fn confirm(&self) -> Result<(), GroupError> {
        let policy = openraft::ReadPolicy::ReadIndex;
        match self.raft.ensure_linearizable(policy).await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(error)) => match error {
                openraft::errors::LinearizableReadError::ForwardToLeader(forward) => {
                    Err(GroupError::NotLeader(forward.leader_id.map(|id| id.0)))
                }
                other => Err(GroupError::Stopped(other.to_string())),
            },
            Err(RaftError::Fatal(fatal)) => Err(GroupError::Stopped(fatal.to_string())),
        }
    }

    /// Takes no part any longer, and closes its files.
    pub async fn stop(&self) {
        // A panic in there was reported where it happened.
        let _ = self.raft.shutdown().await;
        let log = self.log.clone();
        let _ = tokio::task::spawn_blocking(move || log.close()).await;
    }

    /// Answers another manager of the group: `from`, who speaks for nobody else.
    pub async fn answer(&self, from: NodeId, call: RaftCall) -> Answer {
        if let Err(why) = call.check(from) {
            tracing::warn!(target: "dui", event = "call_refused", %from, reason = why);
            return Answer::Refused {
                code: "bad_call".into(),
                why: why.into(),
            };
        }
        let answered = match call {
            RaftCall::Append(append) => {
                let answer = self.raft.append_entries(append).await;
                answer
                    .map(Answer::Append)
                    .map_err(|error| error.to_string())
            }
            RaftCall::Vote(vote) => {
                let answer = self.raft.vote(vote).await;
                answer.map(Answer::Vote).map_err(|error| error.to_string())
            }
            RaftCall::PreVote(vote) => {
                let answer = self.raft.pre_vote(vote).await;
                answer.map(Answer::Vote).map_err(|error| error.to_string())
            }
            RaftCall::Snapshot(vote, meta, snapshot) => {
                let snapshot = SnapshotOf::<Types, Vec<u8>> { meta, snapshot };
                let answer = self.raft.install_full_snapshot(vote, snapshot).await;
                answer
                    .map(Answer::Snapshot)
                    .map_err(|error| error.to_string())
            }
            RaftCall::Transfer(transfer) => {
                let handled = self.raft.handle_transfer_leader(transfer).await;
                handled
                    .map(|_| Answer::Done)
                    .map_err(|error| error.to_string())
            }
        };
        answered.unwrap_or_else(|why| Answer::Refused {
            code: "log_stopped".into(),
            why,
        })
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group")
            .field("cluster", &self.cluster)
            .finish_non_exhaustive()
    }
}

/// How a group is, as one of its managers sees it.
pub struct Pulse(
    openraft::type_config::alias::WatchReceiverOf<Types, openraft::RaftMetrics<Types>>,
);

/// A moment of a [`Pulse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beat {
    /// Who leads, as far as this manager knows.
    pub leader: Option<NodeId>,
    /// This manager does.
    pub leads: bool,
    /// The newest term it knows.
    pub term: u64,
    /// Who votes. While the voters change, both the old and the new ones.
    pub voters: BTreeSet<NodeId>,
    /// A change of the voters is under way.
    pub changing: bool,
    /// Who gets all records without a vote.
    pub learners: BTreeSet<NodeId>,
    /// Those of both that have no disk.
    pub ephemeral: BTreeSet<NodeId>,
    /// The last record in the log, committed, and applied here.
    pub last: u64,
    /// As far as this manager knows.
    pub committed: u64,
    /// Here.
    pub applied: u64,
    /// Of a leader: up to which record each of the others has all.
    pub matched: BTreeMap<NodeId, u64>,
    /// Of a leader: how long ago a majority answered.
    pub quorum_heard: Option<Duration>,
    /// The library has given up: why.
    pub stopped: Option<String>,
}

impl Beat {
    /// Whether nothing has changed that asks for a decision: records come and
    /// go, and matter only while somebody learns.
    pub fn is_like(&self, before: &Option<Beat>) -> bool {
        let what = |beat: &Beat| {
            let lead = (beat.leader, beat.leads, beat.term, beat.stopped.clone());
            let learned = (!beat.learners.is_empty()).then(|| (beat.last, beat.matched.clone()));
            let group = (beat.voters.clone(), beat.changing, beat.learners.clone());
            (lead, group, learned)
        };
        before
            .as_ref()
            .is_some_and(|before| what(before) == what(self))
    }
}

impl Pulse {
    /// Waits for the next change; `false` when there will be none.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }

    /// The present moment.
    pub fn beat(&mut self) -> Beat {
        let metrics = self.0.borrow_watched();
        let membership = metrics.membership_config.membership();
        let replication = metrics.replication.iter().flatten();
        let index = |id: &Option<crate::types::LogId>| id.as_ref().map_or(0, |id| id.index);
        Beat {
            leader: metrics.current_leader.map(|id| id.0),
            leads: metrics.state == openraft::ServerState::Leader,
            term: metrics.current_term,
            voters: membership.voter_ids().map(|id| id.0).collect(),
            changing: membership.get_joint_config().len() > 1,
            learners: membership.learner_ids().map(|id| id.0).collect(),
            ephemeral: {
                let nodes = membership.nodes().filter(|(_, kind)| kind.ephemeral);
                nodes.map(|(id, _)| id.0).collect()
            },
            last: metrics.last_log_index.unwrap_or(0),
            committed: index(&metrics.local_committed),
            applied: index(&metrics.last_applied),
            matched: replication.map(|(id, at)| (id.0, index(at))).collect(),
            quorum_heard: metrics.last_quorum_acked.map(|at| at.elapsed()),
            stopped: metrics
                .running_state
                .as_ref()
                .err()
                .map(ToString::to_string),
        }
    }
}

impl std::fmt::Debug for Pulse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pulse").finish_non_exhaustive()
    }
}

fn config(patience: Patience) -> Config {
    Config {
        cluster_name: "dui".into(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: patience.min_ms(),
        election_timeout_max: patience.max_ms(),
        install_snapshot_timeout: SNAPSHOT_MS,
        max_payload_entries: PAYLOAD_MAX,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_EVERY),
        enable_pre_vote: Some(true),
        // A manager that has come back is told at once.
        backoff: "50ms 100ms ...500ms".into(),
        ..Config::default()
    }
}

fn of_write(error: RaftError<Types, ClientWriteError<Types>>) -> GroupError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            GroupError::NotLeader(forward.leader_id.map(|id| id.0))
        }
        RaftError::APIError(_) => GroupError::Busy,
        RaftError::Fatal(fatal) => GroupError::Stopped(fatal.to_string()),
    }
}

/// Makes connections for the library.
struct Network {
    cluster: ClusterId,
    wire: Arc<dyn Wire>,
}

/// The way to one manager.
struct Link {
    cluster: ClusterId,
    to: NodeId,
    lane: Lane,
    wire: Arc<dyn Wire>,
}

impl Network {
    fn link(&self, to: RaftId, lane: Lane) -> Link {
        Link {
            cluster: self.cluster,
            to: to.0,
            lane,
            wire: self.wire.clone(),
        }
    }
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Link;

    async fn new_client(&mut self, target: RaftId, _node: &Kind) -> Link {
        self.link(target, Lane::Log)
    }

    async fn new_heartbeat_client(&mut self, target: RaftId, _node: &Kind) -> Link {
        self.link(target, Lane::Pulse)
    }

    async fn new_snapshot_client(&mut self, target: RaftId, _node: &Kind) -> Link {
        self.link(target, Lane::Bulk)
    }
}

impl Link {
    async fn ask(
        &self,
        call: RaftCall,
        lane: Lane,
        option: &RPCOption,
    ) -> Result<Answer, RPCError<Types>> {
        let call = Call::Raft(self.cluster, Box::new(call)).encode();
        let timeout = option.hard_ttl();
        let bytes = self.wire.call(self.to, lane, call, timeout).await;
        let bytes = bytes.map_err(|error| RPCError::Unreachable(Unreachable::new(&error)))?;
        Answer::decode(&bytes).map_err(|bad| RPCError::Network(NetworkError::new(&bad)))
    }
}

fn unexpected(answer: &Answer) -> RPCError<Types> {
    let what = match answer {
        Answer::Refused { why, .. } => why.clone(),
        other => format!("an answer to something else: {other:?}"),
    };
    RPCError::Unreachable(Unreachable::new(&AnyError::error(what)))
}

impl RaftNetworkV2<Types> for Link {
    type SnapshotData = Vec<u8>;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        match self.ask(RaftCall::Append(rpc), self.lane, &option).await? {
            Answer::Append(answer) => Ok(answer),
            other => Err(unexpected(&other)),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.ask(RaftCall::Vote(rpc), Lane::Pulse, &option).await? {
            Answer::Vote(answer) => Ok(answer),
            other => Err(unexpected(&other)),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        let call = RaftCall::PreVote(rpc);
        match self.ask(call, Lane::Pulse, &option).await? {
            Answer::Vote(answer) => Ok(answer),
            other => Err(unexpected(&other)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<Types, Vec<u8>>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let call = RaftCall::Snapshot(vote, snapshot.meta, snapshot.snapshot);
        tokio::select! {
            closed = cancel => Err(closed.into()),
            answer = self.ask(call, Lane::Bulk, &option) => match answer? {
                Answer::Snapshot(answer) => Ok(answer),
                other => Err(unexpected(&other).into()),
            },
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        let call = RaftCall::Transfer(req);
        match self.ask(call, Lane::Pulse, &option).await? {
            Answer::Done => Ok(Ok(())),
            other => Err(unexpected(&other)),
        }
    }
}
