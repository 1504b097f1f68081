//! Writer: one thread that makes entries durable, as many at once as wait for it.
//!
//! Whatever came while a group was being synced is the next group: the slower
//! the disk, the larger the groups, and no write waits for more than two
//! syncs. A thread of its own, because a sync blocks, and the node has probes
//! to answer meanwhile.

use std::fs::File;
use std::io;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use dui_core::Entry;
use tokio::sync::mpsc as events;

use super::disk::Directory;
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
    log: Log<Directory>,
    path: String,
    outcomes: events::UnboundedSender<Outcome>,
    failing: bool,
}

impl Desk {
    fn work(mut self, jobs: &mpsc::Receiver<Job>) {
        let mut group = Group::default();
        while let Ok(first) = jobs.recv() {
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
                    }
                    Job::Copy { entries, last } => {
                        self.write(&mut group);
                        self.copy(&entries, last);
                    }
                }
                next = jobs.try_recv().ok();
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
        self.append(group);
        let Some(batch) = group.batch.take() else {
            return;
        };
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
    /// An earlier part of its batch failed.
    failed: Option<io::Error>,
}
