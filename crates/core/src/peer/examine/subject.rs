//! Subject: one peer that is being examined, and what got through so far.

use std::net::SocketAddr;

use super::super::{Refusal, StreamId};
use crate::diagnosis::{LINKS, PeerSeen, StreamSeen, TurnedAway};
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
                turned_away: None,
            },
            id: None,
            cookie: None,
            stream: None,
            rtt_ms: None,
        }
    }

    /// Whether its beacons were heard by every one of these links.
    pub(super) fn hears(&self, links: Ways) -> bool {
        let mut used = LINKS.into_iter().filter(|link| links.contains(*link));
        used.all(|link| self.seen.back.contains(link))
    }

    /// Whether our streams have shown all that they can.
    pub(super) fn is_done_with_streams(&self) -> bool {
        let turned_away = |told: TurnedAway| told.by.contains(Way::Stream);
        [StreamSeen::Answered, StreamSeen::Refused].contains(&self.seen.stream)
            || self.seen.turned_away.is_some_and(turned_away)
    }

    /// Whether packets get through, and streams may yet.
    pub(super) fn waits_for_streams(&self) -> bool {
        let packets = self.seen.back.contains(Way::Packet)
            || self
                .seen
                .turned_away
                .is_some_and(|told| told.by.contains(Way::Packet));
        let back = self.seen.turned_away.is_some() || self.seen.back.contains(Way::StreamBack);
        packets && !(self.is_done_with_streams() && back)
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
        // With another key it answers both packets and streams, by a refusal.
        let refused = match (&self.seen.refusal, self.seen.turned_away) {
            (Some(Refusal::OtherKey { .. }), told) => {
                told.is_some_and(|told| told.by.contains_all(&[Way::Packet, Way::Stream]))
            }
            (refusal, _) => refusal.is_some(),
        };
        (through(self.seen.there) && through(self.seen.back) && streams)
            || refused
                && LINKS
                    .into_iter()
                    .all(|link| heard.contains(link) || !links.contains(link))
    }
}
