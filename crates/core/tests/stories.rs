//! Stories: what a cluster does, told by its members, in virtual time.

#![allow(clippy::unwrap_used)]

mod town;

use dui_core::wire::{Body, MemberInfo, Packet, Rumor, RumorId, RumorIds};
use dui_core::{
    Event, ForgetError, ForgetReason, Input, Keyring, MemberState, MessageCounter, NodeId,
    PublishError, RunId,
};
use town::{Town, key, known, ms, secs};

// --- finding each other ---

#[test]
fn ten_nodes_find_each_other_by_multicast_within_moments() {
    for seed in 0..10 {
        let mut town = Town::new(seed);
        for place in 0..10 {
            town.move_in(&format!("n{place}"));
        }
        let took = town.until(secs(2), |town| {
            (0..10).all(|place| town.alive(&format!("n{place}")).len() == 10)
        });
        let took = took.unwrap_or_else(|| panic!("not in 2 s, seed {seed}"));
        assert!(took <= ms(150), "{took:?}, seed {seed}");
    }
}

#[test]
fn a_hundred_nodes_joined_by_one_seed_see_one_another() {
    for (seed, keys) in [(1, Keyring::default()), (2, key(7))] {
        let mut town = Town::new(seed);
        town.multicast = false;
        town.move_in_with("n0", "town", keys.clone());
        let first = town.address("n0");
        for place in 1..100 {
            let name = format!("n{place}");
            town.move_in_with(&name, "town", keys.clone());
            town.with(&name, |peer, now| {
                let addresses = vec![first];
                peer.handle(
                    now,
                    Input::Candidates {
                        provider: "static",
                        addresses,
                    },
                );
            });
        }
        let took = town.until(secs(5), |town| {
            (0..100).all(|place| town.alive(&format!("n{place}")).len() == 100)
        });
        assert!(took.is_some_and(|took| took < ms(600)), "{took:?}");
    }
}

#[test]
fn islands_that_come_within_reach_become_one_cluster() {
    let mut town = Town::new(3);
    for name in ["ann", "bo", "cy", "dee", "eve", "flo"] {
        town.move_in(name);
    }
    town.partition(&["ann", "bo", "cy"]);
    town.run(secs(60));
    assert_eq!(town.alive("ann").len(), 3);
    assert_eq!(town.alive("dee").len(), 3);
    town.heal();
    let took = town.until(secs(20), |town| {
        town.alive("ann").len() == 6 && town.alive("flo").len() == 6
    });
    assert!(took.is_some_and(|took| took < secs(6)), "{took:?}");
}

#[test]
fn a_node_that_restarts_without_multicast_finds_its_peers_from_memory() {
    let mut town = Town::of(4, ["ann", "bo", "cy"]);
    town.run(secs(10));
    assert_eq!(known(&town, "bo").len(), 2);
    town.multicast = false;
    town.kill("bo").run(secs(2)).start("bo");
    let took = town.until(secs(5), |town| {
        town.alive("bo").len() == 3 && town.alive("ann").len() == 3
    });
    assert!(took.is_some(), "bo is alone");
}

// --- knowing who is alive ---

#[test]
fn a_crash_is_known_to_all_within_moments() {
    for seed in 0..5 {
        let mut town = Town::of_size(seed, 30);
        town.kill("n7");
        let took = town.until(secs(2), |town| {
            (0..30)
                .filter(|place| *place != 7)
                .all(|place| town.belief(&format!("n{place}"), "n7") == Some(MemberState::Failed))
        });
        assert!(
            took.is_some_and(|took| took < ms(100)),
            "{took:?}, seed {seed}"
        );
    }
}

#[test]
fn a_crash_of_two_nodes_needs_no_witness() {
    let mut town = Town::of(1, ["ann", "bo"]);
    town.kill("bo");
    let took = town.until(secs(2), |town| {
        town.belief("ann", "bo") == Some(MemberState::Failed)
    });
    assert!(took.is_some_and(|took| took < ms(100)), "{took:?}");
}

#[test]
fn several_crashes_at_once_are_all_known_soon() {
    let mut town = Town::of_size(9, 20);
    let dead = ["n2", "n3", "n4", "n5", "n6"];
    for name in dead {
        town.kill(name);
    }
    let took = town.until(secs(8), |town| {
        dead.iter()
            .all(|name| town.belief("n0", name) == Some(MemberState::Failed))
    });
    assert!(took.is_some_and(|took| took < ms(500)), "{took:?}");
}

/// SWIM: a silent member is failed, without any evidence but its silence.
#[test]
fn silence_alone_makes_failed_in_the_end() {
    let mut town = Town::of_size(2, 10);
    town.evidence = false;
    town.kill("n3");
    let took = town.until(secs(30), |town| {
        (0..10)
            .filter(|place| *place != 3)
            .all(|place| town.belief(&format!("n{place}"), "n3") == Some(MemberState::Failed))
    });
    assert!(took.is_some_and(|took| took < secs(6)), "{took:?}");
}

#[test]
fn a_suspect_who_speaks_up_is_alive_again() {
    let mut town = Town::of(7, ["ann", "bo", "cy", "dee"]);
    town.cut("ann", "bo").cut("cy", "bo").cut("dee", "bo");
    let doubted = town.until(secs(5), |town| {
        town.belief("ann", "bo") == Some(MemberState::Suspect)
    });
    assert!(doubted.is_some());
    let before = town.peer("ann").member(town.id("bo")).unwrap().incarnation;
    town.heal().run(secs(3));
    assert_eq!(town.belief("ann", "bo"), Some(MemberState::Alive));
    let after = town.peer("ann").member(town.id("bo")).unwrap().incarnation;
    assert!(after > before, "only a higher incarnation refutes");
    assert_eq!(town.anybody_failed(), None);
}

/// SWIM 3.1: the indirect probe keeps a member alive that one cannot reach.
#[test]
fn unreachable_from_one_is_not_failed() {
    let mut town = Town::of_size(5, 8);
    town.cut("n1", "n2").run(secs(60));
    assert_eq!(town.anybody_failed(), None);
    assert_eq!(town.belief("n1", "n2"), Some(MemberState::Alive));
}

#[test]
fn a_node_stopped_for_three_seconds_fails_nobody_and_is_not_failed() {
    for seed in 0..6 {
        let mut town = Town::of_size(seed, 10);
        for _ in 0..10 {
            town.stop("n4").run(secs(3)).resume("n4").run(ms(1_300));
        }
        assert_eq!(town.anybody_failed(), None, "seed {seed}");
        town.run(secs(5));
        assert_eq!(town.alive("n0").len(), 10, "seed {seed}");
    }
}

/// Time in which a node did not run counts against nobody: the refutation may
/// lie in its socket.
#[test]
fn a_starved_node_gives_its_suspects_the_time_that_it_missed() {
    let mut town = Town::of(5, ["ann", "bo"]);
    town.evidence = false;
    town.kill("bo");
    let doubted = town.until(secs(5), |town| {
        town.belief("ann", "bo") == Some(MemberState::Suspect)
    });
    assert!(doubted.is_some());
    let since = town.now;
    town.run(ms(1_000)).stop("ann").run(ms(1_400)).resume("ann");
    let failed = town.until(secs(5), |town| {
        town.belief("ann", "bo") == Some(MemberState::Failed)
    });
    assert!(failed.is_some());
    let doubt = town.now - since;
    assert!(
        doubt >= ms(3_600),
        "failed after {doubt:?}, of which ann ran at most 2.8 s"
    );
}

#[test]
fn loss_of_a_third_of_all_packets_fails_nobody() {
    let mut town = Town::of_size(11, 16);
    town.loss_percent = 30;
    town.run(secs(120));
    assert_eq!(town.anybody_failed(), None);
}

#[test]
fn a_partition_heals_whatever_its_length() {
    for span in [secs(10), secs(3_600)] {
        let mut town = Town::of_size(6, 10);
        town.partition(&["n0", "n1", "n2", "n3", "n4"]).run(span);
        assert_eq!(town.alive("n0").len(), 5);
        assert_eq!(town.alive("n9").len(), 5);
        town.heal();
        let took = town.until(secs(20), |town| {
            (0..10).all(|place| town.alive(&format!("n{place}")).len() == 10)
        });
        assert!(
            took.is_some_and(|took| took < secs(3)),
            "{took:?} after {span:?}"
        );
    }
}

// --- identity ---

#[test]
fn a_restarted_node_is_one_member_not_two() {
    let mut town = Town::of(8, ["ann", "bo", "cy"]);
    town.kill("bo").run(secs(1)).start("bo").run(secs(1));
    for viewer in ["ann", "bo", "cy"] {
        assert_eq!(town.peer(viewer).members().len(), 3, "{viewer}");
        assert_eq!(town.alive(viewer), ["ann", "bo", "cy"]);
    }
}

#[test]
fn a_restart_faster_than_any_doubt_is_told_all_the_same() {
    let mut town = Town::of(8, ["ann", "bo", "cy"]);
    town.evidence = false;
    let told = town.events("ann").len();
    town.kill("bo").start("bo").run(secs(1));
    let news = &town.events("ann")[told..];
    let restarted = |(_, event): &(_, Event)| matches!(event, Event::MemberAlive(member) if member.name.as_str() == "bo");
    assert!(news.iter().any(restarted), "{news:?}");
}

#[test]
fn a_new_node_at_a_dead_ones_address_takes_its_place_in_the_list() {
    let mut town = Town::of_size(12, 10);
    let old = town.id("n3");
    town.kill("n3")
        .run(secs(1))
        .replace("n3", "new")
        .run(secs(1));
    for place in (0..10).filter(|place| *place != 3) {
        let viewer = format!("n{place}");
        assert!(
            town.peer(&viewer).member(old).is_none(),
            "{viewer} lists a ghost"
        );
        assert_eq!(
            town.belief(&viewer, "new"),
            Some(MemberState::Alive),
            "{viewer}"
        );
        let story: Vec<_> = town
            .events(&viewer)
            .iter()
            .map(|(_, event)| event)
            .collect();
        let gone = story.iter().position(|event| {
            matches!(event, Event::MemberForgotten { member, reason: ForgetReason::Superseded } if member.id == old)
        });
        let come = story.iter().position(
            |event| matches!(event, Event::MemberAlive(member) if member.name.as_str() == "new"),
        );
        assert!(
            gone.unwrap() < come.unwrap(),
            "{viewer}: forgotten comes before alive"
        );
    }
}

#[test]
fn two_nodes_with_one_copied_identity_end_as_one() {
    let mut town = Town::of(13, ["ann", "bo", "cy"]);
    town.kill("cy")
        .copy_identity("bo", "cy")
        .run(secs(2))
        .start("cy")
        .run(secs(5));
    let fatal = |town: &Town, name: &str| {
        town.events(name)
            .iter()
            .any(|(_, event)| matches!(event, Event::Fatal(_)))
    };
    assert!(fatal(&town, "bo"), "bo has the lower incarnation");
    assert!(!fatal(&town, "cy"));
}

#[test]
fn two_copies_without_a_witness_find_each_other_too() {
    for keys in [Keyring::default(), key(3)] {
        let mut town = Town::new(24);
        town.move_in_with("bo", "town", keys.clone());
        town.run(secs(3)).move_in_with("cy", "town", keys);
        town.kill("cy")
            .copy_identity("bo", "cy")
            .run(secs(1))
            .start("cy")
            .run(secs(20));
        let fatal = |name: &str| {
            town.events(name)
                .iter()
                .any(|(_, event)| matches!(event, Event::Fatal(_)))
        };
        assert!(fatal("bo") && !fatal("cy"), "the lower incarnation stops");
    }
}

#[test]
fn who_passes_on_news_of_a_forgotten_node_is_not_taken_for_it() {
    for seed in 0..20 {
        let mut town = Town::of(seed, ["ann", "bo", "cy", "dee"]);
        let cy = town.id("cy");
        town.with("ann", |peer, now| peer.forget(now, cy, true))
            .unwrap();
        // cy raises its incarnation and says so to everybody before it hears.
        town.stop("cy").run(secs(2)).resume("cy").run(secs(5));
        for name in ["ann", "bo", "dee"] {
            let fatal = town
                .events(name)
                .iter()
                .any(|(_, event)| matches!(event, Event::Fatal(_)));
            assert!(!fatal, "{name} took it for itself, seed {seed}");
        }
    }
}

#[test]
fn a_forgotten_node_learns_it_and_never_comes_back() {
    let mut town = Town::of(14, ["ann", "bo", "cy"]);
    let cy = town.id("cy");
    let refused = town.with("ann", |peer, now| peer.forget(now, cy, false));
    assert_eq!(refused.unwrap_err(), ForgetError::Alive);
    town.with("ann", |peer, now| peer.forget(now, cy, true))
        .unwrap();
    town.run(secs(5));
    assert!(town.peer("bo").member(cy).is_none());
    let learned = town
        .events("cy")
        .iter()
        .any(|(_, event)| matches!(event, Event::Fatal(_)));
    assert!(learned, "its node says so");
    town.kill("cy").run(secs(1)).start("cy").run(secs(10));
    assert!(
        town.peer("ann").member(cy).is_none(),
        "refused at every incarnation"
    );
    assert!(town.peer("bo").member(cy).is_none());
}

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
    town.loss_percent = 25;
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

// --- strangers ---

#[test]
fn clusters_with_other_names_or_keys_never_merge_and_say_why() {
    let mut town = Town::new(21);
    town.move_in_with("ann", "blue", key(1));
    town.move_in_with("bo", "blue", key(1));
    town.move_in_with("cy", "green", key(1));
    town.move_in_with("dee", "blue", key(2));
    town.move_in_with("eve", "blue", Keyring::default());
    town.run(secs(60));
    assert_eq!(town.alive("ann"), ["ann", "bo"]);
    for alone in ["cy", "dee", "eve"] {
        assert_eq!(town.alive(alone), [alone]);
    }
    let refusals = |name: &str| -> String {
        let texts = town
            .events(name)
            .iter()
            .filter_map(|(_, event)| match event {
                Event::Refused(refusal) => Some(refusal.to_string()),
                _ => None,
            });
        texts.collect::<Vec<_>>().join("\n")
    };
    assert!(
        refusals("ann").contains("cluster 'green'"),
        "{}",
        refusals("ann")
    );
    let other = key(2).primary().unwrap().fingerprint().to_string();
    assert!(refusals("ann").contains(&other), "{}", refusals("ann"));
    assert!(refusals("cy").contains("cluster 'blue'"));
}

#[test]
fn a_keyed_cluster_lives_as_an_open_one_does() {
    let mut town = Town::new(22);
    for place in 0..20 {
        town.move_in_with(&format!("n{place}"), "town", key(9));
    }
    town.run(secs(5));
    assert_eq!(town.alive("n3").len(), 20);
    town.kill("n7");
    let took = town.until(secs(2), |town| {
        town.belief("n0", "n7") == Some(MemberState::Failed)
    });
    assert!(took.is_some_and(|took| took < ms(200)), "{took:?}");
    town.with("n5", dui_core::Peer::leave);
    town.run(secs(1));
    assert_eq!(town.belief("n0", "n5"), Some(MemberState::Left));
    assert_eq!(town.alive("n0").len(), 18);
}

#[test]
fn a_recorded_cluster_replayed_changes_nothing() {
    let mut town = Town::new(23);
    for name in ["ann", "bo", "cy"] {
        town.move_in_with(name, "town", key(9));
    }
    town.recorded = Some(Vec::new());
    town.run(secs(5))
        .kill("cy")
        .run(secs(2))
        .start("cy")
        .run(secs(3));
    town.with("bo", |peer, now| peer.publish(now, "once", b"1"))
        .unwrap();
    town.run(secs(1));
    // bo restarts: its windows are gone, the record of everything is not.
    town.kill("bo").run(secs(1)).start("bo").run(secs(3));
    let recorded = town.recorded.take().unwrap();
    assert!(recorded.len() > 100);
    let before = (town.peer("bo").members(), town.peer("ann").members());
    let told = town.events("bo").len();
    for (from, _, bytes) in &recorded {
        town.inject("bo", *from, bytes);
        town.inject("ann", *from, bytes);
    }
    let after = (town.peer("bo").members(), town.peer("ann").members());
    assert_eq!(before, after);
    assert_eq!(town.events("bo").len(), told);
}

#[test]
fn a_packet_recorded_in_another_life_gains_nothing_from_its_senders_proof() {
    let mut town = Town::new(24);
    town.move_in_with("ann", "town", key(9))
        .move_in_with("bo", "town", key(9))
        .run(secs(5));
    town.recorded = Some(Vec::new());
    town.with("ann", |peer, now| peer.publish(now, "once", b"1"))
        .unwrap();
    town.run(ms(5));
    let recorded = town.recorded.take().unwrap();
    // Both start anew, and remember neither the event nor one another's salts.
    town.kill("ann").kill("bo").run(secs(1)).start("bo");
    let ann = town.address("ann");
    for (_, _, bytes) in recorded.iter().filter(|(from, ..)| *from == ann) {
        town.inject("bo", ann, bytes);
    }
    town.start("ann").run(secs(5));
    assert_eq!(town.alive("bo").len(), 2);
    assert_eq!(town.peer("bo").events(), []);
}

#[test]
fn who_is_leaving_does_not_come_back_to_answer_for_its_id() {
    let mut town = Town::of(25, ["ann", "bo"]);
    town.run(secs(2));
    town.with("ann", dui_core::Peer::leave);
    // Bo repeats what a process before this one said, late.
    let mut packet = Packet::new(town.id("bo"));
    let ann = town.peer("ann").this().member;
    let earlier = MemberInfo {
        id: ann.id,
        run: RunId(1),
        incarnation: ann.incarnation,
        name: ann.name,
        role: ann.role,
        address: ann.address,
        version: ann.version,
        cookie: 0,
        messages: ann.messages,
    };
    let id = RumorId {
        origin: ann.id,
        run: RunId(1),
        counter: ann.messages,
    };
    let body = Body::Alive(earlier);
    packet.rumors.push(Rumor { id, body });
    let mut bytes = vec![1, 0, 0, 0, 0];
    bytes.extend(packet.encode(&"town".parse().unwrap()));
    let bo = town.address("bo");
    town.inject("ann", bo, &bytes);
    assert_eq!(town.belief("ann", "ann"), Some(MemberState::Left));
    town.run(secs(2));
    assert_eq!(town.belief("bo", "ann"), Some(MemberState::Left));
}

#[test]
fn who_names_more_than_fits_a_packet_is_answered_in_packets() {
    let mut town = Town::of(26, ["ann", "bo"]);
    town.run(secs(2));
    let mut all = Packet::new(town.id("bo"));
    all.ids = (0..100)
        .map(|origin| RumorIds {
            origin: NodeId(origin),
            run: RunId(1),
            counters: vec![MessageCounter(1)],
            large: vec![],
        })
        .collect();
    let bo = town.address("bo");
    // As many as fit a packet without a word besides, and far too many.
    for count in [28, 100] {
        let mut packet = all.clone();
        packet.ids.truncate(count);
        let mut bytes = vec![1, 0, 0, 0, 0];
        bytes.extend(packet.encode(&"town".parse().unwrap()));
        town.inject("ann", bo, &bytes);
    }
    town.run(secs(1));
}

#[test]
fn the_longest_names_there_may_be_fit_their_packets() {
    let mut town = Town::new(27);
    let name = |place: usize| format!("{place:x>63}");
    for place in 0..40 {
        town.move_in_with(&name(place), &"c".repeat(63), key(9));
    }
    // Who comes late is welcomed with the names of many.
    town.run(secs(3));
    town.move_in_with(&name(40), &"c".repeat(63), key(9));
    town.run(secs(2));
    assert_eq!(town.alive(&name(40)).len(), 41);
}
