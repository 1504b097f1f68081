//! Seats: who votes, as managers come, die and leave.
//!
//! An odd number votes, [`Rules::voters_max`] at most; the others stand by and
//! cost the leader nothing. Who is to vote first gets all records as a
//! learner. A voter that is gone for longer than its kind is waited for is
//! replaced in one joint change, and never so many at once that the voters who
//! remain could not have decided it alone.
//!
//! Pure: the leader asks for the next [`Step`], takes it, and asks again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dui_core::NodeId;

use crate::types::Kind;

/// A learner so many records behind has caught up.
const CAUGHT_UP: u64 = 64;

/// What holds for all clusters.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Most voters. Default 5.
    pub voters_max: usize,
    /// How long a voter without a disk may be gone. Default 60 s.
    pub ephemeral_gone_max: Duration,
    /// How long a voter with one may be. Default 10 min.
    pub durable_gone_max: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            voters_max: 5,
            ephemeral_gone_max: Duration::from_secs(60),
            durable_gone_max: Duration::from_secs(600),
        }
    }
}

/// What the leader knows of a manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Whether it has a disk.
    pub kind: Kind,
    /// `None`: it is here. How long ago this leader saw it go, or began to lead.
    pub gone: Option<Duration>,
    /// It belongs to this cluster and takes records.
    pub willing: bool,
    /// An operator said that it is not to vote.
    pub demoted: bool,
}

/// The group as its leader sees it.
#[derive(Clone, Copy, Debug)]
pub struct Situation<'a> {
    /// The leader.
    pub me: NodeId,
    /// Who votes.
    pub voters: &'a BTreeSet<NodeId>,
    /// Who gets records.
    pub learners: &'a BTreeSet<NodeId>,
    /// The last record.
    pub last: u64,
    /// Up to where the others have all.
    pub matched: &'a BTreeMap<NodeId, u64>,
    /// All managers that are members, and all voters.
    pub managers: &'a BTreeMap<NodeId, Candidate>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// All is well.
    Rest,
    /// Give these all records.
    Teach(BTreeMap<NodeId, Kind>),
    /// Let these vote and no others.
    Seat(BTreeSet<NodeId>),
    /// Give these no more records.
    Dismiss(BTreeSet<NodeId>),
}

/// The next step.
pub fn next_step(rules: &Rules, situation: &Situation<'_>) -> Step {
    let seats = Seats { rules, situation };
    seats.next()
}

struct Seats<'a> {
    rules: &'a Rules,
    situation: &'a Situation<'a>,
}

impl Seats<'_> {
    fn next(&self) -> Step {
        let Situation {
            voters, learners, ..
        } = *self.situation;
        let surplus: BTreeSet<NodeId> = learners
            .iter()
            .copied()
            .filter(|id| !self.may_vote(*id))
            .collect();
        if !surplus.is_empty() {
            return Step::Dismiss(surplus);
        }
        let target = self.target();
        let unwanted: Vec<NodeId> = self.unwanted();
        let staying = voters.len() - unwanted.len();
        let missing = target.saturating_sub(staying);

        let mut ready = learners.iter().copied().filter(|id| self.caught_up(*id));
        let seated: Vec<NodeId> = ready.by_ref().take(missing).collect();
        if seated.len() < missing && learners.len() < missing {
            let wanted = missing - learners.len();
            let others = self.situation.managers.iter();
            let standing_by = others.filter(|(id, manager)| {
                self.may_vote(**id) && manager.willing && !voters.contains(id)
            });
            let new = standing_by.filter(|(id, _)| !learners.contains(id));
            let new: BTreeMap<NodeId, Kind> = new
                .take(wanted)
                .map(|(id, manager)| (*id, manager.kind))
                .collect();
            if !new.is_empty() {
                return Step::Teach(new);
            }
        }
        if let Some(next) = self.seat(target, &unwanted, &seated) {
            return Step::Seat(next);
        }
        if staying >= target && !learners.is_empty() {
            return Step::Dismiss(learners.clone());
        }
        Step::Rest
    }

    /// How many are to vote: an odd number of those there are. Lost voters
    /// whom nobody replaces go in pairs: two of three need two, as one more did.
    fn target(&self) -> usize {
        let votes = |id: &NodeId| self.situation.voters.contains(id);
        let managers = || self.situation.managers.iter();
        let stand_by =
            managers().filter(|(id, manager)| !votes(id) && manager.willing && self.may_vote(**id));
        let voters = managers().filter(|(id, manager)| votes(id) && !manager.demoted);
        let lost = voters.clone().filter(|(_, manager)| self.is_lost(manager));
        let stand_by = stand_by.count();
        let able = voters.count() + stand_by;
        let irreplaceable = lost.count().saturating_sub(stand_by);
        let able = (able - irreplaceable / 2 * 2).clamp(1, self.rules.voters_max.max(1));
        able - usize::from(able.is_multiple_of(2))
    }

    /// Voters that others are to replace: those who were demoted or are lost.
    fn unwanted(&self) -> Vec<NodeId> {
        let voters = self.situation.voters.iter().copied();
        let unwanted = voters.filter(|id| {
            let manager = self.situation.managers.get(id);
            *id != self.situation.me
                && manager.is_none_or(|manager| manager.demoted || self.is_lost(manager))
        });
        // Those who remain must be able to decide it alone.
        let most = (self.situation.voters.len().saturating_sub(1)) / 2;
        unwanted.take(most.max(1)).collect()
    }

    /// The next voters, if they are others than now and nothing gets worse.
    fn seat(
        &self,
        target: usize,
        unwanted: &[NodeId],
        seated: &[NodeId],
    ) -> Option<BTreeSet<NodeId>> {
        let voters = self.situation.voters;
        let mut next = voters.clone();
        next.extend(seated);
        // The lost ones first; then whoever is too many, but never the leader.
        let here = |id: &NodeId| {
            let manager = self.situation.managers.get(id);
            manager.is_some_and(|manager| manager.gone.is_none())
        };
        for id in unwanted {
            if next.len() > target {
                next.remove(id);
            }
        }
        while next.len() > target {
            let others = next.iter().copied().filter(|id| *id != self.situation.me);
            let last = others.max_by_key(|id| (!here(id), *id))?;
            next.remove(&last);
        }
        // An even number decides no more than one less, and waits for more.
        if next.len().is_multiple_of(2) && next.len() > voters.len() {
            let new = seated.iter().copied().next_back()?;
            next.remove(&new);
        }
        let able = next.iter().filter(|id| here(id)).count();
        (next != *voters && able > next.len() / 2).then_some(next)
    }

    fn may_vote(&self, id: NodeId) -> bool {
        let manager = self.situation.managers.get(&id);
        manager.is_some_and(|manager| manager.gone.is_none() && !manager.demoted)
    }

    fn is_lost(&self, manager: &Candidate) -> bool {
        let max = if manager.kind.ephemeral {
            self.rules.ephemeral_gone_max
        } else {
            self.rules.durable_gone_max
        };
        manager.gone.is_some_and(|gone| gone >= max)
    }

    fn caught_up(&self, id: NodeId) -> bool {
        let matched = self.situation.matched.get(&id).copied().unwrap_or(0);
        matched > 0 && matched + CAUGHT_UP >= self.situation.last && self.may_vote(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A group whose leader is 1, and what befalls it.
    #[derive(Clone)]
    struct Town {
        voters: BTreeSet<NodeId>,
        learners: BTreeSet<NodeId>,
        managers: BTreeMap<NodeId, Candidate>,
    }

    const HERE: Candidate = Candidate {
        kind: Kind { ephemeral: false },
        gone: None,
        willing: true,
        demoted: false,
    };

    fn ids(ids: impl IntoIterator<Item = u128>) -> BTreeSet<NodeId> {
        ids.into_iter().map(NodeId).collect()
    }

    impl Town {
        fn of(voters: u128, managers: u128) -> Self {
            Self {
                voters: ids(1..=voters),
                learners: ids([]),
                managers: ids(1..=managers).into_iter().map(|id| (id, HERE)).collect(),
            }
        }

        fn change(&mut self, id: u128, change: impl FnOnce(&mut Candidate)) {
            change(self.managers.entry(NodeId(id)).or_insert(HERE));
        }

        fn gone(&mut self, id: u128, secs: u64) {
            self.change(id, |manager| manager.gone = Some(Duration::from_secs(secs)));
        }

        fn next(&self) -> Step {
            let everybody = self.managers.keys();
            let matched = everybody.map(|id| (*id, 100)).collect();
            next_step(
                &Rules::default(),
                &Situation {
                    me: NodeId(1),
                    voters: &self.voters,
                    learners: &self.learners,
                    last: 100,
                    matched: &matched,
                    managers: &self.managers,
                },
            )
        }

        /// Takes steps until there are none, and checks each.
        fn settle(&mut self) -> &BTreeSet<NodeId> {
            for _ in 0..20 {
                match self.next() {
                    Step::Rest => return &self.voters,
                    Step::Teach(new) => self.learners.extend(new.keys()),
                    Step::Dismiss(old) => self.learners.retain(|id| !old.contains(id)),
                    Step::Seat(next) => {
                        let here = |id: &&NodeId| self.managers[id].gone.is_none();
                        let able = next.iter().filter(here).count();
                        assert!(able > next.len() / 2, "{next:?} could not decide");
                        assert!(next.contains(&NodeId(1)), "the leader votes");
                        self.learners.retain(|id| !next.contains(id));
                        self.voters = next;
                    }
                }
            }
            panic!("never settles: {:?}", self.next());
        }
    }

    #[test]
    fn an_odd_number_votes_and_five_at_most() {
        for (managers, voters) in [(1, 1), (2, 1), (3, 3), (4, 3), (5, 5), (6, 5), (100, 5)] {
            let mut town = Town::of(1, managers);
            assert_eq!(town.settle().len(), voters, "of {managers}");
            assert!(town.learners.is_empty(), "nobody learns in vain");
        }
    }

    #[test]
    fn a_voter_that_has_left_with_its_disk_keeps_its_seat_for_ten_minutes() {
        let mut town = Town::of(3, 4);
        town.gone(2, 599);
        assert_eq!(*town.settle(), ids([1, 2, 3]));
        town.gone(2, 600);
        assert_eq!(*town.settle(), ids([1, 3, 4]));
    }

    #[test]
    fn a_voter_without_a_disk_is_waited_for_a_minute() {
        let mut town = Town::of(3, 4);
        town.change(3, |manager| manager.kind.ephemeral = true);
        town.gone(3, 59);
        assert_eq!(*town.settle(), ids([1, 2, 3]));
        town.gone(3, 60);
        assert_eq!(*town.settle(), ids([1, 2, 4]));
    }

    #[test]
    fn a_lost_voter_that_nobody_can_replace_keeps_its_seat() {
        // Two voters would need both of them, and one has a single disk.
        let mut town = Town::of(3, 3);
        town.gone(3, 3_600);
        assert_eq!(*town.settle(), ids([1, 2, 3]));
    }

    #[test]
    fn two_of_five_that_are_lost_make_three() {
        let mut town = Town::of(5, 5);
        town.gone(4, 3_600);
        town.gone(5, 3_600);
        assert_eq!(*town.settle(), ids([1, 2, 3]));
    }

    #[test]
    fn a_demoted_voter_is_replaced_by_a_stand_by_and_stays_out() {
        let mut town = Town::of(3, 4);
        town.change(2, |manager| manager.demoted = true);
        assert_eq!(*town.settle(), ids([1, 3, 4]));
        town.change(2, |manager| manager.demoted = false);
        assert_eq!(
            *town.settle(),
            ids([1, 3, 4]),
            "there is no seat for it now"
        );
    }

    #[test]
    fn who_belongs_to_another_cluster_is_not_taught() {
        let mut town = Town::of(1, 3);
        town.change(2, |manager| manager.willing = false);
        town.change(3, |manager| manager.willing = false);
        assert_eq!(*town.settle(), ids([1]));
    }
}
