//! Leavers: a life that somebody was told has left is never told to that one as failed, and one that left in calm to nobody.

use std::collections::BTreeMap;

use dui_core::{Event, Incarnation, NodeId};

use super::{Check, PerLife, Truth};
use crate::world::{News, World};

#[derive(Debug, Default)]
pub(super) struct Leavers {
    left: PerLife<BTreeMap<NodeId, Incarnation>>,
}

impl Check for Leavers {
    fn rule(&self) -> &'static str {
        "leavers"
    }

    fn hear(&mut self, _: &World, truth: &Truth, news: &News) -> Result<(), String> {
        let left = self.left.of(news.place, news.life);
        match &news.event {
            Event::MemberLeft(member) => {
                left.insert(member.id, member.incarnation);
            }
            Event::MemberFailed(member) => {
                let heard = left.get(&member.id) >= Some(&member.incarnation);
                let calmly = truth.left_calmly.get(&member.id) >= Some(&member.incarnation);
                if heard || calmly {
                    return Err(format!("{} fails {}, which left", news.place, member.name));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
