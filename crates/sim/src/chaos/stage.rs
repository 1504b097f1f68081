//! Stage: plays a plan in a world, watches over its rules, and judges the end.

use std::collections::BTreeMap;
use std::time::Duration;

use dui_core::{Event, Keyring, Mono, NodeId};

use super::{Case, Plan};
use crate::check::{
    Checkers, PROMPT, Truth, VERDICT, Violation, agreed_within, cluster_of, disagreement,
};
use crate::dice::Dice;
use crate::host::{Pause, Place};
use crate::town::{key, ms, secs};
use crate::world::{Habitat, World};

/// How often agreement is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long all have to stay agreed. Rumors older than five seconds are
/// dropped with the next one, so this shows that, too.
const STAYS_AGREED: Duration = Duration::from_secs(6);

/// What a run was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// Hosts.
    pub nodes: usize,
    /// Faults.
    pub faults: usize,
    /// How long the healed world took to agree.
    pub agreed_after: Duration,
    /// How long it all took there.
    pub virtual_time: Duration,
    /// Inputs that nodes handled.
    pub inputs: u64,
    /// Fingerprint of everything that happened, if it was traced.
    pub fingerprint: Option<String>,
}

/// What ends by itself.
#[derive(Clone, Copy, Debug)]
pub(super) enum Relief {
    GoOn(Place, u32, Mono),
    Quicken(Place),
}

/// A world in which a plan is played.
#[derive(Debug)]
pub struct Stage {
    /// To be looked at, and traced.
    pub world: World,
    pub(super) plan: Plan,
    dice: Dice,
    checkers: Checkers,
    pub(super) truth: Truth,
    reliefs: BTreeMap<(Mono, u64), Relief>,
    serial: u64,
    look_at: Mono,
    /// By how much every clock was set ahead as time passed.
    pub(super) hours: u64,
    pub(super) published: u64,
    /// Of the newest leader news that anybody was told.
    pub(super) revision: u64,
}

impl Stage {
    /// Hosts, and no process yet.
    pub fn new(case: &Case) -> Self {
        let plan = case.plan();
        let mut dice = Dice::new(case.seed ^ 0xc4a0_5000);
        let mut world = World::new(case.seed);
        #[cfg(feature = "bugs")]
        {
            world.bug = case.bug;
        }
        world.network.latency = plan.latency;
        world.network.multicast = plan.multicast;
        world.network.evidence = plan.evidence;
        let keys = |byte| {
            if plan.keyed {
                key(byte)
            } else {
                Keyring::default()
            }
        };
        for place in 0..plan.nodes + plan.strangers {
            let strange = place >= plan.nodes;
            let other_name = strange && (plan.same_key || !plan.keyed);
            world.build(Habitat {
                cluster: if other_name { "other" } else { "town" }.into(),
                keys: keys(if strange && !plan.same_key { 8 } else { 7 }),
                data_dir: dice.below(100) < plan.durable_percent,
                ..Habitat::named(&format!("n{place}"))
            });
        }
        Self {
            look_at: world.now(),
            world,
            plan,
            dice,
            checkers: Checkers::new(),
            truth: Truth::default(),
            reliefs: BTreeMap::new(),
            serial: 0,
            hours: 0,
            published: 0,
            revision: 0,
        }
    }

    /// Plays the plan.
    ///
    /// # Errors
    /// The first rule that was broken.
    pub fn play(mut self) -> Result<Played, Violation> {
        self.play_through()
    }

    /// As [`Stage::play`], and leaves the world to be looked at.
    ///
    /// # Errors
    /// The first rule that was broken.
    pub fn play_through(&mut self) -> Result<Played, Violation> {
        let began = self.world.now();
        self.raise_curtain()?;
        let faults = self.plan.faults.clone();
        for (_, wait, fault) in &faults {
            self.run(*wait)?;
            self.befall(fault)?;
        }
        let agreed_after = self.heal_and_agree()?;
        self.finale()?;
        Ok(Played {
            nodes: self.plan.nodes + self.plan.strangers,
            faults: faults.len(),
            agreed_after,
            virtual_time: self.world.now() - began,
            inputs: self.world.traffic().inputs,
            fingerprint: self.world.trace.fingerprint(),
        })
    }

    // --- acts ---

    fn raise_curtain(&mut self) -> Result<(), Violation> {
        let all = self.world.hosts().len() as u64;
        for place in 0..self.world.hosts().len() {
            if !self.plan.multicast {
                let first = self.first().map(|place| self.world.host(place).address);
                let first = first.collect();
                self.world.join(place, first);
            }
            self.start(place);
            let apart = self.plan.start_within.as_nanos() as u64 / all;
            let wait = Duration::from_nanos(self.dice.below(apart + 1));
            self.run(wait)?;
        }
        let wait = ms(self.dice.below(6_000));
        self.run(wait)
    }

    fn heal_and_agree(&mut self) -> Result<Duration, Violation> {
        self.heal();
        let bound = agreed_within(self.world.hosts().len());
        let healed = self.world.now();
        loop {
            let after = self.world.now() - healed;
            let Some(what) = self.disagreement() else {
                match self.stay_agreed()? {
                    None => return Ok(after),
                    // A probe that was under way when all healed has its say.
                    Some(_) if self.world.now() - healed < VERDICT => continue,
                    Some(what) => {
                        return Err(self.violation("agreement", format!("{what}, having agreed")));
                    }
                }
            };
            if after >= bound {
                let what = format!("{what}, {} s after the last fault", bound.as_secs());
                return Err(self.violation("agreement", what));
            }
            self.run(LOOK_EVERY)?;
        }
    }

    /// What they do not agree on after all.
    fn stay_agreed(&mut self) -> Result<Option<String>, Violation> {
        let end = self.world.now() + STAYS_AGREED;
        while self.world.now() < end {
            self.run(secs(1))?;
            let relapse = self.disagreement();
            if relapse.is_some() {
                return Ok(relapse);
            }
        }
        Ok(None)
    }

    fn finale(&mut self) -> Result<(), Violation> {
        for place in 0..self.world.hosts().len() {
            self.publish(place, 20);
        }
        self.run(PROMPT)?;
        if let Some(what) = self.disagreement() {
            return Err(
                self.violation("rumors", format!("{what}, {PROMPT:?} after the last event"))
            );
        }
        self.checkers.end(&self.world, &self.truth)
    }

    /// Every fault ends.
    pub(super) fn heal(&mut self) {
        self.world.note("all", &"heals");
        self.world.network.heal();
        self.reliefs.clear();
        for place in 0..self.world.hosts().len() {
            self.world.network.nic_mut(place).delay = Duration::ZERO;
            self.go_on(place);
            let address = self.world.host(place).address;
            if self.world.host(place).outer != address {
                self.move_home(place);
            }
            let ahead_ms = (self.hours * 3_600_000) as i64;
            let host = self.world.host_mut(place);
            host.cost = Duration::ZERO;
            host.disk.full = false;
            host.clock.set_ahead(ahead_ms);
            self.world.set_drift(place, 0);
            self.world.power_on(place);
        }
        if !self.plan.multicast {
            // Whom newcomers are told of is there again.
            let first: Vec<Place> = self.first().collect();
            for place in first {
                self.start(place);
            }
        }
        self.truth.calm_since = Some(self.world.now());
    }

    // --- processes ---

    pub(super) fn start(&mut self, place: Place) {
        if self.world.start(place) {
            let host = self.world.host(place);
            let incarnation = host.peer().map(|peer| peer.this().member.incarnation);
            let started = (self.world.now(), incarnation.unwrap_or_default());
            self.truth.clusters.insert(host.id, cluster_of(host));
            self.truth.started.insert(place, started);
            self.truth.woken.remove(&place);
        }
    }

    fn move_home(&mut self, place: Place) {
        let home = self.world.host(place).address;
        match self.world.at(home) {
            // Somebody else has it now: its own process has to see to that.
            Some(_) => {
                let outer = self.world.host(place).outer;
                self.world.kill(place);
                self.world.move_to(place, outer);
                self.start(place);
            }
            None => self.world.readdress(place, home),
        }
    }

    // --- time ---

    pub(super) fn relieve(&mut self, after: Duration, relief: Relief) {
        self.serial += 1;
        let at = self.world.now() + after;
        self.reliefs.insert((at, self.serial), relief);
    }

    fn go_on(&mut self, place: Place) {
        if self
            .world
            .host(place)
            .pause()
            .is_some_and(|pause| pause != Pause::No)
        {
            self.world.pause(place, Pause::No);
        }
    }

    pub(super) fn run(&mut self, span: Duration) -> Result<(), Violation> {
        let end = self.world.now() + span;
        while let Some(((at, _), relief)) = self.reliefs.first_key_value().map(|(k, v)| (*k, *v))
            && at <= end
        {
            self.run_until(at)?;
            self.reliefs.pop_first();
            match relief {
                Relief::GoOn(place, life, since) if self.world.host(place).life() == life => {
                    let now = self.world.now();
                    self.truth.woken.insert(place, (now, now - since));
                    self.go_on(place);
                }
                Relief::GoOn(..) => {}
                Relief::Quicken(place) => self.world.host_mut(place).cost = Duration::ZERO,
            }
        }
        self.run_until(end)
    }

    fn run_until(&mut self, end: Mono) -> Result<(), Violation> {
        while self.world.now() < end {
            let stop = end.min(self.look_at);
            while self.world.step(stop) {
                if !self.world.news.is_empty() {
                    self.listen()?;
                }
            }
            self.world.run(stop.saturating_sub(self.world.now()));
            if stop == self.look_at {
                self.look_at += secs(1);
                self.checkers.look(&self.world, &self.truth)?;
            }
        }
        Ok(())
    }

    pub(super) fn listen(&mut self) -> Result<(), Violation> {
        let heard = std::mem::take(&mut self.world.news);
        for news in &heard {
            if let Event::Left { acked, .. } = news.event
                && acked > 0
                && self.truth.calm_for(news.at) >= secs(10)
            {
                let id: NodeId = self.world.host(news.place).id;
                if let Some((_, incarnation)) = self.truth.started.get(&news.place) {
                    self.truth.left_calmly.insert(id, *incarnation);
                }
            }
            self.checkers.hear(&self.world, &self.truth, news)?;
        }
        Ok(())
    }

    fn disagreement(&self) -> Option<String> {
        let hosts = self.world.hosts().iter();
        if hosts.filter(|host| host.is_leaving()).count() > 0 {
            return Some("somebody still leaves".into());
        }
        disagreement(&self.world)
    }

    fn violation(&self, rule: &'static str, what: String) -> Violation {
        Violation {
            rule,
            at: self.world.now(),
            what,
        }
    }
}
