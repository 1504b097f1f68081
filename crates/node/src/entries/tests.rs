//! Stories of the log on a disk that crashes, tears, fills up and rots.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io;

use dui_disk::memory::{Memory, dice};
use dui_disk::{Disk, Wrong};
use proptest::prelude::*;

use super::log::{Log, LogError, Opened};

/// What records add up to: a register per key, as entries are.
type Model = BTreeMap<u8, Vec<u8>>;

fn record(key: u8, value: &[u8]) -> Vec<u8> {
    [&[key], value].concat()
}

fn open(disk: &Memory) -> Result<(Log, Opened, Model), LogError> {
    let mut model = Model::new();
    let (log, opened) = Log::open(Box::new(disk.clone()), |body| {
        let (key, value) = body.split_first().ok_or("empty")?;
        model.insert(*key, value.to_vec());
        Ok(())
    })?;
    Ok((log, opened, model))
}

/// A life of a log: writes of many sizes, and two checkpoints with writes
/// between their parts. Tells what was acknowledged, and what was being
/// written when the disk failed.
fn live(disk: &Memory) -> (Model, Option<(u8, Vec<u8>)>) {
    let mut kept = Model::new();
    let Ok((mut log, ..)) = open(disk) else {
        return (kept, None);
    };
    for step in 0..40_u8 {
        if step == 12 || step == 29 {
            let copied: Vec<_> = kept.clone().into_iter().collect();
            if log.begin_checkpoint().is_err() {
                return (kept, None);
            }
            for (index, (key, value)) in copied.into_iter().enumerate() {
                if log.add_to_checkpoint(&record(key, &value)).is_err() {
                    return (kept, None);
                }
                if index == 3 {
                    let value = vec![step; 700];
                    if log.append(&record(100, &value)).is_err() {
                        return (kept, Some((100, value)));
                    }
                    kept.insert(100, value);
                }
            }
            if log.finish_checkpoint().is_err() {
                return (kept, None);
            }
        }
        let (key, value) = (step % 7, vec![step; usize::from(step) * 97 % 3_000 + 1]);
        if log.append(&record(key, &value)).is_err() {
            return (kept, Some((key, value)));
        }
        kept.insert(key, value);
    }
    log.close();
    (kept, None)
}

#[test]
fn what_was_acknowledged_survives_a_crash_at_every_call_to_the_disk() {
    let whole = Memory::default();
    live(&whole);
    let calls = whole.calls();
    assert!(calls > 100, "the story is long enough: {calls}");
    for crash_at in 0..calls {
        for seed in 0..6 {
            let disk = Memory::crashing_at(crash_at);
            let (kept, in_flight) = live(&disk);
            let disk = disk.after_crash(dice(seed));
            let story = format!("crash at call {crash_at}, seed {seed}");
            let (mut log, _, found) = open(&disk).unwrap_or_else(|e| panic!("{story}: {e:?}"));
            let mut with_last = kept.clone();
            with_last.extend(in_flight);
            assert!(found == kept || found == with_last, "{story}");

            // It goes on from there, and nothing of the crash comes back.
            log.append(&record(200, b"after")).unwrap();
            let (_, _, again) = open(&disk).unwrap();
            let mut expected = found;
            expected.insert(200, b"after".to_vec());
            assert_eq!(again, expected, "{story}");
        }
    }
}

#[test]
fn a_full_disk_loses_only_what_it_refused_and_goes_on_when_there_is_room() {
    let disk = Memory::default();
    let (mut log, ..) = open(&disk).unwrap();
    disk.room(Some(20_000));
    let mut kept = Model::new();
    let mut refused = 0;
    for key in 0..60 {
        match log.append(&record(key, &[key; 1_000])) {
            Ok(()) => drop(kept.insert(key, vec![key; 1_000])),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::StorageFull);
                refused += 1;
            }
        }
    }
    assert!(refused > 0 && kept.len() >= 15, "{} kept", kept.len());
    assert_eq!(open(&disk).unwrap().2, kept);

    disk.room(None);
    log.append(&record(70, b"room")).unwrap();
    kept.insert(70, b"room".to_vec());
    assert_eq!(open(&disk).unwrap().2, kept);
}

#[test]
fn a_checkpoint_that_fails_leaves_the_logs_as_they_are() {
    let disk = Memory::default();
    let (mut log, ..) = open(&disk).unwrap();
    log.append(&record(1, b"one")).unwrap();
    log.begin_checkpoint().unwrap();
    disk.room(Some(0));
    log.add_to_checkpoint(&record(1, b"one")).unwrap_err();
    log.finish_checkpoint().unwrap();
    assert_eq!(disk.names(), ["log-0000000001", "log-0000000002"]);
    assert_eq!(open(&disk).unwrap().2, Model::from([(1, b"one".to_vec())]));
}

#[test]
fn a_checkpoint_takes_the_place_of_what_it_replaces() {
    let disk = Memory::default();
    let (kept, _) = live(&disk);
    assert_eq!(disk.names(), ["checkpoint-0000000002", "log-0000000003"]);
    assert_eq!(open(&disk).unwrap().2, kept);
}

#[test]
fn a_missing_file_is_named() {
    let disk = Memory::default();
    let (mut log, ..) = open(&disk).unwrap();
    for key in 0..3 {
        log.append(&record(key, b"x")).unwrap();
        log = open(&disk).unwrap().0;
    }
    disk.remove("log-0000000002").unwrap();
    let error = open(&disk).unwrap_err();
    let LogError::Wrong { file, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(file, "log-0000000002");
}

#[test]
fn a_newer_format_is_told_apart_from_damage() {
    let disk = Memory::default();
    let (mut log, ..) = open(&disk).unwrap();
    log.append(&record(1, b"x")).unwrap();
    disk.rot("log-0000000001", |bytes| {
        bytes[8] = 9;
        let check = blake3::hash(&bytes[..48]);
        bytes[48..56].copy_from_slice(&check.as_bytes()[..8]);
    });
    let error = open(&disk).unwrap_err();
    let newer = matches!(
        &error,
        LogError::Wrong {
            wrong: Wrong::Newer(9),
            ..
        }
    );
    assert!(newer, "{error:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// A bit that flips anywhere is found and named. Only in the last record
    /// can it look like a crash: then that one is left out, and said so.
    #[test]
    fn a_flipped_bit_is_named_and_never_served(at in any::<prop::sample::Index>(), bit in 0..8_u8, which in any::<prop::sample::Index>()) {
        let disk = Memory::default();
        let (kept, _) = live(&disk);
        let mut without_last = kept.clone();
        // The last step wrote this key; five steps and one round before it, this.
        without_last.insert(39 % 7, vec![32; 32 * 97 % 3_000 + 1]);
        let names = disk.names();
        let name = &names[which.index(names.len())];
        disk.rot(name, |bytes| {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
        });
        match open(&disk) {
            Err(LogError::Wrong { file, .. }) => prop_assert_eq!(&file, name),
            Err(error) => return Err(TestCaseError::fail(format!("{error:?}"))),
            Ok((_, opened, found)) => {
                prop_assert!(opened.torn.is_some_and(|(file, _)| &file == name));
                prop_assert_eq!(found, without_last);
            }
        }
    }
}
