//! Streams: opened, refused, carried and ended, as two kernels and two shells do.

use std::net::SocketAddr;
use std::time::Duration;

use dui_core::{EndOfStream, KeyFingerprint, Refusal, Stranger, StreamId};

use super::{Happening, World};
use crate::host::{Arrival, Pause, Place};
use crate::queue::Ns;
use crate::wire::{CONNECT_TIMEOUT, End, FIRST_FRAME_TIMEOUT, HANDSHAKE_TIMEOUT, Segment, Wire};

const OPENER: usize = 0;
const ACCEPTOR: usize = 1;
/// A handshake whose acceptor does not run is looked at again after this.
const HANDSHAKE_AGAIN: Duration = Duration::from_millis(100);

impl World {
    // --- as the process asks ---

    pub(super) fn open_stream(&mut self, from: Place, stream: StreamId, to: SocketAddr) {
        let host = &self.hosts[from];
        let end = End::new(from, host.life, stream, host.outer);
        let wire = self.wires.insert(Wire {
            ends: [Some(end), None],
            to,
            opened_at: self.now,
            ready_at: None,
            connected: false,
            early: Vec::new(),
        });
        if let Some(process) = &mut self.hosts[from].process {
            process.streams.insert(stream, (wire, OPENER));
        }
        let delay = match self.at(to) {
            // The SYN is repeated after a second, when the shell has given up.
            Some(target) => match self.network.both_ways(from, target, &mut self.dice) {
                true => self.network.latency(from, target, &mut self.dice),
                false => CONNECT_TIMEOUT.as_nanos() as Ns,
            },
            None => 0,
        };
        self.later(Duration::from_nanos(delay), Happening::Connect { wire });
    }

    pub(super) fn send_frame(&mut self, from: Place, stream: StreamId, bytes: Vec<u8>) {
        self.traffic.frames += 1;
        self.traffic.frame_bytes += bytes.len() as u64;
        self.traffic.frame_bytes_max = self.traffic.frame_bytes_max.max(bytes.len());
        if let Some((wire, end)) = self.end_of(from, stream) {
            self.transmit(wire, end, Segment::Frame(bytes));
        }
    }

    pub(super) fn close_stream(&mut self, from: Place, stream: StreamId) {
        if let Some((wire, end)) = self.end_of(from, stream) {
            self.drop_stream(from, stream);
            self.transmit(wire, end, Segment::Fin);
        }
    }

    /// A process is gone; the kernel ends its streams, if there still is one.
    pub(super) fn end_streams(&mut self, ends: Vec<(u64, usize)>, told: bool) {
        for (wire, end) in ends {
            if let Some(near) = self.end_mut(wire, end) {
                near.gone = true;
            }
            if told && self.network.evidence {
                self.transmit(wire, end, Segment::Fin);
            } else {
                self.forget_wire_without_ends(wire);
            }
        }
    }

    // --- as the network carries ---

    pub(super) fn connect(&mut self, wire: u64) {
        let Some((opener, life, stream, source, to, opened_at)) =
            self.wires.get(wire).and_then(|w| {
                let end = w.ends[OPENER].as_ref()?;
                Some((
                    end.place,
                    end.life,
                    end.stream,
                    end.address,
                    w.to,
                    w.opened_at,
                ))
            })
        else {
            return;
        };
        let ended = |world: &mut Self, at: Ns, how: EndOfStream| {
            world.wires.remove(wire);
            world.end_later(at, opener, life, stream, how);
        };
        if !self.lives(opener, life) {
            self.wires.remove(wire);
            return;
        }
        let timeout_at = opened_at + CONNECT_TIMEOUT.as_nanos() as Ns;
        let keyed = self.hosts[opener].keys.primary().is_some();
        let awaited = self.wires.get(wire).is_some_and(|wire| wire.connected);
        if self.now >= timeout_at && !awaited {
            return ended(self, timeout_at, EndOfStream::Broken);
        }
        let Some(acceptor) = self
            .at(to)
            .filter(|target| self.hosts[*target].is_reachable())
        else {
            return ended(self, timeout_at, EndOfStream::Broken);
        };
        if !self.network.passes(opener, acceptor) || !self.network.passes(acceptor, opener) {
            return ended(self, timeout_at, EndOfStream::Broken);
        }
        let back = self.network.latency(acceptor, opener, &mut self.dice);
        let host = &self.hosts[acceptor];
        let Some(process) = &host.process else {
            if !self.network.evidence {
                return ended(self, timeout_at, EndOfStream::Broken);
            }
            self.wires.remove(wire);
            let at = self.now + back;
            return self.end_later(at, opener, life, stream, EndOfStream::Refused);
        };
        let give_up_at = opened_at + HANDSHAKE_TIMEOUT.as_nanos() as Ns;
        if keyed && process.pause == Pause::Stopped {
            // The kernel has accepted; the handshake waits for the process.
            if self.now >= give_up_at {
                return ended(self, give_up_at, EndOfStream::Silent);
            }
            if let Some(wire) = self.wires.get_mut(wire) {
                wire.connected = true;
            }
            return self.later(HANDSHAKE_AGAIN, Happening::Connect { wire });
        }
        if let Some((ours, theirs)) = self.strangers(opener, acceptor) {
            self.wires.remove(wire);
            self.deliver(acceptor, theirs);
            self.deliver(opener, ours);
            let at = self.now + back;
            return self.end_later(at, opener, life, stream, EndOfStream::Broken);
        }
        // The connect has its answer after one more way, the handshake after three.
        let mut ready_at = self.now + back;
        if keyed {
            ready_at += self.network.frame(opener, acceptor, &mut self.dice);
            ready_at += self.network.frame(acceptor, opener, &mut self.dice);
            if ready_at >= give_up_at {
                return ended(self, give_up_at, EndOfStream::Silent);
            }
        }
        let host = &mut self.hosts[acceptor];
        let life = host.life;
        let Some(process) = &mut host.process else {
            return;
        };
        let accepted = StreamId(process.next_accepted);
        process.next_accepted += 2;
        process.streams.insert(accepted, (wire, ACCEPTOR));
        let early = match self.wires.get_mut(wire) {
            Some(wire) => {
                wire.ends[ACCEPTOR] = Some(End::new(acceptor, life, accepted, to));
                wire.ready_at = Some(ready_at);
                std::mem::take(&mut wire.early)
            }
            None => Vec::new(),
        };
        let arrival = Arrival::Accepted {
            stream: accepted,
            from: source,
        };
        self.deliver(acceptor, arrival);
        for segment in early {
            self.transmit(wire, OPENER, segment);
        }
        self.later(FIRST_FRAME_TIMEOUT, Happening::FirstFrame { wire });
    }

    pub(super) fn segment_arrives(&mut self, wire: u64, from_end: usize, segment: Segment) {
        let Some(state) = self.wires.get_mut(wire) else {
            return;
        };
        if let Some(near) = &mut state.ends[from_end] {
            near.spoke = true;
        }
        let Some(far) = &state.ends[1 - from_end] else {
            return;
        };
        let (place, life, stream, gone) = (far.place, far.life, far.stream, far.gone);
        if gone || !self.lives(place, life) {
            // Nobody holds this end any more, and its host says so.
            if matches!(segment, Segment::Fin) {
                self.wires.remove(wire);
            } else if self.network.evidence && self.hosts[place].is_reachable() {
                self.reset(wire, from_end, EndOfStream::Closed);
            }
            return;
        }
        match segment {
            Segment::Frame(bytes) => self.deliver(place, Arrival::Frame { stream, bytes }),
            Segment::Fin => {
                self.wires.remove(wire);
                let how = EndOfStream::Closed;
                self.deliver(place, Arrival::Ended { stream, how });
            }
        }
    }

    pub(super) fn retransmit(&mut self, wire: u64, end: usize) {
        let now = self.now;
        if self.way_of(wire, end).is_some() {
            let waiting = match self.end_mut(wire, end) {
                Some(near) => std::mem::take(&mut near.backlog),
                None => return,
            };
            for segment in waiting {
                self.transmit(wire, end, segment);
            }
            return;
        }
        let Some(near) = self.end_mut(wire, end) else {
            return;
        };
        match near.try_later(now) {
            Some(at) => self.queue.push(at, Happening::Retransmit { wire, end }),
            None => self.reset(wire, end, EndOfStream::Broken),
        }
    }

    pub(super) fn expect_first_frame(&mut self, wire: u64) {
        let ends = self.wires.get(wire).map(|wire| &wire.ends);
        if let Some([Some(opener), Some(_)]) = ends
            && !opener.spoke
        {
            self.reset(wire, ACCEPTOR, EndOfStream::Broken);
        }
    }

    // --- helpers ---

    fn transmit(&mut self, wire: u64, end: usize, segment: Segment) {
        let now = self.now;
        let Some(state) = self.wires.get_mut(wire) else {
            return;
        };
        let Some(ready_at) = state.ready_at else {
            state.early.push(segment);
            return;
        };
        let waits = state.ends[end]
            .as_ref()
            .is_some_and(|near| !near.backlog.is_empty());
        let way = if waits { None } else { self.way_of(wire, end) };
        let Some((from, to)) = way else {
            let Some(near) = self.end_mut(wire, end) else {
                return;
            };
            match near.hold(now, segment) {
                Ok(Some(at)) => self.queue.push(at, Happening::Retransmit { wire, end }),
                Ok(None) => {}
                Err(()) => self.reset(wire, end, EndOfStream::Broken),
            }
            return;
        };
        let delay = self.network.frame(from, to, &mut self.dice);
        let Some(near) = self.end_mut(wire, end) else {
            return;
        };
        let at = near.in_order(now.max(ready_at), delay);
        let segment = Happening::Segment {
            wire,
            from_end: end,
            segment,
        };
        self.queue.push(at, segment);
    }

    /// From where to where a segment goes; `None`: it does not get through now.
    fn way_of(&self, wire: u64, end: usize) -> Option<(Place, Place)> {
        let wire = self.wires.get(wire)?;
        let (near, far) = (wire.ends[end].as_ref()?, wire.ends[1 - end].as_ref()?);
        let there = |end: &End| {
            let host = &self.hosts[end.place];
            host.is_reachable() && host.outer == end.address
        };
        let (from, to) = (near.place, far.place);
        let both = self.network.passes(from, to) && self.network.passes(to, from);
        (both && there(near) && there(far)).then_some((from, to))
    }

    /// A stream is over for one side, whatever the other one thinks.
    fn reset(&mut self, wire: u64, end: usize, how: EndOfStream) {
        let Some(near) = self.end_mut(wire, end) else {
            return;
        };
        near.backlog.clear();
        let (place, life, stream, told) = (near.place, near.life, near.stream, !near.gone);
        near.gone = true;
        if told {
            self.end_later(self.now, place, life, stream, how);
        }
        self.forget_wire_without_ends(wire);
    }

    fn forget_wire_without_ends(&mut self, wire: u64) {
        let ends = self.wires.get(wire).map(|wire| &wire.ends);
        if ends.is_some_and(|ends| ends.iter().flatten().all(|end| end.gone)) {
            self.wires.remove(wire);
        }
    }

    fn end_later(&mut self, at: Ns, to: Place, life: u32, stream: StreamId, how: EndOfStream) {
        let end = Happening::StreamEnd {
            to,
            life,
            stream,
            how,
        };
        self.queue.push(at.max(self.now), end);
    }

    fn end_mut(&mut self, wire: u64, end: usize) -> Option<&mut End> {
        self.wires.get_mut(wire)?.ends[end].as_mut()
    }

    fn end_of(&self, place: Place, stream: StreamId) -> Option<(u64, usize)> {
        let process = self.hosts[place].process.as_ref()?;
        process.streams.get(&stream).copied()
    }

    pub(super) fn has_stream(&self, place: Place, stream: StreamId) -> bool {
        self.end_of(place, stream).is_some()
    }

    /// A process holds a stream no longer; `false`: it did not.
    pub(super) fn drop_stream(&mut self, place: Place, stream: StreamId) -> bool {
        let Some(process) = &mut self.hosts[place].process else {
            return false;
        };
        let Some((wire, end)) = process.streams.remove(&stream) else {
            return false;
        };
        if let Some(near) = self.end_mut(wire, end) {
            near.gone = true;
        }
        true
    }

    /// Why two hosts do not belong together, as each of them says; `None`: they do.
    fn strangers(&self, opener: Place, acceptor: Place) -> Option<(Arrival, Arrival)> {
        let (one, other) = (&self.hosts[opener], &self.hosts[acceptor]);
        let (ours, theirs) = (one.keys.fingerprint(), other.keys.fingerprint());
        let refused = |refusal, stranger| Arrival::Refused { refusal, stranger };
        if ours != theirs {
            // Without a key on both sides there is no handshake to refuse.
            let keyed = ours != KeyFingerprint::NONE && theirs != KeyFingerprint::NONE;
            let name = other.cluster.parse().ok();
            let wall_ms = other.clock.now(self.now).wall_ms;
            let stranger = name.map(|name| Stranger::new(&other.keys, &name, wall_ms));
            return Some((
                refused(
                    Refusal::key(theirs, &one.keys, other.outer),
                    stranger.filter(|_| keyed),
                ),
                refused(Refusal::key(ours, &other.keys, one.outer), None),
            ));
        }
        if one.cluster != other.cluster {
            let refusal = |ours: &str, theirs: &str, from| Refusal::OtherCluster {
                theirs: theirs.into(),
                ours: ours.into(),
                from,
            };
            return Some((
                refused(refusal(&one.cluster, &other.cluster, other.outer), None),
                refused(refusal(&other.cluster, &one.cluster, one.outer), None),
            ));
        }
        None
    }
}
