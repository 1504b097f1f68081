//! Patience: how long an election waits for the disks of those who vote.
//!
//! A vote is synced before it is asked for, and again before it is given. A
//! call for votes ends with the election timeout, and so does the campaign;
//! the next one has a new term, which nobody has on disk yet. Where the two
//! syncs take longer than that, every answer comes too late, and the managers
//! campaign for ever. So the timeout is no less than the disk asks for, as it
//! was measured when the group started.
//!
//! ```text
//!   candidate   vote synced ─ asks ────────────── leads, synced ─ tells ─┐
//!   voter                      └─ vote synced ─ answers                  └─ follows
//!               0              1                 2                3        syncs
//! ```
//!
//! The voter's own wait begins when it votes, and it hears nothing before its
//! candidate has synced that it leads: two syncs later, one more where both
//! campaigned. The fourth is for a network, and for syncs that take longer
//! than the one that was measured.

use std::time::Duration;

/// Where disks are fast.
const MIN: Duration = Duration::from_millis(600);
/// A leader that says nothing is given up after about twice as long: whoever
/// has a slower disk than this allows for is elected by chance, if at all.
const MAX: Duration = Duration::from_secs(20);
/// So many syncs an election may take.
const SYNCS: u32 = 4;
/// With fewer it does not end.
const SYNCS_MIN: u32 = 2;

/// See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Patience(Duration);

impl Patience {
    /// What a disk asks for whose syncs take so long.
    pub(crate) fn of(sync: Duration) -> Self {
        let usual = Self(MIN);
        if usual.suffices(sync) {
            usual
        } else {
            Self(sync.saturating_mul(SYNCS).min(MAX))
        }
    }

    /// Whether there is more of it than fast disks ask for.
    pub(crate) fn is_stretched(self) -> bool {
        self > Self(MIN)
    }

    /// Whether syncs take too long for it now, and a new measure would help.
    pub(crate) fn is_outgrown(self, sync: Duration) -> bool {
        !self.suffices(sync) && Self::of(sync) > self
    }

    /// The shortest election timeout.
    pub(crate) fn min_ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// The longest, and how long a leader is taken for alive.
    pub(crate) fn max_ms(self) -> u64 {
        self.min_ms() + self.min_ms() / 6
    }

    fn suffices(self, sync: Duration) -> bool {
        sync.saturating_mul(SYNCS_MIN) <= self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_ms(sync: u64) -> Patience {
        Patience::of(Duration::from_millis(sync))
    }

    #[test]
    fn a_fast_disk_changes_nothing_and_a_slow_one_is_waited_for() {
        for sync in [0, 1, 30, 299, 300] {
            let patience = of_ms(sync);
            assert_eq!((patience.min_ms(), patience.max_ms()), (600, 700), "{sync}");
            assert!(!patience.is_stretched());
        }
        for (sync, min) in [
            (301, 1_204),
            (2_000, 8_000),
            (5_000, 20_000),
            (60_000, 20_000),
        ] {
            let patience = of_ms(sync);
            assert_eq!(patience.min_ms(), min, "{sync}");
            assert!(patience.is_stretched());
            assert!(patience.max_ms() > min, "the library wants a range");
        }
    }

    #[test]
    fn it_is_outgrown_by_a_disk_that_is_slower_by_half_and_never_by_the_one_it_was_measured_on() {
        let outgrown = |then, now| of_ms(then).is_outgrown(Duration::from_millis(now));
        assert!(outgrown(1, 301) && outgrown(1, 2_000) && outgrown(400, 900));
        for sync in [1, 300, 301, 2_000, 5_000, 60_000] {
            assert!(!outgrown(sync, sync), "{sync}");
            assert!(
                !outgrown(sync, sync / 3),
                "{sync}: a faster one does no harm"
            );
        }
        // A sync that takes longer now and then starts nothing anew.
        assert!(!outgrown(2_000, 3_900));
        // Nothing would be gained.
        assert!(!outgrown(6_000, 60_000));
    }
}
