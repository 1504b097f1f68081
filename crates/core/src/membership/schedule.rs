//! Schedule: whom to probe in which round, so that everybody is probed once.
//!
//! In round `r` the member at place `i` of the view sorted by id probes the
//! one at `(i + offset(r)) mod N`. All members with the same view and round
//! use the same offset, so targets are a permutation: each member is probed
//! by exactly one other per round, and nobody waits long by chance as under
//! SWIM's independent shuffles. Offsets run through a shuffle of `1..N`, so
//! that each pair meets once in `N - 1` rounds even where views or rounds
//! differ: then this is SWIM's shuffled round robin, no worse.
//!
//! Source: SWIM (Das et al., DSN 2002), section 4.3, evened out.

/// The offsets of one cycle of rounds, remembered while it lasts.
#[derive(Debug, Default)]
pub(crate) struct Schedule {
    cycle: u64,
    offsets: Vec<u32>,
}

impl Schedule {
    /// The place to probe from place `mine` of `members` in `round`; `None` when alone.
    pub(crate) fn target(&mut self, round: u64, mine: usize, members: usize) -> Option<usize> {
        let others = members.checked_sub(1).filter(|others| *others > 0)?;
        let cycle = round / others as u64;
        if self.offsets.len() != others || self.cycle != cycle {
            self.cycle = cycle;
            self.offsets = shuffled(cycle, others);
        }
        let offset = self.offsets[(round % others as u64) as usize] as usize;
        Some((mine + offset) % members)
    }
}

/// `1..=others`, in an order that every member computes alike (Fisher–Yates).
fn shuffled(cycle: u64, others: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (1..=others as u32).collect();
    let mut state = cycle ^ (others as u64) << 48;
    for last in (1..others).rev() {
        let pick = split_mix(&mut state) % (last as u64 + 1);
        order.swap(last, pick as usize);
    }
    order
}

/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): public, so that all agree.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn in_every_round_everybody_is_probed_by_exactly_one_other() {
        for members in [2, 3, 10, 101] {
            for round in 0..300 {
                let targets: BTreeSet<_> = (0..members)
                    .map(|mine| {
                        let target = Schedule::default().target(round, mine, members);
                        let target = target.expect("not alone");
                        assert_ne!(target, mine, "nobody probes itself");
                        target
                    })
                    .collect();
                assert_eq!(targets.len(), members, "round {round} of {members}");
            }
        }
    }

    /// SWIM 4.3: a failure is noticed within 2N - 1 rounds at the latest.
    #[test]
    fn every_pair_meets_once_in_each_cycle() {
        let members = 23;
        let mut schedule = Schedule::default();
        for cycle in 0..5 {
            let met: BTreeSet<_> = (0..22)
                .map(|step| schedule.target(cycle * 22 + step, 7, members))
                .collect();
            assert_eq!(met.len(), 22);
        }
    }

    #[test]
    fn a_node_alone_probes_nobody() {
        assert_eq!(Schedule::default().target(5, 0, 1), None);
    }
}
