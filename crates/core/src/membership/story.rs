//! Story: what happened to a member, kept as facts and told as text when asked.
//!
//! A cluster of thousands is thousands of stories on every node, and nearly
//! all of them are one line: it came. So facts are kept, not sentences, and a
//! member that nothing else happened to has no story of its own: its entry
//! in the table tells it.

use std::net::SocketAddr;

use crate::id::{Incarnation, NodeId};
use crate::types::WhyEntry;

/// Things remembered of each member for `dui why`.
const STORY_MAX: usize = 16;

/// Something that happened to a member, or that somebody found out about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// It said that it is alive, and nobody here had doubted it.
    Alive(Incarnation, SocketAddr),
    /// It said so, being suspected.
    Refuted(Incarnation, SocketAddr),
    /// It became a suspect, says this one.
    Suspected(NodeId),
    /// One more accused it.
    Accused(NodeId),
    /// It is dead, says this one.
    Failed(NodeId),
    /// It said goodbye.
    Left(NodeId),
    /// Its address refused us.
    Refused(SocketAddr),
    /// Its stream to us ended without goodbye.
    StreamEnded,
    /// A probe had no answer, by any path; of `relays` that were asked to try,
    /// `nacks` answered us.
    ProbeTimeout {
        address: SocketAddr,
        relays: u8,
        nacks: u8,
    },
    /// It answered while a crash was in question.
    Answered,
    /// Everybody needed says that it crashed.
    Crashed,
}

impl Fact {
    fn what(self) -> &'static str {
        match self {
            Fact::Alive(..) => "alive",
            Fact::Refuted(..) => "refuted",
            Fact::Suspected(_) => "suspected",
            Fact::Accused(_) => "accused",
            Fact::Failed(_) => "failed",
            Fact::Left(_) => "left",
            Fact::Refused(_) => "refused",
            Fact::StreamEnded => "stream_ended",
            Fact::ProbeTimeout { .. } => "probe_timeout",
            Fact::Answered => "answered",
            Fact::Crashed => "crashed",
        }
    }

    /// Who said so; `None` for this node's own observation.
    fn by(self) -> Option<NodeId> {
        match self {
            Fact::Suspected(by) | Fact::Accused(by) | Fact::Failed(by) | Fact::Left(by) => Some(by),
            _ => None,
        }
    }

    fn detail(self) -> String {
        match self {
            Fact::Alive(incarnation, address) | Fact::Refuted(incarnation, address) => {
                format!("incarnation {} at {address}", incarnation.0)
            }
            Fact::Refused(address) => format!("by {address}"),
            Fact::StreamEnded => "without goodbye".into(),
            Fact::ProbeTimeout {
                address,
                relays,
                nacks,
            } => format!(
                "no answer from {address} directly, through {relays} others ({nacks} of them answered us) or by stream"
            ),
            Fact::Answered => "no crash".into(),
            Fact::Crashed => "refused this node and every witness asked".into(),
            Fact::Suspected(_) | Fact::Accused(_) | Fact::Failed(_) | Fact::Left(_) => {
                String::new()
            }
        }
    }
}

/// A fact, and when it was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) at_ms: u64,
    pub(crate) fact: Fact,
}

impl Line {
    pub(crate) fn told(self) -> WhyEntry {
        WhyEntry {
            at_ms: self.at_ms,
            what: self.fact.what(),
            by: self.fact.by(),
            detail: self.fact.detail(),
        }
    }
}

/// The last things that happened to one member, oldest first.
#[derive(Debug, Default)]
#[expect(
    clippy::box_collection,
    reason = "8 bytes instead of 24 for those without a story: nearly all"
)]
pub(crate) struct Story(Option<Box<Vec<Line>>>);

impl Story {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(crate) fn push(&mut self, line: Line) {
        let lines = self.0.get_or_insert_default();
        if lines.len() == STORY_MAX {
            lines.remove(0);
        }
        // Most stories end after a line or two.
        lines.reserve_exact(1);
        lines.push(line);
    }

    pub(crate) fn told(&self) -> Vec<WhyEntry> {
        let lines = self.0.iter().flat_map(|lines| lines.iter());
        lines.map(|line| line.told()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_things_are_remembered() {
        let mut story = Story::default();
        assert!(story.told().is_empty());
        for at_ms in 0..40 {
            story.push(Line {
                at_ms,
                fact: Fact::Accused(NodeId(1)),
            });
        }
        let told = story.told();
        assert_eq!(told.len(), STORY_MAX);
        assert_eq!(told.last().map(|entry| entry.at_ms), Some(39));
    }
}
