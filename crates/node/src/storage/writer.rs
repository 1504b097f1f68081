//! Writer: keeps the disk off the driver's way.
//!
//! The latest record wins, one write is in flight at most, and lazy ones wait
//! until five seconds after the one before. An urgent one is written at once
//! and waited for: what the core emits after it must not be seen by anybody
//! before it is durable. A write that fails is reported once, retried every
//! ten seconds, and the node goes on.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use dui_core::{NodeId, Record};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::{State, Store};

const LAZY_INTERVAL: Duration = Duration::from_secs(5);
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// A record and its number, from 1; both latest.
type Job = Option<(u64, Record)>;

/// Hands records to the task that writes them.
#[derive(Debug)]
pub(crate) struct Writer {
    jobs: watch::Sender<Job>,
    /// The number of the last record that a write was tried for.
    tried: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Writer {
    /// Starts the task on the current runtime.
    pub(crate) fn start(store: Store, state: &State) -> Self {
        let (jobs, incoming) = watch::channel(None);
        let (outgoing, tried) = watch::channel(0);
        let disk = Disk {
            store: Arc::new(store),
            id: state.id,
            founding: state.founding,
            failing: false,
        };
        let task = tokio::spawn(write_jobs(disk, incoming, outgoing));
        Self { jobs, tried, task }
    }

    /// Remembers `record`. Returns at once, or, if it is urgent, when it is
    /// durable or its write has failed.
    pub(crate) async fn write(&mut self, record: Record) {
        let urgent = record.urgent;
        let mut number = 0;
        self.jobs.send_modify(|job| {
            number = job.as_ref().map_or(0, |(last, _)| *last) + 1;
            *job = Some((number, record));
        });
        if urgent {
            // Fails only if the task is gone, and with it any hope to write.
            let _ = self.tried.wait_for(|tried| *tried >= number).await;
        }
    }

    /// Writes what is left and lets the directory go.
    pub(crate) async fn finish(self) {
        drop(self.jobs);
        // A panic of the task was reported where it happened.
        let _ = self.task.await;
    }
}

async fn write_jobs(mut disk: Disk, mut jobs: watch::Receiver<Job>, tried: watch::Sender<u64>) {
    let mut not_before = Instant::now();
    let mut pending: Job = None;
    loop {
        let more = tokio::select! {
            changed = jobs.changed() => {
                // The last record shows as a change before the end does.
                if changed.is_ok() {
                    pending = jobs.borrow_and_update().clone();
                }
                changed.is_ok()
            }
            () = sleep_until(not_before), if pending.is_some() => true,
        };
        let due = |record: &Record| record.urgent || disk.failing || Instant::now() >= not_before;
        if let Some((number, record)) = &pending
            && (!more || due(record))
        {
            let written = disk.write(record).await;
            tried.send_replace(*number);
            let wait = if written {
                LAZY_INTERVAL
            } else {
                RETRY_INTERVAL
            };
            not_before = Instant::now() + wait;
            if written {
                pending = None;
            }
        }
        if !more {
            return;
        }
    }
}

/// The directory, and whether its last write failed.
struct Disk {
    store: Arc<Store>,
    id: NodeId,
    founding: bool,
    failing: bool,
}

impl Disk {
    async fn write(&mut self, record: &Record) -> bool {
        let state = State {
            id: self.id,
            incarnation: record.incarnation,
            founding: self.founding,
            known: record.known.clone(),
            forgotten: record.forgotten.clone(),
            contacts: record.contacts.clone(),
        };
        let store = self.store.clone();
        let result = tokio::task::spawn_blocking(move || store.save(&state))
            .await
            .unwrap_or_else(|gone| Err(io::Error::other(gone)));
        match (&result, self.failing) {
            (Err(error), false) => tracing::warn!(
                target: "dui", event = "storage_failed", dir = %self.store.dir.display(), %error,
                remedy = "free some space or mount it writable: retried every 10 s",
            ),
            (Ok(()), true) => tracing::info!(
                target: "dui", event = "storage_recovered", dir = %self.store.dir.display(),
            ),
            _ => {}
        }
        self.failing = result.is_err();
        result.is_ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::symlink;
    use std::path::Path;

    use dui_core::Incarnation;

    use super::*;
    use crate::storage::{TEMPORARY_FILE, format};

    const ID: NodeId = NodeId(7);

    fn record(incarnation: u64, urgent: bool) -> Record {
        Record {
            incarnation: Incarnation(incarnation),
            known: vec![],
            forgotten: vec![],
            contacts: vec![],
            urgent,
        }
    }

    fn on_disk(dir: &Path) -> Option<u64> {
        let bytes = std::fs::read(dir.join(super::super::STATE_FILE)).ok()?;
        Some(format::decode(&bytes).unwrap().incarnation.0)
    }

    fn writer(dir: &Path) -> Writer {
        let state = State {
            id: ID,
            incarnation: Incarnation(0),
            founding: false,
            known: vec![],
            forgotten: vec![],
            contacts: vec![],
        };
        Writer::start(Store::open(dir).unwrap().0, &state)
    }

    #[tokio::test]
    async fn an_urgent_record_is_durable_on_return() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        for incarnation in 1..4 {
            writer.write(record(incarnation, true)).await;
            assert_eq!(on_disk(dir.path()), Some(incarnation));
        }
    }

    #[tokio::test]
    async fn of_lazy_records_the_latest_is_written_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        for incarnation in 1..=100 {
            writer.write(record(incarnation, false)).await;
        }
        writer.finish().await;
        assert_eq!(on_disk(dir.path()), Some(100));
        Store::open(dir.path()).expect("the directory was let go");
    }

    #[tokio::test]
    async fn a_full_disk_delays_a_record_and_loses_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut writer = writer(dir.path());
        symlink("/dev/full", dir.path().join(TEMPORARY_FILE)).unwrap();
        writer.write(record(1, true)).await;
        assert_eq!(on_disk(dir.path()), None);
        // The failed write took the obstacle away; the end tries once more.
        writer.finish().await;
        assert_eq!(on_disk(dir.path()), Some(1));
    }
}
