//! Lead: what the leader sets out to do, each beside everything else.
//!
//! What takes a round of the group is done by a task of its own, one of each
//! kind at a time, which reports when it is done. Whatever fails is looked at
//! anew: the next look sees what has come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dui_consensus::call::{Answer, Call, Operation};
use dui_consensus::group::{Group, GroupError, Lane, Wire};
use dui_consensus::record::Command;
use dui_consensus::reign::Round;
use dui_consensus::seats::Step;
use dui_core::NodeId;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Input;
use crate::calls::Calls;

/// How long a hand-over may take, together with a removal.
const DEPART_MAX: Duration = Duration::from_secs(2);

/// A report of the leader's helpers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    pub(crate) round: Round,
    /// In which term it was begun.
    pub(crate) term: u64,
    pub(crate) worked: bool,
}

/// Writes a record, and reports.
pub(crate) fn write(
    group: Group,
    command: Command,
    (round, term): (Round, u64),
    inputs: mpsc::Sender<Input>,
) {
    tokio::spawn(async move {
        let what = command.to_string();
        let written = group.write(command).await;
        if let Err(error) = &written {
            tracing::debug!(target: "dui", event = "record_not_written", what, %error);
        }
        let worked = written.is_ok();
        // No task any more, nobody to tell.
        let _ = inputs
            .send(Input::Led(Report {
                round,
                term,
                worked,
            }))
            .await;
    });
}

/// Takes a step toward the right voters, and reports.
pub(crate) fn take(group: Group, step: Step, term: u64, inputs: mpsc::Sender<Input>) {
    tokio::spawn(async move {
        let what = format!("{step:?}");
        let taken = match &step {
            Step::Rest => Ok(()),
            Step::Teach(learners) => group.teach(learners).await,
            Step::Seat(voters) => group.set_voters(voters).await,
            Step::Dismiss(learners) => group.dismiss(learners).await,
        };
        let report = Report {
            round: Round::Step,
            term,
            worked: taken.is_ok(),
        };
        match taken {
            Ok(()) => tracing::info!(target: "dui", event = "managers_changed", step = what),
            Err(error) => {
                tracing::debug!(target: "dui", event = "managers_not_changed", step = what, %error);
            }
        }
        let _ = inputs.send(Input::Led(report)).await;
    });
}

/// How a manager leaves the group it has a part in.
pub(crate) struct Departure {
    pub(crate) group: Group,
    pub(crate) calls: Calls,
    pub(crate) me: NodeId,
    /// Its id ends with its process: others must not wait for it.
    pub(crate) ephemeral: bool,
    /// Managers that are alive, this one not among them.
    pub(crate) others: BTreeMap<NodeId, dui_consensus::types::Kind>,
}

impl Departure {
    /// Hands over, and gives the seat up where it would stay empty for good.
    /// Whatever cannot be done in time is left undone: the others manage.
    pub(crate) async fn go(self) {
        let by = Instant::now() + DEPART_MAX;
        let going = async {
            let mut pulse = self.group.pulse();
            let beat = pulse.beat();
            if beat.leads {
                if beat.voters.len() == 1 && self.ephemeral {
                    self.find_successor(by).await?;
                }
                self.hand_over(by).await?;
            }
            if self.ephemeral {
                self.give_up_seat(by).await;
            }
            Ok::<(), GroupError>(())
        };
        tokio::select! {
            gone = going => if let Err(error) = gone {
                tracing::warn!(target: "dui", event = "not_handed_over", reason = %error);
            },
            () = sleep_until(by) => {
                tracing::debug!(target: "dui", event = "hand_over_timeout");
            }
        }
    }

    /// The only voter has to teach another one first.
    async fn find_successor(&self, by: Instant) -> Result<(), GroupError> {
        for (id, kind) in &self.others {
            self.group.teach(&BTreeMap::from([(*id, *kind)])).await?;
            let mut pulse = self.group.pulse();
            let patience = by.min(Instant::now() + DEPART_MAX / 4);
            let taught = async {
                loop {
                    let beat = pulse.beat();
                    if beat.matched.get(id).is_some_and(|at| *at >= beat.last) {
                        return true;
                    }
                    if !pulse.changed().await {
                        return false;
                    }
                }
            };
            if tokio::time::timeout_at(patience, taught).await == Ok(true) {
                let voters = BTreeSet::from([self.me, *id]);
                return self.group.set_voters(&voters).await;
            }
        }
        Ok(())
    }

    /// To whoever has the most, and waits until it leads.
    async fn hand_over(&self, by: Instant) -> Result<(), GroupError> {
        let mut pulse = self.group.pulse();
        let beat = pulse.beat();
        let mut heirs: Vec<(u64, NodeId)> = beat
            .voters
            .iter()
            .filter(|id| self.others.contains_key(id))
            .map(|id| (beat.matched.get(id).copied().unwrap_or(0), *id))
            .collect();
        heirs.sort_unstable_by(|a, b| b.cmp(a));
        for (_, heir) in heirs {
            tracing::info!(target: "dui", event = "lead_handed_over", to = %heir, term = beat.term);
            self.group.hand_over(heir).await?;
            let patience = by.min(Instant::now() + DEPART_MAX / 4);
            let handed = async {
                loop {
                    let beat = pulse.beat();
                    if !beat.leads && beat.leader.is_some_and(|leader| leader != self.me) {
                        return;
                    }
                    if !pulse.changed().await {
                        return;
                    }
                }
            };
            if tokio::time::timeout_at(patience, handed).await.is_ok() {
                return Ok(());
            }
        }
        Ok(())
    }

    async fn give_up_seat(&self, by: Instant) {
        let operation = Operation::Remove(self.me);
        while Instant::now() < by {
            let beat = self.group.pulse().beat();
            if !beat.voters.contains(&self.me) && !beat.learners.contains(&self.me) {
                return;
            }
            let Some(leader) = beat.leader.filter(|leader| *leader != self.me) else {
                return;
            };
            let call = Call::Operate(self.group.cluster(), operation).encode();
            let answer = self.calls.call(leader, Lane::Log, call, DEPART_MAX).await;
            let answer = answer.ok().and_then(|bytes| Answer::decode(&bytes).ok());
            match answer {
                Some(Answer::Done) => return,
                // Another change is under way, or it has just begun to lead.
                Some(Answer::Refused { code, .. }) if code == "busy" || code == "not_leader" => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                _ => return,
            }
        }
    }
}
