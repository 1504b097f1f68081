//! Address: a node that moves stays who it is.
//!
//! An address is only an attribute: the id goes on, the incarnation rises, and
//! the higher one makes everybody take the new address at once. What was known
//! of the way to the old one (round trips, detours, idle streams) starts anew,
//! at the node that moved and at everybody who hears of it.

use std::net::SocketAddr;

use super::{Event, Peer};
use crate::clock::{Mono, Now};
use crate::id::NodeId;

/// For so long after a move a peer may answer what was said before it.
const ECHOES: Mono = Mono::from_secs(5);

/// What is known of this node's own address.
#[derive(Debug, Default)]
pub(super) struct Whereabouts {
    /// Where peers see us, if that is not where we say we are: told once.
    mismatch_told: Option<SocketAddr>,
    /// Where we were, and until when others' words may be about it.
    former: Option<(SocketAddr, Mono)>,
}

impl Peer {
    /// The shell has moved: others are told, under a higher incarnation.
    pub(super) fn readdress(&mut self, now: Now, address: SocketAddr) {
        let former = std::mem::replace(&mut self.config.address, address);
        if former == address {
            // Behind a translation others see no change, but streams end.
            self.close_all_streams();
            self.streams.view_changed(now.mono);
            return;
        }
        self.whereabouts = Whereabouts {
            mismatch_told: None,
            former: Some((former, now.mono + ECHOES)),
        };
        // Who leaves says goodbye, and no more that it is alive.
        if self.leaving.is_some() {
            return;
        }
        // Still bound to the old address; where that lives on, the others
        // learn that the streams ended in good health.
        self.leave_ring();
        self.close_all_streams();
        self.detours.clear();
        self.discovery.readdressed(now.mono, address);
        self.membership.readdress(now, address);
        self.drain_acts(now);
        self.streams.view_changed(now.mono);
        // What was said while we had no address got lost.
        self.sync.begin(now.mono);
    }

    /// A member that we know is elsewhere now.
    pub(super) fn member_moved(&mut self, id: NodeId) {
        self.detours.forget(id);
        self.close_streams_of(id);
    }

    /// A peer tells under which address it sees us.
    pub(super) fn compare_address(&mut self, seen: SocketAddr) {
        let advertised = self.config.address;
        let present = self.present;
        let stale = |(address, until): (SocketAddr, Mono)| address == seen && present < until;
        let told = self.whereabouts.mismatch_told == Some(seen);
        if seen != advertised && !told && !self.whereabouts.former.is_some_and(stale) {
            self.whereabouts.mismatch_told = Some(seen);
            self.tell(Event::AddressMismatch { advertised, seen });
        }
    }
}
