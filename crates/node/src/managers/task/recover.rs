//! Recover: what this manager does on an operator's word alone.
//!
//! A manager never decides by itself that others are lost: two halves that do
//! not see each other would both be right. An operator may. Whatever becomes
//! of it, this manager belongs to the old cluster or to the new one at any
//! moment, by one write of its record:
//!
//! ```text
//!   the old group stops        it votes and appends nothing any more
//!   raft/NEW is laid down      whole and synced, and nobody's yet
//!   founding: member = NEW, abandoned += OLD        ← here it changes
//!   raft/OLD is put aside      by the next start, too
//!   the new group starts
//! ```

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dui_consensus::backup::Backup;
use dui_consensus::call::{Answer, Call, Operation};
use dui_consensus::founding::{ClusterId, Decision, Proposal};
use dui_consensus::group::{Group, Lane, Wire};
use dui_consensus::machine::State;
use dui_consensus::seed;
use dui_core::{Member, NodeId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::recover::{Begun, Order};
use super::super::{Input, NotDone};
use super::{ASK_MAX, RETRY, Task, is_manager_here, record};
use crate::clock;

/// A majority confirms a copy within this time, if there is one.
const CONFIRM_MAX: Duration = Duration::from_secs(2);
/// A leader that is alive says within this time whether it has one.
const LED_MAX: Duration = Duration::from_secs(3);
/// So long a majority that is alive and has no leader may elect one, and so
/// many of its election timeouts.
const ELECTION_MAX: Duration = Duration::from_secs(3);
const ELECTION_TIMEOUTS: u32 = 4;
/// What an operator asked for so long ago is forgotten.
const ASKED_MAX: Duration = Duration::from_secs(600);
/// So long an operator waits for a proposal to be given up.
const ABANDON_MAX: Duration = Duration::from_secs(10);

/// What the task keeps in mind of it.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// An operator wants the proposal of the slot given up.
    pub(super) abandons: Option<ClusterId>,
    /// This node is to be started again, as a new one.
    pub(super) given_up: bool,
    /// An operator wants to found anew, though a majority may be electing.
    wanted_at: Option<Instant>,
    /// Whose origins were asked for last, and when.
    asked: Option<(ClusterId, Instant)>,
}

impl Task {
    pub(super) async fn take_order(&mut self, order: Order) {
        // Whoever ordered may have gone; it is done all the same.
        match order {
            Order::Quorum { force, reply } => {
                let _ = reply.send(self.recover_quorum(force).await);
            }
            Order::Restore(backup, reply) => {
                let _ = reply.send(self.restore(*backup).await);
            }
            Order::Reset(reply) => {
                let _ = reply.send(self.reset().await);
            }
            Order::AbandonFounding(reply) => {
                let _ = reply.send(self.abandon_founding().await);
            }
            Order::IsUndecided(held, reply) => {
                let record = self.founding.record();
                let holds = record.slot.as_ref().map(Proposal::id) == held;
                let undecided = held.is_some() && holds && record.member.is_none();
                let _ = reply.send((undecided, record.member));
            }
            Order::StandDown => self.drop_part().await,
            Order::Origins(cluster, origins) => self.hear_origins(cluster, origins).await,
        }
    }

    // --- a new cluster ---

    async fn recover_quorum(&mut self, force: bool) -> Result<Begun, NotDone> {
        self.may_found()?;
        let record = self.founding.record();
        let Some(part) = self.part.as_ref().filter(|_| record.member.is_some()) else {
            return Err(NotDone::new("no_copy", self.why_no_copy()));
        };
        let origin = part.group.cluster();
        let state = State::clone(&part.agreed.borrow().state);
        if state.decision() != Some(Decision::Created) {
            let why = "this manager has not got a copy of what was agreed yet: say it on another \
                       one that votes (\"dui managers\")";
            return Err(NotDone::new("no_copy", why));
        }
        if !force {
            self.has_no_quorum(false).await?;
        }
        self.found_anew(origin, state).await
    }

    fn why_no_copy(&self) -> String {
        let record = self.founding.record();
        match (record.member, &record.slot) {
            (Some(cluster), _) if self.written == Some(cluster) => format!(
                "what this manager has of cluster {cluster} cannot be read now; its log says why \
                 (group_not_started or group_stopped), and it tries again every {} s. Say it on \
                 another one that votes or learns (\"dui managers\"), or restore a backup on a \
                 new one",
                RETRY.as_secs()
            ),
            (Some(cluster), _) => format!(
                "this manager stands by in cluster {cluster} and has no copy of what was agreed: \
                 say it on a manager that votes or learns (\"dui managers\"), or restore a backup"
            ),
            (None, Some(_)) => "this manager holds a proposal to found a cluster, and no cluster \
                                is formed: give the proposal up (\"dui recover \
                                --abandon-founding\")"
                .into(),
            (None, None) => "this manager belongs to no formed cluster, so it has nothing to go \
                             on from: restore a backup with \"dui restore\", or let it join"
                .into(),
        }
    }

    async fn restore(&mut self, backup: Backup) -> Result<Begun, NotDone> {
        self.may_found()?;
        if backup.name != self.setup.cluster {
            let why = format!(
                "this is a backup of cluster '{}', and this node belongs to '{}': restore it on a \
                 node that is started with --cluster {}",
                backup.name, self.setup.cluster, backup.name
            );
            return Err(NotDone::new("bad_backup", why));
        }
        let record = self.founding.record();
        let holds = record.slot.is_some() && record.member.is_none();
        if holds || self.part.is_some() {
            let what = match record.member {
                Some(cluster) => format!("belongs to cluster {cluster}"),
                None => "holds a proposal to found a cluster".into(),
            };
            let why = format!(
                "this manager {what}: restore on a new one, with an empty data directory, started \
                 with --expect 3 before any other; or say \"dui recover --reset\" here, start it \
                 again and restore then, if what it has is to be given up"
            );
            return Err(NotDone::new("has_cluster", why));
        }
        if record.member.is_some() {
            // It heard of a cluster, and has promised it nothing.
            self.has_no_quorum(true).await?;
        }
        self.found_anew(backup.cluster, backup.state).await
    }

    fn may_found(&self) -> Result<(), NotDone> {
        if !self.setup.manager {
            let why = "this node is a worker: say it to a manager";
            return Err(NotDone::new("not_a_manager", why));
        }
        if self.recovery.given_up {
            let why = "this node was reset: start it again first";
            return Err(NotDone::new("not_done", why));
        }
        if self.departing {
            return Err(NotDone::new("leaving", "this node is leaving"));
        }
        Ok(())
    }

    /// Refuses where the cluster works, as far as this node sees.
    async fn has_no_quorum(&mut self, hasty: bool) -> Result<(), NotDone> {
        let members = self.members().await;
        let here = |id: &NodeId| is_here(&members, *id);
        let own = self.founding.record().member;
        let news = self.news().await;
        let news = news.filter(|news| own == Some(ClusterId(news.cluster_id)));
        let beat = self.part.as_mut().map(|part| part.pulse.beat());
        let mut groups: Vec<Vec<NodeId>> = Vec::new();
        groups.extend(
            beat.iter()
                .map(|beat| beat.voters.iter().copied().collect()),
        );
        groups.extend(news.iter().map(|news| news.voters.clone()));
        let majority = |voters: &&Vec<NodeId>| {
            let alive = voters.iter().filter(|id| here(id)).count();
            alive > voters.len() / 2
        };
        let Some(voters) = groups.iter().find(majority) else {
            self.recovery.wanted_at = None;
            return Ok(());
        };
        let leads = beat.as_ref().and_then(|beat| beat.leader);
        let told = news.as_ref().map(|news| news.leader);
        let leaders: BTreeSet<NodeId> = leads.into_iter().chain(told).collect();
        let mut led = false;
        for leader in leaders.into_iter().filter(|id| here(id)) {
            led = led || self.has_majority(leader).await;
        }
        let alive = voters.iter().filter(|id| here(id)).count();
        let (count, name) = (
            voters.len(),
            own.map_or_else(String::new, |id| id.to_string()),
        );
        if led {
            self.recovery.wanted_at = None;
            let why = format!(
                "{alive} of the {count} managers that vote in cluster {name} are alive, and it is \
                 led: nothing has to be recovered. Demote or forget the lost ones, and others \
                 take their seats; --force (force=true) founds another cluster all the same, which \
                 the managers of this one do not join"
            );
            return Err(NotDone::new("has_quorum", why));
        }
        // Somebody may have been elected meanwhile.
        let now = self.part.as_mut().map(|part| part.pulse.beat());
        let elected = now.and_then(|beat| beat.leader) != leads;
        let wait = self.part.as_ref().map_or(ELECTION_MAX, |part| {
            ELECTION_MAX.max(part.group.election_timeout() * ELECTION_TIMEOUTS)
        });
        let wanted = self.recovery.wanted_at;
        let wanted = wanted.filter(|at| at.elapsed() < ASKED_MAX);
        let since = *self
            .recovery
            .wanted_at
            .insert(wanted.unwrap_or_else(Instant::now));
        if !hasty && (elected || since.elapsed() < wait) {
            let more = wait.saturating_sub(since.elapsed()).as_secs() + 1;
            let why = format!(
                "a majority of the managers is alive and may be electing: say it again in {more} s, \
                 or --force (force=true) now"
            );
            return Err(NotDone::new("busy", why));
        }
        self.recovery.wanted_at = None;
        Ok(())
    }

    /// Whether this leader still has a majority behind it. The last one that
    /// was elected stays known as such, though its log has stopped, or it
    /// reaches nobody: then it says so itself. Who hears nothing of it, or has
    /// only heard of it, cannot know, and an operator may say --force.
    async fn has_majority(&self, leader: NodeId) -> bool {
        let Some(part) = &self.part else {
            return true;
        };
        if leader == self.setup.me {
            let confirmed = tokio::time::timeout(LED_MAX, part.group.confirm()).await;
            return matches!(confirmed, Ok(Ok(())));
        }
        // It answers once a majority has answered it.
        let call = Call::Backup(part.group.cluster()).encode();
        let answer = self.calls.call(leader, Lane::Bulk, call, LED_MAX).await;
        let answer = answer.ok().and_then(|bytes| Answer::decode(&bytes).ok());
        !matches!(answer, Some(Answer::Refused { .. }))
    }

    /// The steps of the [module](self).
    async fn found_anew(&mut self, origin: ClusterId, state: State) -> Result<Begun, NotDone> {
        let not_done = |why: String| NotDone::new("not_done", why);
        let nonce = clock::fresh_u128().map_err(|error| not_done(error.to_string()))?;
        let me = self.setup.me;
        let alone = Proposal::new(self.setup.cluster.as_str(), BTreeSet::from([me]), nonce);
        let cluster = alone.map(|alone| alone.id());
        let cluster = cluster.ok_or_else(|| not_done("nobody founds".into()))?;
        let heard = self.news().await.map_or(0, |news| news.revision);
        let revision_before = state.revision();
        let state = state.refounded(me, origin, heard);
        let lost = self.founding.record().member;

        self.drop_part().await;
        let dir = self.setup.dir.clone();
        let laid = match &dir {
            Some(dir) => {
                let dir = record::group_dir(dir, cluster);
                seed::on_disk(&dir, me, state).await.map(|()| None)
            }
            None => seed::in_memory(me, state).await.map(Some),
        };
        let opened = match laid {
            Ok(opened) => opened,
            Err(error) => {
                if let Some(dir) = dir {
                    remove(record::group_dir(&dir, cluster)).await;
                }
                self.resume().await;
                return Err(not_done(error.to_string()));
            }
        };
        self.recovery.abandons = None;
        self.written = Some(cluster);
        let outputs = self.founding.refound(cluster);
        self.carry_out(outputs).await;
        if self.handle.is_stopped() {
            // Whether that was written, the next start sees.
            return Err(NotDone::new("stopped", "the node has stopped"));
        }
        tracing::warn!(
            target: "dui", event = "cluster_recovered", cluster_id = %cluster, origin = %origin,
            reason = "an operator said so: this manager founds anew, from what it had",
        );
        self.put_aside_what_is_lost(lost).await;
        match opened {
            None => self.take_part(cluster, None).await,
            Some(opened) => {
                let wire = Arc::new(self.calls.clone());
                let group = Group::start_on(cluster, me, opened, wire).await;
                let group = group.map_err(|error| not_done(error.to_string()))?;
                self.join_in(group).await;
            }
        }
        Ok(Begun {
            cluster,
            origin,
            revision_before,
        })
    }

    /// Data of a group that this manager takes no part in any more: kept, and
    /// never used again.
    pub(super) async fn put_aside_what_is_lost(&self, also: Option<ClusterId>) {
        let Some(dir) = self.setup.dir.clone() else {
            return;
        };
        let record = self.founding.record();
        let lost = record.abandoned.iter().copied().chain(also);
        let lost: BTreeSet<ClusterId> = lost.filter(|id| record.member != Some(*id)).collect();
        let stamp = clock::wall_ms();
        let moved = tokio::task::spawn_blocking(move || {
            lost.iter()
                .try_for_each(|id| record::put_group_aside(&dir, *id, stamp))
        });
        if let Ok(Err(error)) = moved.await {
            tracing::warn!(
                target: "dui", event = "old_data_not_moved", %error,
                remedy = "it is not used again, and moved at the next start",
            );
        }
    }

    // --- giving up ---

    async fn reset(&mut self) -> Result<(), NotDone> {
        if !self.setup.manager {
            let why = "this node is a worker, which promises nothing: there is nothing to reset";
            return Err(NotDone::new("not_a_manager", why));
        }
        if self.setup.dir.is_none() {
            let why = "this node has no data directory: it is a new one whenever it is started";
            return Err(NotDone::new("no_data_dir", why));
        }
        self.mark_for_reset().await?;
        let (reply, departed) = oneshot::channel();
        self.depart(reply).await;
        let sender = self.sender.clone();
        tokio::spawn(async move {
            // However it went, it takes no part after this.
            let _ = departed.await;
            let _ = sender.send(Input::Order(Order::StandDown)).await;
        });
        Ok(())
    }

    /// From here on this node is to be started again.
    async fn mark_for_reset(&mut self) -> Result<(), NotDone> {
        let Some(dir) = self.setup.dir.clone() else {
            return Ok(());
        };
        let marked = tokio::task::spawn_blocking(move || record::give_up(&dir)).await;
        let marked = marked.unwrap_or_else(|gone| Err(std::io::Error::other(gone)));
        marked.map_err(|error| {
            let why = format!("the data directory takes no mark: {error}; free some space");
            NotDone::new("not_done", why)
        })?;
        self.recovery.given_up = true;
        self.departing = true;
        self.founding.abort();
        tracing::warn!(
            target: "dui", event = "reset", remedy = "start this node again: it is a new one then",
        );
        self.explain("this manager was reset: start it again, and it is a new one");
        Ok(())
    }

    async fn abandon_founding(&mut self) -> Result<Option<ClusterId>, NotDone> {
        if !self.setup.manager {
            let why = "this node is a worker, which founds nothing: say it to a manager";
            return Err(NotDone::new("not_a_manager", why));
        }
        if !self.founding.is_undecided() {
            let what = match self.founding.record().member {
                Some(cluster) => format!("belongs to the formed cluster {cluster}"),
                None => "holds no proposal".into(),
            };
            let why = format!("this manager {what}: there is nothing to abandon");
            return Err(NotDone::new("not_founding", why));
        }
        let held = self.founding.record().slot.as_ref().map(Proposal::id);
        if held.is_some() && self.part.is_none() {
            let why = format!("this manager has no part in the decision: {}", self.told);
            return Err(NotDone::new("not_done", why));
        }
        self.founding.abort();
        self.course.hear_abandoned();
        self.recovery.abandons = held;
        self.ask_for_the_lead();
        self.look_soon(Duration::ZERO);
        Ok(held)
    }

    /// Whoever leads the group of the proposal has it given up, and only this
    /// manager knows that an operator wants that: so it asks to lead.
    fn ask_for_the_lead(&self) {
        let Some(part) = &self.part else {
            return;
        };
        let (me, cluster) = (self.setup.me, part.group.cluster());
        let (mut pulse, calls) = (part.group.pulse(), self.calls.clone());
        let agreed = part.agreed.clone();
        let asking = async move {
            // A cluster that was created all the same is left alone.
            while agreed.borrow().state.decision().is_none() {
                match pulse.beat().leader {
                    Some(leader) if leader != me => {
                        let call = Call::Operate(cluster, Operation::Move(me)).encode();
                        // Where that failed, it is asked again, or another is.
                        let _ = calls.call(leader, Lane::Log, call, ASK_MAX).await;
                        tokio::time::sleep(ASK_MAX / 4).await;
                    }
                    _ if pulse.changed().await => {}
                    // The group was dropped.
                    _ => return,
                }
            }
        };
        tokio::spawn(tokio::time::timeout(ABANDON_MAX, asking));
    }

    // --- who was recovered elsewhere ---

    /// Asks whether the other cluster goes on for the own one: then this
    /// manager is not a stranger, but late.
    pub(super) async fn ask_origins(&mut self, other: ClusterId) {
        let asked = self.recovery.asked;
        if asked.is_some_and(|(id, at)| id == other && at.elapsed() < RETRY) {
            return;
        }
        self.recovery.asked = Some((other, Instant::now()));
        let news = self.news().await;
        let voters = news.map_or(Vec::new(), |news| news.voters);
        let (calls, sender) = (self.calls.clone(), self.sender.clone());
        tokio::spawn(async move {
            let mut origins = None;
            // It may have started this very moment, and know nobody yet.
            for voter in voters.iter().cycle().take(voters.len() * 5) {
                let call = Call::Origins(other).encode();
                let bytes = calls.call(*voter, Lane::Log, call, ASK_MAX).await;
                let answer = bytes.ok().and_then(|bytes| Answer::decode(&bytes).ok());
                if let Some(Answer::Origins(told)) = answer {
                    origins = Some(told);
                    break;
                }
                tokio::time::sleep(ASK_MAX / 4).await;
            }
            let order = Order::Origins(other, origins);
            // No task any more, nobody to tell.
            let _ = sender.send(Input::Order(order)).await;
        });
    }

    async fn hear_origins(&mut self, other: ClusterId, origins: Option<Vec<ClusterId>>) {
        let (Some(own), Some(origins)) = (self.founding.record().member, origins) else {
            return;
        };
        if own == other || !origins.contains(&own) || self.recovery.given_up {
            return;
        }
        let members = self.members().await;
        let theirs = self.news().await.map_or(Vec::new(), |news| news.voters);
        let alive = |id: &&NodeId| is_here(&members, **id) && !theirs.contains(id);
        let works = self.part.as_mut().is_some_and(|part| {
            let voters = part.pulse.beat().voters;
            voters.iter().filter(alive).count() > voters.len() / 2
        });
        if works {
            return;
        }
        if self.setup.dir.is_none() {
            self.begin_anew().await;
            return self.join(other).await;
        }
        if self.mark_for_reset().await.is_ok() {
            self.drop_part().await;
            tracing::warn!(
                target: "dui", event = "cluster_recovered_elsewhere", own = %own, other = %other,
                reason = "an operator has founded anew from another manager's copy: what this one \
                          has of the old cluster is of no use any more",
                remedy = "start this node again: it puts its old data aside and joins as a new one",
            );
        }
    }

    // --- answers to others ---

    pub(super) fn tell_origins(&self, cluster: ClusterId) -> Answer {
        let part = self.part.as_ref().filter(|_| self.is_of(cluster));
        match part {
            Some(part) => Answer::Origins(part.agreed.borrow().state.origins().to_vec()),
            None => of_another(cluster),
        }
    }

    /// A copy of what is agreed, once a majority has said that it is not old.
    pub(super) fn back_up(&self, cluster: ClusterId, reply: oneshot::Sender<Answer>) {
        let part = self.part.as_ref().filter(|_| self.is_of(cluster));
        let Some(part) = part else {
            let _ = reply.send(of_another(cluster));
            return;
        };
        let (group, agreed) = (part.group.clone(), part.agreed.clone());
        let name = self.setup.cluster.clone();
        tokio::spawn(async move {
            let refused = |code: &str, why: String| Answer::Refused {
                code: code.into(),
                why,
            };
            let confirmed = tokio::time::timeout(CONFIRM_MAX, group.confirm()).await;
            let answer = match confirmed {
                Ok(Ok(())) => {
                    let state = State::clone(&agreed.borrow().state);
                    let backup = Backup {
                        name,
                        cluster,
                        made_ms: clock::wall_ms(),
                        state,
                    };
                    Answer::Backup(backup.encode())
                }
                Ok(Err(dui_consensus::group::GroupError::NotLeader(_))) => {
                    refused("not_leader", "this manager does not lead".into())
                }
                Ok(Err(error)) => refused("not_done", error.to_string()),
                Err(_) => refused(
                    "no_leader",
                    "the leader reaches no majority of the managers".into(),
                ),
            };
            // Whoever asked may have gone.
            let _ = reply.send(answer);
        });
    }
}

fn of_another(cluster: ClusterId) -> Answer {
    Answer::Refused {
        code: "other_cluster".into(),
        why: format!("this manager has no part in cluster {cluster}"),
    }
}

fn is_here(members: &[Member], id: NodeId) -> bool {
    let member = members.iter().find(|member| member.id == id);
    member.is_some_and(is_manager_here)
}

async fn remove(dir: PathBuf) {
    // What stays is never used.
    let _ = tokio::task::spawn_blocking(|| std::fs::remove_dir_all(dir)).await;
}
