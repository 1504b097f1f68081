//! Chaos: random towns under random faults, then a healed phase that must converge.
//!
//! One seed decides everything; a failure names it. `DUI_SEEDS=A..B` runs
//! others than the default 0..40.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dui_core::{Event, Keyring, Mono, Peer};
use dui_sim::{Town, key, ms, secs};

/// How long a healed town may take to agree again.
const AGREED_WITHIN: Duration = Duration::from_secs(30);

#[test]
fn whatever_happens_a_healed_town_agrees_again() {
    for seed in seeds() {
        let mut town = Town::new(seed);
        let mut fate = Fate(seed);
        let keys = if seed % 2 == 0 {
            Keyring::default()
        } else {
            key(7)
        };
        for place in 0..3 + fate.draw(10) {
            town.move_in_with(&format!("n{place}"), "town", keys.clone());
        }
        for _ in 0..25 {
            mishap(&mut town, &mut fate);
            town.run(ms(100 + fate.draw(4_000)));
        }
        recover(&mut town);
        let agreed = town.until(AGREED_WITHIN, all_agree);
        assert!(
            agreed.is_some(),
            "no agreement, DUI_SEEDS={seed}..{}: {}",
            seed + 1,
            views(&town)
        );
        for name in living(&town) {
            if let Err(broken) = check(town.events(name)) {
                panic!("{name}: {broken}, DUI_SEEDS={seed}..{}", seed + 1);
            }
        }
    }
}

fn mishap(town: &mut Town, fate: &mut Fate) {
    let all: Vec<String> = town
        .world
        .hosts()
        .iter()
        .map(|resident| resident.name.clone())
        .collect();
    let (living, dead): (Vec<String>, Vec<String>) = all.into_iter().partition(|name| {
        town.world
            .hosts()
            .iter()
            .any(|resident| resident.name == *name && resident.peer().is_some())
    });
    let one = fate.pick(&living).cloned();
    let other = fate.pick(&living).cloned();
    let gone = fate.pick(&dead).cloned();
    match (fate.draw(14), one, other, gone) {
        (0 | 1, Some(one), _, _) if living.len() > 2 => {
            town.kill(&one);
        }
        (2, _, _, Some(gone)) => {
            // Each life is judged by itself.
            if let Err(broken) = check(town.events(&gone)) {
                panic!("{gone}: {broken}");
            }
            town.start(&gone);
        }
        (3, _, _, Some(gone)) => {
            let name = format!("m{}", fate.draw(1_000_000));
            town.replace(&gone, &name);
        }
        (4, Some(one), _, _) => {
            town.stop(&one).run(ms(fate.draw(6_000))).resume(&one);
        }
        (5 | 6, Some(one), Some(other), _) if one != other => {
            town.cut_one_way(&one, &other);
        }
        (7, Some(one), Some(other), _) => {
            town.partition(&[&one, &other]);
        }
        (8, ..) => {
            town.heal();
        }
        (9, ..) => {
            town.lose_percent(fate.draw(30) as u32);
        }
        (10, Some(one), _, _) if living.len() > 2 => {
            town.with(&one, Peer::leave);
            town.run(ms(fate.draw(500))).kill(&one);
        }
        (11, Some(one), Some(other), _) if one != other => {
            town.swap(&one, &other);
        }
        (11, Some(one), _, Some(gone)) => {
            town.swap(&one, &gone);
        }
        (12, Some(one), ..) => {
            let address = ([127, 9, 9, fate.draw(250) as u8], 7781).into();
            // At once, or when everybody has missed it.
            if fate.draw(2) == 0 {
                town.partition(&[&one]).run(ms(fate.draw(12_000))).heal();
            }
            if town.world.at(address).is_none() {
                town.readdress(&one, address);
            }
        }
        (_, Some(one), ..) => {
            let payload = vec![0; fate.draw(3_000) as usize];
            town.with(&one, |peer, now| peer.publish(now, "chaos", &payload))
                .unwrap();
        }
        _ => {}
    }
}

fn recover(town: &mut Town) {
    town.heal();
    town.lose_percent(0);
}

/// Every living node lists exactly the living nodes as alive, each where it is,
/// and all hold the same events.
fn all_agree(town: &Town) -> bool {
    let living: Vec<&str> = living(town);
    let expected: BTreeSet<&str> = living.iter().copied().collect();
    let mut events = BTreeSet::new();
    living.iter().all(|name| {
        let alive = town.alive(name);
        let placed = |other: &&str| town.address_of(name, other) == Some(town.address(other));
        events.insert(format!("{:?}", town.peer(name).events()));
        alive.iter().map(String::as_str).collect::<BTreeSet<_>>() == expected
            && alive.len() == expected.len()
            && living.iter().all(placed)
    }) && events.len() <= 1
}

fn living(town: &Town) -> Vec<&str> {
    let living = town
        .world
        .hosts()
        .iter()
        .filter(|resident| resident.peer().is_some());
    living.map(|resident| resident.name.as_str()).collect()
}

fn views(town: &Town) -> String {
    let view = |name: &&str| {
        format!(
            "{name}: {:?}, {} events",
            town.alive(name),
            town.peer(name).events().len()
        )
    };
    living(town).iter().map(view).collect::<Vec<_>>().join("\n")
}

// --- checkers: each a sentence, over what one node was told ---

/// What one node was told in its lives.
type Told = [(Mono, Event)];

fn check(told: &Told) -> Result<(), String> {
    left_is_never_reported_as_failed(told)?;
    incarnations_never_go_back(told)?;
    an_event_is_told_at_most_once_per_life(told)
}

/// Who said goodbye in a life is not called failed in that life.
fn left_is_never_reported_as_failed(told: &Told) -> Result<(), String> {
    let mut left = BTreeSet::new();
    for (at, event) in told {
        match event {
            Event::MemberLeft(member) => {
                left.insert((member.id, member.incarnation));
            }
            Event::MemberFailed(member) if left.contains(&(member.id, member.incarnation)) => {
                return Err(format!("{} left and was failed at {at:?}", member.name));
            }
            _ => {}
        }
    }
    Ok(())
}

/// News of a member never carry a lower incarnation than earlier news of it.
fn incarnations_never_go_back(told: &Told) -> Result<(), String> {
    let mut highest = BTreeMap::new();
    for (at, event) in told {
        let (Event::MemberAlive(member)
        | Event::MemberSuspect(member)
        | Event::MemberFailed(member)
        | Event::MemberLeft(member)) = event
        else {
            continue;
        };
        let known = highest.entry(member.id).or_insert(member.incarnation);
        if member.incarnation < *known {
            return Err(format!("{} went back at {at:?}", member.name));
        }
        *known = member.incarnation;
    }
    Ok(())
}

/// A user event is told once; only a restarted node may hear it again.
fn an_event_is_told_at_most_once_per_life(told: &Told) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for (at, event) in told {
        match event {
            Event::User(event) if !seen.insert((event.timestamp, event.origin)) => {
                return Err(format!(
                    "an event of {:?} was told twice, at {at:?}",
                    event.origin
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn each_checker_catches_what_it_is_for() {
    let mut town = Town::of(1, ["ann", "bo"]);
    town.with("bo", |peer, now| peer.publish(now, "x", b""))
        .unwrap();
    town.run(secs(1));
    let member = town.peer("ann").member(town.id("bo")).unwrap();
    let mut older = member.clone();
    older.incarnation.0 -= 1;
    let event = town.peer("ann").events()[0].clone();
    let at = Mono::ZERO;
    let left_then_failed = [
        (at, Event::MemberLeft(member.clone())),
        (at, Event::MemberFailed(member.clone())),
    ];
    assert!(check(&left_then_failed).is_err());
    let back = [
        (at, Event::MemberAlive(member)),
        (at, Event::MemberAlive(older)),
    ];
    assert!(check(&back).is_err());
    let twice = [(at, Event::User(event.clone())), (at, Event::User(event))];
    assert!(check(&twice).is_err());
    assert!(check(town.events("ann")).is_ok());
}

/// Seeds to run: `DUI_SEEDS=A..B`, or a few.
fn seeds() -> std::ops::Range<u64> {
    let Ok(range) = std::env::var("DUI_SEEDS") else {
        return 0..40;
    };
    let (from, to) = range.split_once("..").expect("DUI_SEEDS=A..B");
    from.parse().expect("a number")..to.parse().expect("a number")
}

/// What befalls a town: SplitMix64.
struct Fate(u64);

impl Fate {
    fn draw(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let place = self.draw(from.len().max(1) as u64) as usize;
        from.get(place)
    }
}
