//! Examination: what a node finds out about the ways between it and its peers, in virtual time.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use dui_core::diagnosis::{
    CheckState, Code, Diagnosis, Examination, Local, Network, PeerSeen, Provider, StreamSeen,
    diagnose,
};
use dui_core::wire::{Packet, Way, Ways};
use dui_core::{EXAMINATION_LASTS, EXAMINED_MAX, ExamineAlso, Input, Keyring, Output};
use dui_sim::{Town, key, ms, secs};

/// Everybody in a town listens to multicast.
fn town(seed: u64, names: &[&str], keys: &Keyring) -> Town {
    let mut town = Town::new(seed);
    for name in names {
        town.move_in_with(name, "town", keys.clone());
        listens(&mut town, name);
    }
    town.run(secs(3));
    town
}

fn listens(town: &mut Town, name: &str) {
    town.with(name, |peer, _| peer.set_links(&["multicast"]));
}

/// What `name` sees, and how long it took.
fn examine_also(town: &mut Town, name: &str, expected: &[&str]) -> (Examination, Duration) {
    let also = ExamineAlso {
        expected: expected.iter().map(|it| town.address(it)).collect(),
        possible: Vec::new(),
    };
    let began = town.now();
    town.with(name, |peer, now| peer.examine(now, &also));
    loop {
        town.run(ms(10));
        assert!(town.now() - began <= EXAMINATION_LASTS + ms(20), "it ends");
        if let Some(seen) = town.with(name, |peer, now| peer.examination(now)) {
            return (seen, town.now() - began);
        }
    }
}

fn examine(town: &mut Town, name: &str) -> Examination {
    examine_also(town, name, &[]).0
}

fn seen<'a>(town: &Town, all: &'a Examination, name: &str) -> &'a PeerSeen {
    let address = town.address(name);
    all.peers
        .iter()
        .find(|peer| peer.address == address)
        .unwrap()
}

fn judged(seen: &Examination) -> Diagnosis {
    let multicast = Provider {
        name: "multicast".into(),
        detail: String::new(),
        error: None,
    };
    let local = Local {
        providers: vec![multicast],
        network: Some(Network {
            address: seen.own.ip(),
            prefix: 8,
        }),
        ..Local::default()
    };
    diagnose(seen, &local)
}

fn codes(seen: &Examination) -> Vec<Code> {
    let mut codes: Vec<Code> = judged(seen).findings.iter().map(|it| it.code).collect();
    codes.dedup();
    codes
}

fn packets(ways: Ways) -> bool {
    ways.contains_all(&Way::PACKETS)
}

const THREE: [&str; 3] = ["ann", "bo", "cy"];

#[test]
fn where_everything_gets_through_an_examination_is_over_at_once_and_finds_nothing() {
    for keys in [Keyring::default(), key(7)] {
        let mut town = town(1, &THREE, &keys);
        let (all, took) = examine_also(&mut town, "ann", &[]);
        assert!(took < secs(1), "{took:?}");
        assert_eq!(all.peers.len(), 2);
        for peer in &all.peers {
            assert!(packets(peer.there) && packets(peer.back), "{peer:?}");
            assert_eq!(peer.stream, StreamSeen::Answered);
            assert!(peer.back.contains(Way::StreamBack));
            assert!(peer.there.contains(Way::Multicast) && peer.back.contains(Way::Multicast));
        }
        assert_eq!(codes(&all), []);
    }
}

#[test]
fn a_third_of_the_packets_lost_is_nothing_blocked() {
    for seed in 0..100 {
        let mut town = town(seed, &THREE, &key(7));
        town.lose_percent(30);
        let all = examine(&mut town, "ann");
        assert_eq!(codes(&all), [], "seed {seed}: {:?}", judged(&all).findings);
    }
}

#[test]
fn each_direction_of_packets_is_told_apart() {
    for keys in [Keyring::default(), key(7)] {
        for (from, to, there, back) in [("ann", "bo", false, true), ("bo", "ann", true, false)] {
            let mut town = town(2, &THREE, &keys);
            town.block_udp(from, to);
            let all = examine(&mut town, "ann");
            let bo = seen(&town, &all, "bo");
            assert_eq!(
                (packets(bo.there), packets(bo.back)),
                (there, back),
                "{from} to {to}"
            );
            let cy = seen(&town, &all, "cy");
            assert!(packets(cy.there) && packets(cy.back));
            assert!(codes(&all).contains(&Code::UdpBlocked));
            let told = &judged(&all).findings[0];
            assert!(
                told.subject.contains("bo") && !told.subject.contains("cy"),
                "{told:?}"
            );
        }
    }
}

#[test]
fn multicast_that_is_cut_is_found_where_all_else_works() {
    let mut town = town(3, &THREE, &key(7));
    town.world.network.multicast = false;
    let all = examine(&mut town, "ann");
    assert_eq!(codes(&all), [Code::MulticastBlocked]);
    let bo = seen(&town, &all, "bo");
    assert!(packets(bo.there) && packets(bo.back));
}

#[test]
fn a_clock_ten_minutes_off_is_named_and_nobody_elses() {
    let mut town = town(4, &THREE, &key(7));
    town.set_clock_ahead("cy", 600_000);
    for viewer in ["ann", "cy"] {
        let all = examine(&mut town, viewer);
        let found = judged(&all).findings;
        assert_eq!(codes(&all), [Code::ClockOff], "{found:?}");
        let whose = if viewer == "cy" { "this node" } else { "cy" };
        assert!(found[0].subject.contains(whose), "{found:?}");
        assert!(found[0].detail.contains("10 min ahead"), "{found:?}");
    }
}

#[test]
fn where_nobody_listens_any_more_that_is_told() {
    let mut town = town(5, &THREE, &key(7));
    town.kill("cy");
    town.run(secs(10));
    let all = examine(&mut town, "ann");
    assert_eq!(codes(&all), [Code::NotRunning]);
}

#[test]
fn a_host_cut_off_is_unreachable_and_a_stopped_process_is_not_understood() {
    let mut cut = town(6, &THREE, &key(7));
    cut.cut("ann", "cy");
    assert_eq!(codes(&examine(&mut cut, "ann")), [Code::Unreachable]);

    let mut stopped = town(6, &THREE, &key(7));
    stopped.stop("cy");
    let all = examine(&mut stopped, "ann");
    assert_eq!(codes(&all), [Code::Unknown]);
    let unknown = &judged(&all).findings[0];
    for ruled_out in ["a closed port there", "packets, both ways", "wall clocks"] {
        assert!(unknown.detail.contains(ruled_out), "{unknown:?}");
    }
}

#[test]
fn an_examiner_finds_everybody_and_nobody_lists_it() {
    for keys in [Keyring::default(), key(7)] {
        let mut town = town(7, &THREE, &keys);
        town.reserve("doc", "town", keys.clone())
            .start_examiner("doc");
        listens(&mut town, "doc");
        town.with("doc", |peer, now| peer.call_out(now));
        town.run(secs(1));
        let all = examine(&mut town, "doc");
        assert!(!all.member);
        assert_eq!(all.peers.len(), 3, "{all:?}");
        assert_eq!(codes(&all), []);
        town.kill("doc").run(secs(10));
        for name in THREE {
            let members = town.peer(name).members();
            assert_eq!(members.len(), 3, "{name} lists {members:?}");
            assert_eq!(town.peer(name).counters().probes_failed, 0);
        }
    }
}

#[test]
fn strangers_by_key_are_named_and_hide_only_their_own_ways() {
    let mut town = town(8, &["ann", "bo"], &key(7));
    town.move_in_with("eve", "town", key(9));
    listens(&mut town, "eve");
    town.run(secs(2));
    town.block_udp("ann", "bo");
    let all = examine(&mut town, "ann");
    assert!(seen(&town, &all, "eve").refusal.is_some());
    let codes = codes(&all);
    assert!(
        codes.contains(&Code::OtherKey) && codes.contains(&Code::UdpBlocked),
        "{codes:?}"
    );
}

/// Ann alone has another key: bo and cy turn her away, by every way.
fn town_and_an_outsider(seed: u64, cluster: &str) -> Town {
    let mut town = town(seed, &["bo", "cy"], &key(7));
    town.move_in_with("ann", cluster, key(9));
    listens(&mut town, "ann");
    town.run(secs(3));
    town
}

fn outsiders_codes(town: &mut Town) -> Vec<Code> {
    codes(&examine_also(town, "ann", &["bo", "cy"]).0)
}

#[test]
fn a_wrong_key_of_ones_own_is_named_at_once_and_nothing_else() {
    let mut town = town_and_an_outsider(20, "town");
    let (all, took) = examine_also(&mut town, "ann", &["bo", "cy"]);
    assert_eq!(codes(&all), [Code::OtherKey], "{:?}", judged(&all).findings);
    assert!(took < secs(1), "{took:?}");
    let passed = judged(&all).checks;
    let mut passed = passed.iter().filter(|it| it.state == CheckState::Ok);
    for check in ["cluster", "udp", "multicast", "clock"] {
        assert!(passed.any(|it| it.name == check), "{check}");
    }
}

#[test]
fn behind_a_wrong_key_of_ones_own_every_other_trouble_shows() {
    let mut town = town_and_an_outsider(21, "town");
    town.block_udp("ann", "bo");
    assert_eq!(
        outsiders_codes(&mut town),
        [Code::OtherKey, Code::UdpBlocked]
    );

    let mut town = town_and_an_outsider(22, "town");
    town.set_clock_ahead("ann", 600_000);
    let all = examine_also(&mut town, "ann", &["bo", "cy"]).0;
    assert_eq!(codes(&all), [Code::OtherKey, Code::ClockOff]);
    let found = judged(&all).findings;
    let clock = found.iter().find(|it| it.code == Code::ClockOff).unwrap();
    assert_eq!(clock.subject, "this node");

    let mut town = town_and_an_outsider(23, "green");
    assert_eq!(
        outsiders_codes(&mut town),
        [Code::OtherCluster, Code::OtherKey]
    );
}

/// A stranger's clock counts only where nobody else tells the time.
#[test]
fn a_strangers_wrong_clock_makes_nobody_elses_wrong() {
    let mut town = town(24, &["ann", "bo"], &key(7));
    for stranger in ["eve", "mal"] {
        town.move_in_with(stranger, "town", key(9));
        listens(&mut town, stranger);
        town.set_clock_ahead(stranger, 600_000);
    }
    town.run(secs(3));
    assert_eq!(codes(&examine(&mut town, "ann")), [Code::OtherKey]);
}

#[test]
fn strangers_are_told_so_at_a_bounded_rate() {
    let mut town = town(25, &["bo"], &key(7));
    let eve = "10.9.9.9:1".parse().unwrap();
    // A packet of eve's, as she would seal it.
    let mut town_of_eve = town_and_an_outsider(26, "town");
    town_of_eve.world.recorded = Some(Vec::new());
    examine_also(&mut town_of_eve, "ann", &["bo"]);
    let ann = town_of_eve.address("ann");
    let said = town_of_eve.world.recorded.take().unwrap();
    let (.., packet) = said.into_iter().find(|(from, ..)| *from == ann).unwrap();
    let answered = town.with("bo", |peer, now| {
        for _ in 0..10_000 {
            let bytes = &packet[..];
            peer.handle(now, Input::Datagram { from: eve, bytes });
        }
        let sent = |it: &Output| matches!(it, Output::Send { to, .. } if *to == eve);
        std::iter::from_fn(|| peer.poll_output())
            .filter(sent)
            .count()
    });
    assert!((1..=200).contains(&answered), "{answered}");
}

#[test]
fn of_a_large_cluster_a_sample_is_examined_and_lost_ones_come_first() {
    let mut town = Town::of_size(9, 100);
    town.kill("n42").run(secs(10));
    let all = examine(&mut town, "n0");
    assert_eq!(
        (all.peers.len(), all.left_out),
        (EXAMINED_MAX, 99 - EXAMINED_MAX)
    );
    assert_eq!(codes(&all), [Code::NotRunning]);
    let answers = judged(&all).checks;
    let answers = answers
        .iter()
        .find(|check| check.name == "answers")
        .unwrap();
    assert_eq!(answers.state, CheckState::Wrong);
    assert!(answers.detail.contains("35 others left out"), "{answers:?}");
}

/// Whoever holds the key can ask as often as it likes; what that costs is bounded.
#[test]
fn what_is_done_for_one_examination_is_bounded() {
    let mut town = town(10, &["ann", "bo"], &Keyring::default());
    town.block_udp("bo", "ann");
    let before = town.peer("bo").counters();
    town.world.recorded = Some(Vec::new());
    examine(&mut town, "ann");
    let asked = town.world.recorded.take().unwrap();
    let (ann, bo) = (town.address("ann"), town.address("bo"));
    let (clear, cluster) = (5, "town".parse().unwrap());
    let is_question = |bytes: &[u8]| {
        Packet::decode(&bytes[clear..], &cluster).is_ok_and(|packet| packet.examine.is_some())
    };
    let questions = asked
        .iter()
        .filter(|(from, to, bytes)| (*from, *to) == (ann, bo) && is_question(bytes));
    for (from, _, bytes) in questions {
        for _ in 0..100 {
            town.inject("bo", *from, bytes);
        }
    }
    let sent = town.peer("bo").counters().packets_sent - before.packets_sent;
    let beacons = town.peer("bo").counters().beacons_sent - before.beacons_sent;
    assert!(sent < 300, "{sent} packets for one examination");
    assert!(beacons < 20, "{beacons} beacons for one examination");
}
