//! Retry: what a client of several nodes does when one of them fails it.
//!
//! Every node holds everything, so any of them will do. The client stays with
//! one as long as that answers, and goes on with the next when it does not.
//! After a round of all it waits, a little longer each time and never exactly
//! as long as others do: a thousand clients of a node that went away must not
//! come to the next one in step.
//!
//! A request is sent again only where that cannot do it twice: it never
//! arrived, or the node refused it, or it is one of those that may be done
//! twice. Writes of shared entries are: a register that is given a value
//! twice has that value.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::error::Error;
use crate::problem::Code;

/// Rounds of all nodes before an error is told.
const ROUNDS: usize = 4;

/// Wait after the first round; doubles with each.
const WAIT: Duration = Duration::from_millis(50);
const WAIT_MAX: Duration = Duration::from_secs(2);

/// The nodes of a client, and which of them is asked.
#[derive(Debug)]
pub(crate) struct Nodes {
    bases: Vec<String>,
    current: AtomicUsize,
}

impl Nodes {
    pub(crate) fn new(bases: Vec<String>) -> Result<Self, Error> {
        if bases.is_empty() {
            return Err(Error::BadAddress {
                given: String::new(),
                why: "give at least one",
            });
        }
        // Many clients of the same nodes begin with different ones.
        let first = random() as usize % bases.len();
        Ok(Self {
            bases,
            current: AtomicUsize::new(first),
        })
    }

    pub(crate) fn current(&self) -> &str {
        &self.bases[self.current.load(Ordering::Relaxed) % self.bases.len()]
    }

    /// Asks another one from now on, unless somebody has turned away from
    /// this one already.
    pub(crate) fn turn_from(&self, address: &str) {
        let current = self.current.load(Ordering::Relaxed);
        if self.bases[current % self.bases.len()] == address {
            let next = (current + 1) % self.bases.len();
            let _ =
                self.current
                    .compare_exchange(current, next, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// For one request.
    pub(crate) fn tries(&self) -> Tries<'_> {
        Tries {
            nodes: self,
            failed: 0,
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.bases.len()
    }
}

/// The tries of one request.
#[derive(Debug)]
pub(crate) struct Tries<'a> {
    nodes: &'a Nodes,
    failed: usize,
}

impl Tries<'_> {
    /// Whether to try again after this error, on the node that is current
    /// then; returns when it is time to. A client of one node never does: who
    /// has no other to ask had better know.
    pub(crate) async fn go_on(&mut self, address: &str, error: &Error, repeatable: bool) -> bool {
        let nodes = self.nodes.count();
        if nodes < 2 || !worth_another(error, repeatable) {
            return false;
        }
        self.nodes.turn_from(address);
        self.failed += 1;
        let rounds = self.failed / nodes;
        if self.failed.is_multiple_of(nodes) {
            if rounds >= ROUNDS {
                return false;
            }
            tokio::time::sleep(wait(rounds)).await;
        }
        true
    }
}

/// How long to wait after so many rounds: half of it is chance.
pub(crate) fn wait(rounds: usize) -> Duration {
    let doubled = 1 << rounds.saturating_sub(1).min(16);
    let full = (WAIT * doubled).min(WAIT_MAX);
    full / 2 + full.mul_f64(random() as f64 / u64::MAX as f64 / 2.0)
}

/// Whether another node might do better, and asking it does no harm.
fn worth_another(error: &Error, repeatable: bool) -> bool {
    match error {
        Error::Unreachable { .. } => true,
        Error::Timeout { .. } | Error::Broken { .. } => repeatable,
        Error::Problem(problem) => {
            let nothing_done = [
                Code::Leaving,
                Code::Stopped,
                Code::NotReady,
                Code::TooManyWatchers,
                Code::TooManyWrites,
                Code::ClockAhead,
                Code::NotStored,
            ];
            nothing_done.iter().any(|code| problem.is(*code))
                || repeatable && problem.is(Code::Stalled)
        }
        Error::BadAddress { .. } | Error::NotUnderstood { .. } => false,
    }
}

/// Good enough to be out of step with others.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::problem::Problem;

    fn nodes() -> Nodes {
        Nodes::new(vec!["a".into(), "b".into(), "c".into()]).unwrap()
    }

    fn broken() -> Error {
        Error::Broken {
            address: "a".into(),
            why: "gone".into(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_node_gets_its_chance_in_each_round_and_then_the_error_is_told() {
        let nodes = nodes();
        let mut tries = nodes.tries();
        let mut asked = vec![nodes.current().to_owned()];
        while tries.go_on(asked.last().unwrap(), &broken(), true).await {
            asked.push(nodes.current().to_owned());
        }
        assert_eq!(asked.len(), ROUNDS * 3);
        for round in asked.chunks(3) {
            let mut round = round.to_vec();
            round.sort();
            assert_eq!(round, ["a", "b", "c"]);
        }
    }

    #[tokio::test]
    async fn what_may_have_been_done_is_not_done_again_unless_that_is_harmless() {
        let refused = |code| Error::Problem(Box::new(Problem::new(code, "")));
        for (error, repeatable, again) in [
            (broken(), false, false),
            (broken(), true, true),
            (refused(Code::Leaving), false, true),
            (refused(Code::Stalled), false, false),
            (refused(Code::Stalled), true, true),
            (refused(Code::UnknownKey), true, false),
            (refused(Code::AckTimeout), true, false),
            (refused(Code::EntriesFull), true, false),
        ] {
            assert_eq!(
                worth_another(&error, repeatable),
                again,
                "{error:?} {repeatable}"
            );
        }
    }

    #[test]
    fn nobody_turns_away_twice_for_one_failure() {
        let nodes = nodes();
        let first = nodes.current().to_owned();
        nodes.turn_from(&first);
        let second = nodes.current().to_owned();
        assert_ne!(first, second);
        nodes.turn_from(&first);
        assert_eq!(nodes.current(), second);
    }

    #[test]
    fn waits_grow_have_an_end_and_are_not_all_alike() {
        assert!(wait(1) >= WAIT / 2 && wait(1) <= WAIT);
        assert!(wait(60) <= WAIT_MAX && wait(60) >= WAIT_MAX / 2);
        let waits: std::collections::BTreeSet<_> = (0..20).map(|_| wait(3)).collect();
        assert!(waits.len() > 10);
    }
}
