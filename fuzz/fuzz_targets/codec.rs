//! Codec: whatever arrives on a socket is refused or read, never harmful.
//!
//! The input is a packet. Without a key it is opened and decoded; what was
//! read can be said again and reads the same. With a key nothing opens that
//! was not sealed, so here nothing does.

#![no_main]

use std::sync::LazyLock;

use dui_core::seal::{Channel, Seal};
use dui_core::wire::{Beacon, Packet};
use dui_core::{ClusterName, Key, Keyring, NodeId};
use libfuzzer_sys::fuzz_target;
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

static CLUSTER: LazyLock<ClusterName> =
    LazyLock::new(|| "green".parse().expect("a name of letters"));

fn seal(keys: Vec<Key>) -> Seal {
    let keys = Keyring::new(keys).expect("one key at most");
    Seal::new(keys, &mut ChaCha12Rng::seed_from_u64(1))
}

fuzz_target!(|bytes: &[u8]| {
    // Not the key of the golden vectors, which are among the seeds.
    let key = Key::from_slice(&[0x11; 32]).expect("32 bytes");
    let mut keyed = seal(vec![key]);
    for channel in [Channel::Packet, Channel::Beacon] {
        assert!(keyed.open(channel, bytes).is_err(), "nobody sealed this");
    }

    if let Ok(opened) = seal(vec![]).open(Channel::Packet, bytes) {
        decode(&opened.plain);
    }
    // The same behind a beginning that gets it past the first comparisons.
    let mut begun = Packet::new(NodeId(7)).encode(&CLUSTER);
    begun.extend(bytes);
    decode(&begun);
});

fn decode(body: &[u8]) {
    if let Ok(packet) = Packet::decode(body, &CLUSTER) {
        let again = packet.encode(&CLUSTER);
        assert_eq!(Packet::decode(&again, &CLUSTER), Ok(packet));
    }
    if let Ok(beacon) = Beacon::decode(body, &CLUSTER) {
        let again = beacon.encode(&CLUSTER);
        assert_eq!(Beacon::decode(&again, &CLUSTER), Ok(beacon));
    }
}
