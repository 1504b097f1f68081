//! The sans-IO core of dui: who is in the cluster, who is alive, and how news travels.
//!
//! Nothing here reads a clock, opens a socket, spawns a thread or asks the
//! system for randomness. A shell feeds [`Peer::handle`] with what happened
//! and when, then drains [`Peer::poll_output`] and does what it is told:
//!
//! ```text
//!   datagram, stream frame, ─▶ Peer::handle(now, Input) ─▶ Send, Beacon, Stream…
//!   refusal, timeout, thaw                                 Persist, Event, WakeAt
//! ```
//!
//! The node (`dui-node`) and the simulator drive the same [`Peer`].
//!
//! Modules point down only: `bugs`, `clock`, `id`, `wire`, `seal`, `reconcile`, `entry`, `tuning`,
//! `types`, `diagnosis` ← `membership`, `gossip`, `discovery`, `entries` ← `peer`. The four
//! in the middle never import one another; `peer` composes them.

mod bugs;
pub mod clock;
pub mod diagnosis;
mod discovery;
mod entries;
pub mod entry;
mod gossip;
pub mod id;
pub mod keyring;
mod membership;
pub mod peer;
pub mod reconcile;
pub mod seal;
mod tuning;
mod types;
pub mod wire;

#[cfg(feature = "bugs")]
pub use bugs::Bug;
pub use clock::{Mono, Now, Timestamp};
pub use entry::{
    Acks, BadEntry, Change, Entry, EntryKey, KeyProblem, Kind, Lost, NotParted, PendingWrite,
    SharedChoice, SharedConfig, SharedInfo, Ticket, Version, Write, WriteError, Written,
};
pub use id::{ClusterName, Incarnation, MessageCounter, NameError, NodeId, NodeName, RunId};
pub use keyring::{Key, KeyError, KeyFingerprint, Keyring};
pub use peer::{
    Config, Counters, DiscoveryInfo, EXAMINATION_LASTS, EXAMINED_MAX, EndOfStream, Event,
    ExamineAlso, Fatal, ForgetError, ForgetReason, Holdings, Input, Known, LeaderNews, Member,
    MemberState, Output, Peer, ProviderInfo, PublishError, Record, Refusal, Role, SelfInfo,
    StreamId, Timer, UserEvent, Why, WhyEntry,
};
pub use seal::Stranger;
pub use tuning::Tuning;
