//! Outlook: the numbered views of this cluster, as this node has them.
//!
//! Managers that get all records read them there; everybody else hears by
//! gossip that there is a newer one, and asks a voter for what comes after the
//! last it has. So every node sees the same views in the same order; who comes
//! late begins with a whole one.

use std::collections::{BTreeMap, VecDeque};

use dui_consensus::call::Views;
use dui_consensus::founding::ClusterId;
use dui_consensus::machine::{VIEWS_MAX, View};
use dui_consensus::record::Seen;
use dui_core::NodeId;

/// Views in their order, without gaps.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outlook {
    cluster: Option<ClusterId>,
    number: u64,
    members: BTreeMap<NodeId, Seen>,
    views: VecDeque<View>,
}

impl Outlook {
    /// The newest view's number; 0 before the first.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Which cluster's views these are.
    pub(crate) fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// The members of the newest.
    pub(crate) fn members(&self) -> &BTreeMap<NodeId, Seen> {
        &self.members
    }

    /// The latest, oldest first.
    pub(crate) fn views(&self) -> impl DoubleEndedIterator<Item = &View> {
        self.views.iter()
    }

    /// Takes in what comes next; what is new.
    pub(crate) fn take(&mut self, cluster: ClusterId, views: Views) -> Vec<View> {
        if self.cluster != Some(cluster) {
            *self = Self {
                cluster: Some(cluster),
                ..Self::default()
            };
        }
        match views {
            Views::Next(views) => {
                let mut new = Vec::new();
                for view in views {
                    if view.number == self.number + 1 {
                        self.add(view.clone());
                        new.push(view);
                    }
                }
                new
            }
            Views::Whole { number, .. } if number <= self.number => Vec::new(),
            Views::Whole {
                number,
                revision,
                members,
            } => {
                self.views.clear();
                self.members.clear();
                let whole = View {
                    number,
                    revision,
                    joined: members,
                    gone: Vec::new(),
                };
                self.add(whole.clone());
                vec![whole]
            }
        }
    }

    fn add(&mut self, view: View) {
        self.number = view.number;
        for gone in &view.gone {
            self.members.remove(&gone.id);
        }
        for seen in &view.joined {
            self.members.insert(seen.id, seen.clone());
        }
        if self.views.len() >= VIEWS_MAX {
            self.views.pop_front();
        }
        self.views.push_back(view);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREEN: ClusterId = ClusterId(1);

    fn view(number: u64) -> View {
        View {
            number,
            revision: 10 + number,
            joined: vec![Seen {
                id: NodeId(number.into()),
                name: format!("node-{number}"),
                address: String::new(),
                manager: true,
            }],
            gone: Vec::new(),
        }
    }

    fn numbers(views: &[View]) -> Vec<u64> {
        views.iter().map(|view| view.number).collect()
    }

    #[test]
    fn views_come_once_and_without_gaps() {
        let mut outlook = Outlook::default();
        let next = |numbers: &[u64]| Views::Next(numbers.iter().map(|n| view(*n)).collect());
        assert_eq!(numbers(&outlook.take(GREEN, next(&[1, 2]))), [1, 2]);
        assert_eq!(numbers(&outlook.take(GREEN, next(&[2, 3]))), [3]);
        assert_eq!(
            numbers(&outlook.take(GREEN, next(&[5, 6]))),
            Vec::<u64>::new()
        );
        assert_eq!((outlook.number(), outlook.members().len()), (3, 3));
    }

    #[test]
    fn who_is_late_begins_with_a_whole_one() {
        let mut outlook = Outlook::default();
        let whole = |number| Views::Whole {
            number,
            revision: number,
            members: view(number).joined,
        };
        assert_eq!(numbers(&outlook.take(GREEN, whole(40))), [40]);
        assert_eq!(numbers(&outlook.take(GREEN, whole(40))), Vec::<u64>::new());
        assert_eq!(outlook.members().len(), 1);
        // Another cluster begins anew.
        let next = Views::Next(vec![view(1)]);
        assert_eq!(numbers(&outlook.take(ClusterId(2), next)), [1]);
    }
}
