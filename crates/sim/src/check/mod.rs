//! Check: one rule a file, held against everything that happens.
//!
//! A checker hears all news, looks at the world once a second, and once more
//! at the end. It knows the truth, which no node does: who runs, who can be
//! reached, since when nothing disturbs. Each is shown to catch a mistake made
//! on purpose (`tests/bugs.rs`).

mod agreement;
mod answering;
mod bounds;
mod incarnations;
mod leading;
mod leavers;
mod resurrection;
mod rumors;
mod strangers;
mod waking;

use std::collections::BTreeMap;
use std::fmt;

use dui_core::{Event, Incarnation, Member, Mono, NodeId};

use crate::host::{Host, Place};
use crate::world::{News, World};

pub use agreement::{VERDICT, agreed_within, disagreement};
pub use rumors::PROMPT;

/// What the simulation knows besides the world as it is now.
#[derive(Debug, Default)]
pub struct Truth {
    /// Since when nothing is lost, cut, stalled or out of place; `None`:
    /// something is.
    pub calm_since: Option<Mono>,
    /// Of each host: when its present process started, and as which incarnation.
    pub started: BTreeMap<Place, (Mono, Incarnation)>,
    /// Of each host that ever moved while its process ran: when it last did.
    pub moved: BTreeMap<Place, Mono>,
    /// Of each host: when its process was last let go on, after how long.
    pub woken: BTreeMap<Place, (Mono, Mono)>,
    /// The cluster of every node there ever was.
    pub clusters: BTreeMap<NodeId, String>,
    /// Lives that ended by an orderly leave in calm, and since when.
    pub left_calmly: BTreeMap<NodeId, Incarnation>,
}

impl Truth {
    /// For how long it has been calm.
    pub fn calm_for(&self, now: Mono) -> Mono {
        self.calm_since.map_or(Mono::ZERO, |since| now - since)
    }
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: &'static str,
    /// When, in true time.
    pub at: Mono,
    /// How.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.at.as_secs_f64();
        write!(f, "{} at {secs:.3} s: {}", self.rule, self.what)
    }
}

/// One rule.
trait Check {
    /// Its name.
    fn rule(&self) -> &'static str;

    /// A node told something.
    fn hear(&mut self, _world: &World, _truth: &Truth, _news: &News) -> Result<(), String> {
        Ok(())
    }

    /// A second has passed.
    fn look(&mut self, _world: &World, _truth: &Truth) -> Result<(), String> {
        Ok(())
    }

    /// All faults are over, all agree, and everybody has said one thing more.
    fn end(&mut self, _world: &World, _truth: &Truth) -> Result<(), String> {
        Ok(())
    }
}

/// All rules.
pub struct Checkers(Vec<Box<dyn Check>>);

impl Checkers {
    /// As they are at the start of a world.
    pub fn new() -> Self {
        Self(vec![
            Box::new(resurrection::Resurrection::default()),
            Box::new(incarnations::Incarnations::default()),
            Box::new(answering::Answering),
            Box::new(leavers::Leavers::default()),
            Box::new(rumors::Rumors::default()),
            Box::new(bounds::Bounds::default()),
            Box::new(strangers::Strangers),
            Box::new(waking::Waking),
            Box::new(leading::Leading::default()),
        ])
    }

    /// Holds news against every rule.
    ///
    /// # Errors
    /// The first rule that they break.
    pub fn hear(&mut self, world: &World, truth: &Truth, news: &News) -> Result<(), Violation> {
        self.each(world, |check| check.hear(world, truth, news))
    }

    /// Holds the world against every rule.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn look(&mut self, world: &World, truth: &Truth) -> Result<(), Violation> {
        self.each(world, |check| check.look(world, truth))
    }

    /// Holds the end against every rule.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn end(&mut self, world: &World, truth: &Truth) -> Result<(), Violation> {
        self.each(world, |check| check.end(world, truth))
    }

    fn each(
        &mut self,
        world: &World,
        mut hold: impl FnMut(&mut dyn Check) -> Result<(), String>,
    ) -> Result<(), Violation> {
        for check in &mut self.0 {
            if let Err(what) = hold(&mut **check) {
                return Err(Violation {
                    rule: check.rule(),
                    at: world.now(),
                    what,
                });
            }
        }
        Ok(())
    }
}

impl Default for Checkers {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Checkers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules = self.0.iter().map(|check| check.rule());
        f.debug_list().entries(rules).finish()
    }
}

/// What makes two nodes members of one cluster: its name, and the keys.
pub fn cluster_of(host: &Host) -> String {
    format!("{}, keys {}", host.cluster, host.keys.describe())
}

/// The member that news are about, if about one.
fn subject(event: &Event) -> Option<&Member> {
    match event {
        Event::MemberAlive(member)
        | Event::MemberSuspect(member)
        | Event::MemberFailed(member)
        | Event::MemberLeft(member)
        | Event::MemberForgotten { member, .. } => Some(member),
        _ => None,
    }
}

/// What a checker remembers for each process, anew with each life.
#[derive(Debug)]
struct PerLife<T>(BTreeMap<Place, (u32, T)>);

impl<T> Default for PerLife<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Default> PerLife<T> {
    fn of(&mut self, place: Place, life: u32) -> &mut T {
        let kept = self.0.entry(place).or_default();
        if kept.0 != life {
            *kept = (life, T::default());
        }
        &mut kept.1
    }
}
