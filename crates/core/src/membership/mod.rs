//! Membership: who is in the cluster, who is alive, and how we come to know.
//!
//! SWIM with Lifeguard, and crash evidence on top. This module decides; what
//! has to be sent or told comes out as [`Act`]s, and the parent turns them
//! into packets, rumors and events. It knows no packets, rings or sockets.
//!
//! Sources: SWIM (Das et al., DSN 2002); Lifeguard (arXiv:1707.00788).

mod addresses;
mod awareness;
mod confirm;
mod hear;
mod observe;
mod probe;
mod retired;
mod schedule;
mod story;
mod suspicion;
mod table;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::Rng;

use crate::bugs::{Bug, Bugs};
use crate::clock::{Mono, Now};
use crate::id::{Incarnation, NodeId};
use crate::tuning::Tuning;
use crate::types::{Event, ForgetError, ForgetReason, Member, MemberState, Timer};
use crate::wire::{MemberInfo, MemberRecord, Subject, Verdict};
use awareness::Awareness;
use confirm::Confirmation;
use probe::{Probe, Probes, Reason};
use retired::Retired;
use schedule::Schedule;
pub(crate) use table::{Change, Entry, Table};

/// Members listed at most, in any state.
const MEMBERS_MAX: usize = 65_536;
/// Addresses whose newcomer is being verified at most.
const CLAIMS_MAX: usize = 1_024;
/// A claim that nobody answered for is dropped after this.
const CLAIM_KEPT: Duration = Duration::from_secs(10);
/// After a sleep this node accuses nobody for so long.
const QUIET_AFTER_THAW: Duration = Duration::from_secs(1);
/// An incarnation this far ahead of our clock is refused.
const AHEAD_MAX_MS: u64 = 24 * 3_600 * 1_000;
/// How long failed and left members stay listed.
const FAILED_LISTED_MS: u64 = 24 * 3_600 * 1_000;
const LEFT_LISTED_MS: u64 = 3_600 * 1_000;
/// Failed and left members listed at most.
const GONE_MAX: usize = 4_096;
/// Round trip of a network where none was measured yet.
const RTT_ASSUMED: Duration = Duration::from_millis(15);
/// Bounds of the wait for an answer.
const ANSWER_MIN: Duration = Duration::from_millis(10);
const ANSWER_MAX: Duration = Duration::from_millis(400);
const REAP_INTERVAL: Duration = Duration::from_secs(60);

/// What membership wants done.
#[derive(Debug, PartialEq)]
pub(crate) enum Act {
    /// Ping an address; `accused`: the target's own record, to be told that it is doubted.
    Ping {
        to: SocketAddr,
        seq: u32,
        /// The first one found no answer in time.
        again: bool,
        target: Option<NodeId>,
        accused: Option<MemberRecord>,
    },
    /// Ask `via` to ping on our behalf.
    Relay {
        via: NodeId,
        seq: u32,
        target: NodeId,
        address: SocketAddr,
    },
    /// Ping by a stream of its own.
    StreamPing {
        to: SocketAddr,
        seq: u32,
        target: NodeId,
        accused: Option<MemberRecord>,
    },
    /// Pass an ack on to who asked for the relay.
    AckFor { asker: NodeId, seq: u32 },
    /// Tell who asked for the relay that there is no answer yet.
    NackFor { asker: NodeId, seq: u32 },
    /// Ask a witness.
    AskConfirm {
        who: NodeId,
        seq: u32,
        subject: Subject,
    },
    /// Answer who asked us.
    Report {
        to: NodeId,
        seq: u32,
        verdict: Verdict,
    },
    /// Spread that these are suspected by us.
    Accuse(Vec<Subject>),
    /// Spread that these are failed.
    Declare(Vec<Subject>),
    /// Spread our own, raised incarnation (persisted first).
    Refute,
    /// This member is at another address now: what is known of the way to it is not.
    Moved(NodeId),
    /// Tell the application.
    Tell(Event),
}

/// What became of something heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It changed what we believe, or may change it soon: pass it on.
    News,
    /// Nothing new.
    Old,
    /// Its id was forgotten: its node must learn it.
    Forgotten,
    /// Its incarnation is too far ahead of our clock.
    Ahead,
}

/// A newcomer at an address that somebody else is listed at.
#[derive(Debug)]
struct Claim {
    info: MemberInfo,
    expires: Mono,
}

/// The membership of one node.
#[derive(Debug)]
pub(crate) struct Membership {
    me: NodeId,
    interval: Duration,
    tuning: Tuning,
    table: Table,
    retired: Retired,
    awareness: Awareness,
    schedule: Schedule,
    probes: Probes,
    confirmations: BTreeMap<NodeId, Confirmation>,
    /// Members whose ring stream to us ended without goodbye.
    streams_lost: BTreeMap<NodeId, Incarnation>,
    claims: BTreeMap<NodeId, Claim>,
    /// Another node that answers to our id would be there.
    rival: Option<MemberInfo>,
    suspects: Vec<NodeId>,
    /// Random place of this node's probe within each round.
    phase: Duration,
    /// Of the latest probe whose first ping was answered.
    last_rtt: Option<Duration>,
    round_at: Mono,
    reap_at: Mono,
    quiet_until: Mono,
    leaving: bool,
    acts: VecDeque<Act>,
    bugs: Bugs,
    pub(crate) probes_sent: u64,
    pub(crate) probes_failed: u64,
    pub(crate) refutations: u64,
}

impl Membership {
    pub(crate) fn new(
        now: Now,
        me: MemberInfo,
        interval: Duration,
        tuning: Tuning,
        forgotten: Vec<NodeId>,
        bugs: Bugs,
        rng: &mut ChaCha12Rng,
    ) -> Self {
        let phase = Duration::from_nanos(rng.next_u64() % interval.as_nanos().max(1) as u64);
        let mut membership = Self {
            me: me.id,
            interval,
            tuning,
            table: Table::default(),
            retired: Retired::new(forgotten),
            awareness: Awareness::new(tuning.awareness_max),
            schedule: Schedule::default(),
            probes: Probes::default(),
            confirmations: BTreeMap::new(),
            streams_lost: BTreeMap::new(),
            claims: BTreeMap::new(),
            rival: None,
            suspects: Vec::new(),
            phase,
            last_rtt: None,
            round_at: now.mono + phase,
            reap_at: now.mono + REAP_INTERVAL,
            quiet_until: Mono::ZERO,
            leaving: false,
            acts: VecDeque::new(),
            bugs,
            probes_sent: 0,
            probes_failed: 0,
            refutations: 0,
        };
        membership.table.put(now, me);
        membership
    }

    // --- getters ---

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn myself(&self) -> &MemberInfo {
        &self
            .table
            .get(self.me)
            .expect("the own entry is never removed")
            .info
    }

    /// Who joined the live members, or went from them, since the last call.
    pub(crate) fn take_changes(&mut self) -> Vec<Change> {
        self.table.take_changes()
    }

    pub(crate) fn awareness(&self) -> u32 {
        self.awareness.score()
    }

    /// Live members, this node included.
    pub(crate) fn live(&self) -> &[NodeId] {
        self.table.live()
    }

    pub(crate) fn is_live(&self, id: NodeId) -> bool {
        self.table.get(id).is_some_and(Entry::is_live)
    }

    pub(crate) fn forgotten(&self) -> Vec<NodeId> {
        self.retired.forgotten()
    }

    pub(crate) fn is_forgotten(&self, id: NodeId) -> bool {
        self.retired.is_forgotten(id)
    }

    pub(crate) fn snapshot(&self, id: NodeId) -> Option<Member> {
        self.table.get(id).map(Entry::snapshot)
    }

    /// A member answers within this, unless something got lost: by its round
    /// trip, or that of whoever answered last.
    pub(crate) fn answer_within(&self, id: NodeId) -> Duration {
        let entry = self.table.get(id);
        let rtt = entry
            .and_then(Entry::exact_rtt)
            .or(self.last_rtt)
            .or_else(|| entry?.rtt())
            .unwrap_or(RTT_ASSUMED);
        (rtt * 2).clamp(ANSWER_MIN, ANSWER_MAX)
    }

    /// `count` live members other than this node and those that `skip` names, at random.
    pub(crate) fn sample(
        &self,
        count: usize,
        rng: &mut ChaCha12Rng,
        mut skip: impl FnMut(NodeId) -> bool,
    ) -> Vec<NodeId> {
        let live = self.table.live();
        let mut found = Vec::with_capacity(count.min(live.len()));
        // Fisher–Yates, of which only the places that were swapped are kept.
        let mut swapped: BTreeMap<usize, usize> = BTreeMap::new();
        for place in 0..live.len() {
            if found.len() == count {
                break;
            }
            let pick = place + (rng.next_u64() % (live.len() - place) as u64) as usize;
            let here = swapped.get(&place).copied().unwrap_or(place);
            let drawn = swapped.insert(pick, here).unwrap_or(pick);
            let id = live[drawn];
            if id != self.me && !skip(id) {
                found.push(id);
            }
        }
        found
    }

    /// Probes in flight.
    pub(crate) fn probing(&self) -> usize {
        self.probes.len()
    }

    /// The next thing to do.
    pub(crate) fn poll(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    // --- commands ---

    /// Begins to leave: the own entry says so, nobody is accused any more.
    pub(crate) fn leave(&mut self, now: Now) -> Subject {
        self.leaving = true;
        let incarnation = self.myself().incarnation;
        self.table
            .set_state(now, self.me, incarnation, MemberState::Left);
        self.probes.clear();
        self.confirmations.clear();
        Subject {
            id: self.me,
            incarnation,
        }
    }

    /// Removes a member for good, as an operator asks.
    pub(crate) fn forget(
        &mut self,
        id: NodeId,
        force: bool,
    ) -> Result<(Member, Subject), ForgetError> {
        if id == self.me {
            return Err(ForgetError::Myself);
        }
        let entry = self.table.get(id).ok_or(ForgetError::Unknown)?;
        if entry.is_live() && !force {
            return Err(ForgetError::Alive);
        }
        let (member, subject) = (entry.snapshot(), entry.subject());
        self.retired.forget(id);
        self.drop_member(id, ForgetReason::Operator);
        Ok((member, subject))
    }

    /// A member has, or lost, a window for a salt of ours.
    pub(crate) fn set_introduced(&mut self, id: NodeId, salt: u16) {
        if let Some(entry) = self.table.get_mut(id) {
            entry.introduced = salt;
        }
    }

    /// Our own message counter rose.
    pub(crate) fn set_messages(&mut self, messages: crate::id::MessageCounter) {
        if let Some(entry) = self.table.get_mut(self.me) {
            entry.info.messages = messages;
        }
    }

    /// A newer message counter of a member was seen.
    pub(crate) fn counted(
        &mut self,
        id: NodeId,
        run: crate::id::RunId,
        counter: crate::id::MessageCounter,
    ) {
        if let Some(entry) = self.table.get_mut(id)
            && entry.info.run == run
        {
            entry.info.messages = entry.info.messages.max(counter);
        }
    }

    /// What a first packet to us has to echo changed.
    pub(crate) fn set_cookie(&mut self, cookie: u64) {
        if let Some(entry) = self.table.get_mut(self.me) {
            entry.info.cookie = cookie;
        }
    }

    /// The process slept: forget what was in flight, doubt nobody for what
    /// was not heard meanwhile, and speak up.
    pub(crate) fn thaw(&mut self, now: Now, gap: Duration) {
        if self.bugs.has(Bug::HastyWaking) {
            return;
        }
        self.probes.clear();
        self.confirmations.clear();
        self.rival = None;
        self.quiet_until = now.mono + QUIET_AFTER_THAW;
        self.round_at = now.mono + self.interval;
        self.postpone_doubts(gap);
        if !self.leaving {
            let mine = self.myself().incarnation;
            self.raise_incarnation(now, mine);
        }
    }

    /// This node is at another address. What is under way was asked from the
    /// old one, and what was not heard meanwhile counts against nobody.
    pub(crate) fn readdress(&mut self, now: Now, address: SocketAddr) {
        self.probes.clear();
        self.confirmations.clear();
        self.streams_lost.clear();
        self.quiet_until = now.mono + QUIET_AFTER_THAW;
        // Whoever was there is there no more; who lives tells where it is now.
        for old in self.table.others_at(address, self.me) {
            if !self.is_live(old) {
                self.drop_member(old, ForgetReason::Superseded);
            }
        }
        let mut info = self.myself().clone();
        info.address = address;
        self.say_alive(now, info);
    }

    /// This node got to run later than it asked for. What it did not hear
    /// meanwhile may lie in its sockets, so that time counts against nobody.
    pub(crate) fn was_late(&mut self, by: Duration) {
        if self.bugs.has(Bug::HastyWaking) {
            return;
        }
        self.probes.postpone(by);
        for crash in self.confirmations.values_mut() {
            crash.postpone(by);
        }
        self.postpone_doubts(by);
    }

    fn postpone_doubts(&mut self, by: Duration) {
        for id in &self.suspects {
            let entry = self.table.get_mut(*id);
            if let Some(doubt) = entry.and_then(|entry| entry.suspicion.as_mut()) {
                doubt.postpone(by);
            }
        }
    }

    // --- time ---

    /// When something is due, and what.
    pub(crate) fn deadline(&self) -> (Mono, Timer) {
        let mut first = (self.reap_at, Timer::Reap);
        let mut consider = |at: Option<Mono>, why| {
            if let Some(at) = at
                && at < first.0
            {
                first = (at, why);
            }
        };
        if self.leaving {
            return first;
        }
        consider(Some(self.round_at), Timer::Probe);
        consider(self.probes.deadline(), Timer::Probe);
        consider(
            self.suspects
                .iter()
                .filter_map(|id| Some(self.table.get(*id)?.suspicion.as_ref()?.deadline()))
                .min()
                // Nobody is judged before; to be woken for it would be to spin.
                .map(|at| at.max(self.quiet_until)),
            Timer::Suspicion,
        );
        consider(
            self.confirmations
                .values()
                .map(Confirmation::deadline)
                .min(),
            Timer::Confirmation,
        );
        first
    }

    /// Does what is due. `round_ms`: the hybrid clock, which numbers the rounds.
    pub(crate) fn on_time(&mut self, now: Now, round_ms: u64, rng: &mut ChaCha12Rng) {
        if now.mono >= self.reap_at {
            self.reap_at = now.mono + REAP_INTERVAL;
            self.reap(now);
        }
        if self.leaving {
            return;
        }
        if now.mono >= self.round_at {
            self.round(now, round_ms, rng);
        }
        while let Some((seq, step)) = self.probes.due(now.mono) {
            self.step(now, seq, step, rng);
        }
        self.judge_confirmations(now, rng);
        self.judge_suspicions(now);
    }

    // --- helpers ---

    /// The matter of a member is settled: what is under way about it ends.
    fn stop_asking(&mut self, id: NodeId) {
        let about =
            |probe: &Probe| matches!(probe.reason, Reason::Round(subject) if subject.id == id);
        for seq in self.probes.matching(about) {
            self.probes.finish(seq);
        }
        self.confirmations.remove(&id);
        self.streams_lost.remove(&id);
        self.suspects.retain(|suspect| *suspect != id);
    }

    fn drop_member(&mut self, id: NodeId, reason: ForgetReason) {
        self.stop_asking(id);
        if let Some(entry) = self.table.remove(id) {
            let member = entry.snapshot();
            self.acts
                .push_back(Act::Tell(Event::MemberForgotten { member, reason }));
        }
    }

    fn raise_incarnation(&mut self, now: Now, above: Incarnation) {
        let mut info = self.myself().clone();
        info.incarnation = info.incarnation.max(above);
        self.say_alive(now, info);
    }

    /// As `info` says, one incarnation higher.
    fn say_alive(&mut self, now: Now, mut info: MemberInfo) {
        info.incarnation = info.incarnation.next();
        self.table.put(now, info);
        self.acts.push_back(Act::Refute);
    }

    fn reap(&mut self, now: Now) {
        self.claims.retain(|_, claim| claim.expires > now.mono);
        let mut gone: Vec<(u64, NodeId, MemberState)> = self
            .table
            .gone()
            .filter(|entry| entry.info.id != self.me)
            .map(|entry| (entry.since_ms, entry.info.id, entry.state))
            .collect();
        gone.sort_unstable();
        let surplus = gone.len().saturating_sub(GONE_MAX);
        for (place, (since_ms, id, state)) in gone.into_iter().enumerate() {
            let listed_ms = match state {
                MemberState::Left => LEFT_LISTED_MS,
                _ => FAILED_LISTED_MS,
            };
            if place < surplus || now.wall_ms.saturating_sub(since_ms) > listed_ms {
                self.drop_member(id, ForgetReason::Reaped);
            }
        }
    }

    fn tell(&mut self, id: NodeId, event: impl FnOnce(Member) -> Event) {
        if let Some(member) = self.snapshot(id) {
            self.acts.push_back(Act::Tell(event(member)));
        }
    }
}
