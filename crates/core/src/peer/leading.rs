//! Leading: what the managers have agreed on, told to everybody.
//!
//! One fact, of which the newest stands (see [`LeaderNews`]). It is a rumor
//! first: who hears newer news than it holds passes them on, and older ones
//! end with whoever knows better. What a rumor missed shows in the digest on
//! probes, of which the news are a part, and is made up for where two begin
//! to compare: whoever says what its view looks like from its lowest key on
//! says its news beside it, and is answered with newer ones.
//!
//! ```text
//! ann                                      bo
//! ranges from the lowest key on, news 4 ─▶   holds 5
//!                          holds 5 now  ◀─ news 5
//! ```
//!
//! A side that was cut off learns by that in one place or two, and from there
//! by a rumor anew. A newcomer keeps what it learns to itself: all others know.

use super::outbox::Path;
use super::{Event, LeaderNews, Peer, VOTERS_MAX};
use crate::bugs::Bug;
use crate::clock::Now;
use crate::id::NodeId;
use crate::membership::Heard;
use crate::reconcile::{LOWEST, Range};
use crate::wire::{Body, Greeting, Packet};

/// The newest news, if there were any.
#[derive(Debug, Default)]
pub(super) struct Leading {
    news: Option<LeaderNews>,
    /// Said with every probe: not worked out each time.
    fingerprint: u64,
}

impl Leading {
    /// What the news look like from afar; 0 while there are none.
    pub(super) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }
}

impl Peer {
    /// What the managers have agreed on, as far as this node knows.
    pub fn leader_news(&self) -> Option<&LeaderNews> {
        self.leading.news.as_ref()
    }

    /// This node learned from the managers what they have agreed on. Unless it
    /// knows better, it says so ([`Event::LeaderNews`]) and tells everybody;
    /// one that leaves tells nobody any more.
    ///
    /// Voters may come in any order; of more than [`VOTERS_MAX`] the first
    /// ones by id are told.
    pub fn tell_leader(&mut self, now: Now, mut news: LeaderNews) {
        news.voters.sort_unstable();
        news.voters.dedup();
        news.voters.truncate(VOTERS_MAX);
        if self.adopt_leader(&news) && self.leaving.is_none() {
            self.originate(now, Body::Leader(news));
        }
        self.settle(now);
    }

    /// A rumor of them.
    pub(super) fn hear_leader_rumor(&mut self, news: &LeaderNews) -> Heard {
        if self.adopt_leader(news) {
            Heard::News
        } else {
            Heard::Old
        }
    }

    /// A packet may say them, or show that its sender has none.
    pub(super) fn hear_leader(&mut self, now: Now, path: Path, from: NodeId, packet: &Packet) {
        let leaves = self.leaving.is_some();
        if let Some(theirs) = &packet.leader
            && self.adopt_leader(theirs)
        {
            // Those around us may lack them, too: no rumor brought them here.
            if !leaves && !self.sync.is_newcomer() {
                self.originate(now, Body::Leader(theirs.clone()));
            }
            return;
        }
        let Some(ours) = &self.leading.news else {
            return;
        };
        let lacks = match &packet.leader {
            Some(theirs) => ours.is_newer_than(theirs),
            None => {
                let welcomes = packet.greeting == Some(Greeting::Welcome);
                welcomes || packet.member_ranges.first().is_some_and(begins)
            }
        };
        if lacks && !leaves && self.membership.is_live(from) {
            let mut answer = Packet::new(self.config.id);
            answer.leader = Some(ours.clone());
            self.send(path, Some(from), answer);
        }
    }

    /// What is said beside these ranges of the member view.
    pub(super) fn leader_beside(&self, members: &[Range]) -> Option<LeaderNews> {
        members.first().filter(|range| begins(range))?;
        self.leading.news.clone()
    }

    /// Keeps them and says so, if they are newer than what is held.
    fn adopt_leader(&mut self, news: &LeaderNews) -> bool {
        let held = self.leading.news.as_ref();
        let newer = held.is_none_or(|held| news.is_newer_than(held));
        let forgets = self.config.bugs().has(Bug::ForgetfulLeader) && held != Some(news);
        if !newer && !forgets {
            return false;
        }
        self.leading = Leading {
            fingerprint: news.fingerprint(),
            news: Some(news.clone()),
        };
        self.tell(Event::LeaderNews(news.clone()));
        true
    }
}

/// Whether a range begins a comparison, or may: its sender says what it has
/// from the lowest key on.
fn begins(first: &Range) -> bool {
    first.lo == LOWEST
}
