//! Addresses: which members are listed at an address.
//!
//! Every packet to or from an address that nobody is known at, and every lost
//! peer once a second, asks. An entry takes 8 bytes: half a hash of the address and
//! the first quarter of an id, sorted. Two addresses may share a hash and two
//! ids their beginning, so what is found here is looked at by who asks.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;

use crate::id::NodeId;

/// Bits of an id that an entry leaves out.
const LEFT_OUT: u32 = 96;

/// An index from addresses to ids.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    sorted: Vec<(u32, u32)>,
}

impl Addresses {
    pub(crate) fn insert(&mut self, address: SocketAddr, id: NodeId) {
        let entry = entry(address, id);
        let place = self.sorted.partition_point(|other| *other < entry);
        self.sorted.insert(place, entry);
    }

    pub(crate) fn remove(&mut self, address: SocketAddr, id: NodeId) {
        if let Ok(place) = self.sorted.binary_search(&entry(address, id)) {
            self.sorted.remove(place);
        }
    }

    /// Ranges of ids, ascending and disjoint, that hold whoever is listed there.
    pub(crate) fn at(&self, address: SocketAddr) -> impl Iterator<Item = (NodeId, NodeId)> {
        let hash = hash(address);
        let first = self.sorted.partition_point(|(other, _)| *other < hash);
        let same = self.sorted[first..]
            .iter()
            .take_while(move |(other, _)| *other == hash);
        let mut last = None;
        let beginnings = same.filter_map(move |(_, beginning)| {
            (last.replace(*beginning) != Some(*beginning)).then_some(*beginning)
        });
        beginnings.map(|beginning| {
            let lowest = u128::from(beginning) << LEFT_OUT;
            (NodeId(lowest), NodeId(lowest | ((1 << LEFT_OUT) - 1)))
        })
    }
}

fn entry(address: SocketAddr, id: NodeId) -> (u32, u32) {
    (hash(address), (id.0 >> LEFT_OUT) as u32)
}

/// The same in every process: its keys are zero.
fn hash(address: SocketAddr) -> u32 {
    let mut hasher = DefaultHasher::new();
    address.hash(&mut hasher);
    hasher.finish() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], port))
    }

    fn found(addresses: &Addresses, port: u16) -> usize {
        addresses.at(address(port)).count()
    }

    #[test]
    fn who_moves_is_found_at_the_new_address_only() {
        let mut addresses = Addresses::default();
        let ann = NodeId(7 << LEFT_OUT | 5);
        addresses.insert(address(1), ann);
        addresses.remove(address(1), ann);
        addresses.insert(address(2), ann);
        assert_eq!(found(&addresses, 1), 0);
        let (lowest, highest) = addresses.at(address(2)).next().expect("ann");
        assert!((lowest..=highest).contains(&ann));
    }

    #[test]
    fn ids_that_begin_alike_are_one_range_until_the_last_is_gone() {
        let mut addresses = Addresses::default();
        for id in 1..=2 {
            addresses.insert(address(1), NodeId(id));
        }
        assert_eq!(found(&addresses, 1), 1);
        addresses.remove(address(1), NodeId(1));
        assert_eq!(found(&addresses, 1), 1);
        addresses.remove(address(1), NodeId(2));
        assert_eq!(found(&addresses, 1), 0);
    }
}
