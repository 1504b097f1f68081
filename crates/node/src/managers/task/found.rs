//! Found: the way into a cluster, by founding or by joining.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dui_consensus::call::{Answer, Call, Standing};
use dui_consensus::founding::sight::Advice;
use dui_consensus::founding::{ClusterId, Founding, Output, Proposal, Record};
use dui_consensus::group::{Group, Lane, Wire};
use dui_consensus::types::Kind;
use dui_core::{LeaderNews, MemberState, NodeId};
use tokio::time::Instant;

use super::{
    ASK_MAX, FOUNDING_TICK, Input, Part, RETRY, Task, Written, is_manager_here, lock, record,
};
use crate::clock;

/// Holders ask each other how their proposal stands this often.
const QUERY_EVERY: Duration = Duration::from_secs(1);
/// Between two looks of who waits for others to come or go.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Who is alive on loopback has been heard of by then.
const SETTLED: Duration = Duration::from_secs(1);
/// A proposal that is not complete by then is dropped, for a new one.
const PROPOSAL_MAX: Duration = Duration::from_secs(2);

impl Task {
    /// A manager that belongs to no cluster looks for one, or founds it.
    pub(super) async fn look_for_a_cluster(&mut self) {
        if self.founding.record().slot.is_some() {
            if self.part.is_none() {
                return self.resume().await;
            }
            if self.ask_at <= Instant::now() {
                self.ask_at = Instant::now() + QUERY_EVERY;
                let outputs = self.founding.ask();
                self.carry_out(outputs).await;
            }
            self.explain("its proposal to found a cluster is being decided");
            return self.look_soon(FOUNDING_TICK);
        }
        if let Some(news) = self.news().await
            && !self.is_over(&news).await
        {
            return self.meet(&news).await;
        }
        if self.sight.is_some() {
            self.look_around().await;
            self.look_soon(FOUNDING_TICK);
        } else if self.founder.is_some() {
            self.found_alone().await;
        } else {
            self.explain(
                "no cluster of managers is formed: start every manager with --expect N, the \
                 number of managers to found with (3 is usual, 1 for a single one)",
            );
        }
    }

    /// With `--expect`: proposes when all are here.
    async fn look_around(&mut self) {
        let members = self.members().await;
        let managers = members.iter().filter(|member| is_manager_here(member));
        let managers: BTreeSet<NodeId> = managers.map(|member| member.id).collect();
        let Some(sight) = &mut self.sight else {
            return;
        };
        let asked = sight.to_ask(&managers);
        self.answers.retain(|id, _| asked.contains(id));
        for id in &asked {
            self.answers.entry(*id).or_insert(None);
        }
        let since = self.began.elapsed();
        let advice = sight.advise(since, &self.answers);
        if sight.is_crowded(&self.answers) && !self.crowd_told {
            self.crowd_told = true;
            tracing::warn!(
                target: "dui", event = "many_managers", expect = self.setup.expect,
                remedy = "twice as many managers as are expected are here: those with the lowest \
                          ids found, the others join; were they meant to be two clusters, give \
                          them two names",
            );
        }
        self.ask_standings(asked);
        if let Some(at) = self.proposed_at {
            if at.elapsed() < PROPOSAL_MAX {
                return;
            }
            self.founding.abort();
            self.proposed_at = None;
        }
        match advice {
            Advice::Wait(why) => self.explain(&why),
            Advice::Join(cluster) => self.join(cluster).await,
            Advice::Propose(voters) => {
                self.proposed_at = Some(Instant::now());
                self.propose(voters).await;
            }
        }
    }

    /// Without `--expect`, on loopback: the kernel says who founds.
    async fn found_alone(&mut self) {
        let Some(founder) = &mut self.founder else {
            return;
        };
        match founder.may_found() {
            Ok(true) => self.propose(BTreeSet::from([self.setup.me])).await,
            Ok(false) => {
                self.explain("another manager of this machine founds, or has founded, the cluster");
                self.look_soon(FOUNDING_TICK);
            }
            Err(error) => {
                self.explain(&format!(
                    "this system has no abstract sockets ({error}): say --expect 1"
                ));
                self.look_soon(RETRY);
            }
        }
    }

    /// A manager says how it stands. Where it belongs to a cluster, a fresh one
    /// joins that.
    pub(super) async fn hear_standing(&mut self, id: NodeId, standing: Option<Standing>) {
        self.asked.remove(&id);
        if let Some(reign) = &mut self.reign {
            let told = standing.is_some();
            reign.standings.insert(id, standing.clone());
            if told {
                self.look_soon(Duration::ZERO);
            }
        }
        if !self.founding.is_fresh() || !self.setup.manager || self.departing {
            return;
        }
        match standing.as_ref().and_then(|standing| standing.member) {
            Some(cluster) => self.join(cluster).await,
            None => {
                let told = standing.is_some();
                self.answers.insert(id, standing);
                if told {
                    self.look_soon(Duration::ZERO);
                }
            }
        }
    }

    async fn propose(&mut self, voters: BTreeSet<NodeId>) {
        let Ok(nonce) = clock::fresh_u128() else {
            // A system without entropy gets it later.
            return self.look_soon(RETRY);
        };
        let proposal = Proposal::new(self.setup.cluster.as_str(), voters, nonce);
        let outputs = proposal.map(|proposal| self.founding.propose(proposal));
        self.carry_out(outputs.unwrap_or_default()).await;
        self.look_soon(FOUNDING_TICK);
    }

    /// Others say that they are of this cluster. Who has heard of one founds
    /// none; it joins once one of those who vote there says that it belongs to
    /// it, for what others remember may be long gone.
    pub(super) async fn meet(&mut self, news: &LeaderNews) {
        let cluster = ClusterId(news.cluster_id);
        let record = self.founding.record();
        match (&record.slot, record.member) {
            (_, Some(own)) if own == cluster => {}
            (_, Some(own)) => self.meet_stranger(own, news).await,
            // Its own proposal has to be decided first.
            (Some(_), None) => {}
            (None, None) => {
                let alive = self.alive_of(&news.voters).await;
                self.look_soon(LOOK_AGAIN);
                if !alive.is_empty() {
                    return self.ask_standings(alive);
                }
                self.explain(&format!(
                    "cluster {cluster} was formed before, and none of those who vote there is \
                     here: start them; where they are lost for good, \"dui forget\" each of them, \
                     or start the nodes anew that still tell of it, and another one is founded"
                ));
            }
        }
    }

    pub(super) async fn join(&mut self, cluster: ClusterId) {
        let outputs = self.founding.join(cluster);
        self.carry_out(outputs).await;
        let news = self.news().await;
        self.own_news = news.filter(|news| news.cluster_id == cluster.0);
    }

    /// Belongs to one cluster and hears of another.
    async fn meet_stranger(&mut self, own: ClusterId, news: &LeaderNews) {
        // Of one that is no more the leader takes the revision, no more.
        if self.is_over(news).await {
            return;
        }
        let other = ClusterId(news.cluster_id);
        if self.is_forsaken().await {
            self.begin_anew().await;
            return self.join(other).await;
        }
        self.ask_origins(other).await;
        let why = format!(
            "this manager belongs to cluster {own}, others to {other}: if the other one is right, \
             say \"dui recover --reset\" here and start this node again; two clusters that both \
             have data do not become one"
        );
        if self.told != why {
            tracing::error!(
                target: "dui", event = "other_cluster", own = %own, other = %other, reason = %why,
            );
            self.told.clone_from(&why);
            *lock(&self.front.why) = why;
        }
    }

    /// A manager that stands by notices when nobody is left to stand by for.
    pub(super) async fn stand_by(&mut self) {
        let member = self.founding.record().member;
        if self.part.is_none() && self.written.is_some() && self.written == member {
            return self.resume().await;
        }
        if self.founder.is_none() {
            return;
        }
        if self.is_forsaken().await {
            self.begin_anew().await;
            self.look_soon(Duration::ZERO);
        } else if self.setup.dir.is_none() {
            self.look_soon(LOOK_AGAIN);
        }
    }

    /// Whether all who vote in its cluster are gone for good, it is not one of
    /// them, and it has promised nothing that outlives it.
    async fn is_forsaken(&self) -> bool {
        let own = self.founding.record().member;
        let news = self.own_news.as_ref();
        match news.filter(|news| own == Some(ClusterId(news.cluster_id))) {
            Some(news) if self.setup.dir.is_none() => {
                !news.voters.contains(&self.setup.me) && self.is_over(news).await
            }
            _ => false,
        }
    }

    /// Those of them who are here, and not this one.
    async fn alive_of(&self, ids: &[NodeId]) -> Vec<NodeId> {
        let members = self.members().await;
        let here = members.iter().filter(|member| is_manager_here(member));
        let here = here.map(|member| member.id);
        here.filter(|id| ids.contains(id) && *id != self.setup.me)
            .collect()
    }

    /// Those of them whom an operator has removed for good.
    pub(super) async fn forgotten_of<'a>(
        &self,
        ids: impl IntoIterator<Item = &'a NodeId>,
    ) -> BTreeSet<NodeId> {
        let ids: Vec<NodeId> = ids.into_iter().copied().collect();
        let asked = self.handle.ask(move |peer, _| {
            let forgotten = ids.into_iter().filter(|id| peer.is_forgotten(*id));
            forgotten.collect()
        });
        // A node that has stopped has forgotten nobody.
        asked.await.unwrap_or_default()
    }

    /// Whether all who vote are gone for good. Whoever is only not seen may be
    /// cut off and alive; a disk comes back. Without one an id ends with its
    /// process: when it has left, and on loopback, where nothing can be cut,
    /// when it has failed.
    pub(super) async fn is_over(&self, news: &LeaderNews) -> bool {
        let members = self.members().await;
        let forgotten = self.forgotten_of(&news.voters).await;
        let settled = self.began.elapsed() >= SETTLED;
        news.voters.iter().all(|id| {
            if forgotten.contains(id) || self.superseded.contains(id) {
                return true;
            }
            let member = members.iter().find(|member| member.id == *id);
            news.ephemeral
                && match member.map(|member| member.state) {
                    Some(MemberState::Alive | MemberState::Suspect) => false,
                    Some(MemberState::Left) => true,
                    Some(MemberState::Failed) => self.setup.loopback,
                    None => self.departed.contains(id) || (self.setup.loopback && settled),
                }
        })
    }

    /// A manager without a disk whose cluster is no more belongs to none.
    pub(super) async fn begin_anew(&mut self) {
        self.drop_part().await;
        self.written = None;
        self.founding = Founding::new(self.setup.me, Record::default());
        if let Some(founder) = &mut self.founder {
            founder.stand_up();
        }
    }

    // --- what founding decided ---

    /// In their order. What could not be written is not acted on either.
    pub(super) async fn carry_out(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Write if self.write().await => {}
                Output::Write => return,
                Output::Send { to, proposal, word } => {
                    let call = Call::Word(proposal, word).encode();
                    let calls = self.calls.clone();
                    tokio::spawn(async move {
                        // What is lost is asked for again.
                        let _ = calls.call(to, Lane::Log, call, ASK_MAX).await;
                    });
                }
                Output::StartGroup(proposal) => {
                    self.proposed_at = None;
                    self.ask_at = Instant::now() + QUERY_EVERY;
                    let voters = proposal.voters().to_vec();
                    self.take_part(proposal.id(), Some(voters)).await;
                    self.look_soon(FOUNDING_TICK);
                }
                Output::DropGroup(proposal) => {
                    self.drop_part().await;
                    if self.written == Some(proposal.id()) {
                        self.written = None;
                        if !self.write().await {
                            return;
                        }
                    }
                    if let Some(dir) = &self.setup.dir {
                        let dir = record::group_dir(dir, proposal.id());
                        // What stays is never used again.
                        let _ = tokio::task::spawn_blocking(|| std::fs::remove_dir_all(dir)).await;
                    }
                    self.look_soon(FOUNDING_TICK);
                }
                Output::Serve(cluster) => {
                    self.sit();
                    tracing::info!(target: "dui", event = "cluster_joined", cluster_id = %cluster);
                    if self.news_logged.is_none() {
                        self.explain("the managers of its cluster are electing a leader");
                    }
                }
            }
        }
    }

    /// Nothing that depends on it goes on before it is written; `false`: it was
    /// not, and the node is stopping.
    pub(super) async fn write(&mut self) -> bool {
        let Some(dir) = self.setup.dir.clone() else {
            return true;
        };
        let written = Written {
            record: self.founding.record().clone(),
            group: self.written,
        };
        let me = self.setup.me;
        loop {
            let (dir, written) = (dir.clone(), written.clone());
            let done = tokio::task::spawn_blocking(move || record::write(&dir, me, &written)).await;
            match done {
                Ok(Ok(())) => return true,
                Ok(Err(error)) => tracing::error!(
                    target: "dui", event = "founding_not_written", %error,
                    remedy = "free some space or mount it writable: retried every second",
                ),
                // The runtime shuts down.
                Err(_) => return false,
            }
            tokio::time::sleep(QUERY_EVERY).await;
            if self.handle.is_stopped() {
                return false;
            }
        }
    }

    pub(super) fn sit(&mut self) {
        if let Some(founder) = &mut self.founder
            && let Err(error) = founder.sit()
        {
            tracing::debug!(target: "dui", event = "no_seat", %error);
        }
    }

    /// Takes part in a group from now on; `voters` where it begins.
    pub(super) async fn take_part(&mut self, cluster: ClusterId, voters: Option<Vec<NodeId>>) {
        let early = self.not_before.is_some_and(|at| Instant::now() < at);
        if self.part.is_some() || self.recovery.given_up || early {
            return;
        }
        if self.spent.contains(&cluster) {
            return self.explain(
                "the managers' log of this node has stopped, and was in memory alone: start the \
                 node again, as a new one",
            );
        }
        if let Err(why) = self.start_group(cluster, voters).await {
            tracing::error!(target: "dui", event = "group_not_started", reason = %why);
            self.explain(&why);
            self.not_before = Some(Instant::now() + RETRY);
            self.look_soon(RETRY);
        }
    }

    async fn start_group(
        &mut self,
        cluster: ClusterId,
        voters: Option<Vec<NodeId>>,
    ) -> Result<(), String> {
        let dir = self.setup.dir.as_ref();
        let dir = dir.map(|dir| record::group_dir(dir, cluster));
        if self.written != Some(cluster) {
            if let Some(dir) = dir.clone() {
                let made = tokio::task::spawn_blocking(|| std::fs::create_dir_all(dir)).await;
                made.map_err(|gone| gone.to_string())?
                    .map_err(|error| format!("the managers' log cannot be made: {error}"))?;
            }
            self.written = Some(cluster);
            if !self.write().await {
                return Err("the node is stopping".into());
            }
        }
        let wire = std::sync::Arc::new(self.calls.clone());
        let group = Group::start(cluster, self.setup.me, dir.as_deref(), wire).await;
        let group = group.map_err(|error| error.to_string())?;
        if let Some(voters) = voters {
            let kind = Kind {
                ephemeral: self.setup.dir.is_none(),
            };
            let begun = group.begin(&voters, kind).await;
            begun.map_err(|error| error.to_string())?;
        }
        self.join_in(group).await;
        Ok(())
    }

    /// A group has started.
    pub(super) async fn join_in(&mut self, group: Group) {
        *lock(&self.front.group) = Some(group.clone());
        self.part = Some(Part {
            pulse: group.pulse(),
            felt: None,
            agreed: group.agreed(),
            group,
        });
        self.feel_pulse().await;
    }

    pub(super) async fn drop_part(&mut self) {
        self.reign = None;
        self.front.doubt.store(false, Ordering::Relaxed);
        *lock(&self.front.group) = None;
        if let Some(part) = self.part.take() {
            part.group.stop().await;
        }
    }

    /// Asks managers how they stand; their answers come as inputs.
    pub(super) fn ask_standings(&mut self, asked: Vec<NodeId>) {
        for id in asked {
            // One question at a time.
            if !self.asked.insert(id) {
                continue;
            }
            let (calls, sender) = (self.calls.clone(), self.sender.clone());
            tokio::spawn(async move {
                let bytes = calls
                    .call(id, Lane::Log, Call::Standing.encode(), ASK_MAX)
                    .await;
                let answer = bytes.ok().and_then(|bytes| Answer::decode(&bytes).ok());
                let standing = match answer {
                    Some(Answer::Standing(standing)) => Some(standing),
                    _ => None,
                };
                // No task any more, nobody to tell.
                let _ = sender.send(Input::Standing(id, standing)).await;
            });
        }
    }
}
