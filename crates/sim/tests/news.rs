//! News: goodbyes and events, and how they reach everybody, once.

#![allow(clippy::unwrap_used)]

use dui_core::{Event, MemberState, PublishError};
use dui_sim::{Town, ms, secs};

// --- leaving ---

#[test]
fn a_leave_is_known_to_all_at_once_and_never_shown_as_failed() {
    for seed in 0..5 {
        let mut town = Town::of_size(seed, 50);
        town.with("n5", dui_core::Peer::leave);
        let took = town.until(secs(2), |town| {
            (0..50)
                .filter(|place| *place != 5)
                .all(|place| town.belief(&format!("n{place}"), "n5") == Some(MemberState::Left))
        });
        assert!(took.is_some_and(|took| took <= ms(10)), "{took:?}");
        town.run(ms(200));
        let done = town
            .events("n5")
            .iter()
            .any(|(_, event)| matches!(event, Event::Left { acked, wanted: 3 } if *acked >= 3));
        assert!(done, "the leaver knows that it may go");
        town.kill("n5").run(secs(20));
        assert_eq!(town.anybody_failed(), None);
    }
}

#[test]
fn all_leave_at_once_and_nobody_waits_for_the_others() {
    let mut town = Town::of_size(15, 12);
    for place in 0..12 {
        town.with(&format!("n{place}"), dui_core::Peer::leave);
    }
    town.run(secs(1));
    for place in 0..12 {
        let name = format!("n{place}");
        let done = town
            .events(&name)
            .iter()
            .any(|(_, event)| matches!(event, Event::Left { .. }));
        assert!(done, "{name} still waits");
    }
}

#[test]
fn a_node_alone_leaves_at_once() {
    let mut town = Town::new(1);
    town.move_in("ann").with("ann", dui_core::Peer::leave);
    let left = |(_, event): &(_, Event)| {
        *event
            == Event::Left {
                acked: 0,
                wanted: 0,
            }
    };
    assert!(town.events("ann").iter().any(left));
}

#[test]
fn who_left_during_a_partition_does_not_come_back_by_hearsay() {
    let mut town = Town::of_size(16, 6);
    town.partition(&["n0", "n1", "n2"]).run(secs(20));
    town.with("n2", dui_core::Peer::leave);
    town.run(secs(1))
        .kill("n2")
        .run(secs(20))
        .heal()
        .run(secs(10));
    for viewer in ["n0", "n1", "n3", "n4", "n5"] {
        assert_ne!(
            town.belief(viewer, "n2"),
            Some(MemberState::Alive),
            "{viewer}"
        );
        assert_eq!(town.alive(viewer).len(), 5, "{viewer}");
    }
}

// --- events ---

#[test]
fn an_event_reaches_everybody_once_and_in_one_order() {
    let mut town = Town::of_size(17, 30);
    for round in 0..20 {
        let name = format!("n{}", round % 7);
        let payload = format!("{round}");
        town.with(&name, |peer, now| {
            peer.publish(now, "deploy", payload.as_bytes())
        })
        .unwrap();
    }
    town.run(secs(1));
    let expected = town.peer("n0").events();
    assert_eq!(expected.len(), 20);
    for place in 0..30 {
        let name = format!("n{place}");
        assert_eq!(town.peer(&name).events(), expected, "{name}");
        let told = town
            .events(&name)
            .iter()
            .filter(|(_, event)| matches!(event, Event::User(_)))
            .count();
        assert_eq!(told, 20, "{name} was told each once");
    }
}

#[test]
fn an_event_too_large_for_a_packet_goes_by_stream() {
    let mut town = Town::of_size(18, 10);
    let payload = vec![7; 8 * 1024];
    town.with("n1", |peer, now| peer.publish(now, "big", &payload))
        .unwrap();
    let took = town.until(secs(3), |town| {
        (0..10).all(|place| town.peer(&format!("n{place}")).events().len() == 1)
    });
    assert!(took.is_some_and(|took| took < secs(1)), "{took:?}");
    let too_large = vec![7; 8 * 1024 + 1];
    let refused = town.with("n1", |peer, now| peer.publish(now, "big", &too_large));
    assert!(matches!(
        refused,
        Err(PublishError::TooLarge {
            max: 8_192,
            got: 8_193
        })
    ));
}

#[test]
fn a_newcomer_and_a_healed_side_learn_the_events_they_missed() {
    let mut town = Town::of_size(19, 6);
    town.partition(&["n0", "n1", "n2"]).run(secs(20));
    for (name, payload) in [("n0", vec![1; 40]), ("n5", vec![2; 5_000])] {
        town.with(name, |peer, now| peer.publish(now, "news", &payload))
            .unwrap();
    }
    town.heal().run(secs(10)).move_in("late").run(secs(5));
    for name in ["n0", "n3", "n5", "late"] {
        assert_eq!(town.peer(name).events().len(), 2, "{name}");
    }
}

#[test]
fn events_survive_heavy_loss() {
    let mut town = Town::of_size(20, 30);
    town.lose_percent(25);
    for round in 0..10 {
        let name = format!("n{round}");
        town.with(&name, |peer, now| peer.publish(now, "lossy", b"x"))
            .unwrap();
    }
    let took = town.until(secs(5), |town| {
        (0..30).all(|place| town.peer(&format!("n{place}")).events().len() == 10)
    });
    assert!(took.is_some_and(|took| took < ms(800)), "{took:?}");
}
