//! A disk that is full: it keeps what it acknowledged.

use std::io;

use dui_disk::memory::Memory;
use openraft::storage::RaftLogStorage;

use super::{Model, Step, StoreError, block_on, closed, found, open, open_with, take, vote};

#[test]
fn a_full_disk_keeps_what_it_acknowledged_and_nothing_that_it_refused() {
    let disk = Memory::default();
    block_on(async {
        let mut log = open_with(&disk, u64::MAX).unwrap().log;
        disk.room(Some(20_000));
        let mut model = Model::default();
        let step = Step::Append(1, 1_000);
        let error = loop {
            match take(&mut log, &model, &step).await {
                Ok(_) => model = model.after(&step),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().ends_with("free some space"), "{error}");
        assert!(model.entries.len() > 10, "{}", model.entries.len());
        assert!(disk.used() < 20_000, "what was refused was cut off");
        // Room does not help it: it is for the group to start again.
        disk.room(None);
        let error = log.save_vote(&vote(1)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);

        // Not even a crash brings back what was refused.
        let disk = disk.after_crash(|below| below - 1);
        let mut log = open(&disk).unwrap().log;
        assert_eq!(found(&mut log).await, model);
    });
}

#[test]
fn a_disk_too_full_to_write_the_log_anew_lets_it_grow_as_it_is() {
    let disk = Memory::default();
    block_on(async {
        let mut log = open_with(&disk, 2_000).unwrap().log;
        log.save_vote(&vote(1)).await.unwrap();
        // There is room ahead of what is written, and none for another file.
        disk.room(Some(disk.used()));
        let mut model = Model::default().after(&Step::Vote(1));
        for _ in 0..20 {
            for step in [Step::Append(1, 500), Step::Purge(9)] {
                take(&mut log, &model, &step).await.unwrap();
                model = model.after(&step);
            }
        }
        log.save_vote(&vote(2)).await.unwrap();
        assert_eq!(disk.names(), ["log-0000000001"]);
        disk.room(None);
        for term in 3..100 {
            log.save_vote(&vote(term)).await.unwrap();
        }
        assert_eq!(disk.names(), ["log-0000000002"]);
        log.close();
        let mut log = open(&disk).unwrap().log;
        assert_eq!(found(&mut log).await, model.after(&Step::Vote(99)));
    });
}

#[test]
fn a_disk_too_full_to_open_the_log_leaves_it_as_it_is() {
    let (disk, history) = closed();
    let before = disk.contents("log-0000000001");
    disk.room(Some(disk.used()));
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, StoreError::Io { .. }), "{error}");
    assert_eq!(disk.names(), ["log-0000000001"]);
    assert_eq!(disk.contents("log-0000000001"), before);
    disk.room(None);
    let mut log = open(&disk).unwrap().log;
    assert_eq!(&block_on(found(&mut log)), history.now());
}
