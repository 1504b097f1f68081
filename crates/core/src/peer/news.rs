//! News: entries on their way from who wrote them to everybody, and word back.
//!
//! A write is a rumor like any other, a small one in full, a large one by
//! name: who hears of that asks for it over a stream, and passes the rumor on
//! when it has it. Who waits for acknowledgements says so in the rumor; every
//! receiver then tells the origin when it holds the write durably, and whoever
//! has not is asked again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Event, Output, Peer, Refusal};
use crate::clock::{Mono, Now, Timestamp};
use crate::entries::Merged;
use crate::entry::Entry;
use crate::id::NodeId;
use crate::membership::Heard;
use crate::reconcile::Key;
use crate::wire::{self, Body, EntryNews, ITEMS_MAX, NAME_BYTES, Packet, RUMOR_BYTES, Rumor};

/// Writes wait so long for one another when one has just gone out.
const BATCH: Duration = Duration::from_micros(500);
/// Large rumors that are passed on once their entry is here.
const LARGE_MAX: usize = 1_024;
/// Names of entries that are not taken in because they are from the future.
const AHEAD_MAX: usize = 4_096;
/// How often the application hears that not all fits.
const TELL_FULL: Duration = Duration::from_secs(60);
/// How long a node that comes back waits for somebody to tell the time.
const DOUBT: Duration = Duration::from_secs(60);
/// Members asked about a write besides those that are missing.
const ASK_SPARE: usize = 2;

/// What is on its way.
#[derive(Debug, Default)]
pub(super) struct Sharing {
    /// Own writes to be told; `true`: somebody waits for word.
    fresh: Vec<(Entry, bool)>,
    fresh_at: Option<Mono>,
    told_at: Option<Mono>,
    /// Rumors of large entries that are being asked for, and who told them.
    large: BTreeMap<Key, (Rumor, NodeId)>,
    /// From the future, until then (ms).
    ahead: BTreeMap<Key, u64>,
    /// With whom nothing is exchanged, as the application knows.
    parted: BTreeSet<NodeId>,
    /// Those of them who held the same when they last said what they hold.
    seemed_equal: BTreeSet<NodeId>,
    /// Until then nothing of what was loaded runs out, unless a peer has told
    /// the time: nobody knows yet whether our clock is right.
    doubt_until: Option<Mono>,
    full_told: Option<Mono>,
}

impl Sharing {
    /// When own writes go out.
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.fresh_at
    }

    /// An own write is to be told.
    pub(super) fn tell(&mut self, now: Mono, entry: Entry, confirm: bool) {
        self.fresh.push((entry, confirm));
        let at = self.told_at.map_or(now, |told| now.max(told + BATCH));
        self.fresh_at.get_or_insert(at);
    }

    /// A data directory was read.
    pub(super) fn loaded(&mut self, now: Mono) {
        self.doubt_until = Some(now + DOUBT);
    }

    pub(super) fn parted(&self) -> Vec<NodeId> {
        self.parted.iter().copied().collect()
    }

    /// An operator has decided.
    pub(super) fn settle(&mut self) {
        self.parted.clear();
        self.seemed_equal.clear();
    }
}

impl Peer {
    // --- out ---

    /// Makes rumors of what was written just now.
    pub(super) fn tell_fresh(&mut self, now: Now) {
        if self.sharing.fresh_at.is_none_or(|at| at > now.mono) {
            return;
        }
        self.sharing.fresh_at = None;
        self.sharing.told_at = Some(now.mono);
        let room = self.room() - RUMOR_BYTES;
        let mut news: Vec<EntryNews> = Vec::new();
        let mut used = usize::MAX;
        for (entry, confirm) in std::mem::take(&mut self.sharing.fresh) {
            // It may have been replaced while it waited.
            let name = entry.name();
            if self.entries.named(&name).is_none() {
                continue;
            }
            let len = wire::entry_len(&entry);
            let large = len > room;
            // A large entry travels alone: who waits for it passes on nothing else.
            let fits = !large && used.saturating_add(len) <= room;
            let joins = news.last().is_some_and(|last| last.confirm == confirm) && fits;
            if !joins {
                news.push(EntryNews {
                    entries: Vec::new(),
                    large: Vec::new(),
                    confirm,
                });
                used = if large { usize::MAX } else { 0 };
            }
            let Some(last) = news.last_mut() else {
                continue;
            };
            if large {
                last.large.push(name);
            } else {
                used += len;
                last.entries.push(entry);
            }
        }
        for news in news {
            self.originate(now, Body::Entries(news));
        }
    }

    /// Others hold own writes durably, or want to know whether we do theirs.
    pub(super) fn hear_stored(&mut self, now: Now, from: NodeId, stored: &[Key], asked: &[Key]) {
        for name in stored {
            for (ticket, written) in self.writes.confirmed(name, from) {
                let result = Ok(written);
                self.outputs.push_back(Output::Written { ticket, result });
            }
        }
        if self.leaving.is_some() || !self.shares_with(now, from) {
            return;
        }
        for name in asked {
            if self.entries.named(name).is_some() {
                self.writes.confirm(from, *name);
            }
        }
    }

    /// Tells who waits that these are durable here.
    pub(super) fn confirm(&mut self, durable: Vec<(NodeId, Key)>) {
        let mut by_origin: BTreeMap<NodeId, Vec<Key>> = BTreeMap::new();
        for (origin, name) in durable {
            by_origin.entry(origin).or_default().push(name);
        }
        for (origin, names) in by_origin {
            self.send_names(origin, names, |packet, names| packet.stored = names);
        }
    }

    /// Asks who has not said that it holds own writes.
    pub(super) fn ask_stored(&mut self, now: Now) {
        let mut ask: BTreeMap<NodeId, Vec<Key>> = BTreeMap::new();
        for missing in self.writes.missing(now.mono) {
            // Who holds what has replaced it holds nothing older.
            let Some(name) = self.entries.get(&missing.key).map(Entry::name) else {
                continue;
            };
            self.writes.asked(missing.ticket, name);
            let by = &missing.by;
            let whom = if missing.from.is_empty() {
                let some = missing.more.saturating_add(ASK_SPARE);
                self.membership
                    .sample(some, &mut self.rng, |id| by.contains(&id))
            } else {
                missing.from
            };
            for id in whom {
                ask.entry(id).or_default().push(name);
            }
        }
        for (id, names) in ask {
            self.send_names(id, names, |packet, names| packet.ask_stored = names);
        }
    }

    fn send_names(&mut self, to: NodeId, names: Vec<Key>, put: impl Fn(&mut Packet, Vec<Key>)) {
        for some in names.chunks((self.room() / NAME_BYTES).min(ITEMS_MAX)) {
            let mut packet = Packet::new(self.config.id);
            put(&mut packet, some.to_vec());
            self.send_to(to, packet);
        }
    }

    // --- in ---

    /// A rumor of entries. One with a large entry is news once that is here.
    pub(super) fn hear_news(
        &mut self,
        now: Now,
        from: NodeId,
        rumor: &Rumor,
        news: &EntryNews,
    ) -> Heard {
        if self.leaving.is_some() || !self.shares_with(now, from) {
            return Heard::Old;
        }
        let origin = rumor.id.origin;
        let waits = news.confirm.then_some(origin);
        let mut heard = Heard::Old;
        for entry in &news.entries {
            if self.receive_entry(now, entry.clone(), waits) {
                heard = Heard::News;
            }
        }
        if heard == Heard::News {
            self.in_contact(now, from);
        }
        let lacking: Vec<Key> = news
            .large
            .iter()
            .filter(|name| self.lacks(name))
            .copied()
            .collect();
        for name in &lacking {
            if self.sharing.large.len() >= LARGE_MAX {
                self.sharing.large.pop_first();
            }
            self.sharing.large.insert(*name, (rumor.clone(), from));
        }
        if !lacking.is_empty() {
            self.ask_for(now, from, |exchange| exchange.want(lacking));
        }
        heard
    }

    /// An entry that somebody gave us; `true` if it is news. `waits`: who
    /// wants to know when it is durable here.
    pub(super) fn receive_entry(&mut self, now: Now, entry: Entry, waits: Option<NodeId>) -> bool {
        let version = entry.version();
        let name = entry.name();
        if self.is_ahead(now, version.timestamp) {
            self.hold_ahead(now, name, &entry);
            return false;
        }
        if self.is_overfull() && !self.shrinks(&entry) {
            self.tell_full(now);
            return false;
        }
        self.clock.resume(now, version.timestamp);
        let merged = self.take_in(now, entry);
        let news = merged != Merged::Old;
        if let Merged::News { now: kept, .. } = merged {
            self.writes.keep(kept);
            self.sharing.ahead.remove(&name);
        }
        let rumor = self.sharing.large.remove(&name);
        let waits = match (&rumor, waits) {
            (Some((rumor, _)), None) => match &rumor.body {
                Body::Entries(news) if news.confirm => Some(rumor.id.origin),
                _ => None,
            },
            (_, waits) => waits,
        };
        if let Some(origin) = waits {
            self.writes.confirm(origin, name);
        }
        if let Some((rumor, told_by)) = rumor
            && news
        {
            self.gossip.spread(now.mono, rumor, Some(told_by));
        }
        news
    }

    /// Whether a write of this name would be new, as far as its name tells.
    pub(super) fn lacks(&self, name: &Key) -> bool {
        self.entries.named(name).is_none() && !self.sharing.ahead.contains_key(name)
    }

    // --- who shares with whom ---

    /// Whether entries are exchanged with this one: not if the last contact
    /// is so long ago that what was deleted meanwhile could come back.
    pub(super) fn shares_with(&mut self, now: Now, id: NodeId) -> bool {
        // Who holds nothing can bring nothing back.
        if !self.is_parted_from(self.sober_ms(now), id) {
            self.sharing.parted.remove(&id);
            return true;
        }
        if !self.sharing.parted.contains(&id)
            && let Some(member) = self.membership.snapshot(id)
        {
            self.sharing.parted.insert(id);
            self.tell(Event::SharedParted(member));
        }
        false
    }

    /// Entries are exchanged with this one.
    pub(super) fn in_contact(&mut self, now: Now, id: NodeId) {
        let at_ms = self.sober_ms(now);
        if !self.is_parted_from(at_ms, id) {
            self.touch(now, at_ms, id);
        }
    }

    /// This one holds the same, tombstones and all, or something else, as far
    /// as a digest tells. From who holds the same nothing can come back,
    /// however long it was away; since a digest is short, it takes two.
    pub(super) fn compares(&mut self, now: Now, id: NodeId, equal: bool) {
        let at_ms = self.sober_ms(now);
        if !equal {
            self.sharing.seemed_equal.remove(&id);
        } else if !self.is_parted_from(at_ms, id) || !self.sharing.seemed_equal.insert(id) {
            self.sharing.seemed_equal.remove(&id);
            self.sharing.parted.remove(&id);
            self.touch(now, at_ms, id);
        }
    }

    fn is_parted_from(&self, at_ms: u64, id: NodeId) -> bool {
        let may_bring_back = self.entries.len() > 0 || self.contacts.has_renounced(id);
        may_bring_back && self.contacts.is_lost(at_ms, id)
    }

    fn touch(&mut self, now: Now, at_ms: u64, id: NodeId) {
        if self.membership.is_live(id) && self.contacts.touch(at_ms, id) {
            let at = now.mono + super::PERSIST_INTERVAL;
            self.persist_at.get_or_insert(at);
        }
    }

    // --- what time it is ---

    /// By how much this node's clock is ahead of its peers' median.
    pub(super) fn clock_ahead(&self, now: Now) -> Option<Duration> {
        let median_ms = self.clocks.median_ms(now)?;
        let ahead_ms = now.wall_ms.checked_sub(median_ms)?;
        Some(Duration::from_millis(ahead_ms)).filter(|ahead| !ahead.is_zero())
    }

    /// A timestamp that nobody whose clock is right can have made: what is
    /// ahead of our clock and of our peers'.
    pub(super) fn is_ahead(&self, now: Now, timestamp: Timestamp) -> bool {
        timestamp.ms() > self.ahead_bound_ms(now)
    }

    /// What time it is for what cannot be undone: a clock that has jumped
    /// ahead of everybody's must not let a month's tombstones go, or part
    /// this node from all others.
    pub(super) fn sober_ms(&self, now: Now) -> u64 {
        let ahead_ms = self.config.shared.ahead_max.as_millis() as u64;
        let median_ms = self.clocks.median_ms(now);
        let bound_ms = median_ms.map_or(u64::MAX, |ms| ms.saturating_add(ahead_ms));
        self.clock.ms(now).min(bound_ms)
    }

    /// What has run out by then goes for good; nothing while in doubt.
    pub(super) fn running_out_ms(&self, now: Now) -> u64 {
        match self.doubts_clock(now) {
            Some(_) => 0,
            None => self.sober_ms(now),
        }
    }

    /// Whether it is too early to let anything run out for good, and until when.
    pub(super) fn doubts_clock(&self, now: Now) -> Option<Mono> {
        let until = self.sharing.doubt_until.filter(|until| now.mono < *until);
        until.filter(|_| self.clocks.median_ms(now).is_none())
    }

    pub(super) fn ahead_bound_ms(&self, now: Now) -> u64 {
        let median_ms = self.clocks.median_ms(now).unwrap_or(0);
        let ahead_ms = self.config.shared.ahead_max.as_millis() as u64;
        now.wall_ms.max(median_ms).saturating_add(ahead_ms)
    }

    /// Not taken in: it would beat everybody's writes until its time has come.
    fn hold_ahead(&mut self, now: Now, name: Key, entry: &Entry) {
        let bound_ms = self.ahead_bound_ms(now);
        let version = entry.version();
        let ahead = &mut self.sharing.ahead;
        ahead.retain(|_, at_ms| *at_ms > bound_ms);
        if ahead.len() < AHEAD_MAX {
            ahead.insert(name, version.timestamp.ms());
        }
        let ahead_ms = version.timestamp.ms().saturating_sub(now.wall_ms);
        let refusal = Refusal::TimestampAhead {
            origin: version.origin,
            ahead_s: (ahead_ms / 1_000)
                .checked_next_power_of_two()
                .unwrap_or(u64::MAX),
        };
        self.refuse(now.mono, refusal);
    }

    /// Stamps anew what was written while the clock was wrong, once it is right.
    pub(super) fn rewind_clock(&mut self, now: Now) {
        let bound_ms = self.ahead_bound_ms(now);
        if self.clock.ms(now) <= bound_ms {
            return;
        }
        // Without peers nobody knows which of our clocks was wrong.
        let Some(median_ms) = self.clocks.median_ms(now) else {
            return;
        };
        let ahead_max = self.config.shared.ahead_max.as_millis() as u64;
        if now.wall_ms.abs_diff(median_ms) > ahead_max {
            return;
        }
        self.clock.rewind(now);
        for entry in self.entries.ahead_of(bound_ms) {
            let anew = self.stamp_anew(now, &entry);
            self.entries.put_in_place(anew.clone());
            self.writes.keep(anew.clone());
            self.sharing.tell(now.mono, anew, false);
        }
    }

    // --- bounds ---

    /// Whether entries take more memory than even others' writes may have.
    pub(super) fn is_overfull(&self) -> bool {
        let max = self.config.shared.bytes_max;
        self.entries.bytes() > max.saturating_add(max / 4)
    }

    fn shrinks(&self, entry: &Entry) -> bool {
        let before = self.entries.get(entry.key());
        before.is_some_and(|before| entry.as_bytes().len() <= before.as_bytes().len())
    }

    fn tell_full(&mut self, now: Now) {
        let told = self.sharing.full_told;
        if told.is_none_or(|at| now.mono >= at + TELL_FULL) {
            self.sharing.full_told = Some(now.mono);
            self.tell(Event::SharedFull {
                bytes: self.entries.bytes(),
                bytes_max: self.config.shared.bytes_max,
            });
        }
    }
}

/// Whether a rumor may go along a path is decided by whom it reaches.
pub(super) fn is_of_entries(rumor: &Rumor) -> bool {
    matches!(rumor.body, Body::Entries(_))
}
