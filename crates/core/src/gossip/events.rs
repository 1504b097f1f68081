//! Events: the last user events, in an order that all who hold them share.
//!
//! Ordered by (timestamp, origin). The log keeps the 1,024 highest, so two
//! nodes that heard the same events keep the same ones, and the sum of their
//! hashes says whether they did: it is part of the digest on probes.

use std::collections::BTreeMap;

use crate::reconcile::{Fingerprint, Key};
use crate::types::UserEvent;
use crate::wire::event_key;

/// Events kept.
const EVENTS_MAX: usize = 1_024;

/// The last user events.
#[derive(Debug, Default)]
pub(crate) struct EventLog {
    events: BTreeMap<Key, UserEvent>,
    fingerprint: Fingerprint,
}

impl EventLog {
    /// Keeps an event; `false` if it is known or older than all that are kept.
    pub(crate) fn insert(&mut self, event: UserEvent) -> bool {
        let key = event_key(event.timestamp, event.origin);
        let full = self.events.len() >= EVENTS_MAX;
        let too_old = full
            && self
                .events
                .first_key_value()
                .is_some_and(|(first, _)| key < *first);
        if too_old || self.events.contains_key(&key) {
            return false;
        }
        self.fingerprint.add(&key);
        self.events.insert(key, event);
        if self.events.len() > EVENTS_MAX
            && let Some((dropped, _)) = self.events.pop_first()
        {
            self.fingerprint.remove(&dropped);
        }
        true
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&UserEvent> {
        self.events.get(key)
    }

    /// Keys in order.
    pub(crate) fn keys(&self) -> Vec<Key> {
        self.events.keys().copied().collect()
    }

    /// Events in order.
    pub(crate) fn list(&self) -> Vec<UserEvent> {
        self.events.values().cloned().collect()
    }

    /// Fingerprint of what is kept; 0 while nothing is.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::id::NodeId;

    fn event(timestamp: u64, origin: u128) -> UserEvent {
        UserEvent {
            timestamp: Timestamp(timestamp),
            origin: NodeId(origin),
            name: "deploy".into(),
            payload: Vec::new(),
        }
    }

    #[test]
    fn whoever_heard_the_same_events_keeps_the_same_in_the_same_order() {
        let events: Vec<_> = (0..EVENTS_MAX as u64 + 300)
            .map(|n| event(n / 2, u128::from(n % 2)))
            .collect();
        let (mut ann, mut bo) = (EventLog::default(), EventLog::default());
        for event in &events {
            ann.insert(event.clone());
        }
        for event in events.iter().rev() {
            bo.insert(event.clone());
        }
        assert_eq!(ann.list(), bo.list());
        assert_eq!(ann.list().len(), EVENTS_MAX);
        assert_eq!(ann.fingerprint(), bo.fingerprint());
    }

    #[test]
    fn an_event_is_news_once() {
        let mut log = EventLog::default();
        assert!(log.insert(event(1, 1)));
        assert!(!log.insert(event(1, 1)));
        assert!(log.insert(event(1, 2)), "same moment, another origin");
    }
}
