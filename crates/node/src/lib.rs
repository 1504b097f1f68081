//! An embeddable dui node: the tokio shell around [`dui_core::Peer`]. (skeleton)
mod handle;
mod options;
pub use dui_core as core;
pub use handle::{ApiError, EventStream, Handle, LeaveOutcome, NodeEvent, Sequenced, Status};
pub use options::{Options, Port, Provider};

use std::net::{IpAddr, SocketAddr};

/// A started node.
#[derive(Debug)]
pub struct Node {}

/// Why a node did not start: configuration (exit 78).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// placeholder
    #[error("placeholder")]
    Placeholder,
}

#[allow(clippy::todo, unused_variables, missing_docs, clippy::unused_async)]
impl Node {
    /// Binds, loads the data directory, starts the driver task on the current tokio runtime.
    pub async fn start(options: Options) -> Result<Node, StartError> {
        todo!()
    }
    pub fn handle(&self) -> Handle {
        todo!()
    }
    /// The bound peer address (UDP and TCP share the number).
    pub fn peer_address(&self) -> SocketAddr {
        todo!()
    }
    /// Resolves when the driver has stopped by itself: `Some(fatal)` when the
    /// core said the node cannot go on (exit 78).
    pub async fn stopped(&mut self) -> Option<dui_core::Fatal> {
        todo!()
    }
    /// Stops at once, without leaving.
    pub async fn stop(self) {
        todo!()
    }
}

/// Binds a TCP listener at `ip`. A taken port that nobody asked for moves to
/// the next free one on loopback; anything else is an error.
#[allow(clippy::todo, unused_variables)]
pub fn bind_tcp(ip: IpAddr, port: Port) -> Result<std::net::TcpListener, StartError> {
    todo!()
}
