//! Moves: nodes whose addresses change, told by their members, in virtual time.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::Duration;

use dui_core::{Event, ForgetReason, Input, Keyring, MemberState};
use dui_sim::{Town, key, ms, secs};

fn elsewhere(n: u8) -> SocketAddr {
    SocketAddr::from(([127, 9, 9, n], 7781))
}

/// How long until all of `names` see all of them alive where they are.
fn agreed(town: &mut Town, names: &[&str], limit: Duration) -> Duration {
    let took = town.until(limit, |town| {
        names.iter().all(|viewer| {
            names.iter().all(|member| {
                town.belief(viewer, member) == Some(MemberState::Alive)
                    && town.address_of(viewer, member) == Some(town.address(member))
            })
        })
    });
    took.unwrap_or_else(|| {
        let view = |viewer: &&str| format!("{viewer}: {:?}", town.peer(viewer).members());
        panic!("{:#?}", names.iter().map(view).collect::<Vec<_>>())
    })
}

fn nobody_was_missed(town: &Town) {
    for resident in town.world.hosts() {
        for (at, event) in town.events(&resident.name) {
            let missed = matches!(
                event,
                Event::MemberFailed(_) | Event::MemberForgotten { .. }
            );
            assert!(!missed, "{} at {at:?}: {event:?}", resident.name);
        }
    }
}

const NAMES: [&str; 5] = ["ann", "bo", "cy", "dee", "eve"];

#[test]
fn a_node_that_moves_stays_who_it_is_and_all_see_it_there_at_once() {
    for (seed, multicast, keys) in [
        (1, true, Keyring::default()),
        (2, false, Keyring::default()),
        (3, true, key(7)),
        (4, false, key(7)),
    ] {
        let mut town = Town::new(seed);
        for name in NAMES {
            town.move_in_with(name, "town", keys.clone());
        }
        agreed(&mut town, &NAMES, secs(3));
        town.run(secs(3));
        town.world.network.multicast = multicast;
        let before = town.peer("ann").this().member;
        town.readdress("ann", elsewhere(1));
        let after = town.peer("ann").this().member;
        assert_eq!((after.id, after.run), (before.id, before.run));
        assert_eq!(after.incarnation, before.incarnation.next());
        let remembered = town.resident("ann").disk.durable().unwrap();
        assert_eq!(remembered.incarnation, after.incarnation);
        let took = agreed(&mut town, &NAMES, secs(1));
        assert!(took <= ms(5), "{took:?}, seed {seed}");
        for viewer in &NAMES[1..] {
            let seen = town.peer(viewer).member(before.id).unwrap();
            assert_eq!(seen.incarnation, after.incarnation, "{viewer}");
        }
        // For long enough that whoever is still asked in vain would have failed.
        town.run(secs(20));
        nobody_was_missed(&town);
        let doubts = |(_, event): &&(_, Event)| matches!(event, Event::MemberSuspect(_));
        let told = NAMES.iter().flat_map(|name| town.events(name));
        let doubted = told.filter(doubts);
        assert_eq!(doubted.count(), 0, "seed {seed}");
    }
}

#[test]
fn the_same_address_again_is_no_news_and_streams_start_anew() {
    let mut town = Town::of(5, ["ann", "bo", "cy"]);
    town.run(secs(2));
    let before = town.peer("ann").this().member;
    assert!(town.streams("ann", "bo") > 0);
    town.with("ann", |peer, now| {
        let address = before.address;
        peer.handle(now, Input::Readdressed { address });
    });
    assert_eq!(
        town.peer("ann").this().member.incarnation,
        before.incarnation
    );
    assert_eq!(town.streams("ann", "bo"), 0);
    town.run(secs(10));
    assert!(town.streams("ann", "bo") > 0 && town.streams("bo", "ann") > 0);
    nobody_was_missed(&town);
}

#[test]
fn round_trips_and_idle_streams_to_a_node_that_moved_start_anew() {
    let mut town = Town::of(6, ["ann", "bo", "cy"]);
    town.run(secs(10));
    let ann = town.id("ann");
    assert!(town.peer("bo").member(ann).unwrap().rtt.is_some());
    assert!(town.streams("bo", "ann") > 0);
    town.readdress("ann", elsewhere(1));
    agreed(&mut town, &["ann", "bo", "cy"], secs(1));
    assert_eq!(town.peer("bo").member(ann).unwrap().rtt, None);
    assert_eq!(town.streams("bo", "ann"), 0);
    // The ring watches it again: its crash is known at once.
    town.run(secs(2));
    assert!(town.streams("bo", "ann") > 0);
    town.kill("ann");
    let known = town.until(secs(1), |town| {
        town.belief("bo", "ann") == Some(MemberState::Failed)
    });
    assert!(known.is_some());
}

#[test]
fn a_detour_taken_to_the_old_address_ends_with_a_move() {
    let mut town = Town::of(7, ["ann", "bo", "cy"]);
    town.block_udp("bo", "ann").block_udp("ann", "bo");
    let ann = town.id("ann");
    let blocked = town.until(secs(30), |town| town.peer("bo").udp_blocked() == [ann]);
    assert!(blocked.is_some());
    town.heal().readdress("ann", elsewhere(1)).run(secs(1));
    assert_eq!(town.peer("bo").udp_blocked(), []);
    nobody_was_missed(&town);
}

#[test]
fn who_moves_while_cut_off_is_found_where_it_is_when_the_cut_heals() {
    for (seed, multicast) in [(8, true), (9, false)] {
        let mut town = Town::of(seed, NAMES);
        town.partition(&["ann"]).run(secs(30));
        assert_eq!(town.belief("bo", "ann"), Some(MemberState::Failed));
        town.readdress("ann", elsewhere(1)).run(secs(5));
        town.world.network.multicast = multicast;
        town.heal();
        let took = agreed(&mut town, &NAMES, secs(5));
        assert!(took < secs(3), "{took:?}");
        let ids: Vec<_> = town.peer("bo").members().iter().map(|m| m.id).collect();
        assert_eq!(ids.len(), NAMES.len(), "no ghost, seed {seed}");
    }
}

#[test]
fn who_comes_back_elsewhere_after_all_held_it_dead_is_alive_there_at_once() {
    for (seed, multicast) in (64..72).zip([true, false].into_iter().cycle()) {
        let mut town = Town::of(seed, NAMES);
        town.partition(&["ann"]).run(secs(60));
        assert_eq!(town.alive("ann"), ["ann"]);
        town.world.network.multicast = multicast;
        town.heal().readdress("ann", elsewhere(1));
        let took = agreed(&mut town, &NAMES, secs(5));
        assert!(took < ms(150), "{took:?}, seed {seed}");
    }
}

#[test]
fn two_nodes_that_swap_their_addresses_are_the_two_they_were() {
    for seed in 10..30 {
        for multicast in [true, false] {
            let mut town = Town::of(seed, NAMES);
            town.run(secs(2));
            town.world.network.multicast = multicast;
            let (ann, bo) = (town.address("ann"), town.address("bo"));
            // One is without an address for a while, as it takes two commands.
            town.readdress("ann", elsewhere(1)).run(ms(seed));
            town.readdress("bo", ann).run(ms(seed / 2));
            town.readdress("ann", bo);
            agreed(&mut town, &NAMES, secs(2));
            town.run(secs(15));
            agreed(&mut town, &NAMES, Duration::ZERO);
            nobody_was_missed(&town);
        }
    }
}

#[test]
fn of_a_swap_at_one_instant_the_others_lose_nobody() {
    for seed in 30..50 {
        let mut town = Town::of(seed, NAMES);
        town.run(secs(2));
        town.swap("ann", "bo");
        agreed(&mut town, &NAMES, secs(2));
        town.run(secs(15));
        nobody_was_missed(&town);
    }
}

#[test]
fn two_alone_that_swap_their_addresses_find_each_other() {
    for seed in 50..60 {
        let mut town = Town::of(seed, ["ann", "bo"]);
        town.run(secs(2));
        // What each says at once does not reach the other.
        town.cut("ann", "bo").swap("ann", "bo");
        town.run(ms(400)).heal();
        agreed(&mut town, &["ann", "bo"], secs(3));
        nobody_was_missed(&town);
    }
}

#[test]
fn who_takes_over_the_address_of_a_failed_member_leaves_no_ghost() {
    for multicast in [true, false] {
        let mut town = Town::of(60, NAMES);
        let freed = town.address("eve");
        let eve = town.id("eve");
        town.kill("eve").run(secs(10));
        assert_eq!(town.belief("bo", "eve"), Some(MemberState::Failed));
        town.readdress("eve", elsewhere(9));
        town.world.network.multicast = multicast;
        let since = town.now();
        town.readdress("ann", freed);
        agreed(&mut town, &NAMES[..4], secs(2));
        for viewer in &NAMES[..4] {
            assert!(town.peer(viewer).member(eve).is_none(), "{viewer}");
            let superseded = town.events(viewer).iter().any(|(at, event)| {
                *at >= since
                    && matches!(event, Event::MemberForgotten { member, reason: ForgetReason::Superseded }
                        if member.id == eve)
            });
            assert!(superseded, "{viewer}");
        }
        // Eve comes back elsewhere: it was superseded, not forgotten.
        town.start("eve");
        town.world.network.multicast = true;
        agreed(&mut town, &NAMES, secs(5));
    }
}

#[test]
fn who_leaves_while_it_moves_has_left() {
    let mut town = Town::of(61, NAMES);
    town.with("ann", |peer, now| peer.leave(now));
    town.readdress("ann", elsewhere(1)).run(secs(5));
    for viewer in &NAMES[1..] {
        assert_eq!(
            town.belief(viewer, "ann"),
            Some(MemberState::Left),
            "{viewer}"
        );
    }
}

/// How often `name` was told that it is seen elsewhere than it says.
fn mismatches(town: &Town, name: &str) -> usize {
    let mismatch = |(_, event): &&(_, Event)| matches!(event, Event::AddressMismatch { .. });
    town.events(name).iter().filter(mismatch).count()
}

#[test]
fn a_translated_address_is_told_again_after_a_move_and_late_echoes_are_not() {
    let mut town = Town::new(62);
    town.move_in("ann").move_in("bo");
    // Ann's hello has reached bo, and its answer is under way.
    town.run(Duration::from_micros(1_200));
    let says = |town: &mut Town, address| {
        town.with("ann", |peer, now| {
            peer.handle(now, Input::Readdressed { address })
        });
    };
    // Ann says that she lives elsewhere, and is seen where she was.
    says(&mut town, elsewhere(1));
    town.run(secs(1));
    assert_eq!(town.alive("ann").len(), 2);
    assert_eq!(
        mismatches(&town, "ann"),
        0,
        "that was about the old address"
    );
    town.run(secs(6));
    for told in 1..=2 {
        town.kill("bo").run(secs(8));
        town.start("bo").run(secs(8));
        assert_eq!(mismatches(&town, "ann"), told, "seen elsewhere for good");
        says(&mut town, elsewhere(1 + told as u8));
        town.run(secs(6));
    }
}

#[test]
fn who_is_met_by_stream_is_not_seen_at_the_streams_own_port() {
    let mut town = Town::new(63);
    town.world.network.multicast = false;
    town.move_in("ann").move_in("bo");
    town.block_udp("ann", "bo").block_udp("bo", "ann");
    let addresses = vec![town.address("bo")];
    let mut outer = town.address("ann");
    outer.set_port(40_000);
    town.world.readdress(0, outer);
    town.with("ann", |peer, now| {
        let provider = "static";
        peer.handle(
            now,
            Input::Candidates {
                provider,
                addresses,
            },
        );
    });
    town.run(secs(4));
    assert_eq!(town.alive("ann").len(), 2);
    assert_eq!(mismatches(&town, "ann"), 0);
}

/// The heir of its address answers, as itself. It may be asked to look for the
/// old one, too, and what it says then still says nothing about that one.
#[test]
fn who_is_gone_is_not_kept_alive_by_who_lives_at_its_address_now() {
    for seed in 0..10 {
        let mut town = Town::of(seed, ["ann", "bo", "cy", "dee"]);
        let old = town.id("cy");
        // ann misses that bo and cy exchange their addresses, and that cy is
        // replaced. It hears of bo first, while it lists both alive.
        town.partition(&["ann"]).swap("bo", "cy").run(ms(200));
        town.kill("cy").replace("cy", "new");
        town.run(ms(300)).heal().cut("ann", "new").run(secs(2));
        town.heal().run(secs(20));
        let held = town.peer("ann").member(old).map(|member| member.state);
        assert!(
            held.is_none_or(|state| state == MemberState::Failed),
            "{held:?}, seed {seed}"
        );
        agreed(&mut town, &["ann", "bo", "new", "dee"], secs(1));
    }
}
