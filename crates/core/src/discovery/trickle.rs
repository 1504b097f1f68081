//! Trickle: when to send a beacon, so that many nodes send no more than few.
//!
//! Each interval has one beacon at a random moment of its second half, left
//! out if enough others were heard before it. Intervals double while nothing
//! changes and start small again when a beacon shows another view. A start is
//! announced by a burst that nothing suppresses.
//!
//! Source: RFC 6206. Unlike there, beacons of another view count toward
//! suppression too, or a thousand joining nodes would all speak at once.

use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::Rng;

use crate::clock::Mono;

const INTERVAL_MIN: Duration = Duration::from_millis(250);
/// Two islands that a cable joins hear of each other within about this.
const INTERVAL_MAX: Duration = Duration::from_secs(1);
/// Beacons heard in an interval that make ours superfluous.
const ENOUGH: u32 = 2;
/// When the beacons of the start are sent.
const BURST: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(60),
    Duration::from_millis(180),
];

/// The beacon timer of one node.
#[derive(Debug)]
pub(crate) struct Trickle {
    burst: usize,
    interval: Duration,
    ends_at: Mono,
    speak_at: Mono,
    spoken: bool,
    heard: u32,
    started: Mono,
}

impl Trickle {
    pub(crate) fn new(now: Mono) -> Self {
        Self {
            burst: 0,
            interval: INTERVAL_MIN,
            ends_at: now + INTERVAL_MIN,
            speak_at: now,
            spoken: false,
            heard: 0,
            started: now,
        }
    }

    pub(crate) fn deadline(&self) -> Mono {
        if self.spoken {
            self.ends_at
        } else {
            self.speak_at
        }
    }

    /// A beacon was heard; `same`: it shows our view.
    pub(crate) fn heard(&mut self, now: Mono, same: bool, rng: &mut ChaCha12Rng) {
        self.heard += 1;
        if !same && self.in_burst().is_none() && self.interval > INTERVAL_MIN {
            self.begin(now, INTERVAL_MIN, rng);
        }
    }

    /// `true`: send a beacon now.
    pub(crate) fn on_time(&mut self, now: Mono, rng: &mut ChaCha12Rng) -> bool {
        if now < self.deadline() {
            return false;
        }
        if self.in_burst().is_some() {
            self.burst += 1;
            match self.in_burst() {
                Some(next) => self.speak_at = self.started + next,
                None => self.begin(now, INTERVAL_MIN, rng),
            }
            return true;
        }
        if self.spoken {
            self.begin(now, (self.interval * 2).min(INTERVAL_MAX), rng);
            return false;
        }
        self.spoken = true;
        self.heard < ENOUGH
    }

    fn in_burst(&self) -> Option<Duration> {
        BURST.get(self.burst).copied()
    }

    fn begin(&mut self, now: Mono, interval: Duration, rng: &mut ChaCha12Rng) {
        let half = interval / 2;
        let jitter = Duration::from_nanos(rng.next_u64() % half.as_nanos() as u64);
        self.interval = interval;
        self.speak_at = now + half + jitter;
        self.ends_at = now + interval;
        self.spoken = false;
        self.heard = 0;
    }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;

    /// Beacons per second of a town that hears itself perfectly, once settled.
    fn beacons_per_second(nodes: usize) -> f64 {
        let mut rng = ChaCha12Rng::from_seed([7; 32]);
        let mut town: Vec<_> = (0..nodes).map(|_| Trickle::new(Mono::ZERO)).collect();
        let mut sent = 0;
        let mut now = Mono::ZERO;
        while now < Duration::from_secs(120) {
            now = town.iter().map(Trickle::deadline).min().expect("nodes");
            for speaker in 0..nodes {
                if town[speaker].on_time(now, &mut rng) {
                    if now > Duration::from_secs(60) {
                        sent += 1;
                    }
                    for (place, other) in town.iter_mut().enumerate() {
                        if place != speaker {
                            other.heard(now, true, &mut rng);
                        }
                    }
                }
            }
        }
        f64::from(sent) / 60.0
    }

    #[test]
    fn traffic_does_not_grow_with_the_cluster() {
        let (few, many) = (beacons_per_second(3), beacons_per_second(300));
        assert!(few > 0.2 && many > 0.2, "{few} {many}: nobody speaks");
        assert!(
            many < 4.0 * few,
            "{few} beacons/s at 3 nodes, {many} at 300"
        );
    }

    #[test]
    fn a_start_is_announced_at_once_whatever_is_heard() {
        let mut rng = ChaCha12Rng::from_seed([1; 32]);
        let mut trickle = Trickle::new(Mono::ZERO);
        for _ in 0..10 {
            trickle.heard(Mono::ZERO, false, &mut rng);
        }
        for at in BURST {
            assert_eq!(trickle.deadline(), at);
            assert!(trickle.on_time(at, &mut rng));
        }
    }

    #[test]
    fn another_view_makes_it_talkative_again() {
        let mut rng = ChaCha12Rng::from_seed([1; 32]);
        let mut trickle = Trickle::new(Mono::ZERO);
        let mut now = Mono::ZERO;
        // Long quiet, and at the very beginning of an interval.
        while now < Duration::from_secs(30) || trickle.ends_at < now + INTERVAL_MAX {
            now = trickle.deadline();
            trickle.on_time(now, &mut rng);
        }
        trickle.heard(now, true, &mut rng);
        assert!(trickle.ends_at > now + INTERVAL_MIN);
        trickle.heard(now, false, &mut rng);
        assert_eq!(trickle.ends_at, now + INTERVAL_MIN);
    }
}
