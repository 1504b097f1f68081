//! Suspicion: how long we doubt a silent member before calling it failed.
//!
//! Each independent accuser shortens the wait, logarithmically, from
//! `max` toward `min`. One voice may be a bad link; four are evidence.
//!
//! Whoever is alone with its doubt may be the one that hears nothing. It asks
//! the suspect again and again: each answer, if only by a relay, starts the
//! wait over, and unless enough were missing the wait is twice as long.
//!
//! Source: Lifeguard (Dadgar et al., arXiv:1707.00788), section IV-B.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::clock::Mono;
use crate::id::NodeId;
use crate::tuning::Tuning;

/// So often the only accuser asks in vain.
const LOOKS: u32 = 8;

/// A doubt about one member in one incarnation.
#[derive(Debug)]
pub(crate) struct Suspicion {
    started: Mono,
    min: Duration,
    max: Duration,
    wanted: usize,
    accusers: BTreeSet<NodeId>,
    /// How often this node, which voiced it, has asked in vain since the last
    /// answer; `None`: somebody else has.
    in_vain: Option<u32>,
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
            in_vain: None,
        }
    }

    /// This node voiced it, and goes on asking.
    pub(crate) fn asking(mut self) -> Self {
        self.in_vain = Some(0);
        self
    }

    /// The suspect was asked again.
    pub(crate) fn looked(&mut self, now: Mono, answered: bool) {
        let Some(in_vain) = &mut self.in_vain else {
            return;
        };
        if answered {
            *in_vain = 0;
            self.started = now;
        } else {
            *in_vain += 1;
        }
    }

    /// Takes note of an accuser; `true` if it is one more and it counts.
    pub(crate) fn accuse(&mut self, accuser: NodeId) -> bool {
        self.accusers.len() <= self.wanted && self.accusers.insert(accuser)
    }

    /// Whether nobody else has voiced it.
    pub(crate) fn is_of(&self, accuser: NodeId) -> bool {
        self.accusers.len() == 1 && self.accusers.contains(&accuser)
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
        if confirmed == 0 && self.in_vain.is_some_and(|looks| looks < LOOKS) {
            return self.max * 2;
        }
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
    fn the_only_accuser_waits_for_as_many_silences_as_it_takes_or_twice_as_long() {
        let mut doubt = doubt(100).asking();
        assert_eq!(doubt.deadline(), FLOOR * 4);
        for _ in 0..LOOKS {
            doubt.looked(Mono::ZERO, false);
        }
        assert_eq!(doubt.deadline(), FLOOR * 2);
        doubt.looked(Mono::from_secs(5), true);
        assert_eq!(doubt.deadline(), Mono::from_secs(5) + FLOOR * 4);
        // Who has company need not be sure of itself.
        assert!(doubt.accuse(NodeId(2)));
        assert!(doubt.deadline() < Mono::from_secs(5) + FLOOR * 2);
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
