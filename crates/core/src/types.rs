//! What goes into a [`Peer`](crate::Peer) and what comes out of it.

mod leader;
mod refusal;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::bugs::Bugs;
use crate::clock::{Mono, Timestamp};
use crate::entry::{Change, Entry, Lost, SharedConfig, Ticket, Written};
use crate::id::{ClusterName, Incarnation, MessageCounter, NodeId, NodeName, RunId};
use crate::keyring::{KeyFingerprint, Keyring};
use crate::seal::Stranger;
pub use leader::{LeaderNews, VOTERS_MAX};
pub use refusal::{Fatal, ForgetError, PublishError, Refusal};

/// Whether a node votes. Managers vote and may lead; workers do all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Role {
    /// Votes and may lead. The default.
    #[default]
    Manager,
    /// Takes part in everything else.
    Worker,
}

impl Role {
    /// `manager` or `worker`.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Manager => "manager",
            Role::Worker => "worker",
        }
    }
}

/// What a node believes of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemberState {
    /// Answers, as far as anybody knows.
    Alive,
    /// Did not answer somebody; about to be failed unless it speaks up.
    Suspect,
    /// Observed dead.
    Failed,
    /// Said goodbye.
    Left,
}

impl MemberState {
    /// `alive`, `suspect`, `failed` or `left`.
    pub fn as_str(self) -> &'static str {
        match self {
            MemberState::Alive => "alive",
            MemberState::Suspect => "suspect",
            MemberState::Failed => "failed",
            MemberState::Left => "left",
        }
    }
}

/// A member as this node sees it: a snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Names the node for good.
    pub id: NodeId,
    /// The process that speaks for it.
    pub run: RunId,
    /// A label for people.
    pub name: NodeName,
    /// Manager or worker.
    pub role: Role,
    /// Its peer address (UDP and TCP).
    pub address: SocketAddr,
    /// What this node believes of it.
    pub state: MemberState,
    /// Orders its states.
    pub incarnation: Incarnation,
    /// The highest message counter known of its run.
    pub messages: MessageCounter,
    /// The dui version it runs.
    pub version: Arc<str>,
    /// Smoothed round-trip time, once measured by this node.
    pub rtt: Option<Duration>,
    /// When `state` began, by this node's wall clock, ms since the Unix epoch.
    pub since_ms: u64,
}

/// A user event, ordered among all others by `(timestamp, origin)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEvent {
    /// When it was published, by the hybrid clock.
    pub timestamp: Timestamp,
    /// Who published it.
    pub origin: NodeId,
    /// What it is called: 1 to 128 bytes.
    pub name: String,
    /// Up to 8 KiB of anything.
    pub payload: Vec<u8>,
}

/// What a node needs to know to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The cluster to belong to.
    pub cluster: ClusterName,
    /// Label for people.
    pub name: NodeName,
    /// Manager or worker.
    pub role: Role,
    /// Version text told to others, at most 32 bytes.
    pub version: String,
    /// Stable while the data directory lives.
    pub id: NodeId,
    /// Fresh at every start.
    pub run: RunId,
    /// Already persisted by the shell, see [`Incarnation::at_start`].
    pub incarnation: Incarnation,
    /// The peer address told to others.
    pub address: SocketAddr,
    /// Cluster keys; empty: packets go in clear.
    pub keys: Keyring,
    /// Peers remembered from an earlier run.
    pub known: Vec<Known>,
    /// Ids an operator removed for good, remembered from an earlier run.
    pub forgotten: Vec<NodeId>,
    /// Time between probes. Default 1 s; 200 ms to 5 s is sensible. Halving
    /// it doubles the idle traffic and nearly halves the time until a silent
    /// death is noticed.
    pub probe_interval: Duration,
    /// How shared entries are kept.
    pub shared: SharedConfig,
    /// The mistake that this node makes on purpose.
    #[cfg(feature = "bugs")]
    pub bug: Option<crate::bugs::Bug>,
}

impl Config {
    pub(crate) fn bugs(&self) -> Bugs {
        Bugs(
            #[cfg(feature = "bugs")]
            self.bug,
        )
    }
}

/// A peer worth remembering across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its id when last seen.
    pub id: NodeId,
    /// Where it was last seen.
    pub address: SocketAddr,
}

/// What must survive a restart. Written before anything emitted after it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Own incarnation.
    pub incarnation: Incarnation,
    /// Recent peers, latest first, at most 1,024.
    pub known: Vec<Known>,
    /// Ids removed for good, at most 10,000.
    pub forgotten: Vec<NodeId>,
    /// When shared entries were last exchanged with whom, ms of the hybrid
    /// clock, at most 4,096.
    pub contacts: Vec<(NodeId, u64)>,
    /// `true` when the incarnation rose or an id was forgotten: sync it
    /// before the next output. `false`: peers only, may be written lazily.
    pub urgent: bool,
}

/// Names a stream between core and shell: the core draws even numbers for
/// those it opens, the shell odd ones for those it accepts. Never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndOfStream {
    /// Connecting was answered by a reset: nobody listens there.
    Refused,
    /// An established stream ended or was reset by the other side.
    Closed,
    /// Connecting or a write took too long, the frame was too large, or the
    /// address cannot be reached: says nothing about the peer.
    Broken,
    /// Connected, and no handshake came about: nothing was answered in time,
    /// or nonsense. Says no more about the peer than [`EndOfStream::Broken`],
    /// but the way there is open.
    Silent,
}

/// What happened, as the shell saw it.
#[derive(Debug)]
pub enum Input<'a> {
    /// A packet on the peer socket.
    Datagram {
        /// Source address.
        from: SocketAddr,
        /// The packet.
        bytes: &'a [u8],
    },
    /// A packet on a discovery socket (multicast or broadcast).
    Beacon {
        /// Source address; says nothing about the peer address.
        from: SocketAddr,
        /// The packet.
        bytes: &'a [u8],
        /// The provider that heard it: `multicast` or `broadcast`.
        provider: &'static str,
    },
    /// Port unreachable for a packet we sent to this address, and the ICMP
    /// message came from that very address (IP_RECVERR offender).
    Unreachable {
        /// The peer address refused.
        peer: SocketAddr,
    },
    /// The shell accepted a stream.
    StreamAccepted {
        /// Its new name (odd).
        stream: StreamId,
        /// Source address.
        from: SocketAddr,
    },
    /// A whole frame arrived on a stream.
    StreamFrame {
        /// The stream.
        stream: StreamId,
        /// The frame without its length.
        bytes: &'a [u8],
    },
    /// A stream's other side is not one of us; `StreamEnded` follows.
    StreamRefused {
        /// Why, as the shell's handshake found.
        refusal: Refusal,
        /// What the other side told of itself, if it has another key and our
        /// stream was turned away.
        stranger: Option<Stranger>,
    },
    /// A stream is gone; its name is not used again.
    StreamEnded {
        /// The stream.
        stream: StreamId,
        /// How.
        how: EndOfStream,
    },
    /// A provider found addresses of possible peers (all it knows now).
    Candidates {
        /// `static`, `dns`, `file`.
        provider: &'static str,
        /// Peer addresses; the node's own one is ignored.
        addresses: Vec<SocketAddr>,
    },
    /// The node has another peer address from now on: the shell has moved its
    /// sockets there, and closes every stream that the core closes. The
    /// incarnation rises, and all are told. At the same address (the shell moved
    /// behind a translation) only the streams start anew.
    Readdressed {
        /// The new one, as others are to be told.
        address: SocketAddr,
    },
    /// [`Peer::slept`](crate::Peer::slept) said so: fresh entropy, because a
    /// machine resumed from a snapshot would draw the same numbers again.
    Thawed {
        /// 32 random bytes from the system.
        seed: [u8; 32],
    },
    /// Entries are durable: those of this [`Output::Store`] and of all before
    /// it that were not reported yet. Without a data directory, at once.
    Stored {
        /// Its number.
        batch: u64,
    },
    /// Entries could not be made durable: those of this [`Output::Store`] and
    /// of all before it that were not reported yet. What is not durable
    /// elsewhere is lost, the rest comes again.
    StoreFailed {
        /// Its number.
        batch: u64,
        /// Why, for people: the value seen and the next move.
        reason: String,
    },
    /// The system did not let a packet to this address out: our own firewall.
    SendDenied {
        /// Where it was to go.
        to: SocketAddr,
    },
    /// The time of the last `WakeAt` has come (early or stale calls are harmless).
    Timeout,
}

/// What the shell has to do, in this order.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Send a packet from the peer socket.
    Send {
        /// Where to.
        to: SocketAddr,
        /// At most 1,200 bytes.
        bytes: Vec<u8>,
    },
    /// Send once by every provider that reaches everybody (multicast, broadcast).
    Beacon {
        /// At most 1,200 bytes.
        bytes: Vec<u8>,
    },
    /// Connect to a peer, privately where there is a key. Frames sent before
    /// that is done wait.
    StreamOpen {
        /// The new stream (even).
        stream: StreamId,
        /// Where to.
        to: SocketAddr,
    },
    /// Send one frame.
    StreamSend {
        /// The stream; ignored if it is gone.
        stream: StreamId,
        /// The frame without its length.
        bytes: Vec<u8>,
    },
    /// Close after what was sent before; no `StreamEnded` follows.
    StreamClose {
        /// The stream.
        stream: StreamId,
    },
    /// Remember this.
    Persist(Record),
    /// Make entries durable, then say [`Input::Stored`]. Batches are numbered
    /// from 1; several may be stored as one, in their order. Nothing else
    /// waits for it.
    Store {
        /// Its number.
        batch: u64,
        /// To be written, in this order: a later one of a key replaces it.
        entries: Vec<Entry>,
        /// To be removed, if the key still has this version.
        removed: Vec<Entry>,
    },
    /// A write is done, or has not happened.
    Written {
        /// As it was taken.
        ticket: Ticket,
        /// What became of it.
        result: Result<Written, Lost>,
    },
    /// Tell the application.
    Event(Event),
    /// Call `handle` with [`Input::Timeout`] at this time; replaces any earlier one.
    WakeAt {
        /// When.
        at: Mono,
        /// What for: makes a trace legible.
        why: Timer,
    },
}

/// What a wake-up is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// The next step of a probe or the next probe.
    Probe,
    /// A suspicion runs out.
    Suspicion,
    /// A crash is being confirmed.
    Confirmation,
    /// Rumors wait to be sent.
    Gossip,
    /// Ids of recent rumors go to further rings.
    Repair,
    /// A beacon interval.
    Beacon,
    /// An answer to a beacon or a candidate is due.
    Greeting,
    /// A lost peer is tried.
    LostPeer,
    /// Two views are compared.
    Reconcile,
    /// Ring streams are adjusted.
    Ring,
    /// Old members are dropped from the list.
    Reap,
    /// A leave waits for acks.
    Leave,
    /// Known peers are written down.
    Persist,
    /// An entry expires, or what it left goes.
    Expiry,
    /// What an examination was not answered is asked again.
    Examine,
}

/// Why a member disappeared from the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForgetReason {
    /// An operator removed it for good.
    Operator,
    /// A new node answered at its address.
    Superseded,
    /// It had left or failed long ago, or too many had.
    Reaped,
}

impl ForgetReason {
    /// `operator`, `superseded` or `reaped`.
    pub fn as_str(self) -> &'static str {
        match self {
            ForgetReason::Operator => "operator",
            ForgetReason::Superseded => "superseded",
            ForgetReason::Reaped => "reaped",
        }
    }
}

/// News for the application.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A member appeared, came back or refuted.
    MemberAlive(Member),
    /// A member is doubted.
    MemberSuspect(Member),
    /// A member was observed dead.
    MemberFailed(Member),
    /// A member said goodbye.
    MemberLeft(Member),
    /// A member is no longer listed.
    MemberForgotten {
        /// As it was last seen.
        member: Member,
        /// Why.
        reason: ForgetReason,
    },
    /// A user event, in arrival order.
    User(UserEvent),
    /// A shared entry changed, here or elsewhere. When a node joins, this
    /// comes once for each entry that there is.
    SharedChanged {
        /// What happened.
        change: Change,
        /// As it is now.
        entry: Entry,
    },
    /// Leaving is done: everybody who must know does, or nobody is left.
    Left {
        /// Peers that confirmed.
        acked: usize,
        /// Peers that should have.
        wanted: usize,
    },
    /// Somebody of another cluster or key was heard. At most once a minute
    /// for each distinct refusal; the counters count all.
    Refused(Refusal),
    /// Packets to a live member stopped to get through while streams do
    /// (`udp: false`), or get through again.
    PathChanged {
        /// As this node sees it.
        member: Member,
        /// Whether packets get through now.
        udp: bool,
    },
    /// An own peer address seen by others differs from the advertised one.
    AddressMismatch {
        /// What we tell others.
        advertised: SocketAddr,
        /// What they see.
        seen: SocketAddr,
    },
    /// No shared entries are exchanged with this member: the last contact is
    /// longer ago than tombstones live, so that what was deleted meanwhile
    /// would come back. An operator chooses: [`Peer::recover_shared`](crate::Peer::recover_shared).
    SharedParted(Member),
    /// What others have written does not fit the memory for shared entries:
    /// this node does not hold all. At most once a minute.
    SharedFull {
        /// In use, in bytes.
        bytes: u64,
        /// Limit in bytes.
        bytes_max: u64,
    },
    /// What the managers have agreed on is this now: newer than what this node
    /// was told before, at each of its starts from nothing on.
    LeaderNews(LeaderNews),
    /// The node cannot go on under this id; stop with exit code 78.
    Fatal(Fatal),
}

/// This node about itself.
#[derive(Clone, Debug, PartialEq)]
pub struct SelfInfo {
    /// As others see it.
    pub member: Member,
    /// The cluster.
    pub cluster: ClusterName,
    /// Fingerprint of the key that seals, if any.
    pub key: Option<KeyFingerprint>,
    /// Lifeguard's local health: 0 is well, 8 is starved.
    pub awareness: u32,
    /// Fingerprint of the member view.
    pub view: u64,
    /// `true` from the first step of leaving on.
    pub leaving: bool,
}

/// One line of a member's story: `dui why`.
#[derive(Clone, Debug, PartialEq)]
pub struct WhyEntry {
    /// When, by this node's wall clock, ms since the Unix epoch.
    pub at_ms: u64,
    /// What happened: `probe_timeout`, `accused`, `refused`, `stream_ended`,
    /// `suspected`, `refuted`, `failed`, `left`, `alive`, …
    pub what: &'static str,
    /// Who said so; `None` for this node's own observation.
    pub by: Option<NodeId>,
    /// Details for people.
    pub detail: String,
}

/// Why a member is in its state, as this node knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Why {
    /// The member.
    pub member: Member,
    /// This node's own health when asked: 0 is well.
    pub awareness: u32,
    /// The last 16 things that happened, oldest first.
    pub story: Vec<WhyEntry>,
}

macro_rules! counters {
    ($($name:ident: $doc:literal),* $(,)?) => {
        /// What was counted since the start.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counters { $(#[doc = $doc] pub $name: u64,)* }

        impl Counters {
            /// Every counter with its name and its help text, for metrics.
            pub fn list(&self) -> Vec<(&'static str, &'static str, u64)> {
                vec![$((stringify!($name), $doc, self.$name)),*]
            }
        }
    };
}

counters! {
    packets_sent: "Packets sent.",
    bytes_sent: "Bytes sent in packets, without IP and UDP headers.",
    packets_received: "Packets received.",
    bytes_received: "Bytes received in packets, without IP and UDP headers.",
    frames_received: "Stream frames received.",
    beacons_sent: "Beacons sent.",
    beacons_received: "Beacons received.",
    dropped_malformed: "Packets dropped: truncated, garbled or over a bound.",
    dropped_version: "Packets dropped: a wire version that we do not speak.",
    dropped_key: "Packets dropped: sealed with a key that we do not have.",
    dropped_cluster: "Packets dropped: of another cluster.",
    dropped_replay: "Packets dropped: seen before (replayed or duplicated).",
    dropped_unproven: "Packets not acted on because their sender had yet to prove to be live.",
    dropped_rate: "Packets dropped: over the rate allowed for one peer.",
    rumors_originated: "Rumors originated.",
    rumors_new: "Rumors received that were new.",
    rumors_duplicate: "Rumors received again.",
    rumors_sent: "Rumors sent in full.",
    rumor_ids_sent: "Ids of rumors sent, for those who lack them to pull.",
    rumors_pulled: "Rumors pulled after a digest showed them missing.",
    probes_sent: "Probes sent.",
    probes_failed: "Probes without an answer.",
    refutations: "Suspicions of this node refuted.",
    reconciliations: "Reconciliations of views or event logs begun.",
}

/// How much a node keeps of what others can make it keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Members listed, in any state.
    pub members: usize,
    /// Rumors that can still be pulled.
    pub rumors: usize,
    /// Their bytes.
    pub rumor_bytes: usize,
    /// Windows of rumors received, one for each origin and run.
    pub windows: usize,
    /// User events.
    pub events: usize,
    /// Streams, in either direction.
    pub streams: usize,
    /// Probes in flight.
    pub probes: usize,
}

/// What discovery knows: for `GET /v1/discovery`.
#[derive(Clone, Debug, PartialEq)]
pub struct DiscoveryInfo {
    /// A line per provider that found or heard anything.
    pub providers: Vec<ProviderInfo>,
    /// Addresses where a peer was or should be, and nobody lives now.
    pub lost: Vec<SocketAddr>,
}

/// One provider's catch.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderInfo {
    /// `multicast`, `static`, …
    pub name: &'static str,
    /// Distinct addresses that it found.
    pub found: usize,
    /// Beacons heard or lists received.
    pub heard: u64,
    /// When it last heard something, ms since the Unix epoch.
    pub last_ms: Option<u64>,
}
