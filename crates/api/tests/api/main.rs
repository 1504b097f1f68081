//! The API on real nodes: what it tells and does, and what it refuses.

#![allow(clippy::unwrap_used)]

mod examples;
mod leading;
mod recovering;
mod refusals;
mod shared;
mod story;
mod town;
mod watching;
