//! Segments: the files of the entry log, in checked frames, one for each record.
//!
//! A crash leaves one record at most half written, behind all others, and
//! nothing but zeros or its own bytes behind that. Where a log is known to end
//! anything that does not fit before is damage, and what comes behind was
//! never acknowledged. Where that is not known yet, a record that does not fit
//! may be the torn one, unless a good one follows: that was acknowledged after
//! it, so it was, too.

use dui_disk::{FRAME_BYTES_MAX, Format, Frames, ReadError};

pub(crate) const FORMAT: Format = Format {
    magic: *b"duientry",
    version: 1,
    mismatch: "not a file of entries",
};

/// Room that is written ahead of the records.
pub(crate) const AHEAD_BYTES: usize = 512 << 10;

/// What a segment holds, as its header tells. The header's mark is where the
/// records of the log before end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Changes in their order.
    Log = 1,
    /// Everything that all logs up to its number amount to.
    Checkpoint = 2,
}

/// How the records of a segment came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct End {
    /// Just behind the last good record.
    pub(crate) offset: u64,
    /// Bytes of a record that a crash cut short.
    pub(crate) torn_bytes: u64,
}

/// Hands every record to `take`, up to `end`; where none is known, up to the
/// first record that a crash cut short.
pub(crate) fn read(
    mut frames: Frames,
    end: Option<u64>,
    take: impl FnMut(&[u8]) -> Result<(), &'static str>,
) -> Result<End, ReadError> {
    frames.each(end, take)?;
    let offset = frames.offset();
    let torn_bytes = match end {
        Some(end) if offset < end => {
            return Err(frames.damaged("a record's checksum is wrong").into());
        }
        Some(_) => 0,
        None => {
            let rest = frames.rest((FRAME_BYTES_MAX + AHEAD_BYTES) as u64)?;
            if rest.good {
                let what = "a record's checksum is wrong, and good ones follow";
                return Err(frames.damaged(what).into());
            }
            rest.bytes
        }
    };
    Ok(End { offset, torn_bytes })
}
