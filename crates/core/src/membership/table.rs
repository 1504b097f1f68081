//! Table: what this node believes of each member, ordered by incarnation.
//!
//! For one id the higher incarnation wins at once. Within one incarnation
//! belief only moves from alive over suspect to failed or left; only the
//! member itself goes back, by raising it. The view fingerprint is the sum of
//! a hash of (id, incarnation) over members that are not failed or left:
//! independent of order, of suspicion and of who is asked.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use super::suspicion::Suspicion;
use crate::clock::Now;
use crate::id::{Incarnation, NodeId};
use crate::reconcile::Fingerprint;
use crate::types::{Member, MemberState, WhyEntry};
use crate::wire::{MemberInfo, Subject, member_key};

/// Things remembered of each member for `dui why`.
const STORY_MAX: usize = 16;

/// One member.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) info: MemberInfo,
    pub(crate) state: MemberState,
    pub(crate) since_ms: u64,
    pub(crate) rtt: Option<Duration>,
    /// Present exactly while `state` is suspect.
    pub(crate) suspicion: Option<Suspicion>,
    story: VecDeque<WhyEntry>,
}

impl Entry {
    fn new(now: Now, info: MemberInfo) -> Self {
        Self {
            info,
            state: MemberState::Alive,
            since_ms: now.wall_ms,
            rtt: None,
            suspicion: None,
            story: VecDeque::new(),
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
        matches!(self.state, MemberState::Alive | MemberState::Suspect)
    }

    pub(crate) fn story(&self) -> Vec<WhyEntry> {
        self.story.iter().cloned().collect()
    }

    /// Jacobson's estimator with gain 1/8 (RFC 6298).
    pub(crate) fn measured(&mut self, sample: Duration) {
        self.rtt = Some(self.rtt.map_or(sample, |old| (old * 7 + sample) / 8));
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
            rtt: self.rtt,
            since_ms: self.since_ms,
        }
    }
}

/// All members, this node included.
#[derive(Debug, Default)]
pub(crate) struct Table {
    entries: BTreeMap<NodeId, Entry>,
    /// Ids of live members, sorted: the view that probing and rings work on.
    live: Vec<NodeId>,
    fingerprint: Fingerprint,
    version: u64,
}

impl Table {
    pub(crate) fn get(&self, id: NodeId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// The only member whose id begins as `id` does; `None`: none, or several.
    pub(crate) fn by_prefix(&self, id: NodeId) -> Option<NodeId> {
        let last = NodeId(id.0 | u128::from(u64::MAX));
        let mut same = self.entries.range(id..=last).map(|(id, _)| *id);
        same.next().filter(|_| same.next().is_none())
    }

    /// For fields that the view does not depend on; state and incarnation
    /// change through [`Table::set_state`] and [`Table::put`] only.
    pub(crate) fn get_mut(&mut self, id: NodeId) -> Option<&mut Entry> {
        self.entries.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Ids of live members, sorted.
    pub(crate) fn live(&self) -> &[NodeId] {
        &self.live
    }

    /// Rises whenever [`Table::live`] or the fingerprint changed.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Fingerprint of the view.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint.sum
    }

    /// Members listed at an address other than this id.
    pub(crate) fn others_at(&self, address: SocketAddr, id: NodeId) -> Vec<NodeId> {
        self.iter()
            .filter(|entry| entry.info.address == address && entry.info.id != id)
            .map(|entry| entry.info.id)
            .collect()
    }

    /// A live member at this address.
    pub(crate) fn live_at(&self, address: SocketAddr) -> Option<&Entry> {
        self.iter()
            .find(|entry| entry.info.address == address && entry.is_live())
    }

    /// A member says something new about itself: it is alive in this incarnation.
    pub(crate) fn put(&mut self, now: Now, info: MemberInfo) {
        let id = info.id;
        match self.entries.get_mut(&id) {
            Some(entry) => {
                let moved = entry.info.address != info.address;
                let back = entry.state != MemberState::Alive;
                let was_live = entry.is_live();
                let old = entry.subject();
                entry.info = info;
                entry.state = MemberState::Alive;
                entry.suspicion = None;
                if back {
                    entry.since_ms = now.wall_ms;
                }
                if moved {
                    entry.rtt = None;
                }
                if was_live {
                    self.discount(old);
                }
            }
            None => {
                self.entries.insert(id, Entry::new(now, info));
            }
        }
        self.count(id);
    }

    /// Belief moves on. `incarnation` is at least the one held.
    pub(crate) fn set_state(
        &mut self,
        now: Now,
        id: NodeId,
        incarnation: Incarnation,
        state: MemberState,
    ) {
        let Some(entry) = self.entries.get_mut(&id) else {
            return;
        };
        let (old, was_live) = (entry.subject(), entry.is_live());
        entry.info.incarnation = incarnation;
        entry.state = state;
        entry.since_ms = now.wall_ms;
        entry.suspicion = None;
        let is_live = entry.is_live();
        if was_live {
            self.discount(old);
        }
        if is_live {
            self.count(id);
        }
    }

    pub(crate) fn remove(&mut self, id: NodeId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        if entry.is_live() {
            self.discount(entry.subject());
        }
        Some(entry)
    }

    pub(crate) fn note(
        &mut self,
        now: Now,
        id: NodeId,
        what: &'static str,
        by: Option<NodeId>,
        detail: String,
    ) {
        if let Some(entry) = self.entries.get_mut(&id) {
            if entry.story.len() == STORY_MAX {
                entry.story.pop_front();
            }
            entry.story.push_back(WhyEntry {
                at_ms: now.wall_ms,
                what,
                by,
                detail,
            });
        }
    }

    fn count(&mut self, id: NodeId) {
        let subject = self.entries[&id].subject();
        self.fingerprint.add(&member_key(subject));
        if let Err(place) = self.live.binary_search(&id) {
            self.live.insert(place, id);
        }
        self.version += 1;
    }

    fn discount(&mut self, subject: Subject) {
        self.fingerprint.remove(&member_key(subject));
        if let Ok(place) = self.live.binary_search(&subject.id) {
            self.live.remove(place);
        }
        self.version += 1;
    }
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
                version: String::new(),
                cookie: 0,
                messages: MessageCounter(1),
            };
            table.put(now, info);
        }
        table
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
}
