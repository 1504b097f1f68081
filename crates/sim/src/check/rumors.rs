//! Rumors: a user event is told to a process at most once, and in the end every live node has been told each that it holds; in calm, at once.

use std::collections::BTreeSet;
use std::time::Duration;

use dui_core::{Event, NodeId, Timestamp};

use super::{Check, PerLife, Truth};
use crate::world::{News, World};

/// The last repair of a rumor goes out after 10·(1 + 2 + … + 32) ms, and is
/// pulled from there; probes, which would bring it too, need a second.
pub const PROMPT: Duration = Duration::from_millis(900);

#[derive(Debug, Default)]
pub(super) struct Rumors {
    told: PerLife<BTreeSet<(Timestamp, NodeId)>>,
}

impl Check for Rumors {
    fn rule(&self) -> &'static str {
        "rumors"
    }

    fn hear(&mut self, _: &World, _: &Truth, news: &News) -> Result<(), String> {
        if let Event::User(event) = &news.event {
            let told = self.told.of(news.place, news.life);
            if !told.insert((event.timestamp, event.origin)) {
                return Err(format!("{} was told {} twice", news.place, event.name));
            }
        }
        Ok(())
    }

    fn end(&mut self, world: &World, _: &Truth) -> Result<(), String> {
        for (place, host) in world.hosts().iter().enumerate() {
            let Some(peer) = host.peer() else {
                continue;
            };
            let told = self.told.of(place, host.life());
            let untold = peer.events().into_iter();
            if let Some(event) = untold
                .into_iter()
                .find(|event| !told.contains(&(event.timestamp, event.origin)))
            {
                return Err(format!(
                    "{} holds {} and never told it",
                    host.name, event.name
                ));
            }
        }
        Ok(())
    }
}
