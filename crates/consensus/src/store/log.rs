//! Log: what openraft calls to read and to change a group's log and vote.
//!
//! A change is visible to readers at once and queued for the disk under the
//! same lock, so the queue has what the memory has, in the same order. Whoever
//! has to wait for the disk gives a callback, which the writer calls.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::mem;
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use dui_disk::BODY_BYTES_MAX;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::type_config::TypeConfigExt;
use openraft::{OptionalSend, RaftTypeConfig};

use super::held::{Change, Held};
use super::remedy;
use super::writer::Writer;
use crate::types::{Entry, LogId, Types, Vote};

/// A frame is closed when it has this many bytes.
const FRAME_BYTES: usize = 4 << 20;

/// No change is larger: it fits into a frame with the mark of what is
/// committed.
const CHANGE_BYTES_MAX: usize = BODY_BYTES_MAX - 1024;

/// Syncs whose time is remembered.
const RECENT_SYNCS: usize = 512;

/// A group's log and vote. Clones are handles of the same store; the last one
/// that is dropped ends it, as [`Self::close`] does.
#[derive(Clone, Debug)]
pub struct LogStore(Arc<Owner>);

/// How a store is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreMetrics {
    /// Log records (Raft entries) that were made durable, in this process.
    pub records_appended: u64,
    /// Bytes written for them and all other changes.
    pub appended_bytes: u64,
    /// Syncs of the log.
    pub fsyncs: u64,
    /// The time that they took together.
    pub fsync_time_sum: Duration,
    /// The time that 99 of 100 of the last 512 stayed below.
    pub fsync_time_p99: Duration,
    /// The time that the latest took; at first, of the one at opening.
    pub fsync_time_last: Duration,
    /// Why the store does not work any more.
    pub failed: Option<String>,
}

/// Ends the writer when the last handle is gone.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    /// `None` in memory, and when it has ended.
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the handles and the writer share.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Told when the writer has something to do.
    work: Condvar,
    /// For people.
    place: String,
    /// Without a disk, everything is kept as soon as it is held.
    durable: bool,
}

#[derive(Debug, Default)]
struct State {
    held: Held,
    queue: Vec<Frame>,
    /// What is committed has changed since it was queued last. It is written
    /// along with the next frame: a commit costs no sync of its own.
    committed_changed: bool,
    closing: bool,
    failed: Option<Failure>,
    counts: Counts,
}

/// What is written and synced at once.
#[derive(Default)]
pub(super) struct Frame {
    /// Changes; none if there is only somebody who waits.
    pub(super) body: Vec<u8>,
    /// Entries in it.
    pub(super) records: u64,
    pub(super) waiting: Vec<IOFlushed<Types>>,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("bytes", &self.body.len())
            .field("records", &self.records)
            .field("waiting", &self.waiting.len())
            .finish()
    }
}

/// Why nothing works any more, for everybody who asks.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    kind: io::ErrorKind,
    reason: String,
}

impl Failure {
    pub(super) fn error(&self) -> io::Error {
        io::Error::new(self.kind, self.reason.clone())
    }
}

#[derive(Debug, Default)]
struct Counts {
    records: u64,
    bytes: u64,
    syncs: u64,
    sync_time: Duration,
    last_sync: Duration,
    recent: VecDeque<Duration>,
}

/// What the writer is to do next.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) frames: Vec<Frame>,
    /// Everything that is held once the frames are written, where the file
    /// has outgrown it.
    pub(super) outgrown: Option<Held>,
    /// Nothing follows.
    pub(super) last: bool,
}

impl LogStore {
    pub(super) fn in_memory() -> Self {
        Self::of(Shared {
            state: Mutex::default(),
            work: Condvar::new(),
            place: "memory".into(),
            durable: false,
        })
    }

    /// Starts the thread that writes. `sync`: how long the disk took just now.
    pub(super) fn start(
        held: Held,
        writer: Writer,
        dir: &Path,
        sync: Duration,
    ) -> io::Result<Self> {
        let log = Self::of(Shared {
            state: Mutex::new(State {
                held,
                counts: Counts {
                    last_sync: sync,
                    ..Counts::default()
                },
                ..State::default()
            }),
            work: Condvar::new(),
            place: dir.display().to_string(),
            durable: true,
        });
        let shared = Arc::clone(&log.0.shared);
        let thread = thread::Builder::new()
            .name("dui-raft-log".into())
            .spawn(move || writer.work(&shared))?;
        *lock(&log.0.thread) = Some(thread);
        Ok(log)
    }

    fn of(shared: Shared) -> Self {
        Self(Arc::new(Owner {
            shared: Arc::new(shared),
            thread: Mutex::new(None),
        }))
    }

    /// How the store is doing.
    pub fn metrics(&self) -> StoreMetrics {
        self.0.shared.metrics()
    }

    /// Writes what is queued, and waits until that is done: about two syncs.
    /// Whoever changes anything from now on is refused; reading goes on.
    pub fn close(&self) {
        self.0.close();
    }

    /// Takes the changes and returns when they are durable.
    async fn make_durable(&self, change: Change) -> io::Result<()> {
        let (done, is_done) = Types::oneshot();
        self.0
            .shared
            .change(vec![change], IOFlushed::signal(done))?;
        match is_done.await {
            Ok(result) => result,
            // Only a writer that panics drops it.
            Err(_) => Err(io::Error::other("the writer of the managers' log is gone")),
        }
    }
}

impl Owner {
    fn close(&self) {
        lock(&self.shared.state).closing = true;
        self.shared.work.notify_one();
        // Held while joining: whoever closes it as well waits, too.
        let mut thread = lock(&self.thread);
        if let Some(thread) = thread.take() {
            // A panic of the thread was reported where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.close();
    }
}

// --- for openraft ---

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + fmt::Debug + OptionalSend,
    {
        // Copied without the lock.
        let entries = self.0.shared.read(|held| held.entries(range))?;
        Ok(entries.iter().map(|entry| (**entry).clone()).collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.0.shared.read(Held::vote)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        self.0.shared.read(|held| LogState {
            last_purged_log_id: held.purged(),
            last_log_id: held.last(),
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.make_durable(Change::Vote(*vote)).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.0.shared.note_committed(committed)
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        self.0.shared.read(Held::committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = <Types as RaftTypeConfig>::Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().map(Arc::new).map(Change::Append);
        self.0.shared.change(entries.collect(), callback)
    }

    /// Waits for the disk, so that nobody is told of what replaces the
    /// truncated entries while these may still come back.
    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        let index = last_log_id.map(|id| id.index);
        self.make_durable(Change::TruncateAfter(index)).await
    }

    /// Does not wait for the disk: entries that come back after a crash are in
    /// the snapshot as well.
    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        self.0
            .shared
            .change(vec![Change::Purge(log_id)], IOFlushed::noop())
    }
}

// --- the handles' side ---

impl Shared {
    fn read<T>(&self, look: impl FnOnce(&Held) -> T) -> io::Result<T> {
        let state = lock(&self.state);
        match &state.failed {
            // What is held may not be on the disk, and never will be.
            Some(failure) => Err(failure.error()),
            None => Ok(look(&state.held)),
        }
    }

    fn note_committed(&self, committed: Option<LogId>) -> io::Result<()> {
        let mut state = lock(&self.state);
        state.writable()?;
        state.committed_changed = true;
        state.held.take(Change::Committed(committed), 0)
    }

    /// Applies the changes and queues them. Either all of them are taken and
    /// the callback will be called, or none, and it was.
    fn change(&self, changes: Vec<Change>, callback: IOFlushed<Types>) -> io::Result<()> {
        match self.take(changes) {
            Ok(mut state) if self.durable => {
                state.last_frame().waiting.push(callback);
                drop(state);
                self.work.notify_one();
                Ok(())
            }
            Ok(state) => {
                drop(state);
                callback.io_completed(Ok(()));
                Ok(())
            }
            Err(error) => {
                let copy = io::Error::new(error.kind(), error.to_string());
                callback.io_completed(Err(copy));
                Err(error)
            }
        }
    }

    fn take(&self, changes: Vec<Change>) -> io::Result<MutexGuard<'_, State>> {
        let mut bytes = Vec::new();
        let mut lengths = Vec::with_capacity(changes.len());
        for change in &changes {
            let before = bytes.len();
            change.encode(&mut bytes);
            let length = bytes.len() - before;
            if length > CHANGE_BYTES_MAX {
                let reason =
                    format!("an entry of {length} bytes; the log takes up to {CHANGE_BYTES_MAX}");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
            }
            lengths.push(length);
        }

        let mut state = lock(&self.state);
        state.writable()?;
        state.held.check(&changes)?;
        let mut rest = bytes.as_slice();
        for (change, length) in changes.into_iter().zip(lengths) {
            let is_record = matches!(change, Change::Append(_));
            state.held.take(change, length)?;
            let (bytes, behind) = rest.split_at(length);
            rest = behind;
            if self.durable {
                state.frame_for(length).body.extend_from_slice(bytes);
                state.last_frame().records += u64::from(is_record);
            } else {
                state.counts.records += u64::from(is_record);
            }
        }
        Ok(state)
    }

    fn metrics(&self) -> StoreMetrics {
        let state = lock(&self.state);
        let counts = &state.counts;
        let mut recent: Vec<_> = counts.recent.iter().copied().collect();
        recent.sort_unstable();
        let p99 = (recent.len() * 99).div_ceil(100).checked_sub(1);
        StoreMetrics {
            records_appended: counts.records,
            appended_bytes: counts.bytes,
            fsyncs: counts.syncs,
            fsync_time_sum: counts.sync_time,
            fsync_time_p99: p99.map_or(Duration::ZERO, |at| recent[at]),
            fsync_time_last: counts.last_sync,
            failed: state.failed.as_ref().map(|failure| failure.reason.clone()),
        }
    }
}

impl State {
    fn writable(&self) -> io::Result<()> {
        match &self.failed {
            Some(failure) => Err(failure.error()),
            None if self.closing => Err(io::Error::other("the managers' log is closed")),
            None => Ok(()),
        }
    }

    fn last_frame(&mut self) -> &mut Frame {
        if self.queue.is_empty() {
            self.queue.push(Frame::default());
        }
        let last = self.queue.len() - 1;
        &mut self.queue[last]
    }

    /// The frame that takes so many bytes more.
    fn frame_for(&mut self, bytes: usize) -> &mut Frame {
        let used = self.last_frame().body.len();
        if used > 0 && used + bytes > FRAME_BYTES {
            self.queue.push(Frame::default());
        }
        self.last_frame()
    }
}

impl Held {
    fn take(&mut self, change: Change, bytes: usize) -> io::Result<()> {
        self.apply(change, bytes).map_err(refused)
    }

    /// Whether the changes can be applied. Only entries can be wrong, and they
    /// come alone.
    fn check(&self, changes: &[Change]) -> io::Result<()> {
        let mut before = None;
        for change in changes {
            let Change::Append(entry) = change else {
                continue;
            };
            let index = entry.log_id.index;
            match before {
                None => self.fits(index).map_err(refused)?,
                Some(before) if index.checked_sub(1) != Some(before) => {
                    return Err(refused("entries that leave a hole"));
                }
                Some(_) => {}
            }
            before = Some(index);
        }
        Ok(())
    }
}

fn refused(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

// --- the writer's side ---

impl Shared {
    /// Waits for something to do. `outgrown` tells whether the file is too
    /// large, given what is live of it.
    pub(super) fn wait(&self, outgrown: impl Fn(u64) -> bool) -> Work {
        let state = lock(&self.state);
        let idle = |state: &mut State| state.queue.is_empty() && !state.closing;
        let waited = self.work.wait_while(state, idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);

        let last = state.closing;
        if last {
            // A frame of its own seals the one before: should that be damaged
            // later on, it cannot be taken for one that a crash cut short.
            state.queue.push(Frame::default());
        }
        if mem::take(&mut state.committed_changed) || last {
            let committed = Change::Committed(state.held.committed());
            committed.encode(&mut state.last_frame().body);
        }
        let outgrown = outgrown(state.held.live_bytes()).then(|| state.held.clone());
        Work {
            frames: mem::take(&mut state.queue),
            outgrown,
            last,
        }
    }

    /// Notes a frame that is durable now.
    pub(super) fn note_written(&self, records: u64, bytes: u64, sync: Option<Duration>) {
        let mut state = lock(&self.state);
        let counts = &mut state.counts;
        counts.records += records;
        counts.bytes += bytes;
        if let Some(sync) = sync {
            counts.syncs += 1;
            counts.sync_time += sync;
            counts.last_sync = sync;
            counts.recent.truncate(RECENT_SYNCS - 1);
            counts.recent.push_front(sync);
        }
    }

    /// From now on nothing works.
    pub(super) fn fail(&self, what: &str, error: &io::Error) -> Failure {
        let remedy = remedy(error);
        tracing::warn!(
            target: "dui", event = "managers_log_failed", dir = self.place, what, %error, remedy,
        );
        let failure = Failure {
            kind: error.kind(),
            reason: format!("{}: {what}: {error}; {remedy}", self.place),
        };
        let mut state = lock(&self.state);
        let queued = mem::take(&mut state.queue);
        state.failed = Some(failure.clone());
        drop(state);
        for frame in queued {
            frame.complete(Some(&failure));
        }
        failure
    }
}

impl Frame {
    /// Tells everybody who waits for it.
    pub(super) fn complete(self, failure: Option<&Failure>) {
        for callback in self.waiting {
            callback.io_completed(failure.map_or(Ok(()), |failure| Err(failure.error())));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done with it held panics halfway; a poisoned one was
    // left by a panic elsewhere in the same thread.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
