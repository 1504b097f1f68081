//! Papers: what SWIM and Lifeguard claim, one story for each, cited.
//!
//! SWIM: Das, Gupta, Motivala, DSN 2002. Lifeguard: Dadgar, Phillips, Currey,
//! arXiv:1707.00788. Nobody refuses and no stream ends in these towns: only
//! probes tell who lives.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use dui_core::wire::{Body, MemberInfo, Packet, Rumor, RumorId, Subject};
use dui_core::{Event, Incarnation, MemberState, MessageCounter, Mono, NodeId, RunId};
use dui_sim::{Town, ms, secs};

const PERIOD: Duration = Duration::from_secs(1);

/// A town in which silence is all that a crash leaves behind.
fn silent_town(seed: u64, members: usize) -> Town {
    let mut town = Town::of_size(seed, members);
    town.world.network.evidence = false;
    town
}

fn clear(packet: &Packet) -> Vec<u8> {
    let mut bytes = vec![1, 0, 0, 0, 0];
    bytes.extend(packet.encode(&"town".parse().unwrap()));
    bytes
}

/// When `viewer` was first told of `member` like this since `since`.
fn told(
    town: &Town,
    viewer: &str,
    member: NodeId,
    since: Mono,
    state: MemberState,
) -> Option<Mono> {
    let events = town.events(viewer).iter().filter(|(at, _)| *at >= since);
    let mut times = events.filter_map(|(at, event)| {
        let (Event::MemberAlive(news)
        | Event::MemberSuspect(news)
        | Event::MemberFailed(news)
        | Event::MemberLeft(news)) = event
        else {
            return None;
        };
        (news.id == member && news.state == state).then_some(*at)
    });
    times.next()
}

// --- SWIM ---

/// Section 2: "strong completeness: crash-failure of any group member is
/// detected by all non-faulty members".
#[test]
fn swim_every_crash_is_known_to_every_member_that_lives() {
    for seed in 0..5 {
        let mut town = silent_town(seed, 12);
        let (dead, living): (Vec<_>, Vec<_>) = (0..12)
            .map(|n| format!("n{n}"))
            .partition(|name| ["n1", "n5", "n6", "n11"].contains(&&**name));
        for name in &dead {
            town.kill(name);
        }
        let known = town.until(secs(30), |town| {
            living.iter().all(|viewer| {
                dead.iter()
                    .all(|name| town.belief(viewer, name) == Some(MemberState::Failed))
            })
        });
        assert!(known.is_some(), "seed {seed}");
        for viewer in &living {
            assert_eq!(town.alive(viewer).len(), living.len(), "seed {seed}");
        }
    }
}

/// Section 3.1: indirect probes "via K members" keep a member that one cannot
/// reach from being doubted, and a relay hands the ack on.
#[test]
fn swim_who_answers_others_is_not_doubted_by_one() {
    let mut town = silent_town(3, 6);
    town.cut("n0", "n1");
    let before = town.peer("n0").counters().probes_sent;
    town.run(secs(60));
    assert!(town.peer("n0").counters().probes_sent > before);
    for viewer in 0..6 {
        let viewer = format!("n{viewer}");
        let doubted = town
            .events(&viewer)
            .iter()
            .any(|(_, event)| matches!(event, Event::MemberSuspect(_)));
        assert!(!doubted, "{viewer} doubts somebody");
    }
}

/// Section 4.2: "Alive overrides Suspect of a lower incarnation, Suspect
/// overrides Alive of its own or a lower one, Confirm overrides both": a table
/// of what is held, what is heard, and what is held then. A confirmed end is
/// of one incarnation here: a member that was cut off comes back with a higher.
#[test]
fn swim_incarnations_decide_which_news_win() {
    use MemberState::{Alive, Failed, Left, Suspect};
    let table = [
        ((Alive, 0), (Alive, 0), (Alive, 0)),
        ((Alive, 0), (Alive, 1), (Alive, 1)),
        ((Alive, 1), (Alive, 0), (Alive, 1)),
        ((Alive, 0), (Suspect, 0), (Suspect, 0)),
        ((Alive, 0), (Suspect, 1), (Suspect, 1)),
        ((Alive, 1), (Suspect, 0), (Alive, 1)),
        ((Alive, 0), (Failed, 0), (Failed, 0)),
        ((Alive, 1), (Failed, 0), (Alive, 1)),
        ((Suspect, 0), (Alive, 0), (Suspect, 0)),
        ((Suspect, 0), (Alive, 1), (Alive, 1)),
        ((Suspect, 1), (Alive, 0), (Suspect, 1)),
        ((Suspect, 0), (Failed, 0), (Failed, 0)),
        ((Suspect, 1), (Failed, 0), (Suspect, 1)),
        ((Failed, 0), (Suspect, 0), (Failed, 0)),
        ((Failed, 0), (Alive, 0), (Failed, 0)),
        ((Failed, 0), (Alive, 1), (Alive, 1)),
        ((Failed, 0), (Left, 0), (Left, 0)),
        ((Left, 0), (Failed, 0), (Left, 0)),
        ((Left, 0), (Suspect, 0), (Left, 0)),
        ((Left, 0), (Alive, 0), (Left, 0)),
        ((Left, 0), (Alive, 1), (Alive, 1)),
    ];
    for (case, (held, heard, then)) in table.into_iter().enumerate() {
        let mut town = Town::of(1, ["ann", "bo", "cy"]);
        // cy would have its say, and bo might ask it.
        town.partition(&["ann"]);
        let told = town.peer("ann").member(town.id("cy")).unwrap();
        let base = told.incarnation.0;
        let mut counter = 100;
        for (state, offset) in [(Alive, held.1), held, heard] {
            counter += 1;
            let packet = rumor_of(&town, "cy", state, Incarnation(base + offset), counter);
            let bo = town.address("bo");
            town.inject("ann", bo, &clear(&packet));
        }
        let now = town.peer("ann").member(town.id("cy")).unwrap();
        assert_eq!(
            (now.state, now.incarnation.0 - base),
            then,
            "case {case}: {held:?} hears {heard:?}"
        );
    }
}

/// News of `whom` as its origin would tell them, in a packet from bo.
fn rumor_of(
    town: &Town,
    whom: &str,
    state: MemberState,
    incarnation: Incarnation,
    counter: u64,
) -> Packet {
    let member = town.peer("ann").member(town.id(whom)).unwrap();
    let subject = Subject {
        id: member.id,
        incarnation,
    };
    let (origin, run) = match state {
        MemberState::Alive | MemberState::Left => (member.id, member.run),
        MemberState::Suspect | MemberState::Failed => (town.id("bo"), RunId(9)),
    };
    let body = match state {
        MemberState::Alive => Body::Alive(MemberInfo {
            id: member.id,
            run: member.run,
            incarnation,
            name: member.name,
            role: member.role,
            address: member.address,
            version: member.version.clone(),
            messages: member.messages,
            cookie: 0,
        }),
        MemberState::Suspect => Body::Suspect(vec![subject]),
        MemberState::Failed => Body::Failed(vec![subject]),
        MemberState::Left => Body::Left(subject),
    };
    let mut packet = Packet::new(town.id("bo"));
    let id = RumorId {
        origin,
        run,
        counter: MessageCounter(counter),
    };
    packet.rumors.push(Rumor { id, body });
    packet
}

/// Section 4.2: a suspect that hears of it says that it is alive, under an
/// incarnation that only it may raise, and all take it back.
#[test]
fn swim_a_suspicion_is_refuted_by_a_higher_incarnation_and_by_nobody_else() {
    let mut town = Town::of(2, ["ann", "bo", "cy", "dee"]);
    let bo = town.id("bo");
    let before = town.peer("bo").this().member.incarnation;
    let since = town.now();
    accuse(&mut town, NodeId(99), "bo", "cy", "ann");
    assert_eq!(town.belief("ann", "bo"), Some(MemberState::Suspect));
    town.run(secs(1));
    assert_eq!(town.peer("bo").this().member.incarnation, before.next());
    for viewer in ["ann", "cy", "dee"] {
        let member = town.peer(viewer).member(bo).unwrap();
        assert_eq!(
            (member.state, member.incarnation),
            (MemberState::Alive, before.next())
        );
        assert_eq!(told(&town, viewer, bo, since, MemberState::Failed), None);
    }
    assert_eq!(
        town.peer("cy").this().member.incarnation,
        town.peer("ann").member(town.id("cy")).unwrap().incarnation
    );
}

/// `accuser` doubts `whom`, says `from` to `to`.
fn accuse(town: &mut Town, accuser: NodeId, whom: &str, from: &str, to: &str) {
    let mut packet = Packet::new(town.id(from));
    let id = RumorId {
        origin: accuser,
        run: RunId(accuser.0),
        counter: MessageCounter(1),
    };
    let id_of = town.id(whom);
    let incarnation = match town.peer(to).member(id_of) {
        Some(member) => member.incarnation,
        None => town.peer(whom).this().member.incarnation,
    };
    let subject = Subject {
        id: id_of,
        incarnation,
    };
    packet.rumors.push(Rumor {
        id,
        body: Body::Suspect(vec![subject]),
    });
    let address = town.address(from);
    town.inject(to, address, &clear(&packet));
}

/// Section 4.3: with round-robin targets "the worst-case delay between
/// successive selections of the same target is 2N - 1 protocol periods".
#[test]
fn swim_nobody_is_left_unprobed_by_anybody_for_2n_minus_1_periods() {
    const MEMBERS: usize = 9;
    let mut town = Town::of_size(4, MEMBERS);
    town.run(secs(5));
    let began = town.now();
    let mut last: BTreeMap<(SocketAddr, SocketAddr), Mono> = BTreeMap::new();
    let mut worst = Duration::ZERO;
    town.world.recorded = Some(Vec::new());
    while town.now() < began + PERIOD * 100 {
        town.run(ms(50));
        let now = town.now();
        for (from, to, bytes) in town.world.recorded.replace(Vec::new()).unwrap() {
            let packet = Packet::decode(&bytes[5..], &"town".parse().unwrap()).unwrap();
            if packet.ping.is_some() {
                let before = last.insert((from, to), now).unwrap_or(began);
                worst = worst.max(now - before);
            }
        }
    }
    assert_eq!(last.len(), MEMBERS * (MEMBERS - 1), "every pair");
    assert!(worst <= PERIOD * (2 * MEMBERS as u32 - 1), "{worst:?}");
    let open = last.values().map(|at| town.now() - *at).max().unwrap();
    assert!(open <= PERIOD * (2 * MEMBERS as u32 - 1), "{open:?}");
}

/// Section 3.2 and 5: the time until somebody detects a crash does not grow
/// with the group (SWIM expects e/(e-1) periods; probing evenly, one).
#[test]
fn swim_the_first_detection_takes_as_long_in_a_large_group_as_in_a_small_one() {
    for members in [5, 20, 60] {
        for seed in 0..4 {
            let mut town = silent_town(seed, members);
            town.kill("n3");
            let n3 = town.id("n3");
            let noticed = town.until(secs(10), |town| {
                (0..members).filter(|n| *n != 3).any(|n| {
                    town.peer(&format!("n{n}")).member(n3).unwrap().state == MemberState::Suspect
                })
            });
            // Its turn comes within a period or two (phases are random), and a verdict takes half of one.
            assert!(
                noticed.is_some_and(|took| took <= ms(2_600)),
                "{members}, seed {seed}: {noticed:?}"
            );
        }
    }
}

// --- Lifeguard ---

/// Section IV-A, LHA-Probe: missed acks and nacks make a node doubt itself and
/// wait longer; answers bring its confidence back.
#[test]
fn lifeguard_who_hears_nobody_doubts_itself_and_gives_others_more_time() {
    let mut town = silent_town(1, 8);
    let health = |town: &Town| town.peer("n0").this().awareness;
    let probes = |town: &Town| town.peer("n0").counters().probes_failed;
    assert_eq!(health(&town), 0);
    town.world.network.nic_mut(0).loss_in_ppm = 1_000_000;
    let before = probes(&town);
    let worse = town.until(secs(30), |town| health(town) >= 4);
    assert!(worse.is_some());
    let verdicts = probes(&town) - before;
    assert!(verdicts >= 4, "each unanswered probe counts: {verdicts}");
    town.heal();
    let well = town.until(secs(30), |town| health(town) == 0);
    assert!(well.is_some(), "each answer counts");
    let n0 = town.id("n0");
    for viewer in 0..8 {
        for (_, event) in town.events(&format!("n{viewer}")) {
            let wrong = matches!(event, Event::MemberFailed(member) if member.id != n0);
            assert!(!wrong, "n{viewer} fails one that is well: {event:?}");
        }
    }
}

/// The same: the verdict of a node that scores s comes 1 + s times as late.
#[test]
fn lifeguard_a_sick_observer_accuses_later_than_a_well_one() {
    let verdict = |sick: bool| -> Duration {
        let mut town = silent_town(7, 3);
        if sick {
            // It refutes three doubts of itself: it must have been slow.
            for accuser in 0..3 {
                accuse(&mut town, NodeId(50 + accuser), "n0", "n1", "n0");
            }
            assert_eq!(town.peer("n0").this().awareness, 3);
        }
        let (n1, since) = (town.id("n1"), town.now());
        town.kill("n1").kill("n2");
        let probes = town.peer("n0").counters().probes_sent;
        town.until(secs(5), |town| {
            town.peer("n0").counters().probes_sent > probes
        })
        .unwrap();
        let asked = town.now();
        town.until(secs(20), |town| {
            let suspects = |id| told(town, "n0", id, since, MemberState::Suspect).is_some();
            suspects(n1) || suspects(town.id("n2"))
        })
        .unwrap();
        town.now() - asked
    };
    let (well, sick) = (verdict(false), verdict(true));
    assert_eq!(well, ms(500));
    assert_eq!(sick, well * 4);
}

/// Section IV-B, LHA-Suspicion: "the timeout starts at its maximum and falls,
/// logarithmically, with each independent suspicion" to its minimum at three more.
#[test]
fn lifeguard_each_independent_accuser_shortens_a_suspicion() {
    let waits: Vec<Duration> = (1..=5).map(wait_with_accusers).collect();
    assert_eq!(waits[0], ms(6_400), "one voice may be a bad link");
    assert!(
        waits.is_sorted_by(|longer, shorter| longer >= shorter),
        "{waits:?}"
    );
    let expected = |others: f64| 6_400.0 - 3_200.0 * (others + 1.0).ln() / 4.0_f64.ln();
    for (others, wait) in waits[..4].iter().enumerate() {
        let off = wait.as_secs_f64() * 1_000.0 - expected(others as f64);
        assert!(off.abs() < 1.0, "{others} more: {wait:?}");
    }
    assert_eq!(waits[3], ms(3_200), "four are evidence");
    assert_eq!(waits[4], waits[3], "more add nothing");
}

/// How long a member that is silent is doubted by one that hears of so many accusers.
fn wait_with_accusers(accusers: u128) -> Duration {
    let mut town = silent_town(9, 6);
    for name in ["n1", "n2", "n3", "n4", "n5"] {
        town.stop(name);
    }
    let (n0, n5, since) = (town.id("n0"), town.id("n5"), town.now());
    // The first is n0 itself, which will find so and is not counted twice.
    for accuser in 0..accusers {
        let accuser = if accuser == 0 {
            n0
        } else {
            NodeId(1_000 + accuser)
        };
        accuse(&mut town, accuser, "n5", "n1", "n0");
    }
    let doubted = told(&town, "n0", n5, since, MemberState::Suspect).unwrap();
    town.until(secs(10), |town| {
        told(town, "n0", n5, since, MemberState::Failed).is_some()
    })
    .unwrap();
    town.now() - doubted
}

/// Section IV-C, buddy system: whoever probes a suspect tells it so with the
/// ping, so that it can refute although every rumor passed it by.
#[test]
fn lifeguard_a_suspect_learns_of_it_from_the_next_ping() {
    for seed in 0..5 {
        let mut town = silent_town(seed, 3);
        let n1 = town.id("n1");
        let before = town.peer("n1").this().member.incarnation;
        // Every rumor and its repairs (10 + 20 + … + 320 ms) are lost on the way to it.
        town.cut("n0", "n1").cut("n2", "n1");
        let since = town.now();
        accuse(&mut town, NodeId(77), "n1", "n2", "n0");
        town.run(ms(700)).heal();
        assert_eq!(
            town.peer("n1").this().member.incarnation,
            before,
            "it does not know, seed {seed}"
        );
        let refuted = town.until(secs(3), |town| {
            town.belief("n0", "n1") == Some(MemberState::Alive)
        });
        assert!(
            refuted.is_some_and(|took| took <= PERIOD * 2),
            "{refuted:?}, seed {seed}"
        );
        assert_eq!(told(&town, "n0", n1, since, MemberState::Failed), None);
    }
}
