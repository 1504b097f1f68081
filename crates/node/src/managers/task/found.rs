//! Found: the way into a cluster, as [`course`](dui_consensus::course) says.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dui_consensus::call::{Answer, Call, Standing};
use dui_consensus::course::{self, Around, FOUNDING_TICK, Turn};
use dui_consensus::founding::{ClusterId, Founding, Output, Proposal, Record};
use dui_consensus::group::{Group, Lane, Wire};
use dui_consensus::types::Kind;
use dui_core::{LeaderNews, NodeId};
use tokio::time::Instant;

use super::{ASK_MAX, Input, Part, RETRY, Task, Written, lock, record};
use crate::clock;

/// What could not be written is written again after this.
const WRITE_AGAIN: Duration = Duration::from_secs(1);

impl Task {
    /// What this manager sees around it.
    pub(super) async fn around(&self) -> Around {
        self.around_with(None).await
    }

    async fn around_with(&self, heard: Option<&LeaderNews>) -> Around {
        let own = self.course.own_news();
        let mut voters: Vec<NodeId> = heard
            .into_iter()
            .chain(own)
            .flat_map(|news| news.voters.clone())
            .collect();
        if let Some(felt) = self.part.as_ref().and_then(|part| part.felt.as_ref()) {
            voters.extend(&felt.voters);
        }
        let seen = self.handle.ask(move |peer, _| {
            let news = peer.leader_news().cloned();
            voters.extend(news.iter().flat_map(|news| &news.voters));
            let forgotten = voters.into_iter().filter(|id| peer.is_forgotten(*id));
            Around {
                now: Duration::ZERO,
                members: peer.members(),
                forgotten: forgotten.collect(),
                news,
            }
        });
        // A node that has stopped sees nobody.
        Around {
            now: self.began.elapsed(),
            ..seen.await.unwrap_or_default()
        }
    }

    /// A manager looks where it stands.
    pub(super) async fn look_around(&mut self) {
        let around = self.around().await;
        let beat = self.part.as_mut().map(|part| part.pulse.beat());
        let part = course::Part {
            runs: beat.as_ref(),
            written: self.written,
        };
        let turns = self.course.look(&self.founding, part, &around);
        self.follow(turns).await;
    }

    /// There are news of a leader.
    pub(super) async fn meet(&mut self, news: &LeaderNews) {
        let around = self.around_with(Some(news)).await;
        let beat = self.part.as_mut().map(|part| part.pulse.beat());
        let part = course::Part {
            runs: beat.as_ref(),
            written: self.written,
        };
        let turns = self.course.hear_news(&self.founding, news, part, &around);
        self.follow(turns).await;
    }

    /// A manager says how it stands.
    pub(super) async fn hear_standing(&mut self, id: NodeId, standing: Option<Standing>) {
        self.asked.remove(&id);
        if let Some(reign) = &mut self.reign {
            reign.hear_standing(id, standing.clone());
            if standing.is_some() {
                self.look_soon(Duration::ZERO);
            }
        }
        if !self.departing {
            let around = self.around().await;
            let turns = self
                .course
                .hear_standing(&self.founding, id, standing, &around);
            self.follow(turns).await;
        }
    }

    /// In their order.
    async fn follow(&mut self, turns: Vec<Turn>) {
        for turn in turns {
            match turn {
                Turn::LookIn(wait) => self.look_soon(wait),
                Turn::Explain(why) => self.explain(&why),
                Turn::Resume => self.resume().await,
                Turn::AskHolders => {
                    let outputs = self.founding.ask();
                    self.carry_out(outputs).await;
                }
                Turn::Ask(ids) => self.ask_standings(ids),
                Turn::Propose(voters) => self.propose(voters).await,
                Turn::Abort => self.founding.abort(),
                Turn::FoundIfFirst => self.found_if_first().await,
                Turn::Join(cluster) => self.join(cluster).await,
                Turn::BeginAnew => self.begin_anew().await,
                Turn::AskOrigins(other) => self.ask_origins(other).await,
                Turn::Strangers { own, other } => self.tell_strangers(own, other),
                Turn::Crowd => tracing::warn!(
                    target: "dui", event = "many_managers", expect = self.setup.expect,
                    remedy = "twice as many managers as are expected are here: those with the \
                              lowest ids found, the others join; were they meant to be two \
                              clusters, give them two names",
                ),
            }
        }
    }

    /// Without `--expect`, on loopback: the kernel says who founds.
    async fn found_if_first(&mut self) {
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

    pub(super) async fn join(&mut self, cluster: ClusterId) {
        let outputs = self.founding.join(cluster);
        self.carry_out(outputs).await;
        let news = self.news().await;
        self.course.note(&self.founding, news.as_ref());
    }

    fn tell_strangers(&mut self, own: ClusterId, other: ClusterId) {
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

    /// A manager without a disk whose cluster is no more belongs to none.
    pub(super) async fn begin_anew(&mut self) {
        if let Some(part) = &self.part {
            self.spent.insert(part.group.cluster());
        }
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
                    self.course.hear_started(self.began.elapsed());
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
            tokio::time::sleep(WRITE_AGAIN).await;
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

    /// When a group may be started, if that is not now: the last one failed.
    pub(super) fn start_at(&self) -> Option<Instant> {
        self.not_before.filter(|at| *at > Instant::now())
    }

    /// Takes part in a group from now on; `voters` where it begins.
    pub(super) async fn take_part(&mut self, cluster: ClusterId, voters: Option<Vec<NodeId>>) {
        if self.part.is_some() || self.recovery.given_up {
            return;
        }
        if let Some(at) = self.start_at() {
            return self.look_soon(at - Instant::now());
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
