//! Spread: rumors in and out: originated, heard, passed on, pulled.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::news::is_of_entries;
use super::outbox::Path;
use super::{Event, Peer, Refusal};
use crate::clock::Now;
use crate::gossip::What;
use crate::id::{MessageCounter, NodeId};
use crate::membership::{Change, Heard};
use crate::wire::{Body, MemberRecord, Packet, Rumor, RumorId, RumorIds, Subject};

/// Bytes that one id takes in a list, at most (an origin and a run of its own).
const ID_BYTES: usize = 52;

impl Peer {
    /// Says something of our own to everybody.
    pub(super) fn originate(&mut self, now: Now, mut body: Body) {
        self.messages = MessageCounter(self.messages.0 + 1);
        self.counters.rumors_originated += 1;
        self.membership.set_messages(self.messages);
        if let Body::Alive(info) = &mut body {
            info.messages = self.messages;
        }
        let id = RumorId {
            origin: self.config.id,
            run: self.config.run,
            counter: self.messages,
        };
        let rumor = Rumor { id, body };
        if matches!(rumor.body, Body::Alive(_)) {
            self.my_alive = rumor.clone();
        }
        let concerns_all = matches!(rumor.body, Body::Alive(_) | Body::Failed(_) | Body::Left(_));
        if concerns_all && self.discovery.beacons_work() {
            let mut packet = Packet::new(self.config.id);
            packet.rumors.push(rumor.clone());
            self.send_multicast(&packet);
        }
        self.gossip.spread(now.mono, rumor, None);
    }

    /// A rumor arrived.
    pub(super) fn hear_rumor(&mut self, now: Now, path: Path, from: NodeId, rumor: Rumor) {
        let id = rumor.id;
        if id.origin == self.config.id && id.run == self.config.run {
            return;
        }
        // A leaver waits for its first hearers' word.
        if matches!(rumor.body, Body::Left(_))
            && from == id.origin
            && !matches!(path, Path::Multicast(_))
        {
            let mut packet = Packet::new(self.config.id);
            packet.confirmed = group([(id, false)]);
            self.send(path, Some(from), packet);
        }
        if !self.gossip.receive(id, from) {
            self.counters.rumors_duplicate += 1;
            // Who was dropped from the list after a long partition comes back
            // with what it said of itself before: it has said nothing since.
            if let Body::Alive(info) = &rumor.body
                && self.membership.table().get(info.id).is_none()
            {
                self.believe(now, from, &rumor);
                self.drain_acts(now);
            }
            return;
        }
        self.counters.rumors_new += 1;
        self.membership.counted(id.origin, id.run, id.counter);
        let heard = self.believe(now, from, &rumor);
        self.drain_acts(now);
        let arrival = matches!(rumor.body, Body::Alive(_));
        if heard == Heard::News && !(arrival && self.sync.leaves_out_arrival()) {
            self.gossip.spread(now.mono, rumor, Some(from));
        }
    }

    fn believe(&mut self, now: Now, from: NodeId, rumor: &Rumor) -> Heard {
        let by = rumor.id.origin;
        match &rumor.body {
            Body::Alive(info) => {
                let heard = self.membership.hear_alive(now, info.clone(), &mut self.rng);
                self.object(now, heard, info.id, info.incarnation.0, info.address);
                heard
            }
            Body::Suspect(subjects) => {
                let mut news = Heard::Old;
                for subject in subjects {
                    if self.membership.hear_suspect(now, *subject, by) == Heard::News {
                        news = Heard::News;
                        self.look_if_neighbour(now, *subject);
                    }
                }
                news
            }
            Body::Failed(subjects) => {
                let mut news = Heard::Old;
                for subject in subjects {
                    if self.membership.hear_failed(now, *subject, by) == Heard::News {
                        news = Heard::News;
                    }
                }
                news
            }
            Body::Left(subject) => self.membership.hear_left(now, *subject),
            Body::Forget(subject) => {
                let heard = self.membership.hear_forget(*subject);
                if heard == Heard::News {
                    self.persist(true);
                }
                heard
            }
            Body::Event(event) => {
                if self.clock.observe(now, event.timestamp) && self.log.insert(event.clone()) {
                    self.tell(Event::User(event.clone()));
                    Heard::News
                } else {
                    Heard::Old
                }
            }
            Body::Entries(news) => self.hear_news(now, from, rumor, news),
            Body::Leader(news) => self.hear_leader_rumor(news),
        }
    }

    /// What a peer believes of a member, told in a reconciliation.
    pub(super) fn hear_record(&mut self, now: Now, by: NodeId, record: MemberRecord) {
        let (info, state) = (record.info.clone(), record.state);
        let subject = Subject {
            id: info.id,
            incarnation: info.incarnation,
        };
        let unknown = self.membership.table().get(info.id).is_none();
        let live = matches!(
            state,
            super::MemberState::Alive | super::MemberState::Suspect
        );
        let heard = self.membership.hear_record(now, record, by, &mut self.rng);
        self.object(now, heard, info.id, info.incarnation.0, info.address);
        self.drain_acts(now);
        if unknown && !live && info.id != self.config.id && !self.membership.is_forgotten(info.id) {
            // Hearsay of somebody's end: perhaps it is there all the same.
            self.greet(info.address);
        } else if heard == Heard::News && !live && self.membership.is_live(info.id) {
            // A doubt that came by reconciliation must reach the one doubted.
            self.originate(now, Body::Suspect(vec![subject]));
        }
    }

    /// What must not be believed is answered.
    fn object(&mut self, now: Now, heard: Heard, id: NodeId, incarnation: u64, from: SocketAddr) {
        match heard {
            Heard::Ahead => {
                let refusal = Refusal::ClockAhead {
                    id,
                    from,
                    incarnation,
                };
                self.refuse(now.mono, refusal);
            }
            Heard::Forgotten => {
                self.send_forgotten(Path::Packet(from), id);
            }
            Heard::News | Heard::Old => {}
        }
    }

    /// The ring neighbours of a suspect look for themselves, at once.
    fn look_if_neighbour(&mut self, now: Now, subject: Subject) {
        self.look_around();
        let live = self.membership.live();
        if self.gossip.is_neighbour(subject.id, live) {
            self.membership.look_at(now, subject.id, &mut self.rng);
        }
    }

    /// Somebody names rumors that it holds: pull what we lack.
    pub(super) fn hear_ids(&mut self, now: Now, path: Path, from: NodeId, lists: &[RumorIds]) {
        let mut pull = Vec::new();
        let mut pull_by_stream = Vec::new();
        let wait = self.membership.answer_within(from);
        for (id, large) in ungroup(lists) {
            let wait = (!large).then_some(wait);
            if self.gossip.wants(now.mono, id, from, wait) {
                self.counters.rumors_pulled += 1;
                if large {
                    pull_by_stream.push((id, false));
                } else {
                    pull.push(id);
                }
            } else {
                self.gossip.had(id, from);
            }
        }
        self.pull(path, from, &pull);
        // One frame asks for as many as it holds; what is left is named again.
        pull_by_stream.truncate(self.room() / ID_BYTES);
        if !pull_by_stream.is_empty() {
            let mut packet = Packet::new(self.config.id);
            packet.pull = group(pull_by_stream);
            self.ask_by_stream(from, packet);
        }
    }

    fn pull(&mut self, path: Path, from: NodeId, ids: &[RumorId]) {
        for some in ids.chunks(self.room_on(path) / ID_BYTES) {
            let mut packet = Packet::new(self.config.id);
            packet.pull = group(some.iter().map(|id| (*id, false)));
            self.send(path, Some(from), packet);
        }
    }

    /// Somebody lacks rumors.
    pub(super) fn answer_pull(&mut self, now: Now, path: Path, from: NodeId, lists: &[RumorIds]) {
        // Each once, however often it was asked for.
        let ids: BTreeSet<RumorId> = ungroup(lists).map(|(id, _)| id).collect();
        let shares = self.shares_with(now, from);
        let rumors: Vec<Rumor> = ids
            .into_iter()
            .filter_map(|id| self.gossip.get(id))
            .filter(|rumor| shares || !is_of_entries(rumor))
            .cloned()
            .collect();
        if !rumors.is_empty() {
            let packet = Packet::new(self.config.id);
            self.counters.rumors_sent += rumors.len() as u64;
            self.send_list(
                path,
                Some(from),
                packet,
                rumors,
                Rumor::encoded_len,
                |packet, rumor| {
                    packet.rumors.push(rumor);
                },
            );
        }
    }

    /// Gossip learns who came and who went.
    fn look_around(&mut self) {
        for change in self.membership.take_changes() {
            match change {
                Change::Joined(id) => self.gossip.joined(id),
                Change::Gone(id) => self.gossip.gone(id),
            }
        }
    }

    /// Sends what gossip wants delivered now.
    pub(super) fn deliver_rumors(&mut self, now: Now) {
        self.look_around();
        let deliveries = self.gossip.on_time(now.mono, self.membership.live());
        for delivery in deliveries {
            let Some(entry) = self.membership.table().get(delivery.to) else {
                continue;
            };
            let path = Path::Packet(entry.info.address);
            let room = self.room();
            if delivery.what == What::Pull {
                self.pull(path, delivery.to, &delivery.rumors);
                continue;
            }
            let mut delivery = delivery;
            if !self.shares_with(now, delivery.to) {
                let rumors = |id: &RumorId| self.gossip.get(*id);
                let meant = |id: &RumorId| !rumors(id).is_some_and(is_of_entries);
                delivery.rumors.retain(meant);
            }
            let (full, mut by_id): (Vec<RumorId>, Vec<RumorId>) = delivery
                .rumors
                .into_iter()
                .partition(|id| delivery.what == What::Full && self.gossip.bytes_of(*id) <= room);
            if !full.is_empty() {
                let rumors: Vec<Rumor> = full
                    .iter()
                    .filter_map(|id| self.gossip.get(*id).cloned())
                    .collect();
                let packet = Packet::new(self.config.id);
                let to = Some(delivery.to);
                self.counters.rumors_sent += rumors.len() as u64;
                self.send_list(
                    path,
                    to,
                    packet,
                    rumors,
                    Rumor::encoded_len,
                    |packet, rumor| {
                        packet.rumors.push(rumor);
                    },
                );
            }
            by_id.sort_unstable();
            self.counters.rumor_ids_sent += by_id.len() as u64;
            for ids in by_id.chunks(room / ID_BYTES) {
                let ids = ids.iter().map(|id| (*id, self.gossip.bytes_of(*id) > room));
                let mut packet = Packet::new(self.config.id);
                packet.ids = group(ids);
                self.send(path, Some(delivery.to), packet);
            }
        }
    }
}

/// Lists ids by origin and run; `true` marks those that need a stream.
fn group(ids: impl IntoIterator<Item = (RumorId, bool)>) -> Vec<RumorIds> {
    let mut lists: Vec<RumorIds> = Vec::new();
    for (id, large) in ids {
        let of_last = lists
            .last()
            .is_some_and(|list| (list.origin, list.run) == (id.origin, id.run));
        if !of_last {
            lists.push(RumorIds {
                origin: id.origin,
                run: id.run,
                counters: Vec::new(),
                large: Vec::new(),
            });
        }
        if let Some(list) = lists.last_mut() {
            let counters = if large {
                &mut list.large
            } else {
                &mut list.counters
            };
            counters.push(id.counter);
        }
    }
    lists
}

/// The ids in these lists, with whether they need a stream.
pub(super) fn ungroup(lists: &[RumorIds]) -> impl Iterator<Item = (RumorId, bool)> {
    lists.iter().flat_map(|list| {
        let id = |counter: &MessageCounter| RumorId {
            origin: list.origin,
            run: list.run,
            counter: *counter,
        };
        let small = list
            .counters
            .iter()
            .map(move |counter| (id(counter), false));
        small.chain(list.large.iter().map(move |counter| (id(counter), true)))
    })
}
