//! Shared entries on one node: written, durable, read, expired, refused.

#![allow(clippy::unwrap_used)]

mod shelf;

use dui_core::{Acks, Change, Write, WriteError};
use dui_sim::{Town, ms, secs};
use shelf::{changes, delete, get, host, key, put, written};

#[test]
fn a_write_has_happened_once_it_is_durable() {
    let mut town = Town::of(1, ["ann"]);
    let write = put(&mut town, "colour", "ann", "blue");
    assert_eq!(get(&mut town, "colour", "ann"), None, "not yet durable");
    assert_eq!(written(&town, "ann", write), None);
    town.run(ms(5));
    assert_eq!(written(&town, "ann", write), Some(Ok((false, 1))));
    assert_eq!(get(&mut town, "colour", "ann").as_deref(), Some("blue"));
    let again = put(&mut town, "colour", "ann", "red");
    town.run(ms(5));
    assert_eq!(written(&town, "ann", again), Some(Ok((true, 1))));
    assert!(again.version > write.version);

    assert_eq!(delete(&mut town, "nothing", "ann"), None);
    let gone = delete(&mut town, "colour", "ann").unwrap();
    town.run(ms(5));
    assert_eq!(written(&town, "ann", gone), Some(Ok((true, 1))));
    assert_eq!(get(&mut town, "colour", "ann"), None);
    let kinds: Vec<Change> = changes(&town, "ann")
        .iter()
        .map(|(kind, _)| *kind)
        .collect();
    assert_eq!(kinds, [Change::Put, Change::Put, Change::Deleted]);
}

#[test]
fn a_write_that_cannot_be_stored_has_not_happened() {
    let mut town = Town::of(2, ["ann"]);
    host(&mut town, "ann").disk.full = true;
    let write = put(&mut town, "colour", "ann", "blue");
    town.run(ms(5));
    assert_eq!(
        written(&town, "ann", write),
        Some(Err("the disk is full".into()))
    );
    assert_eq!(get(&mut town, "colour", "ann"), None);
    assert!(changes(&town, "ann").is_empty());
    host(&mut town, "ann").disk.full = false;
    put(&mut town, "colour", "ann", "red");
    town.run(ms(5));
    assert_eq!(get(&mut town, "colour", "ann").as_deref(), Some("red"));
}

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let mut town = Town::of(3, ["ann"]);
    put(&mut town, "kept", "ann", "yes");
    town.run(ms(5));
    let late = put(&mut town, "late", "ann", "not yet durable");
    town.kill("ann").start("ann").run(secs(1));
    assert_eq!(written(&town, "ann", late), None);
    assert_eq!(get(&mut town, "kept", "ann").as_deref(), Some("yes"));
    assert_eq!(get(&mut town, "late", "ann"), None);
    assert_eq!(town.with("ann", |peer, now| peer.shared(now).entries), 1);
}

#[test]
fn a_clock_set_back_uses_no_timestamp_twice() {
    let mut town = Town::of(4, ["ann"]);
    let before = put(&mut town, "colour", "ann", "blue");
    town.run(ms(5));
    town.kill("ann")
        .set_clock_ahead("ann", -3_600_000)
        .start("ann");
    let after = put(&mut town, "colour", "ann", "red");
    assert!(after.version > before.version);
    town.run(ms(5));
    assert_eq!(get(&mut town, "colour", "ann").as_deref(), Some("red"));
}

#[test]
fn what_has_a_ttl_expires_without_a_write() {
    let mut town = Town::of(5, ["ann"]);
    let name = key("session");
    town.with("ann", |peer, now| {
        let write = Write::Put {
            key: &name,
            value: b"open",
            content_type: Some(b"text/plain"),
            ttl: Some(secs(2)),
        };
        peer.write(now, write, Acks::Here).unwrap();
    });
    town.run(ms(1_900));
    assert_eq!(get(&mut town, "session", "ann").as_deref(), Some("open"));
    let fingerprint = town.with("ann", |peer, now| peer.shared(now).fingerprint);
    town.run(ms(200));
    assert_eq!(get(&mut town, "session", "ann"), None);
    assert_eq!(
        changes(&town, "ann").last(),
        Some(&(Change::Expired, "session".into()))
    );
    let shared = town.with("ann", |peer, now| peer.shared(now));
    assert_eq!((shared.entries, shared.tombstones), (0, 1));
    assert_eq!(
        shared.fingerprint, fingerprint,
        "it stands for the same write"
    );
    town.run(secs(1));
    assert!(
        host(&mut town, "ann").disk.entries["session"]
            .value()
            .is_empty()
    );
}

#[test]
fn a_full_store_refuses_puts_and_takes_deletes() {
    let mut town = Town::new(6);
    town.reserve("ann", "town", dui_core::Keyring::default());
    host(&mut town, "ann").shared.bytes_max = 4_096;
    town.start("ann").run(secs(1));
    let large = "x".repeat(3_000);
    put(&mut town, "a", "ann", &large);
    let (a, b) = (key("a"), key("b"));
    let refused = town.with("ann", |peer, now| {
        peer.write(now, Write::put(&b, large.as_bytes()), Acks::Here)
    });
    assert!(
        matches!(refused, Err(WriteError::Full { max: 4_096, .. })),
        "{refused:?}"
    );
    town.run(ms(5));
    // In its own place it fits.
    put(&mut town, "a", "ann", &large);
    town.run(ms(5));
    town.with("ann", |peer, now| {
        peer.delete(now, &a, Acks::Here).unwrap().unwrap()
    });
    town.run(ms(5));
    put(&mut town, "b", "ann", &large);
}

#[test]
fn writes_have_bounds() {
    let mut town = Town::of(7, ["ann"]);
    let key = key("k");
    let largest = vec![0; dui_core::entry::VALUE_BYTES_MAX + 1];
    town.with("ann", |peer, now| {
        let put = |value| Write::put(&key, value);
        let too_large = peer.write(now, put(&largest), Acks::Here);
        assert!(matches!(too_large, Err(WriteError::TooLarge { .. })));
        peer.write(now, put(&largest[1..]), Acks::Here).unwrap();
        let typed = Write::Put {
            key: &key,
            value: b"",
            content_type: Some(&[b'x'; 255]),
            ttl: None,
        };
        let refused = peer.write(now, typed, Acks::Here);
        assert!(matches!(
            refused,
            Err(WriteError::ContentType { got: 255, .. })
        ));
        peer.leave(now);
        assert_eq!(
            peer.write(now, put(b""), Acks::Here),
            Err(WriteError::Leaving)
        );
    });
}
