//! Managers: this node's part in what the managers agree on.
//!
//! One task per node, workers too. It takes part in founding and in the Raft
//! group where it has to, tells everybody by gossip what the group has agreed
//! on if it leads, and follows what others tell otherwise. The rules lie in
//! `dui-consensus`; here they get a disk, connections and a clock.

mod desk;
mod founder;
mod lead;
mod outlook;
pub(crate) mod record;
mod recover;
mod task;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dui_consensus::call::{Answer, Call, Operation};
use dui_consensus::founding::ClusterId;
use dui_consensus::group::{Beat, Group, Lane, Wire};
use dui_consensus::machine::View;
use dui_consensus::record::Seen;
pub(crate) use dui_consensus::seats::Rules;
use dui_consensus::store::StoreMetrics;
use dui_core::{ClusterName, LeaderNews, Member, NodeId};
use tokio::sync::{mpsc, oneshot};

use crate::calls::Calls;
use crate::handle::{ApiError, Handle};
pub(crate) use desk::Desk;
use outlook::Outlook;
pub use recover::Refounded;
pub(crate) use task::Task;

/// How long an operator waits for the leader.
const OPERATE_MAX: Duration = Duration::from_secs(10);
/// What waits for the task.
const INPUTS_MAX: usize = 256;

/// What a node is, for the managers' purposes.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) me: NodeId,
    pub(crate) cluster: ClusterName,
    /// It is a manager.
    pub(crate) manager: bool,
    /// How many managers found.
    pub(crate) expect: Option<u32>,
    /// It is bound to loopback.
    pub(crate) loopback: bool,
    /// Where it writes; `None` in memory alone.
    pub(crate) dir: Option<PathBuf>,
    pub(crate) rules: Rules,
}

/// Whether somebody leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaderState {
    /// Somebody does.
    Led,
    /// The cluster is formed, and nobody does now.
    Electing,
    /// There is no formed cluster.
    Unformed,
}

impl LeaderState {
    /// `led`, `electing` or `unformed`.
    pub fn as_str(self) -> &'static str {
        match self {
            LeaderState::Led => "led",
            LeaderState::Electing => "electing",
            LeaderState::Unformed => "unformed",
        }
    }
}

/// Who leads, as this node knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Leadership {
    /// Whether anybody does.
    pub state: LeaderState,
    /// The leader, where there is one.
    pub leader: Option<Member>,
    /// The latest that was told of the managers' agreement.
    pub news: Option<LeaderNews>,
    /// Why nobody leads, and what to do about it, for people.
    pub why: Option<String>,
}

/// The numbered views of this cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Views {
    /// Names the cluster, and with a number a view.
    pub cluster: Option<ClusterId>,
    /// The latest, oldest first, at most 1,024.
    pub views: Vec<View>,
    /// The members of the newest.
    pub members: Vec<Seen>,
}

/// How the group is, where this node has a part in it.
#[derive(Clone, Debug)]
pub struct GroupInfo {
    /// Which cluster's.
    pub cluster: ClusterId,
    /// As the Raft library sees it.
    pub beat: Beat,
    /// What its disk has done.
    pub store: StoreMetrics,
}

/// Why the managers did not do what an operator asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct NotDone {
    /// For programs.
    pub code: String,
    /// What failed, and what to do.
    pub why: String,
}

/// What comes to the task.
pub(crate) enum Input {
    /// Another node asks, and it is not for the library.
    Call {
        from: NodeId,
        call: Call,
        reply: oneshot::Sender<Answer>,
    },
    /// Another manager takes this one for part of a group.
    Group(ClusterId, oneshot::Sender<Option<Group>>),
    /// What a manager said that was asked how it stands.
    Standing(NodeId, Option<dui_consensus::call::Standing>),
    /// What a voter said that was asked for views.
    Views(ClusterId, Option<dui_consensus::call::Views>),
    /// What the leader set out to do is done, or was not.
    Led(lead::Report),
    /// What an operator has this very manager do.
    Order(recover::Order),
    /// This node is about to leave: give away what others rely on.
    Depart(oneshot::Sender<()>),
}

/// What the task shows.
#[derive(Debug)]
pub(crate) struct Front {
    inputs: mpsc::Sender<Input>,
    group: Mutex<Option<Group>>,
    outlook: Mutex<Outlook>,
    why: Mutex<String>,
    /// This manager knows better than the news: nobody leads.
    doubt: AtomicBool,
    /// What this node waits for before it is ready.
    waits: Option<Waits>,
}

/// What a manager waits for that expects others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    pub(crate) me: NodeId,
    pub(crate) expect: u32,
    pub(crate) ephemeral: bool,
}

impl Waits {
    /// A leader; and without a disk a seat, as long as not all are taken: so
    /// that an orderly restart goes from one to the next once that one votes.
    pub(crate) fn is_over(self, leadership: &Leadership) -> bool {
        let voters = leadership.news.iter().flat_map(|news| &news.voters);
        let full = voters.clone().count() >= self.expect as usize;
        let seated = voters.clone().any(|id| *id == self.me);
        leadership.state == LeaderState::Led && (!self.ephemeral || seated || full)
    }
}

impl Front {
    pub(crate) fn new(waits: Option<Waits>) -> (Arc<Self>, mpsc::Receiver<Input>) {
        let (inputs, received) = mpsc::channel(INPUTS_MAX);
        let front = Self {
            inputs,
            group: Mutex::default(),
            outlook: Mutex::default(),
            why: Mutex::default(),
            doubt: AtomicBool::new(false),
            waits,
        };
        (Arc::new(front), received)
    }

    pub(crate) fn group(&self) -> Option<Group> {
        lock(&self.group).clone()
    }

    pub(crate) fn waits_for(&self) -> Option<Waits> {
        self.waits
    }

    /// Gives away what others rely on, as far as there is time for it.
    pub(crate) async fn depart(&self, limit: Duration) {
        let (reply, done) = oneshot::channel();
        let departing = async {
            if self.inputs.send(Input::Depart(reply)).await.is_ok() {
                // However it went, the leave goes on.
                let _ = done.await;
            }
        };
        let _ = tokio::time::timeout(limit, departing).await;
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Input::Call { .. } => "Call",
            Input::Group(..) => "Group",
            Input::Standing(..) => "Standing",
            Input::Views(..) => "Views",
            Input::Led(..) => "Led",
            Input::Order(..) => "Order",
            Input::Depart(..) => "Depart",
        })
    }
}

impl Handle {
    /// Who leads.
    ///
    /// # Errors
    /// [`ApiError::Stopped`].
    pub async fn leader(&self) -> Result<Leadership, ApiError> {
        let (news, leader, able) = self
            .ask(|peer, _| {
                let news = peer.leader_news().cloned();
                let leaving = peer.this().leaving;
                let own = peer.this().member.id;
                let member = news.as_ref().and_then(|news| peer.member(news.leader));
                let leads = |member: &Member| {
                    matches!(
                        member.state,
                        dui_core::MemberState::Alive | dui_core::MemberState::Suspect
                    ) && !(leaving && member.id == own)
                };
                let able = news.as_ref().map_or(0, |news| {
                    let voters = news.voters.iter().filter_map(|id| peer.member(*id));
                    voters.filter(leads).count()
                });
                (news, member.filter(leads), able)
            })
            .await?;
        let front = &self.front;
        let doubt = front.doubt.load(Ordering::Relaxed);
        let state = match (&news, &leader) {
            (None, _) => LeaderState::Unformed,
            (Some(_), Some(_)) if !doubt => LeaderState::Led,
            _ => LeaderState::Electing,
        };
        let why = match (state, &news) {
            (LeaderState::Electing, Some(news)) if able <= news.voters.len() / 2 => format!(
                "no_quorum: {able} of the {} managers that vote are alive, and a majority has to be: \
                 start the others again; where they are lost for good, see \"dui recover --quorum\"",
                news.voters.len()
            ),
            (LeaderState::Electing, Some(_)) => "the managers are electing a leader".into(),
            _ => lock(&front.why).clone(),
        };
        Ok(Leadership {
            leader: leader.filter(|_| state == LeaderState::Led),
            why: (state != LeaderState::Led).then_some(why),
            state,
            news,
        })
    }

    /// The numbered views, as far as this node has them.
    pub fn views(&self) -> Views {
        let outlook = lock(&self.front.outlook);
        Views {
            cluster: outlook.cluster(),
            views: outlook.views().cloned().collect(),
            members: outlook.members().values().cloned().collect(),
        }
    }

    /// The Raft group, where this node has a part in it.
    pub fn group(&self) -> Option<GroupInfo> {
        let group = self.front.group()?;
        Some(GroupInfo {
            cluster: group.cluster(),
            beat: group.pulse().beat(),
            store: group.store_metrics(),
        })
    }

    /// Has the leader do what an operator asks for.
    ///
    /// # Errors
    /// [`NotDone`]: nothing was changed, unless its code is `no_answer`.
    pub async fn operate(&self, operation: Operation) -> Result<(), NotDone> {
        let leadership = self.leader().await.map_err(|stopped| NotDone {
            code: "stopped".into(),
            why: stopped.to_string(),
        })?;
        let (Some(news), Some(leader)) = (leadership.news, leadership.leader) else {
            return Err(NotDone {
                code: "no_leader".into(),
                why: leadership.why.unwrap_or_default(),
            });
        };
        let call = Call::Operate(ClusterId(news.cluster_id), operation);
        let answer = self.front_call(leader.id, call).await?;
        match answer {
            Answer::Done => Ok(()),
            Answer::Refused { code, why } => Err(NotDone { code, why }),
            other => Err(NotDone {
                code: "no_answer".into(),
                why: format!(
                    "{} gave an answer to something else: {other:?}",
                    leader.name
                ),
            }),
        }
    }

    /// Asks a node, which may be this one.
    async fn front_call(&self, to: NodeId, call: Call) -> Result<Answer, NotDone> {
        let no_answer = |why: String| NotDone {
            code: "no_answer".into(),
            why,
        };
        let own = self
            .this()
            .await
            .map_err(|gone| no_answer(gone.to_string()))?;
        if own.member.id == to {
            let (reply, answer) = oneshot::channel();
            let input = Input::Call {
                from: to,
                call,
                reply,
            };
            let sent = self.front.inputs.send(input).await;
            sent.map_err(|_| no_answer("the node has stopped".into()))?;
            return answer
                .await
                .map_err(|_| no_answer("the node has stopped".into()));
        }
        let calls = self
            .calls()
            .ok_or_else(|| no_answer("the node is starting".into()))?;
        let bytes = calls.call(to, Lane::Log, call.encode(), OPERATE_MAX).await;
        let bytes = bytes.map_err(|unreached| no_answer(unreached.to_string()))?;
        Answer::decode(&bytes).map_err(|bad| no_answer(bad.to_string()))
    }

    fn calls(&self) -> Option<Calls> {
        self.calls.get().cloned()
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is complete before anything that could panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn led(voters: u128) -> Leadership {
        Leadership {
            state: LeaderState::Led,
            leader: None,
            news: Some(LeaderNews {
                cluster_id: 1,
                revision: 9,
                leader: NodeId(1),
                term: 1,
                elected_at: 2,
                view: 1,
                voters: (1..=voters).map(NodeId).collect(),
                ephemeral: true,
            }),
            why: None,
        }
    }

    #[test]
    fn a_manager_without_a_disk_is_ready_when_it_votes_or_has_no_seat_to_wait_for() {
        let waits = |me, ephemeral| Waits {
            me: NodeId(me),
            expect: 3,
            ephemeral,
        };
        assert!(
            waits(9, false).is_over(&led(1)),
            "a disk waits for a leader alone"
        );
        assert!(!waits(9, true).is_over(&led(2)), "a seat is free");
        assert!(waits(2, true).is_over(&led(2)));
        assert!(waits(9, true).is_over(&led(3)), "it stands by");
        let electing = Leadership {
            state: LeaderState::Electing,
            ..led(3)
        };
        assert!(!waits(1, true).is_over(&electing));
    }
}
