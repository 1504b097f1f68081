//! Rule: what a leader does while it leads.
//!
//! It claims its leadership with a record, whose revision is its fencing
//! token; keeps the right managers voting; and turns the fast, local picture
//! of the members into numbered views, once nothing has changed for 300 ms
//! and nobody is suspect, at the latest 5 s after the first change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use std::sync::atomic::Ordering;

use dui_consensus::founding::Decision;
use dui_consensus::group::Beat;
use dui_consensus::record::Command;
use dui_consensus::seats::{self, Candidate, Situation, Step};
use dui_consensus::types::Kind;
use dui_core::{Member, MemberState, NodeId};
use tokio::time::Instant;

use super::super::lead::{self, Done};
use super::{LEADER_TICK, Task, is_manager_here};
use crate::clock;

/// Nothing has changed for so long: a view.
pub(super) const QUIET: Duration = Duration::from_millis(300);
/// It has been changing for so long: a view all the same.
const STIRRED_MAX: Duration = Duration::from_secs(5);
/// A group whose proposer is not known to have accepted is given up then.
const PROOF_MAX: Duration = Duration::from_secs(5);
/// A leader whom no majority has answered for so long does not say that it leads.
const SILENT_MAX: Duration = Duration::from_secs(2);
/// A disk that takes longer now and then is worth a word.
const SLOW_FSYNC: Duration = Duration::from_millis(10);
const SLOW_AGAIN: Duration = Duration::from_secs(600);
/// What failed is tried again after this.
pub(super) const TRY_AGAIN: Duration = Duration::from_millis(50);
/// Between two looks while somebody is to vote.
const SEATS_TICK: Duration = Duration::from_millis(100);

impl Task {
    /// Everything a leader may have to do next.
    pub(super) async fn rule(&mut self) {
        let Some(part) = &mut self.part else {
            return;
        };
        let beat = part.pulse.beat();
        let agreed = part.agreed.borrow().clone();
        let group = part.group.clone();
        if self.reign.is_none() || !beat.leads {
            return;
        }
        if beat.voters.len() > 1 {
            // A majority that falls silent is no event, nor is a slow disk.
            self.doubt(&beat);
            self.watch_the_disk();
            self.look_soon(LEADER_TICK);
        }
        let Some(reign) = &mut self.reign else {
            return;
        };
        let term = reign.term;
        if agreed.state.decision().is_none() {
            let late = reign.since.elapsed() >= PROOF_MAX || self.recovery.abandons;
            if let Some(decision) = self.founding.wish(late)
                && !reign.claiming
            {
                reign.claiming = true;
                let heard = self.news().await.map_or(0, |news| news.revision);
                // One that was in memory alone may have been, and nobody is left
                // to tell of it: no token of it is as high as the clock.
                let unheard = if self.setup.dir.is_none() {
                    clock::wall_ms()
                } else {
                    0
                };
                let base = heard.max(unheard);
                let command = Command::Decide { decision, base };
                lead::write(group, command, (Done::Claim, term), self.sender.clone());
            } else {
                self.look_soon(SEATS_TICK);
            }
            return;
        }
        if agreed.state.decision() != Some(Decision::Created) {
            return;
        }
        let election = agreed.state.election();
        let claimed = election.is_some_and(|election| {
            election.leader == self.setup.me && election.term == reign.term
        });
        let (claiming, anew) = (reign.claiming, !reign.claimed);
        let news = self.news().await;
        // A cluster that is no more may have come further than this one.
        let above = match &news {
            Some(news) if news.cluster_id != group.cluster().0 && self.is_over(news).await => {
                news.revision
            }
            _ => 0,
        };
        if !claimed || anew || above > agreed.state.revision() {
            if !claiming {
                if let Some(reign) = &mut self.reign {
                    reign.claiming = true;
                    reign.claimed = true;
                }
                let command = Command::Elected {
                    leader: self.setup.me,
                    term,
                    above,
                };
                lead::write(group, command, (Done::Claim, term), self.sender.clone());
            }
            return;
        }
        self.tell_news(&agreed).await;
        let members = self.members().await;
        self.keep_view(&members, &agreed);
        let forgotten = self.forgotten_of(&beat.voters).await;
        self.keep_seats(&members, &agreed, &forgotten);
    }

    /// Whether this manager, which votes, knows better than the news: nobody
    /// leads, or it leads itself and hears no majority.
    pub(super) fn doubt(&self, beat: &Beat) {
        let me = self.setup.me;
        let news = self.own_news.as_ref();
        let votes = beat.voters.contains(&me) && news.is_none_or(|news| news.voters.contains(&me));
        let alone = beat.leads
            && beat.voters.len() > 1
            && beat.quorum_heard.is_none_or(|ago| ago > SILENT_MAX);
        let doubt = votes && (beat.leader.is_none() || alone);
        self.front.doubt.store(doubt, Ordering::Relaxed);
    }

    /// Every record waits for the disks of a majority.
    fn watch_the_disk(&mut self) {
        let (Some(reign), Some(part)) = (&mut self.reign, &self.part) else {
            return;
        };
        let told = reign.slow_told;
        if told.is_some_and(|at| at.elapsed() < SLOW_AGAIN) {
            return;
        }
        let p99 = part.group.store_metrics().fsync_time_p99;
        if p99 > SLOW_FSYNC {
            reign.slow_told = Some(Instant::now());
            tracing::warn!(
                target: "dui", event = "slow_disk", fsync_p99_ms = p99.as_millis() as u64,
                remedy = "every record waits for it: give the data directory a faster disk, or \
                          one of its own",
            );
        }
    }

    fn keep_view(&mut self, members: &[Member], agreed: &dui_consensus::machine::Agreed) {
        let (Some(reign), Some(part)) = (&mut self.reign, &self.part) else {
            return;
        };
        let Some((first, last)) = reign.stirred else {
            return;
        };
        if reign.viewing {
            return;
        }
        let now = Instant::now();
        let suspects = members
            .iter()
            .any(|member| member.state == MemberState::Suspect);
        // The first view is what there is, and comes at once.
        let begins = agreed.state.view() == 0;
        let settled = !suspects && now.duration_since(last) >= QUIET;
        if !begins && !settled && now.duration_since(first) < STIRRED_MAX {
            let wait = if suspects {
                QUIET
            } else {
                QUIET.saturating_sub(now.duration_since(last))
            };
            return self.look_soon(wait.max(Duration::from_millis(10)));
        }
        match lead::changes(agreed.state.members(), members) {
            Some(command) => {
                reign.viewing = true;
                let done = (Done::View, reign.term);
                lead::write(part.group.clone(), command, done, self.sender.clone());
            }
            None => reign.stirred = None,
        }
    }

    fn keep_seats(
        &mut self,
        members: &[Member],
        agreed: &dui_consensus::machine::Agreed,
        forgotten: &BTreeSet<NodeId>,
    ) {
        let (Some(reign), Some(part)) = (&mut self.reign, &mut self.part) else {
            return;
        };
        if reign.stepping {
            return;
        }
        let beat = part.pulse.beat();
        if beat.changing {
            return self.look_soon(SEATS_TICK);
        }
        if agreed.state.demoted().contains(&self.setup.me) {
            return self.resign(members);
        }
        let (Some(reign), Some(part)) = (&mut self.reign, &mut self.part) else {
            return;
        };
        let cluster = part.group.cluster();
        let now = Instant::now();
        let here: BTreeMap<NodeId, &Member> = members
            .iter()
            .filter(|member| is_manager_here(member))
            .map(|member| (member.id, member))
            .collect();
        let everybody: BTreeSet<NodeId> = here
            .keys()
            .chain(&beat.voters)
            .chain(&beat.learners)
            .copied()
            .collect();
        reign.gone.retain(|id, _| !here.contains_key(id));
        let mut managers = BTreeMap::new();
        for id in everybody {
            let gone = (!here.contains_key(&id)).then(|| {
                let gone = now.duration_since(*reign.gone.entry(id).or_insert(now));
                // An operator said that it does not come back.
                if forgotten.contains(&id) {
                    Duration::MAX
                } else {
                    gone
                }
            });
            let known = beat.voters.contains(&id) || beat.learners.contains(&id);
            let standing = reign.standings.get(&id).and_then(Option::as_ref);
            let ephemeral = if known {
                beat.ephemeral.contains(&id)
            } else {
                standing.is_some_and(|standing| standing.ephemeral)
            };
            let removed = reign.removed.contains(&id);
            let candidate = Candidate {
                kind: Kind { ephemeral },
                gone,
                willing: known || standing.is_some_and(|standing| standing.member == Some(cluster)),
                demoted: removed || agreed.state.demoted().contains(&id),
            };
            managers.insert(id, candidate);
        }
        let situation = Situation {
            me: self.setup.me,
            voters: &beat.voters,
            learners: &beat.learners,
            last: beat.last,
            matched: &beat.matched,
            managers: &managers,
        };
        let step = seats::next_step(&self.setup.rules, &situation);
        if step != Step::Rest && !self.departing {
            reign.stepping = true;
            lead::take(part.group.clone(), step, reign.term, self.sender.clone());
            return;
        }
        // Who may be needed is asked, until enough have said that they are ready.
        let max = self.setup.rules.voters_max;
        let unknown: Vec<NodeId> = managers
            .iter()
            .filter(|(id, manager)| {
                manager.gone.is_none() && !manager.willing && !beat.voters.contains(id)
            })
            .map(|(id, _)| *id)
            .take(max)
            .collect();
        let wanting = beat.voters.len() < max && !unknown.is_empty();
        let gone = managers.values().any(|manager| manager.gone.is_some());
        if wanting || !beat.learners.is_empty() {
            self.ask_standings(if wanting { unknown } else { Vec::new() });
            self.look_soon(SEATS_TICK);
        } else if gone {
            self.ask_standings(unknown);
            self.look_soon(LEADER_TICK);
        }
    }

    /// A leader that is not to vote any more lets another one lead, which then
    /// takes its seat away.
    fn resign(&mut self, members: &[Member]) {
        let Some(part) = &mut self.part else {
            return;
        };
        let beat = part.pulse.beat();
        let me = self.setup.me;
        let heirs = members.iter().filter(|member| {
            is_manager_here(member) && member.id != me && beat.voters.contains(&member.id)
        });
        let heir = heirs.max_by_key(|member| beat.matched.get(&member.id).copied());
        if let Some(heir) = heir {
            let (group, heir) = (part.group.clone(), heir.id);
            tokio::spawn(async move {
                // It shows in the next look whether that worked.
                let _ = group.hand_over(heir).await;
            });
        }
        self.look_soon(LEADER_TICK);
    }
}
