//! Reader: the frames of a file in their order, and what lies behind them.
//!
//! That a frame cannot be read does not tell whether a crash tore it or the
//! disk lost it. What comes behind it does, and what else is known of the
//! file: that is for those who wrote it to weigh.

use std::io::{self, BufReader, Read};

use crate::directory::Reader;
use crate::frame::{HEAD_BYTES, Head, body_in};
use crate::header::{Format, HEADER_BYTES, Header, Wrong};

/// Why reading a file stopped.
#[derive(Debug)]
pub enum ReadError {
    /// The disk failed.
    Io(io::Error),
    /// It is not as it was written.
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

/// A file being read, however large.
pub struct Frames {
    reader: BufReader<Reader>,
    header: Header,
    /// Just behind the last good frame.
    offset: u64,
    /// What was read behind it and is no frame.
    rest: Vec<u8>,
}

/// What lies behind the last good frame in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rest {
    /// Up to the last that is not zero.
    pub bytes: u64,
    /// Among them is a good frame: it was written after the one that is none.
    pub good: bool,
}

impl Frames {
    /// Reads the header.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn open(reader: Reader, format: &Format) -> Result<Self, ReadError> {
        let mut reader = BufReader::with_capacity(256 << 10, reader);
        let mut bytes = Vec::new();
        read_up_to(&mut reader, HEADER_BYTES, &mut bytes)?;
        Ok(Self {
            reader,
            header: Header::decode(&bytes, format)?,
            offset: HEADER_BYTES as u64,
            rest: Vec::new(),
        })
    }

    /// What stands first.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Just behind the last good frame that was read.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Hands the body of every frame to `take`, up to `end`, or to the first
    /// place where none begins. There is nothing to read after that but the
    /// [rest](Self::rest).
    ///
    /// # Errors
    /// [`ReadError`], also for what `take` has against a body.
    pub fn each(
        &mut self,
        end: Option<u64>,
        mut take: impl FnMut(&[u8]) -> Result<(), &'static str>,
    ) -> Result<(), ReadError> {
        let salt = self.header.salt;
        while end.is_none_or(|end| self.offset < end) {
            read_up_to(&mut self.reader, HEAD_BYTES, &mut self.rest)?;
            let head = self.rest.first_chunk();
            let Some(head) = head.and_then(|head| Head::decode(head, salt, self.offset)) else {
                break;
            };
            read_up_to(&mut self.reader, head.length(), &mut self.rest)?;
            let body = &self.rest[HEAD_BYTES..];
            if !head.is_of(salt, self.offset, body) {
                break;
            }
            take(body).map_err(|what| self.damaged(what))?;
            self.offset += self.rest.len() as u64;
            self.rest.clear();
        }
        Ok(())
    }

    /// What lies behind the last frame that [`Self::each`] handed out, up to
    /// `bytes_max` beyond what it read there.
    ///
    /// # Errors
    /// Of the disk.
    pub fn rest(&mut self, bytes_max: u64) -> io::Result<Rest> {
        let more = &mut self.reader;
        more.take(bytes_max).read_to_end(&mut self.rest)?;
        let last = self.rest.iter().rposition(|byte| *byte != 0);
        let used = last.map_or(0, |last| last + 1);
        let mut places = 1..used.max(1);
        let good = places.any(|at| {
            let place = self.offset + at as u64;
            body_in(&self.rest[at..], self.header.salt, place).is_some()
        });
        Ok(Rest {
            bytes: used as u64,
            good,
        })
    }

    /// That something does not fit just behind the last good frame.
    pub fn damaged(&self, what: &'static str) -> Wrong {
        Wrong::Damaged {
            offset: self.offset,
            what,
        }
    }
}

/// Adds so many bytes to `out`, or as many as there are.
fn read_up_to(reader: &mut impl Read, bytes: usize, out: &mut Vec<u8>) -> io::Result<()> {
    let mut got = out.len();
    out.resize(got + bytes, 0);
    while got < out.len() {
        match reader.read(&mut out[got..]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    out.truncate(got);
    Ok(())
}
