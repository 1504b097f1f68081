//! Machine: what the log amounts to, one record after the other.
//!
//! [`State`] is pure: the same records in the same order make the same state
//! on every manager. Each record that changes something makes one revision;
//! the revision of an election is the leader's fencing token, because terms
//! and indexes of the log start anew when a cluster is recovered.

pub(crate) mod store;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dui_core::NodeId;

use crate::founding::{ClusterId, Decision};
use crate::record::{Command, Gone, Outcome, Seen};

pub use store::{Agreed, Machine};

/// Views that are kept, for whoever was away.
pub const VIEWS_MAX: usize = 1_024;
/// So far revisions rise where a cluster is founded anew from a copy of what
/// was agreed: the copy may be old, and no token may ever go back.
pub const RAISE: u64 = 1 << 40;

/// Who leads, since which revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Election {
    /// The leader.
    pub leader: NodeId,
    /// Its term.
    pub term: u64,
    /// The fencing token: never the same and never less than before.
    pub revision: u64,
}

/// A numbered change of the members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// From 1, without gaps.
    pub number: u64,
    /// Of the record that made it.
    pub revision: u64,
    /// New ones, or such with another name, address or role.
    pub joined: Vec<Seen>,
    /// Those that are no more.
    pub gone: Vec<Gone>,
}

/// What the managers agree on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub(crate) decision: Option<Decision>,
    pub(crate) revision: u64,
    pub(crate) election: Option<Election>,
    pub(crate) members: BTreeMap<NodeId, Seen>,
    /// Managers that an operator does not want to vote.
    pub(crate) demoted: BTreeSet<NodeId>,
    /// The newest, without gaps.
    pub(crate) views: VecDeque<View>,
    /// The clusters that this one goes on for, oldest first.
    pub(crate) origins: Vec<ClusterId>,
}

impl State {
    /// Whether the cluster exists.
    pub fn decision(&self) -> Option<Decision> {
        self.decision
    }

    /// How many changes there were, plus what they began with.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The latest election.
    pub fn election(&self) -> Option<Election> {
        self.election
    }

    /// The members of the newest view.
    pub fn members(&self) -> &BTreeMap<NodeId, Seen> {
        &self.members
    }

    /// The newest view's number; 0 before the first.
    pub fn view(&self) -> u64 {
        self.views.back().map_or(0, |view| view.number)
    }

    /// Managers that an operator does not want to vote.
    pub fn demoted(&self) -> &BTreeSet<NodeId> {
        &self.demoted
    }

    /// The clusters that this one goes on for, oldest first: an operator said
    /// that they are no more.
    pub fn origins(&self) -> &[ClusterId] {
        &self.origins
    }

    /// What a cluster begins with that `me` founds alone and that goes on for
    /// `origin`, whose state this is: revisions above all of its own and above
    /// `above`, no leader yet, and nothing against `me`.
    #[must_use]
    pub fn refounded(mut self, me: NodeId, origin: ClusterId, above: u64) -> State {
        self.demoted.remove(&me);
        let mut origins = self.origins;
        origins.retain(|known| *known != origin);
        origins.push(origin);
        State {
            decision: Some(Decision::Created),
            revision: self.revision.max(above).saturating_add(RAISE),
            election: None,
            origins,
            ..self
        }
    }

    /// Views that came after this one, oldest first; `None` when some of them
    /// are no longer kept.
    pub fn views_after(&self, number: u64) -> Option<Vec<View>> {
        let missing = self.view().saturating_sub(number);
        let missing = usize::try_from(missing).ok()?;
        if missing > self.views.len() {
            return None;
        }
        let skip = self.views.len() - missing;
        Some(self.views.iter().skip(skip).cloned().collect())
    }

    /// Views that are kept, oldest first.
    pub fn views(&self) -> impl Iterator<Item = &View> {
        self.views.iter()
    }

    /// Applies the next record.
    pub fn apply(&mut self, command: &Command) -> Outcome {
        match command {
            Command::Decide { decision, base } => self.decide(*decision, *base),
            Command::Elected {
                leader,
                term,
                above,
            } => self.elect(*leader, *term, *above),
            Command::View { joined, gone } => self.see(joined, gone),
            Command::Demote { manager, demoted } => self.demote(*manager, *demoted),
        }
        Outcome {
            revision: self.revision,
        }
    }

    fn decide(&mut self, decision: Decision, base: u64) {
        // The first one stands.
        if self.decision.is_some() {
            return;
        }
        self.decision = Some(decision);
        if decision == Decision::Created {
            self.revision = base.saturating_add(1);
        }
    }

    fn elect(&mut self, leader: NodeId, term: u64, above: u64) {
        if !self.exists() {
            return;
        }
        self.revision = self.revision.max(above).saturating_add(1);
        self.election = Some(Election {
            leader,
            term,
            revision: self.revision,
        });
    }

    fn see(&mut self, joined: &[Seen], gone: &[Gone]) {
        if !self.exists() {
            return;
        }
        let known = |seen: &&Seen| self.members.get(&seen.id) != Some(seen);
        let joined: Vec<Seen> = joined.iter().filter(known).cloned().collect();
        let was_here = |gone: &&Gone| self.members.contains_key(&gone.id);
        let gone: Vec<Gone> = gone.iter().filter(was_here).copied().collect();
        if joined.is_empty() && gone.is_empty() {
            return;
        }
        for seen in &joined {
            self.members.insert(seen.id, seen.clone());
        }
        for gone in &gone {
            self.members.remove(&gone.id);
        }
        self.advance();
        if self.views.len() >= VIEWS_MAX {
            self.views.pop_front();
        }
        let number = self.view() + 1;
        self.views.push_back(View {
            number,
            revision: self.revision,
            joined,
            gone,
        });
    }

    /// Others vote from now on: news for everybody.
    pub(crate) fn reseat(&mut self) {
        if self.exists() {
            self.advance();
        }
    }

    fn demote(&mut self, manager: NodeId, demoted: bool) {
        let changed = if demoted {
            self.demoted.insert(manager)
        } else {
            self.demoted.remove(&manager)
        };
        if changed {
            self.advance();
        }
    }

    fn advance(&mut self) {
        self.revision = self.revision.saturating_add(1);
    }

    fn exists(&self) -> bool {
        self.decision == Some(Decision::Created)
    }
}

#[cfg(test)]
mod tests;
