//! Incarnations: as long as a node lists a member, what it tells of it never carries a lower incarnation than before.

use std::collections::BTreeMap;

use dui_core::{Event, Incarnation, NodeId};

use super::{Check, PerLife, Truth, subject};
use crate::world::{News, World};

#[derive(Debug, Default)]
pub(super) struct Incarnations {
    highest: PerLife<BTreeMap<NodeId, Incarnation>>,
}

impl Check for Incarnations {
    fn rule(&self) -> &'static str {
        "incarnations"
    }

    fn hear(&mut self, _: &World, _: &Truth, news: &News) -> Result<(), String> {
        let Some(member) = subject(&news.event) else {
            return Ok(());
        };
        let highest = self.highest.of(news.place, news.life);
        if let Event::MemberForgotten { .. } = news.event {
            highest.remove(&member.id);
            return Ok(());
        }
        let before = highest.insert(member.id, member.incarnation);
        if before > Some(member.incarnation) {
            return Err(format!(
                "at {}, {} went back to incarnation {}",
                news.place, member.name, member.incarnation.0
            ));
        }
        Ok(())
    }
}
