//! Entries: the shared data that a node holds, in two orders.
//!
//! By key, for whoever reads and lists; by name (a hash of key and version),
//! with fingerprints, for whoever compares. A delete leaves a tombstone, an
//! expiry a stub: both count in fingerprints like the write that they stand
//! for, and are dropped when nobody can bring an older write back any more.
//! What is older than that is not taken in again.
//!
//! Nobody writes when a ttl runs out: every node judges it by the hybrid
//! clock, which all of them read nearly alike.

mod clocks;
mod contacts;
mod exchange;
mod writes;

use std::collections::{BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use crate::entry::{ByKey, Entry, Kind};
use crate::reconcile::{Key, Tree};
pub(crate) use clocks::Clocks;
pub(crate) use contacts::Contacts;
pub(crate) use exchange::{Ask, Exchange};
pub(crate) use writes::{Durable, Taken, WAITING_MAX, Writes};

/// Memory that an entry takes besides its bytes: its places in both orders
/// and the allocation's own. Measured, see `docs/protocol.md`.
const OVERHEAD_BYTES: u64 = 128;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Entries {
    by_key: BTreeSet<ByKey>,
    by_name: Tree<Entry>,
    /// When something is due, ms of the hybrid clock: a value with a ttl
    /// expires, what has none goes for good.
    due: BTreeSet<(u64, Key)>,
    live: usize,
    bytes: u64,
    life_ms: u64,
}

/// What became of an entry that came in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Merged {
    /// It stays, as this; it took the place of the one before.
    News { now: Entry, before: Option<Entry> },
    /// What is held beats it, or it is too old to be taken in.
    Old,
}

/// What time has done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// A ttl ran out: this stub is left.
    Expired(Entry),
    /// This is not held any more.
    Gone(Entry),
}

impl Entries {
    /// None yet; tombstones will live so long.
    pub(crate) fn new(tombstone_life: Duration) -> Self {
        Self {
            by_key: BTreeSet::new(),
            by_name: Tree::default(),
            due: BTreeSet::new(),
            live: 0,
            bytes: 0,
            life_ms: tombstone_life.as_millis() as u64,
        }
    }

    /// All of these at once, in whatever order they come: what a data
    /// directory held.
    pub(crate) fn load(&mut self, entries: Vec<Entry>) {
        let all = entries.into_iter().chain(self.drain());
        let mut all: Vec<ByKey> = all.map(ByKey).collect();
        all.sort_unstable();
        let mut kept: Vec<ByKey> = Vec::with_capacity(all.len());
        for next in all {
            match kept.last_mut() {
                Some(last) if *last == next => {
                    if next.0.beats(&last.0) {
                        *last = next;
                    }
                }
                _ => kept.push(next),
            }
        }
        let mut named: Vec<(Key, Entry)> = Vec::with_capacity(kept.len());
        for ByKey(entry) in &kept {
            let name = entry.name();
            self.count_in(entry, &name);
            named.push((name, entry.clone()));
        }
        named.sort_unstable_by_key(|(name, _)| *name);
        named.dedup_by_key(|(name, _)| *name);
        self.by_name = Tree::from_sorted(named);
        self.by_key = kept.into_iter().collect();
    }

    /// Drops everything, and gives it away.
    pub(crate) fn drain(&mut self) -> Vec<Entry> {
        let empty = Self::new(Duration::from_millis(self.life_ms));
        let Self { by_key, .. } = std::mem::replace(self, empty);
        by_key.into_iter().map(|ByKey(entry)| entry).collect()
    }

    // --- getters ---

    /// What is held of a key, tombstones included.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.by_key.get(key.as_bytes()).map(|ByKey(entry)| entry)
    }

    /// The write of this name.
    pub(crate) fn named(&self, name: &Key) -> Option<&Entry> {
        self.by_name.get(name)
    }

    /// All by name, with fingerprints.
    pub(crate) fn by_name(&self) -> &Tree<Entry> {
        &self.by_name
    }

    /// Whose timestamp is beyond this; reads all.
    pub(crate) fn ahead_of(&self, ms: u64) -> Vec<Entry> {
        let all = self.by_key.iter().map(|ByKey(entry)| entry);
        all.filter(|entry| entry.version().timestamp.ms() > ms)
            .cloned()
            .collect()
    }

    /// Entries with a value at this time whose key begins with `prefix` and
    /// comes after `after`, by key.
    pub(crate) fn list(
        &self,
        at_ms: u64,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Vec<Entry> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after.as_bytes()),
            _ => Bound::Included(prefix.as_bytes()),
        };
        self.by_key
            .range::<[u8], _>((start, Bound::Unbounded))
            .map(|ByKey(entry)| entry)
            .take_while(|entry| entry.key_bytes().starts_with(prefix.as_bytes()))
            .filter(|entry| entry.is_live(at_ms))
            .take(limit)
            .cloned()
            .collect()
    }

    /// Everything whose key comes after `after`, by key.
    pub(crate) fn contents(&self, after: Option<&str>, limit: usize) -> Vec<Entry> {
        let after = after.map(str::as_bytes);
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.by_key.range::<[u8], _>((start, Bound::Unbounded));
        range
            .take(limit)
            .map(|ByKey(entry)| entry.clone())
            .collect()
    }

    /// With a value; what expired just now may still be counted.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Everything, tombstones and stubs included.
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Memory in use.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Of everything; 0 while there is nothing.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.by_name.print().sum
    }

    /// When something is due, ms of the hybrid clock.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        self.due.first().map(|(at_ms, _)| *at_ms)
    }

    // --- changes ---

    /// Takes an entry in, if it beats what is held.
    pub(crate) fn merge(&mut self, at_ms: u64, entry: Entry) -> Merged {
        if self.is_outlived(at_ms, &entry) {
            return Merged::Old;
        }
        let ran_out = entry.kind() == Kind::Value && !entry.is_live(at_ms);
        let now = if ran_out {
            entry.expired()
        } else {
            entry.clone()
        };
        // Nearly always it is newer: looking first would search twice.
        match self.by_key.replace(ByKey(now.clone())) {
            Some(ByKey(before)) if !entry.beats(&before) => {
                self.by_key.replace(ByKey(before));
                Merged::Old
            }
            before => {
                let before = before.map(|ByKey(before)| before);
                self.rename(before.as_ref(), &now);
                Merged::News { now, before }
            }
        }
    }

    /// An entry takes the place of what is held of its key, whatever that is.
    pub(crate) fn put_in_place(&mut self, entry: Entry) {
        let before = self.by_key.replace(ByKey(entry.clone()));
        self.rename(before.as_ref().map(|ByKey(before)| before), &entry);
    }

    /// What is due by this time, at most so much of it at once.
    pub(crate) fn tend(&mut self, at_ms: u64, most: usize) -> VecDeque<Due> {
        let mut done = VecDeque::new();
        while done.len() < most
            && let Some((due_ms, name)) = self.due.first().copied()
            && due_ms <= at_ms
        {
            self.due.pop_first();
            let Some(entry) = self.by_name.get(&name).cloned() else {
                continue;
            };
            if entry.kind() == Kind::Value {
                let stub = entry.expired();
                self.put_in_place(stub.clone());
                done.push_back(Due::Expired(stub));
            } else {
                self.by_key.remove(entry.key_bytes());
                self.by_name.remove(&name);
                self.count_out(&entry, &name);
                done.push_back(Due::Gone(entry));
            }
        }
        done
    }

    // --- helpers ---

    /// By name, an entry takes the place of the one before.
    fn rename(&mut self, before: Option<&Entry>, entry: &Entry) {
        if let Some(before) = before {
            let name = before.name();
            self.by_name.remove(&name);
            self.count_out(before, &name);
        }
        let name = entry.name();
        self.count_in(entry, &name);
        self.by_name.insert(name, entry.clone());
    }

    fn count_in(&mut self, entry: &Entry, name: &Key) {
        self.bytes += footprint(entry);
        self.live += usize::from(entry.kind() == Kind::Value);
        if let Some(due_ms) = self.due_of(entry) {
            self.due.insert((due_ms, *name));
        }
    }

    fn count_out(&mut self, entry: &Entry, name: &Key) {
        self.bytes -= footprint(entry);
        self.live -= usize::from(entry.kind() == Kind::Value);
        if let Some(due_ms) = self.due_of(entry) {
            self.due.remove(&(due_ms, *name));
        }
    }

    fn due_of(&self, entry: &Entry) -> Option<u64> {
        match entry.kind() {
            Kind::Value => entry.expires_ms(),
            Kind::Tombstone | Kind::Expired => self.end_of(entry),
        }
    }

    /// When nothing is left of it.
    fn end_of(&self, entry: &Entry) -> Option<u64> {
        let ends_ms = match entry.kind() {
            Kind::Tombstone => Some(entry.version().timestamp.ms()),
            Kind::Value | Kind::Expired => entry.expires_ms(),
        };
        ends_ms.map(|ends_ms| ends_ms.saturating_add(self.life_ms))
    }

    /// Whoever still has it is about to drop it, too.
    fn is_outlived(&self, at_ms: u64, entry: &Entry) -> bool {
        self.end_of(entry).is_some_and(|end_ms| end_ms <= at_ms)
    }
}

/// Memory that an entry takes.
pub(crate) fn footprint(entry: &Entry) -> u64 {
    entry.as_bytes().len() as u64 + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests;
