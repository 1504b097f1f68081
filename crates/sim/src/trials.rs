//! Trials: long hardships of a large cluster, told in figures.
//!
//! What chaos does in seconds to a few nodes is done here for hours to many:
//! a partition of a day, links that carry one way only, a host that loses most
//! of its packets. The view has to settle, and to agree when all is well again.

use std::collections::BTreeMap;
use std::time::Duration;

use dui_core::{Event, MemberState, Mono};

use crate::check::disagreement;
use crate::town::secs;
use crate::world::{Habitat, World};

/// How often agreement is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(10);
const MINUTE: Duration = Duration::from_secs(60);

/// What befalls the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    /// Half from half.
    Partition,
    /// One host's words reach every other one only; another hears every other one only.
    OneWay,
    /// Of the packets to one host 80 % are lost.
    Loss,
}

/// What nodes told of others in a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Minute {
    /// Suspicions.
    pub suspected: u64,
    /// Members that were called failed.
    pub failed: u64,
    /// Of these, by others than the first host of others than it.
    pub wronged: u64,
    /// Members that came, or came back.
    pub alive: u64,
}

/// How it went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Until all saw all after the start.
    pub joined_after: Duration,
    /// Until the view was told to be as it then stayed, to the end of the
    /// trial; `None`: it was told nothing at all.
    pub settled_after: Option<Duration>,
    /// What was told in each minute of the trial.
    pub minutes: Vec<Minute>,
    /// Members that a node holds alive at its end: how many nodes hold so many.
    pub alive: BTreeMap<usize, usize>,
    /// Until all agreed when it was over; `None`: not within two minutes.
    pub agreed_after: Option<Duration>,
}

impl Trial {
    /// Each by its name on the command line.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "partition" => Some(Self::Partition),
            "one-way" => Some(Self::OneWay),
            "loss" => Some(Self::Loss),
            _ => None,
        }
    }

    /// Lets it befall so many nodes for so long. `None`: they did not even
    /// find each other within a minute.
    pub fn run(self, nodes: usize, span: Duration, seed: u64) -> Option<Outcome> {
        let mut world = World::new(seed);
        for place in 0..nodes {
            let place = world.build(Habitat::named(&format!("n{place}")));
            world.start(place);
        }
        let agree = |world: &World| disagreement(world).is_none();
        let joined_after = world.until_every(LOOK_EVERY, MINUTE, agree)?;
        world.run(secs(5));
        world.news.clear();
        self.begin(&mut world, nodes);
        let (minutes, settled_after) = endure(&mut world, span);
        let mut alive = BTreeMap::new();
        for peer in world.hosts().iter().filter_map(|host| host.peer()) {
            let members = peer.members().into_iter();
            let live = members.filter(|member| member.state == MemberState::Alive);
            *alive.entry(live.count()).or_default() += 1;
        }
        world.network.heal();
        Some(Outcome {
            joined_after,
            settled_after,
            minutes,
            alive,
            agreed_after: world.until_every(LOOK_EVERY, MINUTE * 2, agree),
        })
    }

    fn begin(self, world: &mut World, nodes: usize) {
        match self {
            Trial::Partition => {
                for place in nodes / 2..nodes {
                    world.network.nic_mut(place).group = 1;
                }
            }
            Trial::OneWay => {
                for other in (2..nodes).step_by(2) {
                    world.network.link_mut(0, other).cut = true;
                    world.network.link_mut(other, 1).cut = true;
                }
            }
            Trial::Loss => {
                world.network.nic_mut(0).loss_in_ppm = 800_000;
            }
        }
    }
}

/// Lets time pass; what was told in each minute, and when the last of it was
/// that changed who is a member.
fn endure(world: &mut World, span: Duration) -> (Vec<Minute>, Option<Duration>) {
    let began = world.now();
    let (mut minutes, mut last): (Vec<Minute>, Option<Mono>) = (Vec::new(), None);
    while world.now() < began + span {
        let left = began + span - world.now();
        world.run(left.min(MINUTE));
        let mut minute = Minute::default();
        for news in std::mem::take(&mut world.news) {
            match news.event {
                Event::MemberSuspect(_) => minute.suspected += 1,
                Event::MemberFailed(member) => {
                    minute.failed += 1;
                    let concerns_first = news.place == 0 || member.id == world.host(0).id;
                    minute.wronged += u64::from(!concerns_first);
                    last = Some(news.at);
                }
                Event::MemberAlive(_) => minute.alive += 1,
                _ => {}
            }
        }
        minutes.push(minute);
    }
    (minutes, last.map(|at| at - began))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_settles_in_two_halves_and_heals() {
        let outcome = Trial::Partition.run(12, secs(300), 1).expect("they meet");
        assert_eq!(outcome.alive, BTreeMap::from([(6, 12)]));
        assert!(outcome.settled_after.is_some_and(|after| after < MINUTE));
        let later = outcome.minutes[1..].iter();
        assert!(later.clone().count() == 4 && later.map(|m| m.failed).sum::<u64>() == 0);
        assert!(outcome.agreed_after.is_some_and(|after| after < secs(10)));
    }

    #[test]
    fn whom_half_of_the_others_do_not_hear_stays() {
        let outcome = Trial::OneWay.run(12, secs(300), 2).expect("they meet");
        assert_eq!(outcome.alive, BTreeMap::from([(12, 12)]));
        assert_eq!(outcome.settled_after, None, "{:?}", outcome.minutes);
        assert!(outcome.joined_after > Duration::ZERO);
    }
}
