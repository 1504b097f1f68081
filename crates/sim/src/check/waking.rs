//! Waking: a node that was stalled for longer than a moment accuses nobody of its own account in its first second awake.

use std::time::Duration;

use dui_core::Event;

use super::{Check, Truth};
use crate::world::{News, World};

/// From this on a stall counts as a sleep (with some room for a timer that
/// would not have been due before).
const SLEPT: Duration = Duration::from_millis(2_600);
/// How long it keeps its judgement to itself.
const QUIET: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Waking;

impl Check for Waking {
    fn rule(&self) -> &'static str {
        "waking"
    }

    fn hear(&mut self, world: &World, truth: &Truth, news: &News) -> Result<(), String> {
        let (Event::MemberSuspect(member) | Event::MemberFailed(member)) = &news.event else {
            return Ok(());
        };
        let Some((woken, slept)) = truth.woken.get(&news.place) else {
            return Ok(());
        };
        let just_woken = *slept >= SLEPT && news.at - *woken < QUIET;
        let host = world.host(news.place);
        let why = host.peer().and_then(|peer| peer.why(member.id));
        let by_itself = why.is_some_and(|why| {
            why.story
                .last()
                .is_some_and(|line| line.by == Some(host.id))
        });
        if just_woken && by_itself {
            return Err(format!("{} woke and accuses {}", host.name, member.name));
        }
        Ok(())
    }
}
