//! Writer: frames one behind the other, at the end of a file.
//!
//! ```text
//!   header      see `header`
//!   frame       see `frame`
//!   frame       …
//!   zeros       room written ahead, so that a frame does not change the file's length
//! ```
//!
//! A sync is one write to the disk as long as the length of the file stays,
//! and two where it grows.

use std::io;

use crate::directory::DiskFile;
use crate::frame::frame;

/// A file being written.
#[derive(Debug)]
pub struct Appender {
    file: Box<dyn DiskFile>,
    salt: u128,
    /// Just behind the last frame that was synced.
    end: u64,
    /// Just behind the last frame that was written.
    written: u64,
    /// Zeros are written up to here.
    ahead: u64,
}

impl Appender {
    /// Goes on at `end` of a file that is synced up to there.
    pub fn new(file: Box<dyn DiskFile>, salt: u128, end: u64) -> Self {
        Self {
            file,
            salt,
            end,
            written: end,
            ahead: end,
        }
    }

    /// Just behind the last frame that was synced.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes of frames that were not synced yet.
    pub fn unsynced(&self) -> u64 {
        self.written - self.end
    }

    /// Writes a frame; durable after [`Self::sync`].
    ///
    /// # Errors
    /// Of the disk, which may have a part of it: [`Self::cut`] takes it back.
    ///
    /// # Panics
    /// As [`frame`] does.
    pub fn write(&mut self, body: &[u8]) -> io::Result<()> {
        let bytes = frame(self.salt, self.written, body);
        self.file.write_at(&bytes, self.written)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    /// Makes what was written durable.
    ///
    /// # Errors
    /// Of the disk: nobody knows then what of it is.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.end = self.written;
        Ok(())
    }

    /// Writes so much room ahead where less than a quarter of it is left.
    /// Without it everything works as well, so on a full disk there is none.
    pub fn make_room(&mut self, bytes: usize) {
        if self.written + bytes as u64 / 4 < self.ahead {
            return;
        }
        let from = self.ahead.max(self.written);
        match self.file.write_at(&vec![0; bytes], from) {
            Ok(()) => self.ahead = from + bytes as u64,
            // Zeros must not take the last of a disk from those who need it.
            Err(_) => drop(self.file.truncate(from)),
        }
    }

    /// Takes back whatever was not synced, and the room ahead, as far as the
    /// disk lets us.
    pub fn cut(&mut self) {
        // Left as it is, it reads as the torn end that it is, and whatever
        // refers to this file knows where it ends.
        let _ = self.file.truncate(self.end);
        self.written = self.end;
        self.ahead = self.end;
    }
}
