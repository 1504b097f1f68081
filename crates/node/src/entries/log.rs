//! Log: what happened to entries, in order, in files that crashes and bad disks cannot falsify.
//!
//! ```text
//!   checkpoint-7   everything up to log 7, written anew
//!   log-8          what happened since, closed: log 9 says where it ends
//!   log-9          what happened since; only its last record may be torn
//! ```
//!
//! A record is synced before the next one is written, so that a crash leaves
//! at most one that is half there, at the end of the last log, and nobody was
//! told that it is kept. Everything else that does not fit is damage, and
//! refused by name: entries are never guessed. Where a write fails its file is
//! given up, since nobody knows what the disk made of it; the next log says
//! where the good part ends.
//!
//! When the logs have outgrown the checkpoint, a new one is made from what the
//! core holds, while writing goes on into the next log: merging an entry twice
//! changes nothing, so the checkpoint may well include some of what follows.

use std::io;

use dui_disk::{
    Appender, Disk, Frames, HEADER_BYTES, Header, ReadError, UNFINISHED, Wrong, give_name, prepare,
    unfinished,
};

use super::segment::{self, AHEAD_BYTES, End, FORMAT, Kind};
use crate::clock;

/// Logs up to so many bytes are not worth a checkpoint.
const LOG_BYTES_MIN: u64 = 16 << 20;

/// How much of a checkpoint is written before it is synced: a sync holds up
/// the writes of everybody, so that many small ones are better than a big one.
const SYNC_BYTES: u64 = 4 << 20;

/// The only record of a checkpoint that begins so is its last: it is whole.
pub(crate) const END_OF_CHECKPOINT: &[u8] = b"\0end";

/// Why the log cannot be read.
#[derive(Debug)]
pub(crate) enum LogError {
    /// The disk failed.
    Io(io::Error),
    /// This file is not as it was written.
    Wrong { file: String, wrong: Wrong },
}

/// What there is to say about opening a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Opened {
    /// A record that a crash cut short, and that is left out: its file and
    /// how many bytes of it there are.
    pub(crate) torn: Option<(String, u64)>,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Log {
    disk: Box<dyn Disk>,
    /// `None` until the first write, and after one that failed.
    current: Option<Appender>,
    /// Of the last log; 0 before the first.
    number: u64,
    /// Where it ends.
    end: u64,
    /// In all logs since the checkpoint.
    bytes: u64,
    /// What they outgrow before a checkpoint is made.
    bytes_max: u64,
    /// The log that a checkpoint in the making replaces, and the file so far.
    making: Option<(u64, Appender)>,
}

impl Log {
    /// Reads all there is, in order, and hands every record to `take`. Nothing
    /// is written but the removal of files that a crash has left over.
    ///
    /// # Errors
    /// [`LogError`]; nothing of what was handed out is to be used then.
    pub(crate) fn open(
        disk: Box<dyn Disk>,
        mut take: impl FnMut(&[u8]) -> Result<(), &'static str>,
    ) -> Result<(Self, Opened), LogError> {
        let found = Found::of(disk.list().map_err(LogError::Io)?);
        let mut log = Self {
            disk,
            current: None,
            number: found.checkpoint.unwrap_or(0),
            end: HEADER_BYTES as u64,
            bytes: 0,
            bytes_max: LOG_BYTES_MIN,
            making: None,
        };
        if let Some(number) = found.checkpoint {
            let name = name_of(Kind::Checkpoint, number);
            let bytes = log.read_checkpoint(&name, number, &mut take)?;
            log.bytes_max = LOG_BYTES_MIN.max(bytes);
        }
        let mut opened = Opened::default();
        let last = found.logs.last().copied();
        for number in log.number + 1..=last.unwrap_or(0) {
            let name = name_of(Kind::Log, number);
            if !found.logs.contains(&number) {
                return Err(wrong(&name, damaged(0, "the file is missing")));
            }
            // The next log tells where this one ends, unless it is the last.
            let end = match last {
                Some(last) if number < last => {
                    let next = name_of(Kind::Log, number + 1);
                    if !found.logs.contains(&(number + 1)) {
                        return Err(wrong(&next, damaged(0, "the file is missing")));
                    }
                    let frames = log.open_segment(&next, Kind::Log, number + 1)?;
                    Some(frames.header().mark)
                }
                _ => None,
            };
            let ended = log.read_log(&name, number, end, &mut take)?;
            if ended.torn_bytes > 0 {
                opened.torn = Some((name, ended.torn_bytes));
            }
            log.number = number;
            log.end = ended.offset;
            log.bytes += ended.offset;
        }
        for name in found.useless {
            // Left for the next start if it cannot be removed now.
            let _ = log.disk.remove(&name);
        }
        Ok((log, opened))
    }

    /// Adds a record; durable on return.
    ///
    /// # Errors
    /// Of the disk. The record is not kept then, and the next one goes to a
    /// new file.
    pub(crate) fn append(&mut self, body: &[u8]) -> io::Result<()> {
        if self.current.is_none() {
            self.begin_log()?;
        }
        let Some(current) = &mut self.current else {
            return Err(io::Error::other("no log was begun"));
        };
        current.make_room(AHEAD_BYTES);
        let before = current.end();
        match current.write(body).and_then(|()| current.sync()) {
            Ok(()) => {
                self.end = current.end();
                self.bytes += self.end - before;
                Ok(())
            }
            Err(error) => {
                current.cut();
                self.current = None;
                Err(error)
            }
        }
    }

    /// Whether a checkpoint should be made.
    pub(crate) fn wants_checkpoint(&self) -> bool {
        self.making.is_none() && self.bytes > self.bytes_max
    }

    /// Begins a checkpoint: everything that was appended so far, or what it
    /// amounts to, has to be written to it. What is appended from now on may be.
    ///
    /// # Errors
    /// Of the disk; the logs stay then.
    pub(crate) fn begin_checkpoint(&mut self) -> io::Result<()> {
        let replaced = self.number;
        self.close_log();
        let begun = self
            .begin_log()
            .and_then(|()| self.begin_segment(Kind::Checkpoint, replaced, 0));
        match begun {
            Ok(file) => {
                self.making = Some((replaced, file));
                Ok(())
            }
            Err(error) => {
                self.give_up_checkpoint(replaced);
                Err(error)
            }
        }
    }

    /// Adds a record to the checkpoint.
    ///
    /// # Errors
    /// Of the disk; the checkpoint is given up then, and the logs stay.
    pub(crate) fn add_to_checkpoint(&mut self, body: &[u8]) -> io::Result<()> {
        let Some((replaced, file)) = &mut self.making else {
            return Ok(());
        };
        let replaced = *replaced;
        let added = file.write(body).and_then(|()| {
            if file.unsynced() >= SYNC_BYTES {
                file.sync()?;
            }
            Ok(())
        });
        if added.is_err() {
            self.give_up_checkpoint(replaced);
        }
        added
    }

    /// Ends the checkpoint, which takes the place of what it replaces.
    ///
    /// # Errors
    /// Of the disk; the checkpoint is given up then, and the logs stay.
    pub(crate) fn finish_checkpoint(&mut self) -> io::Result<()> {
        let Some((replaced, mut file)) = self.making.take() else {
            return Ok(());
        };
        let name = name_of(Kind::Checkpoint, replaced);
        // Under either name it is whole, or not taken for a checkpoint.
        let finished = file
            .write(END_OF_CHECKPOINT)
            .and_then(|()| file.sync())
            .and_then(|()| give_name(&*self.disk, &name));
        if let Err(error) = finished {
            self.give_up_checkpoint(replaced);
            return Err(error);
        }
        self.bytes_max = LOG_BYTES_MIN.max(file.end());
        self.bytes = self.end;
        let found = Found::of(self.disk.list()?);
        for name in found.useless {
            self.disk.remove(&name)?;
        }
        Ok(())
    }

    /// Gives back the room that was written ahead.
    pub(crate) fn close(mut self) {
        if let Some((replaced, _)) = self.making {
            self.give_up_checkpoint(replaced);
        }
        self.close_log();
    }

    // --- helpers ---

    fn close_log(&mut self) {
        if let Some(mut current) = self.current.take() {
            current.cut();
        }
    }

    /// The next try comes when the logs have grown some more: where there is
    /// no room, asking at every write would only hold up the writes.
    fn give_up_checkpoint(&mut self, replaced: u64) {
        self.making = None;
        self.bytes_max = self.bytes + LOG_BYTES_MIN / 4;
        // Left for the next start if it cannot be removed now.
        let name = name_of(Kind::Checkpoint, replaced);
        let _ = self.disk.remove(&unfinished(&name));
    }

    /// A log that has its name has a whole header: half a one is never found
    /// where it could be damage.
    fn begin_log(&mut self) -> io::Result<()> {
        let number = self.number + 1;
        let log = self.begin_segment(Kind::Log, number, self.end)?;
        let name = name_of(Kind::Log, number);
        let temporary = unfinished(&name);
        if let Err(error) = self.disk.rename(&temporary, &name) {
            let _ = self.disk.remove(&temporary);
            return Err(error);
        }
        // Renamed, it counts, whether or not we know it to be durable: the
        // same number must not be begun twice.
        self.number = number;
        self.end = log.end();
        self.bytes += self.end;
        self.disk.sync_names()?;
        self.current = Some(log);
        Ok(())
    }

    /// A segment with its header, which has no name yet.
    fn begin_segment(&self, kind: Kind, number: u64, end_before: u64) -> io::Result<Appender> {
        let header = Header {
            kind: kind as u32,
            number,
            mark: end_before,
            salt: clock::fresh_u128().map_err(io::Error::other)?,
        };
        let contents = header.encode(&FORMAT);
        let file = prepare(&*self.disk, &name_of(kind, number), &contents)?;
        Ok(Appender::new(file, header.salt, HEADER_BYTES as u64))
    }

    fn read_log(
        &self,
        name: &str,
        number: u64,
        end: Option<u64>,
        take: &mut impl FnMut(&[u8]) -> Result<(), &'static str>,
    ) -> Result<End, LogError> {
        let frames = self.open_segment(name, Kind::Log, number)?;
        segment::read(frames, end, take).map_err(|error| of(name, error))
    }

    /// Reads it and tells its length.
    fn read_checkpoint(
        &self,
        name: &str,
        number: u64,
        take: &mut impl FnMut(&[u8]) -> Result<(), &'static str>,
    ) -> Result<u64, LogError> {
        let frames = self.open_segment(name, Kind::Checkpoint, number)?;
        let mut whole = false;
        let ended = segment::read(frames, None, |body| {
            if std::mem::take(&mut whole) {
                return Err("something follows the end");
            }
            whole = body == END_OF_CHECKPOINT;
            if whole { Ok(()) } else { take(body) }
        });
        let ended = ended.map_err(|error| of(name, error))?;
        // It got its name when it was whole.
        if !whole || ended.torn_bytes > 0 {
            return Err(wrong(name, damaged(ended.offset, "its end is missing")));
        }
        Ok(ended.offset)
    }

    fn open_segment(&self, name: &str, kind: Kind, number: u64) -> Result<Frames, LogError> {
        let reader = self.disk.read(name).map_err(LogError::Io)?;
        let frames = Frames::open(reader, &FORMAT).map_err(|error| of(name, error))?;
        let header = frames.header();
        if (header.kind, header.number) != (kind as u32, number) {
            return Err(wrong(name, damaged(0, "it belongs under another name")));
        }
        Ok(frames)
    }
}

/// What lies in a directory.
#[derive(Debug, Default)]
struct Found {
    /// The latest.
    checkpoint: Option<u64>,
    /// After that, ascending.
    logs: Vec<u64>,
    /// What is unfinished, and what the checkpoint replaces.
    useless: Vec<String>,
}

impl Found {
    fn of(names: Vec<String>) -> Self {
        let mut found = Self::default();
        let mut checkpoints = Vec::new();
        for name in names {
            if let Some(number) = number_of(Kind::Checkpoint, &name) {
                checkpoints.push(number);
            } else if let Some(number) = number_of(Kind::Log, &name) {
                found.logs.push(number);
            } else if let Some(stem) = name.strip_suffix(UNFINISHED)
                && [Kind::Checkpoint, Kind::Log]
                    .iter()
                    .any(|kind| number_of(*kind, stem).is_some())
            {
                found.useless.push(name);
            }
        }
        found.checkpoint = checkpoints.iter().copied().max();
        let latest = found.checkpoint.unwrap_or(0);
        let old = checkpoints.into_iter().filter(|number| *number < latest);
        let old = old.map(|number| name_of(Kind::Checkpoint, number));
        found.useless.extend(old);
        found.logs.sort_unstable();
        let later = found.logs.partition_point(|number| *number <= latest);
        let replaced = found.logs.drain(..later);
        let replaced = replaced.map(|number| name_of(Kind::Log, number));
        found.useless.extend(replaced);
        found
    }
}

fn name_of(kind: Kind, number: u64) -> String {
    let word = match kind {
        Kind::Log => "log",
        Kind::Checkpoint => "checkpoint",
    };
    format!("{word}-{number:010}")
}

fn number_of(kind: Kind, name: &str) -> Option<u64> {
    let (_, digits) = name.split_once('-')?;
    let number = digits.parse().ok()?;
    (name_of(kind, number) == name).then_some(number)
}

fn damaged(offset: u64, what: &'static str) -> Wrong {
    Wrong::Damaged { offset, what }
}

fn wrong(file: &str, wrong: Wrong) -> LogError {
    LogError::Wrong {
        file: file.into(),
        wrong,
    }
}

fn of(file: &str, error: ReadError) -> LogError {
    match error {
        ReadError::Io(error) => LogError::Io(error),
        ReadError::Wrong(what) => wrong(file, what),
    }
}
