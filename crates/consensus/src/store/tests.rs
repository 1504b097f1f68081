//! Stories of a group's store, told by a naive twin of it.
//!
//! Here is how they are told, what the library asks of any store, and how
//! changes are written. What disks do to it, each in a file of its own.

#![allow(clippy::unwrap_used)]

mod crashes;
mod damage;
mod full;
mod slow;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use dui_core::NodeId;
use dui_disk::Disk;
use dui_disk::memory::Memory;
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use openraft::type_config::alias::OneshotReceiverOf;
use openraft::{EntryPayload, StorageError};

use super::{LogStore, Opened, Snapshots, StoreError, open_on};
use crate::machine::Machine;
use crate::record::{Command, Seen, encode_entry};
use crate::types::{Entry, LogId, RaftId, Types, Vote};

/// Small, so that a short story writes its file anew more than once.
const COMPACT_BYTES_MIN: u64 = 6_000;

// --- the story ---

#[derive(Clone, Debug)]
enum Step {
    Vote(u64),
    /// So many entries of about so many bytes.
    Append(usize, usize),
    /// So many entries from the end.
    Truncate(u64),
    /// So many entries from the beginning.
    Purge(u64),
}

/// What a store should hold, told naively.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Model {
    vote: Option<Vote>,
    purged: Option<LogId>,
    entries: BTreeMap<u64, (LogId, Vec<u8>)>,
}

impl Model {
    fn term(&self) -> u64 {
        self.vote.map_or(1, |vote| vote.leader_id().term)
    }

    fn last(&self) -> Option<LogId> {
        let last = self.entries.values().next_back();
        last.map(|(id, _)| *id).or(self.purged)
    }

    fn next_index(&self) -> u64 {
        self.last().map_or(0, |id| id.index + 1)
    }

    fn new_entries(&self, count: usize, bytes: usize) -> Vec<Entry> {
        let next = self.next_index();
        let indices = next..next + count as u64;
        indices.map(|at| entry(self.term(), at, bytes)).collect()
    }

    /// What is truncated: everything behind it.
    fn truncated_behind(&self, count: u64) -> Option<LogId> {
        let ids: Vec<_> = self.entries.values().map(|(id, _)| *id).collect();
        let kept = ids.len().saturating_sub(count as usize);
        ids[..kept].last().copied().or(self.purged)
    }

    fn purged_to(&self, count: u64) -> Option<LogId> {
        let ids = self.entries.values().map(|(id, _)| *id);
        ids.take(count as usize).next_back()
    }

    fn after(&self, step: &Step) -> Self {
        let mut next = self.clone();
        match *step {
            Step::Vote(term) => next.vote = Some(vote(term)),
            Step::Append(count, bytes) => {
                for entry in self.new_entries(count, bytes) {
                    let kept = (entry.log_id, encode_entry(&entry));
                    next.entries.insert(entry.log_id.index, kept);
                }
            }
            Step::Truncate(count) => {
                let last = self.truncated_behind(count).map(|id| id.index);
                next.entries.retain(|at, _| Some(*at) <= last);
            }
            Step::Purge(count) => {
                if let Some(id) = self.purged_to(count) {
                    next.purged = Some(id);
                    next.entries.retain(|at, _| *at > id.index);
                }
            }
        }
        next
    }
}

fn vote(term: u64) -> Vote {
    Vote::new(term, RaftId::from(term % 3))
}

fn log_id(term: u64, index: u64) -> LogId {
    let leader = openraft::impls::leader_id_adv::LeaderId {
        term,
        node_id: RaftId::from(term % 3),
    };
    LogId::new(leader, index)
}

fn entry(term: u64, index: u64, bytes: usize) -> Entry {
    let seen = Seen {
        id: NodeId(u128::from(index)),
        name: "x".repeat(bytes),
        address: "10.0.0.1:7781".into(),
        manager: false,
    };
    let view = Command::View {
        joined: vec![seen],
        gone: vec![],
    };
    Entry {
        log_id: log_id(term, index),
        payload: EntryPayload::Normal(view),
    }
}

/// A year in the life of a log.
fn story() -> Vec<Step> {
    use Step::{Append, Purge, Truncate, Vote};
    let season = |term: u64| {
        [
            Vote(term),
            Append(1, 20),
            Append(3, 700),
            Vote(term + 1),
            Truncate(2),
            Append(2, 90),
            Append(1, 2_000),
            Purge(4),
            Append(2, 1_200),
            Truncate(1),
            Append(1, 3),
        ]
    };
    (0..4).flat_map(|year| season(1 + 2 * year)).collect()
}

// --- telling it ---

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.unwrap().block_on(future)
}

fn open(disk: &Memory) -> Result<Opened, StoreError> {
    open_with(disk, COMPACT_BYTES_MIN)
}

fn open_with(disk: &Memory, compact_bytes_min: u64) -> Result<Opened, StoreError> {
    open_on(Arc::new(disk.clone()), Path::new("raft"), compact_bytes_min)
}

/// Queues entries; the receiver hears when they are durable.
async fn append(
    log: &mut LogStore,
    entries: Vec<Entry>,
) -> io::Result<OneshotReceiverOf<Types, io::Result<()>>> {
    let (done, is_done) = Types::oneshot();
    log.append(entries, IOFlushed::signal(done)).await?;
    Ok(is_done)
}

/// Does the step. `true` if it is acknowledged as durable.
async fn take(log: &mut LogStore, model: &Model, step: &Step) -> io::Result<bool> {
    match *step {
        Step::Vote(term) => log.save_vote(&vote(term)).await?,
        Step::Append(count, bytes) => {
            let done = append(log, model.new_entries(count, bytes)).await?;
            done.await.unwrap()?;
        }
        Step::Truncate(count) => log.truncate_after(model.truncated_behind(count)).await?,
        Step::Purge(count) => {
            if let Some(id) = model.purged_to(count) {
                log.purge(id).await?;
            }
            return Ok(false);
        }
    }
    Ok(true)
}

/// Everything that was, in order, and up to where it was acknowledged.
struct History {
    states: Vec<Model>,
    acknowledged: usize,
}

impl History {
    fn now(&self) -> &Model {
        self.states.last().unwrap()
    }
}

/// Lives until the disk fails.
async fn live(log: &mut LogStore, steps: &[Step]) -> History {
    let mut history = History {
        states: vec![Model::default()],
        acknowledged: 0,
    };
    for step in steps {
        let before = history.now().clone();
        history.states.push(before.after(step));
        match take(log, &before, step).await {
            Ok(true) => history.acknowledged = history.states.len() - 1,
            Ok(false) => {}
            Err(_) => break,
        }
    }
    history
}

/// What the store says that it holds.
async fn found(log: &mut LogStore) -> Model {
    let state = log.get_log_state().await.unwrap();
    let entries = log.try_get_log_entries(..).await.unwrap();
    let entries = entries.iter().map(|entry| {
        let id = entry.log_id;
        (id.index, (id, encode_entry(entry)))
    });
    let model = Model {
        vote: log.read_vote().await.unwrap(),
        purged: state.last_purged_log_id,
        entries: entries.collect(),
    };
    assert_eq!(state.last_log_id, model.last());
    model
}

/// A store that was closed, in one file, and what was when.
fn closed() -> (Memory, History) {
    let disk = Memory::default();
    let history = block_on(async {
        let mut log = open_with(&disk, u64::MAX).unwrap().log;
        let history = live(&mut log, &story()[..20]).await;
        log.close();
        history
    });
    (disk, history)
}

// --- the library's own suite ---

struct OnDisk;
struct InMemory;

impl StoreBuilder<Types, LogStore, Machine, tempfile::TempDir> for OnDisk {
    async fn build(&self) -> Result<(tempfile::TempDir, LogStore, Machine), StorageError<Types>> {
        let dir = tempfile::tempdir().unwrap();
        let opened = super::open(&dir.path().join("raft")).unwrap();
        Ok((dir, opened.log, Machine::open(opened.snapshots).unwrap().0))
    }
}

impl StoreBuilder<Types, LogStore, Machine> for InMemory {
    async fn build(&self) -> Result<((), LogStore, Machine), StorageError<Types>> {
        let opened = super::in_memory();
        Ok(((), opened.log, Machine::open(opened.snapshots).unwrap().0))
    }
}

#[test]
fn the_library_is_content_with_a_store_on_disk() {
    block_on(Suite::test_all(OnDisk)).unwrap();
}

#[test]
fn the_library_is_content_with_a_store_in_memory() {
    block_on(Suite::test_all(InMemory)).unwrap();
}

#[test]
fn a_directory_is_made_for_its_owner_alone_and_found_again() {
    use std::os::unix::fs::PermissionsExt;

    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("raft");
    block_on(async {
        let mut opened = super::open(&dir).unwrap();
        let history = live(&mut opened.log, &story()).await;
        opened.snapshots.save(b"state").unwrap();
        // Dropped, not closed.
        drop(opened);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        for file in std::fs::read_dir(&dir).unwrap() {
            assert_eq!(mode(&file.unwrap().path()), 0o600);
        }
        let mut opened = super::open(&dir).unwrap();
        assert_eq!(&found(&mut opened.log).await, history.now());
        assert_eq!(opened.snapshots.load().unwrap().unwrap(), b"state");
    });
}

// --- writing anew, and at once ---

#[test]
fn a_log_that_is_written_anew_keeps_what_is_live_and_no_leftovers() {
    let disk = Memory::default();
    block_on(async {
        let mut log = open(&disk).unwrap().log;
        let history = live(&mut log, &story()).await;
        let committed = history.now().last();
        log.save_committed(committed).await.unwrap();
        log.close();
        let names = disk.names();
        assert_eq!(names.len(), 1, "{names:?}");
        assert!(names[0].as_str() > "log-0000000002", "{names:?}");
        for leftover in ["log-0000000001", "log-0000000099.new", "snapshot.new"] {
            disk.create(leftover).unwrap();
        }
        disk.create("other.new").unwrap();

        let mut log = open(&disk).unwrap().log;
        assert_eq!(&found(&mut log).await, history.now());
        assert_eq!(log.read_committed().await.unwrap(), committed);
        let names = disk.names();
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(names[1], "other.new", "what is not ours is left alone");
    });
}

#[test]
fn whatever_comes_while_the_disk_syncs_is_synced_at_once() {
    let disk = Memory::default();
    block_on(async {
        let mut log = open(&disk).unwrap().log;
        disk.hold_syncs();
        let mut waiting = vec![append(&mut log, vec![entry(1, 0, 9)]).await.unwrap()];
        disk.wait_for_sync();
        for index in 1..100 {
            waiting.push(append(&mut log, vec![entry(1, index, 9)]).await.unwrap());
        }
        // Visible at once, acknowledged when synced.
        assert_eq!(log.try_get_log_entries(40..).await.unwrap().len(), 60);
        assert_eq!(log.metrics().records_appended, 0);
        disk.release_syncs();
        for done in waiting {
            done.await.unwrap().unwrap();
        }
        let metrics = log.metrics();
        assert_eq!((metrics.fsyncs, metrics.records_appended), (2, 100));
        assert!(metrics.fsync_time_p99 <= metrics.fsync_time_sum);
        assert!(metrics.appended_bytes > 100 * 9);
    });
}

#[test]
fn a_commit_costs_no_sync_of_its_own() {
    let disk = Memory::default();
    block_on(async {
        let mut log = open(&disk).unwrap().log;
        for index in 0..3 {
            let done = append(&mut log, vec![entry(1, index, 9)]).await.unwrap();
            done.await.unwrap().unwrap();
            log.save_committed(Some(log_id(1, index))).await.unwrap();
        }
        assert_eq!(log.metrics().fsyncs, 3);
        let mut after_crash = open(&disk.after_crash(|_| 0)).unwrap().log;
        let committed = after_crash.read_committed().await.unwrap();
        assert_eq!(
            committed,
            Some(log_id(1, 1)),
            "with the record that followed"
        );
        log.close();
        let mut log = open(&disk).unwrap().log;
        assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1, 2)));
    });
}

#[test]
fn a_group_of_changes_larger_than_a_frame_is_acknowledged_with_its_last_part() {
    let disk = Memory::default();
    block_on(async {
        let mut log = open_with(&disk, u64::MAX).unwrap().log;
        let step = Step::Append(5, 1 << 20);
        let model = Model::default();
        assert!(take(&mut log, &model, &step).await.unwrap());
        assert_eq!(log.metrics().fsyncs, 2);
        let mut log = open(&disk.after_crash(|_| 0)).unwrap().log;
        assert!(found(&mut log).await == model.after(&step));
        let too_large = entry(1, 5, 17 << 20);
        let error = append(&mut log, vec![too_large]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    });
}

#[test]
fn entries_that_leave_a_hole_are_refused() {
    block_on(async {
        let mut log = super::in_memory().log;
        append(&mut log, vec![entry(1, 0, 1)]).await.unwrap();
        for wrong in [vec![0], vec![2], vec![1, 3], vec![1, 1]] {
            let entries = wrong.iter().map(|at| entry(1, *at, 1)).collect();
            append(&mut log, entries).await.unwrap_err();
            assert_eq!(
                log.try_get_log_entries(..).await.unwrap().len(),
                1,
                "{wrong:?}"
            );
        }
    });
}

#[test]
fn who_writes_after_the_end_is_told_so_and_may_still_read() {
    let disk = Memory::default();
    block_on(async {
        let mut log = open(&disk).unwrap().log;
        log.save_vote(&vote(1)).await.unwrap();
        log.close();
        log.close();
        let error = log.save_vote(&vote(2)).await.unwrap_err();
        assert_eq!(error.to_string(), "the managers' log is closed");
        assert_eq!(log.read_vote().await.unwrap(), Some(vote(1)));
    });
}
