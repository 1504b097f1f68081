//! Writer: one thread that makes entries durable, as many at once as wait for it.
//!
//! Whatever came while a group was being synced is the next group: the slower
//! the disk, the larger the groups, and no write waits for much more than two
//! syncs. Who was just answered is about to write again, so where several
//! write at once a group waits a part of a sync for them: otherwise half of
//! the writers would be synced in turn with the other half, at twice the
//! price. A thread of its own, because a sync blocks, and the node has probes
//! to answer meanwhile.

use std::fs::File;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use dui_core::Entry;
use tokio::sync::mpsc as events;

use super::log::Log;
use super::{Kept, format};

/// A group is closed when it has this many bytes. Well below the largest
/// record: one more entry fits whatever its size.
const GROUP_BYTES: usize = 4 << 20;

/// What the thread is told.
#[derive(Debug)]
enum Job {
    Store {
        batch: u64,
        entries: Vec<Entry>,
        removed: Vec<Entry>,
    },
    /// A part of the checkpoint, which ends with the last one.
    Copy { entries: Vec<Entry>, last: bool },
}

/// What the thread tells, in the order in which it happened.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Everything up to this batch is durable, or was said to have failed.
    Stored { batch: u64 },
    /// What came after the last outcome, up to this batch, is not durable.
    Failed { batch: u64, reason: String },
    /// A checkpoint was begun: every batch that it replaces has been told to
    /// be stored before this, and the whole contents are to be copied now.
    Checkpoint,
    /// The part is written; ready for the next one.
    Copied,
}

/// Hands entries to the thread that writes them.
#[derive(Debug)]
pub(crate) struct Writer {
    /// `None` once it is to end.
    jobs: Option<mpsc::Sender<Job>>,
    outcomes: events::UnboundedReceiver<Outcome>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. `lock` keeps others out of the directory until the
    /// last group is written.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub(crate) fn start(kept: Kept, lock: Arc<File>) -> io::Result<(Self, Vec<Entry>)> {
        let (jobs, incoming) = mpsc::channel();
        let (outgoing, outcomes) = events::unbounded_channel();
        let Kept { entries, log, path } = kept;
        let desk = Desk {
            log,
            path: path.display().to_string(),
            outcomes: outgoing,
            failing: false,
            pace: Pace::default(),
        };
        let work = move || {
            desk.work(&incoming);
            drop(lock);
        };
        let thread = thread::Builder::new()
            .name("dui-entries".into())
            .spawn(work)?;
        let writer = Self {
            jobs: Some(jobs),
            outcomes,
            thread: Some(thread),
        };
        Ok((writer, entries))
    }

    /// Asks for entries to be stored and removed. An [`Outcome`] follows.
    pub(crate) fn store(&self, batch: u64, entries: Vec<Entry>, removed: Vec<Entry>) {
        self.tell(Job::Store {
            batch,
            entries,
            removed,
        });
    }

    /// Gives a part of the contents for a checkpoint. An [`Outcome`] follows.
    pub(crate) fn copy(&self, entries: Vec<Entry>, last: bool) {
        self.tell(Job::Copy { entries, last });
    }

    /// What happened next.
    pub(crate) async fn outcome(&mut self) -> Option<Outcome> {
        self.outcomes.recv().await
    }

    /// What has happened already.
    pub(crate) fn try_outcome(&mut self) -> Option<Outcome> {
        self.outcomes.try_recv().ok()
    }

    /// Writes what is left and lets the directory go.
    pub(crate) async fn finish(mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was reported where it happened.
            let _ = tokio::task::spawn_blocking(|| thread.join()).await;
        }
    }

    fn tell(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // Fails only if the thread has panicked, which was reported: then
            // nothing is ever stored, and nothing acknowledged.
            let _ = jobs.send(job);
        }
    }
}

/// What the thread works with.
struct Desk {
    log: Log,
    path: String,
    outcomes: events::UnboundedSender<Outcome>,
    failing: bool,
    pace: Pace,
}

/// How many write at once, and how long a group waits for them.
#[derive(Debug, Default)]
struct Pace {
    /// Batches in the last group and in the one before.
    last: [usize; 2],
    sync: Duration,
}

impl Pace {
    /// No more than this is worth waiting for: those who were answered last
    /// and those who wrote meanwhile.
    fn batches_max(&self) -> usize {
        self.last.iter().sum()
    }

    /// When a group that was begun now is written at the latest.
    fn deadline(&self) -> Instant {
        const WAIT_MAX: Duration = Duration::from_millis(5);
        let alone = self.batches_max() <= 2;
        let wait = if alone { Duration::ZERO } else { self.sync / 4 };
        Instant::now() + wait.min(WAIT_MAX)
    }

    fn note(&mut self, batches: usize, sync: Duration) {
        self.last = [batches, self.last[0]];
        self.sync = sync;
    }
}

impl Desk {
    fn work(mut self, jobs: &mpsc::Receiver<Job>) {
        let mut group = Group::default();
        while let Ok(first) = jobs.recv() {
            let deadline = self.pace.deadline();
            let mut next = Some(first);
            while let Some(job) = next.take() {
                match job {
                    Job::Store {
                        batch,
                        entries,
                        removed,
                    } => {
                        let all = entries.iter().chain(&removed);
                        let bytes: usize = all.map(|entry| entry.as_bytes().len()).sum();
                        if group.record.len() + bytes > GROUP_BYTES {
                            self.write(&mut group);
                        }
                        for entry in &entries {
                            self.make_way(&mut group);
                            format::keep(&mut group.record, entry);
                        }
                        for entry in &removed {
                            self.make_way(&mut group);
                            format::remove(&mut group.record, entry);
                        }
                        group.batch = Some(batch);
                        group.batches += 1;
                    }
                    Job::Copy { entries, last } => {
                        self.write(&mut group);
                        self.copy(&entries, last);
                    }
                }
                next = jobs.try_recv().ok().or_else(|| {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let more = group.batches < self.pace.batches_max() && !left.is_zero();
                    more.then(|| jobs.recv_timeout(left).ok()).flatten()
                });
            }
            self.write(&mut group);
        }
        self.log.close();
    }

    /// A batch that does not fit into one record goes into several, and is
    /// durable with the last of them.
    fn make_way(&mut self, group: &mut Group) {
        if group.batch.is_none() && group.record.len() >= GROUP_BYTES {
            self.append(group);
        }
    }

    fn append(&mut self, group: &mut Group) {
        if !group.record.is_empty() && group.failed.is_none() {
            group.failed = self.log.append(&group.record).err();
        }
        group.record.clear();
    }

    /// Writes the group and tells how that went.
    fn write(&mut self, group: &mut Group) {
        let began = Instant::now();
        self.append(group);
        let Some(batch) = group.batch.take() else {
            return;
        };
        self.pace
            .note(std::mem::take(&mut group.batches), began.elapsed());
        let outcome = match group.failed.take() {
            None => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(target: "dui", event = "entries_stored", dir = self.path);
                }
                Outcome::Stored { batch }
            }
            Some(error) => {
                let reason = self.complain(&error);
                Outcome::Failed { batch, reason }
            }
        };
        self.tell(outcome);
        if self.log.wants_checkpoint() {
            match self.log.begin_checkpoint() {
                Ok(()) => self.tell(Outcome::Checkpoint),
                Err(error) => drop(self.complain(&error)),
            }
        }
    }

    fn copy(&mut self, entries: &[Entry], last: bool) {
        let mut record = Vec::new();
        for entry in entries {
            format::keep(&mut record, entry);
        }
        let copied = match record.is_empty() {
            true => Ok(()),
            false => self.log.add_to_checkpoint(&record),
        };
        let copied = match last {
            true => copied.and_then(|()| self.log.finish_checkpoint()),
            false => copied,
        };
        if let Err(error) = copied {
            self.complain(&error);
        }
        self.tell(Outcome::Copied);
    }

    /// The reason for people; in the log once until it works again.
    fn complain(&mut self, error: &io::Error) -> String {
        let remedy = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space",
            io::ErrorKind::ReadOnlyFilesystem => "mount it writable",
            _ => "look at the disk",
        };
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(
                target: "dui", event = "entries_not_stored", dir = self.path, %error, remedy,
            );
        }
        format!("{}: {error}; {remedy}", self.path)
    }

    fn tell(&self, outcome: Outcome) {
        // Nobody listens any more once the node ends.
        let _ = self.outcomes.send(outcome);
    }
}

/// What is written and synced at once.
#[derive(Debug, Default)]
struct Group {
    record: Vec<u8>,
    /// The last batch that ends in it.
    batch: Option<u64>,
    /// How many end in it.
    batches: usize,
    /// An earlier part of its batch failed.
    failed: Option<io::Error>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::entries::load;

    fn entry(key: &str, value: &[u8]) -> Entry {
        let version = dui_core::Version {
            timestamp: dui_core::Timestamp(1),
            origin: dui_core::NodeId(1),
        };
        Entry::value_of(key, version, value, None, None)
    }

    fn writer(dir: &std::path::Path) -> (Writer, Vec<Entry>) {
        let lock = Arc::new(File::create(dir.join("lock")).unwrap());
        Writer::start(load(dir).unwrap(), lock).unwrap()
    }

    #[tokio::test]
    async fn what_is_told_to_be_stored_is_there_after_a_restart_however_large() {
        let dir = tempfile::tempdir().unwrap();
        let (mut writer, _) = writer(dir.path());
        // The second batch does not fit into one record.
        let large: Vec<_> = (0..20)
            .map(|n| entry(&format!("large/{n:02}"), &vec![n; 1 << 20]))
            .collect();
        writer.store(1, vec![entry("a", b"1"), entry("gone", b"2")], vec![]);
        writer.store(2, large.clone(), vec![entry("gone", b"2")]);
        loop {
            match writer.outcome().await.unwrap() {
                Outcome::Stored { batch: 2 } => break,
                Outcome::Stored { batch: 1 } => {}
                other => panic!("{other:?}"),
            }
        }
        writer.finish().await;
        let (_, found) = self::writer(dir.path());
        assert_eq!(found.len(), 21);
        assert_eq!(found[0], entry("a", b"1"));
        assert!(found[1..] == large);
    }

    #[test]
    fn a_group_waits_for_as_many_as_write_and_never_for_a_single_one() {
        let sync = Duration::from_millis(4);
        let mut pace = Pace::default();
        pace.note(1, sync);
        pace.note(1, sync);
        assert!(pace.deadline() <= Instant::now());
        pace.note(30, sync);
        assert_eq!(pace.batches_max(), 31);
        let wait = pace.deadline().saturating_duration_since(Instant::now());
        assert!(wait <= sync / 4 && wait > Duration::ZERO, "{wait:?}");
    }
}
