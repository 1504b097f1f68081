//! Peer: a node among liars, noise and failures, while time goes on.
//!
//! The input is a story of up to a few hundred steps. Its packets are noise,
//! noise that begins like a packet, and well-formed lies of somebody who has
//! the key and echoes the cookie. Whatever happens, what the node does stays
//! within its bounds, and it remains sure of itself.

#![no_main]

mod liar;
mod sharer;
mod story;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|story: story::Story| story::tell(story));
