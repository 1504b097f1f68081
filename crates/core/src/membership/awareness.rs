//! Awareness: how much a node trusts its own silence.
//!
//! A node that is starved itself sees its peers as slow. Each probe that
//! fails, each missing nack and each suspicion of itself that it has to
//! refute raises the score; each answered probe lowers it. Probe timeouts
//! are scaled by `1 + score`, so that a sick observer accuses late.
//!
//! Source: Lifeguard (Dadgar et al., arXiv:1707.00788), section IV-A,
//! "Local Health Aware Probe".

use std::time::Duration;

/// Lifeguard's local health multiplier.
#[derive(Debug)]
pub(crate) struct Awareness {
    score: u32,
    /// Probe timeouts are at most one more than this times as long.
    max: u32,
}

impl Awareness {
    /// Of a node that is well. `max`: the highest score.
    pub(crate) fn new(max: u32) -> Self {
        Self { score: 0, max }
    }

    /// 0 is well, the highest is starved.
    pub(crate) fn score(&self) -> u32 {
        self.score
    }

    /// Something suggests that this node is slow.
    pub(crate) fn worse(&mut self) {
        self.score = (self.score + 1).min(self.max);
    }

    /// Something suggests that this node is well.
    pub(crate) fn better(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    /// A timeout as long as this node's health asks for.
    pub(crate) fn scale(&self, timeout: Duration) -> Duration {
        timeout * (1 + self.score)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sick_node_waits_longer_and_a_well_one_does_not() {
        let mut health = Awareness::new(8);
        let unit = Duration::from_millis(100);
        assert_eq!(health.scale(unit), unit);
        for _ in 0..100 {
            health.worse();
        }
        assert_eq!(health.score(), 8);
        assert_eq!(health.scale(unit), unit * 9);
        for _ in 0..100 {
            health.better();
        }
        assert_eq!(health.score(), 0);
    }
}
