//! Types: what the Raft library calls its parts here.
//!
//! A Raft id is a node id, so it is never used twice: a fresh data directory,
//! or a manager without one, is a new node. Addresses are no part of the
//! configuration: a manager is asked where its id lives now.

use std::fmt;

use dui_core::NodeId;

use crate::record::{Command, Outcome};

/// A node id, as the Raft library wants it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RaftId(pub NodeId);

impl fmt::Display for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl From<u64> for RaftId {
    fn from(id: u64) -> Self {
        Self(NodeId(id.into()))
    }
}

/// What the group knows of each manager beside its id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kind {
    /// It has no disk: its id ends with its process.
    pub ephemeral: bool,
}

openraft::declare_raft_types!(
    /// The Raft library, as we use it.
    pub Types:
        D = Command,
        R = Outcome,
        NodeId = RaftId,
        Node = Kind,
);

pub(crate) type Vote = openraft::type_config::alias::VoteOf<Types>;
pub(crate) type LogId = openraft::type_config::alias::LogIdOf<Types>;
pub(crate) type Entry = openraft::type_config::alias::EntryOf<Types>;
pub(crate) type Membership = openraft::Membership<RaftId, Kind>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;
