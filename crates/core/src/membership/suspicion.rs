//! Suspicion: how long we doubt a silent member before calling it failed.
//!
//! Each independent accuser shortens the wait, logarithmically, from
//! `max` toward `min`. One voice may be a bad link; four are evidence.
//!
//! Source: Lifeguard (Dadgar et al., arXiv:1707.00788), section IV-B.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Mono;
use crate::id::NodeId;
use crate::tuning::Tuning;

/// A doubt about one member in one incarnation.
#[derive(Debug)]
pub(crate) struct Suspicion {
    started: Mono,
    min: Duration,
    max: Duration,
    wanted: usize,
    accusers: BTreeSet<NodeId>,
}

impl Suspicion {
    /// A doubt first voiced by `accuser` in a cluster of `members`, probed every `interval`.
    pub(crate) fn new(
        now: Mono,
        accuser: NodeId,
        members: usize,
        interval: Duration,
        tuning: &Tuning,
    ) -> Self {
        let min = floor(members, interval).max(tuning.suspicion_min);
        Self {
            started: now,
            min,
            max: min * tuning.suspicion_max_times,
            wanted: tuning.accusers.min(members.saturating_sub(2)),
            accusers: BTreeSet::from([accuser]),
        }
    }

    /// Takes note of an accuser; `true` if it is one more and it counts.
    pub(crate) fn accuse(&mut self, accuser: NodeId) -> bool {
        self.accusers.len() <= self.wanted && self.accusers.insert(accuser)
    }

    /// When the doubt becomes certainty, unless it is refuted.
    pub(crate) fn deadline(&self) -> Mono {
        self.started + self.wait()
    }

    /// The wait starts over by as much: this node slept and heard nothing meanwhile.
    pub(crate) fn postpone(&mut self, by: Duration) {
        self.started += by;
    }

    fn wait(&self) -> Duration {
        // In a cluster of two nobody else can confirm, so nobody is waited for.
        if self.wanted == 0 {
            return self.min;
        }
        let confirmed = (self.accusers.len() - 1).min(self.wanted);
        let progress = ((confirmed + 1) as f64).ln() / ((self.wanted + 1) as f64).ln();
        let wait = self.max - (self.max - self.min).mul_f64(progress.min(1.0));
        assert!(
            wait >= self.min,
            "accusers shorten suspicion to its floor, never below: {wait:?}"
        );
        wait
    }
}

/// T log10 N.
fn floor(members: usize, interval: Duration) -> Duration {
    interval.mul_f64((members.max(1) as f64).log10())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Duration = Duration::from_millis(3_200);

    fn doubt(members: usize) -> Suspicion {
        let tuning = Tuning::default();
        Suspicion::new(
            Mono::ZERO,
            NodeId(1),
            members,
            Duration::from_secs(1),
            &tuning,
        )
    }

    /// Lifeguard IV-B: "the timeout starts at Max and decreases to Min as K
    /// independent suspicions are processed".
    #[test]
    fn independent_accusers_shorten_the_wait_from_max_to_min() {
        let mut doubt = doubt(100);
        let mut waits = vec![doubt.deadline()];
        for accuser in 2..=4 {
            assert!(doubt.accuse(NodeId(accuser)));
            waits.push(doubt.deadline());
        }
        assert_eq!(waits[0], FLOOR * 2);
        assert_eq!(waits[3], FLOOR);
        assert!(waits.is_sorted_by(|a, b| a > b), "{waits:?}");
        assert!(!doubt.accuse(NodeId(5)), "a fifth voice adds nothing");
    }

    #[test]
    fn the_same_accuser_counts_once() {
        let mut doubt = doubt(100);
        let before = doubt.deadline();
        assert!(!doubt.accuse(NodeId(1)));
        assert_eq!(doubt.deadline(), before);
    }

    #[test]
    fn two_nodes_have_nobody_to_wait_for() {
        let doubt = doubt(2);
        assert_eq!(doubt.deadline(), FLOOR);
    }

    #[test]
    fn a_node_stopped_for_three_seconds_has_time_to_refute_at_every_size() {
        for members in [2, 3, 10, 100, 1_000, 100_000] {
            assert!(
                doubt(members).deadline() >= Duration::from_secs(3),
                "{members}"
            );
        }
    }
}
