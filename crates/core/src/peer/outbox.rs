//! Outbox: packets on their way out: addressed, proven, packed, sealed.

use std::net::SocketAddr;

use super::{Output, Peer, StreamId};
use crate::id::NodeId;
use crate::seal::Channel;
use crate::wire::{FRAME_BYTES_MAX, PACKET_BYTES_MAX, Packet};

/// Where a packet came from, and where its answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    /// The peer socket.
    Packet(SocketAddr),
    /// A stream, and the address at its other end.
    Stream(StreamId, SocketAddr),
    /// Heard on a discovery socket: never answered there.
    Multicast(SocketAddr),
}

impl Path {
    pub(super) fn address(self) -> SocketAddr {
        match self {
            Path::Packet(address) | Path::Stream(_, address) | Path::Multicast(address) => address,
        }
    }
}

/// Bytes of a packet besides its lists, at most: cluster name, sender, digest,
/// echo, seen, ping or ack.
const FIXED_BYTES: usize = 160;
/// The echo, which is added last.
const ECHO_BYTES: usize = 9;

impl Peer {
    /// Room for list items in a packet; the largest rumor or event that goes by packet.
    pub(super) fn room(&self) -> usize {
        PACKET_BYTES_MAX - self.seal.overhead() - FIXED_BYTES
    }

    /// Room for list items on this path.
    pub(super) fn room_on(&self, path: Path) -> usize {
        match path {
            Path::Stream(..) => FRAME_BYTES_MAX - FIXED_BYTES,
            Path::Packet(_) | Path::Multicast(_) => self.room(),
        }
    }

    /// Sends to a member at its address.
    pub(super) fn send_to(&mut self, to: NodeId, packet: Packet) {
        if let Some(entry) = self.membership.table().get(to) {
            let address = entry.info.address;
            self.send(Path::Packet(address), Some(to), packet);
        }
    }

    /// Sends along a path, or by stream to a member whom packets do not
    /// reach. `to`, if known, says whose cookie to echo.
    pub(super) fn send(&mut self, path: Path, to: Option<NodeId>, packet: Packet) {
        match path {
            Path::Packet(address) => match to.filter(|to| self.detours.is_taken(*to)) {
                Some(to) => self.send_by_detour(address, to, packet),
                None => self.send_packet(address, to, packet),
            },
            // The shell has made the stream private and fresh.
            Path::Stream(stream, _) => {
                let bytes = packet.encode(&self.config.cluster);
                assert!(
                    bytes.len() <= FRAME_BYTES_MAX,
                    "frames are packed by their room"
                );
                self.outputs.push_back(Output::StreamSend { stream, bytes });
            }
            Path::Multicast(_) => {}
        }
    }

    /// Answers what came by packet also by packet where a detour is taken: only
    /// so it shows that packets get through again, and an echo on a stream
    /// opens no window for packets.
    pub(super) fn send_both_ways(&mut self, path: Path, to: NodeId, packet: Packet) {
        if let Path::Packet(address) = path
            && self.detours.is_taken(to)
        {
            self.send_packet(address, Some(to), packet.clone());
        }
        self.send(path, Some(to), packet);
    }

    /// Sends by packet, whether or not that gets through.
    pub(super) fn send_packet(
        &mut self,
        address: SocketAddr,
        to: Option<NodeId>,
        mut packet: Packet,
    ) {
        if packet.echo.is_none() {
            packet.echo = to.and_then(|to| self.proof_for(to));
        }
        let plain = packet.encode(&self.config.cluster);
        let sealed = self.seal.seal(Channel::Packet, &plain, &mut self.rng);
        assert!(
            sealed.len() <= PACKET_BYTES_MAX,
            "lists are packed by their room, so a packet of {} bytes is a miscount: {packet:?}",
            sealed.len()
        );
        self.counters.packets_sent += 1;
        self.counters.bytes_sent += sealed.len() as u64;
        self.outputs.push_back(Output::Send {
            to: address,
            bytes: sealed,
        });
    }

    /// Sends once to everybody who listens on the discovery sockets.
    pub(super) fn send_multicast(&mut self, packet: &Packet) {
        let plain = packet.encode(&self.config.cluster);
        let sealed = self.seal.seal(Channel::Packet, &plain, &mut self.rng);
        if sealed.len() <= PACKET_BYTES_MAX {
            self.outputs.push_back(Output::Beacon { bytes: sealed });
        }
    }

    /// Sends a list in as many packets as it takes: `put` adds an item.
    pub(super) fn send_list<Item>(
        &mut self,
        path: Path,
        to: Option<NodeId>,
        mut first: Packet,
        items: Vec<Item>,
        len: impl Fn(&Item) -> usize,
        put: impl Fn(&mut Packet, Item),
    ) {
        let room = self.room_on(path);
        // What the first says besides may be more than the room leaves for it.
        let besides = first.encode(&self.config.cluster).len() + ECHO_BYTES;
        let mut used = besides.saturating_sub(FIXED_BYTES);
        for item in items {
            let bytes = len(&item);
            if bytes > room {
                continue;
            }
            if used + bytes > room {
                let full = std::mem::replace(&mut first, Packet::new(self.config.id));
                self.send(path, to, full);
                used = 0;
            }
            used += bytes;
            put(&mut first, item);
        }
        self.send(path, to, first);
    }

    /// The member's cookie, until it is known to have a window for our salt:
    /// so that a first contact needs no challenge.
    pub(super) fn proof_for(&self, to: NodeId) -> Option<u64> {
        let entry = self.membership.table().get(to)?;
        let cookie = entry.info.cookie;
        (entry.introduced != self.standing() && cookie != 0).then_some(cookie)
    }

    /// A member acted on a packet of ours: it has a window for our salt.
    pub(super) fn introduced_to(&mut self, id: NodeId) {
        self.membership.set_introduced(id, self.standing());
    }

    /// Names our present salt, never 0; twins are 2^36 packets apart.
    fn standing(&self) -> u16 {
        let names = u64::from(u16::MAX);
        (self.seal.salt_generation() % names) as u16 + 1
    }
}
