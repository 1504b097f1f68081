//! Rings: to whom a rumor goes, so that nobody is missed.
//!
//! Every member stands on several rings, each sorted by its own hash of the
//! ids. A rumor goes to both neighbours on three of them, minus where it came
//! from: five sends per member, and a random regular graph of degree six,
//! which is connected even with some members dead and has a diameter of
//! about log5 N. The successors on six further rings hear only of its id,
//! later, and pull what they lack.
//!
//! No ring is ever stored, only who stands next to this node on each. Who
//! joins is compared with those; when one of them goes, one pass over the view
//! finds who stands there now.

use crate::id::NodeId;
use crate::tuning::Tuning;

/// Who stands next to this node on each ring.
#[derive(Debug)]
pub(crate) struct Rings {
    me: NodeId,
    /// First the rings on which rumors travel in full, both ways, then those
    /// on which ids travel, to the successor, one after another.
    next: Vec<Next>,
    full_rings: usize,
    /// A neighbour went, and nobody looked around since.
    outdated: bool,
    full: Vec<NodeId>,
}

impl Rings {
    /// Of a node that knows nobody yet.
    pub(crate) fn new(me: NodeId, tuning: &Tuning) -> Self {
        Self {
            me,
            next: vec![Next::default(); tuning.full_rings + tuning.repair_rings],
            full_rings: tuning.full_rings,
            outdated: false,
            full: Vec::new(),
        }
    }

    /// A member is live now.
    pub(crate) fn joined(&mut self, id: NodeId) {
        let mut nearer = false;
        for (ring, next) in self.next.iter_mut().enumerate() {
            nearer |= next.consider(ring, self.me, id) && ring < self.full_rings;
        }
        if nearer {
            self.list_full();
        }
    }

    /// A member is not live any more.
    pub(crate) fn gone(&mut self, id: NodeId) {
        self.outdated |= self.next.iter().any(|next| next.has(id));
    }

    /// Looks around again, if a neighbour went. `live`: ids of live members.
    pub(crate) fn look(&mut self, live: &[NodeId]) {
        if !self.outdated {
            return;
        }
        self.outdated = false;
        self.next.fill(Next::default());
        for id in live {
            for (ring, next) in self.next.iter_mut().enumerate() {
                next.consider(ring, self.me, *id);
            }
        }
        self.list_full();
    }

    /// Where rumors go in full: at most six, all different. Neighbourhood is
    /// mutual: these are also those whose neighbour this node is.
    pub(crate) fn full(&self) -> &[NodeId] {
        &self.full
    }

    /// Where the id goes in this step of the repair.
    pub(crate) fn repair(&self, step: usize) -> Option<NodeId> {
        self.next
            .get(self.full_rings + step)?
            .after
            .map(|(_, id)| id)
    }

    fn list_full(&mut self) {
        self.full.clear();
        for next in &self.next[..self.full_rings] {
            for (_, id) in next.before.into_iter().chain(next.after) {
                if !self.full.contains(&id) {
                    self.full.push(id);
                }
            }
        }
    }
}

/// Predecessor and successor on one ring, with how far they are.
#[derive(Clone, Copy, Debug, Default)]
struct Next {
    before: Option<(u64, NodeId)>,
    after: Option<(u64, NodeId)>,
}

impl Next {
    /// Takes a member that stands nearer; `true` if it does.
    fn consider(&mut self, ring: usize, me: NodeId, id: NodeId) -> bool {
        if id == me {
            return false;
        }
        let ahead = place(ring, id).wrapping_sub(place(ring, me));
        let behind = ahead.wrapping_neg();
        let nearer =
            |held: Option<(u64, NodeId)>, way: u64| held.is_none_or(|(nearest, _)| way < nearest);
        let (is_after, is_before) = (nearer(self.after, ahead), nearer(self.before, behind));
        if is_after {
            self.after = Some((ahead, id));
        }
        if is_before {
            self.before = Some((behind, id));
        }
        is_after || is_before
    }

    fn has(&self, id: NodeId) -> bool {
        let is = |held: Option<(u64, NodeId)>| held.is_some_and(|(_, held)| held == id);
        is(self.before) || is(self.after)
    }
}

/// Where an id stands on a ring: a mix of its random bits (MurmurHash3's finalizer).
fn place(ring: usize, id: NodeId) -> u64 {
    let mut z = (id.0 as u64) ^ ((id.0 >> 64) as u64).rotate_left(32);
    z ^= (ring as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    z = (z ^ (z >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    z ^ (z >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn town(size: u128) -> Vec<NodeId> {
        (1..=size)
            .map(|n| NodeId(n * 0x1234_5678_9abc_def1))
            .collect()
    }

    fn rings_of(who: NodeId, live: &[NodeId]) -> Rings {
        let mut rings = Rings::new(who, &Tuning::default());
        for id in live {
            rings.joined(*id);
        }
        rings
    }

    fn full_neighbours(who: NodeId, live: &[NodeId]) -> Vec<NodeId> {
        rings_of(who, live).full
    }

    /// Nodes reached from the first by flooding along full rings, and in how many hops.
    fn flood(live: &[NodeId], dead: &BTreeSet<NodeId>) -> (usize, usize) {
        let mut reached = BTreeSet::from([live[0]]);
        let mut front = vec![live[0]];
        let mut hops = 0;
        while !front.is_empty() {
            let mut next = Vec::new();
            for id in front {
                for to in full_neighbours(id, live) {
                    if !dead.contains(&to) && reached.insert(to) {
                        next.push(to);
                    }
                }
            }
            front = next;
            hops += 1;
        }
        (reached.len(), hops)
    }

    #[test]
    fn a_rumor_reaches_everybody_in_few_hops() {
        for size in [2, 3, 10, 100, 1_024] {
            let live = town(size);
            let (reached, hops) = flood(&live, &BTreeSet::new());
            assert_eq!(reached, live.len());
            assert!(hops <= 9, "{hops} hops at {size}");
        }
    }

    #[test]
    fn two_percent_unknown_dead_cut_nobody_off() {
        let live = town(1_000);
        for round in 0..20 {
            let dead: BTreeSet<_> = live.iter().skip(1 + round).step_by(50).copied().collect();
            let (reached, _) = flood(&live, &dead);
            assert_eq!(reached, live.len() - dead.len(), "round {round}");
        }
    }

    #[test]
    fn who_looks_again_only_when_a_neighbour_goes_knows_the_same_as_who_always_does() {
        let mut live = town(60);
        let (me, mut rings) = (live[7], rings_of(live[7], &live));
        let mut looks = 0;
        for step in 0..50 {
            let gone = live.remove((step * 7) % live.len());
            if gone == me {
                live.push(me);
                continue;
            }
            rings.gone(gone);
            looks += usize::from(rings.outdated);
            rings.look(&live);
            let fresh = rings_of(me, &live);
            assert_eq!(rings.full, fresh.full, "step {step}");
            for step in 0..6 {
                assert_eq!(rings.repair(step), fresh.repair(step));
            }
        }
        assert!(looks > 0 && looks < 50, "{looks} looks");
    }

    #[test]
    fn neighbourhood_is_mutual() {
        let live = town(50);
        for id in &live {
            for other in full_neighbours(*id, &live) {
                assert!(full_neighbours(other, &live).contains(id));
            }
        }
    }

    #[test]
    fn a_small_town_has_no_neighbour_twice() {
        let live = town(3);
        assert_eq!(full_neighbours(live[0], &live).len(), 2);
        assert!(full_neighbours(live[0], &live[..1]).is_empty());
    }
}
