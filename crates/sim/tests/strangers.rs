//! Strangers: other clusters, other keys, and recordings of our own.

#![allow(clippy::unwrap_used)]

use dui_core::wire::{Body, MemberInfo, Packet, Rumor, RumorId, RumorIds};
use dui_core::{Event, Keyring, MemberState, MessageCounter, NodeId, RunId};
use dui_sim::{Town, key, ms, secs};

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
    assert!(
        refusals("ann").contains("is not sealed"),
        "{}",
        refusals("ann")
    );
    assert!(
        refusals("eve").contains("this node has none"),
        "{}",
        refusals("eve")
    );
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
    town.world.recorded = Some(Vec::new());
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
    let recorded = town.world.recorded.take().unwrap();
    assert!(recorded.len() > 100);
    let before = (town.peer("bo").members(), town.peer("ann").members());
    let told = town.events("bo").len();
    for (from, _, bytes) in &recorded {
        town.inject("bo", *from, bytes);
        town.inject("ann", *from, bytes);
    }
    let after = (town.peer("bo").members(), town.peer("ann").members());
    assert_eq!(before, after);
    assert_eq!(town.events("bo")[told..], []);
}

#[test]
fn a_packet_recorded_in_another_life_gains_nothing_from_its_senders_proof() {
    let mut town = Town::new(24);
    town.move_in_with("ann", "town", key(9))
        .move_in_with("bo", "town", key(9))
        .run(secs(5));
    town.world.recorded = Some(Vec::new());
    town.with("ann", |peer, now| peer.publish(now, "once", b"1"))
        .unwrap();
    town.run(ms(5));
    let recorded = town.world.recorded.take().unwrap();
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
