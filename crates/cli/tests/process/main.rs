//! Process tests: stories about the real binary, on loopback.
//!
//! Every story has a cluster name and a discovery port of its own, so that
//! stories that run at the same time do not meet.

#![allow(clippy::unwrap_used)]

mod asking;
mod config;
mod confirming;
mod doctor;
mod goodbye;
mod hardship;
mod leading;
mod meeting;
mod recovering;
mod shared;
mod sim;
mod town;
mod up;
