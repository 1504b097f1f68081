//! Clocks: what time it is for the others, to find out whose clock is wrong.
//!
//! A write is ordered by its writer's clock; one that is an hour ahead would
//! beat everybody's writes for an hour. The median of all clocks, our own
//! among them, is not moved by one. Peers' are kept as offsets to the
//! monotonic clock: so they stand still when somebody sets ours. Of two
//! clocks that differ nobody knows which is right; the one behind does the
//! less harm.

use std::collections::BTreeMap;

use crate::clock::{Mono, Now};
use crate::id::NodeId;

/// Peers whose clocks are remembered; a median needs no more.
const CLOCKS_MAX: usize = 256;

/// See the [module](self).
#[derive(Debug, Default)]
pub(crate) struct Clocks {
    /// Their wall clock less our monotonic one, ms.
    offsets: BTreeMap<NodeId, i64>,
    sorted: Vec<i64>,
}

impl Clocks {
    /// A peer has told its wall clock.
    pub(crate) fn heard(&mut self, now: Now, from: NodeId, wall_ms: u64) {
        if self.offsets.len() < CLOCKS_MAX || self.offsets.contains_key(&from) {
            let offset = signed(wall_ms).saturating_sub(mono_ms(now.mono));
            self.offsets.insert(from, offset);
            self.judge();
        }
    }

    /// A peer is gone.
    pub(crate) fn forget(&mut self, id: NodeId) {
        if self.offsets.remove(&id).is_some() {
            self.judge();
        }
    }

    /// What clocks show now, in the middle (of two, the lower one); `None`
    /// while no peer has told.
    pub(crate) fn median_ms(&self, now: Now) -> Option<u64> {
        let own = signed(now.wall_ms).saturating_sub(mono_ms(now.mono));
        let below = self.sorted.partition_point(|offset| *offset < own);
        let middle = self.sorted.len() / 2;
        let median = match middle.cmp(&below) {
            std::cmp::Ordering::Less => self.sorted.get(middle)?,
            std::cmp::Ordering::Equal if self.sorted.is_empty() => return None,
            std::cmp::Ordering::Equal => &own,
            std::cmp::Ordering::Greater => self.sorted.get(middle - 1)?,
        };
        Some(median.saturating_add(mono_ms(now.mono)).max(0) as u64)
    }

    fn judge(&mut self) {
        self.sorted = self.offsets.values().copied().collect();
        self.sorted.sort_unstable();
    }
}

fn signed(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}

fn mono_ms(mono: Mono) -> i64 {
    i64::try_from(mono.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(mono_s: u64, wall_ms: u64) -> Now {
        Now {
            mono: Mono::from_secs(mono_s),
            wall_ms,
        }
    }

    #[test]
    fn one_wrong_clock_does_not_move_the_median() {
        let mut clocks = Clocks::default();
        assert_eq!(clocks.median_ms(at(1, 7)), None);
        clocks.heard(at(1, 0), NodeId(1), 101_000);
        clocks.heard(at(2, 0), NodeId(2), 102_010);
        for own in [0, 103_010, 999_999] {
            let median = clocks.median_ms(at(3, own)).unwrap_or_default();
            assert!((103_000..=103_010).contains(&median), "{own}: {median}");
        }
        clocks.heard(at(2, 0), NodeId(3), u64::MAX);
        assert_eq!(clocks.median_ms(at(3, 103_005)), Some(103_005));
        clocks.forget(NodeId(3));
        clocks.heard(at(3, 0), NodeId(1), 0);
        assert_eq!(clocks.median_ms(at(3, 103_011)), Some(103_010));
    }

    #[test]
    fn of_two_clocks_the_one_behind_is_believed() {
        let mut clocks = Clocks::default();
        clocks.heard(at(1, 0), NodeId(1), 5_000);
        assert_eq!(clocks.median_ms(at(1, 9_000)), Some(5_000));
        assert_eq!(clocks.median_ms(at(1, 3_000)), Some(3_000));
    }
}
