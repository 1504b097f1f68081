//! An embeddable dui node: the tokio shell around [`dui_core::Peer`].
//!
//! The core decides, this crate does: sockets, discovery providers, timers,
//! the data directory. One task per node owns all of it; a [`Handle`] asks it.
//! There is no global state, so a process runs as many nodes as it likes, and
//! no signal is caught: what a signal means is the program's decision.
//!
//! ```
//! use dui_node::{Node, Options};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let node = Node::start(Options::default()).await?;
//! let cluster = node.handle();
//! for member in cluster.members().await? {
//!     println!("{} is {}", member.name, member.state.as_str());
//! }
//! cluster.leave().await?;
//! node.stop().await;
//! # Ok(())
//! # }
//! ```

mod binding;
mod calls;
mod clock;
mod discovery;
mod doctor;
mod driver;
mod entries;
mod error;
mod handle;
mod history;
mod holder;
mod interfaces;
mod journal;
mod leave;
mod location;
mod managers;
mod moving;
mod names;
mod node;
mod options;
mod place;
mod ports;
mod shared;
mod shell;
mod storage;
mod streams;
mod tags;
mod udp;

pub use discovery::ProviderState;
pub use doctor::examine_here;
pub use dui_consensus as consensus;
pub use dui_core as core;
pub use error::StartError;
pub use handle::{
    ApiError, Handle, LeaveOutcome, NodeEvent, Sequenced, SharedEntry, SharedPage, Status,
};
pub use history::EventStream;
pub use location::Location;
pub use managers::{GroupInfo, LeaderState, Leadership, NotDone, Refounded, Views};
pub use node::Node;
pub use options::{Host, Options, PeerPlace, PlaceError, Port, Provider};
pub use place::{NoPlace, Place};
pub use ports::bind_tcp;
pub use shared::{SharedWrite, WriteFailure, WriteResult};
pub use storage::StorageError;
pub use tags::{TAGS_MAX, TagError, Tags, check_tags};
