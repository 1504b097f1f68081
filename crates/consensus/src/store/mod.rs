//! Store: what a manager must not forget of a Raft group, its log and vote.
//!
//! Entries that are not in a snapshot yet are held in memory, and all readers
//! are answered from there. The disk has one task, to give them back after a
//! crash, so what lies there is one file of changes in their order, and no
//! index:
//!
//! ```text
//!   log-0000000007   what is held, sealed, and every change since
//!   snapshot         the machine, up to the entry that was purged last
//! ```
//!
//! One thread writes, and syncs everything that waits for it at once. Nothing
//! is acknowledged before it is synced. A store whose disk failed has failed
//! for good: after a sync that failed nobody knows what the disk has, and the
//! cache may well show what it has not. So the log is written anew whenever it
//! is opened, too, instead of going on behind bytes that may be in the cache
//! alone (Rebello et al., "Can Applications Recover from fsync Failures?",
//! USENIX ATC 2020).

mod file;
mod held;
mod log;
mod snapshots;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crate::patience::Patience;
use dui_disk::{Directory, Disk, ReadError, UNFINISHED, Wrong};
use held::{Change, Held};
pub use log::{LogStore, StoreMetrics};
pub use snapshots::Snapshots;
use writer::Writer;

/// Files up to so many bytes are not worth writing anew while in use.
const COMPACT_BYTES_MIN: u64 = 1 << 20;

/// What a group has on disk: opened, or made.
#[derive(Debug)]
pub struct Opened {
    /// Its log and vote.
    pub log: LogStore,
    /// The state of its machine.
    pub snapshots: Snapshots,
}

/// Why a group's store cannot be opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk failed, or refused.
    #[error("the managers' log cannot be opened: {}: {source}; {}", path.display(), remedy(source))]
    Io {
        /// What was opened, read or written.
        path: PathBuf,
        /// What came of it.
        source: io::Error,
    },
    /// Written by a newer dui.
    #[error("{} has format {found}, this dui reads up to {supported}: upgrade it", file.display())]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that we read.
        supported: u32,
    },
    /// Damaged. A copy from a backup is no remedy: a manager that forgot what
    /// it voted for votes twice.
    #[error(
        "{} is damaged at byte {offset} ({what}): look at the disk, then start this node with a \
         fresh data directory, as a new node, and forget the old one; do not restore the file \
         from a backup, as it would forget votes", file.display()
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// Where in it.
        offset: u64,
        /// What does not fit.
        what: &'static str,
    },
}

/// Opens the store of a group, or makes it. The directory is made if it is
/// missing, with mode 0700. The caller sees to it that nobody else has it open.
///
/// # Errors
/// [`StoreError`], also for damage: a log is given back as it was written, or
/// not at all.
pub fn open(dir: &Path) -> Result<Opened, StoreError> {
    let failed = |source| StoreError::Io {
        path: dir.to_owned(),
        source,
    };
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(failed)?;
    // A vote is not durable in a directory whose own name is not.
    if let Some(parent) = dir.canonicalize().map_err(failed)?.parent() {
        let parent = Directory(parent.to_owned());
        parent.sync_names().map_err(failed)?;
    }
    open_on(Arc::new(Directory(dir.to_owned())), dir, COMPACT_BYTES_MIN)
}

/// A store that is gone with the process. Its node never comes back under its
/// id, so it cannot forget anything.
pub fn in_memory() -> Opened {
    Opened {
        log: LogStore::in_memory(),
        snapshots: Snapshots::in_memory(),
    }
}

/// [`open`] on a disk of one's choice.
fn open_on(disk: Arc<dyn Disk>, dir: &Path, compact_bytes_min: u64) -> Result<Opened, StoreError> {
    let failed = |source| StoreError::Io {
        path: dir.to_owned(),
        source,
    };
    let names = disk.list().map_err(failed)?;
    let newest = names.iter().filter_map(|name| file::number_of(name)).max();
    let held = match newest {
        Some(number) => read_log(&*disk, dir, number)?,
        None if names.iter().any(|name| name == snapshots::NAME) => {
            // The log is there before any snapshot is.
            return Err(StoreError::Damaged {
                file: dir.join(snapshots::NAME),
                offset: 0,
                what: "the log that belongs to it is missing",
            });
        }
        None => Held::default(),
    };

    // Syncs the names of everything, too: what a crash left of a rename, and
    // what is about to be read, will not be another after the next one.
    let number = newest.unwrap_or(0) + 1;
    let prepare = || {
        let began = Instant::now();
        let prepared = writer::prepare(&*disk, number, &held).map_err(failed)?;
        // What is written with it is little.
        Ok((prepared, began.elapsed()))
    };
    let (mut prepared, mut sync) = prepare()?;
    if Patience::of(sync).is_stretched() {
        // It may have been busy for a moment, as machines are that start.
        let (again, second) = prepare()?;
        (prepared, sync) = (again, sync.min(second));
    }
    let appender = prepared.publish(&*disk).map_err(failed)?;
    for name in names {
        let stem = name.strip_suffix(UNFINISHED);
        let unfinished =
            stem.is_some_and(|stem| file::number_of(stem).is_some() || stem == snapshots::NAME);
        if unfinished || file::number_of(&name).is_some() {
            // Left for the next start if it cannot be removed now. Nor is the
            // one there that was just given its name: it is gone from the list.
            let _ = disk.remove(&name);
        }
    }

    let snapshots = Snapshots::on(Arc::clone(&disk), dir);
    let writer = Writer::new(disk, number, appender, compact_bytes_min);
    let log = LogStore::start(held, writer, dir, sync).map_err(failed)?;
    Ok(Opened { log, snapshots })
}

fn read_log(disk: &dyn Disk, dir: &Path, number: u64) -> Result<Held, StoreError> {
    let name = file::name_of(number);
    let path = dir.join(&name);
    let mut held = Held::default();
    let read = disk.read(&name).map_err(ReadError::Io).and_then(|reader| {
        file::read(reader, number, |body| {
            Change::decode_each(body, |change, bytes| held.apply(change, bytes))
        })
    });
    match read {
        Ok(0) => {}
        Ok(torn) => tracing::warn!(
            target: "dui", event = "managers_log_cut", file = %path.display(), bytes = torn,
            reason = "the node or its host ended while this was written; nobody was told that it is kept",
        ),
        Err(ReadError::Io(source)) => return Err(StoreError::Io { path, source }),
        Err(ReadError::Wrong(Wrong::Newer(found))) => {
            return Err(StoreError::Newer {
                file: path,
                found,
                supported: file::FORMAT.version,
            });
        }
        Err(ReadError::Wrong(Wrong::Damaged { offset, what })) => {
            return Err(StoreError::Damaged {
                file: path,
                offset,
                what,
            });
        }
    }
    Ok(held)
}

/// What to do about an error of the disk.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free some space",
        io::ErrorKind::ReadOnlyFilesystem => "mount it writable",
        io::ErrorKind::PermissionDenied => "change its owner or its mode",
        _ => "look at the disk",
    }
}
