//! Stalls: overloaded machines, whose processes stop for seconds or get to run now and then only.
//!
//! Each of them is well for a while, then either stops for 2 to 10 s (a
//! hypervisor, a full disk) or starves for 10 s: 50 to 500 ms without CPU,
//! then 10 to 100 ms with it, and so on.

use std::collections::BTreeMap;
use std::time::Duration;

use dui_core::Mono;

use crate::dice::Dice;
use crate::host::{Pause, Place};
use crate::world::World;

const STARVES_FOR: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug)]
enum Condition {
    Well,
    Stopped,
    /// Without CPU, until the hunger ends.
    Starved {
        until: Mono,
    },
    /// With CPU for a moment.
    Fed {
        until: Mono,
    },
}

/// The overloaded ones, and what happens to them next.
#[derive(Debug)]
pub(super) struct Stalls {
    dice: Dice,
    conditions: BTreeMap<Place, Condition>,
    planned: BTreeMap<(Mono, Place), Condition>,
}

impl Stalls {
    pub(super) fn new(dice: Dice) -> Self {
        Self {
            dice,
            conditions: BTreeMap::new(),
            planned: BTreeMap::new(),
        }
    }

    /// From now on this one is overloaded.
    pub(super) fn add(&mut self, now: Mono, place: Place) {
        self.conditions.insert(place, Condition::Well);
        self.plan_trouble(now, place);
    }

    pub(super) fn has(&self, place: Place) -> bool {
        self.conditions.contains_key(&place)
    }

    pub(super) fn next_at(&self) -> Option<Mono> {
        self.planned.keys().next().map(|(at, _)| *at)
    }

    /// Does what is due.
    pub(super) fn act(&mut self, world: &mut World) {
        let now = world.now();
        while let Some(first) = self.planned.first_entry()
            && first.key().0 <= now
        {
            let ((_, place), condition) = first.remove_entry();
            self.enter(world, place, condition);
        }
    }

    fn enter(&mut self, world: &mut World, place: Place, condition: Condition) {
        let now = world.now();
        self.conditions.insert(place, condition);
        match condition {
            Condition::Well => {
                world.pause(place, Pause::No);
                self.plan_trouble(now, place);
            }
            Condition::Stopped => {
                world.pause(place, Pause::Stopped);
                let ends = now + self.between(2_000, 10_000);
                self.planned.insert((ends, place), Condition::Well);
            }
            Condition::Starved { until } => {
                world.pause(place, Pause::Stopped);
                let ends = now + self.between(50, 500);
                self.planned.insert((ends, place), Condition::Fed { until });
            }
            Condition::Fed { until } => {
                world.pause(place, Pause::No);
                let next = if now < until {
                    Condition::Starved { until }
                } else {
                    Condition::Well
                };
                let ends = now + self.between(10, 100);
                self.planned.insert((ends, place), next);
            }
        }
    }

    fn plan_trouble(&mut self, now: Mono, place: Place) {
        let at = now + self.between(1_000, 10_000);
        let trouble = if self.dice.chance(500_000) {
            Condition::Stopped
        } else {
            let until = at + STARVES_FOR;
            Condition::Starved { until }
        };
        self.planned.insert((at, place), trouble);
    }

    fn between(&mut self, min_ms: u64, max_ms: u64) -> Duration {
        Duration::from_millis(min_ms + self.dice.below(max_ms - min_ms + 1))
    }
}
