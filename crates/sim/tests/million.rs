//! What a million entries cost: to compare, to join, to keep.

#![allow(clippy::unwrap_used)]

mod shelf;

use dui_core::{Acks, Entry, NodeId, Timestamp, Version, Write};
use dui_sim::{EPOCH_MS, Town, secs};
use shelf::{equal, host, key, put, shared};

/// What a disk may hold: 32 bytes of key and 64 of value each.
fn entries(n: std::ops::Range<u64>) -> impl Iterator<Item = (String, Entry)> {
    n.map(|n| {
        let key = format!("key/{n:028}");
        let version = Version {
            timestamp: Timestamp::from_ms(EPOCH_MS - 1_000_000 + n / 10),
            origin: NodeId(u128::from(n % 3)),
        };
        let entry = Entry::value_of(&key, version, &[b'v'; 64], None, None);
        (key, entry)
    })
}

/// ann and bo, who differ: one lacks an entry, or holds an older write of it.
fn two_who_differ(seed: u64, n: u64, different: u64) -> Town {
    let mut town = Town::new(seed);
    for name in ["ann", "bo"] {
        town.reserve(name, "town", dui_core::Keyring::default());
        host(&mut town, name).disk.entries = entries(0..n).collect();
    }
    for place in 0..different {
        let lost = place * (n / different) + 7 * place;
        let on = if place % 2 == 0 { "ann" } else { "bo" };
        let key = format!("key/{lost:028}");
        let disk = &mut host(&mut town, on).disk.entries;
        let entry = disk.remove(&key).unwrap();
        if place % 3 == 0 {
            let mut version = entry.version();
            version.timestamp.0 += 1;
            let newer = Entry::value_of(&key, version, &[b'w'; 64], None, None);
            disk.insert(key, newer);
        }
    }
    town
}

#[test]
fn two_stores_of_a_million_that_differ_in_ten_exchange_some_kilobytes() {
    let mut town = two_who_differ(1, 1_000_000, 10);
    town.start("ann").run(secs(2)).start("bo");
    let met = town.until(secs(2), |town| town.alive("bo").len() == 2);
    assert!(met.is_some());
    let bytes = |town: &Town| {
        let traffic = town.world.traffic();
        traffic.packet_bytes + traffic.frame_bytes
    };
    let before = bytes(&town);
    let took = town.until(secs(1), |town| equal(town, &["ann", "bo"]));
    let spent = bytes(&town) - before;
    let took = took.expect("equal within a second");
    assert_eq!(shared(&town, "ann").entries, 1_000_000);
    println!("equal after {took:?} and {spent} bytes");
    assert!(spent <= 64 << 10, "{spent} bytes");

    // Equal ones say so with their probes, and nothing beside.
    town.run(secs(5));
    let (before, probes) = (bytes(&town), town.sent());
    town.run(secs(20));
    let (spent, probes) = (bytes(&town) - before, town.sent() - probes);
    println!("{spent} bytes in {probes} packets in 20 s");
    assert!(spent / 20 <= 500, "{spent} bytes");
}

#[test]
fn many_entries_join_a_fresh_node() {
    let mut town = Town::new(2);
    town.reserve("ann", "town", dui_core::Keyring::default());
    host(&mut town, "ann").disk.entries = entries(0..100_000).collect();
    town.start("ann").run(secs(2)).move_in("bo");
    let took = town.until(secs(1), |town| equal(town, &["ann", "bo"]));
    println!("joined after {took:?}");
    assert!(took.is_some(), "{:?}", shared(&town, "bo"));
    assert!(town.anybody_failed().is_none());
    put(&mut town, "one more", "bo", "v");
    let all = key("and all");
    let write = town.with("ann", |peer, now| {
        peer.write(now, Write::put(&all, b"v"), Acks::All).unwrap()
    });
    let done = town.until(secs(1), |town| shelf::written(town, "ann", write).is_some());
    assert!(done.is_some());
}
