//! Held: what a Raft group has in memory of its log and vote.
//!
//! It is changed by [`Change`]s only, and those are what lies on the disk: the
//! log that is read at start is made by the same steps as the one that was
//! written.
//!
//! ```text
//!   frame body   change · change · …
//!   change       kind 1 · length 4 · bytes (Protocol Buffers, see `record`)
//! ```

use std::collections::VecDeque;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use prost::Message;

use crate::record::{
    self, decode_entry, encode_entry, log_id_in, log_id_out, proto, vote_in, vote_out,
};
use crate::types::{Entry, LogId, Vote};

/// Kind and length.
const CHANGE_HEAD_BYTES: usize = 5;

/// A step from one state of the log to the next.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Vote(Vote),
    Append(Arc<Entry>),
    /// Entries above this index are gone; all of them if there is none.
    TruncateAfter(Option<u64>),
    /// Entries up to this one are in a snapshot, and gone.
    Purge(LogId),
    Committed(Option<LogId>),
}

impl Change {
    /// Adds its bytes.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let (kind, bytes) = match self {
            Self::Vote(vote) => (1, vote_out(vote).encode_to_vec()),
            Self::Append(entry) => (2, encode_entry(entry)),
            Self::TruncateAfter(None) => (3, Vec::new()),
            Self::TruncateAfter(Some(index)) => (3, index.to_le_bytes().to_vec()),
            Self::Purge(id) => (4, log_id_out(id).encode_to_vec()),
            Self::Committed(None) => (5, Vec::new()),
            Self::Committed(Some(id)) => (5, log_id_out(id).encode_to_vec()),
        };
        // Whoever queues changes refuses such as come near this bound.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        out.push(kind);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&bytes);
    }

    /// Hands out the changes of a frame, each with the bytes that it takes.
    pub(super) fn decode_each(
        mut body: &[u8],
        mut take: impl FnMut(Self, usize) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        const SHORT: &str = "a change is cut short";

        while let Some((head, rest)) = body.split_first_chunk::<CHANGE_HEAD_BYTES>() {
            let [kind, length @ ..] = *head;
            let length = u32::from_le_bytes(length) as usize;
            let (bytes, rest) = rest.split_at_checked(length).ok_or(SHORT)?;
            take(Self::decode(kind, bytes)?, CHANGE_HEAD_BYTES + length)?;
            body = rest;
        }
        if body.is_empty() { Ok(()) } else { Err(SHORT) }
    }

    fn decode(kind: u8, bytes: &[u8]) -> Result<Self, &'static str> {
        let bad = |bad: record::BadRecord| bad.0;
        let unreadable = "a change that is not readable";
        let log_id = || {
            let id = proto::LogId::decode(bytes).map_err(|_| unreadable)?;
            log_id_in(&id).map_err(bad)
        };
        Ok(match kind {
            1 => {
                let vote = proto::Vote::decode(bytes).map_err(|_| unreadable)?;
                Self::Vote(vote_in(&vote).map_err(bad)?)
            }
            2 => Self::Append(Arc::new(decode_entry(bytes).map_err(bad)?)),
            3 if bytes.is_empty() => Self::TruncateAfter(None),
            3 => {
                let index = bytes.try_into().map_err(|_| unreadable)?;
                Self::TruncateAfter(Some(u64::from_le_bytes(index)))
            }
            4 => Self::Purge(log_id()?),
            5 if bytes.is_empty() => Self::Committed(None),
            5 => Self::Committed(Some(log_id()?)),
            _ => return Err("a change of a kind that this dui does not know"),
        })
    }
}

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    /// Without a hole, beginning right behind what was purged.
    entries: VecDeque<Kept>,
    /// What the entries take on the disk.
    entry_bytes: u64,
}

#[derive(Clone, Debug)]
struct Kept {
    entry: Arc<Entry>,
    bytes: usize,
}

impl Held {
    pub(super) fn vote(&self) -> Option<Vote> {
        self.vote
    }

    pub(super) fn committed(&self) -> Option<LogId> {
        self.committed
    }

    pub(super) fn purged(&self) -> Option<LogId> {
        self.purged
    }

    /// Of the last entry, or of the last that was purged if there is none.
    pub(super) fn last(&self) -> Option<LogId> {
        let last = self.entries.back().map(|kept| kept.entry.log_id);
        last.or(self.purged)
    }

    /// The entries of these indices, as far as there are any.
    pub(super) fn entries(&self, range: impl RangeBounds<u64>) -> Vec<Arc<Entry>> {
        let Some(first) = self.entries.front().map(|kept| kept.entry.log_id.index) else {
            return Vec::new();
        };
        let place = |index: u64| {
            let place = usize::try_from(index.saturating_sub(first)).unwrap_or(usize::MAX);
            place.min(self.entries.len())
        };
        let start = match range.start_bound() {
            Bound::Included(index) => place(*index),
            Bound::Excluded(index) => place(index.saturating_add(1)),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(index) => place(index.saturating_add(1)),
            Bound::Excluded(index) => place(*index),
            Bound::Unbounded => self.entries.len(),
        };
        let entries = self.entries.range(start..end.max(start));
        entries.map(|kept| Arc::clone(&kept.entry)).collect()
    }

    /// What it would take on the disk if nothing else were there.
    pub(super) fn live_bytes(&self) -> u64 {
        const REST_BYTES: u64 = 256;
        self.entry_bytes + REST_BYTES
    }

    /// Whether entries that begin here go on from what is held.
    pub(super) fn fits(&self, index: u64) -> Result<(), &'static str> {
        // A log that never held anything may begin anywhere.
        match self.last() {
            Some(last) if last.index.checked_add(1) != Some(index) => {
                Err("an entry does not follow the one before it")
            }
            _ => Ok(()),
        }
    }

    /// Takes the step. `bytes` is what the change takes on the disk.
    pub(super) fn apply(&mut self, change: Change, bytes: usize) -> Result<(), &'static str> {
        match change {
            Change::Vote(vote) => self.vote = Some(vote),
            Change::Committed(committed) => self.committed = committed,
            Change::Append(entry) => {
                self.fits(entry.log_id.index)?;
                self.entry_bytes += bytes as u64;
                self.entries.push_back(Kept { entry, bytes });
            }
            Change::TruncateAfter(index) => {
                let gone = |kept: &Kept| index.is_none_or(|index| kept.entry.log_id.index > index);
                while let Some(kept) = self.entries.pop_back_if(|kept| gone(kept)) {
                    self.entry_bytes -= kept.bytes as u64;
                }
            }
            Change::Purge(id) => {
                // What is gone does not come back.
                if self.purged.is_none_or(|purged| purged.index < id.index) {
                    self.purged = Some(id);
                }
                let gone = |kept: &Kept| kept.entry.log_id.index <= id.index;
                while let Some(kept) = self.entries.pop_front_if(|kept| gone(kept)) {
                    self.entry_bytes -= kept.bytes as u64;
                }
            }
        }
        Ok(())
    }

    /// The changes that lead here from nothing.
    pub(super) fn changes(&self) -> impl Iterator<Item = Change> {
        let vote = self.vote.map(Change::Vote);
        let purged = self.purged.map(Change::Purge);
        let committed = Change::Committed(self.committed);
        let entries = self.entries.iter();
        let entries = entries.map(|kept| Change::Append(Arc::clone(&kept.entry)));
        vote.into_iter()
            .chain(purged)
            .chain([committed])
            .chain(entries)
    }
}
