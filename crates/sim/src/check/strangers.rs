//! Strangers: no node of another cluster is ever told of.

use super::{Check, Truth, cluster_of, subject};
use crate::world::{News, World};

#[derive(Debug)]
pub(super) struct Strangers;

impl Check for Strangers {
    fn rule(&self) -> &'static str {
        "strangers"
    }

    fn hear(&mut self, world: &World, truth: &Truth, news: &News) -> Result<(), String> {
        let Some(member) = subject(&news.event) else {
            return Ok(());
        };
        let theirs = truth.clusters.get(&member.id);
        let ours = cluster_of(world.host(news.place));
        if theirs != Some(&ours) {
            return Err(format!(
                "{} of {ours} lists {} of {theirs:?}",
                news.place, member.name
            ));
        }
        Ok(())
    }
}
