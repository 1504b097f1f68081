//! Disk: the few things that the entry log asks of a file system.
//!
//! A trait, so that a test can be the disk: it forgets what was never synced,
//! tears what was, fills up, and crashes the log between any two calls. Names
//! are those of files in one directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

/// A directory.
pub(crate) trait Disk {
    /// A file being written.
    type File: DiskFile;
    /// A file being read.
    type Reader: Read;

    /// The names of all files.
    fn list(&self) -> io::Result<Vec<String>>;
    /// A new, empty file; one of this name is emptied.
    fn create(&self, name: &str) -> io::Result<Self::File>;
    /// The file from its beginning.
    fn read(&self, name: &str) -> io::Result<Self::Reader>;
    /// Gives it another name, in place of a file that has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes it.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable: of what was created, renamed and removed.
    fn sync_names(&self) -> io::Result<()>;
}

/// An open file.
pub(crate) trait DiskFile {
    /// Writes at this place, beyond the end if need be.
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Cuts it.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
    /// Makes the contents durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// The directory of a real disk.
#[derive(Debug)]
pub(crate) struct Directory(pub(crate) PathBuf);

impl Disk for Directory {
    type File = File;
    type Reader = File;

    fn list(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(&self.0)?.map(|entry| {
            // Ours are ASCII; a name that is no text is none of ours.
            Ok(entry?.file_name().into_string().unwrap_or_default())
        });
        names.collect()
    }

    fn create(&self, name: &str) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true).mode(0o600);
        options.open(self.0.join(name))
    }

    fn read(&self, name: &str) -> io::Result<File> {
        File::open(self.0.join(name))
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
