//! Shared entries that one node writes and all others hold, whatever lies between.

#![allow(clippy::unwrap_used)]

mod shelf;

use std::time::Duration;

use dui_core::{Acks, Change, Event, NotParted, Refusal, SharedChoice, Write, WriteError};
use dui_sim::{Town, ms, secs};
use shelf::{changes, delete, equal, fill, get, host, key, put, put_with, shared, written};

fn names(n: usize) -> Vec<String> {
    (0..n).map(|place| format!("n{place}")).collect()
}

#[test]
fn a_write_is_on_all_nodes_within_milliseconds() {
    let mut town = Town::of_size(1, 32);
    put(&mut town, "colour", "n0", "blue");
    let everybody = names(32);
    let took = town.until(ms(50), |town| {
        let mut all = everybody.iter();
        all.all(|name| shelf::read(town, name, "colour").as_deref() == Some("blue"))
    });
    assert!(took.is_some(), "not within 50 ms");
    for name in everybody.iter().skip(1) {
        assert_eq!(changes(&town, name), [(Change::Put, "colour".into())]);
    }
    delete(&mut town, "colour", "n7").unwrap();
    let gone = town.until(ms(50), |town| {
        let mut all = everybody.iter();
        all.all(|name| shelf::read(town, name, "colour").is_none())
    });
    assert!(gone.is_some());
}

#[test]
fn a_large_value_arrives_in_parts() {
    let mut town = Town::of(2, ["ann", "bo", "cy", "dee"]);
    let large = "x".repeat(1 << 20);
    let middle = "y".repeat(30_000);
    put(&mut town, "large", "ann", &large);
    put(&mut town, "middle", "bo", &middle);
    let all = town.until(secs(2), |town| {
        ["ann", "bo", "cy", "dee"].iter().all(|name| {
            shelf::read(town, name, "large").as_deref() == Some(&large)
                && shelf::read(town, name, "middle").as_deref() == Some(&middle)
        })
    });
    assert!(all.is_some());
    assert!(town.anybody_failed().is_none());
}

#[test]
fn who_was_cut_off_learns_what_was_written_and_deleted_meanwhile() {
    let mut town = Town::of(3, ["ann", "bo", "cy"]);
    for n in 0..50 {
        put(&mut town, &format!("k{n}"), "ann", "before");
    }
    town.run(secs(2));
    assert!(equal(&town, &["ann", "bo", "cy"]));
    town.partition(&["cy"]).run(secs(8));
    delete(&mut town, "k3", "ann").unwrap();
    put(&mut town, "k4", "ann", "after");
    put(&mut town, "new", "bo", "yes");
    town.run(ms(10));
    put(&mut town, "k4", "cy", "last");
    put(&mut town, "alone", "cy", "yes");
    town.run(secs(2));
    town.heal();
    let agreed = town.until(secs(20), |town| equal(town, &["ann", "bo", "cy"]));
    assert!(agreed.is_some());
    for name in ["ann", "bo", "cy"] {
        assert_eq!(get(&mut town, "k3", name), None);
        assert_eq!(get(&mut town, "k4", name).as_deref(), Some("last"));
        assert_eq!(get(&mut town, "alone", name).as_deref(), Some("yes"));
        assert_eq!(get(&mut town, "new", name).as_deref(), Some("yes"));
    }
}

#[test]
fn a_joiner_takes_everything_and_nobody_is_doubted() {
    let mut town = Town::of(4, ["ann", "bo", "cy"]);
    fill(&mut town, "ann", 20_000, 64);
    let large = "x".repeat(200_000);
    for n in 0..40 {
        put(&mut town, &format!("large{n}"), "bo", &large);
    }
    let filled = town.until(secs(60), |town| {
        shared(town, "ann").entries == 20_040 && equal(town, &["ann", "bo", "cy"])
    });
    assert!(filled.is_some(), "{:?}", shared(&town, "cy"));
    town.move_in("dee");
    let joined = town.until(secs(20), |town| equal(town, &["ann", "dee"]));
    assert!(joined.is_some(), "{:?}", shared(&town, "dee"));
    assert!(town.anybody_failed().is_none());
    let doubts = ["ann", "bo", "cy", "dee"].map(|name| {
        let told = town.events(name).iter();
        told.filter(|(_, event)| matches!(event, Event::MemberSuspect(_)))
            .count()
    });
    assert_eq!(doubts, [0; 4]);
}

#[test]
fn a_join_that_breaks_off_goes_on_where_it_was() {
    let mut town = Town::of(5, ["ann", "bo"]);
    fill(&mut town, "ann", 20_000, 64);
    let filled = town.until(secs(60), |town| shared(town, "bo").entries == 20_000);
    assert!(filled.is_some());
    town.move_in("cy");
    let half = town.until(secs(20), |town| shared(town, "cy").entries > 5_000);
    assert!(half.is_some());
    town.partition(&["cy"]).run(secs(8));
    let before = shared(&town, "cy").entries;
    assert!(before < 20_000);
    town.heal();
    let frames = town.world.traffic().frame_bytes;
    let joined = town.until(secs(30), |town| equal(town, &["ann", "cy"]));
    assert!(joined.is_some(), "{:?}", shared(&town, "cy"));
    let again = town.world.traffic().frame_bytes - frames;
    let all = 20_000 * 150;
    assert!(again < all, "{again} bytes, having {before} already");
}

#[test]
fn an_acknowledgement_says_how_many_hold_it() {
    let mut town = Town::of(6, ["ann", "bo", "cy", "dee"]);
    let two = put_with(&mut town, "two", "ann", "v", Acks::Count(2));
    let all = put_with(&mut town, "all", "ann", "v", Acks::All);
    let done = town.until(ms(50), |town| {
        written(town, "ann", two).is_some() && written(town, "ann", all).is_some()
    });
    assert!(done.is_some());
    assert_eq!(written(&town, "ann", two), Some(Ok((false, 2))));
    assert_eq!(written(&town, "ann", all), Some(Ok((false, 4))));

    // A disk that takes nothing acknowledges nothing.
    host(&mut town, "dee").disk.full = true;
    let all = put_with(&mut town, "all", "bo", "w", Acks::All);
    town.run(secs(3));
    assert_eq!(written(&town, "bo", all), None);
    assert_eq!(get(&mut town, "all", "dee").as_deref(), Some("w"));
    host(&mut town, "dee").disk.full = false;
    let done = town.until(secs(5), |town| written(town, "bo", all).is_some());
    assert!(done.is_some());
    assert_eq!(written(&town, "bo", all), Some(Ok((true, 4))));
    assert!(host(&mut town, "dee").disk.entries.contains_key("all"));

    // More than there are: whoever gives up learns how many there were.
    let five = put_with(&mut town, "five", "ann", "v", Acks::Count(5));
    town.run(secs(1));
    assert_eq!(written(&town, "ann", five), None);
    let known = town.with("ann", |peer, _| peer.give_up(five.ticket));
    assert_eq!(known.unwrap().acked, 4);
}

#[test]
fn who_missed_the_rumor_is_asked_whether_it_holds_the_write() {
    let mut town = Town::of(7, ["ann", "bo", "cy", "dee"]);
    town.lose_percent(40);
    let writes: Vec<_> = (0..20)
        .map(|n| put_with(&mut town, &format!("k{n}"), "ann", "v", Acks::All))
        .collect();
    let done = town.until(secs(30), |town| {
        writes
            .iter()
            .all(|write| written(town, "ann", *write).is_some())
    });
    assert!(done.is_some());
    for write in writes {
        assert_eq!(written(&town, "ann", write), Some(Ok((false, 4))));
    }
}

#[test]
fn a_clock_years_ahead_writes_nothing_and_moves_nobody() {
    let mut town = Town::of(8, ["ann", "bo", "cy"]);
    town.set_clock_ahead("cy", 3_600_000).run(secs(30));
    let name = key("colour");
    let refused = town.with("cy", |peer, now| {
        peer.write(now, Write::put(&name, b"grey"), Acks::Here)
    });
    let Err(WriteError::ClockAhead { ahead, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(ahead > Duration::from_secs(3_590), "{ahead:?}");
    assert!(
        shared(&town, "ann")
            .clock_ahead
            .is_none_or(|ahead| ahead < secs(1))
    );
    town.set_clock_ahead("cy", 0).run(secs(1));
    put(&mut town, "colour", "cy", "blue");
    town.run(ms(200));
    assert_eq!(get(&mut town, "colour", "ann").as_deref(), Some("blue"));
}

#[test]
fn what_a_wrong_clock_stamped_alone_is_stamped_anew_once_it_is_right() {
    let mut town = Town::new(9);
    town.move_in("cy");
    town.set_clock_ahead("cy", 7_200_000).run(secs(2));
    put(&mut town, "colour", "cy", "from the future");
    put(&mut town, "only", "cy", "here");
    town.run(secs(1));
    town.move_in("ann").move_in("bo").run(secs(5));
    put(&mut town, "colour", "ann", "blue");
    town.run(secs(5));
    // Not taken in, its node named, and nobody's clock is moved.
    assert_eq!(get(&mut town, "colour", "bo").as_deref(), Some("blue"));
    assert_eq!(get(&mut town, "only", "bo"), None);
    let (told, cy) = (town.events("ann").iter(), town.id("cy"));
    let named = told.filter(|(_, event)| {
        matches!(event, Event::Refused(Refusal::TimestampAhead { origin, .. }) if *origin == cy)
    });
    assert!(named.count() > 0);
    town.set_clock_ahead("cy", 0);
    let agreed = town.until(secs(20), |town| equal(town, &["ann", "bo", "cy"]));
    assert!(agreed.is_some());
    assert_eq!(get(&mut town, "only", "ann").as_deref(), Some("here"));
    let late = put(&mut town, "only", "ann", "after");
    town.run(secs(1));
    assert_eq!(
        get(&mut town, "only", "cy").as_deref(),
        Some("after"),
        "{late:?}"
    );
}

#[test]
fn two_sides_out_of_contact_for_longer_than_tombstones_live_exchange_nothing() {
    use SharedChoice::{Discard, Keep};
    for choice in [Keep, Discard] {
        let mut town = Town::new(10);
        for name in ["ann", "bo", "cy", "dee"] {
            town.reserve(name, "town", dui_core::Keyring::default());
            host(&mut town, name).shared.tombstone_life = secs(120);
            town.start(name);
        }
        town.run(secs(5));
        put(&mut town, "old", "ann", "v");
        put(&mut town, "kept", "ann", "v");
        town.run(secs(3));
        town.partition(&["cy", "dee"]).run(secs(10));
        delete(&mut town, "old", "ann").unwrap();
        put(&mut town, "here", "ann", "v");
        put(&mut town, "there", "cy", "v");
        town.run(secs(200));
        // A newcomer there takes over whom its host has lost.
        town.reserve("eve", "town", dui_core::Keyring::default());
        host(&mut town, "eve").shared.tombstone_life = secs(120);
        for name in ["ann", "bo"] {
            town.cut("eve", name);
        }
        town.start("eve").run(secs(10));
        assert_eq!(get(&mut town, "old", "eve").as_deref(), Some("v"));
        town.heal().run(secs(60));
        assert_eq!(town.alive("ann").len(), 5, "they are one cluster");
        assert_eq!(get(&mut town, "old", "ann"), None, "nothing comes back");
        assert_eq!(get(&mut town, "there", "bo"), None);
        assert_eq!(get(&mut town, "here", "eve"), None);
        assert!(!shared(&town, "cy").parted.is_empty());
        let parted = |(_, event): &(_, Event)| matches!(event, Event::SharedParted(_));
        assert!(town.events("dee").iter().any(parted));
        // Who keeps says so once; who gives up, everywhere, one after another.
        let told: &[&str] = match choice {
            Keep => &["dee"],
            Discard => &["cy", "dee", "eve"],
        };
        for name in told {
            let done = town.with(name, |peer, now| peer.recover_shared(now, choice));
            assert!(done.is_ok_and(|held| held >= 3), "{name}: {done:?}");
            town.run(secs(10));
        }
        let all = ["ann", "bo", "cy", "dee", "eve"];
        let agreed = town.until(secs(60), |town| equal(town, &all));
        assert!(agreed.is_some(), "{choice:?}");
        let together = |town: &Town| all.iter().all(|name| shared(town, name).parted.is_empty());
        assert!(town.until(secs(60), together).is_some(), "{choice:?}");
        let again = town.with("dee", |peer, now| peer.recover_shared(now, choice));
        assert_eq!(again, Err(NotParted));
        let there = (choice == Keep).then_some("v");
        assert_eq!(get(&mut town, "there", "ann").as_deref(), there);
        assert_eq!(get(&mut town, "old", "ann").as_deref(), there);
        assert_eq!(get(&mut town, "here", "dee").as_deref(), Some("v"));
    }
}

/// Three nodes under steady writes, each killed in turn, with a cut between.
#[test]
fn under_steady_writes_and_kills_nothing_acknowledged_is_lost() {
    let mut town = Town::of(11, ["n0", "n1", "n2"]);
    let mut taken = Vec::new();
    for n in 0..6_000u64 {
        let on = format!("n{}", n % 3);
        if n % 1_000 == 500 {
            town.kill(&format!("n{}", n / 1_000 % 3));
        }
        if n % 1_000 == 900 {
            town.start(&format!("n{}", n / 1_000 % 3));
        }
        if n % 2_000 == 1_100 {
            town.partition(&[&on]);
        }
        if n % 2_000 == 1_300 {
            town.heal();
        }
        if town.resident(&on).runs() {
            let (name, life) = (format!("k{n}"), town.resident(&on).life());
            let write = put(&mut town, &name, &on, "v");
            taken.push((name, town.place(&on), life, write.ticket));
        }
        town.run(ms(1));
    }
    let all = ["n0", "n1", "n2"];
    let agreed = town.until(secs(20), |town| equal(town, &all));
    assert!(agreed.is_some());
    let acked: std::collections::BTreeSet<_> = town
        .world
        .deeds
        .iter()
        .filter(|deed| deed.result.is_ok())
        .map(|deed| (deed.place, deed.life, deed.ticket))
        .collect();
    println!(
        "{} taken, {} acknowledged, equal after {agreed:?}",
        taken.len(),
        acked.len()
    );
    assert!(acked.len() > 4_000, "{}", acked.len());
    for (name, place, life, ticket) in taken {
        if acked.contains(&(place, life, ticket)) {
            for on in all {
                assert_eq!(
                    shelf::read(&town, on, &name).as_deref(),
                    Some("v"),
                    "{name} on {on}"
                );
            }
        }
    }
    // Once rumors are repaired, probes are all that is said.
    town.run(secs(3));
    let bytes = town.world.traffic();
    town.run(secs(10));
    let spent = town.world.traffic().packet_bytes - bytes.packet_bytes;
    assert!(spent / 10 < 1_000, "{spent} bytes");
}

/// With seed 2 the newcomer has the lowest id: it took every answer that says
/// all there is for a question that crossed its own, and waited for good.
#[test]
fn a_newcomer_that_heard_a_few_rumors_gets_the_rest() {
    for seed in 0..4 {
        let mut town = Town::of(seed, ["ann", "bo"]);
        let value = "x".repeat(1 << 20);
        for n in 0..200 {
            put(&mut town, &format!("large/{n:03}"), "ann", &value);
            town.run(ms(17));
        }
        town.move_in("cy");
        let all = town.until(secs(30), |town| {
            equal(town, &["ann", "bo", "cy"]) && shared(town, "cy").entries == 200
        });
        assert!(all.is_some(), "seed {seed}: {:?}", shared(&town, "cy"));
    }
}
