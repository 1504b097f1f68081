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
use crate::reconcile::Key;

/// Writes that may wait for others' acknowledgements.
pub(crate) const WAITING_MAX: usize = 65_536;
/// What could not be stored is tried again after this.
const RETRY: Duration = Duration::from_secs(1);
/// Who has not said that it holds a write is asked after this, and again.
const ASK_FIRST: Duration = Duration::from_millis(100);
const ASK_MAX: Duration = Duration::from_secs(1);
/// After this nobody waits any more: the API's timeout is far shorter.
const WAIT_MAX: Duration = Duration::from_secs(300);

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
    /// Who waits to hear that which write is durable here.
    confirm: Vec<(NodeId, Key)>,
}

/// What has become durable.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    pub(crate) own: Vec<Taken>,
    /// Who waits to hear of which.
    pub(crate) confirm: Vec<(NodeId, Key)>,
}

/// A write that is durable here, and waits for others.
#[derive(Debug)]
struct Waiting {
    key: Box<str>,
    /// The write, and whatever has replaced it since: who holds that holds
    /// nothing older.
    names: Vec<Key>,
    written: Written,
    wanted: usize,
    /// Who has to hold it; empty: anybody.
    from: BTreeSet<NodeId>,
    by: BTreeSet<NodeId>,
    since: Mono,
    ask_at: Mono,
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
    /// What could not be stored, by name; and what could not be removed.
    failed: BTreeMap<Key, Entry>,
    failed_gone: Vec<Entry>,
    waiting: BTreeMap<Ticket, Waiting>,
    by_name: BTreeMap<Key, BTreeSet<Ticket>>,
    ask_at: BTreeSet<(Mono, Ticket)>,
}

/// Whom to ask about an own write.
#[derive(Debug)]
pub(crate) struct Missing {
    pub(crate) ticket: Ticket,
    pub(crate) key: Box<str>,
    /// Members that have yet to hold it.
    pub(crate) more: usize,
    /// Who those are; empty: anybody but these.
    pub(crate) from: Vec<NodeId>,
    pub(crate) by: BTreeSet<NodeId>,
}

impl Writes {
    // --- getters ---

    /// Memory that own writes will take once they are durable.
    pub(crate) fn own_bytes(&self) -> u64 {
        self.own_bytes
    }

    /// Entries that are not durable yet.
    pub(crate) fn unstored(&self) -> usize {
        let batches = self.stored.values().chain([&self.next]);
        let stored: usize = batches
            .map(|batch| batch.own.len() + batch.foreign.len())
            .sum();
        stored + self.failed.len()
    }

    /// Writes that wait for others.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Bytes of entries that are not durable yet.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When to try again what could not be stored, or to ask who holds what.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        let ask = self.ask_at.first().map(|(at, _)| *at);
        self.retry_at.into_iter().chain(ask).min()
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

    /// Somebody waits to hear that a write which is held here is durable:
    /// told with what is stored next, and so after all that was before.
    pub(crate) fn confirm(&mut self, to: NodeId, name: Key) {
        self.next.confirm.push((to, name));
    }

    /// What is held no longer.
    pub(crate) fn drop(&mut self, entry: Entry) {
        self.next.gone.push(entry);
    }

    /// What to store now, if anything: number, entries, entries to remove.
    /// `held`: whether an entry is what is held of its key. What failed and
    /// was replaced since must not be stored over what has replaced it.
    pub(crate) fn next_batch(
        &mut self,
        now: Mono,
        held: impl Fn(&Entry) -> bool,
    ) -> Option<(u64, Vec<Entry>, Vec<Entry>)> {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            for entry in std::mem::take(&mut self.failed).into_values() {
                if held(&entry) {
                    self.next.foreign.push(entry);
                } else {
                    self.bytes -= footprint(&entry);
                }
            }
            self.next.gone.append(&mut self.failed_gone);
        }
        let batch = std::mem::take(&mut self.next);
        let nothing = batch.own.is_empty() && batch.foreign.is_empty() && batch.gone.is_empty();
        if nothing && batch.confirm.is_empty() {
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
            durable.confirm.extend(done.confirm);
        }
        // Stored before it, and in vain: whoever waits asks again.
        let failed = &self.failed;
        durable
            .confirm
            .retain(|(_, name)| !failed.contains_key(name));
        durable
    }

    /// Nothing of what was asked for up to this batch is durable. Own writes
    /// are given back: they have not happened.
    pub(crate) fn failed(&mut self, now: Mono, batch: u64) -> Vec<Taken> {
        let mut lost = Vec::new();
        for done in self.up_to(batch) {
            self.forget(&done.own, &[]);
            lost.extend(done.own);
            for entry in done.foreign {
                let bytes = footprint(&entry);
                if self.failed.insert(entry.name(), entry).is_some() {
                    self.bytes -= bytes;
                }
            }
            self.failed_gone.extend(done.gone);
            self.retry_at.get_or_insert(now + RETRY);
        }
        lost
    }

    // --- who else holds it ---

    /// An own write is durable here, and answered when `wanted` hold it,
    /// this node included; of `from` alone, unless that is empty.
    pub(crate) fn wait(
        &mut self,
        now: Mono,
        taken: &Taken,
        written: Written,
        wanted: usize,
        from: BTreeSet<NodeId>,
    ) {
        let (ticket, ask_at) = (taken.ticket, now + ASK_FIRST);
        self.waiting.insert(
            ticket,
            Waiting {
                key: taken.entry.key().into(),
                names: Vec::new(),
                written,
                wanted,
                from,
                by: BTreeSet::new(),
                since: now,
                ask_at,
            },
        );
        self.ask_at.insert((ask_at, ticket));
        self.asked(ticket, taken.entry.name());
    }

    /// A write is asked about under this name.
    pub(crate) fn asked(&mut self, ticket: Ticket, name: Key) {
        if let Some(waiting) = self.waiting.get_mut(&ticket)
            && !waiting.names.contains(&name)
        {
            waiting.names.push(name);
            self.by_name.entry(name).or_default().insert(ticket);
        }
    }

    /// A member holds the write of this name durably: the own ones that are
    /// done by that.
    pub(crate) fn confirmed(&mut self, name: &Key, by: NodeId) -> Vec<(Ticket, Written)> {
        let tickets = self.by_name.get(name).cloned().unwrap_or_default();
        let mut done = Vec::new();
        for ticket in tickets {
            let Some(waiting) = self.waiting.get_mut(&ticket) else {
                continue;
            };
            if waiting.from.is_empty() || waiting.from.contains(&by) {
                waiting.by.insert(by);
            }
            if waiting.by.len() + 1 >= waiting.wanted {
                done.extend(self.give_up(ticket).map(|written| (ticket, written)));
            }
        }
        done
    }

    /// Nobody waits for this write any more: what is known of it, unless it
    /// is not even durable here.
    pub(crate) fn give_up(&mut self, ticket: Ticket) -> Option<Written> {
        let waiting = self.waiting.remove(&ticket)?;
        self.ask_at.remove(&(waiting.ask_at, ticket));
        for name in waiting.names {
            if let Some(tickets) = self.by_name.get_mut(&name) {
                tickets.remove(&ticket);
                if tickets.is_empty() {
                    self.by_name.remove(&name);
                }
            }
        }
        Some(Written {
            acked: 1 + waiting.by.len(),
            ..waiting.written
        })
    }

    /// Own writes whose holders have to be asked now.
    pub(crate) fn missing(&mut self, now: Mono) -> Vec<Missing> {
        let mut missing = Vec::new();
        while let Some((at, ticket)) = self.ask_at.first().copied()
            && at <= now
        {
            self.ask_at.pop_first();
            let Some(waiting) = self.waiting.get_mut(&ticket) else {
                continue;
            };
            let waited = now.saturating_sub(waiting.since);
            if waited >= WAIT_MAX {
                self.give_up(ticket);
                continue;
            }
            waiting.ask_at = now + waited.clamp(ASK_FIRST, ASK_MAX);
            self.ask_at.insert((waiting.ask_at, ticket));
            missing.push(Missing {
                ticket,
                key: waiting.key.clone(),
                more: waiting.wanted.saturating_sub(1 + waiting.by.len()),
                from: waiting.from.difference(&waiting.by).copied().collect(),
                by: waiting.by.clone(),
            });
        }
        missing
    }

    // --- helpers ---

    fn up_to(&mut self, batch: u64) -> impl Iterator<Item = Batch> + use<> {
        let later = self.stored.split_off(&batch.saturating_add(1));
        std::mem::replace(&mut self.stored, later).into_values()
    }

    /// They count as on their way no longer.
    fn forget(&mut self, own: &[Taken], foreign: &[Entry]) {
        let own: u64 = own.iter().map(|taken| footprint(&taken.entry)).sum();
        self.own_bytes -= own;
        self.bytes -= own + foreign.iter().map(footprint).sum::<u64>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::entry::Version;

    fn entry(key: &str, ms: u64) -> Entry {
        let version = Version {
            timestamp: Timestamp::from_ms(ms),
            origin: NodeId(1),
        };
        Entry::value_of(key, version, b"v", None, None)
    }

    fn batch(writes: &mut Writes, now: Mono) -> Option<(u64, Vec<Entry>)> {
        let batch = writes.next_batch(now, |_| true);
        batch.map(|(number, entries, _)| (number, entries))
    }

    #[test]
    fn nobody_is_told_that_a_write_is_durable_which_could_not_be_stored() {
        let mut writes = Writes::default();
        let (k, peer) = (entry("k", 1), NodeId(7));
        writes.keep(k.clone());
        assert_eq!(batch(&mut writes, Mono::ZERO), Some((1, vec![k.clone()])));
        // Asked while the entry is on its way: the answer comes after it.
        writes.confirm(peer, k.name());
        assert_eq!(batch(&mut writes, Mono::ZERO), Some((2, vec![])));
        assert!(writes.failed(Mono::ZERO, 1).is_empty());
        assert!(writes.stored(2).confirm.is_empty());
        assert_eq!(writes.unstored(), 1);

        assert_eq!(writes.deadline(), Some(RETRY));
        assert_eq!(batch(&mut writes, RETRY), Some((3, vec![k.clone()])));
        writes.confirm(peer, k.name());
        assert_eq!(batch(&mut writes, RETRY), Some((4, vec![])));
        assert_eq!(writes.stored(4).confirm, [(peer, k.name())]);
        assert_eq!((writes.unstored(), writes.bytes()), (0, 0));
    }

    #[test]
    fn what_was_replaced_meanwhile_is_not_stored_again() {
        let mut writes = Writes::default();
        let (old, new) = (entry("k", 1), entry("k", 2));
        writes.keep(old.clone());
        batch(&mut writes, Mono::ZERO);
        writes.keep(new.clone());
        batch(&mut writes, Mono::ZERO);
        writes.failed(Mono::ZERO, 1);
        writes.stored(2);
        let again = writes.next_batch(RETRY, |entry| *entry == new);
        assert!(again.is_none(), "{again:?}");
        assert_eq!((writes.unstored(), writes.bytes()), (0, 0));
    }

    #[test]
    fn an_own_write_that_failed_has_not_happened() {
        let mut writes = Writes::default();
        let ticket = writes.take(entry("k", 1), Acks::All);
        let (number, _) = batch(&mut writes, Mono::ZERO).unwrap_or_default();
        let lost = writes.failed(Mono::ZERO, number);
        assert!(matches!(&lost[..], [taken] if taken.ticket == ticket));
        assert_eq!(
            (writes.own_bytes(), writes.bytes(), writes.unstored()),
            (0, 0, 0)
        );
        assert!(writes.stored(number).own.is_empty());
    }
}
