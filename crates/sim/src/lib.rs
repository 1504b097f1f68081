//! The simulator: the same `Peer` as in production, thousands of them, in virtual time.
//!
//! A [`World`] has hosts on a [`Network`]. Processes live on them, stall,
//! crash and move; packets get lost, come twice or late; clocks are wrong and
//! disks full. One seed decides everything: a world run twice with one seed
//! does the same to the byte, in debug and release, which its [`Trace`] shows.
//! There is no wall clock in here, no thread, and nothing is iterated over in
//! an order of hashes.
//!
//! The pieces, from below: [`Dice`], `queue` and `slab` know nothing of dui;
//! [`Network`] says what becomes of a packet; [`Host`] is one machine with its
//! [`Clock`], [`Disk`] and process; [`World`] moves time. A [`Town`] gives
//! hosts names, for stories.

pub mod chaos;
pub mod check;
mod clock;
mod dice;
mod disk;
mod host;
mod network;
mod queue;
pub mod scale;
mod slab;
mod town;
mod trace;
pub mod trials;
mod wire;
mod world;

pub use clock::{Clock, EPOCH_MS};
pub use dice::Dice;
pub use disk::Disk;
pub use host::{Host, Pause, Place};
pub use network::{Latency, Link, Network, Nic};
pub use town::{Town, key, ms, secs};
pub use trace::Trace;
pub use world::{Deed, Habitat, News, Traffic, World};
