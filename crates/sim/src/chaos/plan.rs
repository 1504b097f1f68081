//! Plan: what a seed makes happen: a cluster, its network, and faults one after another.

use std::time::Duration;

use super::Fault;
use crate::dice::Dice;
use crate::network::Latency;
use crate::town::{ms, secs};

const NODES_MIN: u64 = 3;
const NODES_MAX: u64 = 64;

/// What happens in a run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Nodes of the cluster.
    pub nodes: usize,
    /// Nodes of another cluster on the same network.
    pub strangers: usize,
    /// Whether packets are sealed.
    pub keyed: bool,
    /// Whether the strangers have the same key, and differ in name only.
    pub same_key: bool,
    /// Of a hundred nodes, those with a data directory.
    pub durable_percent: u64,
    /// Whether beacons get through; else nodes are told where the first three are.
    pub multicast: bool,
    /// Whether dead ports and dying processes show themselves.
    pub evidence: bool,
    /// One-way delay.
    pub latency: Latency,
    /// How much the nodes' starts are apart at most.
    pub start_within: Duration,
    /// Each with its number and the time before it.
    pub faults: Vec<(usize, Duration, Fault)>,
}

impl Plan {
    /// The plan of a seed.
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        // Small clusters have most of the corner cases; large ones cost most.
        let spread = 1 + dice.below(NODES_MAX - NODES_MIN + 1);
        let nodes = (NODES_MIN + dice.below(spread)) as usize;
        let latency = match dice.below(4) {
            0 => Latency::Constant(Duration::from_micros(500)),
            1 => Latency::Uniform {
                min: ms(1),
                max: ms(1 + dice.below(40)),
            },
            2 => Latency::LogNormal {
                median: ms(1 + dice.below(30)),
                sigma: 0.5,
            },
            _ => Latency::Uniform {
                min: Duration::from_micros(50),
                max: ms(2),
            },
        };
        let mut plan = Self {
            nodes,
            strangers: if dice.below(4) == 0 {
                1 + dice.below(3) as usize
            } else {
                0
            },
            keyed: dice.below(4) == 0,
            same_key: dice.below(2) == 0,
            durable_percent: [0, 50, 100, 100][dice.below(4) as usize],
            multicast: dice.below(4) != 0,
            evidence: dice.below(4) != 0,
            latency,
            start_within: ms(dice.below(3_000)),
            faults: Vec::new(),
        };
        let count = 4 + dice.below(28) as usize;
        for number in 0..count {
            let wait = match dice.below(4) {
                0 => ms(dice.below(50)),
                1 => ms(dice.below(8_000)),
                _ => ms(dice.below(2_500)),
            };
            let fault = draw_fault(&mut dice);
            plan.faults.push((number, wait, fault));
        }
        plan.draw_leaders(seed);
        plan
    }

    /// In half of the plans somebody leads: by dice of its own and at times
    /// of the others, so that the rest of a seed stays what it was.
    fn draw_leaders(&mut self, seed: u64) {
        let mut dice = Dice::new(seed ^ 0x1ead_0000);
        let first = self.faults.len();
        let count = dice.below(2) * (1 + dice.below(12));
        for number in first..first + count as usize {
            // Twice in a row, and one that is late, is where order matters.
            let before = dice.below(6).saturating_sub(3);
            let fault = Fault::Lead(dice.draw(), before);
            let place = dice.below(self.faults.len() as u64 + 1) as usize;
            self.faults.insert(place, (number, Duration::ZERO, fault));
        }
    }

    /// Only these faults remain, at their times.
    pub fn keep(&mut self, only: &[usize]) {
        let mut skipped = Duration::ZERO;
        self.faults = std::mem::take(&mut self.faults)
            .into_iter()
            .filter_map(|(number, wait, fault)| {
                if only.contains(&number) {
                    return Some((number, wait + std::mem::take(&mut skipped), fault));
                }
                skipped += wait;
                None
            })
            .collect();
    }
}

fn draw_fault(dice: &mut Dice) -> Fault {
    let (one, other) = (dice.draw(), dice.draw());
    let span = |dice: &mut Dice| match dice.below(3) {
        0 => ms(20 + dice.below(1_500)),
        1 => ms(dice.below(4_500)),
        _ => ms(dice.below(20_000)),
    };
    match dice.below(67) {
        0..=4 => Fault::Kill(one),
        5..=6 => Fault::Vanish(one),
        7..=10 => Fault::Leave(one),
        11..=15 => Fault::Restart(one),
        16..=17 => Fault::RestartElsewhere(one),
        18..=19 => Fault::Replace(one),
        20 => Fault::Swap(one, other),
        21 => Fault::TakeOver(one, other),
        22..=24 => Fault::Stop(one, span(dice)),
        25 => Fault::Sleep(one, span(dice)),
        26 => Fault::Slow(
            one,
            Duration::from_micros(200 + dice.below(30_000)),
            span(dice),
        ),
        27..=29 => Fault::CutOneWay(one, other),
        30 => Fault::Cut(one, other),
        31 => Fault::BlockUdpOut(one),
        32 => Fault::BlockUdpIn(one),
        33..=36 => Fault::Partition(dice.wide() & dice.wide()),
        37 => Fault::Partition(1 << (2 * dice.below(64))),
        38..=39 => Fault::Join,
        40..=41 => Fault::Lose(dice.below(400_000) as u32),
        42..=43 => {
            let (inward, out) = (dice.below(1_000_000), dice.below(1_000_000));
            Fault::LoseAt(one, inward as u32, out as u32)
        }
        44 => Fault::Duplicate(dice.below(500_000) as u32),
        45 => Fault::Reorder(dice.below(500_000) as u32),
        46 => Fault::Narrow(one, 500 + dice.below(700) as usize),
        47 => Fault::Delay(one, ms(dice.below(300))),
        48 => Fault::ClockAhead(one, dice.below(100_000) as i64 - 50_000),
        49 => Fault::Drift(one, dice.below(2_000) as i32 - 1_000),
        50 => Fault::HoursPass(1 + dice.below(30)),
        51 => Fault::Readdress(one),
        52 => Fault::DiskFull(one),
        53 => Fault::DiskFree(one),
        54..=58 => Fault::Publish(one, dice.below(3_000) as usize),
        59 => Fault::Forget(one, other),
        60..=61 => Fault::Rest(secs(8 + dice.below(15))),
        62..=63 => Fault::Move(one),
        64 => Fault::Exchange(one, other),
        _ => Fault::Publish(one, dice.below(200) as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_of_every_size_and_every_fault_befalls_somebody() {
        let plans: Vec<Plan> = (0..2_000).map(Plan::of).collect();
        let sizes = plans.iter().map(|plan| plan.nodes);
        assert_eq!(sizes.clone().min(), Some(3));
        assert!(sizes.max() >= Some(60));
        let mut kinds = std::collections::BTreeSet::new();
        for (_, _, fault) in plans.iter().flat_map(|plan| &plan.faults) {
            let name = format!("{fault:?}");
            kinds.insert(name.split('(').next().unwrap_or_default().to_owned());
        }
        assert_eq!(kinds.len(), 35, "{kinds:?}");
    }

    #[test]
    fn faults_that_remain_keep_their_times() {
        let at = |plan: &Plan, number: usize| -> Duration {
            let before = plan.faults.iter().take_while(|(n, ..)| *n != number);
            let own = plan.faults.iter().find(|(n, ..)| *n == number);
            before.map(|(_, wait, _)| *wait).sum::<Duration>()
                + own.map_or(Duration::ZERO, |own| own.1)
        };
        let whole = Plan::of(5);
        let mut part = whole.clone();
        part.keep(&[1, 3]);
        assert_eq!(part.faults.len(), 2);
        assert_eq!(at(&part, 3), at(&whole, 3));
    }
}
