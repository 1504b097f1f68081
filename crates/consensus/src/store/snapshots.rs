//! Snapshots: the latest state of a group's machine, as one checked file.
//!
//! ```text
//!   magic 8 · version 4 · zeros 4 · length 8 · check 32 (BLAKE3 of all else) · body
//! ```
//!
//! What the bytes mean is up to the machine. A snapshot takes the place of the
//! one before when it is whole and synced, so there is always one or the other.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use dui_disk::{Disk, put};

use super::StoreError;

pub(super) const NAME: &str = "snapshot";
const MAGIC: &[u8; 8] = b"duisnap\0";
const VERSION: u32 = 1;
const CHECK: std::ops::Range<usize> = 24..56;

/// Where the latest snapshot of a group is kept. Clones are the same place.
#[derive(Clone, Debug)]
pub struct Snapshots(Arc<Place>);

#[derive(Debug)]
enum Place {
    Disk {
        disk: Arc<dyn Disk>,
        dir: PathBuf,
        /// Held by whoever saves: two would write into the same file.
        saving: Mutex<()>,
    },
    Memory(Mutex<Option<Vec<u8>>>),
}

impl Snapshots {
    pub(super) fn on(disk: Arc<dyn Disk>, dir: &Path) -> Self {
        Self(Arc::new(Place::Disk {
            disk,
            dir: dir.to_owned(),
            saving: Mutex::new(()),
        }))
    }

    pub(super) fn in_memory() -> Self {
        Self(Arc::new(Place::Memory(Mutex::new(None))))
    }

    /// The latest one that was saved, if any was.
    ///
    /// # Errors
    /// [`StoreError`]: it is there and cannot be read. Nothing was changed.
    pub fn load(&self) -> Result<Option<Vec<u8>>, StoreError> {
        match &*self.0 {
            Place::Memory(kept) => Ok(lock(kept).clone()),
            Place::Disk { disk, dir, .. } => {
                let file = || dir.join(NAME);
                let read = disk.read(NAME).and_then(|mut reader| {
                    let mut bytes = Vec::new();
                    reader.read_to_end(&mut bytes).map(|_| bytes)
                });
                match read {
                    Ok(bytes) => decode(bytes, file).map(Some),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                    Err(source) => Err(StoreError::Io {
                        path: file(),
                        source,
                    }),
                }
            }
        }
    }

    /// What to say of one that is as it was saved, and yet cannot be read.
    pub(crate) fn damaged(&self, what: &'static str) -> StoreError {
        let file = match &*self.0 {
            Place::Memory(_) => PathBuf::from(NAME),
            Place::Disk { dir, .. } => dir.join(NAME),
        };
        StoreError::Damaged {
            file,
            offset: CHECK.end as u64,
            what,
        }
    }

    /// Takes these bytes in place of those before; durable on return.
    ///
    /// # Errors
    /// Of the disk. Then it is these bytes or those before, and whole.
    pub fn save(&self, bytes: &[u8]) -> io::Result<()> {
        match &*self.0 {
            Place::Memory(kept) => *lock(kept) = Some(bytes.to_vec()),
            Place::Disk { disk, saving, .. } => {
                let _alone = lock(saving);
                put(&**disk, NAME, &encode(bytes))?;
            }
        }
        Ok(())
    }
}

fn encode(body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; CHECK.end];
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&(body.len() as u64).to_le_bytes());
    bytes.extend_from_slice(body);
    let check = check(&bytes);
    bytes[CHECK].copy_from_slice(check.as_bytes());
    bytes
}

fn decode(mut bytes: Vec<u8>, file: impl Fn() -> PathBuf) -> Result<Vec<u8>, StoreError> {
    let damaged = |what| {
        Err(StoreError::Damaged {
            file: file(),
            offset: 0,
            what,
        })
    };
    if bytes.len() < CHECK.end {
        return damaged("too short for a snapshot");
    }
    if &bytes[..8] != MAGIC {
        return damaged("not a snapshot of managers");
    }
    if *check(&bytes).as_bytes() != bytes[CHECK] {
        return damaged("its checksum is wrong");
    }
    let version = bytes[8..12].try_into().map_or(0, u32::from_le_bytes);
    if version > VERSION {
        return Err(StoreError::Newer {
            file: file(),
            found: version,
            supported: VERSION,
        });
    }
    bytes.drain(..CHECK.end);
    Ok(bytes)
}

/// Of everything but the place where the check itself stands.
fn check(bytes: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..CHECK.start]);
    hasher.update(&bytes[CHECK.end..]);
    hasher.finalize()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Whatever panicked with it left a whole value.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
