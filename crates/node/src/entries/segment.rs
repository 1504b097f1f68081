//! Segments: the files of the entry log, and the checked records in them.
//!
//! ```text
//!   header 56   magic 8 · version 4 · kind 4 · number 8 · end of the one before 8 · salt 16 · check 8
//!   record      length 4 · check of this head 4 · check of the body 8 · body
//!   record      …
//!   zeros       room written ahead, so that a record does not change the file's length
//! ```
//!
//! Both checks are BLAKE3 over the segment's salt and the record's place, cut
//! short: a record that lies elsewhere than it was written is as wrong as one
//! with a flipped bit, and nobody who chooses a value can make it look like a
//! record. Numbers are little-endian.

use std::io::{self, Read};

use super::disk::DiskFile;

/// The version of the format that this file describes.
pub(crate) const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"duientry";
pub(crate) const HEADER_BYTES: usize = 56;
const HEAD_BYTES: usize = 16;

/// No record is larger. A group of writes is cut to fit; one value is 1 MiB.
pub(crate) const BODY_BYTES_MAX: usize = 16 << 20;

/// Room that is written ahead of the records: a sync is one write to the disk
/// as long as the length of the file stays, and two where it grows.
const AHEAD_BYTES: usize = 512 << 10;

/// What a segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Changes in their order.
    Log,
    /// Everything that all logs up to its number amount to.
    Checkpoint,
}

/// What stands first in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    pub(crate) number: u64,
    /// Where the records of the log before end. What lies behind was never
    /// acknowledged; whatever is wrong before it is damage.
    pub(crate) end_before: u64,
    pub(crate) salt: u128,
}

/// What is wrong with a segment, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// Written by a newer dui.
    Newer(u32),
    /// Neither cut short by a crash nor as it was written.
    Damaged { offset: u64, what: &'static str },
}

/// How the records of a segment came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Just behind the last good record.
    pub(crate) offset: u64,
    /// Bytes of a record that a crash cut short.
    pub(crate) torn_bytes: u64,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let kind: u32 = match self.kind {
            Kind::Log => 1,
            Kind::Checkpoint => 2,
        };
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&kind.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.end_before.to_le_bytes());
        bytes[32..48].copy_from_slice(&self.salt.to_le_bytes());
        let check = blake3::hash(&bytes[..48]);
        bytes[48..].copy_from_slice(&check.as_bytes()[..8]);
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Wrong> {
        let damaged = |what| Wrong::Damaged { offset: 0, what };
        if &bytes[..8] != MAGIC {
            return Err(damaged("not a file of entries"));
        }
        if blake3::hash(&bytes[..48]).as_bytes()[..8] != bytes[48..] {
            return Err(damaged("its header's checksum is wrong"));
        }
        // Checked: what the version means is up to the version alone.
        let version = u32::from_le_bytes(array(&bytes[8..12]));
        if version > VERSION {
            return Err(Wrong::Newer(version));
        }
        Ok(Self {
            kind: match u32::from_le_bytes(array(&bytes[12..16])) {
                1 => Kind::Log,
                2 => Kind::Checkpoint,
                _ => return Err(damaged("a kind that there is not")),
            },
            number: u64::from_le_bytes(array(&bytes[16..24])),
            end_before: u64::from_le_bytes(array(&bytes[24..32])),
            salt: u128::from_le_bytes(array(&bytes[32..48])),
        })
    }
}

/// A segment being written.
#[derive(Debug)]
pub(crate) struct Appender<F> {
    file: F,
    salt: u128,
    /// Just behind the last record that was synced.
    end: u64,
    /// Just behind the last record that was written.
    written: u64,
    /// Zeros are written up to here.
    ahead: u64,
}

impl<F: DiskFile> Appender<F> {
    /// Begins the segment with its header, which is durable on return.
    pub(crate) fn begin(mut file: F, header: &Header) -> io::Result<Self> {
        file.write_at(&header.encode(), 0)?;
        file.sync()?;
        Ok(Self {
            file,
            salt: header.salt,
            end: HEADER_BYTES as u64,
            written: HEADER_BYTES as u64,
            ahead: HEADER_BYTES as u64,
        })
    }

    /// Just behind the last record that was synced.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Bytes of records that were not synced yet.
    pub(crate) fn unsynced(&self) -> u64 {
        self.written - self.end
    }

    /// Writes a record; durable after [`Self::sync`].
    pub(crate) fn write(&mut self, body: &[u8]) -> io::Result<()> {
        assert!(
            (1..=BODY_BYTES_MAX).contains(&body.len()),
            "the writer cuts groups to fit: {}",
            body.len()
        );
        let head = Head::of(self.salt, self.written, body);
        let mut record = Vec::with_capacity(HEAD_BYTES + body.len());
        record.extend_from_slice(&head.encode());
        record.extend_from_slice(body);
        self.file.write_at(&record, self.written)?;
        self.written += record.len() as u64;
        Ok(())
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()?;
        self.end = self.written;
        Ok(())
    }

    /// Writes room ahead where little is left. Without it everything works as
    /// well, so on a full disk there is none.
    pub(crate) fn make_room(&mut self) {
        if self.written + AHEAD_BYTES as u64 / 4 < self.ahead {
            return;
        }
        let from = self.ahead.max(self.written);
        if self.file.write_at(&vec![0; AHEAD_BYTES], from).is_ok() {
            self.ahead = from + AHEAD_BYTES as u64;
        }
    }

    /// Takes back whatever was not synced, and the room ahead, as far as the
    /// disk lets us: what refers to this segment knows where it ends.
    pub(crate) fn cut(&mut self) {
        // A disk that does not even shorten a file has bigger problems.
        let _ = self.file.truncate(self.end);
    }
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

    /// The head at this place, if it is one.
    fn decode(bytes: &[u8], salt: u128, offset: u64) -> Option<Self> {
        let head = Self {
            length: u32::from_le_bytes(array(&bytes[..4])),
            own_check: u32::from_le_bytes(array(&bytes[4..8])),
            body_check: u64::from_le_bytes(array(&bytes[8..HEAD_BYTES])),
        };
        let fits = (1..=BODY_BYTES_MAX as u32).contains(&head.length)
            && head.own_check == Self::own_check(salt, offset, head.length, head.body_check);
        fits.then_some(head)
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

/// Why reading a segment stopped.
#[derive(Debug)]
pub(crate) enum ReadError {
    Io(io::Error),
    Wrong(Wrong),
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Wrong> for ReadError {
    fn from(wrong: Wrong) -> Self {
        Self::Wrong(wrong)
    }
}

/// A segment being read.
#[derive(Debug)]
pub(crate) struct Records<R> {
    reader: io::BufReader<R>,
    header: Header,
    offset: u64,
    body: Vec<u8>,
}

impl<R: Read> Records<R> {
    /// Reads the header.
    pub(crate) fn open(reader: R) -> Result<Self, ReadError> {
        let mut reader = io::BufReader::with_capacity(256 << 10, reader);
        let mut bytes = [0; HEADER_BYTES];
        if read_some(&mut reader, &mut bytes)? < HEADER_BYTES {
            let what = "too short for a header";
            return Err(Wrong::Damaged { offset: 0, what }.into());
        }
        Ok(Self {
            reader,
            header: Header::decode(&bytes)?,
            offset: HEADER_BYTES as u64,
            body: Vec::new(),
        })
    }

    pub(crate) fn header(&self) -> &Header {
        &self.header
    }

    /// Hands every record to `take`, up to `end`; where none is known, up to
    /// the first record that a crash cut short.
    pub(crate) fn each(
        mut self,
        end: Option<u64>,
        mut take: impl FnMut(&[u8]) -> Result<(), &'static str>,
    ) -> Result<End, ReadError> {
        while end.is_none_or(|end| self.offset < end) {
            let mut bytes = [0; HEAD_BYTES];
            let got = read_some(&mut self.reader, &mut bytes)?;
            let head = (got == HEAD_BYTES)
                .then(|| Head::decode(&bytes, self.header.salt, self.offset))
                .flatten();
            let Some(head) = head else {
                let mut rest = bytes[..got].to_vec();
                return self.ended(end, &mut rest);
            };
            self.body.resize(head.length as usize, 0);
            let got = read_some(&mut self.reader, &mut self.body)?;
            if got < self.body.len()
                || check(self.header.salt, self.offset, &self.body) != head.body_check
            {
                let mut rest = bytes.to_vec();
                rest.extend_from_slice(&self.body[..got]);
                return self.ended(end, &mut rest);
            }
            take(&self.body).map_err(|what| self.damaged(what))?;
            self.offset += (HEAD_BYTES + self.body.len()) as u64;
        }
        Ok(End {
            offset: self.offset,
            torn_bytes: 0,
        })
    }

    /// No record begins here. A crash leaves one record at most half written,
    /// and nothing but zeros or its own bytes behind that; a good record
    /// further on was acknowledged after this one, so this one was, too.
    fn ended(mut self, end: Option<u64>, rest: &mut Vec<u8>) -> Result<End, ReadError> {
        if end.is_some() {
            return Err(self.damaged("a record's checksum is wrong").into());
        }
        let bound = (HEAD_BYTES + BODY_BYTES_MAX + AHEAD_BYTES) as u64;
        (&mut self.reader).take(bound).read_to_end(rest)?;
        let used = rest
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |at| at + 1);
        for at in 1..used.saturating_sub(HEAD_BYTES) {
            let place = self.offset + at as u64;
            let Some(head) = Head::decode(&rest[at..], self.header.salt, place) else {
                continue;
            };
            let body = rest[at + HEAD_BYTES..].get(..head.length as usize);
            if body.is_some_and(|body| check(self.header.salt, place, body) == head.body_check) {
                return Err(self
                    .damaged("a record's checksum is wrong, and good ones follow")
                    .into());
            }
        }
        Ok(End {
            offset: self.offset,
            torn_bytes: used as u64,
        })
    }

    fn damaged(&self, what: &'static str) -> Wrong {
        Wrong::Damaged {
            offset: self.offset,
            what,
        }
    }
}

/// As much as there is, up to the whole buffer.
fn read_some(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match reader.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
