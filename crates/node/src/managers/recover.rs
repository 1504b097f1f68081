//! Recover: what an operator may have a manager do that no manager may decide
//! by itself, and copies of what is agreed.
//!
//! The questions go to the task, which does everything in its order; here is
//! what waits for the outcome.

use std::time::Duration;

use dui_consensus::backup::Backup;
use dui_consensus::call::{Answer, Call};
use dui_consensus::founding::ClusterId;
use dui_core::NodeId;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::{Input, LeaderState, NotDone};
use crate::handle::Handle;

/// So long an operator waits for managers who may be electing.
const ELECTION_MAX: Duration = Duration::from_secs(4);
/// How long an operator waits for what was begun.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// A cluster that one manager has founded from what another one had agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refounded {
    /// The new one.
    pub cluster: ClusterId,
    /// Which one it goes on for.
    pub origin: ClusterId,
    /// What its revisions rose from.
    pub revision_before: u64,
    /// Its first fencing token is this.
    pub revision: u64,
}

/// A new cluster, before anybody leads it.
pub(crate) struct Begun {
    pub(crate) cluster: ClusterId,
    pub(crate) origin: ClusterId,
    pub(crate) revision_before: u64,
}

/// What the task is asked for.
pub(crate) enum Order {
    /// Found anew from the own copy. `force`: whoever is alive.
    Quorum {
        force: bool,
        reply: oneshot::Sender<Result<Begun, NotDone>>,
    },
    /// Found anew from a backup.
    Restore(Box<Backup>, oneshot::Sender<Result<Begun, NotDone>>),
    /// Give up everything that was promised, at the next start.
    Reset(oneshot::Sender<Result<(), NotDone>>),
    /// Give up the proposal that this manager holds, or makes: the cluster that
    /// the one it holds would have created.
    AbandonFounding(oneshot::Sender<Result<Option<ClusterId>, NotDone>>),
    /// Whether it still holds this one, and which cluster it belongs to.
    IsUndecided(
        Option<ClusterId>,
        oneshot::Sender<(bool, Option<ClusterId>)>,
    ),
    /// The lead and the seat are given away, as far as that went.
    StandDown,
    /// What a voter said of the clusters that this one goes on for.
    Origins(ClusterId, Option<Vec<ClusterId>>),
}

impl NotDone {
    pub(crate) fn new(code: &str, why: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            why: why.into(),
        }
    }
}

impl Handle {
    /// After the permanent loss of a majority of the voters: this manager
    /// founds a new cluster alone, from what it had applied. Refused where a
    /// majority is alive, unless `force`.
    ///
    /// # Errors
    /// [`NotDone`]: nothing was changed, unless its code is `no_answer`.
    pub async fn recover_quorum(&self, force: bool) -> Result<Refounded, NotDone> {
        let began = Instant::now();
        loop {
            let order = |reply| Order::Quorum { force, reply };
            match self.order(order).await? {
                Err(busy) if busy.code == "busy" && began.elapsed() < ELECTION_MAX => {
                    sleep(LOOK).await;
                }
                begun => return self.leads(begun?).await,
            }
        }
    }

    /// A manager without a cluster founds one alone, from a backup.
    ///
    /// # Errors
    /// As [`Self::recover_quorum`]; `bad_backup` says what is wrong with it.
    pub async fn restore(&self, bytes: &[u8]) -> Result<Refounded, NotDone> {
        let backup = Backup::decode(bytes);
        let backup = backup.map_err(|bad| NotDone::new("bad_backup", bad.to_string()))?;
        let order = |reply| Order::Restore(Box::new(backup), reply);
        let begun = self.order(order).await??;
        self.leads(begun).await
    }

    /// This manager is a new node at its next start: it promised nothing then.
    /// It hands over and takes no part any more.
    ///
    /// # Errors
    /// [`NotDone`]: nothing was changed.
    pub async fn reset(&self) -> Result<(), NotDone> {
        self.order(Order::Reset).await?
    }

    /// The proposal that this manager holds, and that nobody decides, is given
    /// up at once.
    ///
    /// # Errors
    /// [`NotDone`]: `not_founding` if there is none, `no_quorum` if too few of
    /// its managers answer.
    pub async fn abandon_founding(&self) -> Result<(), NotDone> {
        let held = self.order(Order::AbandonFounding).await??;
        let began = Instant::now();
        loop {
            match self.order(|reply| Order::IsUndecided(held, reply)).await? {
                (true, _) => {}
                (false, Some(cluster)) if held == Some(cluster) => {
                    let why = format!(
                        "all who hold the proposal had accepted it, and cluster {cluster} was \
                         created: there is nothing to abandon"
                    );
                    return Err(NotDone::new("not_founding", why));
                }
                (false, _) => return Ok(()),
            }
            if began.elapsed() >= WAIT_MAX {
                return Err(NotDone::new(
                    "no_quorum",
                    "most of the managers that hold this proposal do not answer, so nobody can \
                     decide it: bring them back. If their disks are destroyed for good, say \
                     \"dui recover --reset\" here and start this node again",
                ));
            }
            sleep(LOOK).await;
        }
    }

    /// A copy of everything that is agreed, confirmed by a majority to be not
    /// old: the bytes of a file.
    ///
    /// # Errors
    /// [`NotDone`].
    pub async fn backup(&self) -> Result<Vec<u8>, NotDone> {
        let leadership = self.leader().await;
        let leadership = leadership.map_err(|gone| NotDone::new("stopped", gone.to_string()))?;
        let (Some(news), Some(leader)) = (leadership.news, leadership.leader) else {
            let why = leadership.why.unwrap_or_default();
            return Err(NotDone::new("no_leader", why));
        };
        let call = Call::Backup(ClusterId(news.cluster_id));
        match self.front_call(leader.id, call).await? {
            Answer::Backup(bytes) => Ok(bytes),
            Answer::Refused { code, why } => Err(NotDone { code, why }),
            _ => Err(NotDone::new(
                "no_answer",
                format!("{} gave an answer to something else", leader.name),
            )),
        }
    }

    /// Waits until the new cluster is led, by this manager.
    async fn leads(&self, begun: Begun) -> Result<Refounded, NotDone> {
        let Begun {
            cluster,
            origin,
            revision_before,
        } = begun;
        let own: Option<NodeId> = self.this().await.ok().map(|this| this.member.id);
        let began = Instant::now();
        while began.elapsed() < WAIT_MAX {
            let leadership = self.leader().await;
            let leadership =
                leadership.map_err(|gone| NotDone::new("stopped", gone.to_string()))?;
            let news = leadership.news.filter(|news| {
                leadership.state == LeaderState::Led
                    && news.cluster_id == cluster.0
                    && Some(news.leader) == own
            });
            if let Some(news) = news {
                return Ok(Refounded {
                    cluster,
                    origin,
                    revision_before,
                    revision: news.elected_at,
                });
            }
            sleep(LOOK).await;
        }
        Err(NotDone::new(
            "no_answer",
            format!(
                "cluster {cluster} is founded, and this manager does not lead it yet: look at \
                 \"dui leader\" and its log"
            ),
        ))
    }

    async fn order<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<T>) -> Order,
    ) -> Result<T, NotDone> {
        let stopped = || NotDone::new("stopped", "the node has stopped");
        let (reply, answer) = oneshot::channel();
        let sent = self.front.inputs.send(Input::Order(order(reply))).await;
        sent.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())
    }
}
