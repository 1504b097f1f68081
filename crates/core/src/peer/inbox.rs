//! Inbox: packets on their way in: opened, proven, taken apart.
//!
//! A packet under a salt that we have no window for may have been recorded
//! long ago: its sender is challenged and the packet dropped. It must not
//! wait for the proof to come: that proves the packets after it, not one
//! recorded in another life and sent again under the prover's address. What
//! was lost its sender repeats: a hello with the echo, a probe by itself.

use std::net::SocketAddr;

use super::outbox::Path;
use super::{MemberState, Output, Peer, Refusal, UserEvent};
use crate::bugs::Bug;
use crate::clock::{Mono, Now};
use crate::id::NodeId;
use crate::seal::{Channel, OpenError, Opened, Standing, Stranger, Unproven, VERSION};
use crate::wire::{
    Beacon, Body, DecodeError, Greeting, MemberRecord, PACKET_BYTES_MAX, Packet, Purpose, Way,
};

/// One ack in so many tells the time.
const CLOCK_EVERY: u32 = 8;

impl Peer {
    /// A packet or frame arrived.
    pub(super) fn receive(&mut self, now: Now, path: Path, bytes: &[u8]) {
        if !self.sources.admit(now.mono, path.address()) {
            self.counters.dropped_rate += 1;
            return;
        }
        // No peer sends more, and answers to more would not fit a packet.
        if matches!(path, Path::Packet(_)) && bytes.len() > PACKET_BYTES_MAX {
            self.counters.dropped_malformed += 1;
            return;
        }
        let opened = match path {
            // The shell has opened it already.
            Path::Stream(..) => Opened {
                plain: bytes.to_vec(),
                standing: Standing::Clear,
            },
            _ => match self.seal.open(Channel::Packet, bytes) {
                Ok(opened) => opened,
                Err(error) => {
                    let from = path.address();
                    match error {
                        OpenError::Key(_) => self.turn_away(now, from, bytes),
                        OpenError::TurnedAway(by) => self.turned_away(now, from, Way::Packet, by),
                        _ => {}
                    }
                    return self.refuse_unopened(now, from, error);
                }
            },
        };
        let mut packet = match Packet::decode(&opened.plain, &self.config.cluster) {
            Ok(packet) => packet,
            Err(DecodeError::OtherCluster(theirs)) if self.config.bugs().has(Bug::ClusterBlind) => {
                match theirs
                    .parse()
                    .map(|theirs| Packet::decode(&opened.plain, &theirs))
                {
                    Ok(Ok(packet)) => packet,
                    _ => return,
                }
            }
            Err(error) => return self.refuse_undecoded(now, path.address(), error),
        };
        if packet.brief {
            // Of nobody that we know, it stays a stranger's: that one is greeted.
            let known = self.membership.table().by_prefix(packet.from);
            packet.from = known.unwrap_or(packet.from);
        }
        match opened.standing {
            Standing::Clear | Standing::Proven => self.act_on(now, path, packet),
            Standing::Unproven(proof) => self.prove(now, path, packet, proof),
        }
    }

    /// Something arrived on a discovery socket: a beacon, or news told to all.
    pub(super) fn receive_beacon(
        &mut self,
        now: Now,
        from: SocketAddr,
        bytes: &[u8],
        provider: &'static str,
    ) {
        let own = |error: &OpenError| *error == OpenError::Own;
        self.examinations.heard(provider);
        let opened = match self.seal.open(Channel::Beacon, bytes) {
            Ok(Opened { plain, .. }) => match Beacon::decode(&plain, &self.config.cluster) {
                Ok(beacon) => {
                    self.counters.beacons_received += 1;
                    return self.sight(now, beacon, provider);
                }
                Err(error @ DecodeError::OtherCluster(_)) => {
                    return self.refuse_undecoded(now, from, error);
                }
                // In clear both kinds open; only one decodes.
                Err(_) => self.seal.open(Channel::Packet, bytes),
            },
            Err(OpenError::Forged) => self.seal.open(Channel::Packet, bytes),
            Err(error) => Err(error),
        };
        match opened {
            Ok(Opened { plain, standing }) => {
                match Packet::decode(&plain, &self.config.cluster) {
                    // Unproven news told to all would cause a storm of
                    // challenges; gossip brings it anyway.
                    Ok(packet) if !matches!(standing, Standing::Unproven(_)) => {
                        self.act_on(now, Path::Multicast(from), packet);
                    }
                    Ok(_) => {}
                    Err(error) => self.refuse_undecoded(now, from, error),
                }
            }
            Err(error) if own(&error) => {}
            Err(error) => self.refuse_unopened(now, from, error),
        }
    }

    /// Takes the proof that a packet brings along, or asks for it.
    fn prove(&mut self, now: Now, path: Path, packet: Packet, proof: Unproven) {
        if packet.echo == Some(self.seal.cookie()) {
            let cookie = self.seal.cookie();
            if self.seal.admit(proof, cookie, &mut self.rng) {
                self.after_admission(cookie);
                self.act_on(now, path, packet);
            } else {
                self.counters.dropped_replay += 1;
            }
            return;
        }
        let mut answer = Packet::new(self.config.id);
        answer.challenge = Some(self.seal.cookie());
        // Both may be strangers to each other: an echo costs us nothing.
        answer.echo = packet.challenge;
        self.send_both_ways(path, packet.from, answer);
        self.counters.dropped_unproven += 1;
    }

    /// Opening a window may have closed another: then the cookie is new.
    fn after_admission(&mut self, before: u64) {
        if self.seal.cookie() != before {
            self.membership.set_cookie(self.seal.cookie());
        }
    }

    /// A packet that may be believed.
    fn act_on(&mut self, now: Now, path: Path, mut packet: Packet) {
        let from = packet.from;
        if let Some(cookie) = packet.challenge {
            self.ask_again(now, path.address(), cookie);
            self.answer_challenge(path, from, cookie);
        }
        if let Some(asked) = packet.examine {
            self.hear_examine(now, path, from, packet.padding, asked);
        }
        if let Some(answer) = packet.examined {
            self.hear_examined(now, path, from, answer, packet.seen);
            // It says how an examiner is seen, which may be at another port.
            packet.seen = None;
        }
        if self.examiner {
            if packet.greeting == Some(Greeting::Hello) {
                self.examinations.overhear(path.address());
            }
            if let (Some(_), Path::Stream(..)) = (packet.examined, path) {
                self.hear_of_members(&packet.members);
            }
            return;
        }
        if from == self.config.id {
            // Somebody else with our id, or our own multicast heard in clear.
            for rumor in packet.rumors {
                if let Body::Alive(info) = rumor.body {
                    self.membership.hear_alive(now, info, &mut self.rng);
                }
            }
            if let Some(seq) = packet.ack {
                let by_packet = matches!(path, Path::Packet(_));
                self.membership
                    .hear_ack(now, seq, from, by_packet, &mut self.rng);
            } else if let Some(seq) = packet.ping
                && path.address() != self.config.address
            {
                let answer = self.answer_to_ping(now, seq, packet.brief);
                self.send_both_ways(path, from, answer);
            }
            return self.drain_acts(now);
        }
        if self.membership.is_forgotten(from) {
            // Two that forgot each other would tell so for ever.
            if packet.forgotten.is_none() {
                self.send_forgotten(path, from);
            }
            return;
        }
        let incarnation = self.membership.myself().incarnation;
        let greets = packet.greeting.is_some() || !packet.rumors.is_empty();
        for rumor in &packet.rumors {
            self.hear_rumor(now, path, from, rumor.clone());
        }
        self.hear_ids(now, path, from, &packet.ids);
        for record in packet.members.iter().cloned() {
            self.hear_record(now, from, record);
        }
        for event in packet.events.iter().cloned() {
            self.hear_event(now, event);
        }
        if let Path::Multicast(_) = path {
            return self.drain_acts(now);
        }
        match packet.greeting {
            Some(Greeting::Hello) => self.welcome(now, path, from),
            Some(Greeting::Welcome) => {
                self.introduced_to(from);
                self.answered_by_stream(path, from);
            }
            None => {}
        }
        if let Some(seen) = packet.seen {
            self.compare_address(seen);
        }
        if let Some(seq) = packet.ping {
            let mut answer = self.answer_to_ping(now, seq, packet.brief);
            if self.is_wronged(&packet.members) {
                answer.members = self.records(&[self.config.id]);
            }
            self.send_both_ways(path, from, answer);
        }
        if let Some(seq) = packet.ack {
            let by_packet = matches!(path, Path::Packet(_));
            if by_packet {
                self.introduced_to(from);
                self.answered_by_packet(from);
            }
            self.answered_by_stream(path, from);
            self.membership
                .hear_ack(now, seq, from, by_packet, &mut self.rng);
            self.close_probe_stream(path);
        }
        if let Some(seq) = packet.nack {
            self.membership.hear_nack(seq);
        }
        if let Some(relay) = packet.relay {
            let (seq, target, address) = (relay.seq, relay.target, relay.address);
            self.membership
                .relay_for(now, from, seq, target, address, &mut self.rng);
        }
        if let Some(confirm) = packet.confirm {
            self.membership
                .confirm_for(now, from, confirm.seq, confirm.subject, &mut self.rng);
        }
        if let Some(report) = packet.report {
            self.membership
                .hear_report(now, report.seq, from, report.verdict, &mut self.rng);
        }
        self.drain_acts(now);
        self.answer_pull(now, path, from, &packet.pull);
        self.hear_confirmed(from, &packet.confirmed);
        if let Some(purpose) = packet.stream {
            self.stream_spoken(path, from, purpose);
        }
        self.hear_leader(now, path, from, &packet);
        self.reconcile(now, path, from, &packet);
        if packet.forgotten == Some(self.config.id) {
            self.hear_own_end(now);
        }
        if let Some(wall_ms) = packet.clock {
            self.clocks.heard(now, from, wall_ms);
        }
        self.hear_stored(now, from, &packet.stored, &packet.ask_stored);
        let myself = self.membership.myself();
        let held_dead = packet
            .members
            .iter()
            .any(|record| record.info.id == myself.id && record.state == MemberState::Failed);
        if !held_dead {
            self.correct(path, from, greets || packet.ping.is_none());
        } else if myself.incarnation > incarnation {
            // Our refutation goes to those whom we hold alive, and it may not
            // be one of them. Two sides that hold each other dead would
            // correct each other until chance brought the news.
            self.greet(path.address());
        }
        let digest = packet.digest.take();
        let seq = packet.ping.or(packet.ack).unwrap_or(0);
        self.hear_exchange(now, path, from, packet);
        if let Some(digest) = digest {
            self.hear_digest(now, from, digest, seq);
        }
    }

    /// The answer to a probe. It may mean another who had this address before
    /// us: the prober sees by the sender of the ack who is here now.
    fn answer_to_ping(&self, now: Now, seq: u32, brief: bool) -> Packet {
        let mut answer = Packet::new(self.config.id);
        // Who is brief knows whom it asks; others want to know who answers.
        answer.brief = brief;
        answer.ack = Some(seq);
        answer.digest = Some(self.digest(seq));
        // Clocks are compared now and then, at random.
        answer.clock = seq.is_multiple_of(CLOCK_EVERY).then_some(now.wall_ms);
        answer
    }

    /// Whether these doubt us in an incarnation that we have risen above.
    fn is_wronged(&self, members: &[MemberRecord]) -> bool {
        let myself = self.membership.myself();
        members.iter().any(|record| {
            let doubted = record.state == MemberState::Suspect;
            doubted && record.info.id == myself.id && record.info.incarnation < myself.incarnation
        })
    }

    /// They do not know our salt: show them that this packet is fresh. If
    /// they are strangers (or a copy of us), what they dropped was a hello: say
    /// it again.
    fn answer_challenge(&mut self, path: Path, from: NodeId, cookie: u64) {
        self.membership.set_introduced(from, 0);
        let mut answer = Packet::new(self.config.id);
        answer.echo = Some(cookie);
        let unwanted = self.leaving.is_some() || self.membership.is_forgotten(from);
        let stranger = from == self.config.id || !self.membership.is_live(from);
        if stranger && !unwanted && !self.examiner {
            answer.greeting = Some(Greeting::Hello);
            answer.rumors.push(self.my_alive.clone());
            answer.digest = Some(self.digest(0));
        }
        self.send_both_ways(path, from, answer);
    }

    /// Tells whoever lives there, if it is this one, that its id is refused for good.
    pub(super) fn send_forgotten(&mut self, path: Path, id: NodeId) {
        let mut packet = Packet::new(self.config.id);
        packet.forgotten = Some(id);
        self.send(path, None, packet);
    }

    /// Tells a sender what it does not know: that we do not know it, or that
    /// we hold it dead. It greets or refutes then.
    fn correct(&mut self, path: Path, from: NodeId, quiet: bool) {
        let Path::Packet(_) = path else {
            return;
        };
        match self.membership.table().get(from) {
            None if !quiet => self.greet(path.address()),
            Some(entry) if entry.state == MemberState::Failed && self.leaving.is_none() => {
                let mut packet = Packet::new(self.config.id);
                packet.members.push(crate::wire::MemberRecord {
                    info: entry.info.clone(),
                    state: entry.state,
                });
                self.send(path, Some(from), packet);
            }
            _ => {}
        }
    }

    /// We were forgotten.
    fn hear_own_end(&mut self, now: Now) {
        let myself = crate::wire::Subject {
            id: self.config.id,
            incarnation: self.membership.myself().incarnation,
        };
        self.membership.hear_forget(myself);
        self.drain_acts(now);
    }

    /// An event found by reconciliation.
    fn hear_event(&mut self, now: Now, event: UserEvent) {
        let timely = self.clock.observe(now, event.timestamp);
        if timely && (self.log.insert(event.clone()) || self.config.bugs().has(Bug::ToldTwice)) {
            self.tell(super::Event::User(event));
        }
    }

    /// A stream is for what its first frame says.
    fn stream_spoken(&mut self, path: Path, from: NodeId, purpose: Purpose) {
        if let Path::Stream(stream, _) = path {
            self.streams.spoken(stream, from, purpose);
        }
    }

    fn refuse_unopened(&mut self, now: Now, from: SocketAddr, error: OpenError) {
        match error {
            OpenError::Version(theirs) => {
                self.counters.dropped_version += 1;
                let ours = VERSION;
                self.refuse(now.mono, Refusal::OtherVersion { theirs, ours, from });
            }
            OpenError::Key(theirs) => {
                self.counters.dropped_key += 1;
                self.refuse(now.mono, Refusal::key(theirs, &self.config.keys, from));
            }
            OpenError::TurnedAway(by) => {
                self.refuse(now.mono, Refusal::key(by.key, &self.config.keys, from));
            }
            OpenError::Replayed => self.counters.dropped_replay += 1,
            OpenError::Own => {}
            OpenError::Truncated | OpenError::Forged => self.counters.dropped_malformed += 1,
        }
    }

    fn refuse_undecoded(&mut self, now: Now, from: SocketAddr, error: DecodeError) {
        match error {
            DecodeError::OtherCluster(theirs) => {
                self.counters.dropped_cluster += 1;
                let ours = self.config.cluster.to_string();
                self.refuse(now.mono, Refusal::OtherCluster { theirs, ours, from });
            }
            DecodeError::Garbled | DecodeError::Bounds(_) => self.counters.dropped_malformed += 1,
        }
    }

    /// The shell's handshake found a stranger at the other end of a stream.
    pub(super) fn refuse_stream(&mut self, now: Now, refusal: Refusal, stranger: Option<Stranger>) {
        match &refusal {
            Refusal::OtherCluster { .. } => self.counters.dropped_cluster += 1,
            Refusal::OtherKey { .. } | Refusal::NotSealed { .. } => self.counters.dropped_key += 1,
            Refusal::OtherVersion { .. } => self.counters.dropped_version += 1,
            Refusal::ClockAhead { .. } | Refusal::TimestampAhead { .. } => {}
        }
        if let (Some(from), Some(stranger)) = (refusal.from(), stranger) {
            self.turned_away(now, from, Way::Stream, stranger);
        }
        self.refuse(now.mono, refusal);
    }

    /// Tells a stranger that it is one.
    fn turn_away(&mut self, now: Now, from: SocketAddr, bytes: &[u8]) {
        let own = Stranger::new(&self.config.keys, &self.config.cluster, now.wall_ms);
        if let Some(bytes) = self.seal.turn_away(bytes, &own)
            && self.politeness.admit(now.mono)
        {
            self.outputs.push_back(Output::Send { to: from, bytes });
        }
    }

    /// A stranger told us that we are one to it.
    fn turned_away(&mut self, now: Now, from: SocketAddr, way: Way, by: Stranger) {
        let same_name = by.may_be_of(&self.config.cluster);
        self.examinations.turned_away(now, from, way, by, same_name);
    }

    pub(super) fn refuse(&mut self, now: Mono, refusal: Refusal) {
        self.examinations.refuse(&refusal);
        if self.refusals.tell(now, &refusal) {
            self.tell(super::Event::Refused(refusal));
        }
    }
}
