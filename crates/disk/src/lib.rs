//! What a log asks of a disk, and what it can believe of what it finds there.
//!
//! Shared entries and managers each keep a log of their own, and each says for
//! itself which files there are, what lies in them, and what a torn end means.
//! Below that both need the same: a [`Disk`] that a test can be, files that
//! have their name only when they are [whole](put), and [frames](Frames) that
//! neither a crash nor a bad disk can falsify.
//!
//! With the feature `memory`, for tests alone, there is a disk in memory that
//! crashes, tears, fills up and holds its syncs.

mod directory;
mod frame;
mod header;
#[cfg(any(test, feature = "memory"))]
pub mod memory;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use directory::{
    Directory, Disk, DiskFile, Reader, UNFINISHED, give_name, is_full, prepare, put, unfinished,
};
pub use frame::{BODY_BYTES_MAX, FRAME_BYTES_MAX, frame};
pub use header::{Format, HEADER_BYTES, Header, Wrong};
pub use reader::{Frames, ReadError, Rest};
pub use writer::Appender;
