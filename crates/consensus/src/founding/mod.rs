//! Founding: who may create a cluster's Raft group, so that there is never a
//! second one.
//!
//! The lowest of N fresh managers proposes the N of them. Each accepts in
//! writing and holds that one proposal; the proposer accepts last, so that its
//! acceptance proves all others'. The proposal's own Raft group then decides
//! once and for all whether it is created or abandoned. Who was asked and
//! could not accept vetoes in writing, so that nobody waits for ever.
//!
//! ```text
//! ann (lowest) ── Propose ──▶ bo, cy          bo, cy: write, start the group
//! ann ◀── Accepted ───────── bo, cy          ann: writes as the last one
//! ann ── Accepted ─────────▶ bo, cy          the proof: all of them accepted
//!          the group of ann, bo, cy decides: Created
//! ```
//!
//! Sans-IO: what happens comes in, [`Output`]s go out, in the order in which
//! they have to be done. [`Output::Write`] is durable before anything that
//! follows it. The checker in `founding/checker.rs` drives this very code
//! through every order of events within its bounds.

#[cfg(test)]
mod checker;
#[cfg(test)]
mod refounding;
pub mod sight;
#[cfg(test)]
mod votes;

use std::collections::BTreeSet;
use std::fmt;

use dui_core::NodeId;

/// Proposals that a manager refuses in writing; of more it says that they are
/// pending. A few come about by chance.
const VETOED_MAX: usize = 1_024;

/// Names a cluster, and the proposal that founded it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// N managers that are to found a cluster.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Proposal {
    id: ClusterId,
    /// Ascending, at least one.
    voters: Vec<NodeId>,
}

/// What a manager has in writing. The default is a fresh one's.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Record {
    /// The proposal it has accepted: at most one at any time.
    pub slot: Option<Proposal>,
    /// What it will never accept.
    pub vetoed: BTreeSet<ClusterId>,
    /// What it accepted and gave up.
    pub abandoned: BTreeSet<ClusterId>,
    /// The formed cluster it belongs to, for good.
    pub member: Option<ClusterId>,
}

/// What the group of a proposal decides; the first decision stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Decision {
    /// The cluster exists from now on.
    Created,
    /// It never will.
    Abandoned,
}

/// What managers say to each other about a proposal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Word {
    /// Its proposer asks for acceptance.
    Propose,
    /// The sender holds it. Of the proposer: all do.
    Accepted,
    /// The sender holds it and asks how it stands.
    Query,
    /// Its proposer still collects.
    Pending,
    /// The sender does not hold it and never will again.
    Veto,
    /// It was decided so.
    Decided(Decision),
}

/// What to do, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// [`Founding::record`] has to be durable before anything that follows.
    Write,
    /// Tells another manager about a proposal.
    Send {
        /// Whom.
        to: NodeId,
        /// What about.
        proposal: Proposal,
        /// What.
        word: Word,
    },
    /// Takes part in the Raft group of this proposal from now on.
    StartGroup(Proposal),
    /// Deletes what is there of its Raft group.
    DropGroup(Proposal),
    /// The cluster is formed: its id may be told, and requests be served.
    Serve(ClusterId),
}

/// A proposal that its proposer collects acceptances for: in memory alone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Current {
    proposal: Proposal,
    accepted: BTreeSet<NodeId>,
}

/// One manager's part in founding. See the [module](self).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Founding {
    id: NodeId,
    record: Record,
    current: Option<Current>,
    /// Its slot's proposer has accepted, so all have.
    proven: bool,
    #[cfg(test)]
    mistake: Option<Mistake>,
}

/// A rule that the checker takes out, to find what goes wrong without it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Mistake {
    /// Who can never accept a proposal does not say so.
    NobodyVetoes,
    /// The proposer accepts when most of the others have.
    MajorityFounds,
    /// Who holds a proposal joins another cluster.
    JoinsWhileHolding,
}

impl Proposal {
    /// A proposal of these managers; `None` without any. `nonce` is never used
    /// again: two proposals of the same managers are different ones.
    pub fn new(cluster: &str, voters: BTreeSet<NodeId>, nonce: u128) -> Option<Self> {
        if voters.is_empty() {
            return None;
        }
        let mut hash = blake3::Hasher::new();
        hash.update(&(cluster.len() as u64).to_be_bytes());
        hash.update(cluster.as_bytes());
        for NodeId(id) in &voters {
            hash.update(&id.to_be_bytes());
        }
        hash.update(&nonce.to_be_bytes());
        let mut id = [0; 16];
        hash.finalize_xof().fill(&mut id);
        Some(Self {
            id: ClusterId(u128::from_be_bytes(id)),
            voters: voters.into_iter().collect(),
        })
    }

    /// One that somebody else made; `None` unless its managers are in order,
    /// each once.
    pub fn heard(id: ClusterId, voters: Vec<NodeId>) -> Option<Self> {
        let in_order = voters.is_sorted_by(|a, b| a < b) && !voters.is_empty();
        in_order.then_some(Self { id, voters })
    }

    /// Of the cluster that it founds.
    pub fn id(&self) -> ClusterId {
        self.id
    }

    /// Ascending.
    pub fn voters(&self) -> &[NodeId] {
        &self.voters
    }

    /// The lowest of them.
    pub fn proposer(&self) -> NodeId {
        self.voters[0]
    }

    fn names(&self, id: NodeId) -> bool {
        self.voters.contains(&id)
    }
}

impl Founding {
    /// A manager that starts with this record.
    pub fn new(id: NodeId, record: Record) -> Self {
        // A proposer that has accepted was the last one.
        let proposer = record.slot.as_ref().map(Proposal::proposer);
        Self {
            id,
            record,
            current: None,
            proven: proposer == Some(id),
            #[cfg(test)]
            mistake: None,
        }
    }

    // --- getters ---

    /// What has to be in writing.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Whether it is bound to nothing: others may count on it.
    pub fn is_fresh(&self) -> bool {
        self.record.slot.is_none() && self.record.member.is_none()
    }

    /// Whether it has begun to found, and nothing is decided yet.
    pub fn is_undecided(&self) -> bool {
        let holds = self.record.slot.is_some() && self.record.member.is_none();
        holds || self.current.is_some()
    }

    /// What this manager, should it lead the group of its slot, proposes to
    /// it. `late`: it has waited long enough for the proof.
    pub fn wish(&self, late: bool) -> Option<Decision> {
        self.record.slot.as_ref()?;
        if self.proven {
            Some(Decision::Created)
        } else {
            late.then_some(Decision::Abandoned)
        }
    }

    // --- commands ---

    /// Proposes to found, as the lowest of the managers that do. Whoever is
    /// not fresh, or not the lowest, proposes nothing.
    pub fn propose(&mut self, proposal: Proposal) -> Vec<Output> {
        if !self.is_fresh() || proposal.proposer() != self.id {
            return Vec::new();
        }
        let others = proposal.voters[1..].iter();
        let mut outputs: Vec<Output> = others
            .map(|to| send(*to, &proposal, Word::Propose))
            .collect();
        self.current = Some(Current {
            proposal,
            accepted: BTreeSet::new(),
        });
        self.accept_last(&mut outputs);
        outputs
    }

    /// Gives up what it proposes, unless it has accepted that itself. It is
    /// never resumed, and others are set free as they ask.
    pub fn abort(&mut self) {
        self.current = None;
    }

    /// Asks all others of the slot's proposal how it stands: every second.
    pub fn ask(&self) -> Vec<Output> {
        let Some(proposal) = &self.record.slot else {
            return Vec::new();
        };
        let others = proposal.voters.iter().filter(|to| **to != self.id);
        others.map(|to| send(*to, proposal, Word::Query)).collect()
    }

    /// Joins a cluster that others have formed, as a learner. Who holds a
    /// proposal has to see that decided first: nothing happens.
    pub fn join(&mut self, cluster: ClusterId) -> Vec<Output> {
        let held = self.record.slot.is_some() && !self.errs(Mistake::JoinsWhileHolding);
        if held || self.record.member.is_some() {
            return Vec::new();
        }
        self.current = None;
        self.record.member = Some(cluster);
        vec![Output::Write, Output::Serve(cluster)]
    }

    /// An operator has said that its cluster, if it has one, is lost, and that
    /// it founds `cluster` alone, which goes on for that one. Who holds a
    /// proposal has to see that decided first: nothing happens.
    pub fn refound(&mut self, cluster: ClusterId) -> Vec<Output> {
        if self.record.slot.is_some() && self.record.member.is_none() {
            return Vec::new();
        }
        self.current = None;
        self.record.slot = None;
        self.proven = false;
        // It never takes part there again.
        let lost = self.record.member.replace(cluster);
        self.record.abandoned.extend(lost);
        vec![Output::Write, Output::Serve(cluster)]
    }

    // --- what happens ---

    /// Another manager said something. `reachable`: the proposer is.
    pub fn hear(
        &mut self,
        from: NodeId,
        proposal: &Proposal,
        word: Word,
        reachable: bool,
    ) -> Vec<Output> {
        let mut outputs = Vec::new();
        if !proposal.names(self.id) || !proposal.names(from) || from == self.id {
            return outputs;
        }
        match word {
            Word::Propose if from == proposal.proposer() => {
                if self.holds(proposal) || self.accept(proposal, &mut outputs) {
                    outputs.push(send(from, proposal, Word::Accepted));
                }
            }
            Word::Propose | Word::Pending => {}
            Word::Accepted => {
                self.hear_accepted(from, proposal);
                self.accept_last(&mut outputs);
            }
            Word::Query => {
                let answer = self.answer(proposal, reachable, &mut outputs);
                outputs.push(send(from, proposal, answer));
            }
            Word::Veto | Word::Decided(Decision::Abandoned) => {
                if self.holds(proposal) {
                    self.give_up(&mut outputs);
                }
            }
            // The group's own log brings that.
            Word::Decided(Decision::Created) => {}
        }
        outputs
    }

    /// The group of the slot has applied its first decision.
    pub fn decided(&mut self, decision: Decision) -> Vec<Output> {
        let mut outputs = Vec::new();
        match (&self.record.slot, decision) {
            (Some(proposal), Decision::Created) if self.record.member.is_none() => {
                let id = proposal.id;
                self.record.member = Some(id);
                outputs.extend([Output::Write, Output::Serve(id)]);
            }
            (Some(_), Decision::Abandoned) => self.give_up(&mut outputs),
            _ => {}
        }
        outputs
    }

    // --- helpers ---

    /// Whether the checker has taken this rule out.
    fn errs(&self, mistake: Mistake) -> bool {
        #[cfg(test)]
        return self.mistake == Some(mistake);
        #[cfg(not(test))]
        {
            let _ = mistake;
            false
        }
    }

    fn holds(&self, proposal: &Proposal) -> bool {
        self.record.slot.as_ref() == Some(proposal)
    }

    /// Accepts what another proposes, if nothing speaks against it.
    fn accept(&mut self, proposal: &Proposal, outputs: &mut Vec<Output>) -> bool {
        let id = proposal.id;
        let refused = self.record.vetoed.contains(&id) || self.record.abandoned.contains(&id);
        if proposal.proposer() == self.id || !self.is_fresh() || refused {
            return false;
        }
        // Who holds one collects for none.
        self.current = None;
        self.take(proposal.clone(), outputs);
        true
    }

    /// The proposer accepts when all others have: that is the proof.
    fn accept_last(&mut self, outputs: &mut Vec<Output>) {
        let Some(current) = &self.current else {
            return;
        };
        let all = current.proposal.voters.len() - 1;
        let enough = if self.errs(Mistake::MajorityFounds) {
            all.div_ceil(2)
        } else {
            all
        };
        if current.accepted.len() < enough {
            return;
        }
        if let Some(Current { proposal, .. }) = self.current.take() {
            self.take(proposal.clone(), outputs);
            self.proven = true;
            let others = proposal.voters[1..].iter();
            outputs.extend(others.map(|to| send(*to, &proposal, Word::Accepted)));
        }
    }

    fn take(&mut self, proposal: Proposal, outputs: &mut Vec<Output>) {
        self.record.slot = Some(proposal.clone());
        self.proven = false;
        outputs.extend([Output::Write, Output::StartGroup(proposal)]);
    }

    fn hear_accepted(&mut self, from: NodeId, proposal: &Proposal) {
        if self.holds(proposal) && from == proposal.proposer() {
            self.proven = true;
        }
        if let Some(current) = &mut self.current
            && current.proposal == *proposal
        {
            current.accepted.insert(from);
        }
    }

    /// Whoever asks is set free by the answer, or told to wait for good reason.
    fn answer(&mut self, proposal: &Proposal, reachable: bool, outputs: &mut Vec<Output>) -> Word {
        let id = proposal.id;
        if self.record.member == Some(id) {
            return Word::Decided(Decision::Created);
        }
        if self.record.abandoned.contains(&id) {
            return Word::Decided(Decision::Abandoned);
        }
        if self.holds(proposal) {
            return Word::Accepted;
        }
        if proposal.proposer() == self.id {
            let collects = self.current.as_ref();
            let collects = collects.is_some_and(|current| current.proposal == *proposal);
            // What it collects for no more it never will again: nothing to write.
            return if collects || self.errs(Mistake::NobodyVetoes) {
                Word::Pending
            } else {
                Word::Veto
            };
        }
        if reachable && self.accept(proposal, outputs) {
            outputs.push(send(proposal.proposer(), proposal, Word::Accepted));
            return Word::Accepted;
        }
        if self.errs(Mistake::NobodyVetoes) {
            return Word::Pending;
        }
        // Who belongs to a cluster accepts nothing ever again: no need to write.
        if self.record.member.is_none() && !self.record.vetoed.contains(&id) {
            if self.record.vetoed.len() >= VETOED_MAX {
                return Word::Pending;
            }
            self.record.vetoed.insert(id);
            outputs.push(Output::Write);
        }
        Word::Veto
    }

    fn give_up(&mut self, outputs: &mut Vec<Output>) {
        if let Some(proposal) = self.record.slot.take() {
            self.proven = false;
            self.record.abandoned.insert(proposal.id);
            outputs.extend([Output::Write, Output::DropGroup(proposal)]);
        }
    }
}

fn send(to: NodeId, proposal: &Proposal, word: Word) -> Output {
    Output::Send {
        to,
        proposal: proposal.clone(),
        word,
    }
}
