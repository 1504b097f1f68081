//! Detour: to members whom packets do not reach, everything goes by stream.
//!
//! Firewalls that pass TCP and drop UDP are common, and so are paths that
//! work in one direction. A probe that only a stream could answer is the sign.
//! From the first on, what would go by packet goes by a stream that is kept
//! while it is used; after the second, probes do too, and the application is
//! told. Now and then a packet is tried again: its ack ends the detour.
//!
//! ```text
//! ann ── ping ──✗            bo     packets: nothing comes back
//! ann ── stream: ping ─────▶ bo     at 200 ms, as ever
//! ann ◀─ ack on it ───────── bo     first sign: news for bo goes by stream
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use super::outbox::Path;
use super::{Event, Peer};
use crate::clock::Mono;
use crate::id::NodeId;

/// Signs after which probes take the detour, too, and the application is told.
const CERTAIN: u32 = 2;
/// How often a packet is tried again.
const RETRY: Duration = Duration::from_secs(30);
/// Members whom packets do not reach, at most; the others are probed as ever.
const DETOURS_MAX: usize = 1_024;

/// Members whom packets do not reach.
#[derive(Debug, Default)]
pub(super) struct Detours {
    to: BTreeMap<NodeId, Detour>,
}

#[derive(Debug)]
struct Detour {
    signs: u32,
    retry_at: Mono,
}

impl Detours {
    /// Whether streams reach this one better than packets do.
    pub(super) fn is_taken(&self, to: NodeId) -> bool {
        self.to.contains_key(&to)
    }

    pub(super) fn clear(&mut self) {
        self.to.clear();
    }

    pub(super) fn forget(&mut self, id: NodeId) {
        self.to.remove(&id);
    }

    fn certain(&self) -> impl Iterator<Item = NodeId> {
        let certain = self.to.iter().filter(|(_, detour)| detour.signs >= CERTAIN);
        certain.map(|(id, _)| *id)
    }
}

impl Peer {
    /// Members to whom packets do not get through while streams do, sorted.
    pub fn udp_blocked(&self) -> Vec<NodeId> {
        self.detours.certain().collect()
    }

    /// How a probe of this one goes out: by packet, by stream, or both.
    pub(super) fn probe_paths(&mut self, to: NodeId) -> (bool, bool) {
        let now = self.present;
        match self.detours.to.get_mut(&to) {
            Some(detour) if detour.signs >= CERTAIN => {
                let retry = now >= detour.retry_at;
                if retry {
                    detour.retry_at = now + RETRY;
                }
                (retry, true)
            }
            _ => (true, false),
        }
    }

    /// An answer came on a stream of ours: packets had none to bring.
    pub(super) fn answered_by_stream(&mut self, path: Path, from: NodeId) {
        let Path::Stream(stream, _) = path else {
            return;
        };
        let full = self.detours.to.len() >= DETOURS_MAX && !self.detours.is_taken(from);
        if full || !self.streams.is_ours(stream) || !self.membership.is_live(from) {
            return;
        }
        let retry_at = self.present + RETRY;
        let detour = self
            .detours
            .to
            .entry(from)
            .or_insert(Detour { signs: 0, retry_at });
        detour.signs = detour.signs.saturating_add(1);
        if detour.signs == CERTAIN {
            self.tell_path(from, false);
        }
    }

    /// A packet of ours was answered by a packet.
    pub(super) fn answered_by_packet(&mut self, from: NodeId) {
        let ended = self.detours.to.remove(&from);
        if ended.is_some_and(|detour| detour.signs >= CERTAIN) {
            self.tell_path(from, true);
        }
    }

    fn tell_path(&mut self, id: NodeId, udp: bool) {
        if let Some(member) = self.membership.snapshot(id) {
            self.tell(Event::PathChanged { member, udp });
        }
    }
}
