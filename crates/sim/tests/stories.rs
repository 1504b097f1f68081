//! Stories: what a cluster does, told by its members, in virtual time.

#![allow(clippy::unwrap_used)]

use dui_core::{Event, ForgetError, ForgetReason, Input, Keyring, MemberState};
use dui_sim::{Town, key, ms, secs};

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
        town.world.network.multicast = false;
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
    assert_eq!(town.known("bo").len(), 2);
    town.world.network.multicast = false;
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
    town.world.network.evidence = false;
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
    town.cut("n1", "n2").run(secs(300));
    for viewer in 0..8 {
        let events = town.events(&format!("n{viewer}")).iter();
        let doubts = events.filter(|(_, event)| matches!(event, Event::MemberSuspect(_)));
        assert_eq!(doubts.count(), 0, "n{viewer} doubts somebody");
    }
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
    town.world.network.evidence = false;
    town.kill("bo");
    let doubted = town.until(secs(5), |town| {
        town.belief("ann", "bo") == Some(MemberState::Suspect)
    });
    assert!(doubted.is_some());
    let since = town.now();
    town.run(ms(1_000)).stop("ann").run(ms(1_400)).resume("ann");
    let failed = town.until(secs(5), |town| {
        town.belief("ann", "bo") == Some(MemberState::Failed)
    });
    assert!(failed.is_some());
    let doubt = town.now() - since;
    assert!(
        doubt >= ms(3_600),
        "failed after {doubt:?}, of which ann ran at most 2.8 s"
    );
}

#[test]
fn loss_of_a_third_of_all_packets_fails_nobody() {
    let mut town = Town::of_size(11, 16);
    town.lose_percent(30);
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
    town.world.network.evidence = false;
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
