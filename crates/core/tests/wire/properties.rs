//! Properties: what is encoded reads back, and nothing that is read can hurt.

use std::net::SocketAddr;

use crate::leading::any_leader_news;
use crate::messages::{ANN, BO, Said, cluster, messages, named};
use crate::sharing::{any_news, any_sharing};
use dui_core::reconcile::{Fingerprint, Key, Range, RangeBody};
use dui_core::wire::{
    Beacon, Body, Confirm, DecodeError, Examine, Examined, Greeting, ITEMS_MAX, MemberInfo,
    MemberRecord, Packet, Purpose, Relay, Report, Rumor, RumorId, RumorIds, Subject, Verdict, Way,
    Wishes,
};
use dui_core::{
    Incarnation, MemberState, MessageCounter, NodeId, Role, RunId, Timestamp, UserEvent,
};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{Index, select};

proptest! {
    #[test]
    fn whatever_a_peer_says_reads_back_as_it_was_said(packet in any_packet()) {
        let body = packet.encode(&cluster());
        prop_assert_eq!(Packet::decode(&body, &cluster()), Ok(packet));
    }

    #[test]
    fn whatever_a_beacon_says_reads_back_as_it_was_said(beacon in any_beacon()) {
        let body = beacon.encode(&cluster());
        prop_assert_eq!(Beacon::decode(&body, &cluster()), Ok(beacon));
    }

    #[test]
    fn lengths_told_for_planning_are_never_too_short(packet in any_packet()) {
        let empty = Packet::new(packet.from).encode(&cluster()).len();
        for rumor in packet.rumors {
            let told = rumor.encoded_len();
            let mut alone = Packet::new(packet.from);
            alone.rumors.push(rumor);
            prop_assert!(alone.encode(&cluster()).len() <= empty + told);
        }
        for member in packet.members {
            let told = member.encoded_len();
            let mut alone = Packet::new(packet.from);
            alone.members.push(member);
            prop_assert!(alone.encode(&cluster()).len() <= empty + told);
        }
    }

    #[test]
    fn noise_is_refused_or_read_but_never_harms(noise in vec(any::<u8>(), 0..1_300)) {
        let body = [&b"\x0a\x05green"[..], &noise].concat();
        for bytes in [&body, &noise] {
            let _ = Beacon::decode(bytes, &cluster());
            if let Ok(packet) = Packet::decode(bytes, &cluster()) {
                prop_assert!(packet.rumors.len() <= ITEMS_MAX);
            }
        }
    }

    /// Noise hardly gets past the first field; this comes close to the truth.
    #[test]
    fn a_message_with_some_bytes_changed_never_harms(
        which in any::<Index>(),
        changes in vec((any::<Index>(), any::<u8>()), 1..6),
        cut in of(any::<Index>()),
    ) {
        let all = messages();
        let mut body = match &which.get(&all).said {
            Said::Packet(packet) => packet.encode(&cluster()),
            Said::Beacon(beacon) => beacon.encode(&cluster()),
        };
        for (at, byte) in changes {
            let at = at.index(body.len());
            body[at] = byte;
        }
        body.truncate(cut.map_or(body.len(), |cut| cut.index(body.len())));
        let _ = Beacon::decode(&body, &cluster());
        if let Ok(packet) = Packet::decode(&body, &cluster()) {
            // What was read can be said again.
            let again = packet.encode(&cluster());
            prop_assert_eq!(Packet::decode(&again, &cluster()), Ok(packet));
        }
    }
}

#[test]
fn another_cluster_is_refused_by_name_before_anything_else_is_read() {
    let body = [&b"\x0a\x04blue"[..], &[0xff; 40]].concat();
    let refused = Err(DecodeError::OtherCluster("blue".into()));
    assert_eq!(Packet::decode(&body, &cluster()), refused);
    let Err(said) = Beacon::decode(&body, &cluster()) else {
        panic!("a beacon of another cluster was read");
    };
    assert_eq!(said, DecodeError::OtherCluster("blue".into()));
}

#[test]
fn a_list_beyond_its_bound_is_refused_as_a_whole() {
    let mut packet = Packet::new(ANN);
    packet.want_members = vec![[1; 24]; ITEMS_MAX];
    let at_the_bound = packet.encode(&cluster());
    assert_eq!(
        Packet::decode(&at_the_bound, &cluster()),
        Ok(packet.clone())
    );
    packet.want_members.push([1; 24]);
    let beyond = packet.encode(&cluster());
    assert!(matches!(
        Packet::decode(&beyond, &cluster()),
        Err(DecodeError::Bounds(_))
    ));
}

#[test]
fn a_frame_of_empty_rumors_is_refused_before_it_is_unpacked() {
    let mut bytes = Packet::new(ANN).encode(&cluster());
    let empty_rumor = [12 << 3 | 2, 0];
    for _ in 0..30_000 {
        bytes.extend(empty_rumor);
    }
    assert_eq!(
        Packet::decode(&bytes, &cluster()),
        Err(DecodeError::Bounds("number of fields"))
    );
}

#[test]
fn nobody_speaks_for_another() {
    let Said::Packet(mut packet) = named("rumor: alive") else {
        panic!("a rumor travels in a packet");
    };
    packet.rumors[0].id.origin = BO;
    let body = packet.encode(&cluster());
    assert!(matches!(
        Packet::decode(&body, &cluster()),
        Err(DecodeError::Bounds(_))
    ));
}

fn any_packet() -> impl Strategy<Value = Packet> {
    let probing = (
        (
            (any_id(), any::<bool>()),
            of(any::<u32>()),
            of(any::<u64>()),
        ),
        (of(any::<u32>()), of(any::<u32>()), of(any::<u32>())),
        (of(any_relay()), of(any::<u64>()), of(any_address())),
        of(select(vec![Greeting::Hello, Greeting::Welcome])),
    );
    let gossip = (
        vec(any_rumor(), 0..4),
        vec(any_rumor_ids(), 0..3),
        vec(any_rumor_ids(), 0..3),
        vec(any_rumor_ids(), 0..3),
    );
    let reconciliation = (
        (vec(any_range(), 0..4), vec(any_range(), 0..4)),
        (vec(any_key(), 0..4), vec(any_key(), 0..4)),
        (vec(any_member(), 0..3), vec(any_event(), 0..3)),
        vec(any_key(), 0..3),
    );
    let crash = (
        of((any::<u32>(), any_subject()).prop_map(|(seq, subject)| Confirm { seq, subject })),
        of((any::<u32>(), any_verdict()).prop_map(|(seq, verdict)| Report { seq, verdict })),
        of(any_id()),
        of(select(vec![
            Purpose::Ring,
            Purpose::Probe,
            Purpose::Bulk,
            Purpose::Goodbye,
            Purpose::Detour,
            Purpose::Exchange,
            Purpose::Examine,
        ])),
    );
    let examination = (of(any_examine()), of(any_examined()), 0..1_200usize);
    let examination = (examination, of(any_leader_news()));
    let parts = (
        probing,
        gossip,
        reconciliation,
        crash,
        any_sharing(),
        vec(any_range(), 0..4),
        examination,
    );
    parts.prop_map(
        |(probing, gossip, reconciliation, crash, sharing, entry_ranges, examination)| {
            let (
                ((from, brief), digest, echo),
                (ping, ack, nack),
                (relay, challenge, seen),
                greeting,
            ) = probing;
            let (rumors, ids, pull, confirmed) = gossip;
            let (ranges, wanted, items, large_events) = reconciliation;
            let (confirm, report, forgotten, stream) = crash;
            let (examination, leader) = examination;
            Packet {
                // A brief packet says half of an id, so only half can come back.
                from: if brief {
                    NodeId(from.0 >> 64 << 64)
                } else {
                    from
                },
                brief,
                digest,
                echo,
                ping,
                ack,
                nack,
                relay,
                challenge,
                greeting,
                seen,
                rumors,
                ids,
                pull,
                confirmed,
                member_ranges: ranges.0,
                event_ranges: ranges.1,
                want_members: wanted.0,
                want_events: wanted.1,
                members: items.0,
                events: items.1,
                large_events,
                confirm,
                report,
                forgotten,
                stream,
                entry_ranges,
                leader,
                examine: examination.0,
                examined: examination.1,
                padding: examination.2,
                ..sharing
            }
        },
    )
}

fn any_beacon() -> impl Strategy<Value = Beacon> {
    let examinations = (of(any::<u64>()), of(any::<u64>()));
    (any_info(), any::<u64>(), examinations).prop_map(|(info, view, (asked, answered))| Beacon {
        id: info.id,
        name: info.name,
        address: info.address,
        role: info.role,
        messages: info.messages,
        view,
        examination: asked,
        examined: answered,
    })
}

fn any_way() -> impl Strategy<Value = Way> {
    let links = [Way::Stream, Way::StreamBack, Way::Multicast, Way::Broadcast];
    select([&Way::PACKETS[..], &links].concat())
}

fn any_examine() -> impl Strategy<Value = Examine> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>());
    let wishes = (any::<bool>(), any::<bool>(), any::<bool>());
    (numbers, any_address(), any_way(), wishes).prop_map(|(numbers, address, way, wishes)| {
        Examine {
            number: numbers.0,
            clock_ms: numbers.1,
            cookie: numbers.2,
            address,
            way,
            wishes: Wishes {
                packets: wishes.0,
                stream: wishes.1,
                beacon: wishes.2,
            },
        }
    })
}

fn any_examined() -> impl Strategy<Value = Examined> {
    let numbers = (any::<u64>(), any::<u64>(), any::<u64>());
    let sets = (vec(any_way(), 0..4), vec(any_way(), 0..4));
    (numbers, any_address(), any_way(), sets).prop_map(|(numbers, address, way, sets)| Examined {
        number: numbers.0,
        clock_ms: numbers.1,
        asked_ms: numbers.2,
        address,
        way,
        arrived: sets.0.into_iter().collect(),
        links: sets.1.into_iter().collect(),
    })
}

fn any_relay() -> impl Strategy<Value = Relay> {
    (any::<u32>(), any_id(), any_address()).prop_map(|(seq, target, address)| Relay {
        seq,
        target,
        address,
    })
}

fn any_rumor() -> impl Strategy<Value = Rumor> {
    let body = prop_oneof![
        any_info().prop_map(Body::Alive),
        vec(any_subject(), 0..4).prop_map(Body::Suspect),
        vec(any_subject(), 0..4).prop_map(Body::Failed),
        any_subject().prop_map(Body::Left),
        any_subject().prop_map(Body::Forget),
        any_event().prop_map(Body::Event),
        any_news().prop_map(Body::Entries),
        any_leader_news().prop_map(Body::Leader),
    ];
    (any_id(), any_run(), any_counter(), body).prop_map(|(origin, run, counter, body)| {
        // Of some things only the one concerned speaks.
        let (origin, run) = match &body {
            Body::Alive(info) => (info.id, info.run),
            Body::Left(subject) => (subject.id, run),
            Body::Event(event) => (event.origin, run),
            _ => (origin, run),
        };
        let id = RumorId {
            origin,
            run,
            counter,
        };
        Rumor { id, body }
    })
}

fn any_rumor_ids() -> impl Strategy<Value = RumorIds> {
    let counters = || vec(any_counter(), 0..5);
    (any_id(), any_run(), counters(), counters()).prop_map(|(origin, run, counters, large)| {
        RumorIds {
            origin,
            run,
            counters,
            large,
        }
    })
}

fn any_range() -> impl Strategy<Value = Range> {
    let body = prop_oneof![
        (any::<u64>(), any::<u64>())
            .prop_map(|(count, sum)| RangeBody::Fingerprint(Fingerprint { count, sum })),
        vec(any_key(), 0..5).prop_map(RangeBody::Keys),
    ];
    (any_key(), any_key(), body).prop_map(|(lo, hi, body)| Range { lo, hi, body })
}

fn any_member() -> impl Strategy<Value = MemberRecord> {
    let state = select(vec![
        MemberState::Alive,
        MemberState::Suspect,
        MemberState::Failed,
        MemberState::Left,
    ]);
    (any_info(), state).prop_map(|(info, state)| MemberRecord { info, state })
}

fn any_info() -> impl Strategy<Value = MemberInfo> {
    (
        (any_id(), any_run(), any::<u64>()),
        ("[a-zA-Z0-9._-]{1,63}", any::<bool>(), any_address()),
        ("[ -~]{0,32}", any::<u64>(), any_counter()),
    )
        .prop_map(|(who, what, rest)| MemberInfo {
            id: who.0,
            run: who.1,
            incarnation: Incarnation(who.2),
            name: what.0.parse().unwrap(),
            role: if what.1 { Role::Manager } else { Role::Worker },
            address: what.2,
            version: rest.0.into(),
            cookie: rest.1,
            messages: rest.2,
        })
}

fn any_event() -> impl Strategy<Value = UserEvent> {
    let name = "\\PC{1,30}";
    (any::<u64>(), any_id(), name, vec(any::<u8>(), 0..100)).prop_map(
        |(timestamp, origin, name, payload)| UserEvent {
            timestamp: Timestamp(timestamp),
            origin,
            name,
            payload,
        },
    )
}

fn any_subject() -> impl Strategy<Value = Subject> {
    (any_id(), any::<u64>()).prop_map(|(id, incarnation)| Subject {
        id,
        incarnation: Incarnation(incarnation),
    })
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    select(vec![
        Verdict::Answered,
        Verdict::Refused,
        Verdict::StreamLost,
        Verdict::Silent,
    ])
}

fn any_address() -> impl Strategy<Value = SocketAddr> {
    (any::<std::net::IpAddr>(), 1..=u16::MAX)
        .prop_map(SocketAddr::from)
        .prop_filter("nobody can be reached there", |address| {
            !address.ip().is_unspecified() && !address.ip().is_multicast()
        })
}

fn any_id() -> impl Strategy<Value = NodeId> {
    any::<u128>().prop_map(NodeId)
}

fn any_run() -> impl Strategy<Value = RunId> {
    any::<u128>().prop_map(RunId)
}

fn any_counter() -> impl Strategy<Value = MessageCounter> {
    any::<u64>().prop_map(MessageCounter)
}

fn any_key() -> impl Strategy<Value = Key> {
    any::<Key>()
}
