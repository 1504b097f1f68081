//! Admission: how many accepted streams a node bears, in total and per address.
//!
//! A stream that was closed counts until its task has ended, so that nobody
//! piles up connections by having them closed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Accepted streams at a time.
const TOTAL_MAX: usize = 1_024;

/// Accepted streams of one address: two ring neighbours and their bulk
/// transfers need a handful.
const PER_ADDRESS_MAX: usize = 64;

/// A host full of nodes shares the loopback address.
const PER_LOOPBACK_ADDRESS_MAX: usize = 256;

/// Counts accepted streams.
#[derive(Debug, Default)]
pub(super) struct Admission {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    per_address: HashMap<IpAddr, usize>,
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
        let limit = if address.is_loopback() {
            PER_LOOPBACK_ADDRESS_MAX
        } else {
            PER_ADDRESS_MAX
        };
        let mut counts = lock(&self.counts);
        let of_address = counts.per_address.get(&address).copied().unwrap_or(0);
        if counts.total >= TOTAL_MAX || of_address >= limit {
            return None;
        }
        counts.total += 1;
        counts.per_address.insert(address, of_address + 1);
        Some(Admitted {
            counts: self.counts.clone(),
            address,
        })
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        counts.total -= 1;
        if let Some(of_address) = counts.per_address.get_mut(&self.address) {
            *of_address -= 1;
            if *of_address == 0 {
                counts.per_address.remove(&self.address);
            }
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
        assert!(admission.admit(greedy).is_some());
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
        assert!(lock(&admission.counts).per_address.is_empty());
    }
}
