//! Told: which leader a watch has told of, and whether it is another one now.
//!
//! What makes a leader is in several places: news of the managers, members
//! that fail, and what a manager finds out by silence alone, which is no event
//! at all. So a watch compares what is with what it told: whenever something
//! happened that may matter, and once a second.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use dui_client::Leader;
use dui_node::Leadership;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::App;
use crate::ask::ask;
use crate::convert;

/// Between two looks without a reason.
const LOOK: Duration = Duration::from_secs(1);

/// What a watch of the leader knows.
#[derive(Debug)]
pub(super) struct Told {
    /// Of the leader, term and cluster that were told last. Part of the ids
    /// of this run's events: who comes back with one is told no less and no
    /// more.
    pub(super) print: Option<u64>,
    /// It may be another one now.
    pub(super) due: bool,
    looks: Interval,
}

impl Told {
    /// Of somebody who has seen nothing yet: a reset comes first.
    pub(super) fn fresh() -> Self {
        let mut looks = interval_at(Instant::now() + LOOK, LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            print: None,
            due: false,
            looks,
        }
    }

    /// Of somebody who comes back and was told of the leader with this print,
    /// if of any.
    pub(super) fn resumed(print: Option<u64>) -> Self {
        Self {
            print,
            due: true,
            ..Self::fresh()
        }
    }

    /// What was told before is void.
    pub(super) fn reset(&mut self) {
        self.print = None;
        self.due = true;
    }

    /// Returns when it is time to look.
    pub(super) async fn wait(&mut self) {
        self.looks.tick().await;
        self.due = true;
    }

    /// The leader, if it is another one than was told. `None`: the node does
    /// not answer.
    pub(super) async fn look(&mut self, app: &App) -> Option<Option<Leader>> {
        if !std::mem::take(&mut self.due) {
            return Some(None);
        }
        let leadership = ask(app.handle().leader()).await.ok()?;
        let print = Some(print(&leadership));
        if print == self.print {
            return Some(None);
        }
        self.print = print;
        Some(Some(convert::leader(&leadership)))
    }
}

/// Two leaders, terms or clusters have two. Compared within one process alone.
fn print(leadership: &Leadership) -> u64 {
    let leader = leadership.leader.as_ref().map(|leader| leader.id.0);
    let news = leadership.news.as_ref();
    let news = news.map(|news| (news.cluster_id, news.term));
    let mut hasher = DefaultHasher::new();
    (leader, news).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use dui_node::LeaderState;
    use dui_node::core::{LeaderNews, NodeId};

    use super::*;

    #[test]
    fn only_another_leader_term_or_cluster_is_news() {
        let led = |cluster_id, term, view| Leadership {
            state: LeaderState::Electing,
            leader: None,
            news: Some(LeaderNews {
                cluster_id,
                revision: 7,
                leader: NodeId(1),
                term,
                elected_at: 4,
                view,
                voters: Vec::new(),
                ephemeral: true,
            }),
            why: None,
        };
        let first = print(&led(1, 1, 1));
        assert_eq!(print(&led(1, 1, 2)), first);
        assert_ne!(print(&led(1, 2, 1)), first);
        assert_ne!(print(&led(2, 1, 1)), first);
    }
}
