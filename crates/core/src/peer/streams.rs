//! Streams: idle ones whose end is evidence, and short ones for what packets cannot do.
//!
//! Each node keeps one idle stream to each of its two successors on the ring
//! of ids. A process that dies takes its streams with it, and its neighbours
//! know within milliseconds; one that leaves says goodbye on them first.
//!
//! Source: JGroups' FD_SOCK, with two successors instead of one.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::outbox::Path;
use super::{EndOfStream, Output, Peer, StreamId};
use crate::clock::{Mono, Now};
use crate::id::NodeId;
use crate::membership::Membership;
use crate::wire::{Packet, Purpose};

/// Successors to whom an idle stream is kept.
const SUCCESSORS: usize = 2;
/// The ring is adjusted after the view was quiet for so long.
const SETTLE: Duration = Duration::from_millis(500);
/// A ring stream that could not be opened is tried again after this.
const RETRY: Duration = Duration::from_secs(5);
/// Short streams are closed after this, whatever happened.
const SHORT_LIVED: Duration = Duration::from_secs(5);
/// Short streams open at once, of ours.
const SHORT_MAX: usize = 64;

/// One stream.
#[derive(Debug)]
struct Stream {
    address: SocketAddr,
    ours: bool,
    /// Said in the first frame; ours are said by us.
    purpose: Option<Purpose>,
    peer: Option<NodeId>,
    opened: Mono,
}

/// All streams of a node.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: BTreeMap<StreamId, Stream>,
    next: u64,
    ring_at: Option<Mono>,
}

impl Streams {
    pub(super) fn address(&self, stream: StreamId) -> Option<SocketAddr> {
        self.open.get(&stream).map(|stream| stream.address)
    }

    /// How long ago it was opened; `None` once it is gone.
    pub(super) fn age(&self, stream: StreamId, now: Mono) -> Option<Duration> {
        let stream = self.open.get(&stream)?;
        Some(now.saturating_sub(stream.opened))
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn is_ours(&self, stream: StreamId) -> bool {
        self.open.get(&stream).is_some_and(|stream| stream.ours)
    }

    /// Whether the other side opened a stream, for this.
    pub(super) fn is_theirs_for(&self, stream: StreamId, purpose: Purpose) -> bool {
        let stream = self.open.get(&stream);
        stream.is_some_and(|stream| !stream.ours && stream.purpose == Some(purpose))
    }

    pub(super) fn accepted(&mut self, stream: StreamId, address: SocketAddr) {
        self.open.insert(
            stream,
            Stream {
                address,
                ours: false,
                purpose: None,
                peer: None,
                opened: Mono::ZERO,
            },
        );
    }

    /// The other side said what an accepted stream is for. Goodbye may follow.
    pub(super) fn spoken(&mut self, stream: StreamId, peer: NodeId, purpose: Purpose) {
        if let Some(stream) = self.open.get_mut(&stream)
            && (!stream.ours || purpose == Purpose::Goodbye)
        {
            stream.peer = Some(peer);
            stream.purpose = Some(purpose);
        }
    }

    /// Neighbours may have changed.
    pub(super) fn view_changed(&mut self, now: Mono) {
        // At most so long after the first change, or churn would starve the ring.
        let at = now + SETTLE;
        self.ring_at = Some(self.ring_at.map_or(at, |set| set.min(at)));
    }

    pub(super) fn deadline(&self) -> Option<Mono> {
        let shorts = self.open.values().filter(|stream| stream.is_short());
        let expiry = shorts.map(|stream| stream.opened + SHORT_LIVED).min();
        self.ring_at.into_iter().chain(expiry).min()
    }

    fn start(
        &mut self,
        now: Mono,
        address: SocketAddr,
        peer: Option<NodeId>,
        purpose: Purpose,
    ) -> StreamId {
        self.next += 2;
        let id = StreamId(self.next);
        let stream = Stream {
            address,
            ours: true,
            purpose: Some(purpose),
            peer,
            opened: now,
        };
        self.open.insert(id, stream);
        id
    }

    fn shorts(&self) -> usize {
        self.open
            .values()
            .filter(|stream| stream.is_short() && stream.purpose != Some(Purpose::Examine))
            .count()
    }

    fn to_successor(&self, peer: NodeId) -> bool {
        self.open
            .values()
            .any(|stream| stream.ours && stream.is_ring() && stream.peer == Some(peer))
    }
}

impl Stream {
    fn is_ring(&self) -> bool {
        self.purpose == Some(Purpose::Ring)
    }

    fn is_short(&self) -> bool {
        self.ours && !self.is_ring()
    }
}

/// The next live members after this node on the ring of ids.
fn successors(me: NodeId, membership: &Membership) -> Vec<NodeId> {
    let live = membership.live();
    let place = live.partition_point(|id| *id <= me);
    let after = live[place..].iter().chain(&live[..place]);
    after
        .copied()
        .filter(|id| *id != me)
        .take(SUCCESSORS)
        .collect()
}

impl Peer {
    /// Opens, closes and tidies what is due.
    pub(super) fn tend_streams(&mut self, now: Now) {
        if self.streams.deadline().is_none_or(|at| at > now.mono) {
            return;
        }
        let expired: Vec<StreamId> = self
            .streams
            .open
            .iter()
            .filter(|(_, stream)| stream.is_short() && now.mono >= stream.opened + SHORT_LIVED)
            .map(|(id, _)| *id)
            .collect();
        for stream in expired {
            self.close(stream);
        }
        if self.streams.ring_at.is_some_and(|at| at <= now.mono) {
            self.streams.ring_at = None;
            if self.leaving.is_none() {
                self.adjust_ring();
            }
        }
    }

    fn adjust_ring(&mut self) {
        let wanted = successors(self.config.id, &self.membership);
        let surplus: Vec<StreamId> = self
            .streams
            .open
            .iter()
            .filter(|(_, stream)| stream.ours && stream.is_ring())
            .filter(|(_, stream)| stream.peer.is_none_or(|peer| !wanted.contains(&peer)))
            .map(|(id, _)| *id)
            .collect();
        for stream in surplus {
            self.say_goodbye(stream);
        }
        for peer in wanted {
            if self.streams.to_successor(peer) {
                continue;
            }
            let Some(address) = self
                .membership
                .table()
                .get(peer)
                .map(|entry| entry.info.address)
            else {
                continue;
            };
            let mut packet = Packet::new(self.config.id);
            packet.stream = Some(Purpose::Ring);
            self.open_stream(address, Some(peer), packet);
        }
    }

    /// Asks for what is too large for a packet.
    pub(super) fn ask_by_stream(&mut self, from: NodeId, mut packet: Packet) {
        let Some(entry) = self.membership.table().get(from) else {
            return;
        };
        let address = entry.info.address;
        packet.stream = Some(Purpose::Bulk);
        self.open_stream(address, Some(from), packet);
    }

    /// Opens a stream for what its first frame says; its name. `None` when too
    /// many are open, or the first frame does not say for what.
    pub(super) fn open_stream(
        &mut self,
        to: SocketAddr,
        peer: Option<NodeId>,
        mut first: Packet,
    ) -> Option<StreamId> {
        let purpose = first.stream?;
        if purpose != Purpose::Ring && self.streams.shorts() >= SHORT_MAX {
            return None;
        }
        let stream = self.streams.start(self.present, to, peer, purpose);
        first.brief = false;
        self.outputs.push_back(Output::StreamOpen { stream, to });
        self.send(Path::Stream(stream, to), peer, first);
        Some(stream)
    }

    /// A short stream that is used lives on.
    pub(super) fn use_stream(&mut self, id: StreamId) -> Option<Path> {
        let stream = self.streams.open.get_mut(&id)?;
        stream.opened = self.present;
        Some(Path::Stream(id, stream.address))
    }

    /// What would have gone by packet. A stream serves while it is used.
    pub(super) fn send_by_detour(&mut self, to: SocketAddr, peer: NodeId, mut packet: Packet) {
        let mut open = self.streams.open.iter_mut();
        let kept = open.find(|(_, stream)| {
            stream.ours && stream.purpose == Some(Purpose::Detour) && stream.peer == Some(peer)
        });
        if let Some((id, stream)) = kept {
            stream.opened = self.present;
            let path = Path::Stream(*id, stream.address);
            self.send(path, Some(peer), packet);
        } else {
            packet.stream = Some(Purpose::Detour);
            self.open_stream(to, Some(peer), packet);
        }
    }

    /// Greets by stream whom packets may not reach.
    pub(super) fn greet_by_stream(&mut self, to: SocketAddr) {
        if self.leaving.is_some() || to == self.config.address {
            return;
        }
        let mut packet = self.hello();
        packet.stream = Some(Purpose::Bulk);
        self.open_stream(to, None, packet);
    }

    /// A stream is gone. Of a ring stream that nobody said goodbye on, that is evidence.
    pub(super) fn stream_ended(&mut self, now: Now, id: StreamId, how: EndOfStream) {
        self.exchanges.ended(id);
        self.examinations.stream_ended(id, how);
        let Some(stream) = self.streams.open.remove(&id) else {
            return;
        };
        let ring = stream.is_ring();
        if ring && stream.ours {
            let wait = if matches!(how, EndOfStream::Broken | EndOfStream::Silent) {
                RETRY
            } else {
                SETTLE
            };
            self.streams.ring_at.get_or_insert(now.mono + wait);
        }
        if self.leaving.is_some() {
            return;
        }
        match (how, stream.peer) {
            (EndOfStream::Closed, Some(peer)) if ring => {
                self.membership.stream_lost(now, peer, &mut self.rng);
            }
            (EndOfStream::Refused, _) if stream.ours => {
                self.membership.refused(now, stream.address, &mut self.rng);
            }
            _ => {}
        }
        self.drain_acts(now);
    }

    /// A probe by stream was answered on it.
    pub(super) fn close_probe_stream(&mut self, path: Path) {
        if let Path::Stream(id, _) = path
            && let Some(stream) = self.streams.open.get(&id)
            && stream.ours
            && stream.purpose == Some(Purpose::Probe)
        {
            self.close(id);
        }
    }

    /// Every ring stream ends in good health.
    pub(super) fn leave_ring(&mut self) {
        let rings: Vec<StreamId> = self
            .streams
            .open
            .iter()
            .filter(|(_, stream)| stream.is_ring())
            .map(|(id, _)| *id)
            .collect();
        for stream in rings {
            self.say_goodbye(stream);
        }
    }

    /// A member is gone: its streams, if it vanished without ending them, are too.
    pub(super) fn close_streams_of(&mut self, peer: NodeId) {
        let open = self.streams.open.iter();
        let theirs = open.filter(|(_, stream)| stream.peer == Some(peer));
        let theirs: Vec<StreamId> = theirs.map(|(id, _)| *id).collect();
        for stream in theirs {
            self.close(stream);
        }
    }

    /// This node has moved: nothing that was open leads here any more.
    pub(super) fn close_all_streams(&mut self) {
        let all: Vec<StreamId> = self.streams.open.keys().copied().collect();
        for stream in all {
            self.close(stream);
        }
    }

    fn say_goodbye(&mut self, id: StreamId) {
        let Some(stream) = self.streams.open.get(&id) else {
            return;
        };
        let (path, peer) = (Path::Stream(id, stream.address), stream.peer);
        let mut packet = Packet::new(self.config.id);
        packet.stream = Some(Purpose::Goodbye);
        self.send(path, peer, packet);
        self.close(id);
    }

    pub(super) fn close(&mut self, id: StreamId) {
        self.exchanges.ended(id);
        if self.streams.open.remove(&id).is_some() {
            self.outputs.push_back(Output::StreamClose { stream: id });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn churn_does_not_put_the_ring_off_for_ever() {
        let mut streams = Streams::default();
        for change in 0..100 {
            streams.view_changed(Duration::from_millis(100 * change));
        }
        assert_eq!(streams.deadline(), Some(SETTLE));
    }
}
