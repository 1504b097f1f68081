//! Shared: writes that wait to be answered, and the parts of a checkpoint.
//!
//! The core takes a write and names it by a ticket; the answer comes when it
//! is durable here, and with as many others as was asked for. What was asked
//! for together is answered together.

use std::collections::HashMap;
use std::time::Duration;

use dui_core::{Acks, Entry, EntryKey, Lost, Mono, Now, Peer, Ticket, Write, WriteError, Written};
use tokio::sync::oneshot;

/// A write of a shared entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedWrite {
    /// Gives a key a value.
    Put {
        /// The key.
        key: EntryKey,
        /// Up to 1 MiB of anything.
        value: Vec<u8>,
        /// What it is, up to 254 bytes, kept byte for byte.
        content_type: Option<Vec<u8>>,
        /// How long it lives; `None`: until it is deleted.
        ttl: Option<Duration>,
    },
    /// Takes a key's value away.
    Delete {
        /// The key.
        key: EntryKey,
    },
}

impl SharedWrite {
    fn borrowed(&self) -> Write<'_> {
        match self {
            Self::Put {
                key,
                value,
                content_type,
                ttl,
            } => Write::Put {
                key,
                value,
                content_type: content_type.as_deref(),
                ttl: *ttl,
            },
            Self::Delete { key } => Write::Delete { key },
        }
    }
}

/// Why a write was not answered with success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteFailure {
    /// A delete of a key that has no value. Nothing was changed.
    #[error("there is no entry under this key")]
    Unknown,
    /// See [`WriteError`]. Nothing was changed.
    #[error(transparent)]
    Refused(#[from] WriteError),
    /// See [`Lost`]. Nothing was changed.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// Too few hold it durably so far. The write stays.
    #[error("{acked} members hold the write durably so far")]
    Timeout {
        /// How many do, this one included; 0 while not even this one does.
        acked: usize,
    },
}

/// What became of a write.
pub type WriteResult = Result<Written, WriteFailure>;

/// What was asked for together.
pub(crate) struct WriteRequest {
    pub(crate) writes: Vec<SharedWrite>,
    pub(crate) acks: Acks,
    pub(crate) timeout: Duration,
    pub(crate) reply: oneshot::Sender<Vec<WriteResult>>,
}

/// How often somebody looks for requests that have waited long enough.
const SWEEP_INTERVAL: Duration = Duration::from_millis(50);

/// Requests that wait for the core.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    tickets: HashMap<Ticket, (u64, usize)>,
    groups: HashMap<u64, Group>,
    last: u64,
    sweep_at: Option<Mono>,
}

#[derive(Debug)]
struct Group {
    results: Vec<Option<WriteResult>>,
    open: usize,
    give_up_at: Mono,
    reply: oneshot::Sender<Vec<WriteResult>>,
}

impl Writes {
    /// When to call [`Self::sweep`].
    pub(crate) fn sweep_at(&self) -> Option<Mono> {
        self.sweep_at
    }

    /// Hands writes to the core, in their order and all at once: what several
    /// clients ask for in one moment costs little more than what one does.
    pub(crate) fn begin(&mut self, peer: &mut Peer, now: Now, requests: Vec<WriteRequest>) {
        let all = requests.iter().flat_map(|request| {
            let writes = request.writes.iter().map(SharedWrite::borrowed);
            writes.map(|write| (write, request.acks))
        });
        let mut taken = peer.write_all(now, all).into_iter();
        for WriteRequest {
            writes,
            timeout,
            reply,
            ..
        } in requests
        {
            self.last += 1;
            let mut results = Vec::with_capacity(writes.len());
            let mut open = 0;
            for (index, taken) in taken.by_ref().take(writes.len()).enumerate() {
                results.push(match taken {
                    Ok(Some(pending)) => {
                        open += 1;
                        self.tickets.insert(pending.ticket, (self.last, index));
                        None
                    }
                    Ok(None) => Some(Err(WriteFailure::Unknown)),
                    Err(error) => Some(Err(error.into())),
                });
            }
            let group = Group {
                results,
                open,
                give_up_at: now.mono + timeout,
                reply,
            };
            self.groups.insert(self.last, group);
            self.answer_if_done(self.last);
        }
        self.sweep_at.get_or_insert(now.mono + SWEEP_INTERVAL);
    }

    /// The core has an answer.
    pub(crate) fn done(&mut self, ticket: Ticket, result: Result<Written, Lost>) {
        self.settle(ticket, result.map_err(WriteFailure::Lost));
    }

    /// Answers whoever has waited long enough.
    pub(crate) fn sweep(&mut self, peer: &mut Peer, now: Mono) {
        let late = |(group, _): &(u64, usize)| {
            let group = self.groups.get(group);
            group.is_none_or(|group| group.give_up_at <= now || group.reply.is_closed())
        };
        let tickets = self.tickets.iter().filter(|(_, place)| late(place));
        let tickets: Vec<Ticket> = tickets.map(|(ticket, _)| *ticket).collect();
        for ticket in tickets {
            let acked = peer.give_up(ticket).map_or(0, |written| written.acked);
            self.settle(ticket, Err(WriteFailure::Timeout { acked }));
        }
        self.sweep_at = (!self.groups.is_empty()).then(|| now + SWEEP_INTERVAL);
    }

    fn settle(&mut self, ticket: Ticket, result: WriteResult) {
        let Some((number, index)) = self.tickets.remove(&ticket) else {
            return;
        };
        if let Some(group) = self.groups.get_mut(&number) {
            group.results[index] = Some(result);
            group.open -= 1;
            self.answer_if_done(number);
        }
    }

    fn answer_if_done(&mut self, number: u64) {
        if self
            .groups
            .get(&number)
            .is_some_and(|group| group.open == 0)
            && let Some(group) = self.groups.remove(&number)
        {
            // Whoever asked may have gone.
            let _ = group
                .reply
                .send(group.results.into_iter().flatten().collect());
        }
    }
}

/// Entries handed over at once for a checkpoint, and their bytes: the driver
/// has others to serve between two parts.
const PART_ENTRIES_MAX: usize = 1_000;
const PART_BYTES_MAX: usize = 1 << 20;

/// A checkpoint in the making: how far the contents were copied.
#[derive(Debug, Default)]
pub(crate) struct Copying {
    after: Option<String>,
}

impl Copying {
    /// The next part, and whether it is the last.
    pub(crate) fn part(&mut self, peer: &Peer) -> (Vec<Entry>, bool) {
        let mut part = peer.contents(self.after.as_deref(), PART_ENTRIES_MAX);
        let mut bytes = 0;
        let within = part.iter().take_while(|entry| {
            let fits = bytes < PART_BYTES_MAX;
            bytes += entry.as_bytes().len();
            fits
        });
        let taken = within.count();
        let last = taken == part.len() && taken < PART_ENTRIES_MAX;
        part.truncate(taken);
        self.after = part.last().map(|entry| entry.key().to_owned());
        (part, last)
    }
}
