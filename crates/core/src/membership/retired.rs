//! Retired: ids that must not come back by hearsay.
//!
//! A side of the cluster that was cut off when a member left still holds it
//! alive. So the (id, incarnation) of who left is kept for 7 days: the old
//! life stays ended, a higher incarnation is welcome. Who was forgotten is
//! refused at every incarnation, for good.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Mono;
use crate::id::{Incarnation, NodeId};
use crate::wire::Subject;

const KEEP_LEFT: Duration = Duration::from_secs(7 * 24 * 3_600);
const LEFT_MAX: usize = 10_000;
const FORGOTTEN_MAX: usize = 10_000;

/// Who has left and who was forgotten.
#[derive(Debug, Default)]
pub(crate) struct Retired {
    left: BTreeMap<NodeId, (Incarnation, Mono)>,
    by_age: BTreeSet<(Mono, NodeId)>,
    forgotten: BTreeSet<NodeId>,
}

impl Retired {
    /// With the ids forgotten in earlier runs.
    pub(crate) fn new(forgotten: impl IntoIterator<Item = NodeId>) -> Self {
        Self {
            forgotten: forgotten.into_iter().take(FORGOTTEN_MAX).collect(),
            ..Self::default()
        }
    }

    /// A member left.
    pub(crate) fn left(&mut self, now: Mono, subject: Subject) {
        if let Some((incarnation, at)) = self.left.insert(subject.id, (subject.incarnation, now)) {
            self.by_age.remove(&(at, subject.id));
            if incarnation > subject.incarnation {
                self.left.insert(subject.id, (incarnation, now));
            }
        }
        self.by_age.insert((now, subject.id));
        while let Some((at, id)) = self.by_age.first().copied() {
            if self.left.len() <= LEFT_MAX && now.saturating_sub(at) <= KEEP_LEFT {
                break;
            }
            self.by_age.remove(&(at, id));
            self.left.remove(&id);
        }
    }

    /// Whether this life has ended by a leave.
    pub(crate) fn has_left(&self, now: Mono, subject: Subject) -> bool {
        self.left.get(&subject.id).is_some_and(|(incarnation, at)| {
            subject.incarnation <= *incarnation && now.saturating_sub(*at) <= KEEP_LEFT
        })
    }

    /// An operator removed this id; `false` if that was known, or no more fit.
    pub(crate) fn forget(&mut self, id: NodeId) -> bool {
        self.forgotten.len() < FORGOTTEN_MAX && self.forgotten.insert(id)
    }

    /// Whether an operator removed this id.
    pub(crate) fn is_forgotten(&self, id: NodeId) -> bool {
        self.forgotten.contains(&id)
    }

    /// All forgotten ids, to be remembered.
    pub(crate) fn forgotten(&self) -> Vec<NodeId> {
        self.forgotten.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(id: u128, incarnation: u64) -> Subject {
        Subject {
            id: NodeId(id),
            incarnation: Incarnation(incarnation),
        }
    }

    #[test]
    fn who_left_stays_left_but_may_start_a_new_life() {
        let mut retired = Retired::default();
        retired.left(Mono::ZERO, life(1, 5));
        assert!(retired.has_left(Mono::from_secs(60), life(1, 5)));
        assert!(retired.has_left(Mono::from_secs(60), life(1, 4)));
        assert!(!retired.has_left(Mono::from_secs(60), life(1, 6)));
        assert!(!retired.has_left(KEEP_LEFT + Mono::from_secs(1), life(1, 5)));
    }

    #[test]
    fn an_older_goodbye_does_not_hide_a_newer_one() {
        let mut retired = Retired::default();
        retired.left(Mono::ZERO, life(1, 5));
        retired.left(Mono::from_secs(1), life(1, 3));
        assert!(retired.has_left(Mono::from_secs(2), life(1, 5)));
    }

    #[test]
    fn memory_is_bounded() {
        let mut retired = Retired::default();
        for id in 0..LEFT_MAX as u128 + 50 {
            retired.left(Mono::from_millis(id as u64), life(id, 1));
        }
        assert_eq!(retired.left.len(), LEFT_MAX);
        assert_eq!(retired.by_age.len(), LEFT_MAX);
        assert!(
            !retired.has_left(Mono::from_secs(20), life(0, 1)),
            "the oldest went"
        );
    }
}
