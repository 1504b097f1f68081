//! Observe: this node's own eyes on its peers: rounds, steps, evidence, verdicts.

use std::net::SocketAddr;

use rand_chacha::ChaCha12Rng;
use rand_core::Rng;

use super::confirm::{Confirmation, Outcome};
use super::probe::{self, Probe, Reason, Step};
use super::story::Fact;
use super::{Act, Membership};
use crate::bugs::Bug;
use crate::clock::Now;
use crate::id::NodeId;
use crate::types::{Event, Fatal, MemberState};
use crate::wire::{MemberRecord, Subject, Verdict};

impl Membership {
    /// A member acked, itself or through a relay that we had asked. `from`:
    /// the id that the ack was authenticated under.
    pub(crate) fn hear_ack(
        &mut self,
        now: Now,
        seq: u32,
        from: NodeId,
        by_packet: bool,
        rng: &mut ChaCha12Rng,
    ) {
        let Some(probe) = self.probes.get_mut(seq) else {
            // It refutes by itself; that its link is slow, only this tells.
            if let Some(probe) = self.probes.too_late(seq, from) {
                self.measure(now, from, &probe, by_packet);
                self.looked(now, from, true);
            }
            return;
        };
        // An ack from another id at the address says nothing about the target,
        // one from a relay does.
        let relayed = probe.relays.contains(&from);
        let from = match probe.reason.target() {
            Some(target) if self.bugs.has(Bug::StrangersAck) => target,
            Some(target) if target != from && !relayed => return,
            Some(target) => target,
            None => from,
        };
        let Some(probe) = self.probes.finish(seq) else {
            return;
        };
        if !relayed {
            self.measure(now, from, &probe, by_packet);
        }
        self.streams_lost.remove(&from);
        match probe.reason {
            Reason::Round(subject) => {
                self.awareness.better();
                self.looked(now, subject.id, true);
                // A relay does not bring the refutation along.
                if relayed && self.doubts_alone(subject.id) {
                    self.look_at(now, subject.id, rng);
                }
            }
            Reason::Confirm(subject) => self.own_verdict(subject, Verdict::Answered),
            Reason::ConfirmFor { asker, seq, .. } => self.report(asker, seq, Verdict::Answered),
            Reason::Relay { asker, seq, .. } => self.acts.push_back(Act::AckFor { asker, seq }),
            Reason::Claim(claimant) if claimant == from || self.bugs.has(Bug::StrangersAck) => {
                self.settle_claim(now, claimant);
            }
            // Who lives there is the old one: the claim was hearsay.
            Reason::Claim(claimant) => {
                self.claims.remove(&claimant);
            }
            Reason::OwnId => self.meet_rival(from),
        }
        // Whoever answers is not crashed, whatever else was under way.
        if let Some(crash) = self.confirmations.get_mut(&from) {
            crash.own_verdict(Verdict::Answered);
        }
    }

    fn measure(&mut self, now: Now, from: NodeId, probe: &Probe, by_packet: bool) {
        let exact = probe.again_at.is_none();
        // The stream of a second attempt was opened later than any ping.
        let tells = by_packet || exact;
        if let Some(entry) = self.table.get_mut(from).filter(|_| tells) {
            let rtt = probe.round_trip(now.mono, entry.rtt());
            entry.measured(rtt, exact);
            if exact {
                self.last_rtt = Some(rtt);
            }
        }
    }

    /// A relay says that it lives, and has no answer from the target yet.
    pub(crate) fn hear_nack(&mut self, seq: u32) {
        if let Some(probe) = self.probes.get_mut(seq) {
            probe.nacks += 1;
        }
    }

    /// Somebody asks us to ping on its behalf.
    pub(crate) fn relay_for(
        &mut self,
        now: Now,
        asker: NodeId,
        seq: u32,
        target: NodeId,
        address: SocketAddr,
        rng: &mut ChaCha12Rng,
    ) {
        let reason = Reason::Relay { target, asker, seq };
        self.start_probe(now, reason, address, rng);
    }

    /// Somebody asks whether we think that a member crashed.
    pub(crate) fn confirm_for(
        &mut self,
        now: Now,
        asker: NodeId,
        seq: u32,
        subject: Subject,
        rng: &mut ChaCha12Rng,
    ) {
        let Some(entry) = self.table.get(subject.id) else {
            return self.report(asker, seq, Verdict::Silent);
        };
        if entry.info.incarnation > subject.incarnation {
            return self.report(asker, seq, Verdict::Answered);
        }
        if entry.state == MemberState::Failed {
            return self.report(asker, seq, Verdict::Refused);
        }
        let address = entry.info.address;
        let reason = Reason::ConfirmFor {
            subject,
            asker,
            seq,
        };
        self.start_probe(now, reason, address, rng);
    }

    /// A witness that we asked answers.
    pub(crate) fn hear_report(
        &mut self,
        now: Now,
        seq: u32,
        from: NodeId,
        verdict: Verdict,
        rng: &mut ChaCha12Rng,
    ) {
        for crash in self.confirmations.values_mut() {
            crash.report(seq, from, verdict);
        }
        self.judge_confirmations(now, rng);
    }

    /// The address itself refused our packet or stream.
    pub(crate) fn refused(&mut self, now: Now, address: SocketAddr, rng: &mut ChaCha12Rng) {
        let confirming = self.probes.matching(|probe| {
            probe.address == address
                && matches!(probe.reason, Reason::Confirm(_) | Reason::ConfirmFor { .. })
        });
        for seq in &confirming {
            let Some(probe) = self.probes.finish(*seq) else {
                continue;
            };
            match probe.reason {
                Reason::Confirm(subject) => self.own_verdict(subject, Verdict::Refused),
                Reason::ConfirmFor { asker, seq, .. } => self.report(asker, seq, Verdict::Refused),
                _ => {}
            }
        }
        if confirming.is_empty()
            && let Some(entry) = self.table.live_at(address)
        {
            let id = entry.info.id;
            self.table.note(now, id, Fact::Refused(address));
            self.question(now, id, rng);
        }
        self.judge_confirmations(now, rng);
    }

    /// A member's ring stream to us ended without goodbye.
    pub(crate) fn stream_lost(&mut self, now: Now, id: NodeId, rng: &mut ChaCha12Rng) {
        let Some(entry) = self.table.get(id).filter(|entry| entry.is_live()) else {
            return;
        };
        self.streams_lost.insert(id, entry.info.incarnation);
        self.table.note(now, id, Fact::StreamEnded);
        self.question(now, id, rng);
        self.judge_confirmations(now, rng);
    }

    /// A suspect that is our neighbour on a ring: look for ourselves, at once.
    pub(crate) fn look_at(&mut self, now: Now, id: NodeId, rng: &mut ChaCha12Rng) {
        let Some(entry) = self.table.get(id).filter(|entry| entry.is_live()) else {
            return;
        };
        let (subject, address) = (entry.subject(), entry.info.address);
        let probing = |probe: &probe::Probe| probe.reason == Reason::Round(subject);
        if self.probes.matching(probing).is_empty() {
            self.start_probe(now, Reason::Round(subject), address, rng);
        }
    }

    pub(super) fn start_probe(
        &mut self,
        now: Now,
        reason: Reason,
        address: SocketAddr,
        rng: &mut ChaCha12Rng,
    ) {
        let seq = rng.next_u32();
        let target = reason.target();
        let rtt = target
            .and_then(|target| self.table.get(target))
            .and_then(super::Entry::rtt);
        let unit = probe::unit(self.tuning.probe_unit, rtt);
        // Whom we accuse alone we ask without rest: that accuses nobody.
        let unit = if target.is_some_and(|target| self.doubts_alone(target)) {
            unit
        } else {
            self.awareness.scale(unit)
        };
        if self.leaving || !self.probes.start(now.mono, seq, reason, address, unit) {
            return;
        }
        self.ping(seq, reason, address, false);
    }

    fn ping(&mut self, seq: u32, reason: Reason, to: SocketAddr, again: bool) {
        self.probes_sent += 1;
        let target = reason.target();
        let accused = target.and_then(|target| self.accused(target));
        self.acts.push_back(Act::Ping {
            to,
            seq,
            again,
            target,
            accused,
        });
    }

    /// What a suspect is to be told when it is pinged.
    fn accused(&self, target: NodeId) -> Option<MemberRecord> {
        let entry = self.table.get(target)?;
        let state = entry.state;
        (state == MemberState::Suspect).then(|| MemberRecord {
            info: entry.info.clone(),
            state,
        })
    }

    pub(super) fn round(&mut self, now: Now, round_ms: u64, rng: &mut ChaCha12Rng) {
        let interval_ms = self.interval.as_millis().max(1) as u64;
        let phase_ms = self.phase.as_millis() as u64;
        let into_round = (round_ms + interval_ms - phase_ms % interval_ms) % interval_ms;
        self.round_at = now.mono + std::time::Duration::from_millis(interval_ms - into_round);
        // Whatever ended the last look: a move, a sleep.
        for id in self.suspects.clone() {
            if self.doubts_alone(id) {
                self.look_at(now, id, rng);
            }
        }
        let live = self.table.live();
        let Ok(mine) = live.binary_search(&self.me) else {
            return;
        };
        let Some(target) = self
            .schedule
            .target(round_ms / interval_ms, mine, live.len())
        else {
            return;
        };
        let id = live[target];
        self.look_at(now, id, rng);
    }

    pub(super) fn step(&mut self, now: Now, seq: u32, step: Step, rng: &mut ChaCha12Rng) {
        let Some(probe) = self.probes.get_mut(seq) else {
            return;
        };
        let (reason, address) = (probe.reason, probe.address);
        match (step, reason) {
            (Step::PingAgain, _) => {
                probe.pinged_again(now.mono);
                self.ping(seq, reason, address, true);
            }
            (Step::Indirect, Reason::Relay { asker, seq, .. }) => {
                self.acts.push_back(Act::NackFor { asker, seq });
            }
            (Step::Indirect, _) => self.go_indirect(seq, reason, address, rng),
            (Step::Verdict, _) => self.verdict(now, seq, rng),
        }
    }

    fn go_indirect(
        &mut self,
        seq: u32,
        reason: Reason,
        address: SocketAddr,
        rng: &mut ChaCha12Rng,
    ) {
        let Some(target) = reason.target() else {
            return;
        };
        // Who lives there now would answer for the target, being a relay.
        let there = self.table.others_at(address, target);
        let relays = self.sample(self.tuning.relays, rng, |id| {
            id == target || there.contains(&id)
        });
        if let Some(probe) = self.probes.get_mut(seq) {
            probe.relays.clone_from(&relays);
        }
        for via in relays {
            self.acts.push_back(Act::Relay {
                via,
                seq,
                target,
                address,
            });
        }
        self.acts.push_back(Act::StreamPing {
            to: address,
            seq,
            target,
            accused: self.accused(target),
        });
    }

    fn verdict(&mut self, now: Now, seq: u32, rng: &mut ChaCha12Rng) {
        let Some(probe) = self.probes.judge(seq) else {
            return;
        };
        let (reason, address) = (probe.reason, probe.address);
        let (relays, nacks) = (probe.relays.len(), probe.nacks);
        match reason {
            Reason::Round(subject) => {
                self.probes_failed += 1;
                // Relays that live say so. If none did, the silence is rather ours.
                if nacks == 0 && !self.doubts_alone(subject.id) {
                    self.awareness.worse();
                }
                let fact = Fact::ProbeTimeout {
                    address,
                    relays: relays as u8,
                    nacks: u8::try_from(nacks).unwrap_or(u8::MAX),
                };
                self.table.note(now, subject.id, fact);
                self.looked(now, subject.id, false);
                self.accuse(now, subject);
                // Its answer to an accusation is its refutation: where little
                // reaches us, we would hardly hear it otherwise.
                if self.doubts_alone(subject.id) {
                    self.look_at(now, subject.id, rng);
                }
            }
            Reason::Confirm(subject) => {
                let lost = self.streams_lost.contains_key(&subject.id);
                self.own_verdict(subject, probe::silence(lost));
            }
            Reason::ConfirmFor {
                subject,
                asker,
                seq,
            } => {
                let lost = self.streams_lost.contains_key(&subject.id);
                self.report(asker, seq, probe::silence(lost));
            }
            Reason::Relay { .. } => {}
            Reason::Claim(claimant) => {
                // Nobody there yet: once more, until the claim expires.
                let open = self.claims.get(&claimant);
                if open.is_some_and(|claim| claim.expires > now.mono) {
                    self.start_probe(now, reason, address, rng);
                }
            }
            Reason::OwnId => {
                // No answer: our earlier life at another address. Rise above it.
                if let Some(rival) = self.rival.take()
                    && rival.incarnation >= self.myself().incarnation
                {
                    self.raise_incarnation(now, rival.incarnation);
                }
            }
        }
    }

    fn accuse(&mut self, now: Now, subject: Subject) {
        if now.mono < self.quiet_until {
            return;
        }
        let known = self.table.get(subject.id).map(super::Entry::subject);
        if known != Some(subject) {
            return;
        }
        if self.hear_suspect(now, subject, self.me) == super::Heard::News {
            self.acts.push_back(Act::Accuse(vec![subject]));
        }
    }

    /// Whom we doubt alone has answered, or once more not.
    fn looked(&mut self, now: Now, id: NodeId, answered: bool) {
        if self.doubts_alone(id)
            && let Some(entry) = self.table.get_mut(id)
            && let Some(doubt) = &mut entry.suspicion
        {
            doubt.looked(now.mono, answered);
        }
    }

    /// Whether we, and nobody else, think that this one is silent.
    fn doubts_alone(&self, id: NodeId) -> bool {
        let doubt = self.table.get(id).and_then(|it| it.suspicion.as_ref());
        doubt.is_some_and(|doubt| doubt.is_of(self.me))
    }

    /// Begins to make sure of a crash.
    fn question(&mut self, now: Now, id: NodeId, rng: &mut ChaCha12Rng) {
        if now.mono < self.quiet_until || self.leaving || self.confirmations.contains_key(&id) {
            return;
        }
        let Some(entry) = self.table.get(id).filter(|entry| entry.is_live()) else {
            return;
        };
        let (subject, address) = (entry.subject(), entry.info.address);
        let crash = Confirmation::new(
            now.mono,
            subject,
            self.table.live().len(),
            self.tuning.witnesses,
        );
        self.confirmations.insert(id, crash);
        self.start_probe(now, Reason::Confirm(subject), address, rng);
    }

    fn own_verdict(&mut self, subject: Subject, verdict: Verdict) {
        if let Some(crash) = self.confirmations.get_mut(&subject.id) {
            crash.own_verdict(verdict);
        }
    }

    fn report(&mut self, to: NodeId, seq: u32, verdict: Verdict) {
        self.acts.push_back(Act::Report { to, seq, verdict });
    }

    pub(super) fn judge_confirmations(&mut self, now: Now, rng: &mut ChaCha12Rng) {
        let open: Vec<NodeId> = self.confirmations.keys().copied().collect();
        for id in open {
            let Some(crash) = self.confirmations.get_mut(&id) else {
                continue;
            };
            let subject = crash.subject();
            match crash.outcome(now.mono) {
                Outcome::Open => {
                    let wanted = crash.wants(now.mono);
                    for who in self.witnesses(subject.id, wanted, rng) {
                        self.ask(who, subject, rng);
                    }
                }
                Outcome::Alive => {
                    self.confirmations.remove(&id);
                    self.table.note(now, id, Fact::Answered);
                }
                Outcome::Crashed => {
                    self.confirmations.remove(&id);
                    self.table.note(now, id, Fact::Crashed);
                    if self.hear_failed(now, subject, self.me) == super::Heard::News {
                        self.acts.push_back(Act::Declare(vec![subject]));
                    }
                }
                Outcome::Undecided => {
                    self.confirmations.remove(&id);
                    self.accuse(now, subject);
                }
            }
        }
    }

    fn ask(&mut self, who: NodeId, subject: Subject, rng: &mut ChaCha12Rng) {
        let seq = rng.next_u32();
        if let Some(crash) = self.confirmations.get_mut(&subject.id) {
            crash.asked(seq, who);
            self.acts.push_back(Act::AskConfirm { who, seq, subject });
        }
    }

    /// Who is asked about a crash: first those that hold an idle stream to
    /// the member (its neighbours on the id ring), because where an address
    /// vanishes with its node only a lost stream speaks; then anybody.
    fn witnesses(&self, id: NodeId, wanted: usize, rng: &mut ChaCha12Rng) -> Vec<NodeId> {
        if wanted == 0 {
            return Vec::new();
        }
        let Some(crash) = self.confirmations.get(&id) else {
            return Vec::new();
        };
        let live = self.table.live();
        let mut found: Vec<NodeId> = Vec::new();
        if let Ok(place) = live.binary_search(&id) {
            let n = live.len();
            for offset in [1, n - 1, 2, n.saturating_sub(2)] {
                let who = live[(place + offset) % n];
                if who != id && who != self.me && !crash.has_asked(who) && !found.contains(&who) {
                    found.push(who);
                }
            }
        }
        found.truncate(wanted);
        let more = wanted - found.len();
        found.extend(self.sample(more, rng, |who| {
            who == id || crash.has_asked(who) || found.contains(&who)
        }));
        found
    }

    pub(super) fn judge_suspicions(&mut self, now: Now) {
        if now.mono < self.quiet_until {
            return;
        }
        let mut dead = Vec::new();
        for id in self.suspects.clone() {
            let Some(entry) = self.table.get(id) else {
                continue;
            };
            // The doubt belongs to one incarnation: a refutation removed it.
            if entry
                .suspicion
                .as_ref()
                .is_some_and(|doubt| doubt.deadline() <= now.mono)
            {
                dead.push(entry.subject());
            }
        }
        dead.retain(|subject| self.hear_failed(now, *subject, self.me) == super::Heard::News);
        if !dead.is_empty() {
            self.acts.push_back(Act::Declare(dead));
        }
    }

    /// Somebody else answers to our id: the lower incarnation stops.
    fn meet_rival(&mut self, from: NodeId) {
        let Some(rival) = self.rival.take() else {
            return;
        };
        let mine = self.myself();
        if from == self.me && (mine.incarnation, mine.run) < (rival.incarnation, rival.run) {
            let (id, other) = (self.me, rival.address);
            self.acts
                .push_back(Act::Tell(Event::Fatal(Fatal::Copied { id, other })));
        }
    }
}
