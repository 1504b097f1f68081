//! Refusal: what is not done, and why, in words that tell the next move.

use std::net::SocketAddr;

use crate::id::NodeId;
use crate::keyring::{KeyFingerprint, Keyring};

/// Whom we refuse, and why; the text of an operator's log line.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Same key, another cluster name.
    #[error(
        "cluster '{theirs}' at {from} is not '{ours}': start both with the same --cluster to merge them"
    )]
    OtherCluster {
        /// Their cluster name.
        theirs: String,
        /// Ours.
        ours: String,
        /// Who.
        from: SocketAddr,
    },
    /// Sealed with a key that we do not have.
    #[error(
        "packet from {from} is sealed with key {theirs}, this node has {ours}: give both the same --key-file, or remove the peer"
    )]
    OtherKey {
        /// Their key's fingerprint.
        theirs: KeyFingerprint,
        /// Ours, comma-separated, or `none`.
        ours: String,
        /// Who.
        from: SocketAddr,
    },
    /// Sent in clear, and we have a key.
    #[error(
        "packet from {from} is not sealed, this node has key {ours}: start that one with the same --key-file, or remove it"
    )]
    NotSealed {
        /// Ours, comma-separated.
        ours: String,
        /// Who.
        from: SocketAddr,
    },
    /// A packet of a version that we do not speak.
    #[error(
        "packet from {from} speaks wire version {theirs}, this node speaks {ours}: upgrade the older one"
    )]
    OtherVersion {
        /// Theirs.
        theirs: u8,
        /// Ours.
        ours: u8,
        /// Who.
        from: SocketAddr,
    },
    /// An incarnation more than 24 h ahead of our clock.
    #[error(
        "node {id} at {from} claims incarnation {incarnation}, more than 24 h ahead of this node's clock: set its clock (or ours) right"
    )]
    ClockAhead {
        /// Who.
        id: NodeId,
        /// Where.
        from: SocketAddr,
        /// What it claimed.
        incarnation: u64,
    },
    /// An entry from a clock that is too far ahead: not taken in, or it would
    /// beat everybody's writes until then.
    #[error(
        "node {origin} has stamped a shared entry {ahead_s} s ahead of this node's clock and its peers': set its clock right, it stamps the entry anew then"
    )]
    TimestampAhead {
        /// Who wrote it.
        origin: NodeId,
        /// By how many seconds, rounded up to a power of two.
        ahead_s: u64,
    },
}

impl Refusal {
    /// Of a peer whose key, by this fingerprint, is none of ours.
    pub fn key(theirs: KeyFingerprint, ours: &Keyring, from: SocketAddr) -> Self {
        let ours = ours.describe();
        if theirs == KeyFingerprint::NONE {
            Self::NotSealed { ours, from }
        } else {
            Self::OtherKey { theirs, ours, from }
        }
    }

    /// Who was refused, or refused us, where that is known by address.
    pub fn from(&self) -> Option<SocketAddr> {
        match self {
            Self::OtherCluster { from, .. }
            | Self::OtherKey { from, .. }
            | Self::NotSealed { from, .. }
            | Self::OtherVersion { from, .. }
            | Self::ClockAhead { from, .. } => Some(*from),
            Self::TimestampAhead { .. } => None,
        }
    }
}

/// Why a node must stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fatal {
    /// An operator removed this id for good.
    #[error(
        "this node's id {id} was forgotten by its cluster: start it with a fresh data directory to join as a new node"
    )]
    Forgotten {
        /// The own id.
        id: NodeId,
    },
    /// Another process answers under the own id.
    #[error(
        "another node at {other} runs with this node's id {id}: the data directory was copied; give this one a fresh data directory"
    )]
    Copied {
        /// The own id.
        id: NodeId,
        /// Where the other one is.
        other: SocketAddr,
    },
}

/// Why a member could not be forgotten. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForgetError {
    /// No such member.
    #[error("no member with this id")]
    Unknown,
    /// It is alive or only suspected.
    #[error("the member is alive: stop it first, or use force")]
    Alive,
    /// A node cannot forget itself.
    #[error("a node cannot forget itself: use leave, or ask another node")]
    Myself,
}

/// Why an event was not published. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// A name has 1 to 128 bytes without control characters.
    #[error("an event name has 1 to 128 bytes and no control characters")]
    Name,
    /// The payload is too large.
    #[error("an event carries at most {max} bytes, this one has {got}")]
    TooLarge {
        /// Limit in bytes.
        max: usize,
        /// Size in bytes.
        got: usize,
    },
    /// The node is leaving.
    #[error("this node is leaving the cluster")]
    Leaving,
}
