//! Stories of whole nodes, several in one process, over real sockets on loopback.

#![allow(clippy::unwrap_used)]

mod agreement;
mod bad_input;
mod cluster;
mod examples;
mod recovery;
mod shared;
mod stuck;
mod town;
