//! Window: which rumors of one origin and run were received.
//!
//! A bitmap of the 256 counters up to the highest seen. A counter that fell
//! out of it counts as received: what was missed that long is found by
//! reconciliation, not by rumor. The run is part of the key, because the
//! counter starts anew with each: a window keyed by origin alone would take
//! the first rumors of a restarted node for old ones.

use std::collections::BTreeMap;

use crate::bugs::{Bug, Bugs};
use crate::id::RunId;
use crate::wire::RumorId;

/// Bits kept for an origin that says little, as nearly all do.
const RECENT: u64 = u64::BITS as u64;
const OLDER_WORDS: usize = 3;
const WIDTH: u64 = RECENT * (1 + OLDER_WORDS as u64);
/// Windows kept; beyond that the eighth that was not used for longest goes.
const WINDOWS_MAX: usize = 16_384;

#[derive(Debug, Default)]
struct Window {
    highest: u64,
    /// Bit `n` stands for the counter `highest - n`.
    recent: u64,
    /// The bits after those, once there are any.
    older: Option<Box<[u64; OLDER_WORDS]>>,
    last_use: u64,
}

impl Window {
    fn contains(&self, counter: u64) -> bool {
        let Some(back) = self.highest.checked_sub(counter) else {
            return false;
        };
        back >= WIDTH || self.word(back / RECENT) >> (back % RECENT) & 1 == 1
    }

    fn insert(&mut self, counter: u64) {
        if counter > self.highest {
            self.shift(counter - self.highest);
            self.highest = counter;
        }
        let back = self.highest - counter;
        if back < RECENT {
            self.recent |= 1 << back;
        } else if back < WIDTH {
            let older = self.older.get_or_insert_default();
            older[(back / RECENT) as usize - 1] |= 1 << (back % RECENT);
        }
    }

    fn word(&self, at: u64) -> u64 {
        match (at, &self.older) {
            (0, _) => self.recent,
            (at, Some(older)) => older[at as usize - 1],
            (_, None) => 0,
        }
    }

    fn shift(&mut self, by: u64) {
        let (words, bits) = (by / RECENT, by % RECENT);
        let moved = |at: u64| {
            let word = |back: u64| at.checked_sub(back).map_or(0, |from| self.word(from));
            let carried = word(words + 1).checked_shr((RECENT - bits) as u32);
            word(words) << bits | carried.unwrap_or(0)
        };
        let older: [u64; OLDER_WORDS] = std::array::from_fn(|at| moved(at as u64 + 1));
        self.recent = moved(0);
        if self.older.is_some() || older != [0; OLDER_WORDS] {
            **self.older.get_or_insert_default() = older;
        }
    }
}

/// The windows of all origins.
#[derive(Debug, Default)]
pub(crate) struct Windows {
    by_voice: BTreeMap<u128, Window>,
    /// Counts rumors, to tell which window was not used for longest.
    uses: u64,
    bugs: Bugs,
}

impl Windows {
    pub(crate) fn new(bugs: Bugs) -> Self {
        Self {
            bugs,
            ..Self::default()
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_voice.len()
    }

    /// Whether this rumor was received before.
    pub(crate) fn contains(&self, id: RumorId) -> bool {
        self.by_voice
            .get(&self.voice(id))
            .is_some_and(|window| window.contains(id.counter.0))
    }

    /// Takes note of a rumor; `false` if it was received before.
    pub(crate) fn insert(&mut self, id: RumorId) -> bool {
        self.uses += 1;
        let window = self.by_voice.entry(self.voice(id)).or_default();
        if window.contains(id.counter.0) {
            return false;
        }
        window.last_use = self.uses;
        window.insert(id.counter.0);
        if self.by_voice.len() > WINDOWS_MAX {
            self.evict();
        }
        true
    }

    fn evict(&mut self) {
        let mut uses: Vec<u64> = self.by_voice.values().map(|w| w.last_use).collect();
        let (_, &mut newest_to_go, _) = uses.select_nth_unstable(WINDOWS_MAX / 8 - 1);
        self.by_voice.retain(|_, w| w.last_use > newest_to_go);
    }

    fn voice(&self, id: RumorId) -> u128 {
        if self.bugs.has(Bug::RunlessWindow) {
            return voice(RumorId {
                run: RunId(0),
                ..id
            });
        }
        voice(id)
    }
}

/// Stands for origin and run: both are 128 random bits, so 128 bits of both
/// tell as many apart, in half of the room.
fn voice(id: RumorId) -> u128 {
    const ODD: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    id.run.0.wrapping_mul(ODD).wrapping_add(id.origin.0)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet as Naive;

    use proptest::prelude::*;

    use super::*;
    use crate::id::{MessageCounter, NodeId, RunId};

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
        assert!(windows.insert(rumor(1, 1)));
        assert!(!windows.insert(rumor(1, 1)));
        assert!(windows.insert(rumor(2, 1)), "another run");
    }

    #[test]
    fn memory_is_bounded() {
        let mut windows = Windows::default();
        for run in 0..WINDOWS_MAX as u128 + 9 {
            windows.insert(rumor(run, 1));
        }
        let kept = windows.by_voice.len();
        assert_eq!(kept, WINDOWS_MAX - WINDOWS_MAX / 8 + 9);
        assert!(!windows.contains(rumor(0, 1)), "the longest silent");
        assert!(windows.contains(rumor(WINDOWS_MAX as u128, 1)));
    }

    #[test]
    fn an_origin_that_says_little_takes_little() {
        let mut windows = Windows::default();
        for counter in 1..=RECENT {
            windows.insert(rumor(1, counter));
        }
        assert!(
            windows
                .by_voice
                .values()
                .all(|window| window.older.is_none())
        );
        assert!(size_of::<Window>() <= 32);
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
                let news = windows.insert(rumor(1, counter));
                prop_assert_eq!(news, naive.insert(counter) && !fell_out);
            }
        }
    }
}
