//! Chaos with shared entries: whatever happens, healed nodes hold the same, and nothing acknowledged is lost.
//!
//! One seed decides everything; a failure names it. `DUI_SEEDS=A..B` runs
//! others than the default 0..40.

#![allow(clippy::unwrap_used)]

mod shelf;

use std::collections::{BTreeMap, BTreeSet};

use dui_core::{Acks, Change, Event, Kind, Mono, Ticket, Version, Write};
use dui_sim::{Dice, Place, Town, ms, secs};
use shelf::{equal, host, key};

/// How long a healed town may take to hold the same.
const EQUAL_WITHIN: u64 = 60;

/// A write that was tried.
#[derive(Clone, Debug)]
struct Deed {
    key: String,
    version: Version,
    /// `None`: a delete.
    value: Option<Vec<u8>>,
    place: Place,
    life: u32,
    ticket: Ticket,
    /// Members that hold it, once it is acknowledged.
    acked: usize,
}

/// What everybody holds in the end: version, and value unless deleted.
type Held = BTreeMap<String, (Version, Option<Vec<u8>>)>;

#[test]
fn whatever_happens_nothing_acknowledged_is_lost_and_all_hold_the_same() {
    for seed in seeds() {
        let mut story = Story::begin(seed);
        for _ in 0..60 {
            story.mishap();
            for _ in 0..story.dice.below(8) {
                story.write();
            }
            let pause = 20 + story.dice.below(2_000);
            story.town.run(ms(pause));
        }
        story.end();
        let judged = check(&story.held(), &story.deeds, story.wiped);
        let told = story.told_in_order();
        if let Err(broken) = judged.and(told) {
            panic!("{broken}, DUI_SEEDS={seed}..{}", seed + 1);
        }
    }
}

struct Story {
    town: Town,
    dice: Dice,
    names: Vec<String>,
    deeds: Vec<Deed>,
    /// Whose disk was lost, once in a story.
    wiped: Option<Place>,
    seed: u64,
}

impl Story {
    fn begin(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0xe27);
        let mut town = Town::new(seed);
        let names: Vec<String> = (0..3 + dice.below(6)).map(|n| format!("n{n}")).collect();
        for name in &names {
            town.move_in(name);
            // Clocks differ, within what is allowed.
            let ahead = dice.below(40_000) as i64 - 20_000;
            town.set_clock_ahead(name, ahead);
        }
        town.run(secs(3));
        let (deeds, wiped) = (Vec::new(), None);
        Self {
            town,
            dice,
            names,
            deeds,
            wiped,
            seed,
        }
    }

    fn living(&self) -> Vec<String> {
        let hosts = self.town.world.hosts().iter();
        let living = hosts.filter(|host| host.peer().is_some());
        living.map(|host| host.name.clone()).collect()
    }

    fn mishap(&mut self) {
        let living = self.living();
        let dead = self.names.iter().filter(|name| !living.contains(name));
        let dead: Vec<String> = dead.cloned().collect();
        let one = self.dice.pick(&living).cloned();
        let gone = self.dice.pick(&dead).cloned();
        match (self.dice.below(14), one, gone) {
            (0..=2, Some(one), _) if living.len() > 1 => {
                self.town.kill(&one);
            }
            (3..=5, _, Some(gone)) => {
                // On a full disk it would not.
                host(&mut self.town, &gone).disk.full = false;
                self.town.start(&gone);
            }
            (6, Some(one), _) => {
                let other = self.dice.pick(&self.names).cloned().unwrap_or_default();
                self.town.partition(&[&one, &other]);
            }
            (7, ..) => {
                self.town.heal();
            }
            (8, ..) => {
                let percent = self.dice.below(40) as u32;
                self.town.lose_percent(percent);
            }
            (9, Some(one), _) => {
                self.town.stop(&one).run(ms(500)).resume(&one);
            }
            (10, Some(one), _) => {
                let full = &mut host(&mut self.town, &one).disk.full;
                *full = !*full;
            }
            (11, _, Some(gone)) if self.wiped.is_none() => {
                let place = self.town.place(&gone);
                self.town.world.renew(place);
                self.wiped = Some(place);
            }
            _ => {}
        }
        self.note_answers();
    }

    fn write(&mut self) {
        let living = self.living();
        let Some(on) = self.dice.pick(&living).cloned() else {
            return;
        };
        let name = format!("k{}", self.dice.below(30));
        let bytes = match self.dice.below(12) {
            0 => 200_000,
            1 => 3_000,
            _ => self.dice.below(100),
        };
        let mut value = self.dice.draw().to_be_bytes().to_vec();
        value.resize(8 + bytes as usize, b'v');
        let acks = match self.dice.below(4) {
            0 => Acks::Count(2),
            1 => Acks::All,
            _ => Acks::Here,
        };
        let deletes = self.dice.chance(250_000);
        let entry_key = key(&name);
        let place = self.town.place(&on);
        let life = self.town.resident(&on).life();
        let taken = self.town.with(&on, |peer, now| {
            if deletes {
                peer.delete(now, &entry_key, acks).unwrap()
            } else {
                let write = Write::put(&entry_key, &value);
                Some(peer.write(now, write, acks).unwrap())
            }
        });
        if let Some(pending) = taken {
            self.deeds.push(Deed {
                key: name,
                version: pending.version,
                value: (!deletes).then_some(value),
                place,
                life,
                ticket: pending.ticket,
                acked: 0,
            });
        }
    }

    /// Which writes were acknowledged since.
    fn note_answers(&mut self) {
        for answer in std::mem::take(&mut self.town.world.deeds) {
            let Ok(written) = answer.result else { continue };
            let asked = (answer.place, answer.life, answer.ticket);
            let deed = self
                .deeds
                .iter_mut()
                .find(|deed| (deed.place, deed.life, deed.ticket) == asked);
            deed.unwrap().acked = written.acked;
        }
    }

    /// The last fault is over; all run, and hold the same soon.
    fn end(&mut self) {
        self.town.heal().lose_percent(0);
        let living = self.living();
        for name in self.names.clone() {
            host(&mut self.town, &name).disk.full = false;
            if !living.contains(&name) {
                self.town.start(&name);
            }
        }
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        let agreed = self
            .town
            .until(secs(EQUAL_WITHIN), |town| equal(town, &names));
        let states = names.iter().map(|name| shelf::shared(&self.town, name));
        let seed = self.seed;
        assert!(
            agreed.is_some(),
            "not equal, DUI_SEEDS={seed}..{}: {:#?}",
            seed + 1,
            states.collect::<Vec<_>>()
        );
        self.town.run(secs(1));
        self.note_answers();
    }

    /// What all hold, which is the same on disk.
    fn held(&mut self) -> Held {
        let name = self.names[0].clone();
        for other in &self.names {
            let disks = [&name, other].map(|name| {
                let entries = self.town.resident(name).disk.entries.values();
                let states = entries.map(|entry| (entry.key().to_owned(), entry.version()));
                states.collect::<BTreeSet<_>>()
            });
            assert_eq!(disks[0], disks[1], "disks differ, seed {}", self.seed);
        }
        let entries = self.town.resident(&name).disk.entries.values();
        let held = entries.map(|entry| {
            let value = (entry.kind() == Kind::Value).then(|| entry.value().to_vec());
            (entry.key().to_owned(), (entry.version(), value))
        });
        held.collect()
    }

    fn told_in_order(&self) -> Result<(), String> {
        let mut names = self.names.iter();
        names.try_for_each(|name| versions_never_go_back(self.town.events(name)))
    }
}

// --- checkers: each a sentence ---

fn check(held: &Held, deeds: &[Deed], wiped: Option<Place>) -> Result<(), String> {
    nothing_is_held_that_nobody_wrote(held, deeds)?;
    no_acknowledged_write_is_lost(held, deeds, wiped)
}

/// What is held of a key is one of the writes of it, with that write's value.
fn nothing_is_held_that_nobody_wrote(held: &Held, deeds: &[Deed]) -> Result<(), String> {
    let written: BTreeMap<(&str, Version), &Option<Vec<u8>>> = deeds
        .iter()
        .map(|deed| ((deed.key.as_str(), deed.version), &deed.value))
        .collect();
    for (key, (version, value)) in held {
        if written.get(&(key.as_str(), *version)) != Some(&value) {
            return Err(format!("{key} holds what nobody wrote, at {version:?}"));
        }
    }
    Ok(())
}

/// What is held of a key is at least as new as every acknowledged write of
/// it, deletes included; unless the only one who held that lost its disk.
fn no_acknowledged_write_is_lost(
    held: &Held,
    deeds: &[Deed],
    wiped: Option<Place>,
) -> Result<(), String> {
    for deed in deeds.iter().filter(|deed| deed.acked > 0) {
        let excused = deed.acked == 1 && wiped == Some(deed.place);
        let kept = held
            .get(&deed.key)
            .is_some_and(|(version, _)| *version >= deed.version);
        if !kept && !excused {
            let now = held.get(&deed.key).map(|(version, _)| version);
            return Err(format!(
                "an acknowledged write of {} is lost: {:?} of n{} in life {}, held: {now:?}",
                deed.key, deed.version, deed.place, deed.life
            ));
        }
    }
    Ok(())
}

/// In one life a node is never told an older version of a key after a newer
/// one: nothing that was deleted returns.
fn versions_never_go_back(told: &[(Mono, Event)]) -> Result<(), String> {
    let mut newest: BTreeMap<&str, Version> = BTreeMap::new();
    for (at, event) in told {
        let Event::SharedChanged { entry, .. } = event else {
            continue;
        };
        let version = entry.version();
        let known = newest.entry(entry.key()).or_insert(version);
        if version < *known {
            return Err(format!("{} went back at {at:?}", entry.key()));
        }
        *known = version;
    }
    Ok(())
}

#[test]
fn each_checker_catches_what_it_is_for() {
    let mut story = Story::begin(1);
    let (ann, bo) = (story.names[0].clone(), story.names[1].clone());
    shelf::put(&mut story.town, "k", &ann, "v");
    story.deeds.clear();
    story.town.run(ms(100));
    let entry = story.town.resident(&bo).disk.entries["k"].clone();
    let deed = Deed {
        key: "k".into(),
        version: entry.version(),
        value: Some(b"v".to_vec()),
        place: 0,
        life: 1,
        ticket: Ticket(1),
        acked: 1,
    };
    let held = story.held();
    assert!(check(&held, std::slice::from_ref(&deed), None).is_ok());
    let lost = Held::new();
    assert!(check(&lost, std::slice::from_ref(&deed), None).is_err());
    assert!(check(&lost, std::slice::from_ref(&deed), Some(0)).is_ok());
    assert!(check(&held, &[], None).is_err(), "nobody wrote it");
    let mut other = deed.clone();
    other.value = Some(b"w".to_vec());
    assert!(check(&held, &[other], None).is_err());
    let mut deleted = deed;
    deleted.version.timestamp.0 += 1;
    deleted.value = None;
    assert!(check(&held, &[deleted], None).is_err(), "it returned");

    let older = Event::SharedChanged {
        change: Change::Put,
        entry: entry.clone(),
    };
    let mut version = entry.version();
    version.timestamp.0 += 1;
    let newer = Event::SharedChanged {
        change: Change::Deleted,
        entry: dui_core::Entry::tombstone("k", version),
    };
    let at = Mono::ZERO;
    assert!(versions_never_go_back(&[(at, older.clone()), (at, newer.clone())]).is_ok());
    assert!(versions_never_go_back(&[(at, newer), (at, older)]).is_err());
}

/// Seeds to run: `DUI_SEEDS=A..B`, or a few.
fn seeds() -> std::ops::Range<u64> {
    let Ok(range) = std::env::var("DUI_SEEDS") else {
        return 0..40;
    };
    let (from, to) = range.split_once("..").expect("DUI_SEEDS=A..B");
    from.parse().expect("a number")..to.parse().expect("a number")
}
