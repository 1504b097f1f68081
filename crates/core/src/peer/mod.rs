//! The peer: one node's decisions, composed of membership, gossip and discovery.
//!
//! The parts decide, each for itself; here their acts become packets,
//! rumors, events and wake-ups, and what arrives is handed to whom it
//! concerns. The shell calls [`Peer::handle`], then [`Peer::poll_output`]
//! until `None`.

mod address;
mod contact;
mod detour;
mod examine;
mod exchange;
mod inbox;
mod leading;
mod leave;
mod limits;
mod news;
mod outbox;
mod share;
mod spread;
mod streams;
mod sync;

pub use crate::types::*;
pub use examine::{ExamineAlso, LASTS_MAX as EXAMINATION_LASTS, SUBJECTS_MAX as EXAMINED_MAX};

use std::collections::VecDeque;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

use crate::clock::{HybridClock, Mono, Now};
use crate::discovery::Discovery;
use crate::entries::{Clocks, Contacts, Entries, Writes};
use crate::gossip::{EventLog, Gossip};
use crate::id::{MessageCounter, NodeId};
use crate::membership::{Act, Membership};
use crate::seal::Seal;
use crate::tuning::Tuning;
use crate::wire::{self, Body, MemberInfo, Packet, Relay, Rumor, RumorId};
use address::Whereabouts;
use detour::Detours;
use examine::Examinations;
use exchange::Exchanges;
use leading::Leading;
use leave::Leaving;
use limits::{Politeness, Refusals, SourceLimits};
use news::Sharing;
use outbox::Path;
use streams::Streams;
use sync::Sync;

/// A wake-up this late means that the process was suspended meanwhile.
const SLEPT_AFTER: Duration = Duration::from_millis(1_500);
/// A wake-up this late means that the process got no CPU meanwhile.
const LATE_AFTER: Duration = Duration::from_millis(20);
/// After that, so much time to read what has come meanwhile.
const CATCH_UP: Duration = Duration::from_millis(10);
/// Outputs whose room is kept.
const OUTPUTS_KEPT: usize = 64;
/// Members named in one rumor: about 30 bytes each, so it fits a packet.
const SUBJECTS_MAX: usize = 24;
/// Known peers are written down at most this often.
const PERSIST_INTERVAL: Duration = Duration::from_secs(5);

/// One node's decisions. See the [module](self).
#[derive(Debug)]
pub struct Peer {
    config: Config,
    rng: ChaCha12Rng,
    clock: HybridClock,
    seal: Seal,
    membership: Membership,
    gossip: Gossip,
    log: EventLog,
    entries: Entries,
    writes: Writes,
    exchanges: Exchanges,
    contacts: Contacts,
    clocks: Clocks,
    sharing: Sharing,
    leading: Leading,
    discovery: Discovery,
    sync: Sync,
    streams: Streams,
    leaving: Option<Leaving>,
    /// Counts own rumors; the last one that says that we are alive.
    messages: MessageCounter,
    my_alive: Rumor,
    detours: Detours,
    examinations: Examinations,
    /// Only examines: is no member, greets nobody and believes nothing.
    examiner: bool,
    /// Of the latest call.
    present: Mono,
    sources: SourceLimits,
    politeness: Politeness,
    refusals: Refusals,
    whereabouts: Whereabouts,
    persist_at: Option<Mono>,
    outputs: VecDeque<Output>,
    wake: Option<(Mono, Timer)>,
    counters: Counters,
}

impl Peer {
    /// A node that starts now. `seed`: 32 bytes of the system's entropy, or
    /// of a simulation's.
    pub fn new(config: Config, now: Now, seed: [u8; 32]) -> Self {
        Self::tuned(config, &Tuning::default(), now, seed)
    }

    /// As [`Peer::new`], with other constants than every node has: for
    /// simulations. All of a cluster need the same.
    pub fn tuned(config: Config, tuning: &Tuning, now: Now, seed: [u8; 32]) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        let seal = Seal::new(config.keys.clone(), &mut rng);
        let messages = MessageCounter(1);
        let info = MemberInfo {
            id: config.id,
            run: config.run,
            incarnation: config.incarnation,
            name: config.name.clone(),
            role: config.role,
            address: config.address,
            version: truncated(&config.version, wire::VERSION_BYTES_MAX).into(),
            cookie: cookie(&seal),
            messages,
        };
        let my_alive = Rumor {
            id: RumorId {
                origin: config.id,
                run: config.run,
                counter: messages,
            },
            body: Body::Alive(info.clone()),
        };
        let interval = config.probe_interval;
        let (bugs, forgotten) = (config.bugs(), config.forgotten.clone());
        let membership = Membership::new(now, info, interval, *tuning, forgotten, bugs, &mut rng);
        let discovery = Discovery::new(now.mono, config.address, config.known.clone(), &mut rng);
        let mut peer = Self {
            clock: HybridClock::default(),
            seal,
            membership,
            gossip: Gossip::new(now.mono, config.id, tuning, bugs),
            log: EventLog::default(),
            entries: Entries::new(config.shared.tombstone_life),
            writes: Writes::default(),
            exchanges: Exchanges::default(),
            contacts: Contacts::new(
                config.id,
                config.shared.tombstone_life.as_millis() as u64,
                config.shared.contacts.iter().copied(),
            ),
            clocks: Clocks::default(),
            sharing: Sharing::default(),
            leading: Leading::default(),
            discovery,
            sync: Sync::new(),
            streams: Streams::default(),
            leaving: None,
            messages,
            my_alive: my_alive.clone(),
            detours: Detours::default(),
            examinations: Examinations::default(),
            examiner: false,
            present: now.mono,
            sources: SourceLimits::default(),
            politeness: Politeness::default(),
            refusals: Refusals::default(),
            whereabouts: Whereabouts::default(),
            persist_at: None,
            outputs: VecDeque::new(),
            wake: None,
            counters: Counters::default(),
            rng,
            config,
        };
        peer.counters.rumors_originated += 1;
        peer.gossip.spread(now.mono, my_alive, None);
        peer.settle(now);
        peer
    }

    /// One that only examines, and leaves no trace in anybody's list: it is
    /// heard and answered, greets nobody and takes no part in anything.
    pub fn examiner(config: Config, now: Now, seed: [u8; 32]) -> Self {
        let mut peer = Self::new(config, now, seed);
        peer.examiner = true;
        peer.settle(now);
        peer
    }

    // --- getters ---

    /// How many members are alive or suspect, this node included.
    pub fn live(&self) -> usize {
        self.membership.live().len()
    }

    /// What others are told of this node.
    pub fn record(&self) -> wire::MemberRecord {
        wire::MemberRecord {
            info: self.membership.myself().clone(),
            state: MemberState::Alive,
        }
    }

    /// Every member in every state, this node included, sorted by name, then id.
    pub fn members(&self) -> Vec<Member> {
        let mut members: Vec<Member> = self
            .membership
            .table()
            .iter()
            .map(|entry| entry.snapshot())
            .collect();
        members.sort_by(|a, b| (&a.name, a.id).cmp(&(&b.name, b.id)));
        members
    }

    /// One member.
    pub fn member(&self, id: NodeId) -> Option<Member> {
        self.membership.snapshot(id)
    }

    /// Whether an operator has removed this id for good.
    pub fn is_forgotten(&self, id: NodeId) -> bool {
        self.membership.forgotten().contains(&id)
    }

    /// This node about itself.
    pub fn this(&self) -> SelfInfo {
        let member = self.membership.snapshot(self.config.id);
        SelfInfo {
            member: member.expect("the own entry is never removed"),
            cluster: self.config.cluster.clone(),
            key: self.config.keys.primary().map(crate::Key::fingerprint),
            awareness: self.membership.awareness(),
            view: self.membership.table().fingerprint(),
            leaving: self.leaving.is_some(),
        }
    }

    /// Why a member is in its state, as far as this node knows.
    pub fn why(&self, id: NodeId) -> Option<Why> {
        let entry = self.membership.table().get(id)?;
        Some(Why {
            member: entry.snapshot(),
            awareness: self.membership.awareness(),
            story: entry.story(),
        })
    }

    /// What discovery found, and whom it lost.
    pub fn discovery(&self) -> DiscoveryInfo {
        let table = self.membership.table();
        DiscoveryInfo {
            providers: self.discovery.providers(),
            lost: self
                .discovery
                .lost(|address| table.live_at(address).is_some()),
        }
    }

    /// Kept user events, ordered by (timestamp, origin).
    pub fn events(&self) -> Vec<UserEvent> {
        self.log.list()
    }

    /// What was counted since the start.
    pub fn counters(&self) -> Counters {
        Counters {
            probes_sent: self.membership.probes_sent,
            probes_failed: self.membership.probes_failed,
            refutations: self.membership.refutations,
            ..self.counters
        }
    }

    /// How much it keeps of what others can make it keep: each has a bound.
    pub fn holdings(&self) -> Holdings {
        let (rumors, rumor_bytes, windows) = self.gossip.held();
        Holdings {
            members: self.membership.table().len(),
            rumors,
            rumor_bytes,
            windows,
            events: self.log.len(),
            streams: self.streams.len(),
            probes: self.membership.probing(),
        }
    }

    /// Whether no other member is alive, as far as this node knows.
    pub fn alone(&self) -> bool {
        self.membership.live().len() <= 1
    }

    /// Whether one peer or one discovery window was seen: readiness.
    pub fn settled(&self, now: Now) -> bool {
        self.membership.live().len() > 1 || self.discovery.window_over(now.mono)
    }

    /// Whether the process was suspended since the last call (SIGSTOP, a VM
    /// pause, a laptop lid): then hand in [`Input::Thawed`] first.
    pub fn slept(&self, now: Now) -> bool {
        self.late(now) > SLEPT_AFTER
    }

    /// By how much this call comes after the wake-up that was asked for.
    fn late(&self, now: Now) -> Duration {
        self.wake
            .map_or(Duration::ZERO, |(due, _)| now.mono.saturating_sub(due))
    }

    // --- what happens ---

    /// Takes note of what happened. Drain [`Peer::poll_output`] afterwards.
    ///
    /// Timers run on [`Input::Timeout`] only: hand in what has arrived first,
    /// lest a member is judged while its answer lies in a socket.
    pub fn handle(&mut self, now: Now, input: Input<'_>) {
        self.present = now.mono;
        let late = self.late(now);
        // A sleep is told, and made up for, by itself.
        if late > LATE_AFTER && !matches!(input, Input::Thawed { .. }) {
            self.membership.was_late(late + CATCH_UP);
        }
        match input {
            Input::Datagram { from, bytes } => {
                self.counters.packets_received += 1;
                self.counters.bytes_received += bytes.len() as u64;
                self.receive(now, Path::Packet(from), bytes);
            }
            Input::Beacon {
                from,
                bytes,
                provider,
            } => self.receive_beacon(now, from, bytes, provider),
            Input::Unreachable { peer } => {
                self.examinations.refused(peer);
                self.leave_without(peer);
                self.membership.refused(now, peer, &mut self.rng);
            }
            Input::StreamAccepted { stream, from } => self.streams.accepted(stream, from),
            Input::StreamFrame { stream, bytes } => {
                self.counters.frames_received += 1;
                if let Some(from) = self.streams.address(stream) {
                    self.receive(now, Path::Stream(stream, from), bytes);
                }
            }
            Input::StreamRefused { refusal, stranger } => {
                self.refuse_stream(now, refusal, stranger);
            }
            Input::StreamEnded { stream, how } => self.stream_ended(now, stream, how),
            Input::Candidates {
                provider,
                addresses,
            } => {
                let table = self.membership.table();
                let lives = |address| table.live_at(address).is_some();
                self.discovery.candidates(now, provider, addresses, lives);
            }
            Input::Readdressed { address } => self.readdress(now, address),
            Input::Thawed { seed } => self.thaw(now, seed),
            Input::Stored { .. } | Input::StoreFailed { .. } => self.hear_store(now, input),
            Input::SendDenied { to } => self.send_denied(to),
            Input::Timeout => {
                let round_ms = self.clock.ms(now);
                self.membership.on_time(now, round_ms, &mut self.rng);
            }
        }
        self.settle(now);
    }

    // --- commands ---

    /// Publishes a user event.
    ///
    /// # Errors
    /// See [`PublishError`]; nothing was published then.
    pub fn publish(
        &mut self,
        now: Now,
        name: &str,
        payload: &[u8],
    ) -> Result<UserEvent, PublishError> {
        if self.leaving.is_some() {
            return Err(PublishError::Leaving);
        }
        if !wire::valid_event_name(name) {
            return Err(PublishError::Name);
        }
        let max = wire::EVENT_PAYLOAD_BYTES_MAX;
        if payload.len() > max {
            return Err(PublishError::TooLarge {
                max,
                got: payload.len(),
            });
        }
        let event = UserEvent {
            timestamp: self.clock.tick(now),
            origin: self.config.id,
            name: name.into(),
            payload: payload.into(),
        };
        self.log.insert(event.clone());
        self.tell(Event::User(event.clone()));
        self.originate(now, Body::Event(event.clone()));
        self.settle(now);
        Ok(event)
    }

    /// Says goodbye. [`Event::Left`] follows once enough peers know, or
    /// nobody is there to tell. Idempotent.
    pub fn leave(&mut self, now: Now) {
        self.begin_leaving(now);
        self.settle(now);
    }

    /// Removes a member for good: its id is refused at every incarnation.
    ///
    /// # Errors
    /// See [`ForgetError`]; nothing was changed then.
    pub fn forget(&mut self, now: Now, id: NodeId, force: bool) -> Result<Member, ForgetError> {
        let (member, subject) = self.membership.forget(id, force)?;
        self.persist(true);
        // Its node is told before it is out of sight.
        let mut packet = Packet::new(self.config.id);
        packet.forgotten = Some(id);
        self.send(Path::Packet(member.address), Some(id), packet);
        self.originate(now, Body::Forget(subject));
        self.settle(now);
        Ok(member)
    }

    // --- outputs ---

    /// The next thing to do; call until `None`. The last one before it is
    /// the [`Output::WakeAt`] in force.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        // Once in a while hundreds come at once; their room is not kept.
        if output.is_none() && self.outputs.capacity() > OUTPUTS_KEPT {
            self.outputs = VecDeque::new();
        }
        output
    }

    // --- helpers ---

    /// Does what is due and what the parts ask for, until nothing is left.
    fn settle(&mut self, now: Now) {
        self.present = now.mono;
        self.drain_acts(now);
        self.discover(now);
        self.synchronize(now);
        self.tend_streams(now);
        self.tend_leave(now);
        self.tend_entries(now);
        self.tend_exchanges(now);
        self.tend_examination(now);
        self.deliver_rumors(now);
        if self.discovery.take_known_changed() && self.persist_at.is_none() {
            self.persist_at = Some(now.mono + PERSIST_INTERVAL);
        }
        if self.persist_at.is_some_and(|at| at <= now.mono) {
            self.persist(false);
        }
        self.schedule_wake(now);
    }

    fn schedule_wake(&mut self, now: Now) {
        let quiet = self.leaving.is_some() || self.examiner;
        let parts = [
            Some(self.membership.deadline()),
            self.gossip.deadline(),
            (!quiet).then(|| self.discovery.deadline()),
            self.sync.deadline().map(|at| (at, Timer::Reconcile)),
            self.streams.deadline().map(|at| (at, Timer::Ring)),
            self.leaving
                .as_ref()
                .and_then(Leaving::deadline)
                .map(|at| (at, Timer::Leave)),
            self.persist_at.map(|at| (at, Timer::Persist)),
            self.entries_deadline(now).map(|at| (at, Timer::Expiry)),
            self.examinations.deadline().map(|at| (at, Timer::Examine)),
        ];
        let next = parts.into_iter().flatten().min();
        // What is overdue is due now: a past time would read as a sleep.
        let next = next.map(|(at, why)| (at.max(now.mono), why));
        if let Some((at, why)) = next {
            self.outputs.push_back(Output::WakeAt { at, why });
        }
        self.wake = next;
    }

    fn drain_acts(&mut self, now: Now) {
        while let Some(act) = self.membership.poll() {
            self.act(now, act);
        }
    }

    fn act(&mut self, now: Now, act: Act) {
        let mut packet = Packet::new(self.config.id);
        match act {
            Act::Ping {
                to,
                seq,
                again,
                target,
                accused,
            } => {
                packet.brief = target.is_some();
                packet.digest = Some(self.digest(seq));
                packet.ping = Some(seq);
                packet.members.extend(accused);
                let (by_packet, by_stream) = match target {
                    Some(target) => self.probe_paths(target),
                    None => (true, false),
                };
                if by_stream {
                    self.send(Path::Packet(to), target, packet.clone());
                }
                // A stream may stall, and packets get through again meanwhile.
                if by_packet || again {
                    self.send_packet(to, target, packet);
                }
            }
            Act::Relay {
                via,
                seq,
                target,
                address,
            } => {
                packet.relay = Some(Relay {
                    seq,
                    target,
                    address,
                });
                self.send_to(via, packet);
            }
            Act::StreamPing {
                to,
                seq,
                target,
                accused,
            } => {
                packet.ping = Some(seq);
                packet.members.extend(accused);
                packet.stream = Some(wire::Purpose::Probe);
                self.open_stream(to, Some(target), packet);
            }
            Act::AckFor { asker, seq } => {
                packet.ack = Some(seq);
                self.send_to(asker, packet);
            }
            Act::NackFor { asker, seq } => {
                packet.nack = Some(seq);
                self.send_to(asker, packet);
            }
            Act::AskConfirm { who, seq, subject } => {
                packet.confirm = Some(wire::Confirm { seq, subject });
                self.send_to(who, packet);
            }
            Act::Report { to, seq, verdict } => {
                packet.report = Some(wire::Report { seq, verdict });
                self.send_to(to, packet);
            }
            Act::Accuse(subjects) => self.originate(now, Body::Suspect(subjects)),
            // Many at once travel in rumors that each fit a packet.
            Act::Declare(subjects) => {
                for some in subjects.chunks(SUBJECTS_MAX) {
                    self.originate(now, Body::Failed(some.to_vec()));
                }
            }
            Act::Refute => self.refute(now),
            Act::Moved(id) => self.member_moved(id),
            Act::Tell(event) => self.member_event(now, event),
        }
    }

    /// Says anew that we are alive, under the raised incarnation.
    fn refute(&mut self, now: Now) {
        self.persist(true);
        let info = self.membership.myself().clone();
        self.originate(now, Body::Alive(info));
    }

    /// What changes in the view concerns discovery, rings and the application.
    fn member_event(&mut self, now: Now, event: Event) {
        match &event {
            Event::MemberAlive(member) => {
                self.discovery.met(Known {
                    id: member.id,
                    address: member.address,
                });
                self.sync.met_somebody(now.mono);
            }
            Event::MemberLeft(member) => {
                self.clocks.forget(member.id);
                self.detours.forget(member.id);
                self.discovery.unmeet(member.id);
            }
            Event::MemberFailed(member) => {
                self.clocks.forget(member.id);
                self.detours.forget(member.id);
                self.close_streams_of(member.id);
            }
            Event::MemberForgotten { member, reason } => {
                self.clocks.forget(member.id);
                self.detours.forget(member.id);
                self.close_streams_of(member.id);
                if *reason != ForgetReason::Reaped {
                    self.discovery.unmeet(member.id);
                }
                if *reason == ForgetReason::Operator {
                    self.persist(true);
                }
            }
            _ => {}
        }
        self.streams.view_changed(now.mono);
        self.tell(event);
    }

    fn thaw(&mut self, now: Now, seed: [u8; 32]) {
        let gap = self.late(now);
        self.rng = ChaCha12Rng::from_seed(seed);
        self.seal.reseed(&mut self.rng);
        self.membership.set_cookie(cookie(&self.seal));
        self.membership.thaw(now, gap);
        self.sync.begin(now.mono);
    }

    fn persist(&mut self, urgent: bool) {
        self.persist_at = None;
        self.outputs.push_back(Output::Persist(Record {
            incarnation: self.membership.myself().incarnation,
            known: self.discovery.known().copied().collect(),
            forgotten: self.membership.forgotten(),
            contacts: self.contacts.list(),
            urgent,
        }));
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    /// What probes and acks of this number carry: equal if view, event log,
    /// shared entries and leader news are.
    fn digest(&self, seq: u32) -> u32 {
        let view = self.membership.table().fingerprint();
        let events = self.log.fingerprint();
        let entries = self.entries.fingerprint();
        let known = [view, events, entries, self.leading.fingerprint()];
        wire::digest(known.into_iter().fold(0, u64::wrapping_add), seq)
    }
}

/// What others have to echo: nothing where packets go in clear.
fn cookie(seal: &Seal) -> u64 {
    if seal.keyed() { seal.cookie() } else { 0 }
}

fn truncated(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
