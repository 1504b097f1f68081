//! Codec: any bytes decode to something valid or to an error, sealed or not.
//!
//! What decodes must survive being said again: encoded and decoded it is the
//! same. The input is tried as it is, and behind a header that gets it past
//! the comparison of the cluster name.

#![no_main]

use dui_core::seal::{Channel, Seal};
use dui_core::wire::{Beacon, Packet};
use dui_core::{ClusterName, Key, Keyring, NodeId};
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

fuzz_target!(|bytes: &[u8]| {
    let cluster: ClusterName = "dui".parse().expect("a valid name");
    let mut believed = Packet::new(NodeId(7)).encode(&cluster);
    believed.extend(bytes);
    for bytes in [bytes, &believed] {
        packet(bytes, &cluster);
        beacon(bytes, &cluster);
    }
    sealed(bytes);
});

fn packet(bytes: &[u8], cluster: &ClusterName) {
    if let Ok(packet) = Packet::decode(bytes, cluster) {
        let again = packet.encode(cluster);
        assert_eq!(Packet::decode(&again, cluster).as_ref(), Ok(&packet));
    }
}

fn beacon(bytes: &[u8], cluster: &ClusterName) {
    if let Ok(beacon) = Beacon::decode(bytes, cluster) {
        let again = beacon.encode(cluster);
        assert_eq!(Beacon::decode(&again, cluster).as_ref(), Ok(&beacon));
    }
}

/// Nobody without the key makes a packet that opens.
fn sealed(bytes: &[u8]) {
    let key = Key::from_slice(&[9; 32]).expect("32 bytes");
    let keys = Keyring::new(vec![key]).expect("one key");
    let mut seal = Seal::new(keys, &mut ChaCha8Rng::from_seed([1; 32]));
    for channel in [Channel::Packet, Channel::Beacon] {
        assert!(
            seal.open(channel, bytes).is_err(),
            "bytes opened without the key"
        );
    }
}
