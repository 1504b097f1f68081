//! Answer: what a node does for somebody who examines, and how much of it.

use std::time::Duration;

use super::super::outbox::Path;
use super::super::{Peer, StreamId};
use super::Examinations;
use crate::clock::{Mono, Now};
use crate::id::NodeId;
use crate::wire::{Examine, Examined, Packet, Purpose, Way, Ways};

/// Examinations of others that are noted at once, and for how long.
const OTHERS_MAX: usize = 64;
const OTHERS_KEPT: Duration = Duration::from_secs(15);
/// What is done at most for one examination.
const ANSWERS_MAX: u32 = 256;
const FAVOURS_MAX: u32 = 3;
const BEACONS_MAX: u32 = 8;
/// One after another: where much gets lost the first ones break.
const STREAMS_MAX: u32 = 24;
const STREAM_EVERY: Duration = Duration::from_millis(250);
/// Members that an examiner is told of.
const MEMBERS_TOLD: usize = 24;

/// What arrived of somebody else's examination.
#[derive(Debug)]
pub(super) struct Other {
    since: Mono,
    pub(super) arrived: Ways,
    answers: u32,
    packets: u32,
    streams: u32,
    /// The last one.
    stream: Option<StreamId>,
    beacons: u32,
}

/// Counts one more of what is done only so often.
fn once_more(count: &mut u32, max: u32) -> bool {
    let more = *count < max;
    *count += u32::from(more);
    more
}

impl Examinations {
    /// What arrived of this examination, and room to note more; `None` when
    /// there are too many.
    pub(super) fn other(&mut self, now: Mono, number: u64) -> Option<&mut Other> {
        self.others
            .retain(|_, other| now.saturating_sub(other.since) < OTHERS_KEPT);
        if self.others.len() >= OTHERS_MAX && !self.others.contains_key(&number) {
            return None;
        }
        Some(self.others.entry(number).or_insert(Other {
            since: now,
            arrived: Ways::default(),
            answers: 0,
            packets: 0,
            streams: 0,
            stream: None,
            beacons: 0,
        }))
    }
}

impl Peer {
    /// Somebody examines: notes what has arrived, answers, and does it a favour.
    pub(in crate::peer) fn hear_examine(
        &mut self,
        now: Now,
        path: Path,
        from: NodeId,
        padding: usize,
        asked: Examine,
    ) {
        let Some(other) = self.examinations.other(now.mono, asked.number) else {
            return;
        };
        let by_packet = matches!(path, Path::Packet(_));
        let truthful = padding + 200 >= asked.way.packet_bytes();
        other
            .arrived
            .insert(if by_packet { asked.way } else { Way::Stream });
        let answer = truthful && once_more(&mut other.answers, ANSWERS_MAX);
        // Nobody sends us elsewhere than to where it is itself.
        let honest = asked.address.ip() == path.address().ip();
        let packets = !by_packet
            && honest
            && asked.wishes.packets
            && once_more(&mut other.packets, FAVOURS_MAX);
        let age = other.stream.and_then(|it| self.streams.age(it, now.mono));
        let stream = asked.wishes.stream
            && honest
            && age.is_none_or(|age| age >= STREAM_EVERY)
            && once_more(&mut other.streams, STREAMS_MAX);
        let beacon = asked.wishes.beacon && once_more(&mut other.beacons, BEACONS_MAX);
        if answer {
            let packet = self.answer(
                now,
                &asked,
                path,
                if by_packet { asked.way } else { Way::Stream },
            );
            match path {
                Path::Packet(address) => self.send_padded(address, packet, asked.way),
                _ => self.answer_with_members(path, from, packet),
            }
        }
        if packets {
            for way in Way::PACKETS {
                let packet = self.answer(now, &asked, path, way);
                self.send_padded(asked.address, packet, way);
            }
        }
        if stream {
            let mut packet = self.answer(now, &asked, path, Way::StreamBack);
            packet.stream = Some(Purpose::Examine);
            let stream = self.open_stream(asked.address, None, packet);
            if let Some(other) = self.examinations.other(now.mono, asked.number) {
                other.stream = stream;
            }
        }
        if beacon {
            self.send_beacon(None, Some(asked.number));
        }
    }

    /// Whoever is no member learns of some, so that it can examine those, too.
    fn answer_with_members(&mut self, path: Path, from: NodeId, mut packet: Packet) {
        if !self.membership.is_live(from) {
            let some = self
                .membership
                .sample(MEMBERS_TOLD, &mut self.rng, |id| id == from);
            packet.members = self.records(&some);
        }
        self.send(path, None, packet);
    }

    fn answer(&self, now: Now, asked: &Examine, path: Path, way: Way) -> Packet {
        let arrived = self.examinations.others.get(&asked.number);
        let mut packet = Packet::new(self.config.id);
        packet.echo = (asked.cookie != 0).then_some(asked.cookie);
        if let Path::Packet(from) = path {
            packet.seen = Some(from);
        }
        packet.examined = Some(Examined {
            number: asked.number,
            clock_ms: now.wall_ms,
            asked_ms: asked.clock_ms,
            address: self.config.address,
            way,
            arrived: arrived.map(|other| other.arrived).unwrap_or_default(),
            links: self.examinations.links,
        });
        packet
    }
}
