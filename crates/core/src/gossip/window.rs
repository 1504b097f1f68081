//! Window: which rumors of one origin and run were received.
//!
//! A bitmap of the 256 counters up to the highest seen. A counter that fell
//! out of it counts as received: what was missed that long is found by
//! reconciliation, not by rumor. The run is part of the key, because the
//! counter starts anew with each: a window keyed by origin alone would take
//! the first rumors of a restarted node for old ones.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock::Mono;
use crate::id::{NodeId, RunId};
use crate::wire::RumorId;

const WORDS: usize = 4;
const WIDTH: u64 = WORDS as u64 * 64;
/// Windows kept; beyond that the one not used for longest goes.
const WINDOWS_MAX: usize = 16_384;

#[derive(Debug, Default)]
struct Window {
    highest: u64,
    /// Bit `n` stands for the counter `highest - n`.
    seen: [u64; WORDS],
    used: Mono,
}

impl Window {
    fn contains(&self, counter: u64) -> bool {
        let Some(back) = self.highest.checked_sub(counter) else {
            return false;
        };
        back >= WIDTH || self.seen[(back / 64) as usize] >> (back % 64) & 1 == 1
    }

    fn insert(&mut self, counter: u64) {
        if counter > self.highest {
            self.shift(counter - self.highest);
            self.highest = counter;
        }
        let back = self.highest - counter;
        if back < WIDTH {
            self.seen[(back / 64) as usize] |= 1 << (back % 64);
        }
    }

    fn shift(&mut self, by: u64) {
        if by >= WIDTH {
            self.seen = [0; WORDS];
            return;
        }
        let (words, bits) = ((by / 64) as usize, by % 64);
        for place in (0..WORDS).rev() {
            let mut word = place
                .checked_sub(words)
                .map_or(0, |from| self.seen[from] << bits);
            if bits > 0 && place > words {
                word |= self.seen[place - words - 1] >> (64 - bits);
            }
            self.seen[place] = word;
        }
    }
}

/// The windows of all origins.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    windows: BTreeMap<(NodeId, RunId), Window>,
    by_use: BTreeSet<(Mono, NodeId, RunId)>,
}

impl Windows {
    /// Whether this rumor was received before.
    pub(crate) fn contains(&self, id: RumorId) -> bool {
        self.windows
            .get(&(id.origin, id.run))
            .is_some_and(|window| window.contains(id.counter.0))
    }

    /// Takes note of a rumor; `false` if it was received before.
    pub(crate) fn insert(&mut self, now: Mono, id: RumorId) -> bool {
        if self.contains(id) {
            return false;
        }
        let key = (id.origin, id.run);
        let window = self.windows.entry(key).or_default();
        self.by_use.remove(&(window.used, id.origin, id.run));
        window.used = now;
        window.insert(id.counter.0);
        self.by_use.insert((now, id.origin, id.run));
        if self.windows.len() > WINDOWS_MAX
            && let Some((_, origin, run)) = self.by_use.pop_first()
        {
            self.windows.remove(&(origin, run));
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet as Naive;

    use proptest::prelude::*;

    use super::*;
    use crate::id::MessageCounter;

    fn rumor(run: u128, counter: u64) -> RumorId {
        RumorId {
            origin: NodeId(1),
            run: RunId(run),
            counter: MessageCounter(counter),
        }
    }

    #[test]
    fn a_restarted_node_counts_from_one_and_is_heard() {
        let mut windows = Windows::default();
        assert!(windows.insert(Mono::ZERO, rumor(1, 1)));
        assert!(!windows.insert(Mono::ZERO, rumor(1, 1)));
        assert!(windows.insert(Mono::ZERO, rumor(2, 1)), "another run");
    }

    #[test]
    fn memory_is_bounded() {
        let mut windows = Windows::default();
        for run in 0..WINDOWS_MAX as u128 + 9 {
            windows.insert(Mono::from_millis(run as u64), rumor(run, 1));
        }
        assert_eq!(windows.windows.len(), WINDOWS_MAX);
        assert_eq!(windows.by_use.len(), WINDOWS_MAX);
    }

    proptest! {
        /// Against the naive twin that remembers everything.
        #[test]
        fn within_its_width_a_window_remembers_exactly(counters in prop::collection::vec(1..600u64, 1..200)) {
            let mut windows = Windows::default();
            let mut naive = Naive::new();
            let mut highest = 0;
            for counter in counters {
                highest = highest.max(counter);
                let fell_out = highest - counter >= WIDTH;
                let news = windows.insert(Mono::ZERO, rumor(1, counter));
                prop_assert_eq!(news, naive.insert(counter) && !fell_out);
            }
        }
    }
}
