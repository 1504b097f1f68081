//! A disk that rots: whatever is damaged is named, and never served.

use std::path::Path;
use std::sync::Arc;

use dui_disk::Disk;
use dui_disk::memory::Memory;
use proptest::prelude::*;

use super::{Snapshots, StoreError, block_on, closed, found, live, open, open_with, story};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A bit that flips anywhere is found and named. Only in the last frame
    /// can it look like a crash: and behind a store that was closed, nothing
    /// is lost by that.
    #[test]
    fn a_flipped_bit_is_named_and_never_served(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let (disk, history) = closed();
        let mut bytes = disk.contents("log-0000000001");
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        let disk = Memory::with_file("log-0000000001", &bytes);
        match open(&disk) {
            Err(StoreError::Damaged { file, .. }) => {
                prop_assert_eq!(file, Path::new("raft/log-0000000001"));
                prop_assert_eq!(disk.contents("log-0000000001"), bytes);
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
            Ok(mut opened) => {
                // The frame that ends a file has a head and says that nothing
                // is committed.
                prop_assert!(at >= bytes.len() - (16 + 5), "{}", at);
                prop_assert_eq!(&block_on(found(&mut opened.log)), history.now());
            }
        }
    }

    /// The same behind a crash: then it may be the last thing that was written,
    /// here one step.
    #[test]
    fn a_bit_that_flips_behind_a_crash_costs_the_last_frame_at_most(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let disk = Memory::default();
        let (history, crashed) = block_on(async {
            let mut log = open_with(&disk, u64::MAX).unwrap().log;
            let history = live(&mut log, &story()[..18]).await;
            (history, disk.after_crash(|_| 0))
        });
        let mut bytes = crashed.contents("log-0000000001");
        let used = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
        let at = at.index(used + 300);
        bytes[at] ^= 1 << bit;
        match open(&Memory::with_file("log-0000000001", &bytes)) {
            Err(StoreError::Damaged { .. }) => prop_assert!(at < used),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
            Ok(mut opened) => {
                let found = block_on(found(&mut opened.log));
                let last_two = &history.states[history.states.len() - 2..];
                prop_assert!(last_two.contains(&found));
                prop_assert!(at < used || found == last_two[1]);
            }
        }
    }
}

#[test]
fn a_newer_format_is_told_apart_from_damage() {
    let (disk, _) = closed();
    let mut bytes = disk.contents("log-0000000001");
    bytes[8] = 9;
    let check = blake3::hash(&bytes[..48]);
    bytes[48..56].copy_from_slice(&check.as_bytes()[..8]);
    let error = open(&Memory::with_file("log-0000000001", &bytes)).unwrap_err();
    assert!(
        matches!(error, StoreError::Newer { found: 9, .. }),
        "{error}"
    );
}

#[test]
fn a_log_that_is_missing_beside_its_snapshot_is_not_begun_again() {
    let disk = Memory::default();
    open(&disk).unwrap().snapshots.save(b"state").unwrap();
    disk.remove("log-0000000001").unwrap();
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

#[test]
fn a_damaged_snapshot_is_named() {
    let disk = Memory::default();
    open(&disk).unwrap().snapshots.save(b"state").unwrap();
    for at in 0..disk.contents("snapshot").len() {
        let mut bytes = disk.contents("snapshot");
        bytes[at] ^= 4;
        let snapshots = Snapshots::on(
            Arc::new(Memory::with_file("snapshot", &bytes)),
            Path::new("raft"),
        );
        let error = snapshots.load().unwrap_err();
        assert!(
            error.to_string().starts_with("raft/snapshot is damaged"),
            "{error}"
        );
    }
}
