//! Windows: which counters of a salt have been acted on.
//!
//! A window knows the highest counter and which of the 128 up to it were
//! seen, so packets may overtake one another by that much; older ones are
//! refused, as nobody can tell whether they were seen.
//!
//! Room is bounded: when a new salt finds none, the eighth of the windows that
//! was silent longest is forgotten at once. One by one would cost a new cookie
//! for each newcomer, and the proofs of all others on their way with it: in a
//! cluster of more members than windows nobody would ever be admitted.

use std::collections::BTreeMap;

use super::{Channel, Salt};

/// Most windows kept. Each takes about 80 bytes.
pub(super) const WINDOWS_MAX: usize = 8_192;

/// What is known of a counter under a salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The salt has no window.
    NoWindow,
    /// Not seen yet.
    News,
    /// Seen, or too old to tell.
    Seen,
}

/// The windows of all salts that proved to be live.
#[derive(Default)]
pub(super) struct Windows {
    by_salt: BTreeMap<(Channel, Salt), Window>,
    /// Counts packets, to tell which window was silent longest.
    uses: u64,
}

struct Window {
    highest: u64,
    /// Bit `i`: counter `highest - i` was seen.
    seen: u128,
    last_use: u64,
}

impl Windows {
    pub(super) fn len(&self) -> usize {
        self.by_salt.len()
    }

    pub(super) fn judge(&self, channel: Channel, salt: &Salt, counter: u64) -> Verdict {
        match self.by_salt.get(&(channel, *salt)) {
            None => Verdict::NoWindow,
            Some(window) if window.is_news(counter) => Verdict::News,
            Some(_) => Verdict::Seen,
        }
    }

    /// Marks a counter as seen.
    pub(super) fn spend(&mut self, channel: Channel, salt: &Salt, counter: u64) {
        self.uses += 1;
        if let Some(window) = self.by_salt.get_mut(&(channel, *salt)) {
            window.mark(counter);
            window.last_use = self.uses;
        }
    }

    /// Opens a window in which every counter up to this one is seen. `true`
    /// when others had to go for it.
    pub(super) fn open(&mut self, channel: Channel, salt: Salt, counter: u64) -> bool {
        let full = self.by_salt.len() >= WINDOWS_MAX;
        if full {
            self.evict();
        }
        self.uses += 1;
        let window = Window {
            highest: counter,
            seen: u128::MAX,
            last_use: self.uses,
        };
        self.by_salt.insert((channel, salt), window);
        full
    }

    fn evict(&mut self) {
        let mut uses: Vec<u64> = self.by_salt.values().map(|w| w.last_use).collect();
        let (_, &mut newest_to_go, _) = uses.select_nth_unstable(WINDOWS_MAX / 8 - 1);
        self.by_salt.retain(|_, w| w.last_use > newest_to_go);
    }
}

impl Window {
    fn is_news(&self, counter: u64) -> bool {
        match self.highest.checked_sub(counter) {
            None => true,
            Some(age) if age < u64::from(u128::BITS) => self.seen >> age & 1 == 0,
            Some(_) => false,
        }
    }

    fn mark(&mut self, counter: u64) {
        match self.highest.checked_sub(counter) {
            None => {
                let ahead = u32::try_from(counter - self.highest).unwrap_or(u32::MAX);
                self.seen = self.seen.checked_shl(ahead).unwrap_or(0) | 1;
                self.highest = counter;
            }
            Some(age) if age < u64::from(u128::BITS) => self.seen |= 1 << age,
            Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const ANN: Salt = [1; 16];

    fn salt(n: usize) -> Salt {
        (n as u128).to_be_bytes()
    }

    /// Judges and, if it is news, spends.
    fn take(windows: &mut Windows, counter: u64) -> bool {
        let news = windows.judge(Channel::Packet, &ANN, counter) == Verdict::News;
        if news {
            windows.spend(Channel::Packet, &ANN, counter);
        }
        news
    }

    proptest! {
        /// Against a naive twin that remembers every counter.
        #[test]
        fn a_window_takes_each_counter_once_and_none_that_is_too_old(
            start in 0..300u64,
            counters in proptest::collection::vec(0..600u64, 0..400),
        ) {
            let mut windows = Windows::default();
            windows.open(Channel::Packet, ANN, start);
            let mut seen: BTreeSet<u64> = (0..=start).collect();
            for counter in counters {
                let highest = *seen.last().expect("starts with one");
                let want = !seen.contains(&counter) && counter + 128 > highest;
                prop_assert_eq!(take(&mut windows, counter), want, "{} of {}", counter, highest);
                if want {
                    seen.insert(counter);
                }
            }
        }
    }

    #[test]
    fn counters_at_the_end_of_their_range_break_nothing() {
        let mut windows = Windows::default();
        windows.open(Channel::Packet, ANN, 0);
        assert!(take(&mut windows, u64::MAX));
        assert!(!take(&mut windows, u64::MAX));
        assert!(take(&mut windows, u64::MAX - 127));
        assert!(!take(&mut windows, u64::MAX - 128));
    }

    #[test]
    fn the_silent_go_when_there_is_no_room_and_those_who_speak_stay() {
        let mut windows = Windows::default();
        for n in 0..WINDOWS_MAX {
            assert!(!windows.open(Channel::Packet, salt(n), 0));
        }
        windows.spend(Channel::Packet, &salt(0), 1);
        assert!(windows.open(Channel::Packet, salt(WINDOWS_MAX), 0));
        assert_eq!(windows.len(), WINDOWS_MAX - WINDOWS_MAX / 8 + 1);
        let known = |n| windows.judge(Channel::Packet, &salt(n), 9) == Verdict::News;
        assert!(known(0), "it spoke just now");
        assert!(!known(1), "the longest silent");
        assert!(known(WINDOWS_MAX - 1) && known(WINDOWS_MAX));
    }

    #[test]
    fn a_window_is_small() {
        // A B-tree node is half full at worst.
        let entry = size_of::<(Channel, Salt)>() + size_of::<Window>();
        assert!(2 * entry <= 200, "{entry} bytes");
    }
}
