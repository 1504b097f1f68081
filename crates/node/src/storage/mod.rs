//! Storage: what a node remembers across restarts, in a directory that it alone uses.
//!
//! One small file, replaced as a whole (write beside it, sync, rename, sync
//! the directory), so that a kill or a full disk at any moment leaves the old
//! state or the new one. A locked file beside it keeps a second node out: two
//! nodes with one id would accuse each other.

mod format;
mod writer;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dui_core::{Incarnation, Known, NodeId};

use format::FormatError;
pub(crate) use writer::Writer;

const STATE_FILE: &str = "node.state";
/// What a file is called while it is being written.
const UNFINISHED: &str = ".new";
#[cfg(test)]
const TEMPORARY_FILE: &str = "node.state.new";
const LOCK_FILE: &str = "lock";

/// No state is larger: 1,024 peers and 10,000 forgotten ids take half a MiB.
const STATE_BYTES_MAX: u64 = 16 << 20;

/// What survives a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// The node that the directory belongs to.
    pub(crate) id: NodeId,
    /// The highest incarnation that it may have told anybody.
    pub(crate) incarnation: Incarnation,
    /// It has promised something in writing, which has to be there.
    pub(crate) founding: bool,
    /// Recent peers, latest first.
    pub(crate) known: Vec<Known>,
    /// Ids that an operator removed for good.
    pub(crate) forgotten: Vec<NodeId>,
    /// When shared entries were exchanged with whom.
    pub(crate) contacts: Vec<(NodeId, u64)>,
}

/// Why a data directory cannot be used. It was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// Another node uses it.
    #[error(
        "data directory {} is in use by {}: stop it, or give this node a directory of its own",
        dir.display(), pid.map_or("another process".into(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The directory.
        dir: PathBuf,
        /// The node that holds it, if its process could be read.
        pid: Option<u32>,
    },
    /// Mounted read-only.
    #[error(
        "data directory {} is read-only: mount it writable, or run without --data-dir", dir.display()
    )]
    ReadOnly {
        /// The directory.
        dir: PathBuf,
    },
    /// No space, or no quota.
    #[error(
        "data directory {} is full: free some space (a node needs 1 MiB), or choose another",
        dir.display()
    )]
    Full {
        /// The directory.
        dir: PathBuf,
    },
    /// Not ours.
    #[error(
        "this user may not use data directory {}: change its owner or its mode, or choose another",
        dir.display()
    )]
    Forbidden {
        /// The directory.
        dir: PathBuf,
    },
    /// Written by a newer dui.
    #[error(
        "{} has format {found}, this dui reads up to {supported}: upgrade it, or choose another \
         data directory", file.display()
    )]
    Newer {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that we read.
        supported: u32,
    },
    /// Damaged.
    #[error(
        "{} is damaged ({what}): restore it from a backup, or delete it to join as a new node",
        file.display()
    )]
    Corrupt {
        /// The file.
        file: PathBuf,
        /// What does not fit.
        what: String,
    },
    /// Damaged entries.
    #[error(
        "{} is damaged at byte {offset} ({what}): restore the data directory from a backup, or move \
         its directory entries away, and the node takes all entries from its peers; what it alone \
         held is lost", file.display()
    )]
    Entries {
        /// The file.
        file: PathBuf,
        /// Where it begins.
        offset: u64,
        /// What does not fit.
        what: &'static str,
    },
    /// Anything else.
    #[error("cannot use data directory {}: {source}; choose another with --data-dir", dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A data directory that this process holds.
#[derive(Debug)]
pub(crate) struct Store {
    dir: PathBuf,
    /// Unlocked by the kernel when nobody holds it any more, and when this
    /// process ends, however it ends.
    lock: Arc<File>,
}

impl Store {
    /// Takes the directory, made if it does not exist, and reads what is there;
    /// `None` in a fresh one.
    ///
    /// # Errors
    /// Every [`StorageError`]. Whether it can be written shows in [`Self::save`].
    pub(crate) fn open(dir: &Path) -> Result<(Self, Option<State>), StorageError> {
        let failed = |source| StorageError::of(dir, source);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(failed)?;
        let lock = lock(dir)?;
        let store = Self {
            dir: dir.to_owned(),
            lock: Arc::new(lock),
        };
        let state = read(dir)?;
        Ok((store, state))
    }

    /// Where it is.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What keeps others out as long as it is held.
    pub(crate) fn lock(&self) -> Arc<File> {
        self.lock.clone()
    }

    /// Replaces what is kept; durable on return.
    ///
    /// # Errors
    /// Of the file system. The state kept before is kept then.
    pub(crate) fn save(&self, state: &State) -> io::Result<()> {
        replace(&self.dir, STATE_FILE, &format::encode(state))
    }

    /// [`Self::save`] at start, where a failure has a remedy.
    ///
    /// # Errors
    /// As [`Self::save`].
    pub(crate) fn save_at_start(&self, state: &State) -> Result<(), StorageError> {
        self.save(state)
            .map_err(|source| StorageError::of(&self.dir, source))
    }
}

/// Replaces a file as a whole; durable on return.
///
/// # Errors
/// Of the file system. What was there before is there then.
pub(crate) fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = dir.join(format!("{name}{UNFINISHED}"));
    let written = (|| {
        let mut file = private().truncate(true).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, dir.join(name))?;
        File::open(dir)?.sync_all()
    })();
    if written.is_err() {
        // A full disk gets back what half a file took.
        let _ = fs::remove_file(&temporary);
    }
    written
}

impl StorageError {
    pub(crate) fn of(dir: &Path, source: io::Error) -> Self {
        let dir = dir.to_owned();
        match source.kind() {
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { dir },
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { dir },
            io::ErrorKind::PermissionDenied => Self::Forbidden { dir },
            _ => Self::Io { dir, source },
        }
    }
}

/// What a directory keeps; `None` in a fresh one.
fn read(dir: &Path) -> Result<Option<State>, StorageError> {
    let file = dir.join(STATE_FILE);
    // Opening a pipe would wait for its other end, for ever.
    if fs::metadata(&file).is_ok_and(|found| !found.is_file()) {
        let what = "not a file".into();
        return Err(StorageError::Corrupt { file, what });
    }
    let mut bytes = Vec::new();
    let read =
        File::open(&file).and_then(|opened| opened.take(STATE_BYTES_MAX).read_to_end(&mut bytes));
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(StorageError::of(dir, source)),
    }
    format::decode(&bytes)
        .map(Some)
        .map_err(|error| match error {
            FormatError::Newer { found } => StorageError::Newer {
                file,
                found,
                supported: format::VERSION,
            },
            FormatError::Damaged(what) => StorageError::Corrupt { file, what },
        })
}

/// Where the peers of a directory were last, latest first; nothing of one that
/// cannot be read: whoever opens it is told why.
pub(crate) fn peers_of(dir: &Path) -> Vec<SocketAddr> {
    let kept = read(dir).ok().flatten();
    let known = kept.map(|state| state.known).unwrap_or_default();
    known.into_iter().map(|peer| peer.address).collect()
}

/// Takes the lock and leaves our process id in it for whoever comes second.
fn lock(dir: &Path) -> Result<File, StorageError> {
    let failed = |source| StorageError::of(dir, source);
    let mut file = private()
        .read(true)
        .open(dir.join(LOCK_FILE))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let pid = match file.read_to_string(&mut text) {
                Ok(_) => text.trim().parse().ok(),
                Err(_) => None,
            };
            return Err(StorageError::Locked {
                dir: dir.to_owned(),
                pid,
            });
        }
        Err(TryLockError::Error(source)) => return Err(failed(source)),
    }
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(failed)?;
    Ok(file)
}

/// Ids and addresses of a cluster are nobody else's business.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn state() -> State {
        State {
            id: NodeId(7),
            incarnation: Incarnation(1_000),
            founding: true,
            known: vec![Known {
                id: NodeId(8),
                address: "127.0.0.1:7782".parse().unwrap(),
            }],
            forgotten: vec![NodeId(9)],
            contacts: Vec::new(),
        }
    }

    #[test]
    fn a_fresh_directory_remembers_what_it_was_told() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("deep/inside");
        let (store, nothing) = Store::open(&dir).unwrap();
        assert_eq!(nothing, None);
        store.save(&state()).unwrap();
        drop(store);
        assert_eq!(Store::open(&dir).unwrap().1, Some(state()));
    }

    #[test]
    fn directory_and_file_are_private() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("data");
        let (store, _) = Store::open(&dir).unwrap();
        store.save(&state()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(mode(&dir.join(STATE_FILE)), 0o600);
    }

    #[test]
    fn a_second_node_is_kept_out_and_learns_who_is_in() {
        let base = tempfile::tempdir().unwrap();
        let held = Store::open(base.path()).unwrap();
        let error = Store::open(base.path()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("process {}", std::process::id())),
            "{error}"
        );
        drop(held);
        Store::open(base.path()).unwrap();
    }

    #[test]
    fn known_peers_are_read_while_a_node_holds_the_directory_and_none_of_a_damaged_one() {
        let base = tempfile::tempdir().unwrap();
        assert_eq!(peers_of(&base.path().join("missing")), []);
        let (store, _) = Store::open(base.path()).unwrap();
        store.save(&state()).unwrap();
        assert_eq!(peers_of(base.path()), ["127.0.0.1:7782".parse().unwrap()]);
        fs::write(base.path().join(STATE_FILE), "junk").unwrap();
        assert_eq!(peers_of(base.path()), []);
    }

    #[test]
    fn a_full_disk_keeps_what_was_there() {
        let base = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(base.path()).unwrap();
        store.save(&state()).unwrap();
        symlink("/dev/full", base.path().join(TEMPORARY_FILE)).unwrap();
        let newer = State {
            incarnation: Incarnation(2_000),
            ..state()
        };
        let error = store.save_at_start(&newer).unwrap_err();
        assert!(matches!(error, StorageError::Full { .. }), "{error}");
        drop(store);
        let (store, kept) = Store::open(base.path()).unwrap();
        assert_eq!(kept, Some(state()));
        store
            .save(&newer)
            .expect("the half-written file is out of the way");
    }

    #[test]
    fn a_state_that_is_no_file_is_refused_instead_of_waited_for() {
        let base = tempfile::tempdir().unwrap();
        let state = base.path().join(STATE_FILE);
        nix::unistd::mkfifo(&state, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = Store::open(base.path()).unwrap_err();
        assert!(error.to_string().contains("not a file"), "{error}");
    }

    #[test]
    fn what_is_no_directory_is_refused_with_its_name() {
        let base = tempfile::tempdir().unwrap();
        let file = base.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Store::open(&file).unwrap_err();
        assert!(
            error.to_string().contains(&file.display().to_string()),
            "{error}"
        );
    }

    #[test]
    fn damage_is_told_apart_from_a_newer_version() {
        let base = tempfile::tempdir().unwrap();
        let path = base.path().join(STATE_FILE);
        let (store, _) = Store::open(base.path()).unwrap();
        store.save(&state()).unwrap();
        let good = fs::read(&path).unwrap();
        drop(store);

        fs::write(&path, &good[..good.len() - 3]).unwrap();
        let error = Store::open(base.path()).unwrap_err();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("delete it"), "{error}");

        let newer = String::from_utf8(good)
            .unwrap()
            .replacen("dui-node 1 ", "dui-node 7 ", 1);
        fs::write(&path, newer).unwrap();
        let error = Store::open(base.path()).unwrap_err();
        assert!(
            matches!(error, StorageError::Newer { found: 7, .. }),
            "{error}"
        );
    }
}
