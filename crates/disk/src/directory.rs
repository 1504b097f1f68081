//! Directory: the few things that a log asks of a file system.
//!
//! A trait, so that a test can be the disk: it forgets what was never synced,
//! tears what was being written, fills up, holds a sync, and crashes the log
//! between any two calls. Names are those of files in one directory.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

/// A file being read.
pub type Reader = Box<dyn Read + Send>;

/// A directory.
pub trait Disk: fmt::Debug + Send + Sync {
    /// The names of all files.
    ///
    /// # Errors
    /// Of the disk, as everywhere here.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A new, empty file; one of this name is emptied.
    ///
    /// # Errors
    /// Of the disk.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;
    /// The file from its beginning.
    ///
    /// # Errors
    /// Of the disk; `NotFound` if there is none of this name.
    fn read(&self, name: &str) -> io::Result<Reader>;
    /// Gives it another name, in place of a file that has it.
    ///
    /// # Errors
    /// Of the disk.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes it.
    ///
    /// # Errors
    /// Of the disk; `NotFound` if there is none of this name.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable: of what was created, renamed and removed.
    ///
    /// # Errors
    /// Of the disk: nobody knows then which of them are.
    fn sync_names(&self) -> io::Result<()>;
}

/// An open file.
pub trait DiskFile: fmt::Debug + Send {
    /// Writes at this place, beyond the end if need be.
    ///
    /// # Errors
    /// Of the disk, which may have taken a part.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts it.
    ///
    /// # Errors
    /// Of the disk.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Makes the contents durable.
    ///
    /// # Errors
    /// Of the disk: nobody knows then what of them is, and trying again does
    /// not tell.
    fn sync(&mut self) -> io::Result<()>;
}

/// Whether the disk has no room, or this user none.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

// --- whole files ---

/// Ends the name of a file that is not whole.
pub const UNFINISHED: &str = ".new";

/// Its name until it is.
pub fn unfinished(name: &str) -> String {
    format!("{name}{UNFINISHED}")
}

/// Gives the name to a file with these contents, so that there is never a part
/// of them under it: durable on return.
///
/// # Errors
/// Of the disk. Then the name belongs to this file or to the one before.
pub fn put(disk: &dyn Disk, name: &str, contents: &[u8]) -> io::Result<Box<dyn DiskFile>> {
    let file = prepare(disk, name, contents)?;
    give_name(disk, name)?;
    Ok(file)
}

/// The first half of [`put`]: whatever has the name keeps it.
///
/// # Errors
/// Of the disk. Then everything is as before.
pub fn prepare(disk: &dyn Disk, name: &str, contents: &[u8]) -> io::Result<Box<dyn DiskFile>> {
    let unfinished = unfinished(name);
    let prepared = disk.create(&unfinished).and_then(|mut file| {
        file.write_at(contents, 0)?;
        file.sync()?;
        Ok(file)
    });
    if prepared.is_err() {
        // Left for the next start if it cannot be removed now.
        let _ = disk.remove(&unfinished);
    }
    prepared
}

/// The second half of [`put`].
///
/// # Errors
/// Of the disk. Then nobody knows who has the name.
pub fn give_name(disk: &dyn Disk, name: &str) -> io::Result<()> {
    disk.rename(&unfinished(name), name)?;
    disk.sync_names()
}

// --- a real one ---

/// The directory of a real disk.
#[derive(Debug)]
pub struct Directory(pub PathBuf);

impl Disk for Directory {
    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.0)?.map(|entry| {
            // Ours are ASCII; a name that is no text is none of ours.
            Ok(entry?.file_name().into_string().unwrap_or_default())
        });
        names.collect()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        Ok(Box::new(options.open(self.0.join(name))?))
    }

    fn read(&self, name: &str) -> io::Result<Reader> {
        Ok(Box::new(File::open(self.0.join(name))?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

impl DiskFile for File {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}
