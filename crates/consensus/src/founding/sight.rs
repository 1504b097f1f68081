//! Sight: when it is time to propose, from how others say they stand.
//!
//! Nothing here keeps the cluster safe, the rules of founding do; it keeps
//! managers from proposing what is bound to be vetoed. So the lowest of the N
//! lowest fresh managers proposes, once all N see each other and nothing has
//! changed for a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dui_core::NodeId;

use crate::call::Standing;
use crate::founding::ClusterId;

/// How long the view has to be the same.
const STEADY: Duration = Duration::from_millis(300);

/// What a fresh manager should do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Not yet, and why not, for people.
    Wait(String),
    /// Propose these.
    Propose(BTreeSet<NodeId>),
    /// Somebody belongs to a formed cluster.
    Join(ClusterId),
}

/// What a fresh manager sees.
#[derive(Debug)]
pub struct Sight {
    me: NodeId,
    expect: u32,
    /// The managers that would found, and since when they are the same.
    steady: Option<(BTreeSet<NodeId>, Duration)>,
}

impl Sight {
    /// Of a manager that founds with `expect` managers, itself included.
    pub fn new(me: NodeId, expect: u32) -> Self {
        Self {
            me,
            expect,
            steady: None,
        }
    }

    /// Whom to ask how they stand, of the managers that are alive: those who
    /// could found before this one, and a few more.
    pub fn to_ask(&self, managers: &BTreeSet<NodeId>) -> Vec<NodeId> {
        let others = managers.iter().copied().filter(|id| *id != self.me);
        others.take(2 * self.expect as usize).collect()
    }

    /// Whether twice as many are here as are expected, or more.
    pub fn is_crowded(&self, answers: &BTreeMap<NodeId, Option<Standing>>) -> bool {
        let fresh = answers.values().flatten();
        let fresh = fresh.filter(|standing| standing.fresh && standing.expect == self.expect);
        fresh.count() + 1 >= 2 * self.expect as usize && self.expect > 1
    }

    /// What to do at `now`, by the latest answers of those in sight;
    /// `None` from whom there is none yet.
    pub fn advise(
        &mut self,
        now: Duration,
        answers: &BTreeMap<NodeId, Option<Standing>>,
    ) -> Advice {
        let advice = self.look(answers);
        let Advice::Propose(voters) = &advice else {
            self.steady = None;
            return advice;
        };
        let since = match &self.steady {
            Some((same, since)) if same == voters => *since,
            _ => {
                self.steady = Some((voters.clone(), now));
                now
            }
        };
        if now.saturating_sub(since) < STEADY {
            return Advice::Wait("all that are expected are here".into());
        }
        advice
    }

    fn look(&self, answers: &BTreeMap<NodeId, Option<Standing>>) -> Advice {
        let known = || {
            answers
                .iter()
                .filter_map(|(id, answer)| Some((id, answer.as_ref()?)))
        };
        if let Some(formed) = known().find_map(|(_, standing)| standing.member) {
            return Advice::Join(formed);
        }
        if let Some((id, other)) =
            known().find(|(_, standing)| standing.expect != 0 && standing.expect != self.expect)
        {
            return Advice::Wait(format!(
                "this manager expects {}, {id} expects {}: start all with the same --expect",
                self.expect, other.expect
            ));
        }
        if let Some((id, _)) = known().find(|(_, standing)| !standing.fresh) {
            return Advice::Wait(format!("{id} is founding with others"));
        }
        let mut fresh: BTreeSet<NodeId> = known()
            .filter(|(_, standing)| standing.expect == self.expect)
            .map(|(id, _)| *id)
            .collect();
        fresh.insert(self.me);
        let wanted = self.expect as usize;
        if fresh.len() < wanted {
            return Advice::Wait(format!("{} of {wanted} managers are here", fresh.len()));
        }
        // Somebody lower may be fresh, too.
        if let Some(silent) = answers
            .iter()
            .find(|(id, answer)| **id < self.me && answer.is_none())
        {
            return Advice::Wait(format!("{} has not said how it stands", silent.0));
        }
        let voters: BTreeSet<NodeId> = fresh.into_iter().take(wanted).collect();
        if voters.first() != Some(&self.me) {
            return Advice::Wait("another manager founds".into());
        }
        let blind = voters.iter().find(|id| {
            let sees = answers
                .get(id)
                .and_then(Option::as_ref)
                .map(|standing| &standing.sees);
            **id != self.me
                && sees.is_none_or(|sees| !voters.iter().all(|other| sees.contains(other)))
        });
        if let Some(id) = blind {
            return Advice::Wait(format!("{id} does not see all of the others yet"));
        }
        Advice::Propose(voters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: NodeId = NodeId(1);
    const BO: NodeId = NodeId(2);
    const CY: NodeId = NodeId(3);

    fn fresh(sees: &[NodeId]) -> Option<Standing> {
        Some(Standing {
            expect: 3,
            fresh: true,
            member: None,
            ephemeral: false,
            sees: sees.to_vec(),
        })
    }

    fn all() -> BTreeMap<NodeId, Option<Standing>> {
        let everybody = [ANN, BO, CY];
        [BO, CY].map(|id| (id, fresh(&everybody))).into()
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn reason(advice: Advice) -> String {
        match advice {
            Advice::Wait(why) => why,
            other => panic!("did not wait: {other:?}"),
        }
    }

    #[test]
    fn the_lowest_proposes_when_all_have_seen_each_other_for_a_moment() {
        let mut ann = Sight::new(ANN, 3);
        assert!(matches!(ann.advise(at(0), &all()), Advice::Wait(_)));
        assert!(matches!(ann.advise(at(299), &all()), Advice::Wait(_)));
        let voters = BTreeSet::from([ANN, BO, CY]);
        assert_eq!(ann.advise(at(300), &all()), Advice::Propose(voters));
    }

    #[test]
    fn a_change_begins_the_moment_anew() {
        let mut ann = Sight::new(ANN, 3);
        ann.advise(at(0), &all());
        let mut blind = all();
        blind.insert(CY, fresh(&[ANN, CY]));
        let why = reason(ann.advise(at(200), &blind));
        assert!(why.contains("does not see all"), "{why}");
        assert!(matches!(ann.advise(at(400), &all()), Advice::Wait(_)));
        assert!(matches!(ann.advise(at(700), &all()), Advice::Propose(_)));
    }

    #[test]
    fn others_wait_for_the_lowest() {
        let mut bo = Sight::new(BO, 3);
        let everybody = [ANN, BO, CY];
        let answers = [ANN, CY].map(|id| (id, fresh(&everybody))).into();
        for ms in [0, 1_000] {
            let why = reason(bo.advise(at(ms), &answers));
            assert!(why.contains("another manager"), "{why}");
        }
        let silent = BTreeMap::from([
            (ANN, None),
            (CY, fresh(&everybody)),
            (NodeId(4), fresh(&[])),
        ]);
        let why = reason(bo.advise(at(2_000), &silent));
        assert!(why.contains("has not said"), "{why}");
    }

    #[test]
    fn two_counts_are_refused_and_both_are_named() {
        let mut answers = all();
        if let Some(Some(standing)) = answers.get_mut(&CY) {
            standing.expect = 5;
        }
        let why = reason(Sight::new(ANN, 3).advise(at(0), &answers));
        assert!(
            why.contains("expects 3") && why.contains("expects 5"),
            "{why}"
        );
    }

    #[test]
    fn who_knows_a_formed_cluster_joins_it() {
        let mut answers = all();
        if let Some(Some(standing)) = answers.get_mut(&CY) {
            standing.member = Some(ClusterId(7));
            standing.fresh = false;
        }
        let advice = Sight::new(ANN, 3).advise(at(0), &answers);
        assert_eq!(advice, Advice::Join(ClusterId(7)));
    }

    #[test]
    fn twice_as_many_as_expected_are_a_crowd() {
        let ann = Sight::new(ANN, 3);
        let mut answers = all();
        for id in 4..=6 {
            assert!(!ann.is_crowded(&answers), "{} others", answers.len());
            answers.insert(NodeId(id), fresh(&[]));
        }
        assert!(ann.is_crowded(&answers));
    }

    #[test]
    fn one_that_is_expected_alone_founds_alone() {
        let mut ann = Sight::new(ANN, 1);
        ann.advise(at(0), &BTreeMap::new());
        let advice = ann.advise(at(300), &BTreeMap::new());
        assert_eq!(advice, Advice::Propose(BTreeSet::from([ANN])));
    }
}
