//! Time as the core sees it: handed in, never read.
//!
//! [`Mono`] drives timers; [`Timestamp`] orders what different nodes did, by
//! a hybrid logical clock: a Lamport clock that stays near wall time.
//!
//! Source: Kulkarni, Demirbas et al., "Logical Physical Clocks" (OPODIS 2014).

use std::time::Duration;

/// Time since an arbitrary origin of this process. Never goes back and runs
/// on while the machine sleeps (`CLOCK_BOOTTIME`), so that a sleep shows.
pub type Mono = Duration;

/// One instant, as both clocks that the core needs saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Drives every timer.
    pub mono: Mono,
    /// Milliseconds since the Unix epoch; may jump, so it orders nothing by itself.
    pub wall_ms: u64,
}

/// A reading of the hybrid clock: 48 bits of milliseconds since the Unix
/// epoch, then 16 bits that count within one millisecond.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The first timestamp of a millisecond.
    pub fn from_ms(ms: u64) -> Self {
        Self(ms << 16)
    }

    /// Its wall-clock part in milliseconds since the Unix epoch.
    pub fn ms(self) -> u64 {
        self.0 >> 16
    }
}

/// How far ahead of our wall clock a peer's timestamp may drag the hybrid clock.
/// One node with a clock years off must not freeze everybody's.
pub const AHEAD_MAX: Duration = Duration::from_secs(60);

/// The hybrid clock of one node.
#[derive(Debug, Default)]
pub struct HybridClock {
    last: Timestamp,
    /// When `last` was set.
    since: Mono,
}

impl HybridClock {
    /// A timestamp above everything issued or observed before.
    pub fn tick(&mut self, now: Now) -> Timestamp {
        let wall = Timestamp::from_ms(now.wall_ms);
        self.last = wall.max(Timestamp(self.last.0.saturating_add(1)));
        self.since = now.mono;
        self.last
    }

    /// Takes note of a peer's timestamp. `false` when it is more than
    /// [`AHEAD_MAX`] ahead of our wall clock: then the clock is unchanged and
    /// the caller must not apply what carried it.
    pub fn observe(&mut self, now: Now, theirs: Timestamp) -> bool {
        if theirs.ms() > now.wall_ms.saturating_add(AHEAD_MAX.as_millis() as u64) {
            return false;
        }
        if theirs > self.last {
            self.last = theirs;
            self.since = now.mono;
        }
        true
    }

    /// Goes on above a timestamp that this node has issued in an earlier run,
    /// wherever the wall clock stands now.
    pub fn resume(&mut self, now: Now, last: Timestamp) {
        if last > self.last {
            self.last = last;
            self.since = now.mono;
        }
    }

    /// Goes back to the wall clock, which was wrong when timestamps were made
    /// that are ahead of it. What they stamped has to be stamped anew.
    pub fn rewind(&mut self, now: Now) {
        self.last = Timestamp::from_ms(now.wall_ms);
        self.since = now.mono;
    }

    /// Milliseconds of the hybrid clock, without ticking it: what numbers
    /// probe rounds. Where it is ahead of the wall clock it runs on all the
    /// same, or rounds would stand still until the wall clock has caught up.
    pub fn ms(&self, now: Now) -> u64 {
        let elapsed = now.mono.saturating_sub(self.since).as_millis() as u64;
        now.wall_ms.max(self.last.ms().saturating_add(elapsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall_ms: u64) -> Now {
        Now {
            mono: Duration::ZERO,
            wall_ms,
        }
    }

    #[test]
    fn timestamps_grow_even_when_the_wall_clock_goes_back() {
        let mut clock = HybridClock::default();
        let first = clock.tick(at(1_000));
        let second = clock.tick(at(400));
        assert!(second > first);
        assert_eq!(second.ms(), 1_000);
    }

    #[test]
    fn what_was_heard_is_ordered_before_what_is_said_next() {
        let mut clock = HybridClock::default();
        let theirs = Timestamp::from_ms(5_000);
        assert!(clock.observe(at(1_000), theirs));
        assert!(clock.tick(at(1_000)) > theirs);
    }

    #[test]
    fn a_wall_clock_set_back_does_not_make_rounds_stand_still() {
        let mut clock = HybridClock::default();
        clock.tick(at(5_000));
        let later = Now {
            mono: Duration::from_millis(700),
            wall_ms: 2_000,
        };
        assert_eq!(clock.ms(later), 5_700);
    }

    #[test]
    fn a_clock_years_ahead_moves_nobody() {
        let mut clock = HybridClock::default();
        assert!(!clock.observe(at(1_000), Timestamp::from_ms(1_000 + 60_001)));
        assert_eq!(clock.tick(at(1_000)), Timestamp::from_ms(1_000));
    }
}
