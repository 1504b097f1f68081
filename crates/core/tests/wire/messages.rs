//! One message of every kind, each with a sentence on what it says.

use std::net::SocketAddr;

use dui_core::reconcile::{Fingerprint, Key, Range, RangeBody};
use dui_core::wire::{
    Beacon, Body, Confirm, Examine, Examined, Greeting, MemberInfo, MemberRecord, Packet, Purpose,
    Relay, Report, Rumor, RumorId, RumorIds, Subject, Verdict, Way, Wishes, event_key, member_key,
};
use dui_core::{
    ClusterName, Incarnation, MemberState, MessageCounter, NodeId, Role, RunId, Timestamp,
    UserEvent,
};

pub(crate) struct Message {
    pub(crate) name: &'static str,
    pub(crate) story: &'static str,
    pub(crate) said: Said,
}

#[allow(clippy::large_enum_variant)] // a handful in a test
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Said {
    /// From peer socket to peer socket, or as a frame of a stream.
    Packet(Packet),
    /// To everybody.
    Beacon(Beacon),
}

pub(crate) const ANN: NodeId = NodeId(u128::from_be_bytes([0xaa; 16]));
pub(crate) const BO: NodeId = NodeId(u128::from_be_bytes([0xbb; 16]));
pub(crate) const CY: NodeId = NodeId(u128::from_be_bytes([0xcc; 16]));
pub(crate) const ANNS_RUN: RunId = RunId(u128::from_be_bytes([0xa0; 16]));
const EXAMINATION: u64 = 0xe0e1_e2e3_e4e5_e6e7;
const COOKIE: u64 = 0xc00c_1ec0_0c1e_c00c;
const PUBLISHED: Timestamp = Timestamp(0x0190_0000_0000_0001);

pub(crate) fn cluster() -> ClusterName {
    "green".parse().unwrap()
}

/// The message of this name.
pub(crate) fn named(name: &str) -> Said {
    let mut all = messages().into_iter();
    all.find(|message| message.name == name).unwrap().said
}

/// All of them, in the order of their fields.
pub(crate) fn messages() -> Vec<Message> {
    [
        probing(),
        first_contact(),
        rumors(),
        repair(),
        reconciliation(),
        crash(),
        streams(),
        examination(),
        crate::sharing::messages(),
        crate::leading::messages(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn probing() -> Vec<Message> {
    vec![
        packet(
            "ping",
            "Ann asks whether bo is there: half of her id, number, her digest.",
            |p| {
                p.from = NodeId(ANN.0 >> 64 << 64);
                p.brief = true;
                p.digest = Some(0xd1d2_d3d4);
                p.ping = Some(0x0102_0304);
            },
        ),
        packet("ack", "\"I am.\" The number is the ping's.", |p| {
            p.digest = Some(1);
            p.ack = Some(0x0102_0304);
        }),
        packet(
            "nack",
            "Ann probes on somebody's behalf and has no answer yet: she herself is well.",
            |p| {
                p.nack = Some(7);
            },
        ),
        packet("relay", "Ann cannot reach cy and asks bo to try.", |p| {
            p.relay = Some(Relay {
                seq: 7,
                target: CY,
                address: v6(),
            });
        }),
    ]
}

fn first_contact() -> Vec<Message> {
    vec![
        packet(
            "echo",
            "Ann proves that she speaks to bo's present run. She says nothing else.",
            |p| {
                p.echo = Some(COOKIE);
            },
        ),
        packet(
            "challenge",
            "\"Echo this, or I act on nothing you say.\"",
            |p| {
                p.challenge = Some(COOKIE);
            },
        ),
        packet(
            "hello",
            "Ann greets an address, tells it how it looks from outside, and who she is.",
            |p| {
                p.greeting = Some(Greeting::Hello);
                p.seen = Some(v4());
                p.challenge = Some(COOKIE);
                p.members = vec![record(MemberState::Alive)];
            },
        ),
        packet(
            "welcome",
            "The answer: a digest to compare, and some members.",
            |p| {
                p.digest = Some(0);
                p.greeting = Some(Greeting::Welcome);
                p.seen = Some(v6());
                p.members = vec![
                    record(MemberState::Suspect),
                    record(MemberState::Failed),
                    record(MemberState::Left),
                ];
            },
        ),
        Message {
            name: "beacon",
            story: "\"Here I am\", to everybody. Answers go to the address in it.",
            said: Said::Beacon(Beacon {
                id: ANN,
                name: "ada-lovelace-aaaa".parse().unwrap(),
                address: v4(),
                role: Role::Worker,
                messages: MessageCounter(300),
                view: 0xf1f2_f3f4_f5f6_f7f8,
                examination: None,
                examined: None,
            }),
        },
        packet(
            "forgotten",
            "\"Bo was forgotten.\" If the receiver is Bo, it stops for good.",
            |p| {
                p.forgotten = Some(BO);
            },
        ),
    ]
}

fn rumors() -> Vec<Message> {
    let rumor = |name, story, body| {
        packet(name, story, |p| {
            p.rumors = vec![Rumor {
                id: rumor_id(5),
                body,
            }]
        })
    };
    vec![
        rumor(
            "rumor: alive",
            "Ann about herself: joined, refuted a suspicion, or moved.",
            Body::Alive(info(Role::Manager)),
        ),
        rumor(
            "rumor: suspect",
            "Ann had no answer from bo and cy: two accusations, one rumor.",
            Body::Suspect(vec![subject(BO), subject(CY)]),
        ),
        rumor(
            "rumor: failed",
            "Ann holds bo dead.",
            Body::Failed(vec![subject(BO)]),
        ),
        rumor("rumor: left", "Ann says goodbye.", Body::Left(subject(ANN))),
        rumor(
            "rumor: forget",
            "An operator removed bo for good, at ann's node.",
            Body::Forget(subject(BO)),
        ),
        rumor(
            "rumor: event",
            "Ann publishes an event for applications.",
            Body::Event(event()),
        ),
        packet("rumors", "Two rumors in one packet.", |p| {
            p.rumors = vec![
                Rumor {
                    id: rumor_id(5),
                    body: Body::Failed(vec![subject(BO)]),
                },
                Rumor {
                    id: rumor_id(6),
                    body: Body::Alive(info(Role::Worker)),
                },
            ];
        }),
    ]
}

fn repair() -> Vec<Message> {
    vec![
        packet(
            "ids",
            "\"These I have\": four rumors of one run, one of them too large for a packet.",
            |p| p.ids = ids(),
        ),
        packet("pull", "\"Those I lack.\"", |p| p.pull = ids()),
        packet(
            "confirmed",
            "\"Those arrived\": a leaver waits for it.",
            |p| p.confirmed = ids(),
        ),
    ]
}

fn reconciliation() -> Vec<Message> {
    vec![
        packet(
            "member ranges",
            "All ids, in two parts: one by its fingerprint, one by the only key in it.",
            |p| {
                p.member_ranges = ranges(member_key(subject(BO)));
            },
        ),
        packet("event ranges", "The same for the event log.", |p| {
            p.event_ranges = ranges(event_key(PUBLISHED, ANN));
        }),
        packet("wanted", "Members and events that ann lacks.", |p| {
            p.want_members = vec![member_key(subject(BO)), member_key(subject(CY))];
            p.want_events = vec![event_key(PUBLISHED, ANN)];
        }),
        packet(
            "events",
            "Events that bo lacks: one in full, one to be fetched by stream.",
            |p| {
                p.events = vec![event()];
                p.large_events = vec![event_key(PUBLISHED, CY)];
            },
        ),
    ]
}

fn crash() -> Vec<Message> {
    let report =
        |name, story, verdict| packet(name, story, |p| p.report = Some(Report { seq: 8, verdict }));
    vec![
        packet(
            "confirm",
            "Ann was refused by cy's address: has cy crashed?",
            |p| {
                p.confirm = Some(Confirm {
                    seq: 8,
                    subject: subject(CY),
                });
            },
        ),
        report("report: answered", "It answered.", Verdict::Answered),
        report(
            "report: refused",
            "Its address refused ann too.",
            Verdict::Refused,
        ),
        report(
            "report: stream lost",
            "Her stream to it ended, and a direct probe had no answer.",
            Verdict::StreamLost,
        ),
        report("report: silent", "No answer, no evidence.", Verdict::Silent),
    ]
}

fn streams() -> Vec<Message> {
    let first = |name, story, purpose| {
        let mut frame = Packet::new(ANN);
        frame.stream = Some(purpose);
        Message {
            name,
            story,
            said: Said::Packet(frame),
        }
    };
    vec![
        first(
            "stream: ring",
            "An idle stream; its end without goodbye is evidence of a crash.",
            Purpose::Ring,
        ),
        first(
            "stream: probe",
            "One ping, one ack, where datagrams do not get through.",
            Purpose::Probe,
        ),
        first(
            "stream: bulk",
            "What is too large for a packet.",
            Purpose::Bulk,
        ),
        first(
            "stream: goodbye",
            "\"I am closing this in good health.\"",
            Purpose::Goodbye,
        ),
    ]
}

fn examination() -> Vec<Message> {
    let beacon = |name, story, examination, examined| Message {
        name,
        story,
        said: Said::Beacon(Beacon {
            id: ANN,
            name: "ada-lovelace-aaaa".parse().unwrap(),
            address: v4(),
            role: Role::Worker,
            messages: MessageCounter(300),
            view: 0xf1f2_f3f4_f5f6_f7f8,
            examination,
            examined,
        }),
    };
    vec![
        packet(
            "examine",
            "\"What of mine gets through to you?\" Asked by a packet of 500 bytes.",
            |p| {
                p.examine = Some(Examine {
                    number: EXAMINATION,
                    clock_ms: 1_790_000_000_000,
                    cookie: COOKIE,
                    address: v4(),
                    way: Way::Packet500,
                    wishes: Wishes {
                        packets: true,
                        stream: true,
                        beacon: true,
                    },
                });
                p.padding = 40;
            },
        ),
        packet(
            "examined",
            "The answer on a stream of the answerer's own, with what has arrived so far.",
            |p| {
                p.examined = Some(Examined {
                    number: EXAMINATION,
                    clock_ms: 1_790_000_600_000,
                    asked_ms: 1_790_000_000_000,
                    address: v6(),
                    way: Way::StreamBack,
                    arrived: [Way::Packet, Way::Packet1200, Way::Broadcast]
                        .into_iter()
                        .collect(),
                    links: [Way::Multicast].into_iter().collect(),
                });
                p.stream = Some(Purpose::Examine);
            },
        ),
        beacon(
            "beacon: examination",
            "\"Who of those that I examine hears this?\"",
            Some(EXAMINATION),
            None,
        ),
        beacon(
            "beacon: examined",
            "Sent because somebody who examines wants to know whether it is heard.",
            None,
            Some(EXAMINATION),
        ),
    ]
}

pub(crate) fn packet(
    name: &'static str,
    story: &'static str,
    fill: impl FnOnce(&mut Packet),
) -> Message {
    let mut packet = Packet::new(ANN);
    fill(&mut packet);
    Message {
        name,
        story,
        said: Said::Packet(packet),
    }
}

fn v4() -> SocketAddr {
    "192.0.2.1:7781".parse().unwrap()
}

fn v6() -> SocketAddr {
    "[2001:db8::2]:7781".parse().unwrap()
}

fn rumor_id(counter: u64) -> RumorId {
    RumorId {
        origin: ANN,
        run: ANNS_RUN,
        counter: MessageCounter(counter),
    }
}

fn subject(id: NodeId) -> Subject {
    Subject {
        id,
        incarnation: Incarnation(1_700_000_000_000),
    }
}

fn info(role: Role) -> MemberInfo {
    MemberInfo {
        id: ANN,
        run: ANNS_RUN,
        incarnation: Incarnation(1_700_000_000_000),
        name: "ada-lovelace-aaaa".parse().unwrap(),
        role,
        address: v4(),
        version: "0.1.0".into(),
        cookie: COOKIE,
        messages: MessageCounter(300),
    }
}

fn record(state: MemberState) -> MemberRecord {
    MemberRecord {
        info: info(Role::Manager),
        state,
    }
}

fn event() -> UserEvent {
    UserEvent {
        timestamp: PUBLISHED,
        origin: ANN,
        name: "deploy".into(),
        payload: b"v2 \xff".into(),
    }
}

fn ids() -> Vec<RumorIds> {
    vec![RumorIds {
        origin: ANN,
        run: ANNS_RUN,
        counters: vec![MessageCounter(5), MessageCounter(6), MessageCounter(300)],
        large: vec![MessageCounter(7)],
    }]
}

fn ranges(only: Key) -> Vec<Range> {
    let fingerprint = Fingerprint {
        count: 40,
        sum: 0x5a5b_5c5d_5e5f_6061,
    };
    let mut after = only;
    after[23] += 1;
    vec![
        Range {
            lo: [0; 24],
            hi: only,
            body: RangeBody::Keys(vec![only]),
        },
        Range {
            lo: after,
            hi: [0xff; 24],
            body: RangeBody::Fingerprint(fingerprint),
        },
    ]
}
