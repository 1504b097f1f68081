//! Examine: what gets through between this node and its peers, each way of it by itself.
//!
//! ```text
//! ann                                          bo
//! packets of five lengths, a stream, a beacon ─▶  notes by which ways they came
//!   ◀─ the same by packet, and what has come so far
//!   ◀─ on the stream: what has come so far
//!   ◀─ packets of five lengths, a stream, a beacon: unasked, since the way
//!      there may be blocked and the way back not
//! ```
//!
//! All of it carries the random number of the examination. Whoever is asked
//! needs not know the asker, and does not learn of a member by it; an answer
//! by packet is no longer than its question, and believed by the rules of
//! every packet. What is noted about others' examinations is bounded, and so
//! is what is done for them.

mod answer;
mod subject;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use rand_core::Rng;

use answer::Other;
use subject::Subject;

use super::outbox::Path;
use super::{EndOfStream, MemberState, Peer, Refusal, StreamId};
use crate::clock::{Mono, Now};
use crate::diagnosis::{Examination, PeerSeen, StreamSeen};
use crate::id::NodeId;
use crate::seal::Stranger;
use crate::wire::{Beacon, Examine, Examined, MemberRecord, Packet, Purpose, Way, Ways, Wishes};

/// Peers examined at once; of more, a sample.
pub const SUBJECTS_MAX: usize = 64;
/// What was not answered is asked again so often: of a way that loses a third
/// of its packets in each direction, one examination in 40,000 sees nothing.
const TRY_EVERY: Duration = Duration::from_millis(150);
/// From this try on everybody is asked what has arrived by now.
const ROLL_CALL: u32 = 6;
/// Tries of an examination that is over.
const OVER: u32 = u32::MAX;
/// An examination is over after this, whoever has not answered.
const LASTS: Duration = Duration::from_millis(2_800);
/// But not while packets get through to somebody and streams do not: where a
/// third of what is sent gets lost, TCP takes so long to set one up.
pub const LASTS_MAX: Duration = Duration::from_secs(12);
/// Then all that is slower, and a stream that did not come about is opened
/// anew, as long as it has time to.
const OVERTIME_EVERY: Duration = Duration::from_millis(400);
const STREAM_TAKES: Duration = Duration::from_millis(600);
/// One on which nothing came for so long is given up for another.
const STREAM_WAITS: Duration = Duration::from_millis(1_500);
/// The number of no examination: a beacon that only asks to be greeted.
const CALL: u64 = 0;
/// Addresses that somebody was overheard at.
const OVERHEARD_MAX: usize = 64;

/// Whom else to examine, and how.
#[derive(Clone, Debug, Default)]
pub struct ExamineAlso {
    /// Addresses beside those that this node knows of: somebody should be there.
    pub expected: Vec<SocketAddr>,
    /// Addresses where somebody may be.
    pub possible: Vec<SocketAddr>,
}

/// Examinations: our own one, and what arrived of others'.
#[derive(Debug, Default)]
pub(in crate::peer) struct Examinations {
    own: Option<Own>,
    others: BTreeMap<u64, Other>,
    /// Who greeted or was heard while we only examine.
    overheard: Vec<SocketAddr>,
    /// The links that this node listens to.
    links: Ways,
}

#[derive(Debug)]
struct Own {
    number: u64,
    began: Mono,
    tries: u32,
    /// How long it lasts, as far as is known by now.
    lasts: Duration,
    subjects: Vec<Subject>,
    left_out: usize,
    heard: Ways,
}

impl Own {
    /// When the next try is due, after the begin.
    fn next_try(&self) -> Option<Duration> {
        let in_time = TRY_EVERY.checked_mul(self.tries)?;
        let after = if in_time < LASTS {
            in_time
        } else {
            let regular = LASTS.as_millis().div_ceil(TRY_EVERY.as_millis()) as u32;
            LASTS.checked_add(OVERTIME_EVERY.checked_mul(self.tries - regular)?)?
        };
        (after < self.lasts).then_some(after)
    }

    fn is_over(&self, now: Mono) -> bool {
        self.tries == OVER || now >= self.began + self.lasts
    }
}

impl Examinations {
    pub(in crate::peer) fn deadline(&self) -> Option<Mono> {
        let own = self.own.as_ref().filter(|own| own.tries != OVER)?;
        Some(own.began + own.next_try().unwrap_or(own.lasts))
    }

    fn subject(&mut self, fits: impl Fn(&Subject) -> bool) -> Option<&mut Subject> {
        self.own.as_mut()?.subjects.iter_mut().find(|it| fits(it))
    }

    fn at(&mut self, address: SocketAddr) -> Option<&mut Subject> {
        self.subject(|subject| subject.seen.address == address)
    }

    /// Somebody greets us, or was heard.
    pub(in crate::peer) fn overhear(&mut self, address: SocketAddr) {
        if self.overheard.len() < OVERHEARD_MAX && !self.overheard.contains(&address) {
            self.overheard.push(address);
        }
    }

    /// A packet of ours was answered by port unreachable.
    pub(in crate::peer) fn refused(&mut self, address: SocketAddr) {
        if let Some(subject) = self.at(address) {
            subject.seen.refused = true;
        }
    }

    /// Something arrived by a link, whoever sent it.
    pub(in crate::peer) fn heard(&mut self, provider: &str) {
        if let (Some(own), Some(way)) = (&mut self.own, Way::of_provider(provider)) {
            own.heard.insert(way);
        }
    }

    /// Somebody wants to see its cookie echoed.
    pub(in crate::peer) fn challenged(&mut self, address: SocketAddr, cookie: u64) {
        if let Some(subject) = self.at(address) {
            subject.cookie = Some(cookie);
        }
    }

    /// Somebody was refused, or refused us.
    pub(in crate::peer) fn refuse(&mut self, refusal: &Refusal) {
        let Some(from) = refusal.from() else {
            return;
        };
        // A beacon comes from another port than its sender is at. Who answers,
        // or is a member, has been understood: that is somebody else there.
        let fits = |subject: &Subject| {
            let alone = !from.ip().is_loopback() && subject.seen.state != Some(MemberState::Alive);
            subject.id.is_none()
                && (subject.seen.address == from || alone && subject.seen.address.ip() == from.ip())
        };
        if let Some(subject) = self.subject(fits) {
            subject.seen.refusal = Some(refusal.clone());
        }
    }

    /// Somebody with another key turned a packet or a stream of ours away.
    pub(in crate::peer) fn turned_away(
        &mut self,
        now: Now,
        from: SocketAddr,
        way: Way,
        by: Stranger,
        same_name: bool,
    ) {
        let Some(subject) = self.at(from).filter(|subject| subject.id.is_none()) else {
            return;
        };
        let told = subject.seen.turned_away.get_or_insert_default();
        told.by.insert(way);
        told.same_name = same_name;
        // That it took a round trip to arrive is little beside what counts.
        let ahead = by.wall_ms.wrapping_sub(now.wall_ms) as i64;
        subject.seen.clock_ahead_ms = Some(ahead);
    }

    /// A stream of ours is gone, perhaps one of an examination.
    pub(in crate::peer) fn stream_ended(&mut self, stream: StreamId, how: EndOfStream) {
        let Some(subject) = self.subject(|subject| subject.stream == Some(stream)) else {
            return;
        };
        subject.stream = None;
        // What an earlier one has shown a later one that broke does not undo.
        subject.seen.stream = match (subject.seen.stream, how) {
            (StreamSeen::Answered, _) => StreamSeen::Answered,
            (_, EndOfStream::Refused) => StreamSeen::Refused,
            (StreamSeen::Silent, _) | (_, EndOfStream::Silent | EndOfStream::Closed) => {
                StreamSeen::Silent
            }
            (_, EndOfStream::Broken) => StreamSeen::Broken,
        };
    }

    /// A beacon was heard: perhaps one of an examination.
    pub(in crate::peer) fn heard_beacon(&mut self, now: Mono, beacon: &Beacon, provider: &str) {
        let Some(way) = Way::of_provider(provider) else {
            return;
        };
        let ours = self.own.as_ref().map(|own| own.number);
        if beacon.examined.is_some() && beacon.examined == ours {
            if let Some(subject) = self.at(beacon.address) {
                subject.seen.back.insert(way);
            }
        } else if let Some(number) = beacon.examination.filter(|number| *number != CALL)
            && let Some(other) = self.other(now, number)
        {
            other.arrived.insert(way);
        }
    }
}

impl Peer {
    /// Says which links this node listens to: an examiner asks.
    pub fn set_links(&mut self, links: &[&str]) {
        self.examinations.links = links
            .iter()
            .filter_map(|link| Way::of_provider(link))
            .collect();
    }

    /// Lets an examiner be heard once before it examines: who hears it greets
    /// it, and is examined then.
    pub fn call_out(&mut self, now: Now) {
        self.send_beacon(Some(CALL), None);
        self.settle(now);
    }

    /// Whether somebody was overheard since this examiner began.
    pub fn overheard(&self) -> bool {
        !self.examinations.overheard.is_empty()
    }

    /// Begins an examination of every peer that this node knows of; see
    /// [`Peer::examination`]. It replaces one that is under way.
    pub fn examine(&mut self, now: Now, also: &ExamineAlso) {
        let mut subjects = self.subjects(also);
        let left_out = subjects.len().saturating_sub(SUBJECTS_MAX);
        // Whom we should see and do not first, and then some of the others.
        let lost = subjects
            .iter()
            .take_while(|subject| subject.seen.state != Some(MemberState::Alive))
            .count();
        for place in lost..subjects.len().min(SUBJECTS_MAX) {
            let other = place + (self.rng.next_u64() % (subjects.len() - place) as u64) as usize;
            subjects.swap(place, other);
        }
        subjects.truncate(SUBJECTS_MAX);
        self.examinations.own = Some(Own {
            number: self.rng.next_u64(),
            began: now.mono,
            tries: 0,
            lasts: LASTS,
            subjects,
            left_out,
            heard: Ways::default(),
        });
        self.settle(now);
    }

    /// What the examination saw, once it is over: when everything has got
    /// through, else after 2.8 s, or [`LASTS_MAX`] where packets get through
    /// and streams do not.
    pub fn examination(&self, now: Now) -> Option<Examination> {
        let own = self.examinations.own.as_ref()?;
        let links = self.examinations.links;
        let over = own.is_over(now.mono);
        let complete = !own.subjects.is_empty()
            && own
                .subjects
                .iter()
                .all(|subject| subject.complete(links, own.heard));
        if !over && !complete {
            return None;
        }
        let refusals = self.refusals.recent(now.mono);
        let peers = own.subjects.iter().map(|subject| {
            let mut seen = subject.seen.clone();
            if seen.stream == StreamSeen::Untried && subject.stream.is_some() {
                // A connection would have failed long ago.
                seen.stream = StreamSeen::Silent;
            }
            if !seen.answered() && seen.stream == StreamSeen::Silent {
                // In clear nobody says on a stream that it refuses. Beacons did.
                let from_there =
                    |it: &&Refusal| it.from().is_some_and(|from| from.ip() == seen.address.ip());
                let refusal = refusals.iter().find(from_there).cloned();
                seen.refusal = seen.refusal.take().or(refusal);
            }
            let member = self.membership.table().live_at(seen.address);
            seen.state = member.map(|entry| entry.state).or(seen.state);
            seen
        });
        let peers = peers.collect();
        Some(Examination {
            own: self.config.address,
            member: !self.examiner,
            peers,
            left_out: own.left_out,
            refusals,
            heard: own.heard,
        })
    }

    /// Everybody worth examining: first whom we should see and do not.
    fn subjects(&self, also: &ExamineAlso) -> Vec<Subject> {
        let mut subjects: Vec<Subject> = Vec::new();
        let mut add = |address: SocketAddr, expected: bool| {
            let known = subjects.iter().any(|it| it.seen.address == address);
            if !known && address != self.config.address {
                subjects.push(Subject::new(address, expected));
            }
        };
        also.expected.iter().for_each(|at| add(*at, true));
        self.discovery
            .lost(|at| self.membership.table().live_at(at).is_some())
            .into_iter()
            .for_each(|at| add(at, true));
        let overheard = self.examinations.overheard.iter();
        overheard.for_each(|at| add(*at, true));
        also.possible.iter().for_each(|at| add(*at, false));
        for refusal in self.refusals.recent(self.present) {
            // A beacon's own source address is nobody's peer address.
            if let Some(from) = refusal.from() {
                let port = self.config.address.port();
                add(SocketAddr::new(from.ip(), port), false);
            }
        }
        let mut members: Vec<Subject> = Vec::new();
        for member in self.members() {
            if member.state == MemberState::Left || member.id == self.config.id {
                continue;
            }
            let mut at = Subject::new(member.address, true);
            at.seen.name = Some(member.name.to_string());
            at.seen.state = Some(member.state);
            match subjects
                .iter_mut()
                .find(|it| it.seen.address == member.address)
            {
                Some(known) => *known = at,
                None => members.push(at),
            }
        }
        subjects.extend(members);
        subjects.sort_by_key(|subject| subject.seen.state == Some(MemberState::Alive));
        subjects
    }

    /// Asks what is due.
    pub(in crate::peer) fn tend_examination(&mut self, now: Now) {
        let links = self.examinations.links;
        let Some(own) = &mut self.examinations.own else {
            return;
        };
        if now.mono >= own.began + own.lasts {
            let slow = own.subjects.iter().any(Subject::waits_for_streams);
            if own.lasts == LASTS && slow {
                own.lasts = LASTS_MAX;
            } else {
                own.tries = OVER;
            }
        }
        if own.is_over(now.mono) {
            return;
        }
        let Some(after) = own.next_try() else {
            return;
        };
        if now.mono < own.began + after {
            return;
        }
        let (number, turn) = (own.number, own.tries);
        own.tries += 1;
        let due: Vec<usize> = (0..own.subjects.len())
            .filter(|place| !own.subjects[*place].complete(links, own.heard))
            .collect();
        if !due.is_empty() {
            self.send_beacon(Some(number), None);
        }
        for place in due {
            self.ask_subject(now, place, turn);
        }
    }

    fn ask_subject(&mut self, now: Now, place: usize, turn: u32) {
        let Some(own) = &self.examinations.own else {
            return;
        };
        let (number, subject) = (own.number, &own.subjects[place]);
        let address = subject.seen.address;
        let PeerSeen { there, back, .. } = subject.seen;
        let time = own.began + own.lasts - now.mono;
        let due = !subject.is_done_with_streams() && time >= STREAM_TAKES;
        let heard = subject.hears(self.examinations.links);
        for way in Way::PACKETS {
            let through = there.contains(way) && back.contains(way);
            let due = match way {
                // Its answer tells what else has arrived.
                Way::Packet => !through || turn >= ROLL_CALL,
                // Where short ones do not pass, long ones need not try.
                _ => !through && (there.contains(Way::Packet) || back.contains(Way::Packet)),
            };
            if due {
                self.ask_by_packet(now, place, way);
            }
        }
        let wishes = Wishes {
            packets: true,
            stream: !back.contains(Way::StreamBack),
            beacon: !heard,
        };
        match self.stream_to(now, address) {
            None if due => {
                let mut packet = self.inquiry(now, number, Way::Stream, wishes);
                packet.stream = Some(Purpose::Examine);
                let stream = self.open_stream(address, None, packet);
                if let Some(subject) = self.examinations.at(address) {
                    subject.stream = stream;
                }
            }
            Some(stream) if turn >= ROLL_CALL => {
                let packet = self.inquiry(now, number, Way::Stream, wishes);
                self.send(Path::Stream(stream, address), None, packet);
            }
            _ => {}
        }
    }

    /// The stream to a subject, unless it has waited in vain.
    fn stream_to(&mut self, now: Now, address: SocketAddr) -> Option<StreamId> {
        let subject = self.examinations.at(address)?;
        let stream = subject.stream?;
        let age = self.streams.age(stream, now.mono);
        let vain = subject.seen.stream != StreamSeen::Answered;
        if vain && age.is_none_or(|age| age >= STREAM_WAITS) {
            subject.stream = None;
            subject.seen.stream = StreamSeen::Silent;
            self.close(stream);
            return None;
        }
        Some(stream)
    }

    fn inquiry(&self, now: Now, number: u64, way: Way, wishes: Wishes) -> Packet {
        let mut packet = Packet::new(self.config.id);
        packet.examine = Some(Examine {
            number,
            clock_ms: now.wall_ms,
            cookie: super::cookie(&self.seal),
            address: self.config.address,
            way,
            wishes,
        });
        packet
    }

    fn ask_by_packet(&mut self, now: Now, place: usize, way: Way) {
        let Some(own) = &self.examinations.own else {
            return;
        };
        let subject = &own.subjects[place];
        let (number, address, theirs) = (own.number, subject.seen.address, subject.cookie);
        let member = self.membership.table().live_at(address);
        let member = member.map(|entry| entry.info.id);
        // By packet nobody is asked for more than an answer and a stream.
        let wishes = Wishes {
            stream: way == Way::Packet && !subject.seen.back.contains(Way::StreamBack),
            beacon: way == Way::Packet && !subject.hears(self.examinations.links),
            packets: false,
        };
        let mut packet = self.inquiry(now, number, way, wishes);
        packet.echo = theirs.or_else(|| member.and_then(|id| self.proof_for(id)));
        if self.seal.keyed() && theirs.is_none() && member.is_none() {
            // Its challenge is believed at once then.
            packet.challenge = Some(self.seal.cookie());
        }
        self.send_padded(address, packet, way);
    }

    fn send_padded(&mut self, address: SocketAddr, mut packet: Packet, way: Way) {
        let bytes = way.packet_bytes().saturating_sub(self.seal.overhead());
        packet.pad(&self.config.cluster, bytes);
        self.send_packet(address, None, packet);
    }

    /// An examiner hears of members: it examines them from the next try on.
    pub(in crate::peer) fn hear_of_members(&mut self, members: &[MemberRecord]) {
        let Some(own) = &mut self.examinations.own else {
            return;
        };
        let alive = members
            .iter()
            .filter(|record| record.state == MemberState::Alive);
        for address in alive.map(|record| record.info.address) {
            let known = own.subjects.iter().any(|it| it.seen.address == address);
            let room = own.subjects.len() < SUBJECTS_MAX && own.tries <= ROLL_CALL;
            if !known && room && address != self.config.address {
                own.subjects.push(Subject::new(address, true));
            }
        }
    }

    /// An answer to our examination.
    pub(in crate::peer) fn hear_examined(
        &mut self,
        now: Now,
        path: Path,
        from: NodeId,
        answer: Examined,
        seen: Option<SocketAddr>,
    ) {
        let Some(own) = &self.examinations.own else {
            return;
        };
        if own.number != answer.number || own.is_over(now.mono) {
            return;
        }
        let by_stream = match path {
            Path::Stream(stream, _) => Some(stream),
            _ => None,
        };
        let ours = by_stream.is_some_and(|stream| self.streams.is_ours(stream));
        let subject = self.examinations.subject(|subject| match by_stream {
            Some(stream) if ours => subject.stream == Some(stream),
            Some(_) => subject.id == Some(from) || subject.seen.address == answer.address,
            None => subject.seen.address == path.address(),
        });
        let Some(subject) = subject else {
            return;
        };
        let first = subject.id.replace(from).is_none();
        subject.seen.refusal = None;
        subject.seen.turned_away = None;
        subject.seen.there.extend(answer.arrived);
        subject.seen.links = answer.links;
        match by_stream {
            Some(_) if ours => subject.seen.stream = StreamSeen::Answered,
            Some(_) => subject.seen.back.insert(Way::StreamBack),
            None => subject.seen.back.insert(answer.way),
        }
        if seen.is_some() {
            subject.seen.seen = seen;
        }
        let rtt_ms = now.wall_ms.saturating_sub(answer.asked_ms);
        if subject.rtt_ms.is_none_or(|best| rtt_ms < best) {
            let midway = answer.asked_ms + rtt_ms / 2;
            subject.rtt_ms = Some(rtt_ms);
            subject.seen.clock_ahead_ms = Some(answer.clock_ms.wrapping_sub(midway) as i64);
        }
        // The longer packets need not wait for their turn.
        if first && by_stream.is_none() {
            let address = path.address();
            let place = self.examinations.own.as_ref().and_then(|own| {
                own.subjects
                    .iter()
                    .position(|it| it.seen.address == address)
            });
            if let Some(place) = place {
                for way in Way::PACKETS.into_iter().skip(1) {
                    self.ask_by_packet(now, place, way);
                }
            }
        }
    }

    /// A subject that does not know our salt has said how to be believed:
    /// asks again.
    pub(in crate::peer) fn ask_again(&mut self, now: Now, address: SocketAddr, cookie: u64) {
        self.examinations.challenged(address, cookie);
        let place = self.examinations.own.as_ref().and_then(|own| {
            let mut subjects = own.subjects.iter();
            subjects.position(|it| it.seen.address == address && it.seen.back.is_empty())
        });
        if let Some(place) = place {
            self.ask_by_packet(now, place, Way::Packet);
        }
    }

    /// Our own system did not let a packet out.
    pub(in crate::peer) fn send_denied(&mut self, to: SocketAddr) {
        if let Some(subject) = self.examinations.at(to) {
            subject.seen.denied = true;
        }
    }
}
