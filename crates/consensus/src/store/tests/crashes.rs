//! A disk that crashes, or whose syncs fail: what was acknowledged is there.

use dui_disk::HEADER_BYTES;
use dui_disk::memory::{Memory, dice};
use openraft::storage::{RaftLogReader, RaftLogStorage};
use proptest::prelude::*;

use super::{
    History, Model, Snapshots, Step, StoreError, append, block_on, entry, found, live, open,
    open_with, story, take, vote,
};

#[test]
fn what_was_acknowledged_survives_a_crash_at_every_call_to_the_disk() {
    let steps = story();
    let whole = Memory::default();
    block_on(async {
        let mut log = open(&whole).unwrap().log;
        let history = live(&mut log, &steps).await;
        assert_eq!(history.acknowledged, steps.len());
        log.close();
    });
    let calls = whole.calls();
    assert!(calls > 100, "the story is long enough: {calls}");
    assert!(
        !whole.names().contains(&"log-0000000003".into()),
        "and written anew"
    );

    for crash_at in 0..calls {
        for seed in 0..4 {
            let told = format!("crash at call {crash_at}, seed {seed}");
            let disk = Memory::crashing_at(crash_at);
            block_on(async {
                let mut history = History {
                    states: vec![Model::default()],
                    acknowledged: 0,
                };
                if let Ok(mut opened) = open(&disk) {
                    history = live(&mut opened.log, &steps).await;
                }
                let mut dice = dice(seed);
                let disk = disk.after_crash(&mut dice);
                let possible = &history.states[history.acknowledged..];
                let mut log = open(&disk).unwrap_or_else(|e| panic!("{told}: {e}")).log;
                let first = found(&mut log).await;
                assert!(possible.contains(&first), "{told}: {first:?}");

                // What was given out once stays, though nothing was written since.
                let disk = disk.after_crash(&mut dice);
                let mut log = open(&disk).unwrap_or_else(|e| panic!("{told}: {e}")).log;
                assert_eq!(found(&mut log).await, first, "{told}");

                // It goes on from there, and nothing of the crash comes back.
                let step = Step::Append(1, 50);
                assert!(take(&mut log, &first, &step).await.unwrap(), "{told}");
                let disk = disk.after_crash(&mut dice);
                let mut log = open(&disk).unwrap().log;
                assert_eq!(found(&mut log).await, first.after(&step), "{told}");
            });
        }
    }
}

#[test]
fn a_file_cut_anywhere_gives_back_a_beginning_of_the_story_or_is_refused() {
    let steps = &story()[..8];
    let disk = Memory::default();
    let history = block_on(async {
        let mut log = open_with(&disk, u64::MAX).unwrap().log;
        live(&mut log, steps).await
    });
    let whole = disk.contents("log-0000000001");
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut latest = 0;
    let mut refused = 0;
    for length in 0..=used {
        let disk = Memory::with_file("log-0000000001", &whole[..length]);
        match open(&disk) {
            Err(StoreError::Damaged { .. }) => {
                assert_eq!(latest, 0, "only what is sealed is missed: {length}");
                assert_eq!(disk.names(), ["log-0000000001"], "nothing was changed");
                refused += 1;
            }
            Err(error) => panic!("{length}: {error}"),
            Ok(mut opened) => {
                let found = block_on(found(&mut opened.log));
                let at = history.states.iter().position(|state| *state == found);
                let at = at.unwrap_or_else(|| panic!("{length}: {found:?}"));
                assert!(at >= latest, "{length}");
                latest = at;
            }
        }
    }
    assert!(refused > HEADER_BYTES);
    assert_eq!(latest, steps.len());
}

#[test]
fn what_only_the_cache_has_after_a_sync_failed_is_written_anew_before_it_counts() {
    let disk = Memory::default();
    block_on(async {
        let mut log = open(&disk).unwrap().log;
        log.save_vote(&vote(1)).await.unwrap();
        disk.fail_syncs(true);
        let error = log.save_vote(&vote(2)).await.unwrap_err();
        let told = "raft: a sync failed: the disk lost it; look at the disk";
        assert_eq!(error.to_string(), told);
        // For good, whatever the disk says now.
        disk.fail_syncs(false);
        log.save_vote(&vote(3)).await.unwrap_err();
        log.read_vote().await.unwrap_err();
        append(&mut log, vec![entry(1, 0, 1)]).await.unwrap_err();
        log.save_committed(None).await.unwrap_err();
        assert_eq!(log.metrics().failed.as_deref(), Some(told));

        // The cache shows the second vote. Whoever is told so relies on it.
        let mut log = open(&disk).unwrap().log;
        assert_eq!(log.read_vote().await.unwrap(), Some(vote(2)));
        let disk = disk.after_crash(|_| 0);
        let mut log = open(&disk).unwrap().log;
        assert_eq!(log.read_vote().await.unwrap(), Some(vote(2)));
    });
}

#[test]
fn a_snapshot_is_the_one_before_or_the_new_one_whenever_the_disk_crashes() {
    let save = |snapshots: &Snapshots| -> Vec<Vec<u8>> {
        let mut possible = Vec::new();
        for version in 1..4_u8 {
            let bytes = vec![version; usize::from(version) * 700];
            let saved = snapshots.save(&bytes).is_ok();
            if saved {
                possible.clear();
            }
            possible.push(bytes);
            if !saved {
                break;
            }
        }
        possible
    };
    let whole = Memory::default();
    save(&open(&whole).unwrap().snapshots);
    for crash_at in 0..whole.calls() {
        for seed in 0..4 {
            let disk = Memory::crashing_at(crash_at);
            let mut possible = Vec::new();
            let mut kept = None;
            if let Ok(opened) = open(&disk) {
                // Nothing is saved yet at first.
                possible = save(&opened.snapshots);
                kept = opened.snapshots.load().unwrap_or(None);
            }
            let disk = disk.after_crash(dice(seed));
            let found = open(&disk).unwrap().snapshots.load().unwrap();
            let first = possible.iter().all(|bytes| bytes.len() == 700);
            match found {
                None => assert!(first && kept.is_none(), "crash at {crash_at}, seed {seed}"),
                Some(bytes) => assert!(
                    possible.contains(&bytes) || bytes.len() + 700 == possible[0].len(),
                    "crash at {crash_at}, seed {seed}"
                ),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is done to it, in memory and after each restart a store holds
    /// what a naive one would.
    #[test]
    fn a_store_holds_what_a_naive_one_would(seasons in prop::collection::vec((prop::collection::vec(steps(), 0..12), any::<bool>()), 1..6)) {
        let mut disk = Memory::default();
        let mut model = Model::default();
        let mut dice = dice(7);
        block_on(async {
            for (steps, close) in seasons {
                let mut log = open_with(&disk, 1_000).unwrap().log;
                prop_assert_eq!(&found(&mut log).await, &model);
                for step in steps {
                    take(&mut log, &model, &step).await.unwrap();
                    model = model.after(&step);
                    prop_assert_eq!(&found(&mut log).await, &model);
                }
                // A purge does not wait; this does, for all before it.
                append(&mut log, vec![]).await.unwrap().await.unwrap().unwrap();
                if close {
                    log.close();
                } else {
                    disk = disk.after_crash(&mut dice);
                }
            }
            Ok(())
        })?;
    }
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        (1..20_u64).prop_map(Step::Vote),
        (0..5_usize, 0..400_usize).prop_map(|(count, bytes)| Step::Append(count, bytes)),
        (0..4_u64).prop_map(Step::Truncate),
        (0..6_u64).prop_map(Step::Purge),
    ]
}
