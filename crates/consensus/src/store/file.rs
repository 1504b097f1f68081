//! File: the log of a Raft group on disk, in checked frames.
//!
//! ```text
//!   header 56   magic 8 · version 4 · zeros 4 · number 8 · sealed 8 · salt 16 · check 8
//!   frame       length 4 · check of this head 4 · check of the body 8 · body
//!   frame       …
//!   zeros       room written ahead, so that a frame does not change the file's length
//! ```
//!
//! A frame is what is written in one go, and it is synced before the next one
//! is written. So a crash leaves one frame at most that is half there, behind
//! all others, and nobody was told that it is kept: it is left out. Anything
//! else that does not fit is damage, and refused: a manager that forgot a vote
//! would give it twice, and one that forgot an entry would elect somebody who
//! never had it.
//!
//! That a frame cannot be read does not tell which of the two it is. A good
//! one behind it does, and so does `sealed`: whatever lies before that offset
//! was synced before the file got its name. A file is written anew at each
//! start and ended with a frame of its own, so the last of the frames that
//! matter is told apart as well, unless a crash came right behind it.
//!
//! Both checks are BLAKE3 over the file's salt and the frame's place, cut
//! short: a frame that lies elsewhere than it was written is as wrong as one
//! with a flipped bit. Numbers are little-endian.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;

use super::disk::{self, Disk, DiskFile};

/// The version of the format that this file describes.
pub(super) const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"duiraft\0";
pub(super) const HEADER_BYTES: usize = 56;
const HEAD_BYTES: usize = 16;

/// No frame is larger.
pub(super) const BODY_BYTES_MAX: usize = 16 << 20;

/// Room that is written ahead of the frames: a sync is one write to the disk
/// as long as the length of the file stays, and two where it grows.
const AHEAD_BYTES: usize = 256 << 10;

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// Written by a newer dui.
    Newer(u32),
    /// Neither cut short by a crash nor as it was written.
    Damaged { offset: u64, what: &'static str },
}

/// What stands first in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    number: u64,
    /// What lies before was synced before the file got its name.
    sealed: u64,
    salt: u128,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.sealed.to_le_bytes());
        bytes[32..48].copy_from_slice(&self.salt.to_le_bytes());
        let check = blake3::hash(&bytes[..48]);
        bytes[48..].copy_from_slice(&check.as_bytes()[..8]);
        bytes
    }

    fn decode(bytes: &[u8]) -> Result<Self, Wrong> {
        let damaged = |what| Err(Wrong::Damaged { offset: 0, what });
        let Some(bytes) = bytes.get(..HEADER_BYTES) else {
            return damaged("too short for a header");
        };
        if &bytes[..8] != MAGIC {
            return damaged("not a log of managers");
        }
        if blake3::hash(&bytes[..48]).as_bytes()[..8] != bytes[48..] {
            return damaged("its header's checksum is wrong");
        }
        // Checked: what the version means is up to the version alone.
        let version = u32::from_le_bytes(array(&bytes[8..12]));
        if version > VERSION {
            return Err(Wrong::Newer(version));
        }
        Ok(Self {
            number: u64::from_le_bytes(array(&bytes[16..24])),
            sealed: u64::from_le_bytes(array(&bytes[24..32])),
            salt: u128::from_le_bytes(array(&bytes[32..48])),
        })
    }
}

// --- writing ---

/// A file being written.
#[derive(Debug)]
pub(super) struct Appender {
    file: Box<dyn DiskFile>,
    salt: u128,
    /// Just behind the last frame that was synced.
    end: u64,
    /// Just behind the last frame that was written.
    written: u64,
    /// Zeros are written up to here.
    ahead: u64,
}

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
            frame(&mut contents, salt, 0, body);
        }
        let end = contents.len() as u64;
        let header = Header {
            number,
            sealed: end,
            salt,
        };
        contents[..HEADER_BYTES].copy_from_slice(&header.encode());
        let appender = Appender {
            file: disk::prepare(disk, &name_of(number), &contents)?,
            salt,
            end,
            written: end,
            ahead: end,
        };
        Ok(Self { number, appender })
    }

    /// Gives it its name: from now on it is the log.
    pub(super) fn publish(self, disk: &dyn Disk) -> io::Result<Appender> {
        disk::give_name(disk, &name_of(self.number))?;
        Ok(self.appender)
    }
}

impl Appender {
    /// Just behind the last frame that was synced.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Writes a frame; durable after [`Self::sync`].
    pub(super) fn write(&mut self, body: &[u8]) -> io::Result<()> {
        assert_eq!(
            self.written, self.end,
            "each frame is synced before the next: otherwise a crash tears more than the last"
        );
        self.make_room();
        let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
        frame(&mut bytes, self.salt, self.end, body);
        self.file.write_at(&bytes, self.end)?;
        self.written = self.end + bytes.len() as u64;
        Ok(())
    }

    /// Makes what was written durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.end = self.written;
        Ok(())
    }

    /// Takes back whatever was not synced, and the room ahead, as far as the
    /// disk lets us.
    pub(super) fn cut(&mut self) {
        // Left as it is, it reads as the torn end that it is.
        let _ = self.file.truncate(self.end);
        self.written = self.end;
        self.ahead = self.end;
    }

    /// Writes room ahead where little is left. Without it everything works as
    /// well, so on a full disk there is none.
    fn make_room(&mut self) {
        if self.end + AHEAD_BYTES as u64 / 4 < self.ahead {
            return;
        }
        let from = self.ahead.max(self.end);
        match self.file.write_at(&vec![0; AHEAD_BYTES], from) {
            Ok(()) => self.ahead = from + AHEAD_BYTES as u64,
            // Zeros must not take the last of a disk from those who need it.
            Err(_) => drop(self.file.truncate(from)),
        }
    }
}

/// Adds a frame to `out`, which lies at `start` in the file.
fn frame(out: &mut Vec<u8>, salt: u128, start: u64, body: &[u8]) {
    assert!(
        (1..=BODY_BYTES_MAX).contains(&body.len()),
        "whoever fills frames cuts them to fit: {}",
        body.len()
    );
    let head = Head::of(salt, start + out.len() as u64, body);
    out.extend_from_slice(&head.encode());
    out.extend_from_slice(body);
}

/// Something that no other file has. The keys of a hash map come from the
/// system's entropy; nobody can know them, and that is all a salt needs.
fn salt() -> u128 {
    let half = || RandomState::new().build_hasher().finish();
    u128::from(half()) << 64 | u128::from(half())
}

/// What stands before each body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    length: u32,
    own_check: u32,
    body_check: u64,
}

impl Head {
    fn of(salt: u128, offset: u64, body: &[u8]) -> Self {
        let body_check = check(salt, offset, body);
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        Self {
            length,
            own_check: Self::own_check(salt, offset, length, body_check),
            body_check,
        }
    }

    fn own_check(salt: u128, offset: u64, length: u32, body_check: u64) -> u32 {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes[4..].copy_from_slice(&body_check.to_le_bytes());
        // A head must not be taken for a body of twelve bytes.
        check(!salt, offset, &bytes) as u32
    }

    fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.own_check.to_le_bytes());
        bytes[8..].copy_from_slice(&self.body_check.to_le_bytes());
        bytes
    }
}

fn check(salt: u128, offset: u64, bytes: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&offset.to_le_bytes());
    hasher.update(bytes);
    u64::from_le_bytes(array(&hasher.finalize().as_bytes()[..8]))
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("a slice of this length")
}

// --- reading ---

/// Hands out the body of every frame. Tells how many bytes there are of one
/// that a crash cut short.
pub(super) fn read(
    bytes: &[u8],
    number: u64,
    mut take: impl FnMut(&[u8]) -> Result<(), &'static str>,
) -> Result<usize, Wrong> {
    let header = Header::decode(bytes)?;
    let damaged = |offset: usize, what| {
        Err(Wrong::Damaged {
            offset: offset as u64,
            what,
        })
    };
    if header.number != number {
        return damaged(0, "it belongs under another name");
    }
    let used = bytes.iter().rposition(|byte| *byte != 0);
    let used = used.map_or(0, |last| last + 1);
    let mut offset = HEADER_BYTES;
    while let Some(body) = frame_at(bytes, header.salt, offset) {
        if let Err(what) = take(body) {
            return damaged(offset, what);
        }
        offset += HEAD_BYTES + body.len();
    }
    if (offset as u64) < header.sealed {
        return damaged(offset, "a frame's checksum is wrong");
    }
    let behind = offset + 1..used.max(offset + 1);
    for place in behind {
        if frame_at(bytes, header.salt, place).is_some() {
            return damaged(offset, "a frame's checksum is wrong, and good ones follow");
        }
    }
    Ok(used.saturating_sub(offset))
}

/// The body of the frame that lies here, if one does.
fn frame_at(bytes: &[u8], salt: u128, offset: usize) -> Option<&[u8]> {
    let (head, rest) = bytes.get(offset..)?.split_at_checked(HEAD_BYTES)?;
    let length = u32::from_le_bytes(array(&head[..4])) as usize;
    let fits = (1..=BODY_BYTES_MAX).contains(&length);
    let body = rest.get(..length).filter(|_| fits)?;
    let place = offset as u64;
    // Cheap things first: this is asked of every place behind a torn frame.
    let body_check = u64::from_le_bytes(array(&head[8..]));
    let own_check = Head::own_check(salt, place, length as u32, body_check);
    let good = own_check.to_le_bytes() == head[4..8] && check(salt, place, body) == body_check;
    good.then_some(body)
}

// --- names ---

/// The name of the log with this number.
pub(super) fn name_of(number: u64) -> String {
    format!("log-{number:010}")
}

/// The number of the log with this name.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_prefix("log-")?.parse().ok()?;
    (name_of(number) == name).then_some(number)
}
