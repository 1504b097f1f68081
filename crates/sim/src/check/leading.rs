//! Leading: no process ever goes back to older leader news, each tells what it holds, and in the end all of a cluster hold the newest that any of them was told.

use std::collections::BTreeMap;

use dui_core::{Event, LeaderNews};

use super::{Check, PerLife, Truth, cluster_of};
use crate::world::{News, World};

#[derive(Debug, Default)]
pub(super) struct Leading {
    told: PerLife<Option<LeaderNews>>,
}

impl Check for Leading {
    fn rule(&self) -> &'static str {
        "leading"
    }

    fn hear(&mut self, _: &World, _: &Truth, news: &News) -> Result<(), String> {
        let Event::LeaderNews(told) = &news.event else {
            return Ok(());
        };
        let before = self.told.of(news.place, news.life);
        if let Some(before) = before
            && !told.is_newer_than(before)
        {
            let (at, from, to) = (news.place, before.revision, told.revision);
            return Err(format!("{at} went from revision {from} to {to}"));
        }
        *before = Some(told.clone());
        Ok(())
    }

    fn look(&mut self, world: &World, _: &Truth) -> Result<(), String> {
        for (place, host) in world.hosts().iter().enumerate() {
            if let Some(peer) = host.peer()
                && peer.leader_news() != self.told.of(place, host.life()).as_ref()
            {
                let name = &host.name;
                return Err(format!("{name} holds other leader news than it told"));
            }
        }
        Ok(())
    }

    fn end(&mut self, world: &World, truth: &Truth) -> Result<(), String> {
        self.look(world, truth)?;
        let mut newest: BTreeMap<String, LeaderNews> = BTreeMap::new();
        let running = || {
            world
                .hosts()
                .iter()
                .filter_map(|host| Some((host, host.peer()?)))
        };
        for (host, peer) in running() {
            if let Some(news) = peer.leader_news() {
                let newest = newest
                    .entry(cluster_of(host))
                    .or_insert_with(|| news.clone());
                if news.is_newer_than(newest) {
                    *newest = news.clone();
                }
            }
        }
        for (host, peer) in running() {
            let (holds, newest) = (peer.leader_news(), newest.get(&cluster_of(host)));
            if holds != newest {
                let revision = |news: Option<&LeaderNews>| news.map(|news| news.revision);
                let (name, holds, newest) = (&host.name, revision(holds), revision(newest));
                return Err(format!("{name} holds {holds:?}, the newest is {newest:?}"));
            }
        }
        Ok(())
    }
}
