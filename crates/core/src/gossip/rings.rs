//! Rings: to whom a rumor goes, so that nobody is missed.
//!
//! Every member stands on several rings, each sorted by its own hash of the
//! ids. A rumor goes to both neighbours on three of them, minus where it came
//! from: five sends per member, and a random regular graph of degree six,
//! which is connected even with some members dead and has a diameter of
//! about log5 N. The successors on six further rings hear only of its id,
//! later, and pull what they lack.
//!
//! A neighbour is found by one pass over the view, remembered until the view
//! changes: no ring is ever stored.

use crate::id::NodeId;

/// Rings on which rumors travel in full, both ways.
pub(crate) const FULL_RINGS: usize = 3;
/// Rings on which ids travel, to the successor, one after another.
pub(crate) const REPAIR_RINGS: usize = 6;

/// This node's neighbours in the view of `version`.
#[derive(Debug, Default)]
pub(crate) struct Rings {
    version: Option<u64>,
    full: Vec<NodeId>,
    repair: Vec<NodeId>,
}

impl Rings {
    /// Looks around again if the view changed. `live`: ids of live members.
    pub(crate) fn look(&mut self, version: u64, me: NodeId, live: &[NodeId]) {
        if self.version == Some(version) {
            return;
        }
        self.version = Some(version);
        self.full = full_neighbours(me, live);
        self.repair.clear();
        for ring in FULL_RINGS..FULL_RINGS + REPAIR_RINGS {
            let (_, after) = neighbours(ring, me, live);
            self.repair.extend(after);
        }
    }

    /// Where rumors go in full: at most six, all different.
    pub(crate) fn full(&self) -> &[NodeId] {
        &self.full
    }

    /// Where the id goes in this step of the repair.
    pub(crate) fn repair(&self, step: usize) -> Option<NodeId> {
        self.repair.get(step).copied()
    }
}

/// Neighbours of `who` on the rings on which rumors travel in full.
pub(crate) fn full_neighbours(who: NodeId, live: &[NodeId]) -> Vec<NodeId> {
    let mut found = Vec::with_capacity(2 * FULL_RINGS);
    for ring in 0..FULL_RINGS {
        let (before, after) = neighbours(ring, who, live);
        for id in [before, after].into_iter().flatten() {
            if !found.contains(&id) {
                found.push(id);
            }
        }
    }
    found
}

/// Predecessor and successor of `who` on one ring, `who` itself need not be on it.
fn neighbours(ring: usize, who: NodeId, live: &[NodeId]) -> (Option<NodeId>, Option<NodeId>) {
    let here = place(ring, who);
    let others = live.iter().filter(|id| **id != who);
    let (mut before, mut after) = (None, None);
    let (mut nearest_before, mut nearest_after) = (u64::MAX, u64::MAX);
    for id in others {
        let ahead = place(ring, *id).wrapping_sub(here);
        if ahead <= nearest_after {
            (nearest_after, after) = (ahead, Some(*id));
        }
        let behind = ahead.wrapping_neg();
        if behind <= nearest_before {
            (nearest_before, before) = (behind, Some(*id));
        }
    }
    (before, after)
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
