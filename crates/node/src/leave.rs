//! Leave: one goodbye, however many ask for it, and one outcome for all of them.

use dui_core::Mono;
use tokio::sync::oneshot;

use crate::handle::LeaveOutcome;

/// How far a leave has come.
#[derive(Debug, Default)]
pub(crate) enum Leave {
    /// Nobody asked.
    #[default]
    No,
    /// The core says goodbye.
    Going {
        /// When nobody waits any longer.
        give_up_at: Mono,
        /// Who asked so far.
        waiting: Vec<oneshot::Sender<LeaveOutcome>>,
    },
    /// Over.
    Done(LeaveOutcome),
}

impl Leave {
    /// Takes note of somebody who asks; `true` for the first, who begins it.
    pub(crate) fn ask(&mut self, reply: oneshot::Sender<LeaveOutcome>, give_up_at: Mono) -> bool {
        match self {
            Leave::No => {
                let waiting = vec![reply];
                *self = Leave::Going {
                    give_up_at,
                    waiting,
                };
                true
            }
            Leave::Going { waiting, .. } => {
                waiting.push(reply);
                false
            }
            Leave::Done(outcome) => {
                // Whoever asked may have gone.
                let _ = reply.send(*outcome);
                false
            }
        }
    }

    /// The leave is over; the first outcome stands.
    pub(crate) fn finish(&mut self, outcome: LeaveOutcome) {
        if matches!(self, Leave::Done(_)) {
            return;
        }
        if let Leave::Going { waiting, .. } = std::mem::replace(self, Leave::Done(outcome)) {
            for reply in waiting {
                let _ = reply.send(outcome);
            }
        }
    }

    /// When to stop waiting, while there is something to wait for.
    pub(crate) fn give_up_at(&self) -> Option<Mono> {
        match self {
            Leave::Going { give_up_at, .. } => Some(*give_up_at),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;

    #[test]
    fn everybody_who_asks_learns_the_first_outcome() {
        let deadline = Duration::from_secs(8);
        let good = LeaveOutcome {
            acked: 3,
            wanted: 3,
        };
        let late = LeaveOutcome {
            acked: 0,
            wanted: 3,
        };
        let mut leave = Leave::default();
        let ask = |leave: &mut Leave| {
            let (reply, outcome) = oneshot::channel();
            (leave.ask(reply, deadline), outcome)
        };
        let (first_begins, mut first) = ask(&mut leave);
        let (second_begins, mut second) = ask(&mut leave);
        assert!(first_begins && !second_begins);
        assert_eq!(leave.give_up_at(), Some(deadline));

        leave.finish(good);
        leave.finish(late);
        let (third_begins, mut third) = ask(&mut leave);
        assert!(!third_begins);
        for outcome in [&mut first, &mut second, &mut third] {
            assert_eq!(outcome.try_recv().unwrap(), good);
        }
        assert_eq!(leave.give_up_at(), None);
    }
}
