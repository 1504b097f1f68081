//! Liar: somebody with the key, or on an open network, who says anything.

use std::net::SocketAddr;

use dui_core::reconcile::{Fingerprint, Key, Range, RangeBody};
use dui_core::seal::{Channel, Opened, Seal, Standing};
use dui_core::wire::{
    Beacon, Body, Confirm, Greeting, MemberInfo, MemberRecord, Packet, Purpose, Relay, Report,
    Rumor, RumorId, RumorIds, Subject, Verdict, event_key, member_key,
};
use dui_core::{
    Incarnation, Keyring, MemberState, MessageCounter, NodeId, Role, RunId, Timestamp, UserEvent,
};
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

use crate::sharer::Share;
use crate::story::{OWN, WALL_MS, cluster};

/// One thing that a packet says. Few ids, runs and addresses, so that they meet.
#[derive(Arbitrary, Debug)]
pub(crate) enum Part {
    Ping(u32),
    Brief,
    AckLast,
    Ack(u32),
    NackLast,
    Relay {
        seq: u32,
        target: Id,
        at: Place,
    },
    Challenge(u64),
    Greet {
        hello: bool,
    },
    Seen(Place),
    Digest(u32),
    Alive {
        counter: Number,
        info: Info,
    },
    Suspect {
        by: Id,
        counter: Number,
        whom: Vec<Life>,
    },
    Failed {
        by: Id,
        counter: Number,
        whom: Vec<Life>,
    },
    Left {
        counter: Number,
        whom: Life,
    },
    Forget {
        by: Id,
        counter: Number,
        whom: Life,
    },
    Event {
        counter: Number,
        run: u8,
        event: Happening,
    },
    Ids(Vec<Named>),
    Pull(Vec<Named>),
    Confirmed(Vec<Named>),
    ConfirmedLast,
    MemberRanges(Vec<Stretch>),
    EventRanges(Vec<Stretch>),
    WantMembers(Vec<Life>),
    WantEvents(Vec<(Number, Id)>),
    Member {
        info: Info,
        state: u8,
    },
    Happened(Happening),
    LargeEvents(Vec<(Number, Id)>),
    Confirm {
        seq: u32,
        whom: Life,
    },
    Report {
        verdict: u8,
    },
    Forgotten(Id),
    Stream(u8),
    Share(Share),
}

/// One of sixteen ids; 0 is the node's own.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Id(u8);

/// One of sixteen addresses; 0 is the node's own.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Place(pub(crate) u8);

/// Near the wall clock, small, or anything.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Number {
    Now(i8),
    Small(u8),
    Any(u64),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Life {
    id: Id,
    incarnation: Number,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Info {
    life: Life,
    run: u8,
    place: Place,
    worker: bool,
    cookie: u64,
    messages: Number,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Happening {
    at: Number,
    origin: Id,
    payload_bytes: u16,
}

#[derive(Arbitrary, Debug)]
pub(crate) struct Named {
    origin: Id,
    run: u8,
    counters: Vec<Number>,
    large: Vec<Number>,
}

#[derive(Arbitrary, Debug)]
pub(crate) struct Stretch {
    lo: u8,
    hi: u8,
    print: Option<(u8, u64)>,
    keys: Vec<Life>,
}

/// What it knows of the node, from what the node sends.
pub(crate) struct Liar {
    seal: Seal,
    rng: ChaCha12Rng,
    cookie: u64,
    last_ping: u32,
    last_confirm: u32,
    last_rumor: Option<RumorId>,
}

impl Liar {
    pub(crate) fn new(keys: Keyring) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(666);
        Self {
            seal: Seal::new(keys, &mut rng),
            rng,
            cookie: 0,
            last_ping: 0,
            last_confirm: 0,
            last_rumor: None,
        }
    }

    /// Listens to what the node sends, wherever to.
    pub(crate) fn listen(&mut self, channel: Option<Channel>, bytes: &[u8]) {
        let opened = match channel {
            Some(channel) => self.seal.open(channel, bytes).expect("the node seals well"),
            None => Opened {
                plain: bytes.to_vec(),
                standing: Standing::Clear,
            },
        };
        let packet =
            Packet::decode(&opened.plain, &cluster()).expect("what a node says is well-formed");
        if let (Standing::Unproven(proof), Some(echo)) = (opened.standing, packet.echo) {
            let _ = self.seal.admit(proof, echo, &mut self.rng);
        }
        self.cookie = packet.challenge.unwrap_or(self.cookie);
        self.last_ping = packet.ping.unwrap_or(self.last_ping);
        self.last_confirm = packet.confirm.map_or(self.last_confirm, |it| it.seq);
        for rumor in packet.rumors {
            if let Body::Alive(info) = &rumor.body
                && info.id == OWN
            {
                self.cookie = info.cookie;
            }
            if rumor.id.origin == OWN {
                self.last_rumor = Some(rumor.id);
            }
        }
    }

    /// Bytes that go inside no seal.
    pub(crate) fn seal(&mut self, channel: Option<Channel>, body: &[u8]) -> Vec<u8> {
        match channel {
            Some(channel) => self.seal.seal(channel, body, &mut self.rng),
            None => body.to_vec(),
        }
    }

    pub(crate) fn beacon(&mut self, info: Info, view: u64) -> Vec<u8> {
        let info = info.build();
        let beacon = Beacon {
            id: info.id,
            name: info.name,
            address: info.address,
            role: info.role,
            messages: info.messages,
            view,
            examination: None,
            examined: None,
        };
        self.seal(Some(Channel::Beacon), &beacon.encode(&cluster()))
    }

    pub(crate) fn say(
        &mut self,
        channel: Option<Channel>,
        from: Id,
        echo: bool,
        parts: Vec<Part>,
    ) -> Vec<u8> {
        let mut packet = Packet::new(from.id());
        packet.echo = echo.then_some(self.cookie);
        for part in parts {
            self.add(&mut packet, part);
        }
        self.seal(channel, &packet.encode(&cluster()))
    }

    fn add(&self, packet: &mut Packet, part: Part) {
        match part {
            Part::Ping(seq) => packet.ping = Some(seq),
            Part::Brief => packet.brief = true,
            Part::AckLast => packet.ack = Some(self.last_ping),
            Part::Ack(seq) => packet.ack = Some(seq),
            Part::NackLast => packet.nack = Some(self.last_ping),
            Part::Relay { seq, target, at } => {
                packet.relay = Some(Relay {
                    seq,
                    target: target.id(),
                    address: at.address(),
                });
            }
            Part::Challenge(cookie) => packet.challenge = Some(cookie),
            Part::Greet { hello } => {
                packet.greeting = Some(if hello {
                    Greeting::Hello
                } else {
                    Greeting::Welcome
                });
            }
            Part::Seen(place) => packet.seen = Some(place.address()),
            Part::Digest(digest) => packet.digest = Some(digest),
            Part::Alive { counter, info } => {
                let info = info.build();
                let id = rumor_id(info.id, info.run, counter);
                packet.rumors.push(Rumor {
                    id,
                    body: Body::Alive(info),
                });
            }
            Part::Suspect { by, counter, whom } => {
                packet
                    .rumors
                    .push(rumor(by, counter, Body::Suspect(subjects(whom))));
            }
            Part::Failed { by, counter, whom } => {
                packet
                    .rumors
                    .push(rumor(by, counter, Body::Failed(subjects(whom))));
            }
            Part::Left { counter, whom } => {
                packet
                    .rumors
                    .push(rumor(whom.id, counter, Body::Left(whom.subject())));
            }
            Part::Forget { by, counter, whom } => {
                packet
                    .rumors
                    .push(rumor(by, counter, Body::Forget(whom.subject())));
            }
            Part::Event {
                counter,
                run,
                event,
            } => {
                let event = event.build();
                let id = rumor_id(event.origin, run_id(run), counter);
                packet.rumors.push(Rumor {
                    id,
                    body: Body::Event(event),
                });
            }
            Part::Ids(lists) => packet.ids.extend(lists.into_iter().map(Named::build)),
            Part::Pull(lists) => packet.pull.extend(lists.into_iter().map(Named::build)),
            Part::Confirmed(lists) => packet.confirmed.extend(lists.into_iter().map(Named::build)),
            Part::ConfirmedLast => packet.confirmed.extend(self.last_rumor.map(|id| RumorIds {
                origin: id.origin,
                run: id.run,
                counters: vec![id.counter],
                large: vec![],
            })),
            Part::MemberRanges(ranges) => {
                packet
                    .member_ranges
                    .extend(ranges.into_iter().map(Stretch::build));
            }
            Part::EventRanges(ranges) => {
                packet
                    .event_ranges
                    .extend(ranges.into_iter().map(Stretch::build));
            }
            Part::WantMembers(lives) => packet.want_members.extend(lives.iter().map(Life::key)),
            Part::WantEvents(keys) => packet
                .want_events
                .extend(keys.into_iter().map(key_of_event)),
            Part::Member { info, state } => packet.members.push(MemberRecord {
                info: info.build(),
                state: match state % 4 {
                    0 => MemberState::Alive,
                    1 => MemberState::Suspect,
                    2 => MemberState::Failed,
                    _ => MemberState::Left,
                },
            }),
            Part::Happened(event) => packet.events.push(event.build()),
            Part::LargeEvents(keys) => {
                packet
                    .large_events
                    .extend(keys.into_iter().map(key_of_event));
            }
            Part::Confirm { seq, whom } => {
                packet.confirm = Some(Confirm {
                    seq,
                    subject: whom.subject(),
                });
            }
            Part::Report { verdict } => {
                packet.report = Some(Report {
                    seq: self.last_confirm,
                    verdict: match verdict % 4 {
                        0 => Verdict::Answered,
                        1 => Verdict::Refused,
                        2 => Verdict::StreamLost,
                        _ => Verdict::Silent,
                    },
                })
            }
            Part::Forgotten(whom) => packet.forgotten = Some(whom.id()),
            Part::Stream(purpose) => {
                packet.stream = Some(match purpose % 5 {
                    0 => Purpose::Ring,
                    1 => Purpose::Probe,
                    2 => Purpose::Bulk,
                    3 => Purpose::Exchange,
                    _ => Purpose::Goodbye,
                })
            }
            Part::Share(share) => share.add_to(packet),
        }
    }
}

impl Id {
    pub(crate) fn id(self) -> NodeId {
        NodeId(OWN.0 + u128::from(self.0 % 16) * 0x1234_5678_9abc_def0_1234_5678)
    }
}

impl Place {
    pub(crate) fn address(self) -> SocketAddr {
        let place = u16::from(self.0 % 16);
        SocketAddr::from(([0xfd00, 0, 0, 0, 0, 0, 0, 1 + place], 7781))
    }
}

impl Number {
    pub(crate) fn get(self) -> u64 {
        match self {
            Number::Now(off) => WALL_MS.saturating_add_signed(i64::from(off)),
            Number::Small(n) => n.into(),
            Number::Any(n) => n,
        }
    }
}

impl Life {
    fn subject(self) -> Subject {
        Subject {
            id: self.id.id(),
            incarnation: Incarnation(self.incarnation.get()),
        }
    }

    fn key(&self) -> Key {
        member_key(self.subject())
    }
}

impl Info {
    fn build(self) -> MemberInfo {
        let Subject { id, incarnation } = self.life.subject();
        MemberInfo {
            id,
            run: run_id(self.run),
            incarnation,
            name: "liar".repeat(15).parse().expect("60 letters are a name"),
            role: if self.worker {
                Role::Worker
            } else {
                Role::Manager
            },
            address: self.place.address(),
            version: "6".repeat(32).into(),
            cookie: self.cookie,
            messages: MessageCounter(self.messages.get()),
        }
    }
}

impl Happening {
    fn build(self) -> UserEvent {
        let at = match self.at {
            Number::Now(_) => self.at.get() << 16,
            Number::Small(_) | Number::Any(_) => self.at.get(),
        };
        UserEvent {
            timestamp: Timestamp(at),
            origin: self.origin.id(),
            name: "lie".into(),
            payload: vec![0; usize::from(self.payload_bytes % 8_193)],
        }
    }
}

impl Named {
    fn build(self) -> RumorIds {
        let counters = |list: Vec<Number>| list.into_iter().map(|n| MessageCounter(n.get()));
        RumorIds {
            origin: self.origin.id(),
            run: run_id(self.run),
            counters: counters(self.counters).collect(),
            large: counters(self.large).collect(),
        }
    }
}

impl Stretch {
    fn build(self) -> Range {
        let mut hi = [self.hi; 24];
        hi[23] = 0xff;
        Range {
            lo: [self.lo; 24],
            hi,
            body: match self.print {
                Some((count, sum)) => RangeBody::Fingerprint(Fingerprint {
                    count: count.into(),
                    sum,
                }),
                None => RangeBody::Keys(self.keys.iter().map(Life::key).collect()),
            },
        }
    }
}

fn subjects(lives: Vec<Life>) -> Vec<Subject> {
    lives.into_iter().map(Life::subject).collect()
}

fn key_of_event((at, origin): (Number, Id)) -> Key {
    event_key(Timestamp(at.get() << 16), origin.id())
}

fn run_id(n: u8) -> RunId {
    RunId(u128::from(n % 4))
}

pub(crate) fn rumor(origin: Id, counter: Number, body: Body) -> Rumor {
    let id = rumor_id(origin.id(), run_id(0), counter);
    Rumor { id, body }
}

fn rumor_id(origin: NodeId, run: RunId, counter: Number) -> RumorId {
    RumorId {
        origin,
        run,
        counter: MessageCounter(counter.get()),
    }
}
