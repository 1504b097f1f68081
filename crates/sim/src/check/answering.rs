//! Answering: a member that runs and can be reached by everybody is failed by nobody, and superseded by nobody where it lives.
//!
//! A doubt that began before is over by then: the suspect is told within a
//! probe or two, and who doubts alone, which may last longer, asks it again in
//! every round.

use std::time::Duration;

use dui_core::{Event, ForgetReason, Member};

use super::{Check, Truth};
use crate::world::{News, World};

/// Longest suspicion of up to 1,000 members, and three probes to be told and refute.
const SETTLED: Duration = Duration::from_millis(6_400 + 3_000);
/// How long a claim on an address is kept: one that was made before a move may
/// be answered by who lived there then.
const CLAIM_KEPT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Answering;

impl Check for Answering {
    fn rule(&self) -> &'static str {
        "answering"
    }

    fn hear(&mut self, world: &World, truth: &Truth, news: &News) -> Result<(), String> {
        let now = world.now();
        match &news.event {
            Event::MemberFailed(member)
                if truth.calm_for(now) >= SETTLED && lived_for(world, truth, member) >= SETTLED =>
            {
                Err(format!(
                    "{} fails {}, which answers",
                    news.place, member.name
                ))
            }
            Event::MemberForgotten {
                member,
                reason: ForgetReason::Superseded,
            } if lives_at_its_address(world, truth, member)
                && lived_for(world, truth, member) >= CLAIM_KEPT =>
            {
                Err(format!(
                    "{} says that another lives where {} does",
                    news.place, member.name
                ))
            }
            _ => Ok(()),
        }
    }
}

/// For how long the process runs whose life this is; zero if it does not.
fn lived_for(world: &World, truth: &Truth, member: &Member) -> Duration {
    let hosts = world.hosts().iter().enumerate();
    let lives = hosts.filter(|(_, host)| host.id == member.id && host.runs() && !host.is_leaving());
    let since = lives.filter_map(|(place, _)| truth.started.get(&place));
    let of_this_life = since.filter(|(_, incarnation)| member.incarnation >= *incarnation);
    let lived = of_this_life.map(|(since, _)| world.now() - *since);
    lived.min().unwrap_or_default()
}

fn lives_at_its_address(world: &World, truth: &Truth, member: &Member) -> bool {
    world.at(member.address).is_some_and(|place| {
        let host = world.host(place);
        let moved = truth.moved.get(&place);
        let settled = moved.is_none_or(|moved| world.now() - *moved >= CLAIM_KEPT);
        host.id == member.id && host.address == host.outer && settled
    })
}
