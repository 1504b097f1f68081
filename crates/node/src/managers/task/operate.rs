//! Operate: what an operator asks of the leader.
//!
//! What takes a round of the group is done beside everything else, and is
//! given up after ten seconds: without a majority it would never end.

use std::collections::BTreeSet;
use std::time::Duration;

use dui_consensus::call::{Answer, Operation};
use dui_consensus::founding::ClusterId;
use dui_consensus::group::GroupError;
use dui_consensus::record::Command;
use dui_core::{Member, NodeId};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Task, is_manager_here};

/// A code of the API, and why, for people.
type Refusal = (&'static str, String);

/// Longer than any round of a group that has a majority.
const ROUND_MAX: Duration = Duration::from_secs(10);

impl Task {
    /// An operator asks.
    pub(super) async fn operate(
        &mut self,
        cluster: ClusterId,
        operation: Operation,
        reply: oneshot::Sender<Answer>,
    ) {
        let members = self.members().await;
        if let Err(refusal) = self.allows(cluster, operation, &members) {
            // Whoever asked may have gone.
            let (code, why) = refusal;
            let _ = reply.send(refused(code, why));
            return;
        }
        let Some(part) = &mut self.part else {
            return;
        };
        if let (Operation::Remove(id), Some(reign)) = (operation, &mut self.reign) {
            reign.hear_removed(id);
        }
        let (group, beat) = (part.group.clone(), part.pulse.beat());
        tokio::spawn(async move {
            let doing = async {
                match operation {
                    Operation::Move(to) => group.hand_over(to).await,
                    Operation::Promote(manager) | Operation::Demote(manager) => {
                        let demoted = matches!(operation, Operation::Demote(_));
                        let command = Command::Demote { manager, demoted };
                        group.write(command).await.map(drop)
                    }
                    Operation::Remove(id) if beat.voters.contains(&id) => {
                        let mut voters = beat.voters.clone();
                        voters.remove(&id);
                        group.set_voters(&voters).await
                    }
                    Operation::Remove(id) => group.dismiss(&BTreeSet::from([id])).await,
                }
            };
            let answer = match timeout(ROUND_MAX, doing).await {
                Ok(Ok(())) => Answer::Done,
                Ok(Err(error)) => refused(code_of(&error), error.to_string()),
                Err(_) => refused(
                    "no_answer",
                    format!("no majority of the managers answered within {ROUND_MAX:?}"),
                ),
            };
            // Whoever asked may have gone.
            let _ = reply.send(answer);
        });
    }

    /// Whether this leader may do that now; the refusal otherwise.
    fn allows(
        &mut self,
        cluster: ClusterId,
        operation: Operation,
        members: &[Member],
    ) -> Result<(), Refusal> {
        let (Some(part), Some(reign)) = (&mut self.part, &self.reign) else {
            let why = "this manager does not lead";
            return Err(("not_leader", why.into()));
        };
        if part.group.cluster() != cluster {
            let why = format!("this manager leads cluster {}", part.group.cluster());
            return Err(("other_cluster", why));
        }
        let beat = part.pulse.beat();
        let (Operation::Promote(id)
        | Operation::Demote(id)
        | Operation::Move(id)
        | Operation::Remove(id)) = operation;
        let named = members.iter().find(|member| member.id == id);
        let name = named.map_or_else(|| id.to_string(), |member| member.name.to_string());
        let here = named.is_some_and(is_manager_here);
        let votes = beat.voters.contains(&id);
        match operation {
            Operation::Promote(_) | Operation::Move(_) if !here => Err((
                "not_a_manager",
                format!("{name} is no manager that is alive"),
            )),
            Operation::Demote(_) if !here && !votes => Err((
                "not_a_manager",
                format!("{name} is no manager: only those can be demoted"),
            )),
            Operation::Demote(_) if votes && beat.voters.len() == 1 => Err((
                "no_quorum",
                format!("{name} is the only one that votes: start two more managers first"),
            )),
            Operation::Move(_) if !votes => Err((
                "not_a_voter",
                format!("{name} stands by: \"dui managers\" shows who votes and may lead"),
            )),
            Operation::Remove(_) if reign.is_stepping() || beat.changing => {
                let why = "another change of the managers is under way";
                Err(("busy", why.into()))
            }
            Operation::Remove(_) => {
                let remain = beat.voters.iter().filter(|voter| **voter != id);
                let able = remain.clone().filter(|voter| is_here(members, **voter));
                if able.count() <= remain.count() / 2 {
                    let why = "those who remain could decide nothing";
                    return Err(("no_quorum", why.into()));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn is_here(members: &[Member], id: NodeId) -> bool {
    let mut members = members.iter();
    members.any(|member| member.id == id && is_manager_here(member))
}

fn code_of(error: &GroupError) -> &'static str {
    match error {
        GroupError::NotLeader(_) => "not_leader",
        GroupError::Busy => "busy",
        _ => "log_stopped",
    }
}

fn refused(code: &str, why: String) -> Answer {
    Answer::Refused {
        code: code.into(),
        why,
    }
}
