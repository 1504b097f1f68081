//! Sync: two peers find out that they know different things, and what.
//!
//! Probes and acks carry a digest of view, event log, entries and leader news.
//! One that differs is asked again after a gossip interval, because news may
//! just be on the way; if it still differs, the two reconcile. A newcomer does
//! not wait: it compares with random members every 50 ms until three agree with
//! it, and a few times more after that, ever more slowly.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rand_core::Rng;

use super::outbox::Path;
use super::{Peer, UserEvent};
use crate::bugs::Bug;
use crate::clock::{Mono, Now};
use crate::id::NodeId;
use crate::reconcile::{self, Key, Range};
use crate::wire::{self, Body, MemberRecord, Packet, Subject};

/// A difference is believed to after this.
const OUTLASTS: Duration = Duration::from_millis(200);
/// How often a newcomer compares, at first and after many tries.
const COMPARE_FIRST: Duration = Duration::from_millis(50);
const COMPARE_MAX: Duration = Duration::from_secs(1);
/// Members, or events, sent or asked for in answer to one message at most.
const ITEMS_MAX: usize = 512;
/// A newcomer believes its view after so many agree: two newcomers that know
/// only one another would agree, too.
const AGREEMENTS: u32 = 3;
/// After that it compares so many times more, each wait twice the one before:
/// where thousands start at once, those who agree may lack the same late one,
/// and would learn of it by their probes alone, a second or two later.
const SETTLING: u32 = 5;
/// Arrivals that a newcomer passes on. Where more start at once than that,
/// comparing brings each the rest in bulk: thousands of rumors, each of which
/// comes from six sides, would cost ten times as much and take longer.
const ARRIVALS_MAX: u32 = 256;
const DIFFERING_MAX: usize = 64;
/// Bytes that a key takes in a list.
const KEY_BYTES: usize = 30;

#[derive(Debug, Clone, Copy)]
enum Difference {
    /// Seen; asked again at this time.
    Seen { ask_at: Mono },
    /// Asked again: if the answer differs still, reconcile.
    Asked { since: Mono },
}

/// Whose knowledge differs from ours.
#[derive(Debug)]
pub(super) struct Sync {
    differing: BTreeMap<NodeId, Difference>,
    /// A newcomer's next comparison, and how many it had.
    compare_at: Option<Mono>,
    compared: u32,
    /// Comparisons in a row that found the peer's view to be ours.
    agreed: u32,
    /// Until enough peers agreed with us.
    newcomer: bool,
    /// Comparisons since then.
    settled: u32,
    /// Arrivals passed on meanwhile.
    arrivals: u32,
}

impl Sync {
    /// Of a node that has just started, and knows nobody.
    pub(super) fn new() -> Self {
        Self {
            differing: BTreeMap::new(),
            compare_at: None,
            compared: 0,
            agreed: 0,
            newcomer: true,
            settled: 0,
            arrivals: 0,
        }
    }

    /// Everything may have changed: compare as a newcomer does.
    pub(super) fn begin(&mut self, now: Mono) {
        self.newcomer = true;
        self.settled = 0;
        self.arrivals = 0;
        self.compared = 0;
        self.agreed = 0;
        self.compare_at = Some(now);
    }

    /// A member appeared: somebody to compare with.
    pub(super) fn met_somebody(&mut self, now: Mono) {
        if self.newcomer {
            self.compare_at.get_or_insert(now + COMPARE_FIRST);
        }
    }

    /// One more member has arrived: whether that is left to those who compare.
    pub(super) fn leaves_out_arrival(&mut self) -> bool {
        self.arrivals += u32::from(self.newcomer);
        self.newcomer && self.arrivals > ARRIVALS_MAX
    }

    fn agreed(&mut self, now: Mono, with: NodeId) {
        self.differing.remove(&with);
        self.agreed += 1;
        if self.newcomer && self.agreed >= AGREEMENTS {
            self.newcomer = false;
            self.compare_at = Some(now + COMPARE_FIRST);
        }
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let asks = self
            .differing
            .values()
            .filter_map(|difference| match difference {
                Difference::Seen { ask_at } => Some(*ask_at),
                Difference::Asked { .. } => None,
            });
        asks.chain(self.compare_at).min()
    }

    /// Whether too few have agreed with us yet.
    pub(super) fn is_newcomer(&self) -> bool {
        self.newcomer
    }

    /// A comparison goes out now; when is the next?
    fn compares(&mut self, now: Mono) {
        let wait = if self.newcomer {
            self.compared += 1;
            Some((COMPARE_FIRST * (1 + self.compared / 8)).min(COMPARE_MAX))
        } else {
            self.settled += 1;
            (self.settled < SETTLING).then(|| COMPARE_FIRST * (1 << self.settled))
        };
        self.compare_at = wait.map(|wait| now + wait);
    }
}

impl Peer {
    /// A peer's digest arrived.
    pub(super) fn hear_digest(&mut self, now: Now, from: NodeId, digest: u32, seq: u32) {
        if self.leaving.is_some() || !self.membership.is_live(from) {
            return;
        }
        if self.config.bugs().has(Bug::DeafDigest) {
            return;
        }
        let equal = digest == self.digest(seq);
        self.compares(now, from, equal);
        if equal {
            self.sync.agreed(now.mono, from);
            return;
        }
        self.sync.agreed = 0;
        match self.sync.differing.get(&from).copied() {
            _ if self.sync.newcomer => {
                self.sync.differing.remove(&from);
                self.open_reconciliation(now, from);
                self.sync.compare_at.get_or_insert(now.mono + COMPARE_FIRST);
            }
            Some(Difference::Asked { .. }) => {
                self.sync.differing.remove(&from);
                self.open_reconciliation(now, from);
            }
            Some(Difference::Seen { .. }) => {}
            None => {
                if self.sync.differing.len() < DIFFERING_MAX {
                    let ask_at = now.mono + OUTLASTS;
                    self.sync
                        .differing
                        .insert(from, Difference::Seen { ask_at });
                }
            }
        }
    }

    /// Does what is due.
    pub(super) fn synchronize(&mut self, now: Now) {
        if self.leaving.is_some() {
            self.sync.differing.clear();
            self.sync.compare_at = None;
            return;
        }
        let mut ask = Vec::new();
        self.sync
            .differing
            .retain(|id, difference| match difference {
                Difference::Seen { ask_at } if *ask_at <= now.mono => {
                    ask.push(*id);
                    *difference = Difference::Asked { since: now.mono };
                    true
                }
                // The answer got lost: the next probe will tell.
                Difference::Asked { since } => now.mono < *since + COMPARE_MAX,
                Difference::Seen { .. } => true,
            });
        for id in ask {
            self.compare_with(id);
        }
        if self.sync.compare_at.is_some_and(|at| at <= now.mono) {
            self.sync.compares(now.mono);
            match self.membership.sample(1, &mut self.rng, |_| false).first() {
                Some(id) => self.compare_with(*id),
                None => self.sync.compare_at = None,
            }
        }
    }

    /// Asks a member for its digest: a ping outside of the rounds.
    pub(super) fn compare_with(&mut self, id: NodeId) {
        let mut packet = Packet::new(self.config.id);
        let seq = self.rng.next_u32();
        packet.brief = true;
        packet.digest = Some(self.digest(seq));
        packet.ping = Some(seq);
        self.send_to(id, packet);
    }

    fn open_reconciliation(&mut self, now: Now, with: NodeId) {
        self.counters.reconciliations += 1;
        let members = reconcile::open(self.membership.table());
        let events = reconcile::open(self.log.keys().as_slice());
        self.send_ranges(None, with, members, events);
        self.open_exchange(now, with);
    }

    /// A message of a reconciliation arrived: ranges, wishes, or both.
    pub(super) fn reconcile(&mut self, now: Now, path: Path, from: NodeId, packet: &Packet) {
        if self.leaving.is_some() {
            return;
        }
        if !packet.member_ranges.is_empty() || !packet.event_ranges.is_empty() {
            let members = reconcile::answer(self.membership.table(), &packet.member_ranges);
            let events = reconcile::answer(self.log.keys().as_slice(), &packet.event_ranges);
            self.send_ranges(Some(path), from, members.reply, events.reply);
            self.give_members(
                now,
                path,
                from,
                &members.theirs_missing,
                &members.ours_missing,
            );
            self.give_events(path, from, &events.theirs_missing);
            self.want_events(path, from, &events.ours_missing);
        }
        if !packet.want_members.is_empty() {
            self.give_members(now, path, from, &packet.want_members, &[]);
        }
        if !packet.want_events.is_empty() {
            self.give_events(path, from, &packet.want_events);
        }
        if !packet.large_events.is_empty() {
            let mut ask = Packet::new(self.config.id);
            ask.want_events = packet
                .large_events
                .iter()
                .filter(|key| self.log.get(key).is_none())
                .copied()
                .collect();
            if !ask.want_events.is_empty() {
                self.ask_by_stream(from, ask);
            }
        }
    }

    fn send_ranges(
        &mut self,
        path: Option<Path>,
        to: NodeId,
        members: Vec<Range>,
        events: Vec<Range>,
    ) {
        let Some(entry) = self.membership.table().get(to) else {
            return;
        };
        let path = path.unwrap_or(Path::Packet(entry.info.address));
        let leader = self.leader_beside(&members);
        let tagged = members
            .into_iter()
            .map(|range| (true, range))
            .chain(events.into_iter().map(|range| (false, range)));
        let ranges: Vec<(bool, Range)> = tagged.collect();
        if ranges.is_empty() {
            return;
        }
        let mut packet = Packet::new(self.config.id);
        packet.leader = leader;
        self.send_list(
            path,
            Some(to),
            packet,
            ranges,
            |(_, range)| wire::range_len(range),
            |packet, (of_members, range)| {
                if of_members {
                    packet.member_ranges.push(range);
                } else {
                    packet.event_ranges.push(range);
                }
            },
        );
    }

    /// They lack these of ours, we lack those of theirs. A life that we know
    /// to have ended is not asked for: they are told of its end instead.
    fn give_members(&mut self, now: Now, path: Path, to: NodeId, give: &[Key], want: &[Key]) {
        let newer_there = |subject: Subject| {
            want.iter()
                .map(wire::member_of_key)
                .any(|theirs| theirs.id == subject.id && theirs.incarnation > subject.incarnation)
        };
        let mut ids: Vec<NodeId> = give
            .iter()
            .map(wire::member_of_key)
            .filter(|subject| !newer_there(*subject))
            .map(|subject| subject.id)
            .collect();
        let mut ask = Vec::new();
        let mut forgotten = None;
        for key in want {
            let subject = wire::member_of_key(key);
            let known = self.membership.table().get(subject.id);
            if self.membership.is_forgotten(subject.id) {
                forgotten = Some(subject);
            } else if known.is_some_and(|entry| entry.info.incarnation >= subject.incarnation) {
                ids.push(subject.id);
            } else {
                ask.push(*key);
            }
        }
        // One rumor in answer to one message, whatever that names.
        if let Some(subject) = forgotten {
            self.originate(now, Body::Forget(subject));
        }
        ids.sort_unstable();
        ids.dedup();
        ids.truncate(ITEMS_MAX);
        ask.truncate(ITEMS_MAX);
        let records: Vec<MemberRecord> = self.records(&ids);
        if !records.is_empty() {
            let packet = Packet::new(self.config.id);
            self.send_list(
                path,
                Some(to),
                packet,
                records,
                MemberRecord::encoded_len,
                |packet, record| {
                    packet.members.push(record);
                },
            );
        }
        self.send_keys(path, to, ask, |packet, key| packet.want_members.push(key));
    }

    fn give_events(&mut self, path: Path, to: NodeId, keys: &[Key]) {
        let room = self.room_on(path);
        let (mut small, mut large) = (Vec::new(), Vec::new());
        let keys: BTreeSet<&Key> = keys.iter().take(ITEMS_MAX).collect();
        for key in keys {
            match self.log.get(key) {
                Some(event) if wire::event_len(event) <= room => small.push(event.clone()),
                Some(_) => large.push(*key),
                None => {}
            }
        }
        if !small.is_empty() {
            let packet = Packet::new(self.config.id);
            let put = |packet: &mut Packet, event: UserEvent| packet.events.push(event);
            self.send_list(path, Some(to), packet, small, wire::event_len, put);
        }
        self.send_keys(path, to, large, |packet, key| packet.large_events.push(key));
    }

    fn want_events(&mut self, path: Path, from: NodeId, keys: &[Key]) {
        let keys = keys.iter().take(ITEMS_MAX).copied().collect();
        self.send_keys(path, from, keys, |packet, key| packet.want_events.push(key));
    }

    fn send_keys(
        &mut self,
        path: Path,
        to: NodeId,
        keys: Vec<Key>,
        put: impl Fn(&mut Packet, Key),
    ) {
        if !keys.is_empty() {
            let packet = Packet::new(self.config.id);
            self.send_list(path, Some(to), packet, keys, |_| KEY_BYTES, put);
        }
    }
}
