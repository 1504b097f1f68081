//! The peer: one node's decisions, composed of membership, gossip and discovery. (interface, body follows)
mod types;
pub use types::*;

use std::net::SocketAddr;

use crate::clock::Now;
use crate::id::NodeId;

/// One node's decisions.
#[derive(Debug)]
pub struct Peer {
    _config: Config,
}

/// What discovery knows: for `GET /v1/discovery`.
#[derive(Clone, Debug, PartialEq)]
pub struct DiscoveryInfo {
    /// A line per provider that found or heard anything.
    pub providers: Vec<ProviderInfo>,
    /// Peers that were known once and do not answer now.
    pub lost: Vec<SocketAddr>,
}

/// One provider's catch.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderInfo {
    /// `multicast`, `static`, …
    pub name: &'static str,
    /// Distinct addresses that it found.
    pub found: usize,
    /// Beacons heard or lists received.
    pub heard: u64,
    /// When it last heard something, ms since the Unix epoch.
    pub last_ms: Option<u64>,
}

#[allow(unused_variables, missing_docs, clippy::todo)]
impl Peer {
    /// `seed`: 32 bytes of system entropy (or of a simulation).
    pub fn new(config: Config, now: Now, seed: [u8; 32]) -> Self {
        todo!()
    }
    pub fn members(&self) -> Vec<Member> {
        todo!()
    }
    pub fn member(&self, id: NodeId) -> Option<Member> {
        todo!()
    }
    pub fn this(&self) -> SelfInfo {
        todo!()
    }
    pub fn why(&self, id: NodeId) -> Option<Why> {
        todo!()
    }
    pub fn discovery(&self) -> DiscoveryInfo {
        todo!()
    }
    /// Kept user events, ordered by (timestamp, origin).
    pub fn events(&self) -> Vec<UserEvent> {
        todo!()
    }
    pub fn counters(&self) -> Counters {
        todo!()
    }
    /// `true` once one peer or one full discovery window was seen: readiness.
    pub fn settled(&self) -> bool {
        todo!()
    }
    /// Whether the process was suspended since the last call: then hand in `Thawed` first.
    pub fn slept(&self, now: Now) -> bool {
        todo!()
    }
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        todo!()
    }
    pub fn publish(
        &mut self,
        now: Now,
        name: &str,
        payload: &[u8],
    ) -> Result<UserEvent, PublishError> {
        todo!()
    }
    /// Says goodbye; `Event::Left` follows. Idempotent.
    pub fn leave(&mut self, now: Now) {
        todo!()
    }
    pub fn forget(&mut self, now: Now, id: NodeId, force: bool) -> Result<Member, ForgetError> {
        todo!()
    }
    /// Drain until `None`; the last output before it is the `WakeAt` in force.
    pub fn poll_output(&mut self) -> Option<Output> {
        todo!()
    }
}
