//! Contacts: when entries were last exchanged with whom.
//!
//! A tombstone is dropped after 30 days. Somebody who was away for longer may
//! hold what was deleted meanwhile, and would bring it back: with such a one
//! nothing is exchanged until an operator has chosen. Who never was in
//! contact has nothing that was deleted here; who holds nothing can bring
//! nothing back. And since a newcomer takes over the entries of whom it
//! joins, it takes over whom that one has lost.
//!
//! Who gives up its side's entries changes sides: it is lost to those that it
//! shared with until then, who would give them all back, until they give them
//! up, too, or turn out to hold the same.

use std::collections::BTreeMap;

use crate::entry::SharedChoice;
use crate::id::NodeId;
use crate::wire::Contact;

/// Contacts remembered; the oldest go first.
const CONTACTS_MAX: usize = 4_096;
/// Long-lost contacts told to a peer.
const LOST_MAX: usize = 16;

/// The last contact with whom this node left on changing sides.
const RENOUNCED_MS: u64 = 0;

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Contacts {
    /// Of this node itself: when an operator decided.
    at_ms: BTreeMap<NodeId, u64>,
    life_ms: u64,
    me: NodeId,
}

impl Contacts {
    pub(crate) fn new(
        me: NodeId,
        life_ms: u64,
        remembered: impl IntoIterator<Item = (NodeId, u64)>,
    ) -> Self {
        let at_ms = remembered.into_iter().take(CONTACTS_MAX).collect();
        Self { at_ms, life_ms, me }
    }

    /// Whether the last contact with this one is longer ago than tombstones live.
    pub(crate) fn is_lost(&self, now_ms: u64, id: NodeId) -> bool {
        let last = self.at_ms.get(&id);
        last.is_some_and(|last| now_ms.saturating_sub(*last) >= self.life_ms)
    }

    /// Whether this node has changed sides, away from this one.
    pub(crate) fn has_renounced(&self, id: NodeId) -> bool {
        self.at_ms.get(&id) == Some(&RENOUNCED_MS)
    }

    /// Entries are exchanged. `true` when that is worth writing down.
    pub(crate) fn touch(&mut self, now_ms: u64, id: NodeId) -> bool {
        let last = self.at_ms.get(&id).copied();
        if last.is_some_and(|last| now_ms.saturating_sub(last) < self.life_ms / 128) {
            return false;
        }
        self.at_ms.insert(id, now_ms);
        if self.at_ms.len() > CONTACTS_MAX {
            let oldest = self.at_ms.iter().min_by_key(|(_, at_ms)| **at_ms);
            if let Some((oldest, _)) = oldest.map(|(id, at_ms)| (*id, *at_ms)) {
                self.at_ms.remove(&oldest);
            }
        }
        true
    }

    /// A peer says that an operator has decided what becomes of its entries:
    /// if that was after our last contact, there is nothing to be decided here.
    pub(crate) fn decided(&mut self, now_ms: u64, by: NodeId, at_ms: u64) {
        if self.at_ms.get(&by).is_some_and(|last| *last < at_ms) {
            self.at_ms.insert(by, now_ms);
        }
    }

    /// A peer of good standing has not seen this one since then; nor have we
    /// then, through it, unless we know better.
    pub(crate) fn inherit(&mut self, contact: Contact) {
        if contact.id != self.me && self.at_ms.len() < CONTACTS_MAX {
            self.at_ms.entry(contact.id).or_insert(contact.at_ms);
        }
    }

    /// What peers should know: whom they have lost, too, and whether an
    /// operator has decided here.
    pub(crate) fn lost(&self, now_ms: u64) -> Vec<Contact> {
        let lost = self.at_ms.iter().map(|(id, at_ms)| Contact {
            id: *id,
            at_ms: *at_ms,
        });
        let long_ago = |at_ms| now_ms.saturating_sub(at_ms) >= self.life_ms / 2;
        // Our own is told for as long as somebody may have to know it.
        lost.filter(|contact| (contact.id == self.me) != long_ago(contact.at_ms))
            .take(LOST_MAX)
            .collect()
    }

    /// To be remembered.
    pub(crate) fn list(&self) -> Vec<(NodeId, u64)> {
        self.at_ms.iter().map(|(id, at_ms)| (*id, *at_ms)).collect()
    }

    /// An operator has decided: the past is settled. `live`: all members now.
    pub(crate) fn settle(&mut self, now_ms: u64, choice: SharedChoice, live: &[NodeId]) {
        let known = self.at_ms.keys().chain(live).copied();
        let side: Vec<NodeId> = known.filter(|id| !self.is_lost(now_ms, *id)).collect();
        self.at_ms.clear();
        if choice == SharedChoice::Discard {
            let renounced = side.into_iter().take(CONTACTS_MAX);
            self.at_ms.extend(renounced.map(|id| (id, RENOUNCED_MS)));
        }
        self.at_ms.insert(self.me, now_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contact_is_lost_when_tombstones_from_then_are_gone() {
        let mut contacts = Contacts::new(NodeId(9), 1_000, [(NodeId(1), 500)]);
        assert!(!contacts.is_lost(9_999, NodeId(2)), "never met");
        assert!(!contacts.is_lost(1_499, NodeId(1)));
        assert!(contacts.is_lost(1_500, NodeId(1)));
        assert!(!contacts.touch(505, NodeId(1)), "too little to write down");
        assert!(contacts.touch(1_499, NodeId(1)));
        assert!(!contacts.is_lost(2_400, NodeId(1)));
    }

    #[test]
    fn a_newcomer_takes_over_whom_its_host_has_lost() {
        let host = Contacts::new(NodeId(9), 1_000, [(NodeId(1), 500), (NodeId(2), 1_900)]);
        let mut newcomer = Contacts::new(NodeId(8), 1_000, [(NodeId(3), 7)]);
        for contact in host.lost(2_000) {
            newcomer.inherit(contact);
        }
        assert!(newcomer.is_lost(2_000, NodeId(1)));
        assert!(!newcomer.is_lost(2_000, NodeId(2)));
        newcomer.inherit(Contact {
            id: NodeId(3),
            at_ms: 900,
        });
        assert_eq!(newcomer.list()[1], (NodeId(3), 7), "it knows better");
    }

    #[test]
    fn what_one_side_has_decided_settles_it_for_both() {
        let mut ann = Contacts::new(NodeId(1), 1_000, [(NodeId(2), 500)]);
        let mut bo = Contacts::new(NodeId(2), 1_000, [(NodeId(1), 500)]);
        bo.settle(2_000, SharedChoice::Keep, &[]);
        assert!(ann.is_lost(2_010, NodeId(2)) && !bo.is_lost(2_010, NodeId(1)));
        let [Contact { id, at_ms }] = bo.lost(2_010)[..] else {
            panic!("{:?}", bo.lost(2_010));
        };
        ann.decided(2_010, id, at_ms);
        assert!(!ann.is_lost(2_010, NodeId(2)));
        // Another parting is another decision.
        assert!(bo.lost(9_000).is_empty());
        ann.decided(9_000, id, at_ms);
        assert!(ann.is_lost(9_000, NodeId(2)));
    }

    #[test]
    fn who_gives_up_its_entries_changes_sides() {
        let (friend, newcomer, foe) = (NodeId(2), NodeId(3), NodeId(4));
        let mut ann = Contacts::new(NodeId(1), 1_000, [(friend, 1_900), (foe, 500)]);
        ann.settle(2_000, SharedChoice::Discard, &[newcomer, foe]);
        assert!(!ann.is_lost(2_010, foe));
        for lost in [friend, newcomer] {
            assert!(ann.is_lost(2_010, lost) && ann.has_renounced(lost));
        }
        // That one gives them up, too.
        ann.decided(2_020, friend, 2_015);
        assert!(!ann.is_lost(2_030, friend) && !ann.has_renounced(friend));
    }
}
