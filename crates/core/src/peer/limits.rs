//! Limits: what one source may cost, and how often a refusal is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::Refusal;
use crate::clock::Mono;

/// Packets per second taken from one source, and at once.
const RATE_PER_SECOND: u32 = 4_000;
const BURST: u32 = 8_000;
/// Strangers answered per second, whoever they are, and at once.
const TURNED_AWAY_PER_SECOND: u32 = 100;
const TURNED_AWAY_BURST: u32 = 200;
/// Sources remembered.
const SOURCES_MAX: usize = 4_096;
/// Below so many nobody looks whose bucket is full again.
const SOURCES_FEW: usize = 64;
/// When all are remembered that may be, that look is worth its time so often.
const TIDY_EVERY: Duration = Duration::from_secs(1);
/// A distinct refusal is told once in this time.
const TELL_EVERY: Duration = Duration::from_secs(60);
const REFUSALS_MAX: usize = 256;
/// So long a refusal is worth examining: whoever sends beacons, or tries a
/// lost peer, is refused again within.
const RECENT: Duration = Duration::from_secs(10);

/// A token bucket per source address. One that is full again says no more
/// than none, so it goes: a node of thousands hears a few of them a second.
#[derive(Debug)]
pub(super) struct SourceLimits {
    buckets: BTreeMap<SocketAddr, Bucket<RATE_PER_SECOND, BURST>>,
    /// With so many it is time to tidy.
    room: usize,
    tidied: Mono,
}

#[derive(Debug)]
struct Bucket<const PER_SECOND: u32, const BURST: u32> {
    tokens: f64,
    at: Mono,
}

impl<const PER_SECOND: u32, const BURST: u32> Bucket<PER_SECOND, BURST> {
    fn full(now: Mono) -> Self {
        Self {
            tokens: f64::from(BURST),
            at: now,
        }
    }

    fn tokens(&self, now: Mono) -> f64 {
        let earned = now.saturating_sub(self.at).as_secs_f64() * f64::from(PER_SECOND);
        (self.tokens + earned).min(f64::from(BURST))
    }

    fn is_full(&self, now: Mono) -> bool {
        self.tokens(now) >= f64::from(BURST)
    }

    /// Whether there was a token, which is gone then.
    fn take(&mut self, now: Mono) -> bool {
        let tokens = self.tokens(now);
        let taken = tokens >= 1.0;
        self.tokens = if taken { tokens - 1.0 } else { tokens };
        self.at = now;
        taken
    }
}

/// How many strangers are told that they are. One bucket for all, so that it
/// needs no memory: made-up ones can use it up, and then nobody is told.
#[derive(Debug)]
pub(super) struct Politeness(Bucket<TURNED_AWAY_PER_SECOND, TURNED_AWAY_BURST>);

impl Default for Politeness {
    fn default() -> Self {
        Self(Bucket::full(Mono::ZERO))
    }
}

impl Politeness {
    pub(super) fn admit(&mut self, now: Mono) -> bool {
        self.0.take(now)
    }
}

impl Default for SourceLimits {
    fn default() -> Self {
        Self {
            buckets: BTreeMap::new(),
            room: SOURCES_FEW,
            tidied: Mono::ZERO,
        }
    }
}

impl SourceLimits {
    /// Whether one more packet from there is taken now.
    pub(super) fn admit(&mut self, now: Mono, from: SocketAddr) -> bool {
        if self.buckets.len() >= self.room && !self.buckets.contains_key(&from) {
            if self.room < SOURCES_MAX || now.saturating_sub(self.tidied) >= TIDY_EVERY {
                self.tidy(now);
            }
            // So many sources are made up, and a limit for each stops nobody
            // who makes up more. Members that are quiet for a second between
            // two probes would be shut out; the seal drops the others.
            if self.buckets.len() >= SOURCES_MAX {
                return true;
            }
        }
        let full = Bucket::full(now);
        self.buckets.entry(from).or_insert(full).take(now)
    }

    fn tidy(&mut self, now: Mono) {
        self.tidied = now;
        self.buckets.retain(|_, bucket| !bucket.is_full(now));
        self.room = (2 * self.buckets.len()).clamp(SOURCES_FEW, SOURCES_MAX);
    }
}

/// Refusals told lately.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    told: BTreeMap<Refusal, Mono>,
    /// When each was last the case.
    last: BTreeMap<Refusal, Mono>,
}

impl Refusals {
    /// Whether to tell this refusal now.
    pub(super) fn tell(&mut self, now: Mono, refusal: &Refusal) -> bool {
        self.told
            .retain(|_, at| now.saturating_sub(*at) < TELL_EVERY);
        self.last.retain(|_, at| now.saturating_sub(*at) < RECENT);
        if self.last.len() < REFUSALS_MAX || self.last.contains_key(refusal) {
            self.last.insert(refusal.clone(), now);
        }
        if self.told.contains_key(refusal) || self.told.len() >= REFUSALS_MAX {
            return false;
        }
        self.told.insert(refusal.clone(), now);
        true
    }

    /// Those that were the case just now.
    pub(super) fn recent(&self, now: Mono) -> Vec<Refusal> {
        let recent = |at: &Mono| now.saturating_sub(*at) < RECENT;
        let last = self.last.iter().filter(|(_, at)| recent(at));
        last.map(|(refusal, _)| refusal.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(n: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], n))
    }

    #[test]
    fn a_flood_from_one_source_is_cut_and_others_are_heard() {
        let mut limits = SourceLimits::default();
        let taken = (0..20_000)
            .filter(|_| limits.admit(Mono::ZERO, source(1)))
            .count();
        assert_eq!(taken, BURST as usize);
        assert!(limits.admit(Mono::ZERO, source(2)));
        assert!(limits.admit(Mono::from_secs(1), source(1)), "it recovers");
    }

    #[test]
    fn sources_are_bounded() {
        let mut limits = SourceLimits::default();
        for n in 0..10_000 {
            limits.admit(
                Mono::from_millis(n),
                SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 7)),
            );
        }
        assert!(limits.buckets.len() <= SOURCES_MAX);
    }

    #[test]
    fn who_has_been_quiet_is_not_remembered() {
        let mut limits = SourceLimits::default();
        for n in 0..4_000 {
            limits.admit(Mono::from_millis(100 * u64::from(n)), source(n + 1));
        }
        assert!(
            limits.buckets.len() <= SOURCES_FEW,
            "{}",
            limits.buckets.len()
        );
    }

    #[test]
    fn made_up_sources_shut_no_member_out() {
        let mut limits = SourceLimits::default();
        for n in 0..10_000 {
            let made_up = SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], 7));
            limits.admit(Mono::from_millis(n / 100), made_up);
        }
        assert!(limits.admit(Mono::from_millis(100), source(1)));
        assert!(limits.buckets.len() <= SOURCES_MAX);
    }

    #[test]
    fn the_same_refusal_is_told_once_a_minute() {
        let mut refusals = Refusals::default();
        let refusal = Refusal::OtherVersion {
            theirs: 9,
            ours: 1,
            from: source(1),
        };
        assert!(refusals.tell(Mono::ZERO, &refusal));
        assert!(!refusals.tell(Mono::from_secs(59), &refusal));
        assert!(refusals.tell(Mono::from_secs(61), &refusal));
    }
}
