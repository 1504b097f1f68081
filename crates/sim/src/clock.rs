//! Clock: what time a host believes it is.
//!
//! Monotonic time runs at the rate of the host's oscillator; the wall clock
//! besides may be set to anything. Neither is the true time, which only the
//! simulation knows.

use std::time::Duration;

use dui_core::{Mono, Now};

use crate::queue::Ns;

/// True wall clock at the start of every world, ms since the Unix epoch.
pub const EPOCH_MS: u64 = 1_790_000_000_000;

const MILLION: i128 = 1_000_000;

/// The two clocks of one host.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// How far the wall clock is ahead of the true time, ms.
    wall_ahead_ms: i64,
    /// How much faster than true time it runs, millionths.
    drift_ppm: i32,
    /// Since when, in true time, and what monotonic time it was then.
    since: Ns,
    mono: Ns,
}

impl Clock {
    /// Sets the wall clock ahead of the true time, or behind it.
    pub fn set_ahead(&mut self, ahead_ms: i64) {
        self.wall_ahead_ms = ahead_ms;
    }

    /// How far the wall clock is ahead of the true time, ms.
    pub fn ahead_ms(&self) -> i64 {
        self.wall_ahead_ms
    }

    /// From `now` on it runs faster than true time by so many millionths.
    pub(crate) fn set_drift(&mut self, now: Ns, ppm: i32) {
        self.mono = self.mono_ns(now);
        self.since = now;
        self.drift_ppm = ppm;
    }

    /// What it shows at a true time.
    pub(crate) fn now(&self, at: Ns) -> Now {
        let mono = self.mono_ns(at);
        // The wall clock drifts with the oscillator; nobody slews it here.
        let drifted_ms = (i128::from(mono) - i128::from(at)) / MILLION;
        let true_ms = i128::from(EPOCH_MS) + i128::from(at / 1_000_000);
        let wall_ms = true_ms + drifted_ms + i128::from(self.wall_ahead_ms);
        Now {
            mono: Duration::from_nanos(mono),
            wall_ms: u64::try_from(wall_ms).unwrap_or(0),
        }
    }

    /// The first true time at which it shows at least `mono`.
    pub(crate) fn when(&self, mono: Mono) -> Ns {
        let mono = mono.as_nanos().min(u128::from(u64::MAX)) as Ns;
        if self.drift_ppm == 0 {
            return (mono + self.since).saturating_sub(self.mono);
        }
        let ahead = i128::from(mono) - i128::from(self.mono);
        let span = (ahead * MILLION).div_euclid(MILLION + i128::from(self.drift_ppm));
        // Both ways are rounded: begin before it.
        let mut at = (i128::from(self.since) + span - 2).max(0) as Ns;
        while self.mono_ns(at) < mono {
            at += 1;
        }
        at
    }

    fn mono_ns(&self, at: Ns) -> Ns {
        if self.drift_ppm == 0 {
            return (at + self.mono).saturating_sub(self.since);
        }
        let span = i128::from(at) - i128::from(self.since);
        let drifted = (span * i128::from(self.drift_ppm)).div_euclid(MILLION);
        (i128::from(self.mono) + span + drifted).max(0) as Ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_set_by_a_drifting_clock_rings_when_that_clock_shows_its_time() {
        let mut clock = Clock::default();
        for ppm in [0, 500, -500, 100_000, -100_000] {
            let start = 3_000_000_123;
            clock.set_drift(start, ppm);
            for wait in [0, 1, 999, 1_000_000_007] {
                let due = clock.now(start).mono + Duration::from_nanos(wait);
                let at = clock.when(due);
                assert!(clock.now(at).mono >= due, "{ppm} {wait}");
                assert!(at <= start || clock.now(at - 1).mono < due, "{ppm} {wait}");
            }
        }
    }

    #[test]
    fn monotonic_time_does_not_jump_when_the_rate_changes() {
        let mut clock = Clock::default();
        clock.set_drift(0, 1_000);
        let before = clock.now(5_000_000_000);
        clock.set_drift(5_000_000_000, -1_000);
        assert_eq!(clock.now(5_000_000_000), before);
        clock.set_ahead(-60_000);
        assert_eq!(clock.now(5_000_000_000).mono, before.mono);
        assert_eq!(clock.now(5_000_000_000).wall_ms, before.wall_ms - 60_000);
    }
}
