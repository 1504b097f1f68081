//! Confirm: making sure of a crash before saying so.
//!
//! The end of an idle stream without goodbye, or a port that refuses, is
//! evidence, not proof: it may be ours alone. So the witness pings the member
//! itself and asks min(2, N - 2) others to do the same. Failed needs every one
//! of those voices: refused by the address itself, or an own stream lost and
//! silence since. One answer to anybody ends the matter; whatever is left
//! undecided becomes an ordinary suspicion.
//!
//! The idle streams follow JGroups' FD_SOCK.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::Mono;
use crate::id::NodeId;
use crate::wire::{Subject, Verdict};

/// After this without a decision two more are asked: a witness may be dead itself.
const ASK_MORE_AFTER: Duration = Duration::from_millis(150);
/// After this the matter is left to ordinary suspicion.
const GIVE_UP_AFTER: Duration = Duration::from_millis(1_000);

/// What a confirmation has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// More voices are needed.
    Open,
    /// It answered somebody.
    Alive,
    /// Everybody needed says so.
    Crashed,
    /// Time is up: accuse, if this node's own ping had no answer.
    Undecided,
}

/// One crash in question.
#[derive(Debug)]
pub(crate) struct Confirmation {
    subject: Subject,
    needed: usize,
    own: Option<Verdict>,
    asked: BTreeMap<u32, NodeId>,
    agree: BTreeSet<NodeId>,
    answered: bool,
    ask_more_at: Mono,
    give_up_at: Mono,
}

impl Confirmation {
    /// In a cluster of `live` live members, the one in question included; so
    /// many `witnesses` are needed, if there are.
    pub(crate) fn new(now: Mono, subject: Subject, live: usize, witnesses: usize) -> Self {
        Self {
            subject,
            needed: witnesses.min(live.saturating_sub(2)),
            own: None,
            asked: BTreeMap::new(),
            agree: BTreeSet::new(),
            answered: false,
            ask_more_at: now,
            give_up_at: now + GIVE_UP_AFTER,
        }
    }

    pub(crate) fn subject(&self) -> Subject {
        self.subject
    }

    pub(crate) fn deadline(&self) -> Mono {
        self.ask_more_at.min(self.give_up_at)
    }

    /// Everything about it comes later by as much.
    pub(crate) fn postpone(&mut self, by: Duration) {
        self.ask_more_at += by;
        self.give_up_at += by;
    }

    /// How many more are to be asked now.
    pub(crate) fn wants(&mut self, now: Mono) -> usize {
        if now < self.ask_more_at {
            return 0;
        }
        self.ask_more_at = now + ASK_MORE_AFTER;
        self.needed
    }

    /// Takes note that somebody was asked under this number.
    pub(crate) fn asked(&mut self, seq: u32, who: NodeId) {
        self.asked.insert(seq, who);
    }

    /// Whether this one was asked already.
    pub(crate) fn has_asked(&self, who: NodeId) -> bool {
        self.asked.values().any(|asked| *asked == who)
    }

    /// This node's own direct verdict.
    pub(crate) fn own_verdict(&mut self, verdict: Verdict) {
        self.answered |= verdict == Verdict::Answered;
        self.own = Some(verdict);
    }

    /// A report; ignored unless it is from whom the number was given to.
    pub(crate) fn report(&mut self, seq: u32, from: NodeId, verdict: Verdict) {
        if self.asked.get(&seq) != Some(&from) {
            return;
        }
        match verdict {
            Verdict::Answered => self.answered = true,
            Verdict::Refused | Verdict::StreamLost => {
                self.agree.insert(from);
            }
            Verdict::Silent => {}
        }
    }

    /// What it has come to by now.
    pub(crate) fn outcome(&self, now: Mono) -> Outcome {
        let own_agrees = matches!(self.own, Some(Verdict::Refused | Verdict::StreamLost));
        if self.answered {
            Outcome::Alive
        } else if own_agrees && self.agree.len() >= self.needed {
            Outcome::Crashed
        } else if now >= self.give_up_at {
            Outcome::Undecided
        } else {
            Outcome::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Incarnation;

    const DEAD: Subject = Subject {
        id: NodeId(9),
        incarnation: Incarnation(1),
    };

    fn asked_two(live: usize) -> Confirmation {
        let mut crash = Confirmation::new(Mono::ZERO, DEAD, live, 2);
        for (seq, who) in [(1, NodeId(1)), (2, NodeId(2))] {
            crash.asked(seq, who);
        }
        crash
    }

    #[test]
    fn a_crash_needs_two_others_who_were_refused() {
        let mut crash = asked_two(10);
        assert_eq!(crash.wants(Mono::ZERO), 2);
        crash.own_verdict(Verdict::Refused);
        crash.report(1, NodeId(1), Verdict::Refused);
        assert_eq!(crash.outcome(Mono::ZERO), Outcome::Open);
        crash.report(2, NodeId(2), Verdict::StreamLost);
        assert_eq!(crash.outcome(Mono::ZERO), Outcome::Crashed);
    }

    #[test]
    fn one_answer_to_anybody_ends_the_matter() {
        let mut crash = asked_two(10);
        crash.own_verdict(Verdict::Refused);
        crash.report(1, NodeId(1), Verdict::Refused);
        crash.report(2, NodeId(2), Verdict::Answered);
        assert_eq!(crash.outcome(Mono::ZERO), Outcome::Alive);
    }

    /// A router that rejects for half of the cluster makes nobody failed:
    /// silence without an own lost stream proves nothing.
    #[test]
    fn silence_alone_is_left_to_suspicion() {
        let mut crash = asked_two(10);
        crash.own_verdict(Verdict::StreamLost);
        crash.report(1, NodeId(1), Verdict::Silent);
        crash.report(2, NodeId(2), Verdict::Refused);
        assert_eq!(crash.outcome(Mono::from_millis(999)), Outcome::Open);
        assert_eq!(crash.outcome(GIVE_UP_AFTER), Outcome::Undecided);
    }

    #[test]
    fn nobody_speaks_for_somebody_else() {
        let mut crash = asked_two(10);
        crash.own_verdict(Verdict::Refused);
        crash.report(1, NodeId(1), Verdict::Refused);
        crash.report(1, NodeId(7), Verdict::Refused);
        crash.report(2, NodeId(1), Verdict::Refused);
        assert_eq!(crash.outcome(Mono::ZERO), Outcome::Open);
    }

    #[test]
    fn two_nodes_have_no_witness_and_need_none() {
        let mut crash = Confirmation::new(Mono::ZERO, DEAD, 2, 2);
        assert_eq!(crash.wants(Mono::ZERO), 0);
        assert_eq!(crash.outcome(Mono::ZERO), Outcome::Open);
        crash.own_verdict(Verdict::Refused);
        assert_eq!(crash.outcome(Mono::ZERO), Outcome::Crashed);
    }

    #[test]
    fn a_dead_witness_is_replaced() {
        let mut crash = asked_two(10);
        assert_eq!(crash.wants(Mono::ZERO), 2);
        assert_eq!(crash.wants(Mono::from_millis(10)), 0);
        assert_eq!(crash.wants(ASK_MORE_AFTER), 2);
        assert!(crash.has_asked(NodeId(1)) && !crash.has_asked(NodeId(3)));
    }
}
