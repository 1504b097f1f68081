//! What entries promise, against a model that is too simple to be wrong.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::entry::Version;
use crate::id::NodeId;
use crate::reconcile::Fingerprint;

const LIFE: Duration = Duration::from_secs(60);

/// A write: key, ms, origin, what it leaves.
type Deed = (u8, u64, u8, Left);

#[derive(Clone, Copy, Debug)]
enum Left {
    Value,
    ForMs(u64),
    Nothing,
}

fn deed() -> impl Strategy<Value = Deed> {
    let left = prop_oneof![
        3 => Just(Left::Value),
        1 => (1u64..100_000).prop_map(Left::ForMs),
        1 => Just(Left::Nothing),
    ];
    (0u8..12, 0u64..100_000, 0u8..3, left)
}

/// What this deed wrote: its value tells deeds apart.
fn entry((key, ms, origin, left): Deed) -> Entry {
    let version = Version {
        timestamp: Timestamp::from_ms(ms),
        origin: NodeId(u128::from(origin)),
    };
    let key = format!("k{key}");
    match left {
        Left::Value => Entry::value_of(&key, version, b"for ever", None, None),
        Left::ForMs(ms) => {
            let ttl = Some(Duration::from_millis(ms));
            Entry::value_of(&key, version, &ms.to_be_bytes(), None, ttl)
        }
        Left::Nothing => Entry::tombstone(&key, version),
    }
}

fn held(entries: &Entries) -> Vec<Entry> {
    let all = entries.keys.iter().filter_map(|key| entries.get(key));
    all.cloned().collect()
}

/// Whatever is kept twice must agree.
fn judge(entries: &Entries) {
    let all = held(entries);
    let names: Vec<Key> = all.iter().map(Entry::name).collect();
    assert_eq!(all.len(), entries.keys.len());
    assert_eq!(entries.by_name.print(), Fingerprint::of(&names));
    for (entry, name) in all.iter().zip(&names) {
        assert_eq!(entries.by_name.get(name), Some(entry));
    }
    assert_eq!(entries.bytes(), all.iter().map(footprint).sum::<u64>());
    let live = all.iter().filter(|entry| entry.kind() == Kind::Value);
    assert_eq!(entries.live(), live.count());
    let due = all.iter().filter(|entry| entries.due_of(entry).is_some());
    assert_eq!(entries.due.len(), due.count());
}

proptest! {
    #[test]
    fn merging_is_commutative_associative_and_idempotent(
        deeds in prop::collection::vec(deed(), 1..60),
        order in any::<prop::sample::Index>(),
        at_ms in 0u64..100_000,
    ) {
        // The model: the highest of each key.
        let mut model: BTreeMap<String, Entry> = BTreeMap::new();
        for entry in deeds.iter().copied().map(entry) {
            let old = model.get(entry.key());
            if old.is_none_or(|old| entry.beats(old)) {
                model.insert(entry.key().into(), entry);
            }
        }
        let mut mixed = deeds.clone();
        mixed.rotate_left(order.index(deeds.len()));
        mixed.extend(deeds.iter().rev());
        let (mut one, mut other) = (Entries::new(LIFE), Entries::new(LIFE));
        for deed in &deeds {
            one.merge(0, entry(*deed));
        }
        for deed in &mixed {
            other.merge(0, entry(*deed));
        }
        // Associative: what another store has merged merges as its parts do.
        let mut third = Entries::new(LIFE);
        third.load(held(&other));
        for entry in held(&one) {
            prop_assert_eq!(third.merge(0, entry), Merged::Old);
        }
        for entries in [&one, &other, &third] {
            judge(entries);
            let expected: Vec<Entry> = model.values().cloned().collect();
            prop_assert_eq!(held(entries), expected);
            prop_assert_eq!(entries.fingerprint(), one.fingerprint());
        }
        let readable: Vec<Entry> =
            model.values().filter(|entry| entry.is_live(at_ms)).cloned().collect();
        prop_assert_eq!(one.list(at_ms, "", None, usize::MAX), readable);
    }

    #[test]
    fn what_time_takes_does_not_come_back(
        deeds in prop::collection::vec(deed(), 1..60),
        at_ms in 0u64..300_000,
    ) {
        let (mut early, mut late) = (Entries::new(LIFE), Entries::new(LIFE));
        for deed in &deeds {
            early.merge(0, entry(*deed));
        }
        early.tend(at_ms, usize::MAX);
        judge(&early);
        // Whoever hears of it all only now ends with the same.
        let mut all = Entries::new(LIFE);
        for deed in &deeds {
            all.merge(0, entry(*deed));
        }
        for entry in held(&all) {
            late.merge(at_ms, entry);
        }
        judge(&late);
        prop_assert_eq!(held(&early), held(&late));
        prop_assert_eq!(early.fingerprint(), late.fingerprint());
        for entry in held(&early) {
            let end = early.end_of(&entry);
            prop_assert!(end.is_none_or(|end_ms| end_ms > at_ms), "{:?}", entry);
        }
    }
}

#[test]
fn pages_follow_one_another() {
    let mut entries = Entries::new(LIFE);
    for n in 0..40 {
        entries.merge(0, entry((n, 1, 1, Left::Value)));
    }
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = entries.list(0, "k1", after.as_deref(), 3);
        let Some(last) = page.last() else { break };
        after = Some(last.key().into());
        found.extend(page.iter().map(|entry| entry.key().to_owned()));
    }
    let expected = ["k1"].map(String::from).into_iter();
    let expected: Vec<_> = expected.chain((10..20).map(|n| format!("k{n}"))).collect();
    assert_eq!(found, expected);
    assert_eq!(
        entries.list(0, "k3", Some("a"), 99).len(),
        11,
        "a cursor before the prefix"
    );
    assert!(entries.list(0, "k3", Some("k4"), 99).is_empty());
}

#[test]
fn what_is_due_takes_its_turns() {
    let mut entries = Entries::new(LIFE);
    for n in 0..10 {
        entries.merge(0, entry((n, 1, 1, Left::ForMs(5))));
    }
    assert_eq!(entries.due_ms(), Some(6));
    assert!(entries.tend(5, 99).is_empty());
    assert_eq!(entries.tend(6, 3).len(), 3);
    assert_eq!(entries.live(), 7);
    assert_eq!(entries.tend(6, 99).len(), 7);
    assert_eq!((entries.live(), entries.len()), (0, 10));
    let gone = entries.tend(6 + LIFE.as_millis() as u64, 99);
    assert!(gone.iter().all(|due| matches!(due, Due::Gone(_))));
    assert_eq!((gone.len(), entries.len(), entries.bytes()), (10, 0, 0));
    assert_eq!(entries.fingerprint(), 0);
}
