//! Stories of networks that pass streams and drop packets.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use dui_core::{Event, Input, Keyring, MemberState, Mono};
use dui_sim::{Town, key, ms, secs};

const NAMES: [&str; 10] = ["n0", "n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9"];

/// Nobody's packets reach `name`, and none of its packets anybody.
fn block(town: &mut Town, name: &str) {
    for other in NAMES.iter().filter(|other| **other != name) {
        town.block_udp(name, other).block_udp(other, name);
    }
}

fn told(town: &Town, viewer: &str, open: bool) -> usize {
    let events = town.events(viewer).iter();
    let paths =
        events.filter(|(_, event)| matches!(event, Event::PathChanged { udp, .. } if *udp == open));
    paths.count()
}

fn doubts(town: &Town, since: Mono) -> usize {
    let of = |name: &&str| {
        let events = town.events(name).iter();
        let doubts = events.filter(|(at, event)| {
            *at >= since && matches!(event, Event::MemberSuspect(_) | Event::MemberFailed(_))
        });
        doubts.count()
    };
    NAMES.iter().map(of).sum()
}

fn event_reaches_all(town: &mut Town, from: &str) -> Duration {
    let before = town.peer(from).events().len();
    town.with(from, |peer, now| peer.publish(now, "news", b"from afar"))
        .unwrap();
    let everybody = |town: &Town| {
        NAMES
            .iter()
            .all(|name| town.peer(name).events().len() > before)
    };
    town.until(secs(60), everybody)
        .expect("news reaches everybody")
}

#[test]
fn a_member_whose_packets_are_all_dropped_stays_in_the_cluster() {
    for seed in 0..5 {
        let mut town = Town::of(seed, NAMES);
        town.run(secs(5));
        let since = town.now();
        block(&mut town, "n4");
        town.run(secs(120));
        assert_eq!(doubts(&town, since), 0, "seed {seed}");
        assert_eq!(town.peer("n4").udp_blocked().len(), 9, "seed {seed}");
        for viewer in NAMES.iter().filter(|name| **name != "n4") {
            assert_eq!(
                town.peer(viewer).udp_blocked(),
                [town.id("n4")],
                "seed {seed}"
            );
            assert_eq!(told(&town, viewer, false), 1, "told once, seed {seed}");
        }
        for from in ["n4", "n7"] {
            let took = event_reaches_all(&mut town, from);
            assert!(took < secs(1), "from {from}: {took:?}, seed {seed}");
        }
        town.run(secs(480));
        assert_eq!(doubts(&town, since), 0, "seed {seed}");

        town.heal();
        let over = |town: &Town| {
            NAMES
                .iter()
                .all(|name| town.peer(name).udp_blocked().is_empty())
        };
        town.until(secs(120), over)
            .expect("packets are tried again");
        assert_eq!(told(&town, "n4", true), 9, "seed {seed}");
    }
}

#[test]
fn packets_that_get_through_one_way_only_make_nobody_doubted() {
    for (seed, inward) in [(1, true), (2, false)] {
        let mut town = Town::of(seed, NAMES);
        town.run(secs(5));
        let since = town.now();
        for other in NAMES.iter().filter(|name| **name != "n4") {
            if inward {
                town.block_udp(other, "n4");
            } else {
                town.block_udp("n4", other);
            }
        }
        town.run(secs(300));
        assert_eq!(doubts(&town, since), 0, "inward {inward}");
        assert!(
            event_reaches_all(&mut town, "n4") < secs(1),
            "inward {inward}"
        );
        assert!(
            event_reaches_all(&mut town, "n1") < secs(1),
            "inward {inward}"
        );
    }
}

#[test]
fn who_can_use_streams_alone_joins_by_an_address() {
    let mut town = Town::of(3, ["n0", "n1", "n2"]);
    town.world.network.multicast = false;
    town.reserve("n3", "town", Keyring::default());
    for other in ["n0", "n1", "n2"] {
        town.block_udp("n3", other).block_udp(other, "n3");
    }
    town.start("n3");
    let addresses = vec![town.address("n1")];
    town.with("n3", |peer, now| {
        peer.handle(
            now,
            Input::Candidates {
                provider: "static",
                addresses,
            },
        )
    });
    let together = |town: &Town| {
        ["n0", "n1", "n2", "n3"]
            .iter()
            .all(|name| town.alive(name).len() == 4)
    };
    let took = town
        .until(secs(60), together)
        .expect("a stream reaches them");
    assert!(took < secs(15), "{took:?}");
    town.run(secs(120));
    assert_eq!(town.anybody_failed(), None);
}

#[test]
fn the_crash_of_a_member_that_uses_streams_alone_is_known_soon() {
    let mut town = Town::of(4, NAMES);
    block(&mut town, "n4");
    town.run(secs(60)).kill("n4");
    let known = |town: &Town| {
        let others = NAMES.iter().filter(|name| **name != "n4");
        others
            .into_iter()
            .all(|name| town.belief(name, "n4") == Some(MemberState::Failed))
    };
    let took = town.until(secs(20), known).expect("everybody knows");
    assert!(took < secs(8), "{took:?}");
}

#[test]
fn mere_loss_makes_no_detour_for_long() {
    let mut town = Town::of(5, NAMES);
    town.lose_percent(20);
    town.run(secs(300));
    town.lose_percent(0);
    let over = |town: &Town| {
        NAMES
            .iter()
            .all(|name| town.peer(name).udp_blocked().is_empty())
    };
    town.until(secs(120), over).expect("packets are used again");
    let before = town.now();
    town.run(ms(500));
    assert_eq!(doubts(&town, before), 0);
}

/// What packets could not prove meanwhile, streams do not prove either.
#[test]
fn a_newcomer_at_a_reused_address_is_believed_once_packets_get_through() {
    let mut town = Town::new(9);
    for name in ["ann", "bo", "cy", "old"] {
        town.move_in_with(name, "town", key(7));
    }
    town.run(secs(3));
    town.kill("old").run(secs(10));
    town.block_udp("bo", "old").block_udp("old", "bo");
    town.replace("old", "new");
    let bo = town.id("bo");
    let taken = town.until(secs(60), |town| town.peer("new").udp_blocked() == [bo]);
    assert!(taken.is_some());
    assert_eq!(
        town.belief("bo", "new"),
        None,
        "that address has not answered"
    );
    town.heal();
    let believed = town.until(secs(5), |town| {
        town.belief("bo", "new") == Some(MemberState::Alive)
    });
    assert!(believed.is_some());
}

/// A stream that was cut waits for its next retransmission when all is well
/// again. Nobody is doubted meanwhile, though nobody could ask in our place,
/// and the detour ends.
#[test]
fn a_detour_whose_stream_was_cut_is_left_once_packets_get_through() {
    for (seed, cut) in (0..10).flat_map(|seed| [8, 14, 20, 26].map(|cut| (seed, cut))) {
        for others_can_ask in [true, false] {
            let case = format!("seed {seed}, {cut} s, others can ask: {others_can_ask}");
            let mut town = Town::of(seed, ["ann", "bo", "cy"]);
            let bo = town.id("bo");
            town.block_udp("ann", "bo").block_udp("bo", "ann");
            let taken = town.until(secs(60), |town| town.peer("ann").udp_blocked() == [bo]);
            assert!(taken.is_some(), "{case}");
            // cy reaches both: nobody is doubted.
            town.cut_one_way("ann", "bo").run(secs(cut)).heal();
            let (since, failed) = (town.now(), town.peer("ann").counters().probes_failed);
            if !others_can_ask {
                town.kill("cy");
            }
            let over = town.until(secs(40), |town| town.peer("ann").udp_blocked().is_empty());
            assert!(over.is_some(), "{case}");
            let doubts = town.events("ann").iter().filter(|(at, event)| {
                let doubted = matches!(event, Event::MemberSuspect(member) if member.id == bo);
                *at >= since && doubted
            });
            assert_eq!(doubts.count(), 0, "{case}");
            if others_can_ask {
                let again = town.peer("ann").counters().probes_failed;
                assert_eq!((again, town.anybody_failed()), (failed, None), "{case}");
            }
        }
    }
}
