//! Shared entries on disk: written in groups, read once at start.
//!
//! The core holds every entry in memory and answers all readers. The disk has
//! one task, to give them back after a crash, so what lies here is a log and
//! now and then a checkpoint of it, and no index.

mod format;
mod log;
mod segment;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use dui_core::Entry;
use dui_disk::{Directory, Wrong};

use crate::storage::StorageError;
use format::Loader;
use log::{Log, LogError};
pub(crate) use writer::{Outcome, Writer};

/// Beside the state of the node.
const DIRECTORY: &str = "entries";

/// Entries of a data directory, and where more are added.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) entries: Vec<Entry>,
    log: Log,
    path: PathBuf,
}

/// Reads what the data directory `dir`, which this process holds, has of entries.
///
/// # Errors
/// [`StorageError`], also for damage: entries are given back as they were
/// written or not at all.
pub(crate) fn load(dir: &Path) -> Result<Kept, StorageError> {
    let path = dir.join(DIRECTORY);
    let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
    made.map_err(|source| StorageError::of(dir, source))?;
    let mut loader = Loader::default();
    let opened = Log::open(Box::new(Directory(path.clone())), |record| {
        loader.take(record)
    });
    let (log, opened) = opened.map_err(|error| match error {
        LogError::Io(source) => StorageError::of(dir, source),
        LogError::Wrong { file, wrong } => {
            let file = path.join(file);
            match wrong {
                Wrong::Newer(found) => StorageError::Newer {
                    file,
                    found,
                    supported: segment::FORMAT.version,
                },
                Wrong::Damaged { offset, what } => StorageError::Entries { file, offset, what },
            }
        }
    })?;
    if let Some((file, bytes)) = opened.torn {
        tracing::warn!(
            target: "dui", event = "entries_cut", file = %path.join(file).display(), bytes,
            reason = "the node or its host ended while this was written; nobody was told that it is kept",
        );
    }
    let entries = loader.finish();
    Ok(Kept { entries, log, path })
}
