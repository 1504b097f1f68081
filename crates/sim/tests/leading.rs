//! Leading: what the managers agreed on, and how everybody comes to hold the newest of it.

use std::time::Duration;

use dui_core::{Event, LeaderNews, NodeId};
use dui_sim::{Town, key, ms, secs};

/// Of this revision, with as many voters as there may be.
fn news(revision: u64) -> LeaderNews {
    of_cluster(1, revision)
}

fn of_cluster(cluster_id: u128, revision: u64) -> LeaderNews {
    LeaderNews {
        cluster_id,
        revision,
        leader: NodeId(7),
        term: 3,
        elected_at: revision,
        view: 2,
        voters: (0..16).map(NodeId).collect(),
        ephemeral: false,
    }
}

fn all_hold(town: &Town, news: &LeaderNews) -> bool {
    let mut peers = town.world.hosts().iter().filter_map(|host| host.peer());
    peers.all(|peer| peer.leader_news() == Some(news))
}

/// How long it takes until everybody holds these.
fn until_all_hold(town: &mut Town, news: &LeaderNews, limit: Duration) -> Option<Duration> {
    town.until(limit, |town| all_hold(town, news))
}

/// The revisions that somebody was told of.
fn told(town: &Town, viewer: &str) -> Vec<u64> {
    let events = town.events(viewer).iter();
    let told = events.filter_map(|(_, event)| match event {
        Event::LeaderNews(news) => Some(news.revision),
        _ => None,
    });
    told.collect()
}

fn names(town: &Town) -> Vec<String> {
    let hosts = town.world.hosts().iter();
    hosts.map(|host| host.name.clone()).collect()
}

/// Reconciliations that anybody began.
fn reconciliations(town: &Town) -> u64 {
    let peers = town.world.hosts().iter().filter_map(|host| host.peer());
    peers.map(|peer| peer.counters().reconciliations).sum()
}

// --- how it spreads ---

#[test]
fn what_one_of_thirty_is_told_all_know_at_once() {
    for seed in 0..5 {
        let mut town = Town::of_size(seed, 30);
        let before = reconciliations(&town);
        town.tell_leader("n3", news(1));
        let took = until_all_hold(&mut town, &news(1), secs(1));
        assert!(
            took.is_some_and(|took| took <= ms(50)),
            "{took:?}, seed {seed}"
        );
        town.run(secs(3));
        for name in names(&town) {
            assert_eq!(told(&town, &name), [1], "{name} was told once, seed {seed}");
        }
        assert_eq!(reconciliations(&town), before, "equal digests are equal");
    }
}

#[test]
fn of_four_packets_one_is_lost_and_all_know_within_two_seconds() {
    for seed in 0..8 {
        let mut town = Town::of_size(seed, 30);
        town.lose_percent(25);
        for revision in 1..=5 {
            let teller = format!("n{}", 5 * revision);
            town.tell_leader(&teller, news(revision));
            let took = until_all_hold(&mut town, &news(revision), secs(2));
            assert!(took.is_some(), "revision {revision}, seed {seed}");
        }
    }
}

#[test]
fn voters_are_told_in_order_and_no_more_than_fit() {
    let mut town = Town::of(1, ["ann", "bo"]);
    let many = LeaderNews {
        voters: (0..20).rev().map(NodeId).collect(),
        ephemeral: false,
        ..news(1)
    };
    town.tell_leader("ann", many).run(secs(1));
    assert_eq!(town.leader_news("bo"), Some(&news(1)));
}

#[test]
fn who_leaves_keeps_it_to_itself() {
    let mut town = Town::of_size(2, 5);
    town.with("n1", dui_core::Peer::leave);
    town.tell_leader("n1", news(1)).run(ms(500));
    assert_eq!(told(&town, "n1"), [1]);
    assert_eq!(told(&town, "n2"), []);
}

// --- how it is repaired ---

#[test]
fn a_newcomer_learns_it_by_its_welcome() {
    for seed in 0..5 {
        let mut town = Town::of_size(seed, 30);
        town.tell_leader("n3", news(1))
            .run(secs(20))
            .move_in("late");
        let took = until_all_hold(&mut town, &news(1), secs(1));
        assert!(took.is_some(), "seed {seed}");
        town.run(secs(5));
        assert_eq!(told(&town, "late"), [1]);
        let originated = town.peer("late").counters().rumors_originated;
        assert_eq!(originated, 1, "that it is alive, and nothing that all know");
    }
}

#[test]
fn a_newcomer_that_alone_knows_tells_who_welcomes_it() {
    let mut town = Town::of_size(3, 5);
    town.move_in("late").tell_leader("late", news(1));
    let took = until_all_hold(&mut town, &news(1), secs(1));
    assert!(took.is_some(), "{took:?}");
}

#[test]
fn a_side_that_was_cut_off_has_it_soon_after() {
    for seed in 0..5 {
        let mut town = Town::of_size(seed, 20);
        let side: Vec<String> = (0..10).map(|place| format!("n{place}")).collect();
        let side: Vec<&str> = side.iter().map(String::as_str).collect();
        town.tell_leader("n0", news(1)).run(secs(1));
        town.partition(&side).run(secs(30));
        town.tell_leader("n15", news(2)).run(secs(10));
        assert_eq!(town.leader_news("n0"), Some(&news(1)));
        town.heal();
        let took = until_all_hold(&mut town, &news(2), secs(3));
        assert!(took.is_some(), "seed {seed}");
    }
}

#[test]
fn two_sides_that_heard_different_news_end_with_the_newer() {
    // A revision, and where it is the same the cluster id, decides.
    for (seed, here, there) in [
        (1, news(5), news(9)),
        (2, news(9), news(5)),
        (3, of_cluster(1, 7), of_cluster(2, 7)),
        (4, of_cluster(2, 7), of_cluster(1, 7)),
        (5, of_cluster(9, 7), of_cluster(1, 8)),
    ] {
        let mut town = Town::of_size(seed, 12);
        town.partition(&["n0", "n1", "n2", "n3"]).run(secs(30));
        town.tell_leader("n0", here.clone());
        town.tell_leader("n9", there.clone()).run(secs(5));
        assert_eq!(town.leader_news("n3"), Some(&here));
        assert_eq!(town.leader_news("n4"), Some(&there));
        let newer = if here.is_newer_than(&there) {
            here
        } else {
            there
        };
        town.heal();
        let took = until_all_hold(&mut town, &newer, secs(3));
        assert!(took.is_some(), "seed {seed}");
    }
}

#[test]
fn one_comparison_makes_both_equal_whoever_begins_and_whoever_knows_more() {
    for (seed, ann, bo) in [
        (1, Some(news(2)), Some(news(1))),
        (2, Some(news(1)), Some(news(2))),
        (3, Some(news(1)), None),
        (4, None, Some(news(1))),
    ] {
        let mut town = Town::of(seed, ["ann", "bo"]);
        town.run(secs(5)).cut("ann", "bo");
        // Before either notices that the other is cut off.
        for (name, news) in [("ann", ann), ("bo", bo)] {
            if let Some(news) = news {
                town.tell_leader(name, news);
            }
        }
        town.run(ms(400)).heal();
        let before = reconciliations(&town);
        let newest = if seed < 3 { news(2) } else { news(1) };
        let took = until_all_hold(&mut town, &newest, secs(3));
        assert!(took.is_some(), "seed {seed}");
        town.run(secs(5));
        assert!(
            reconciliations(&town) <= before + 2,
            "seed {seed}: one each at most"
        );
    }
}

#[test]
fn beside_the_longest_names_there_may_be_they_fit_their_packets() {
    let mut town = Town::new(27);
    let name = |place: usize| format!("{place:x>63}");
    let move_in = |town: &mut Town, places: std::ops::Range<usize>| {
        for place in places {
            town.move_in_with(&name(place), &"c".repeat(63), key(9));
        }
        town.run(secs(3));
    };
    // Views of every size that one packet, or two, can name.
    move_in(&mut town, 0..20);
    for place in 20..40 {
        let largest = LeaderNews {
            term: 1 << 62,
            view: 1 << 62,
            ..news((1 << 62) - 50 + place as u64)
        };
        town.tell_leader(&name(place - 20), largest.clone());
        move_in(&mut town, place..place + 1);
        assert!(all_hold(&town, &largest), "{place}");
    }
    assert!(town.world.traffic().packet_bytes_max <= 1_200);
}

// --- what is older ---

#[test]
fn older_news_replace_nothing_and_go_nowhere() {
    let mut town = Town::of_size(6, 10);
    town.tell_leader("n0", news(5)).run(secs(6));
    let originated = town.peer("n4").counters().rumors_originated;
    let (sent, rumors) = (town.sent(), town.peer("n4").holdings().rumors);
    town.tell_leader("n4", news(4)).tell_leader("n4", news(5));
    assert_eq!(town.sent(), sent, "nothing is said");
    town.run(secs(2));
    assert_eq!(town.peer("n4").counters().rumors_originated, originated);
    assert!(town.peer("n4").holdings().rumors <= rumors);
    for name in names(&town) {
        assert_eq!(told(&town, &name), [5], "{name}");
    }
}

#[test]
fn a_late_rumor_of_older_news_ends_with_whoever_knows_better() {
    for seed in 0..5 {
        let mut town = Town::of_size(seed, 30);
        let sent = |town: &Town| -> u64 {
            let peers = town.world.hosts().iter().filter_map(|host| host.peer());
            peers.map(|peer| peer.counters().rumors_sent).sum()
        };
        // Cut off for less than it takes to suspect anybody, and back between
        // two repairs of what it missed.
        town.partition(&["n0"])
            .tell_leader("n1", news(2))
            .run(ms(340));
        let before = sent(&town);
        town.heal().tell_leader("n0", news(1)).run(ms(50));
        let sent = sent(&town) - before;
        // To its six neighbours, and to who pulled what its repairs named.
        assert!((6..=10).contains(&sent), "{sent}, seed {seed}");
        let took = until_all_hold(&mut town, &news(2), secs(3));
        assert!(took.is_some(), "seed {seed}");
        for name in names(&town).iter().filter(|name| *name != "n0") {
            assert_eq!(told(&town, name), [2], "{name}, seed {seed}");
        }
        assert_eq!(told(&town, "n0"), [1, 2], "seed {seed}");
    }
}

#[test]
fn news_told_at_once_reach_each_in_rising_order_only() {
    for seed in 0..5 {
        let mut town = Town::of_size(seed, 30);
        town.lose_percent(10);
        for (teller, revision) in [("n1", 3), ("n9", 1), ("n17", 4), ("n25", 2)] {
            town.tell_leader(teller, news(revision));
        }
        let took = until_all_hold(&mut town, &news(4), secs(3));
        assert!(took.is_some(), "seed {seed}");
        town.run(secs(3));
        for name in names(&town) {
            let told = told(&town, &name);
            assert!(
                told.is_sorted_by(|one, next| one < next),
                "{name}: {told:?}"
            );
            assert_eq!(town.leader_news(&name), Some(&news(4)));
        }
    }
}
