//! Admission: how many accepted streams a node bears, in total and per
//! address, and how fast one address may open them.
//!
//! A stream that was closed counts until its task has ended, so that nobody
//! piles up connections by having them closed. A handshake costs a
//! multiplication on a curve at most, and that only to who replays one that
//! was recorded; the rate keeps even that from being felt.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// Accepted streams at a time.
const TOTAL_MAX: usize = 1_024;

/// Accepted streams of one address: two ring neighbours and their bulk
/// transfers need a handful.
const PER_ADDRESS_MAX: usize = 64;

/// A host full of nodes shares the loopback address.
const PER_LOOPBACK_ADDRESS_MAX: usize = 256;

/// Streams that one address may open in a second, and twice as many at once.
const RATE_PER_SECOND: f64 = 64.0;

/// The same for the loopback address.
const LOOPBACK_RATE_PER_SECOND: f64 = 1_024.0;

/// Addresses remembered; those without an open stream go first.
const ADDRESSES_MAX: usize = 4_096;

/// Counts accepted streams.
#[derive(Debug, Default)]
pub(super) struct Admission {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    per_address: HashMap<IpAddr, OfAddress>,
}

#[derive(Debug)]
struct OfAddress {
    open: usize,
    /// What it may open now, as of `at`.
    tokens: f64,
    at: Instant,
}

/// One stream counted, until dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    counts: Arc<Mutex<Counts>>,
    address: IpAddr,
}

impl Admission {
    /// Counts one more of `address`; `None` at the limit.
    pub(super) fn admit(&self, address: IpAddr) -> Option<Admitted> {
        let (open_max, rate) = if address.is_loopback() {
            (PER_LOOPBACK_ADDRESS_MAX, LOOPBACK_RATE_PER_SECOND)
        } else {
            (PER_ADDRESS_MAX, RATE_PER_SECOND)
        };
        let now = Instant::now();
        let mut counts = lock(&self.counts);
        if counts.total >= TOTAL_MAX {
            return None;
        }
        counts.make_room();
        let of_address = counts.per_address.entry(address).or_insert(OfAddress {
            open: 0,
            tokens: 2.0 * rate,
            at: now,
        });
        let earned = now.duration_since(of_address.at).as_secs_f64() * rate;
        of_address.tokens = (of_address.tokens + earned).min(2.0 * rate);
        of_address.at = now;
        if of_address.open >= open_max || of_address.tokens < 1.0 {
            return None;
        }
        of_address.tokens -= 1.0;
        of_address.open += 1;
        counts.total += 1;
        Some(Admitted {
            counts: self.counts.clone(),
            address,
        })
    }
}

impl Counts {
    /// So many addresses at once are made up; who has a stream is not.
    fn make_room(&mut self) {
        if self.per_address.len() >= ADDRESSES_MAX {
            self.per_address.retain(|_, of_address| of_address.open > 0);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        counts.total -= 1;
        if let Some(of_address) = counts.per_address.get_mut(&self.address) {
            of_address.open -= 1;
        }
    }
}

/// Two numbers are right whatever happened to another holder.
fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn one_address_cannot_crowd_out_the_others() {
        let admission = Admission::default();
        let greedy = IpAddr::from([10, 0, 0, 1]);
        let mut held: Vec<_> = std::iter::from_fn(|| admission.admit(greedy)).collect();
        assert_eq!(held.len(), PER_ADDRESS_MAX);
        assert!(admission.admit(IpAddr::from([10, 0, 0, 2])).is_some());
        held.pop();
        assert!(admission.admit(greedy).is_some(), "one ended");
    }

    #[test]
    fn all_addresses_together_are_bounded_and_forgotten_when_gone() {
        let admission = Admission::default();
        let held: Vec<_> = (0..=u16::MAX)
            .map(|n| IpAddr::from([10, 1, (n >> 8) as u8, n as u8]))
            .map_while(|address| admission.admit(address))
            .collect();
        assert_eq!(held.len(), TOTAL_MAX);
        drop(held);
        assert_eq!(lock(&admission.counts).total, 0);
        for n in 0..=u16::MAX {
            drop(admission.admit(IpAddr::from([10, 2, (n >> 8) as u8, n as u8])));
        }
        assert!(lock(&admission.counts).per_address.len() <= ADDRESSES_MAX);
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_cannot_open_streams_as_fast_as_it_likes() {
        let admission = Admission::default();
        let hasty = IpAddr::from([10, 0, 0, 1]);
        let in_a_row = || {
            (0..10_000)
                .filter(|_| admission.admit(hasty).is_some())
                .count()
        };
        assert_eq!(in_a_row(), 2 * RATE_PER_SECOND as usize);
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!(in_a_row(), RATE_PER_SECOND as usize);
        assert!(admission.admit(IpAddr::from([10, 0, 0, 2])).is_some());
    }
}
