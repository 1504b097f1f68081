//! Scale: a cluster of thousands boots, spreads news, idles, loses members, and is measured.
//!
//! The stages follow one another: all nodes start at once and join through
//! the first; events are published one by one; nothing happens for a while;
//! members are killed, leave and join, each time one after another, or all
//! newcomers at once. What each node learns and when comes out as [`Figures`].
//! Nothing in them depends on the machine that simulates.

mod figures;
mod memberlist;
mod plot;
mod stages;
mod stalls;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dui_core::{Event, Incarnation, Key, Keyring, Mono, NodeId, Tuning};

use crate::dice::Dice;
use crate::host::Place;
use crate::network::Latency;
use crate::trace::Trace;
use crate::world::{Habitat, News, World};
pub use figures::{Figures, Tally, Times};
pub use memberlist::memberlist;
pub use plot::plot;
use stalls::Stalls;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Scale {
    /// Nodes that start at once.
    pub nodes: usize,
    /// Whether they know one another from the start, instead of joining
    /// through the first.
    pub acquainted: bool,
    /// Decides all chance.
    pub seed: u64,
    /// One-way delay of each packet.
    pub latency: Latency,
    /// Packets lost, per million.
    pub loss_ppm: u32,
    /// Events published, one after another.
    pub events: usize,
    /// How long nothing happens then.
    pub idle: Duration,
    /// Nodes that stall and starve all the time once the cluster is up.
    pub stalled: usize,
    /// Members killed, one after another.
    pub kill: usize,
    /// Members that leave, one after another.
    pub leave: usize,
    /// Nodes that join at once, at the end.
    pub join: usize,
    /// Whether dead processes can be told: ICMP, resets, ends of streams.
    /// `false`: their hosts vanish with them.
    pub evidence: bool,
    /// Whether packets are sealed.
    pub sealed: bool,
    /// CPU time that an input costs a node.
    pub input_cost: Duration,
    /// CPU time that each member costs that a node comes to know, besides.
    pub merge_cost: Duration,
    /// Time between probes.
    pub probe_interval: Duration,
    /// Other constants of the protocol.
    pub tuning: Tuning,
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            nodes: 100,
            acquainted: false,
            seed: 1,
            latency: Latency::Constant(Duration::from_millis(1)),
            loss_ppm: 0,
            events: 10,
            idle: Duration::from_secs(10),
            stalled: 0,
            kill: 1,
            leave: 1,
            join: 1,
            evidence: true,
            sealed: true,
            input_cost: Duration::from_micros(5),
            merge_cost: Duration::from_micros(20),
            probe_interval: Duration::from_secs(1),
            tuning: Tuning::default(),
        }
    }
}

/// How far a simulation is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// What goes on.
    pub stage: &'static str,
    /// How much of it is done, 0 to 1.
    pub done: f64,
    /// Virtual time.
    pub now: Mono,
}

/// Steps between two reports of progress.
const STEPS_PER_REPORT: u64 = 20_000;

/// Simulates, and tells now and then how far it is.
pub fn run(scale: &Scale, progress: &mut dyn FnMut(Progress)) -> Figures {
    let mut run = Run::new(scale, progress);
    run.boot();
    run.spread();
    run.idle();
    run.kill();
    run.leave();
    run.join();
    run.finish()
}

/// A simulation under way.
struct Run<'a> {
    scale: &'a Scale,
    world: World,
    dice: Dice,
    began: Mono,
    /// Ids of all nodes that ever started.
    places: BTreeMap<NodeId, Place>,
    /// Nodes that run and are not to be killed or to leave.
    living: Vec<Place>,
    stalls: Stalls,
    /// Lives that somebody called failed although they went on.
    false_failed: BTreeSet<(NodeId, Incarnation)>,
    /// The same of suspicions.
    false_suspected: BTreeSet<(NodeId, Incarnation)>,
    figures: Figures,
    progress: &'a mut dyn FnMut(Progress),
    steps: u64,
    stage: &'static str,
}

impl<'a> Run<'a> {
    fn new(scale: &'a Scale, progress: &'a mut dyn FnMut(Progress)) -> Self {
        let mut world = World::new(scale.seed);
        world.network.latency = scale.latency;
        world.network.loss_ppm = scale.loss_ppm;
        world.network.multicast = false;
        world.network.evidence = scale.evidence;
        world.probe_interval = scale.probe_interval;
        world.tuning = scale.tuning;
        world.trace = Trace::inputs();
        let mut dice = world.dice.fork();
        Self {
            stalls: Stalls::new(dice.fork()),
            began: world.now(),
            world,
            dice,
            places: BTreeMap::new(),
            living: Vec::new(),
            false_failed: BTreeSet::new(),
            false_suspected: BTreeSet::new(),
            figures: Figures::of(scale),
            scale,
            progress,
            steps: 0,
            stage: "",
        }
    }

    fn finish(mut self) -> Figures {
        let stalled = |(id, _): &&(NodeId, Incarnation)| self.stalls.has(self.places[id]);
        let apart = |lives: &BTreeSet<(NodeId, Incarnation)>| {
            let sick = lives.iter().filter(stalled).count();
            (lives.len() - sick, sick)
        };
        (self.figures.false_failed, self.figures.stalled_failed) = apart(&self.false_failed);
        (self.figures.false_suspected, self.figures.stalled_suspected) =
            apart(&self.false_suspected);
        self.figures.virtual_time = self.world.now() - self.began;
        self.figures.trace_hash = self.world.trace.fingerprint().unwrap_or_default();
        self.figures.sort();
        self.figures
    }

    /// Builds and starts a node that joins through another.
    fn start(&mut self, through: Option<Place>) -> Place {
        let name = format!("n{}", self.world.hosts().len());
        let keys = if self.scale.sealed {
            key()
        } else {
            Keyring::default()
        };
        let place = self.world.build(Habitat {
            keys,
            ..Habitat::named(&name)
        });
        let joins = through.map(|other| self.world.host(other).address);
        let host = self.world.host_mut(place);
        host.joins.extend(joins);
        host.cost = self.scale.input_cost;
        host.merge_cost = self.scale.merge_cost;
        self.places.insert(host.id, place);
        self.living.push(place);
        self.world.start(place);
        place
    }

    /// One of the living that is well, and lives no more for what follows.
    fn take_one(&mut self) -> Option<Place> {
        let well: Vec<usize> = (1..self.living.len())
            .filter(|at| !self.stalls.has(self.living[*at]))
            .collect();
        let at = *self.dice.pick(&well)?;
        Some(self.living.swap_remove(at))
    }

    fn begin(&mut self, stage: &'static str) {
        self.stage = stage;
        self.report(0.0);
    }

    fn report(&mut self, done: f64) {
        let now = self.world.now();
        (self.progress)(Progress {
            stage: self.stage,
            done,
            now,
        });
    }

    /// Lets time pass until `heard` says that nothing is missing any more;
    /// it is told each news. `false`: that did not happen within the span.
    fn until(&mut self, span: Duration, mut heard: impl FnMut(&World, &News) -> bool) -> bool {
        let start = self.world.now();
        let end = start + span;
        loop {
            let next = self.stalls.next_at().map_or(end, |at| at.min(end));
            if !self.world.step(next) {
                let gap = next.saturating_sub(self.world.now());
                self.world.run(gap);
                self.stalls.act(&mut self.world);
                if next == end {
                    return false;
                }
            }
            self.steps += 1;
            if self.steps.is_multiple_of(STEPS_PER_REPORT) {
                let passed = (self.world.now() - start).as_secs_f64();
                self.report(passed / span.as_secs_f64());
            }
            if self.world.news.is_empty() {
                continue;
            }
            let mut complete = false;
            let mut news = std::mem::take(&mut self.world.news);
            for told in news.drain(..) {
                self.look_for_mistakes(&told);
                complete |= heard(&self.world, &told);
            }
            // Its room is used again.
            if self.world.news.is_empty() {
                self.world.news = news;
            }
            if complete {
                return true;
            }
        }
    }

    fn pass(&mut self, span: Duration) {
        self.until(span, |_, _| false);
    }

    fn look_for_mistakes(&mut self, news: &News) {
        let (member, lives) = match &news.event {
            Event::MemberFailed(member) => (member, &mut self.false_failed),
            Event::MemberSuspect(member) => (member, &mut self.false_suspected),
            _ => return,
        };
        let place = self.places.get(&member.id);
        if place.is_some_and(|place| self.living.contains(place)) {
            lives.insert((member.id, member.incarnation));
        }
    }
}

fn key() -> Keyring {
    let key = Key::from_slice(&[7; 32]).expect("32 bytes are a key");
    Keyring::new(vec![key]).expect("one key is a keyring")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Scale {
        Scale {
            nodes: 30,
            loss_ppm: 20_000,
            kill: 2,
            leave: 2,
            join: 3,
            ..Scale::default()
        }
    }

    #[test]
    fn every_stage_is_measured_and_one_seed_gives_one_result() {
        let figures = run(&small(), &mut |_| ());
        assert_eq!(figures.join.len(), 30);
        assert_eq!(figures.spread.len(), 10 * 29);
        assert_eq!(figures.detect.len(), 29 + 28);
        assert_eq!(figures.leave.len(), 27 + 26);
        assert_eq!(figures.newcomers.len(), 3);
        assert_eq!(figures.false_failed, 0);
        assert!(figures.bytes_per_node_s > 100.0);
        assert_eq!(figures, run(&small(), &mut |_| ()));
        let other = Scale { seed: 2, ..small() };
        assert_ne!(figures.trace_hash, run(&other, &mut |_| ()).trace_hash);
    }

    #[test]
    fn who_knows_the_others_from_the_start_needs_no_boot() {
        let acquainted = Scale {
            acquainted: true,
            ..small()
        };
        let figures = run(&acquainted, &mut |_| ());
        assert_eq!(figures.join.len(), 0);
        assert_eq!(figures.spread.len(), 10 * 29);
        let last = figures.spread.last().expect("news");
        assert!(*last < Duration::from_secs(1), "{last:?}");
        assert_eq!(figures.detect.len(), 29 + 28);
    }

    /// The checker would see a mistake: without suspicion a node that stalls
    /// for seconds is dead to the others.
    #[test]
    fn whoever_is_called_dead_and_lives_is_counted() {
        let mut hasty = Scale {
            stalled: 3,
            idle: Duration::from_secs(60),
            ..small()
        };
        hasty.tuning.suspicion_min = Duration::from_millis(1);
        hasty.tuning.suspicion_max_times = 1;
        let figures = run(&hasty, &mut |_| ());
        assert!(figures.stalled_failed > 0);
        assert!(figures.stalled_suspected >= figures.stalled_failed);
    }
}
