//! Table: what this node believes of each member, ordered by incarnation.
//!
//! For one id the higher incarnation wins at once. Within one incarnation
//! belief only moves from alive over suspect to failed or left; only the
//! member itself goes back, by raising it. The view fingerprint is the sum of
//! a hash of (id, incarnation) over members that are not failed or left:
//! independent of order, of suspicion and of who is asked.
//!
//! Live members lie side by side, sorted by id: the view that probing, rings
//! and reconciliation work on. A cluster of thousands is thousands of entries
//! on each node, so an entry is small: see the test at the end.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::addresses::Addresses;
use super::story::{Fact, Line, Story};
use super::suspicion::Suspicion;
use crate::clock::Now;
use crate::id::{Incarnation, NodeId};
use crate::reconcile::{self, Fingerprint, Key};
use crate::types::{Member, MemberState, WhyEntry};
use crate::wire::{MemberInfo, Subject, member_key, member_of_key};

/// Version texts that members share: more than that many run side by side
/// during no upgrade.
const VERSIONS_SHARED: usize = 8;

/// See [`Entry::exact_rtt`].
const GUESSED: u32 = 1 << 31;

/// One member.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) info: MemberInfo,
    pub(crate) since_ms: u64,
    /// Present exactly while `state` is suspect.
    pub(crate) suspicion: Option<Box<Suspicion>>,
    story: Story,
    /// Smoothed round trip in microseconds; 0: not measured yet. With
    /// [`GUESSED`] it may be far too long: perhaps a later ping was answered.
    rtt_us: u32,
    /// Names the salt of ours that it has a window for; 0: none. What names
    /// mean is the parent's business.
    pub(crate) introduced: u16,
    pub(crate) state: MemberState,
    /// Nothing happened since it came: `info` and `since_ms` are its story.
    arrived: bool,
}

impl Entry {
    fn new(now: Now, info: MemberInfo) -> Self {
        Self {
            info,
            since_ms: now.wall_ms,
            suspicion: None,
            story: Story::default(),
            rtt_us: 0,
            introduced: 0,
            state: MemberState::Alive,
            arrived: false,
        }
    }

    pub(crate) fn subject(&self) -> Subject {
        Subject {
            id: self.info.id,
            incarnation: self.info.incarnation,
        }
    }

    /// Alive or suspect: counts as part of the cluster.
    pub(crate) fn is_live(&self) -> bool {
        is_live(self.state)
    }

    /// What happened to it, oldest first.
    pub(crate) fn story(&self) -> Vec<WhyEntry> {
        let arrival = self.arrived.then(|| self.arrival().told());
        arrival.into_iter().chain(self.story.told()).collect()
    }

    pub(crate) fn rtt(&self) -> Option<Duration> {
        let us = self.rtt_us & !GUESSED;
        (us > 0).then(|| Duration::from_micros(us.into()))
    }

    fn is_guessed(&self) -> bool {
        self.rtt_us & GUESSED != 0
    }

    /// The same, unless it may be far too long.
    pub(crate) fn exact_rtt(&self) -> Option<Duration> {
        self.rtt().filter(|_| !self.is_guessed())
    }

    /// Jacobson's estimator with gain 1/8 (RFC 6298). What is `exact` takes
    /// the place of a guess.
    pub(crate) fn measured(&mut self, sample: Duration, exact: bool) {
        let held = self.rtt().filter(|_| !(exact && self.is_guessed()));
        let guessed = !exact && (self.is_guessed() || held.is_none());
        let smoothed = held.map_or(sample, |old| (old * 7 + sample) / 8);
        let us = u32::try_from(smoothed.as_micros()).unwrap_or(u32::MAX);
        self.rtt_us = us.clamp(1, !GUESSED) | if guessed { GUESSED } else { 0 };
    }

    pub(crate) fn snapshot(&self) -> Member {
        Member {
            id: self.info.id,
            run: self.info.run,
            name: self.info.name.clone(),
            role: self.info.role,
            address: self.info.address,
            state: self.state,
            incarnation: self.info.incarnation,
            messages: self.info.messages,
            version: self.info.version.clone(),
            rtt: self.rtt(),
            since_ms: self.since_ms,
        }
    }

    fn arrival(&self) -> Line {
        Line {
            at_ms: self.since_ms,
            fact: Fact::Alive(self.info.incarnation, self.info.address),
        }
    }

    fn note(&mut self, line: Line) {
        if self.story.is_empty() && !self.arrived && line == self.arrival() {
            self.arrived = true;
        } else {
            self.keep_arrival();
            self.story.push(line);
        }
    }

    /// What tells of its arrival is about to change.
    fn keep_arrival(&mut self) {
        if self.arrived {
            self.arrived = false;
            self.story.push(self.arrival());
        }
    }

    /// It says something new about itself.
    fn renew(&mut self, now: Now, info: MemberInfo) {
        self.keep_arrival();
        if self.state != MemberState::Alive {
            self.since_ms = now.wall_ms;
        }
        if self.info.address != info.address {
            self.rtt_us = 0;
        }
        if self.info.run != info.run {
            self.introduced = 0;
        }
        self.info = info;
        self.state = MemberState::Alive;
        self.suspicion = None;
    }

    fn set_state(&mut self, now: Now, incarnation: Incarnation, state: MemberState) {
        self.keep_arrival();
        self.info.incarnation = incarnation;
        self.state = state;
        self.since_ms = now.wall_ms;
        self.suspicion = None;
        if !self.is_live() {
            self.introduced = 0;
        }
    }

    fn hash(&self) -> u64 {
        reconcile::hash(&member_key(self.subject()))
    }
}

/// All members, this node included.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Ids of live members, sorted, and at the same places the hashes of their
    /// keys and their entries.
    live: Vec<NodeId>,
    hashes: Vec<u64>,
    #[expect(
        clippy::vec_box,
        reason = "who joins pushes 8 bytes aside for each member behind it, not 176"
    )]
    entries: Vec<Box<Entry>>,
    /// Members that failed or left.
    gone: BTreeMap<NodeId, Box<Entry>>,
    addresses: Addresses,
    /// Sum of `hashes`.
    fingerprint: u64,
    version: u64,
    changes: Vec<Change>,
    versions: Vec<Arc<str>>,
}

/// Who joined the live members, or went from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Joined(NodeId),
    Gone(NodeId),
}

impl Table {
    pub(crate) fn get(&self, id: NodeId) -> Option<&Entry> {
        match self.live.binary_search(&id) {
            Ok(place) => Some(&self.entries[place]),
            Err(_) => self.gone.get(&id).map(Box::as_ref),
        }
    }

    /// The only member whose id begins as `id` does; `None`: none, or several.
    pub(crate) fn by_prefix(&self, id: NodeId) -> Option<NodeId> {
        let mut same = self.between(id, NodeId(id.0 | u128::from(u64::MAX)));
        same.next()
            .filter(|_| same.next().is_none())
            .map(|entry| entry.info.id)
    }

    /// For fields that the view does not depend on; state, incarnation and
    /// address change through [`Table::set_state`] and [`Table::put`] only.
    pub(crate) fn get_mut(&mut self, id: NodeId) -> Option<&mut Entry> {
        match self.live.binary_search(&id) {
            Ok(place) => Some(&mut self.entries[place]),
            Err(_) => self.gone.get_mut(&id).map(Box::as_mut),
        }
    }

    /// Live members, sorted by id, then the others, sorted by id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries
            .iter()
            .chain(self.gone.values())
            .map(|entry| &**entry)
    }

    /// Members that failed or left, sorted by id.
    pub(crate) fn gone(&self) -> impl Iterator<Item = &Entry> {
        self.gone.values().map(Box::as_ref)
    }

    pub(crate) fn len(&self) -> usize {
        self.live.len() + self.gone.len()
    }

    /// Ids of live members, sorted.
    pub(crate) fn live(&self) -> &[NodeId] {
        &self.live
    }

    /// Rises whenever [`Table::live`], an address or the fingerprint changed.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Fingerprint of the view.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// What happened to [`Table::live`] since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// Members listed at an address other than this id.
    pub(crate) fn others_at(&self, address: SocketAddr, id: NodeId) -> Vec<NodeId> {
        let others = self.at(address).map(|entry| entry.info.id);
        others.filter(|other| *other != id).collect()
    }

    /// A live member at this address.
    pub(crate) fn live_at(&self, address: SocketAddr) -> Option<&Entry> {
        self.at(address).find(|entry| entry.is_live())
    }

    /// A member says something new about itself: it is alive in this incarnation.
    pub(crate) fn put(&mut self, now: Now, mut info: MemberInfo) {
        info.version = self.shared(info.version);
        let (id, address) = (info.id, info.address);
        let before = self.get(id).map(|entry| entry.info.address);
        if before != Some(address) {
            if let Some(before) = before {
                self.addresses.remove(before, id);
            }
            self.addresses.insert(address, id);
        }
        match (self.live.binary_search(&id), self.gone.remove(&id)) {
            (Ok(place), _) => {
                self.entries[place].renew(now, info);
                self.rehash(place);
            }
            (Err(place), Some(mut entry)) => {
                entry.renew(now, info);
                self.join(place, entry);
            }
            (Err(place), None) => self.join(place, Box::new(Entry::new(now, info))),
        }
    }

    /// Belief moves on. `incarnation` is at least the one held.
    pub(crate) fn set_state(
        &mut self,
        now: Now,
        id: NodeId,
        incarnation: Incarnation,
        state: MemberState,
    ) {
        match self.live.binary_search(&id) {
            Ok(place) => {
                self.entries[place].set_state(now, incarnation, state);
                if is_live(state) {
                    self.rehash(place);
                } else {
                    let entry = self.part(place);
                    self.gone.insert(id, entry);
                }
            }
            Err(place) => {
                let Some(mut entry) = self.gone.remove(&id) else {
                    return;
                };
                entry.set_state(now, incarnation, state);
                if is_live(state) {
                    self.join(place, entry);
                } else {
                    self.gone.insert(id, entry);
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, id: NodeId) -> Option<Box<Entry>> {
        let entry = match self.live.binary_search(&id) {
            Ok(place) => self.part(place),
            Err(_) => self.gone.remove(&id)?,
        };
        self.addresses.remove(entry.info.address, id);
        Some(entry)
    }

    pub(crate) fn note(&mut self, now: Now, id: NodeId, fact: Fact) {
        let at_ms = now.wall_ms;
        if let Some(entry) = self.get_mut(id) {
            entry.note(Line { at_ms, fact });
        }
    }

    // --- helpers ---

    fn join(&mut self, place: usize, entry: Box<Entry>) {
        let hash = entry.hash();
        self.changes.push(Change::Joined(entry.info.id));
        self.live.insert(place, entry.info.id);
        self.hashes.insert(place, hash);
        self.entries.insert(place, entry);
        self.fingerprint = self.fingerprint.wrapping_add(hash);
        self.version += 1;
    }

    fn part(&mut self, place: usize) -> Box<Entry> {
        self.changes.push(Change::Gone(self.live.remove(place)));
        self.fingerprint = self.fingerprint.wrapping_sub(self.hashes.remove(place));
        self.version += 1;
        self.entries.remove(place)
    }

    fn rehash(&mut self, place: usize) {
        let hash = self.entries[place].hash();
        let old = std::mem::replace(&mut self.hashes[place], hash);
        self.fingerprint = self.fingerprint.wrapping_sub(old).wrapping_add(hash);
        self.version += 1;
    }

    fn at(&self, address: SocketAddr) -> impl Iterator<Item = &Entry> {
        let candidates = self.addresses.at(address);
        candidates
            .flat_map(|(lowest, highest)| self.between(lowest, highest))
            .filter(move |entry| entry.info.address == address)
    }

    fn between(&self, lowest: NodeId, highest: NodeId) -> impl Iterator<Item = &Entry> {
        let first = self.live.partition_point(|id| *id < lowest);
        let live = self.entries[first..]
            .iter()
            .take_while(move |entry| entry.info.id <= highest);
        let gone = self.gone.range(lowest..=highest).map(|(_, entry)| entry);
        live.chain(gone).map(|entry| &**entry)
    }

    /// One text for all members that run the same version.
    fn shared(&mut self, version: Arc<str>) -> Arc<str> {
        if let Some(known) = self.versions.iter().find(|known| **known == version) {
            return known.clone();
        }
        if self.versions.len() == VERSIONS_SHARED {
            self.versions.remove(0);
        }
        self.versions.push(version.clone());
        version
    }

    fn key(&self, place: usize) -> Key {
        member_key(self.entries[place].subject())
    }

    fn within(&self, lo: &Key, hi: &Key) -> Range<usize> {
        let (lo_id, hi_id) = (member_of_key(lo).id, member_of_key(hi).id);
        let mut start = self.live.partition_point(|id| *id < lo_id);
        if self.live.get(start) == Some(&lo_id) && self.key(start) < *lo {
            start += 1;
        }
        let mut end = self.live.partition_point(|id| *id <= hi_id);
        if end > 0 && self.live[end - 1] == hi_id && self.key(end - 1) > *hi {
            end -= 1;
        }
        start..end.max(start)
    }
}

/// Live members by id and incarnation.
impl reconcile::Set for Table {
    fn fingerprint(&self, lo: &Key, hi: &Key) -> Fingerprint {
        let hashes = &self.hashes[self.within(lo, hi)];
        Fingerprint {
            count: hashes.len() as u64,
            sum: hashes.iter().fold(0, |sum, hash| sum.wrapping_add(*hash)),
        }
    }

    fn nth(&self, lo: &Key, hi: &Key, n: usize) -> Option<Key> {
        self.within(lo, hi).nth(n).map(|place| self.key(place))
    }

    fn keys(&self, lo: &Key, hi: &Key) -> impl Iterator<Item = Key> {
        self.within(lo, hi).map(|place| self.key(place))
    }
}

fn is_live(state: MemberState) -> bool {
    matches!(state, MemberState::Alive | MemberState::Suspect)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Mono;
    use crate::id::{MessageCounter, RunId};
    use crate::types::Role;

    fn with(ids: &[u128]) -> Table {
        let mut table = Table::default();
        let now = Now {
            mono: Mono::ZERO,
            wall_ms: 0,
        };
        for id in ids {
            let info = MemberInfo {
                id: NodeId(*id),
                run: RunId(1),
                incarnation: Incarnation(1),
                name: "ann".parse().expect("a name"),
                role: Role::Worker,
                address: SocketAddr::from(([127, 0, 0, 1], 7781)),
                version: "".into(),
                cookie: 0,
                messages: MessageCounter(1),
            };
            table.put(now, info);
        }
        table
    }

    /// On a node among N members, times N.
    #[test]
    fn an_entry_is_small() {
        let entry = size_of::<Entry>();
        assert!(entry <= 176, "{entry} bytes");
    }

    #[test]
    fn half_an_id_names_a_member_unless_two_share_it() {
        let (ann, bo, twin) = (0xa << 64 | 1, 0xb << 64 | u128::from(u64::MAX), 0xb << 64);
        let half = |id: u128| NodeId(id >> 64 << 64);
        let table = with(&[ann, bo]);
        assert_eq!(table.by_prefix(half(ann)), Some(NodeId(ann)));
        assert_eq!(table.by_prefix(half(bo)), Some(NodeId(bo)));
        assert_eq!(table.by_prefix(NodeId(0xc << 64)), None);
        assert_eq!(with(&[ann, bo, twin]).by_prefix(half(bo)), None);
    }

    #[test]
    fn an_exact_round_trip_takes_the_place_of_a_guess() {
        let mut table = with(&[1]);
        let entry = table.get_mut(NodeId(1)).expect("it is there");
        let ms = Duration::from_millis;
        entry.measured(ms(301), false);
        assert_eq!((entry.rtt(), entry.exact_rtt()), (Some(ms(301)), None));
        entry.measured(ms(1), true);
        assert_eq!(entry.exact_rtt(), Some(ms(1)));
        entry.measured(ms(9), false);
        assert_eq!(entry.exact_rtt(), Some(ms(2)));
    }
}
