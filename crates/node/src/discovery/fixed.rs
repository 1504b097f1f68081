//! Static addresses: peers that somebody named.
//!
//! Found once; the core tries a candidate for ever.

use std::net::SocketAddr;
use std::task::{Context, Poll};

use super::{Find, Provider};

/// A list that never changes.
#[derive(Debug)]
pub(super) struct Fixed {
    /// `None` once they were handed over.
    addresses: Option<Vec<SocketAddr>>,
}

impl Fixed {
    pub(super) fn new(addresses: Vec<SocketAddr>) -> Self {
        Self {
            addresses: Some(addresses),
        }
    }
}

impl Provider for Fixed {
    fn announce(&mut self, _beacon: &[u8]) {}

    fn poll_find(&mut self, _context: &mut Context<'_>, _buffer: &mut [u8]) -> Poll<Find> {
        match self.addresses.take() {
            Some(addresses) => Poll::Ready(Find::Candidates {
                provider: "static",
                addresses,
            }),
            None => Poll::Pending,
        }
    }
}
