//! Found: the way into a cluster, by founding or by joining.

use std::collections::BTreeSet;
use std::time::Duration;

use dui_consensus::call::{Answer, Call};
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
            return self.meet(ClusterId(news.cluster_id)).await;
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

    /// Somebody is of this cluster.
    pub(super) async fn meet(&mut self, cluster: ClusterId) {
        let record = self.founding.record();
        match (&record.slot, record.member) {
            (_, Some(own)) if own == cluster => {}
            (_, Some(own)) => self.meet_stranger(own, cluster).await,
            // Its own proposal has to be decided first.
            (Some(_), None) => {}
            (None, None) => self.join(cluster).await,
        }
    }

    async fn join(&mut self, cluster: ClusterId) {
        let outputs = self.founding.join(cluster);
        self.carry_out(outputs).await;
    }

    /// Belongs to one cluster and hears of another.
    async fn meet_stranger(&mut self, own: ClusterId, other: ClusterId) {
        if self.setup.dir.is_none() && self.is_forsaken().await {
            self.begin_anew().await;
            return self.join(other).await;
        }
        let why = format!(
            "this manager belongs to cluster {own}, others to {other}: if the other one is right, \
             stop this node, move its data directory away and start it again; two clusters that \
             both have data do not become one"
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
        if self.written.is_some() && self.written == self.founding.record().member {
            return self.resume().await;
        }
        if self.founder.is_some() && self.setup.dir.is_none() && self.is_forsaken().await {
            self.begin_anew().await;
            self.look_soon(Duration::ZERO);
        }
    }

    /// Whether all voters of what this node heard of are gone, and none of
    /// them had a disk to come back with.
    async fn is_forsaken(&self) -> bool {
        match self.news().await {
            Some(news) => self.is_over(&news).await,
            None => false,
        }
    }

    pub(super) async fn is_over(&self, news: &LeaderNews) -> bool {
        let members = self.members().await;
        let alive = |id: &NodeId| {
            let member = members.iter().find(|member| member.id == *id);
            member.is_some_and(|member| {
                matches!(member.state, MemberState::Alive | MemberState::Suspect)
            })
        };
        news.ephemeral && !news.voters.iter().any(alive)
    }

    /// A manager without a disk whose cluster is no more belongs to none.
    async fn begin_anew(&mut self) {
        self.drop_part().await;
        self.written = None;
        self.founding = Founding::new(self.setup.me, Record::default());
        if let Some(founder) = &mut self.founder {
            founder.stand_up();
        }
    }

    // --- what founding decided ---

    /// In their order.
    pub(super) async fn carry_out(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Write => self.write().await,
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
                        self.write().await;
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
                    self.explain("the managers of its cluster are electing a leader");
                }
            }
        }
    }

    /// Nothing that depends on it goes on before it is written.
    pub(super) async fn write(&mut self) {
        let Some(dir) = self.setup.dir.clone() else {
            return;
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
                Ok(Ok(())) => return,
                Ok(Err(error)) => tracing::error!(
                    target: "dui", event = "founding_not_written", %error,
                    remedy = "free some space or mount it writable: retried every second",
                ),
                // The runtime shuts down.
                Err(_) => return,
            }
            tokio::time::sleep(QUERY_EVERY).await;
            if self.handle.is_stopped() {
                return;
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
        if self.part.is_some() {
            return;
        }
        if let Err(why) = self.start_group(cluster, voters).await {
            tracing::error!(target: "dui", event = "group_not_started", reason = %why);
            self.explain(&why);
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
            self.write().await;
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
        *lock(&self.front.group) = Some(group.clone());
        self.part = Some(Part {
            pulse: group.pulse(),
            felt: None,
            agreed: group.agreed(),
            group,
        });
        self.feel_pulse().await;
        Ok(())
    }

    pub(super) async fn drop_part(&mut self) {
        self.reign = None;
        *lock(&self.front.group) = None;
        if let Some(part) = self.part.take() {
            part.group.stop().await;
        }
    }

    /// Asks managers how they stand; their answers come as inputs.
    pub(super) fn ask_standings(&self, asked: Vec<NodeId>) {
        for id in asked {
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
