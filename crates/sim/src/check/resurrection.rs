//! Resurrection: who was told that a life ended by leaving, or that an id was forgotten, is never told that it is alive.

use std::collections::BTreeMap;

use dui_core::{Event, ForgetReason, Incarnation, NodeId};

use super::{Check, PerLife, Truth};
use crate::world::{News, World};

#[derive(Debug, Default)]
pub(super) struct Resurrection {
    /// Up to which incarnation an id is gone; forgotten ones are for good.
    gone: PerLife<BTreeMap<NodeId, Incarnation>>,
}

impl Check for Resurrection {
    fn rule(&self) -> &'static str {
        "resurrection"
    }

    fn hear(&mut self, _: &World, _: &Truth, news: &News) -> Result<(), String> {
        let gone = self.gone.of(news.place, news.life);
        match &news.event {
            Event::MemberLeft(member) => {
                gone.insert(member.id, member.incarnation);
            }
            Event::MemberForgotten {
                member,
                reason: ForgetReason::Operator,
            } => {
                gone.insert(member.id, Incarnation(u64::MAX));
            }
            Event::MemberAlive(member) if gone.get(&member.id) >= Some(&member.incarnation) => {
                return Err(format!(
                    "{} lists {} alive again at incarnation {}",
                    news.place, member.name, member.incarnation.0
                ));
            }
            _ => {}
        }
        Ok(())
    }
}
