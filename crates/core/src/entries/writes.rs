//! Writes: from asked for to durable, here and with others.
//!
//! What was written here is shown to nobody, local readers included, before
//! the shell says that it is durable: a write that fails has then never
//! happened. What peers have written is durable with its writer and is shown
//! at once; here it is stored all the same, and stored again if that failed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::footprint;
use crate::clock::Mono;
use crate::entry::{Acks, Entry, Ticket, Written};
use crate::id::NodeId;

/// Writes that may wait for others' acknowledgements.
pub(crate) const WAITING_MAX: usize = 65_536;
/// What could not be stored is tried again after this.
const RETRY: Duration = Duration::from_secs(1);

/// A write of this node that waits to be durable.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) ticket: Ticket,
    pub(crate) entry: Entry,
    pub(crate) acks: Acks,
}

/// What one [`Output::Store`](crate::Output::Store) asks for.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    own: Vec<Taken>,
    foreign: Vec<Entry>,
    gone: Vec<Entry>,
}

/// What has become durable.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    pub(crate) own: Vec<Taken>,
    pub(crate) foreign: Vec<Entry>,
}

/// A write that is durable here, and waits for others.
#[derive(Debug)]
struct Waiting {
    written: Written,
    by: BTreeSet<NodeId>,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Writes {
    tickets: u64,
    batches: u64,
    next: Batch,
    stored: BTreeMap<u64, Batch>,
    /// Bytes of own writes and of all entries that are not durable yet.
    own_bytes: u64,
    bytes: u64,
    retry_at: Option<Mono>,
    failed: Batch,
    waiting: BTreeMap<Ticket, Waiting>,
}

impl Writes {
    // --- getters ---

    /// Memory that own writes will take once they are durable.
    pub(crate) fn own_bytes(&self) -> u64 {
        self.own_bytes
    }

    /// Entries that are not durable yet.
    pub(crate) fn unstored(&self) -> usize {
        let batches = self.stored.values().chain([&self.next, &self.failed]);
        batches
            .map(|batch| batch.own.len() + batch.foreign.len())
            .sum()
    }

    /// Writes that wait for others.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// When to try again what could not be stored.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.retry_at
    }

    // --- what is to be durable ---

    /// A write of this node.
    pub(crate) fn take(&mut self, entry: Entry, acks: Acks) -> Ticket {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.own_bytes += footprint(&entry);
        self.bytes += footprint(&entry);
        self.next.own.push(Taken {
            ticket,
            entry,
            acks,
        });
        ticket
    }

    /// A write of another, or what time has left of one.
    pub(crate) fn keep(&mut self, entry: Entry) {
        self.bytes += footprint(&entry);
        self.next.foreign.push(entry);
    }

    /// What is held no longer.
    pub(crate) fn drop(&mut self, entry: Entry) {
        self.next.gone.push(entry);
    }

    /// What to store now, if anything: number, entries, entries to remove.
    pub(crate) fn next_batch(&mut self, now: Mono) -> Option<(u64, Vec<Entry>, Vec<Entry>)> {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.next.foreign.append(&mut self.failed.foreign);
            self.next.gone.append(&mut self.failed.gone);
        }
        let batch = std::mem::take(&mut self.next);
        if batch.own.is_empty() && batch.foreign.is_empty() && batch.gone.is_empty() {
            return None;
        }
        let own = batch.own.iter().map(|taken| &taken.entry);
        let entries = own.chain(&batch.foreign).cloned().collect();
        let gone = batch.gone.clone();
        self.batches += 1;
        self.stored.insert(self.batches, batch);
        Some((self.batches, entries, gone))
    }

    /// Everything up to this batch is durable.
    pub(crate) fn stored(&mut self, batch: u64) -> Durable {
        let mut durable = Durable::default();
        for done in self.up_to(batch) {
            self.forget(&done.own, &done.foreign);
            durable.own.extend(done.own);
            durable.foreign.extend(done.foreign);
        }
        durable
    }

    /// Nothing of what was asked for up to this batch is durable. Own writes
    /// are given back: they have not happened.
    pub(crate) fn failed(&mut self, now: Mono, batch: u64) -> Vec<Taken> {
        let mut lost = Vec::new();
        for done in self.up_to(batch) {
            self.forget(&done.own, &[]);
            lost.extend(done.own);
            self.failed.foreign.extend(done.foreign);
            self.failed.gone.extend(done.gone);
            self.retry_at.get_or_insert(now + RETRY);
        }
        lost
    }

    // --- who else holds it ---

    /// An own write is durable here, and not answered before others hold it.
    pub(crate) fn wait(&mut self, ticket: Ticket, written: Written) {
        let by = BTreeSet::new();
        self.waiting.insert(ticket, Waiting { written, by });
    }

    /// Nobody waits for this write any more: what is known of it, unless it
    /// is not even durable here.
    pub(crate) fn give_up(&mut self, ticket: Ticket) -> Option<Written> {
        self.waiting.remove(&ticket).map(|waiting| Written {
            acked: 1 + waiting.by.len(),
            ..waiting.written
        })
    }

    // --- helpers ---

    fn up_to(&mut self, batch: u64) -> impl Iterator<Item = Batch> + use<> {
        let later = self.stored.split_off(&batch.saturating_add(1));
        std::mem::replace(&mut self.stored, later).into_values()
    }

    fn forget(&mut self, own: &[Taken], foreign: &[Entry]) {
        let own: u64 = own.iter().map(|taken| footprint(&taken.entry)).sum();
        self.own_bytes -= own;
        self.bytes -= own + foreign.iter().map(footprint).sum::<u64>();
    }
}
