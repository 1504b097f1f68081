//! Frame: a big-endian u32 length and that many bytes, read and written in pieces.
//!
//! Both sides keep their progress, so that a task may wait for a readable and
//! a writable socket at once and drop neither half a frame.

use std::io;

/// The longest frame without its length, sealed: one Noise message.
pub(super) const WIRE_BYTES_MAX: usize = 65_535;

/// The longest frame without its length and seal.
pub(super) const FRAME_BYTES_MAX: usize = dui_core::wire::FRAME_BYTES_MAX;

const LENGTH_BYTES: usize = 4;

/// What a step of reading came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// A whole frame.
    Frame(Vec<u8>),
    /// Some bytes; more must come.
    Partial,
    /// The other side has finished.
    End,
    /// A length above [`WIRE_BYTES_MAX`].
    TooLarge,
}

/// Reads frames. Holds no memory between them.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    length: [u8; LENGTH_BYTES],
    length_read: usize,
    body: Vec<u8>,
    body_read: usize,
}

impl Incoming {
    /// Reads once with `read`.
    ///
    /// # Errors
    /// Those of `read`, "would block" among them; nothing is lost.
    pub(super) fn step(
        &mut self,
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Step> {
        if self.length_read < LENGTH_BYTES {
            let read = read(&mut self.length[self.length_read..])?;
            if read == 0 {
                return Ok(Step::End);
            }
            self.length_read += read;
            if self.length_read < LENGTH_BYTES {
                return Ok(Step::Partial);
            }
            let length = u32::from_be_bytes(self.length) as usize;
            if length > WIRE_BYTES_MAX {
                return Ok(Step::TooLarge);
            }
            self.body = vec![0; length];
        } else {
            let read = read(&mut self.body[self.body_read..])?;
            if read == 0 {
                return Ok(Step::End);
            }
            self.body_read += read;
        }
        if self.body_read < self.body.len() {
            return Ok(Step::Partial);
        }
        Ok(Step::Frame(std::mem::take(self).body))
    }
}

/// A frame on its way out.
#[derive(Debug)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
}

impl Outgoing {
    /// `frame` with its length in front; at most [`WIRE_BYTES_MAX`].
    pub(super) fn new(frame: &[u8]) -> Self {
        let length = u32::try_from(frame.len()).expect("the sender checked the frame's length");
        let mut bytes = Vec::with_capacity(LENGTH_BYTES + frame.len());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(frame);
        Self { bytes, written: 0 }
    }

    /// Writes once with `write`; `true` when the frame is out.
    ///
    /// # Errors
    /// Those of `write`, "would block" among them; nothing is lost.
    pub(super) fn step(
        &mut self,
        mut write: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<bool> {
        self.written += write(&self.bytes[self.written..])?;
        Ok(self.written == self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::{Read, Write};

    use super::*;

    fn wire(frames: &[&[u8]]) -> Vec<u8> {
        let mut wire = Vec::new();
        for frame in frames {
            let mut outgoing = Outgoing::new(frame);
            // One byte at a time: every place to stop at is stopped at.
            while !outgoing.step(|bytes| wire.write(&bytes[..1])).unwrap() {}
        }
        wire
    }

    #[test]
    fn frames_survive_any_cut_between_any_two_bytes() {
        let frames: [&[u8]; 4] = [b"so long", b"", b"and thanks", &[7; 300]];
        let wire = wire(&frames);
        for piece in [1, 2, 3, 5, 300] {
            let mut incoming = Incoming::default();
            let mut rest = &wire[..];
            let mut seen = Vec::new();
            loop {
                let step = incoming.step(|buffer| {
                    let take = buffer.len().min(piece);
                    (&mut rest).read(&mut buffer[..take])
                });
                match step.unwrap() {
                    Step::Frame(frame) => seen.push(frame),
                    Step::Partial => {}
                    other => break assert_eq!(other, Step::End),
                }
            }
            assert_eq!(seen, frames);
        }
    }

    #[test]
    fn a_huge_length_is_refused_before_any_memory_is_taken() {
        let mut incoming = Incoming::default();
        let mut wire = &[0xff; 4][..];
        assert_eq!(
            incoming.step(|buffer| wire.read(buffer)).unwrap(),
            Step::TooLarge
        );
        assert_eq!(incoming.body.capacity(), 0);
    }
}
