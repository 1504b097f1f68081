//! Figures: what was measured, and how it reads.

use std::time::Duration;

use super::Scale;

/// What a simulation has measured. Times are in virtual time, sorted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Nodes that started at once.
    pub nodes: usize,
    /// The seed.
    pub seed: u64,
    /// How long it took, in virtual time.
    pub virtual_time: Duration,
    /// From its start until a node saw all others.
    pub join: Vec<Duration>,
    /// The same of the newcomers at the end.
    pub newcomers: Vec<Duration>,
    /// From publishing an event until another node had it.
    pub spread: Vec<Duration>,
    /// The same of the last node to have each event.
    pub spread_last: Vec<Duration>,
    /// From the death of a member until another node called it failed.
    pub detect: Vec<Duration>,
    /// From the wish to leave until another node knew that a member left.
    pub leave: Vec<Duration>,
    /// Lives of nodes that were well, and called failed all the same.
    pub false_failed: usize,
    /// Lives of overloaded nodes called failed.
    pub stalled_failed: usize,
    /// Times that a node that was well was suspected, and had to refute.
    pub false_suspected: usize,
    /// The same of overloaded nodes.
    pub stalled_suspected: usize,
    /// Full sends of an event, by node.
    pub sends: Tally,
    /// Ids of an event sent, by node.
    pub ids: Tally,
    /// Bytes that a node sent each second while nothing happened, without IP
    /// and UDP headers.
    pub bytes_per_node_s: f64,
    /// Fingerprint of all that happened.
    pub trace_hash: String,
}

/// Mean and maximum of a count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    sum: u64,
    times: u64,
    /// The highest.
    pub max: u64,
}

impl Tally {
    pub(super) fn add(&mut self, count: u64) {
        self.sum += count;
        self.times += 1;
        self.max = self.max.max(count);
    }

    /// The mean; 0 of nothing.
    pub fn mean(&self) -> f64 {
        self.sum as f64 / self.times.max(1) as f64
    }
}

/// Three of many times, ms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Times {
    /// Half took no longer.
    pub p50_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
    /// Nobody took longer.
    pub last_ms: f64,
}

impl Times {
    /// Of sorted times; `None` of none.
    pub fn of(sorted: &[Duration]) -> Option<Self> {
        let last = sorted.last()?;
        // Nearest rank.
        let rank = |percent: usize| sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1];
        Some(Self {
            p50_ms: ms(rank(50)),
            p99_ms: ms(rank(99)),
            last_ms: ms(*last),
        })
    }
}

/// To the microsecond.
fn ms(time: Duration) -> f64 {
    time.as_micros() as f64 / 1_000.0
}

impl Figures {
    pub(super) fn of(scale: &Scale) -> Self {
        Self {
            nodes: scale.nodes,
            seed: scale.seed,
            ..Self::default()
        }
    }

    pub(super) fn sort(&mut self) {
        for times in [
            &mut self.join,
            &mut self.newcomers,
            &mut self.spread,
            &mut self.spread_last,
            &mut self.detect,
            &mut self.leave,
        ] {
            times.sort_unstable();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_somebody_took() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        let of = Times::of(&times).expect("some");
        assert_eq!((of.p50_ms, of.p99_ms, of.last_ms), (100.0, 198.0, 200.0));
        assert_eq!(Times::of(&[]), None);
        let one = Times::of(&times[6..7]).expect("one");
        assert_eq!((one.p50_ms, one.p99_ms, one.last_ms), (7.0, 7.0, 7.0));
    }
}
