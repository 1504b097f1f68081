//! Rule: what a leader does while it leads, as [`reign`](dui_consensus::reign) says.

use std::sync::atomic::Ordering;
use std::time::Duration;

use dui_consensus::group::{Beat, Group};
use dui_consensus::reign::{Act, Realm};
use dui_core::NodeId;
use tokio::time::Instant;

use super::super::lead;
use super::Task;
use crate::clock;

/// A disk that takes longer now and then is worth a word.
const SLOW_FSYNC: Duration = Duration::from_millis(10);
const SLOW_AGAIN: Duration = Duration::from_secs(600);

impl Task {
    /// Everything a leader may have to do next.
    pub(super) async fn rule(&mut self) {
        let around = self.around().await;
        let (Some(part), Some(reign)) = (&mut self.part, &mut self.reign) else {
            return;
        };
        let beat = part.pulse.beat();
        if !beat.leads {
            return;
        }
        let agreed = part.agreed.borrow().clone();
        let group = part.group.clone();
        let realm = Realm {
            me: self.setup.me,
            cluster: group.cluster(),
            beat: &beat,
            state: &agreed.state,
            rules: &self.setup.rules,
            ephemeral: self.setup.dir.is_none(),
            wall_ms: clock::wall_ms(),
            departing: self.departing,
            abandons: self.recovery.abandons == Some(group.cluster()),
        };
        let acts = reign.look(&realm, &self.founding, &self.course, &around);
        let term = reign.term();
        for act in acts {
            match act {
                Act::LookIn(wait) => self.look_soon(wait),
                Act::Write(round, command) => {
                    lead::write(group.clone(), command, (round, term), self.sender.clone());
                }
                Act::Take(step) => lead::take(group.clone(), step, term, self.sender.clone()),
                Act::Tell => self.tell_news(&agreed).await,
                Act::Ask(ids) => self.ask_standings(ids),
                Act::HandOver(heir) => hand_over(group.clone(), heir),
            }
        }
        if beat.voters.len() > 1 {
            self.doubt(&beat);
            self.watch_the_disk(&group);
        }
    }

    /// Whether this manager knows better than the news.
    pub(super) fn doubt(&self, beat: &Beat) {
        let doubt = self.course.doubts(beat);
        self.front.doubt.store(doubt, Ordering::Relaxed);
    }

    /// Every record waits for the disks of a majority.
    fn watch_the_disk(&mut self, group: &Group) {
        if self.slow_told.is_some_and(|at| at.elapsed() < SLOW_AGAIN) {
            return;
        }
        let p99 = group.store_metrics().fsync_time_p99;
        if p99 > SLOW_FSYNC {
            self.slow_told = Some(Instant::now());
            tracing::warn!(
                target: "dui", event = "slow_disk", fsync_p99_ms = p99.as_millis() as u64,
                remedy = "every record waits for it: give the data directory a faster disk, or \
                          one of its own",
            );
        }
    }
}

fn hand_over(group: Group, heir: NodeId) {
    tokio::spawn(async move {
        // It shows in the next look whether that worked.
        let _ = group.hand_over(heir).await;
    });
}
