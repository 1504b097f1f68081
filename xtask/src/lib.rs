//! Tidy: the rules of this repository that no compiler checks.
//!
//! A rule that is only written down decays; one that fails a test is kept.
//! Each check takes text and returns complaints, so that each is proven on a
//! bad sample beside it; `tests/tidy.rs` runs them all over the repository.
//!
//! - [`layers`]: which crate, and which module of core, may import which;
//! - [`purity`]: what core must not touch (clocks, sockets, randomness, hash order);
//! - [`sources`]: a header, a bounded length, nothing left unfinished;
//! - [`links`]: a link in a document leads somewhere.

pub mod layers;
pub mod lexer;
pub mod links;
pub mod purity;
pub mod sources;
pub mod tree;

/// What is wrong and where: `path:line: what is wrong, and the next move`.
pub type Complaint = String;
