//! Hardships: what must stay bounded, and heal, when things go wrong in a row.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;

use dui_core::wire::{Body, Packet, Relay, Rumor, RumorId, Subject};
use dui_core::{
    Event, Incarnation, Input, MemberState, MessageCounter, Mono, NodeId, Output, RunId, Timer,
};
use dui_sim::{Town, key, ms, secs};

// --- partitions ---

#[test]
fn two_sides_that_hold_each_other_failed_make_up_in_a_few_packets() {
    for seed in 0..10 {
        let mut town = Town::of(seed, ["ann", "bo"]);
        // Unheard by multicast, where one word would do.
        town.world.network.multicast = false;
        town.partition(&["ann"]).run(secs(30));
        assert_eq!(town.belief("ann", "bo"), Some(MemberState::Failed));
        town.heal();
        let before = town.sent();
        town.run(secs(3));
        assert_eq!(town.alive("ann").len(), 2);
        assert_eq!(town.alive("bo").len(), 2);
        let sent = town.sent() - before;
        assert!(sent < 150, "{sent} packets, seed {seed}");
    }
}

#[test]
fn a_partition_longer_than_failed_members_are_listed_heals() {
    let mut town = Town::of(1, ["ann", "bo"]);
    town.partition(&["ann"]).run(secs(30));
    // A day passes on both clocks, and both have dropped the other.
    for name in ["ann", "bo"] {
        town.set_clock_ahead(name, 25 * 3_600 * 1_000);
    }
    town.run(secs(90));
    assert_eq!(town.belief("ann", "bo"), None);
    assert_eq!(town.belief("bo", "ann"), None);
    town.heal().run(secs(10));
    assert_eq!(town.alive("ann").len(), 2);
    assert_eq!(town.alive("bo").len(), 2);
}

#[test]
fn two_that_forgot_each_other_keep_silent() {
    let mut town = Town::of(2, ["ann", "bo"]);
    town.partition(&["ann"]).run(secs(30));
    let (ann, bo) = (town.id("ann"), town.id("bo"));
    town.with("ann", |peer, now| peer.forget(now, bo, false))
        .unwrap();
    town.with("bo", |peer, now| peer.forget(now, ann, false))
        .unwrap();
    town.heal();
    let before = town.sent();
    town.run(secs(10));
    let sent = town.sent() - before;
    assert!(sent < 150, "{sent} packets");
}

#[test]
fn a_newcomer_at_a_reused_address_that_one_member_cannot_reach_costs_it_little() {
    let mut town = Town::of(3, ["ann", "bo", "cy", "dee"]);
    town.kill("dee").run(secs(5));
    town.replace("dee", "eve").cut("ann", "eve");
    town.run(secs(60));
    let before = town.peer("ann").counters().probes_sent;
    town.run(secs(60));
    let probes = town.peer("ann").counters().probes_sent - before;
    assert!(probes < 600, "{probes} probes in a minute");
}

// --- clocks ---

#[test]
fn a_clock_ahead_of_the_others_makes_nobody_probe_more_or_less() {
    for seed in 0..10 {
        let mut town = Town::new(seed);
        for name in ["ann", "bo", "cy", "dee"] {
            town.move_in(name);
        }
        town.set_clock_ahead("dee", 55_000).run(secs(5));
        town.with("dee", |peer, now| peer.publish(now, "early", b"1"))
            .unwrap();
        town.run(secs(1));
        for name in ["ann", "bo", "cy"] {
            let before = town.peer(name).counters().probes_sent;
            town.run(secs(20));
            let probes = town.peer(name).counters().probes_sent - before;
            assert!(
                (15..=30).contains(&probes),
                "{name} sent {probes} probes in 20 s, seed {seed}"
            );
        }
    }
}

#[test]
fn a_suspect_at_the_time_of_a_sleep_is_failed_soon_after_it() {
    let mut town = Town::of(4, ["ann", "bo"]);
    town.world.network.evidence = false;
    town.kill("bo");
    let doubted = town.until(secs(5), |town| {
        town.belief("ann", "bo") == Some(MemberState::Suspect)
    });
    assert!(doubted.is_some());
    town.stop("ann").run(secs(600)).resume("ann").run(secs(10));
    assert_eq!(town.belief("ann", "bo"), Some(MemberState::Failed));
}

#[test]
fn nobody_spins_while_it_holds_its_judgement_after_a_sleep() {
    let mut town = Town::of(5, ["ann", "bo"]);
    town.world.network.evidence = false;
    town.kill("bo");
    town.until(secs(5), |town| {
        town.belief("ann", "bo") == Some(MemberState::Suspect)
    });
    // Just before the verdict.
    town.run(ms(3_100)).stop("ann").run(secs(10));
    let (mut peer, mut now) = town.take_out("ann");
    peer.handle(now, Input::Thawed { seed: [7; 32] });
    let mut wakes = 0;
    let end = now.mono + secs(2);
    loop {
        let mut next = None;
        while let Some(output) = peer.poll_output() {
            if let Output::WakeAt { at, why } = output {
                next = Some((at, why));
            }
        }
        let (at, why): (_, Timer) = next.unwrap();
        if at > end {
            break;
        }
        wakes += 1;
        assert!(wakes < 500, "woken without end for {why:?}");
        now.mono = at;
        peer.handle(now, Input::Timeout);
    }
}

// --- streams ---

#[test]
fn a_large_event_reaches_a_keyed_peer_as_soon_as_an_open_one() {
    for keys in [dui_core::Keyring::default(), key(3)] {
        let mut town = Town::new(6);
        let names = ["ann", "bo", "cy", "dee", "eve", "fay", "gus", "hal"];
        for name in names {
            town.move_in_with(name, "town", keys.clone());
        }
        town.run(secs(20));
        town.with("ann", |peer, now| peer.publish(now, "large", &[7; 8_000]))
            .unwrap();
        let took = town.until(secs(10), |town| {
            names
                .iter()
                .all(|name| !town.peer(name).events().is_empty())
        });
        assert!(took.is_some_and(|took| took < ms(10)), "{took:?}");
    }
}

#[test]
fn a_hundred_large_events_at_once_all_arrive() {
    let mut town = Town::of(7, ["ann", "bo"]);
    for n in 0..100u32 {
        town.with("ann", |peer, now| {
            let mut payload = vec![7; 8_000];
            payload[..4].copy_from_slice(&n.to_be_bytes());
            peer.publish(now, "large", &payload)
        })
        .unwrap();
    }
    let took = town.until(secs(20), |town| town.peer("bo").events().len() == 100);
    assert!(took.is_some_and(|took| took < secs(2)), "{took:?}");
}

#[test]
fn in_a_keyed_cluster_both_neighbours_know_a_crash_by_their_streams() {
    let mut town = Town::new(8);
    for name in ["ann", "bo", "cy", "dee", "eve", "fay"] {
        town.move_in_with(name, "town", key(3));
    }
    town.run(secs(10));
    town.kill("cy");
    let cy = town.id("cy");
    town.run(ms(100));
    let by_stream = ["ann", "bo", "dee", "eve", "fay"]
        .into_iter()
        .filter(|name| {
            let why = town.peer(name).why(cy).unwrap();
            why.story.iter().any(|line| line.what == "stream_ended")
        });
    assert_eq!(
        by_stream.count(),
        4,
        "two that it watched, two that watched it"
    );
}

/// A host that loses its power sends neither FIN nor RST.
#[test]
fn streams_of_a_member_that_vanished_are_closed_when_it_is_failed() {
    let mut town = Town::of(13, ["ann", "bo", "cy"]);
    town.world.network.evidence = false;
    town.run(secs(2)).kill("cy");
    assert_eq!(
        town.streams("ann", "cy"),
        2,
        "one that it opened, one of cy's"
    );
    town.run(secs(15));
    assert_eq!(town.belief("ann", "cy"), Some(MemberState::Failed));
    assert_eq!(town.streams("ann", "cy"), 0);
    assert_eq!(town.streams("ann", "bo"), 2, "the ring of two goes on");
}

// --- lies ---

fn clear(packet: &Packet) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 0, 0];
    bytes.extend(packet.encode(&"town".parse().unwrap()));
    bytes
}

#[test]
fn an_accusation_from_the_far_future_ends_nobody() {
    for body in [Body::Suspect as fn(Vec<Subject>) -> Body, Body::Failed] {
        for target in ["ann", "bo"] {
            let mut town = Town::of(9, ["ann", "bo", "cy"]);
            let liar = town.id("cy");
            let mut packet = Packet::new(liar);
            let id = RumorId {
                origin: liar,
                run: RunId(9),
                counter: MessageCounter(1),
            };
            let subject = Subject {
                id: town.id("ann"),
                incarnation: Incarnation(u64::MAX - 1),
            };
            packet.rumors.push(Rumor {
                id,
                body: body(vec![subject]),
            });
            let cy = town.address("cy");
            town.inject(target, cy, &clear(&packet));
            town.run(secs(30));
            for name in ["ann", "bo", "cy"] {
                assert_eq!(town.alive(name).len(), 3, "{name}");
            }
        }
    }
}

// --- leaving ---

#[test]
fn who_leaves_just_after_its_last_peer_died_waits_for_nobody() {
    let mut town = Town::of(10, ["ann", "bo"]);
    town.kill("bo");
    town.with("ann", dui_core::Peer::leave);
    let left = |town: &Town| {
        town.events("ann")
            .iter()
            .any(|(_, event)| matches!(event, Event::Left { .. }))
    };
    let took = town.until(secs(8), left);
    assert!(took.is_some_and(|took| took < ms(500)), "{took:?}");
}

#[test]
fn who_asks_for_a_thousand_relays_blinds_nobody() {
    let mut town = Town::of(11, ["ann", "bo"]);
    town.world.network.evidence = false;
    town.kill("bo");
    let stranger = NodeId(77);
    let from = SocketAddr::from(([127, 9, 9, 9], 7781));
    let doubted = |town: &Town| town.belief("ann", "bo") != Some(MemberState::Alive);
    let mut seq = 0;
    for _ in 0..800 {
        for _ in 0..30 {
            seq += 1;
            let mut packet = Packet::new(stranger);
            let (target, address) = (NodeId(78), SocketAddr::from(([127, 8, 8, 8], 7781)));
            packet.relay = Some(Relay {
                seq,
                target,
                address,
            });
            town.inject("ann", from, &clear(&packet));
        }
        town.run(ms(10));
    }
    assert!(doubted(&town), "ann does not see that bo is silent");
}

/// A probe that was under way when its target was found dead by other means
/// says nothing about this node's health, nor about why.
#[test]
fn a_death_that_is_settled_is_the_end_of_the_story() {
    for seed in 0..20 {
        let mut town = Town::of(seed, ["ann", "bo"]);
        // In some of these towns ann's ping falls into the pause.
        town.stop("bo").run(ms(300)).kill("bo").run(secs(5));
        let why = town.peer("ann").why(town.id("bo")).unwrap();
        assert_eq!(why.member.state, MemberState::Failed);
        assert_eq!(why.story.last().unwrap().what, "failed", "seed {seed}");
        assert_eq!(why.awareness, 0, "ann is well, seed {seed}");
    }
}

#[test]
fn most_of_a_town_dies_in_silence_and_the_rest_agrees() {
    let mut town = Town::of_size(31, 50);
    town.world.network.evidence = false;
    for place in 5..50 {
        town.kill(&format!("n{place}"));
    }
    let agreed = town.until(secs(300), |town| {
        (0..5).all(|place| {
            let members = town.peer(&format!("n{place}")).members();
            let failed = |member: &&dui_core::Member| member.state == MemberState::Failed;
            members.iter().filter(failed).count() == 45
                && town.alive(&format!("n{place}")).len() == 5
        })
    });
    assert!(agreed.is_some(), "the survivors do not agree");
}

/// Slower than the steps of a probe: nothing is measured unless late acks are.
#[test]
fn members_far_apart_learn_how_far_and_stop_doubting_each_other() {
    for one_way in [80, 300, 600] {
        let mut town = Town::new(31);
        for name in ["ann", "bo", "cy", "dee"] {
            town.move_in(name);
        }
        town.take(ms(one_way)).run(secs(40));
        for member in town.peer("ann").members() {
            let Some(rtt) = member.rtt else {
                assert_eq!(member.name.as_str(), "ann", "a round trip is known");
                continue;
            };
            let ratio = rtt.as_millis() as f64 / (2 * one_way) as f64;
            assert!((0.4..1.2).contains(&ratio), "{one_way} ms: {rtt:?}");
        }
        let before = town.now();
        town.run(secs(60));
        let doubts = ["ann", "bo", "cy", "dee"].iter().map(|name| {
            let doubts = |(at, event): &&(Mono, Event)| {
                *at > before && matches!(event, Event::MemberSuspect(_))
            };
            town.events(name).iter().filter(doubts).count()
        });
        assert_eq!(doubts.sum::<usize>(), 0, "{one_way} ms");
    }
}
