//! File: the log of a Raft group on disk, in checked frames.
//!
//! A frame is what is written in one go, and it is synced before the next one
//! is written. So a crash leaves one frame at most that is half there, behind
//! all others, and nobody was told that it is kept: it is left out. Anything
//! else that does not fit is damage, and refused: a manager that forgot a vote
//! would give it twice, and one that forgot an entry would elect somebody who
//! never had it.
//!
//! That a frame cannot be read does not tell which of the two it is. A good
//! one behind it does, and so does the header's mark: whatever lies before
//! that offset was synced before the file got its name. A file is written anew
//! at each start and ended with a frame of its own, so the last of the frames
//! that matter is told apart as well, unless a crash came right behind it.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;

use dui_disk::{
    Appender, Disk, Format, Frames, HEADER_BYTES, Header, ReadError, Reader, Wrong, frame,
    give_name, prepare,
};

pub(super) const FORMAT: Format = Format {
    magic: *b"duiraft\0",
    version: 1,
    mismatch: "not a log of managers",
};

/// There is one kind of file.
const KIND: u32 = 0;

/// Room that is written ahead of the frames.
pub(super) const AHEAD_BYTES: usize = 256 << 10;

/// A file that is whole and synced, and has no name yet.
#[derive(Debug)]
pub(super) struct Prepared {
    number: u64,
    appender: Appender,
}

impl Prepared {
    /// Writes a file that begins with these frames. Where it fails, everything
    /// is as before.
    pub(super) fn write(disk: &dyn Disk, number: u64, bodies: &[Vec<u8>]) -> io::Result<Self> {
        let salt = salt();
        let mut contents = vec![0; HEADER_BYTES];
        for body in bodies {
            let frame = frame(salt, contents.len() as u64, body);
            contents.extend_from_slice(&frame);
        }
        let end = contents.len() as u64;
        let header = Header {
            kind: KIND,
            number,
            mark: end,
            salt,
        };
        contents[..HEADER_BYTES].copy_from_slice(&header.encode(&FORMAT));
        let file = prepare(disk, &name_of(number), &contents)?;
        let appender = Appender::new(file, salt, end);
        Ok(Self { number, appender })
    }

    /// Gives it its name: from now on it is the log.
    pub(super) fn publish(self, disk: &dyn Disk) -> io::Result<Appender> {
        give_name(disk, &name_of(self.number))?;
        Ok(self.appender)
    }
}

/// Something that no other file has. The keys of a hash map come from the
/// system's entropy; nobody can know them, and that is all a salt needs.
fn salt() -> u128 {
    let half = || RandomState::new().build_hasher().finish();
    u128::from(half()) << 64 | u128::from(half())
}

/// Hands out the body of every frame. Tells how many bytes there are of one
/// that a crash cut short.
pub(super) fn read(
    reader: Reader,
    number: u64,
    take: impl FnMut(&[u8]) -> Result<(), &'static str>,
) -> Result<u64, ReadError> {
    let mut frames = Frames::open(reader, &FORMAT)?;
    if frames.header().number != number {
        let what = "it belongs under another name";
        return Err(Wrong::Damaged { offset: 0, what }.into());
    }
    frames.each(None, take)?;
    if frames.offset() < frames.header().mark {
        return Err(frames.damaged("a frame's checksum is wrong").into());
    }
    let rest = frames.rest(u64::MAX)?;
    if rest.good {
        let what = "a frame's checksum is wrong, and good ones follow";
        return Err(frames.damaged(what).into());
    }
    Ok(rest.bytes)
}

/// The name of the log with this number.
pub(super) fn name_of(number: u64) -> String {
    format!("log-{number:010}")
}

/// The number of the log with this name.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix("log-")?.parse().ok()?;
    (name_of(number) == name).then_some(number)
}
