//! The wire format as others rely on it: byte by byte, and whatever comes.
#![allow(clippy::unwrap_used)]

mod golden;
mod leading;
mod messages;
mod properties;
mod sharing;
