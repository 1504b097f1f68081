//! Groups: the Raft groups of a town, each one thing that its majority moves.

use std::collections::BTreeSet;
use std::time::Duration;

use dui_core::{LeaderNews, NodeId};

use super::super::super::Mistake;
use super::{Node, TICK, Town, WALL_MS, beat};
use crate::founding::ClusterId;
use crate::group::Beat;
use crate::machine::State;
use crate::reign::{Act, Realm, Reign, Round};
use crate::seats::{Rules, Step};

/// What all who take part in it would agree on.
#[derive(Default)]
pub(super) struct Group {
    pub(super) state: State,
    pub(super) voters: BTreeSet<NodeId>,
    pub(super) learners: BTreeSet<NodeId>,
    pub(super) leader: Option<NodeId>,
    pub(super) term: u64,
}

impl Town {
    pub(super) fn runs(&self, cluster: ClusterId, id: NodeId) -> bool {
        let node = self.nodes.get(&id);
        node.is_some_and(|node| node.part == Some(cluster))
    }

    /// A majority runs and reaches the leader, if there is one.
    pub(super) fn works(&self, cluster: ClusterId) -> bool {
        let group = &self.groups[&cluster];
        let reached = |id: &&NodeId| {
            let leader = group.leader;
            let cut = leader.is_some_and(|leader| self.cuts.contains(&(leader, **id)));
            self.runs(cluster, **id) && !cut
        };
        group.voters.iter().filter(reached).count() > group.voters.len() / 2
    }

    pub(super) fn elect(&mut self, cluster: ClusterId) {
        let group = &self.groups[&cluster];
        let voters = group.voters.iter().copied();
        let able: Vec<NodeId> = voters.filter(|id| self.runs(cluster, *id)).collect();
        let leads = group.leader.filter(|id| able.contains(id));
        if leads.is_some() && self.works(cluster) {
            return;
        }
        for node in self.nodes.values_mut() {
            if node.part == Some(cluster) {
                node.reign = None;
            }
        }
        let next = self.pick(&able).filter(|_| self.random.is_multiple_of(3));
        self.groups.get_mut(&cluster).unwrap().leader = next;
        let elected = next.filter(|_| self.works(cluster));
        let group = self.groups.get_mut(&cluster).unwrap();
        group.leader = elected;
        if let Some(next) = elected {
            group.term += 1;
            let node = self.nodes.get_mut(&next).unwrap();
            node.reign = Some(Reign::begin(group.term, self.now - node.began));
            node.look_at = Some(self.now);
        }
    }

    /// What the group has decided reaches those who run it.
    pub(super) fn apply(&mut self, cluster: ClusterId) {
        let Some(decision) = self.groups[&cluster].state.decision() else {
            return;
        };
        for id in self.ids() {
            if self.runs(cluster, id) && self.chance(2) == 0 {
                let beat = self.groups[&cluster].beat();
                let node = self.nodes.get_mut(&id).unwrap();
                node.beat = beat;
                let outputs = node.founding.decided(decision);
                self.carry_out(id, outputs);
            }
        }
    }

    pub(super) fn rule(&mut self, id: NodeId) {
        let Some(cluster) = self.nodes[&id].part else {
            return;
        };
        let group = &self.groups[&cluster];
        if group.leader != Some(id) || !self.works(cluster) {
            return;
        }
        let everybody: BTreeSet<NodeId> = group.voters.union(&group.learners).copied().collect();
        let running = everybody.iter().filter(|id| self.runs(cluster, **id));
        let beat = Beat {
            leader: Some(id),
            leads: true,
            term: group.term,
            learners: group.learners.clone(),
            last: 1,
            matched: running.map(|id| (*id, 1)).collect(),
            ephemeral: everybody.into_iter().filter(|_| self.loopback).collect(),
            ..beat(&group.voters)
        };
        let state = group.state.clone();
        let realm = Realm {
            me: id,
            cluster,
            beat: &beat,
            state: &state,
            rules: &Rules::default(),
            ephemeral: self.loopback && self.mistake != Some(Mistake::NoClock),
            wall_ms: WALL_MS + self.now.as_millis() as u64,
            departing: false,
            abandons: false,
        };
        let node = self.nodes.get_mut(&id).unwrap();
        let around = node.around(self.now);
        let reign = node.reign.as_mut().unwrap();
        let acts = reign.look(&realm, &node.founding, &node.course, &around);
        for act in acts {
            self.take(id, cluster, act);
        }
    }

    fn take(&mut self, id: NodeId, cluster: ClusterId, act: Act) {
        let group = self.groups.get_mut(&cluster).unwrap();
        let node = self.nodes.get_mut(&id).unwrap();
        let reign = node.reign.as_mut().unwrap();
        match act {
            Act::LookIn(wait) => self.look_in(id, wait),
            Act::Write(round, command) => {
                let before = group.state.election();
                group.state.apply(&command);
                reign.hear_done(round, true);
                let election = group.state.election().filter(|now| Some(*now) != before);
                if let Some(election) = election {
                    let token = election.revision;
                    self.tell(format!("{} leads {cluster} by {token}", id.0));
                    if token <= self.token {
                        self.complain("a token has gone back");
                    }
                    self.token = token;
                }
                self.look_in(id, Duration::ZERO);
            }
            Act::Take(step) => {
                reign.hear_done(Round::Step, true);
                match &step {
                    Step::Rest => {}
                    Step::Teach(learners) => {
                        group.learners.extend(learners.keys());
                        let beat = group.beat();
                        for id in learners.keys() {
                            let node = self.nodes.get_mut(id);
                            let takes = |node: &&mut Node| {
                                let member = node.founding.record().member;
                                member == Some(cluster) && !node.spent.contains(&cluster)
                            };
                            if let Some(node) = node.filter(takes) {
                                (node.part, node.beat) = (Some(cluster), beat.clone());
                            }
                        }
                    }
                    Step::Seat(voters) => {
                        group.learners.retain(|id| !voters.contains(id));
                        group.voters.clone_from(voters);
                        group.state.reseat();
                    }
                    Step::Dismiss(learners) => group.learners.retain(|id| !learners.contains(id)),
                }
                self.tell(format!("{} takes {step:?}", id.0));
                self.look_in(id, TICK);
            }
            Act::Tell => {
                let election = group.state.election().filter(|_| reign.is_claimed());
                let Some(election) = election else {
                    return;
                };
                let news = LeaderNews {
                    cluster_id: cluster.0,
                    revision: group.state.revision(),
                    leader: id,
                    term: election.term,
                    elected_at: election.revision,
                    view: group.state.view(),
                    voters: group.voters.iter().copied().collect(),
                    ephemeral: self.loopback,
                };
                node.course.note(&node.founding, Some(&news));
                if node.news.as_ref().is_none_or(|old| news.is_newer_than(old)) {
                    node.news = Some(news);
                }
            }
            Act::Ask(ids) => self.ask(id, ids),
            Act::HandOver(_) => group.leader = None,
        }
    }
}

impl Group {
    pub(super) fn beat(&self) -> Beat {
        Beat {
            learners: self.learners.clone(),
            ..beat(&self.voters)
        }
    }

    pub(super) fn takes(&self, id: NodeId) -> bool {
        self.voters.contains(&id) || self.learners.contains(&id)
    }
}
