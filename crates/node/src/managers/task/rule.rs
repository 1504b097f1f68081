//! Rule: what a leader does while it leads.
//!
//! It claims its leadership with a record, whose revision is its fencing
//! token; keeps the right managers voting; and turns the fast, local picture
//! of the members into numbered views, once nothing has changed for 300 ms
//! and nobody is suspect, at the latest 5 s after the first change.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dui_consensus::call::{Answer, Operation};
use dui_consensus::founding::{ClusterId, Decision};
use dui_consensus::record::Command;
use dui_consensus::seats::{self, Candidate, Situation, Step};
use dui_consensus::types::Kind;
use dui_core::{Member, MemberState, NodeId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::lead::{self, Done};
use super::{LEADER_TICK, Task, is_manager_here};

/// Nothing has changed for so long: a view.
pub(super) const QUIET: Duration = Duration::from_millis(300);
/// It has been changing for so long: a view all the same.
const STIRRED_MAX: Duration = Duration::from_secs(5);
/// A group whose proposer is not known to have accepted is given up then.
const PROOF_MAX: Duration = Duration::from_secs(5);
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
        let Some(reign) = &mut self.reign else {
            return;
        };
        if !beat.leads {
            return;
        }
        let term = reign.term;
        if agreed.state.decision().is_none() {
            let late = reign.since.elapsed() >= PROOF_MAX;
            if let Some(decision) = self.founding.wish(late)
                && !reign.claiming
            {
                reign.claiming = true;
                let base = self.news().await.map_or(0, |news| news.revision);
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
        self.keep_seats(&members, &agreed);
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

    fn keep_seats(&mut self, members: &[Member], agreed: &dui_consensus::machine::Agreed) {
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
            let gone = (!here.contains_key(&id))
                .then(|| now.duration_since(*reign.gone.entry(id).or_insert(now)));
            let known = beat.voters.contains(&id) || beat.learners.contains(&id);
            let standing = reign.standings.get(&id).and_then(Option::as_ref);
            let ephemeral = if known {
                beat.ephemeral.contains(&id)
            } else {
                standing.is_some_and(|standing| standing.ephemeral)
            };
            let candidate = Candidate {
                kind: Kind { ephemeral },
                gone,
                willing: known || standing.is_some_and(|standing| standing.member == Some(cluster)),
                demoted: agreed.state.demoted().contains(&id),
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

    /// An operator asks.
    pub(super) async fn operate(
        &mut self,
        cluster: ClusterId,
        operation: Operation,
        reply: oneshot::Sender<Answer>,
    ) {
        let refused = |code: &str, why: String| Answer::Refused {
            code: code.into(),
            why,
        };
        let members = self.members().await;
        let (Some(part), Some(reign)) = (&mut self.part, &self.reign) else {
            let _ = reply.send(refused("not_leader", "this manager does not lead".into()));
            return;
        };
        let (group, beat) = (part.group.clone(), part.pulse.beat());
        if group.cluster() != cluster {
            let why = format!("this manager leads cluster {}", group.cluster());
            let _ = reply.send(refused("other_cluster", why));
            return;
        }
        let (Operation::Promote(id)
        | Operation::Demote(id)
        | Operation::Move(id)
        | Operation::Remove(id)) = operation;
        let named = members.iter().find(|member| member.id == id);
        let name = named.map_or_else(|| id.to_string(), |member| member.name.to_string());
        let here = named.is_some_and(is_manager_here);
        let answer = match operation {
            Operation::Promote(_) | Operation::Move(_) if !here => refused(
                "not_a_manager",
                format!("{name} is no manager that is alive"),
            ),
            Operation::Move(_) if !beat.voters.contains(&id) => refused(
                "not_a_voter",
                format!("{name} stands by: \"dui managers\" shows who votes and may lead"),
            ),
            Operation::Remove(_) if reign.stepping || beat.changing => {
                refused("busy", "another change of the managers is under way".into())
            }
            Operation::Remove(_) => {
                let mut voters = beat.voters.clone();
                voters.remove(&id);
                let alive =
                    |id: &&NodeId| members.iter().any(|m| m.id == **id && is_manager_here(m));
                let able = voters.iter().filter(alive).count();
                if able <= voters.len() / 2 {
                    refused("no_quorum", "those who remain could decide nothing".into())
                } else {
                    let is_voter = beat.voters.contains(&id);
                    tokio::spawn(async move {
                        let removed = match is_voter {
                            true => group.set_voters(&voters).await,
                            false => group.dismiss(&BTreeSet::from([id])).await,
                        };
                        let answer = match removed {
                            Ok(()) => Answer::Done,
                            Err(error) => Answer::Refused {
                                code: "busy".into(),
                                why: error.to_string(),
                            },
                        };
                        let _ = reply.send(answer);
                    });
                    return;
                }
            }
            _ => {
                tokio::spawn(async move {
                    let done = match operation {
                        Operation::Move(to) => group.hand_over(to).await,
                        Operation::Promote(manager) | Operation::Demote(manager) => {
                            let demoted = matches!(operation, Operation::Demote(_));
                            let command = Command::Demote { manager, demoted };
                            group.write(command).await.map(drop)
                        }
                        Operation::Remove(_) => Ok(()),
                    };
                    let answer = match done {
                        Ok(()) => Answer::Done,
                        Err(error) => Answer::Refused {
                            code: "not_done".into(),
                            why: error.to_string(),
                        },
                    };
                    let _ = reply.send(answer);
                });
                return;
            }
        };
        let _ = reply.send(answer);
    }
}
