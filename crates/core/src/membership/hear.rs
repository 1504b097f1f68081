//! Hear: what others say of members, weighed.
//!
//! Only a member itself says that it is alive, and only by raising its
//! incarnation does it come back. Others' bad news are believed of the life
//! that they name. Hearsay settles nothing about an address: who lives there
//! answers for itself.

use rand_chacha::ChaCha12Rng;

use super::probe::{Probe, Reason};
use super::story::Fact;
use super::suspicion;
use super::{AHEAD_MAX_MS, Act, CLAIM_KEPT, CLAIMS_MAX, Claim, Heard, MEMBERS_MAX, Membership};
use crate::bugs::Bug;
use crate::clock::Now;
use crate::id::{Incarnation, NodeId};
use crate::types::{Event, Fatal, ForgetReason, MemberState};
use crate::wire::{MemberInfo, MemberRecord, Subject};

impl Membership {
    /// A member says (itself, or through others' mouths) that it is alive.
    pub(crate) fn hear_alive(
        &mut self,
        now: Now,
        info: MemberInfo,
        rng: &mut ChaCha12Rng,
    ) -> Heard {
        let subject = Subject {
            id: info.id,
            incarnation: info.incarnation,
        };
        if info.id == self.me {
            return self.hear_of_rival(now, info, rng);
        }
        if self.retired.is_forgotten(info.id) {
            return Heard::Forgotten;
        }
        if is_ahead(now, info.incarnation) {
            return Heard::Ahead;
        }
        let full = self.table.len() >= MEMBERS_MAX;
        match self.table.get_mut(info.id) {
            Some(entry)
                if info.incarnation < entry.info.incarnation && !self.bugs.has(Bug::OlderWins) =>
            {
                return Heard::Old;
            }
            Some(entry) if info.incarnation == entry.info.incarnation => {
                entry.info.messages = entry.info.messages.max(info.messages);
                return Heard::Old;
            }
            Some(_) => {}
            None if self.retired.has_left(now.mono, subject) => return Heard::Old,
            None if full => return Heard::Old,
            None => {}
        }
        if self.table.others_at(info.address, info.id).is_empty() {
            self.admit(now, info);
        } else {
            self.verify_claim(now, info, rng);
        }
        Heard::News
    }

    /// Somebody did not get an answer from this member.
    pub(crate) fn hear_suspect(&mut self, now: Now, subject: Subject, by: NodeId) -> Heard {
        if subject.id == self.me {
            return self.refute_above(now, subject.incarnation);
        }
        let live = self.table.live().len();
        let Some(entry) = self.table.get_mut(subject.id) else {
            return Heard::Old;
        };
        let held = entry.info.incarnation;
        if subject.incarnation < held || made_up(now, subject.incarnation, held) {
            return Heard::Old;
        }
        match entry.state {
            MemberState::Failed | MemberState::Left => Heard::Old,
            MemberState::Suspect => {
                let doubt = entry.suspicion.as_mut().expect("a suspect has a suspicion");
                if doubt.accuse(by) {
                    self.table.note(now, subject.id, Fact::Accused(by));
                    Heard::News
                } else {
                    Heard::Old
                }
            }
            MemberState::Alive => {
                let doubt =
                    suspicion::Suspicion::new(now.mono, by, live, self.interval, &self.tuning);
                let doubt = if by == self.me { doubt.asking() } else { doubt };
                self.table
                    .set_state(now, subject.id, subject.incarnation, MemberState::Suspect);
                if let Some(entry) = self.table.get_mut(subject.id) {
                    entry.suspicion = Some(Box::new(doubt));
                }
                self.suspects.push(subject.id);
                self.table.note(now, subject.id, Fact::Suspected(by));
                self.tell(subject.id, Event::MemberSuspect);
                Heard::News
            }
        }
    }

    /// Somebody holds this member dead.
    pub(crate) fn hear_failed(&mut self, now: Now, subject: Subject, by: NodeId) -> Heard {
        if subject.id == self.me {
            return self.refute_above(now, subject.incarnation);
        }
        self.end_life(now, subject, MemberState::Failed, by)
    }

    /// A member says goodbye.
    pub(crate) fn hear_left(&mut self, now: Now, subject: Subject) -> Heard {
        if subject.id == self.me {
            // An echo of our own goodbye, or of an earlier life.
            return Heard::Old;
        }
        if is_ahead(now, subject.incarnation) {
            return Heard::Ahead;
        }
        self.retired.left(now.mono, subject);
        self.end_life(now, subject, MemberState::Left, subject.id)
    }

    /// An operator removes a member for good.
    pub(crate) fn hear_forget(&mut self, subject: Subject) -> Heard {
        if subject.id == self.me {
            self.acts
                .push_back(Act::Tell(Event::Fatal(Fatal::Forgotten { id: self.me })));
            return Heard::News;
        }
        if !self.retired.forget(subject.id) {
            return Heard::Old;
        }
        self.drop_member(subject.id, ForgetReason::Operator);
        self.claims.remove(&subject.id);
        Heard::News
    }

    /// What a peer believes of a member, told in a reconciliation. Its bad
    /// news are hearsay: believed of lives that we know, else only a hint
    /// where somebody may be.
    pub(crate) fn hear_record(
        &mut self,
        now: Now,
        record: MemberRecord,
        by: NodeId,
        rng: &mut ChaCha12Rng,
    ) -> Heard {
        let subject = Subject {
            id: record.info.id,
            incarnation: record.info.incarnation,
        };
        match record.state {
            MemberState::Alive if self.bugs.has(Bug::AdoptedLeaver) && self.holds_left(subject) => {
                self.admit(now, record.info);
                Heard::News
            }
            MemberState::Alive | MemberState::Suspect if subject.id != self.me => {
                let heard = self.hear_alive(now, record.info, rng);
                if record.state == MemberState::Suspect {
                    self.hear_suspect(now, subject, by);
                }
                heard
            }
            MemberState::Alive => self.hear_alive(now, record.info, rng),
            _ if self.table.get(subject.id).is_none() => Heard::Old,
            MemberState::Left if subject.id != self.me => self.hear_left(now, subject),
            MemberState::Suspect | MemberState::Failed | MemberState::Left => {
                self.hear_suspect(now, subject, by)
            }
        }
    }

    // --- helpers ---

    fn holds_left(&self, subject: Subject) -> bool {
        let held = self.table.get(subject.id);
        held.is_some_and(|held| held.state == MemberState::Left && held.subject() == subject)
    }

    fn admit(&mut self, now: Now, info: MemberInfo) {
        let id = info.id;
        let before = self
            .table
            .get(id)
            .map(|entry| (entry.state, (entry.info.run, entry.info.address)));
        let (incarnation, address) = (info.incarnation, info.address);
        let process = (info.run, info.address);
        let outlives = self.bugs.has(Bug::StaleSuspicion);
        let doubt = outlives.then(|| self.table.get_mut(id)?.suspicion.take());
        self.table.put(now, info);
        self.confirmations.remove(&id);
        self.streams_lost.remove(&id);
        self.claims.remove(&id);
        if let (Some(doubt), Some(entry)) = (doubt.flatten(), self.table.get_mut(id)) {
            entry.suspicion = Some(doubt);
        } else {
            self.suspects.retain(|suspect| *suspect != id);
        }
        if before.is_some_and(|(_, (_, address))| address != process.1) {
            // Who was asked at the old address cannot answer any more.
            self.stop_asking(id);
            self.acts.push_back(Act::Moved(id));
        }
        let alive = Fact::Alive(incarnation, address);
        let (fact, tell) = match before {
            Some((MemberState::Suspect, _)) => (Fact::Refuted(incarnation, address), true),
            // It refuted before we doubted it. A move, or a restart that was
            // faster than anybody's doubt, is news all the same.
            Some((MemberState::Alive, before)) => (alive, before != process),
            Some((MemberState::Failed | MemberState::Left, _)) | None => (alive, true),
        };
        self.table.note(now, id, fact);
        if tell {
            self.tell(id, Event::MemberAlive);
        }
    }

    /// A new node at a known address settles the old one only when that
    /// address itself answers under the new id. Hearsay would not do: the
    /// lagging rumor of a node that moved away from a reused address would
    /// kill who lives there now.
    fn verify_claim(&mut self, now: Now, info: MemberInfo, rng: &mut ChaCha12Rng) {
        if self.claims.len() >= CLAIMS_MAX && !self.claims.contains_key(&info.id) {
            return;
        }
        let (id, address) = (info.id, info.address);
        let expires = now.mono + CLAIM_KEPT;
        self.claims.insert(id, Claim { info, expires });
        // However often it is claimed: one probe at a time asks who is there.
        let asking = |probe: &Probe| probe.reason == Reason::Claim(id) && probe.address == address;
        if self.probes.matching(asking).is_empty() {
            self.start_probe(now, Reason::Claim(id), address, rng);
        }
    }

    pub(super) fn settle_claim(&mut self, now: Now, id: NodeId) {
        let Some(claim) = self.claims.remove(&id) else {
            return;
        };
        for old in self.table.others_at(claim.info.address, id) {
            if old != self.me && !self.may_have_moved(old, id) {
                self.drop_member(old, ForgetReason::Superseded);
            }
        }
        self.admit(now, claim.info);
    }

    /// Whether who was listed at an address may live on elsewhere, now that
    /// `heir` lives there. Of two that swap their addresses one is heard of
    /// first: the other has moved as well, and its own word is under way. If
    /// none comes, it fails as anybody does who is silent.
    fn may_have_moved(&self, old: NodeId, heir: NodeId) -> bool {
        self.claims.contains_key(&old) || (self.is_live(old) && self.is_live(heir))
    }

    fn end_life(&mut self, now: Now, subject: Subject, state: MemberState, by: NodeId) -> Heard {
        self.claims.remove(&subject.id);
        let Some(entry) = self.table.get(subject.id) else {
            return Heard::Old;
        };
        let held = entry.info.incarnation;
        let stale = subject.incarnation < held || made_up(now, subject.incarnation, held);
        // Left overrules failed (it was chosen), never the other way round.
        let settled = match entry.state {
            MemberState::Left => !self.bugs.has(Bug::LeaverFails),
            MemberState::Failed => state == MemberState::Failed,
            MemberState::Alive | MemberState::Suspect => false,
        };
        if stale || settled {
            return Heard::Old;
        }
        self.table
            .set_state(now, subject.id, subject.incarnation, state);
        self.stop_asking(subject.id);
        let left = state == MemberState::Left;
        let fact = if left {
            Fact::Left(by)
        } else {
            Fact::Failed(by)
        };
        self.table.note(now, subject.id, fact);
        self.tell(
            subject.id,
            if left {
                Event::MemberLeft
            } else {
                Event::MemberFailed
            },
        );
        Heard::News
    }

    /// Our own id in somebody else's mouth.
    fn hear_of_rival(&mut self, now: Now, info: MemberInfo, rng: &mut ChaCha12Rng) -> Heard {
        let mine = self.myself();
        // Who is leaving must not be back by answering for its id.
        let made_up = made_up(now, info.incarnation, mine.incarnation);
        if info.run == mine.run || self.leaving || made_up {
            return Heard::Old;
        }
        if info.address == mine.address {
            // Our previous process: rise above it, if the clock did not.
            if info.incarnation >= mine.incarnation {
                self.raise_incarnation(now, info.incarnation);
            }
            return Heard::Old;
        }
        let asking = |probe: &Probe| probe.reason == Reason::OwnId;
        if self.probes.matching(asking).is_empty() {
            let address = info.address;
            self.rival = Some(info);
            self.start_probe(now, Reason::OwnId, address, rng);
        }
        Heard::Old
    }

    fn refute_above(&mut self, now: Now, accused: Incarnation) -> Heard {
        let mine = self.myself().incarnation;
        if self.leaving || accused < mine || made_up(now, accused, mine) {
            return Heard::Old;
        }
        self.refutations += 1;
        self.awareness.worse();
        if self.bugs.has(Bug::FlatRefutation) {
            self.acts.push_back(Act::Refute);
            return Heard::Old;
        }
        self.raise_incarnation(now, accused);
        // The accusation is answered by the new incarnation, not passed on.
        Heard::Old
    }
}

/// Too far ahead of our clock to be believed.
fn is_ahead(now: Now, incarnation: Incarnation) -> bool {
    incarnation.0 > now.wall_ms.saturating_add(AHEAD_MAX_MS)
}

/// No life of a member that is in `held` now: nobody would have believed it.
/// Whoever took it over, or rose above it, would be refused by all for good.
fn made_up(now: Now, incarnation: Incarnation, held: Incarnation) -> bool {
    incarnation > held && is_ahead(now, incarnation)
}
