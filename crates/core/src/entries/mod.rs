//! Entries: the shared data that a node holds, and the order of its keys.
//!
//! Entries lie by name (a hash of the key, then one of the version), with
//! fingerprints for whoever compares; reading or writing one looks there, too,
//! for hashes that lie side by side are found far sooner than texts that each
//! lie elsewhere. The keys in their own order are for whoever lists: a write
//! of a key that is held leaves them alone.
//!
//! A delete leaves a tombstone, an expiry a stub: both count in fingerprints
//! like the write that they stand for, and are dropped when nobody can bring
//! an older write back any more. What is older than that is not taken in again.
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

use crate::entry::{Entry, Kind, names_of};
use crate::reconcile::{HIGHEST, Key, LOWEST, Tree};
pub(crate) use clocks::Clocks;
pub(crate) use contacts::Contacts;
pub(crate) use exchange::{Ask, Exchange};
pub(crate) use writes::{Durable, Taken, WAITING_MAX, Writes};

/// Memory that an entry takes besides its bytes and its key once more: its
/// places in both orders and the allocations' own. Measured with a million of
/// 133 bytes (`bench/shows/entries-memory`): 304 bytes each, 330 when they were
/// loaded.
const OVERHEAD_BYTES: u64 = 160;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Entries {
    by_name: Tree<Entry>,
    keys: BTreeSet<Box<str>>,
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
            by_name: Tree::default(),
            keys: BTreeSet::new(),
            due: BTreeSet::new(),
            live: 0,
            bytes: 0,
            life_ms: tombstone_life.as_millis() as u64,
        }
    }

    /// All of these at once, in whatever order they come: what a data
    /// directory held.
    pub(crate) fn load(&mut self, entries: Vec<Entry>) {
        let mut all: Vec<Entry> = entries.into_iter().chain(self.drain()).collect();
        all.sort_unstable_by(|one, other| one.key_bytes().cmp(other.key_bytes()));
        let mut kept: Vec<Entry> = Vec::with_capacity(all.len());
        for next in all {
            match kept.last_mut() {
                Some(last) if last.key_bytes() == next.key_bytes() => {
                    if next.beats(last) {
                        *last = next;
                    }
                }
                _ => kept.push(next),
            }
        }
        self.keys = kept.iter().map(|entry| entry.key().into()).collect();
        let mut named: Vec<(Key, Entry)> = Vec::with_capacity(kept.len());
        for entry in kept {
            let name = entry.name();
            self.count_in(&entry, &name);
            named.push((name, entry));
        }
        named.sort_unstable_by_key(|(name, _)| *name);
        named.dedup_by_key(|(name, _)| *name);
        self.by_name = Tree::from_sorted(named);
    }

    /// Drops everything, and gives it away.
    pub(crate) fn drain(&mut self) -> Vec<Entry> {
        let all = self.all().cloned().collect();
        *self = Self::new(Duration::from_millis(self.life_ms));
        all
    }

    // --- getters ---

    /// What is held of a key, tombstones included.
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        let found = self.find(names_of(key.as_bytes()), key.as_bytes());
        found.map(|(_, entry)| entry)
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
        let ahead = |entry: &&Entry| entry.version().timestamp.ms() > ms;
        self.all().filter(ahead).cloned().collect()
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
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.keys
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|key| key.starts_with(prefix))
            .filter_map(|key| self.get(key))
            .filter(|entry| entry.is_live(at_ms))
            .take(limit)
            .cloned()
            .collect()
    }

    /// Everything whose key comes after `after`, by key.
    pub(crate) fn contents(&self, after: Option<&str>, limit: usize) -> Vec<Entry> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = self.keys.range::<str, _>((start, Bound::Unbounded));
        let entries = range.filter_map(|key| self.get(key));
        entries.take(limit).cloned().collect()
    }

    /// With a value; what expired just now may still be counted.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Everything, tombstones and stubs included.
    pub(crate) fn len(&self) -> usize {
        self.by_name.len()
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
        let within = names_of(now.key_bytes());
        let held = self.find(within, now.key_bytes());
        if held.is_some_and(|(_, held)| !entry.beats(held)) {
            return Merged::Old;
        }
        let held = held.map(|(name, _)| *name);
        let before = self.place(held, now.name_within(within.0), now.clone());
        Merged::News { now, before }
    }

    /// An entry takes the place of what is held of its key, whatever that is.
    pub(crate) fn put_in_place(&mut self, entry: Entry) {
        let within = names_of(entry.key_bytes());
        let held = self.find(within, entry.key_bytes()).map(|(name, _)| *name);
        self.place(held, entry.name_within(within.0), entry);
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
                self.keys.remove(entry.key());
                self.by_name.remove(&name);
                self.count_out(&entry, &name);
                done.push_back(Due::Gone(entry));
            }
        }
        done
    }

    // --- helpers ---

    fn all(&self) -> impl Iterator<Item = &Entry> {
        let all = self.by_name.range(&LOWEST, &HIGHEST);
        all.map(|(_, entry)| entry)
    }

    /// What is held of a key, and its name; `within`: the names of the key.
    fn find(&self, (first, last): (Key, Key), key: &[u8]) -> Option<(&Key, &Entry)> {
        // One, unless somebody has made two keys with the same hash.
        let mut named = self.by_name.range(&first, &last);
        named.find(|(_, entry)| entry.key_bytes() == key)
    }

    /// An entry takes the place of the one that is held by another name.
    fn place(&mut self, held: Option<Key>, name: Key, entry: Entry) -> Option<Entry> {
        let before = match held {
            Some(held) => {
                let before = self.by_name.replace(&held, name, entry.clone());
                before.inspect(|before| self.count_out(before, &held))
            }
            None => {
                self.keys.insert(entry.key().into());
                self.by_name.insert(name, entry.clone())
            }
        };
        self.count_in(&entry, &name);
        before
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
    (entry.as_bytes().len() + entry.key_bytes().len()) as u64 + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests;
