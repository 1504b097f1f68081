//! Write: what is asked of shared entries, and what comes of it.

use std::time::Duration;

use super::{EntryKey, KEY_BYTES_MAX, VALUE_BYTES_MAX, Version};
use crate::id::NodeId;

/// How shared entries are kept.
#[derive(Clone, Debug)]
pub struct SharedConfig {
    /// Memory that entries may take, in bytes, overhead included. Default
    /// 256 MiB. A put beyond it is refused with [`WriteError::Full`]; what
    /// peers have accepted is taken up to a quarter more.
    pub bytes_max: u64,
    /// How long a tombstone is kept, and how long two sides may be out of
    /// contact without an operator's decision. Default 30 days.
    pub tombstone_life: Duration,
    /// How far a clock may be ahead: of the peers' median, to write; of ours,
    /// to be believed. Default 60 s; seconds more than clocks in the cluster
    /// differ.
    pub ahead_max: Duration,
    /// When there was contact with whom, ms of the hybrid clock, remembered
    /// from an earlier run.
    pub contacts: Vec<(NodeId, u64)>,
}

impl Default for SharedConfig {
    fn default() -> Self {
        Self {
            bytes_max: 256 << 20,
            tombstone_life: Duration::from_secs(30 * 24 * 3_600),
            ahead_max: crate::clock::AHEAD_MAX,
            contacts: Vec::new(),
        }
    }
}

/// A write that is asked for.
#[derive(Clone, Debug)]
pub enum Write<'a> {
    /// Gives a key a value.
    Put {
        /// The key.
        key: &'a EntryKey,
        /// Up to 1 MiB of anything.
        value: &'a [u8],
        /// What it is, up to 254 bytes, kept byte for byte.
        content_type: Option<&'a [u8]>,
        /// How long it lives; rounded up to 1 ms. `None`: until deleted.
        ttl: Option<Duration>,
    },
    /// Takes a key's value away.
    Delete {
        /// The key.
        key: &'a EntryKey,
    },
}

impl<'a> Write<'a> {
    /// A put without content type or ttl.
    pub fn put(key: &'a EntryKey, value: &'a [u8]) -> Self {
        Self::Put {
            key,
            value,
            content_type: None,
            ttl: None,
        }
    }

    /// Its key.
    pub fn key(&self) -> &'a EntryKey {
        match self {
            Write::Put { key, .. } | Write::Delete { key } => key,
        }
    }
}

/// How many members have to hold a write durably before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Acks {
    /// This one.
    #[default]
    Here,
    /// So many, this one among them. More than there are: never.
    Count(usize),
    /// All that are alive now.
    All,
}

/// Names a write between core and shell until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A write that was taken on. [`Output::Written`](crate::Output::Written)
/// with its ticket follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PendingWrite {
    /// Names it.
    pub ticket: Ticket,
    /// What it will have.
    pub version: Version,
}

/// A write that is done: durable here, and at as many others as was wished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// What it has.
    pub version: Version,
    /// Whether there was a value before: of a put, whether it replaced one;
    /// of a delete, whether it took one away.
    pub existed: bool,
    /// Members that hold it durably, as far as was asked; this one counts.
    pub acked: usize,
}

/// A write that could not be made durable. Nobody was told of it, and
/// nothing has changed: it may be tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the write could not be stored: {reason}")]
pub struct Lost {
    /// What the shell said, for people.
    pub reason: String,
}

/// Why a write was refused. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The value is too large.
    #[error("a value has at most {max} bytes, this one has {got}")]
    TooLarge {
        /// Limit in bytes.
        max: usize,
        /// Size in bytes.
        got: usize,
    },
    /// The content type is too long.
    #[error("a content type has at most {max} bytes, this one has {got}")]
    ContentType {
        /// Limit in bytes.
        max: usize,
        /// Length in bytes.
        got: usize,
    },
    /// No memory is left for entries. Deletes are always taken.
    #[error(
        "shared entries take {bytes} of {max} bytes: delete some, or give all nodes more memory for them"
    )]
    Full {
        /// In use, in bytes.
        bytes: u64,
        /// Limit in bytes.
        max: u64,
    },
    /// This node's clock is wrong: its writes would beat everybody else's.
    #[error(
        "this node's clock is {} s ahead of its peers', and {} s are allowed: set it right",
        ahead.as_secs(), max.as_secs()
    )]
    ClockAhead {
        /// By how much.
        ahead: Duration,
        /// Limit.
        max: Duration,
    },
    /// Too many writes wait for acknowledgements of other members.
    #[error("{waiting} writes wait for acknowledgements: try again when some were answered")]
    Busy {
        /// How many.
        waiting: usize,
    },
    /// The node is leaving.
    #[error("this node is leaving the cluster")]
    Leaving,
}

/// What happened to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It has a new value.
    Put,
    /// It was deleted.
    Deleted,
    /// Its ttl ran out. Said by each node for itself.
    Expired,
}

impl Change {
    /// `put`, `deleted` or `expired`.
    pub fn as_str(self) -> &'static str {
        match self {
            Change::Put => "put",
            Change::Deleted => "deleted",
            Change::Expired => "expired",
        }
    }
}

/// Shared entries from above.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct SharedInfo {
    /// Entries with a value.
    pub entries: usize,
    /// What deletes and expiries have left.
    pub tombstones: usize,
    /// Memory they take, overhead included.
    pub bytes: u64,
    /// Limit of it.
    pub bytes_max: u64,
    /// Equal on nodes that hold the same.
    pub fingerprint: u64,
    /// By how much this node's clock is ahead of its peers' median, if it is
    /// and any peer has told its time.
    pub clock_ahead: Option<Duration>,
    /// Members with whom no entries are exchanged, because the last contact
    /// is longer ago than tombstones live.
    pub parted: Vec<NodeId>,
    /// Entries that wait to be durable.
    pub unstored: usize,
}

const _: () = assert!(KEY_BYTES_MAX <= u16::MAX as usize && VALUE_BYTES_MAX <= u32::MAX as usize);

/// Which entries stay after a parting for longer than tombstones live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedChoice {
    /// Both sides': what one has deleted meanwhile comes back with what the
    /// other still has.
    Keep,
    /// The other side's: this one gives up what it holds.
    Discard,
}

/// There is nothing to choose: entries are exchanged with every member that
/// was met. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shared entries are exchanged with every member that this node has met")]
pub struct NotParted;
