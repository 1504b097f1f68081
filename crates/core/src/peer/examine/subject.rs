//! Subject: one peer that is being examined, and what got through so far.

use std::net::SocketAddr;

use super::super::StreamId;
use crate::diagnosis::{LINKS, PeerSeen, StreamSeen};
use crate::id::NodeId;
use crate::wire::{Way, Ways};

#[derive(Debug)]
pub(super) struct Subject {
    pub(super) seen: PeerSeen,
    pub(super) id: Option<NodeId>,
    /// Its cookie, once it has challenged us.
    pub(super) cookie: Option<u64>,
    pub(super) stream: Option<StreamId>,
    /// Of the fastest answer, which tells the clock best.
    pub(super) rtt_ms: Option<u64>,
}

impl Subject {
    pub(super) fn new(address: SocketAddr, expected: bool) -> Self {
        Self {
            seen: PeerSeen {
                address,
                name: None,
                state: None,
                expected,
                there: Ways::default(),
                back: Ways::default(),
                links: Ways::default(),
                stream: StreamSeen::Untried,
                refused: false,
                denied: false,
                clock_ahead_ms: None,
                seen: None,
                refusal: None,
            },
            id: None,
            cookie: None,
            stream: None,
            rtt_ms: None,
        }
    }

    /// Whether everything that can get through has.
    pub(super) fn complete(&self, links: Ways, heard: Ways) -> bool {
        let through = |ways: Ways| {
            ways.contains_all(&Way::PACKETS)
                && LINKS.into_iter().all(|link| {
                    ways.contains(link) || !links.contains(link) || !self.seen.links.contains(link)
                })
        };
        let streams =
            self.seen.stream == StreamSeen::Answered && self.seen.back.contains(Way::StreamBack);
        (through(self.seen.there) && through(self.seen.back) && streams)
            || self.seen.refusal.is_some()
                && LINKS
                    .into_iter()
                    .all(|link| heard.contains(link) || !links.contains(link))
    }
}
