//! Share: entries written here, made durable, and given to everybody.
//!
//! ```text
//! put ─▶ Store ─▶ (shell) ─▶ Stored ─▶ readers, watchers, Written, rumor
//! ```

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Event, Input, Output, Peer};
use crate::clock::{Mono, Now};
use crate::entries::{Due, Durable, Merged, Taken, WAITING_MAX, footprint};
use crate::entry::{
    Acks, CONTENT_TYPE_BYTES_MAX, Change, Entry, EntryKey, Kind, Lost, NotParted, PendingWrite,
    SharedChoice, SharedInfo, Ticket, VALUE_BYTES_MAX, Version, Write, WriteError, Written,
};

/// Entries that time changes in one turn: others wait meanwhile.
const DUE_MAX: usize = 1_000;

impl Peer {
    // --- getters ---

    /// The value of a key, unless there is none now.
    pub fn entry(&self, now: Now, key: &str) -> Option<Entry> {
        let entry = self.entries.get(key)?;
        entry.is_live(self.clock.ms(now)).then(|| entry.clone())
    }

    /// Entries whose key begins with `prefix` and comes after `after`, by
    /// key, at most `limit`. The last key of one page is `after` of the next.
    pub fn list(&self, now: Now, prefix: &str, after: Option<&str>, limit: usize) -> Vec<Entry> {
        self.entries.list(self.clock.ms(now), prefix, after, limit)
    }

    /// Everything that is held, tombstones and stubs included, whose key comes
    /// after `after`, by key, at most `limit`: what a data directory has to
    /// give back to [`load`](Self::load).
    pub fn contents(&self, after: Option<&str>, limit: usize) -> Vec<Entry> {
        self.entries.contents(after, limit)
    }

    /// The time that entries live by, ms of the hybrid clock.
    pub fn shared_ms(&self, now: Now) -> u64 {
        self.clock.ms(now)
    }

    /// Shared entries from above.
    pub fn shared(&self, now: Now) -> SharedInfo {
        SharedInfo {
            entries: self.entries.live(),
            tombstones: self.entries.len() - self.entries.live(),
            bytes: self.entries.bytes(),
            bytes_max: self.config.shared.bytes_max,
            fingerprint: self.entries.fingerprint(),
            clock_ahead: self.clock_ahead(now),
            parted: self.sharing.parted(),
            unstored: self.writes.unstored(),
        }
    }

    // --- commands ---

    /// Takes in what a data directory held, a million in well under a second.
    /// To be called before the first input; whatever has run out meanwhile is
    /// tidied up afterwards.
    pub fn load(&mut self, now: Now, entries: Vec<Entry>) {
        let own = self.config.id;
        let versions = entries.iter().map(Entry::version);
        let last_own = versions
            .filter(|version| version.origin == own)
            .map(|version| version.timestamp)
            .max();
        if let Some(last) = last_own {
            // Whatever the wall clock says now: no timestamp is used twice.
            self.clock.resume(now, last);
        }
        if !entries.is_empty() {
            self.sharing.loaded(now.mono);
        }
        self.entries.load(entries);
        self.settle(now);
    }

    /// Gives a key a value, or takes it away. [`Output::Written`] follows;
    /// until then readers see what was there before.
    ///
    /// # Errors
    /// See [`WriteError`]; nothing was changed then.
    pub fn write(
        &mut self,
        now: Now,
        write: Write<'_>,
        acks: Acks,
    ) -> Result<PendingWrite, WriteError> {
        let pending = self.take_write(now, &write, acks);
        self.settle(now);
        pending
    }

    /// Many writes at once, which become durable together; each is refused
    /// or taken for itself. `None`: a delete of a key that has no value.
    pub fn write_all<'a>(
        &mut self,
        now: Now,
        writes: impl IntoIterator<Item = (Write<'a>, Acks)>,
    ) -> Vec<Result<Option<PendingWrite>, WriteError>> {
        let taken = writes.into_iter().map(|(write, acks)| match write {
            Write::Delete { key } if self.entry(now, key.as_str()).is_none() => Ok(None),
            write => self.take_write(now, &write, acks).map(Some),
        });
        let taken = taken.collect();
        self.settle(now);
        taken
    }

    /// Takes a key's value away. `None`: there is none, and nothing to do.
    ///
    /// # Errors
    /// See [`WriteError`]; nothing was changed then.
    pub fn delete(
        &mut self,
        now: Now,
        key: &EntryKey,
        acks: Acks,
    ) -> Result<Option<PendingWrite>, WriteError> {
        let taken = self.write_all(now, [(Write::Delete { key }, acks)]);
        taken.into_iter().next().unwrap_or(Ok(None))
    }

    /// Nobody waits for this write any more: [`Output::Written`] will not
    /// follow. What is known of it, unless it is not even durable here (then
    /// the answer still comes). The write itself stays.
    pub fn give_up(&mut self, ticket: Ticket) -> Option<Written> {
        self.writes.give_up(ticket)
    }

    /// An operator decides what becomes of entries that one side of a long
    /// parting has and the other does not know. On success: how many entries
    /// this node kept, or dropped.
    ///
    /// [`Keep`](SharedChoice::Keep) is said on one node, through which the two
    /// sides become equal; [`Discard`](SharedChoice::Discard) on every node of
    /// the side that gives up: each changes sides when it is told to.
    ///
    /// # Errors
    /// [`NotParted`]: there is nothing to decide.
    pub fn recover_shared(&mut self, now: Now, choice: SharedChoice) -> Result<usize, NotParted> {
        if self.sharing.parted().is_empty() {
            return Err(NotParted);
        }
        let held = self.entries.live();
        if choice == SharedChoice::Discard {
            for entry in self.entries.drain() {
                self.writes.drop(entry);
            }
        }
        let at_ms = self.sober_ms(now);
        let live = self.membership.live();
        self.contacts.settle(at_ms, choice, live);
        self.sharing.settle();
        self.persist(true);
        self.sync.begin(now.mono);
        self.settle(now);
        Ok(held)
    }

    // --- inputs ---

    /// The shell has stored, or failed to.
    pub(super) fn hear_store(&mut self, now: Now, input: Input<'_>) {
        match input {
            Input::Stored { batch } => {
                let Durable { own, confirm } = self.writes.stored(batch);
                for taken in own {
                    self.publish_write(now, taken);
                }
                self.confirm(confirm);
            }
            Input::StoreFailed { batch, reason } => {
                for Taken { ticket, .. } in self.writes.failed(now.mono, batch) {
                    let result = Err(Lost {
                        reason: reason.clone(),
                    });
                    self.outputs.push_back(Output::Written { ticket, result });
                }
            }
            _ => {}
        }
    }

    // --- helpers ---

    /// Does what is due, and asks the shell to store what is new.
    pub(super) fn tend_entries(&mut self, now: Now) {
        self.rewind_clock(now);
        self.tell_fresh(now);
        self.ask_stored(now);
        let at_ms = self.running_out_ms(now);
        for due in self.entries.tend(at_ms, DUE_MAX) {
            match due {
                Due::Expired(entry) => {
                    self.writes.keep(entry.clone());
                    let change = Change::Expired;
                    self.tell(Event::SharedChanged { change, entry });
                }
                Due::Gone(entry) => self.writes.drop(entry),
            }
        }
        let entries = &self.entries;
        let held = |entry: &Entry| entries.get(entry.key()) == Some(entry);
        if let Some((batch, entries, removed)) = self.writes.next_batch(now.mono, held) {
            self.outputs.push_back(Output::Store {
                batch,
                entries,
                removed,
            });
        }
    }

    /// When entries need a turn.
    pub(super) fn entries_deadline(&self, now: Now) -> Option<Mono> {
        let due = self.entries.due_ms().map(|due_ms| {
            let wait_ms = due_ms.saturating_sub(self.sober_ms(now));
            // Timers are no calendars: whatever is far off is looked at again.
            let at = now.mono + Duration::from_millis(wait_ms.min(3_600_000));
            self.doubts_clock(now).map_or(at, |until| at.max(until))
        });
        let others = [
            self.writes.deadline(),
            self.sharing.deadline(),
            self.exchanges.deadline(),
        ];
        others.into_iter().flatten().chain(due).min()
    }

    fn take_write(
        &mut self,
        now: Now,
        write: &Write<'_>,
        acks: Acks,
    ) -> Result<PendingWrite, WriteError> {
        let key = write.key().as_str();
        let before = self.entries.get(key);
        self.check_write(now, write, acks, before)?;
        // Who has seen what it replaces, writes after it, whatever its clock says.
        if let Some(version) = before.map(Entry::version) {
            self.clock.resume(now, version.timestamp);
        }
        let version = self.next_version(now);
        let entry = match *write {
            Write::Put {
                value,
                content_type,
                ttl,
                ..
            } => Entry::value_of(key, version, value, content_type, ttl),
            Write::Delete { .. } => Entry::tombstone(key, version),
        };
        let ticket = self.writes.take(entry, acks);
        Ok(PendingWrite { ticket, version })
    }

    fn next_version(&mut self, now: Now) -> Version {
        Version {
            timestamp: self.clock.tick(now),
            origin: self.config.id,
        }
    }

    /// What was stamped by a wrong clock, as if it were written now.
    pub(super) fn stamp_anew(&mut self, now: Now, entry: &Entry) -> Entry {
        let version = self.next_version(now);
        match entry.kind() {
            Kind::Tombstone => Entry::tombstone(entry.key(), version),
            Kind::Value | Kind::Expired => {
                let (value, content_type) = (entry.value(), entry.content_type());
                let anew = Entry::value_of(entry.key(), version, value, content_type, entry.ttl());
                match entry.kind() {
                    Kind::Expired => anew.expired(),
                    _ => anew,
                }
            }
        }
    }

    fn check_write(
        &self,
        now: Now,
        write: &Write<'_>,
        acks: Acks,
        before: Option<&Entry>,
    ) -> Result<(), WriteError> {
        if self.leaving.is_some() {
            return Err(WriteError::Leaving);
        }
        let waiting = self.writes.waiting();
        if acks != Acks::Here && waiting >= WAITING_MAX {
            return Err(WriteError::Busy { waiting });
        }
        let max = self.config.shared.ahead_max;
        if let Some(ahead) = self.clock_ahead(now).filter(|ahead| *ahead > max) {
            return Err(WriteError::ClockAhead { ahead, max });
        }
        let Write::Put {
            key,
            value,
            content_type,
            ..
        } = write
        else {
            return Ok(());
        };
        let (max, got) = (VALUE_BYTES_MAX, value.len());
        if got > max {
            return Err(WriteError::TooLarge { max, got });
        }
        let (max, got) = (CONTENT_TYPE_BYTES_MAX, content_type.map_or(0, <[u8]>::len));
        if got > max {
            return Err(WriteError::ContentType { max, got });
        }
        let before = before.map_or(0, footprint);
        let bytes = self.entries.bytes() + self.writes.own_bytes();
        let max = self.config.shared.bytes_max;
        let grows = (value.len() + key.as_str().len()) as u64;
        if bytes.saturating_add(grows).saturating_sub(before) > max {
            return Err(WriteError::Full { bytes, max });
        }
        Ok(())
    }

    /// An own write is durable: now it has happened.
    fn publish_write(&mut self, now: Now, taken: Taken) {
        let at_ms = self.clock.ms(now);
        let merged = self.take_in(now, taken.entry.clone());
        let before = match &merged {
            Merged::News { before, .. } => before.as_ref(),
            Merged::Old => self.entries.get(taken.entry.key()),
        };
        let written = Written {
            version: taken.entry.version(),
            existed: before.is_some_and(|before| before.is_live(at_ms)),
            acked: 1,
        };
        let (wanted, from): (usize, BTreeSet<_>) = match taken.acks {
            Acks::Here => (1, BTreeSet::new()),
            Acks::Count(count) => (count, BTreeSet::new()),
            Acks::All => {
                let live = self.membership.live().iter().copied();
                let others: BTreeSet<_> = live.filter(|id| *id != self.config.id).collect();
                (1 + others.len(), others)
            }
        };
        if merged != Merged::Old {
            self.sharing.tell(now.mono, taken.entry.clone(), wanted > 1);
        }
        if wanted <= 1 {
            let (ticket, result) = (taken.ticket, Ok(written));
            self.outputs.push_back(Output::Written { ticket, result });
        } else {
            self.writes.wait(now.mono, &taken, written, wanted, from);
        }
    }

    /// Merges an entry, and tells whoever watches.
    pub(super) fn take_in(&mut self, now: Now, entry: Entry) -> Merged {
        let at_ms = self.running_out_ms(now);
        let merged = self.entries.merge(at_ms, entry);
        if let Merged::News { now: entry, before } = &merged {
            let was_live = before
                .as_ref()
                .is_some_and(|before| before.kind() == Kind::Value);
            let change = match entry.kind() {
                Kind::Value => Change::Put,
                Kind::Tombstone => Change::Deleted,
                Kind::Expired => Change::Expired,
            };
            // Nobody who watches has seen what is gone before it came.
            if change == Change::Put || was_live {
                let entry = entry.clone();
                self.tell(Event::SharedChanged { change, entry });
            }
        }
        merged
    }
}
