//! Probe: asking one member whether it lives, step by step.
//!
//! ```text
//!   0        1 unit       2 units               3, 4 units   5 units
//!   ping ──▶ ping again ─▶ 3 indirect + stream ─▶ ping again ─▶ verdict
//! ```
//!
//! Only silence is pinged again, so that costs nothing where all answer; where
//! a quarter of the packets is lost, five tries instead of two accuse a tenth
//! of the healthy members.
//!
//! A unit is 100 ms, longer on links whose measured round trip asks for it,
//! and multiplied by this node's awareness. A crash in question is pinged again after a
//! tenth of it. Each step is timed from when the
//! step before it has run, not from the start: a node that was starved of
//! CPU gives its target the full wait all the same, and accuses nobody.
//!
//! Source: SWIM (Das et al., DSN 2002), section 3.1; Lifeguard, section IV-A
//! (nacks); memberlist's stream fallback.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use crate::clock::Mono;
use crate::id::NodeId;
use crate::wire::{Subject, Verdict};

/// Steps between the first ping and the verdict, a unit each.
const STEPS: u32 = 4;
/// Probes in flight at once; beyond that they are dropped.
const PROBES_MAX: usize = 1_024;
/// Those asked for by others are dropped earlier, or a thousand wishes would
/// keep this node from looking for itself.
const FOR_OTHERS_MAX: usize = PROBES_MAX / 2;
/// Judged probes whose acks may still come: what tells a slow link from a dead one.
const JUDGED_MAX: usize = 64;
/// A slow link makes the steps so many times as long at most.
const SLOWER_MAX: u32 = 4;

/// Why a probe runs, which decides what its outcome means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// This node's turn in the round, or a neighbour is suspected: silence accuses.
    Round(Subject),
    /// A crash is in question: the verdict goes to this node's own confirmation.
    Confirm(Subject),
    /// As `Confirm`, for somebody who asked.
    ConfirmFor {
        subject: Subject,
        asker: NodeId,
        seq: u32,
    },
    /// SWIM's indirect probe: the ack is passed on.
    Relay {
        target: NodeId,
        asker: NodeId,
        seq: u32,
    },
    /// Who is at this address? A newcomer claims it.
    Claim(NodeId),
    /// Does somebody else live under our own id there?
    OwnId,
}

impl Reason {
    /// Who has to answer; `None`: whoever is there.
    pub(crate) fn target(&self) -> Option<NodeId> {
        match *self {
            Reason::Round(subject)
            | Reason::Confirm(subject)
            | Reason::ConfirmFor { subject, .. } => Some(subject.id),
            Reason::Relay { target, .. } => Some(target),
            Reason::Claim(_) | Reason::OwnId => None,
        }
    }
}

impl Reason {
    fn is_for_others(&self) -> bool {
        matches!(self, Reason::Relay { .. } | Reason::ConfirmFor { .. })
    }

    /// How long the first ping waits. A dying process may close its streams
    /// before its packet socket: a ping sent in between vanishes, the next one
    /// is refused.
    fn first_wait(&self, unit: Duration) -> Duration {
        match self {
            Reason::Confirm(_) | Reason::ConfirmFor { .. } => unit / 10,
            _ => unit,
        }
    }
}

/// What a probe does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    PingAgain,
    /// Round: ask others and try a stream. Relay: say that there is no answer yet.
    Indirect,
    Verdict,
}

/// A probe in flight.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) reason: Reason,
    pub(crate) address: SocketAddr,
    pub(crate) sent_at: Mono,
    /// When the second ping went out, and the last.
    pub(crate) again_at: Option<(Mono, Mono)>,
    /// Who was asked to try: an ack from them is the target's.
    pub(crate) relays: Vec<NodeId>,
    pub(crate) nacks: usize,
    step: Step,
    /// Done so far.
    steps: u32,
    due: Mono,
    unit: Duration,
}

impl Probe {
    /// What the round trip was, if an ack by packet comes now. After several
    /// pings nobody knows which one it answers (Karn). Of who is known it
    /// answers the last, if it comes about as long after that as acks do, else
    /// the second, lest lost packets make a quick link slow; of who is not,
    /// any guess is better than none, and the longest one makes the next ping
    /// wait for its ack: on a link slower than a unit, nothing else is ever
    /// measured.
    pub(crate) fn round_trip(&self, now: Mono, known: Option<Duration>) -> Duration {
        let (Some(rtt), Some((second, last))) = (known, self.again_at) else {
            return now.saturating_sub(self.sent_at);
        };
        let after_last = now.saturating_sub(last);
        if (rtt / 2..=rtt * 4).contains(&after_last) {
            after_last
        } else {
            now.saturating_sub(second)
        }
    }

    /// Another ping goes out.
    pub(crate) fn pinged_again(&mut self, now: Mono) {
        let second = self.again_at.map_or(now, |(second, _)| second);
        self.again_at = Some((second, now));
    }

    fn advance(&mut self, now: Mono) {
        // Who lives is at stake, or only who lives there.
        let accuses = matches!(self.reason, Reason::Round(_) | Reason::Relay { .. });
        self.steps += 1;
        let (step, units) = match self.steps {
            1 if accuses => (Step::Indirect, 1),
            2..STEPS if accuses => (Step::PingAgain, 1),
            1 => (Step::Verdict, STEPS),
            _ => (Step::Verdict, 1),
        };
        self.step = step;
        self.due = now + self.unit * units;
    }
}

/// All probes in flight, by their number.
#[derive(Debug, Default)]
pub(crate) struct Probes {
    flying: BTreeMap<u32, Probe>,
    /// The latest last.
    judged: VecDeque<(u32, Probe)>,
}

impl Probes {
    /// Takes note of a probe whose first ping goes out now. `false`: too many.
    pub(crate) fn start(
        &mut self,
        now: Mono,
        seq: u32,
        reason: Reason,
        address: SocketAddr,
        unit: Duration,
    ) -> bool {
        let room = if reason.is_for_others() {
            FOR_OTHERS_MAX
        } else {
            PROBES_MAX
        };
        if self.flying.len() >= room || self.flying.contains_key(&seq) {
            return false;
        }
        self.flying.insert(
            seq,
            Probe {
                reason,
                address,
                sent_at: now,
                again_at: None,
                relays: Vec::new(),
                nacks: 0,
                step: Step::PingAgain,
                steps: 0,
                due: now + reason.first_wait(unit),
                unit,
            },
        );
        true
    }

    /// When the next step of any probe is due.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.flying.values().map(|probe| probe.due).min()
    }

    /// The next step that is due; call until `None`. A verdict ends its probe.
    pub(crate) fn due(&mut self, now: Mono) -> Option<(u32, Step)> {
        let (&seq, probe) = self.flying.iter_mut().find(|(_, probe)| probe.due <= now)?;
        let step = probe.step;
        probe.advance(now);
        Some((seq, step))
    }

    pub(crate) fn len(&self) -> usize {
        self.flying.len()
    }

    pub(crate) fn get_mut(&mut self, seq: u32) -> Option<&mut Probe> {
        self.flying.get_mut(&seq)
    }

    pub(crate) fn finish(&mut self, seq: u32) -> Option<Probe> {
        self.flying.remove(&seq)
    }

    /// As [`Probes::finish`], of a probe whose ack did not come in time.
    pub(crate) fn judge(&mut self, seq: u32) -> Option<&Probe> {
        let probe = self.flying.remove(&seq)?;
        if self.judged.len() == JUDGED_MAX {
            self.judged.pop_front();
        }
        self.judged.push_back((seq, probe));
        self.judged.back().map(|(_, probe)| probe)
    }

    /// The probe, judged already, that this ack is for.
    pub(crate) fn too_late(&mut self, seq: u32, from: NodeId) -> Option<Probe> {
        let is_it =
            |(judged, probe): &(u32, Probe)| *judged == seq && probe.reason.target() == Some(from);
        let place = self.judged.iter().position(is_it)?;
        self.judged.remove(place).map(|(_, probe)| probe)
    }

    /// Numbers of the probes that satisfy a condition.
    pub(crate) fn matching(&self, mut wanted: impl FnMut(&Probe) -> bool) -> Vec<u32> {
        let found = self.flying.iter().filter(|(_, probe)| wanted(probe));
        found.map(|(seq, _)| *seq).collect()
    }

    /// Every next step comes later by as much.
    pub(crate) fn postpone(&mut self, by: Duration) {
        for probe in self.flying.values_mut() {
            probe.due += by;
        }
    }

    /// Forgets all: this node slept, the answers did not.
    pub(crate) fn clear(&mut self) {
        self.flying.clear();
        self.judged.clear();
    }
}

/// The unit for a member with this round trip: one to four times the quickest.
pub(crate) fn unit(quickest: Duration, rtt: Option<Duration>) -> Duration {
    rtt.map_or(quickest, |rtt| {
        (rtt * 2).clamp(quickest, quickest * SLOWER_MAX)
    })
}

/// How a refused or silent address reads in a report.
pub(crate) fn silence(stream_lost: bool) -> Verdict {
    if stream_lost {
        Verdict::StreamLost
    } else {
        Verdict::Silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Incarnation;

    const UNIT: Duration = Duration::from_millis(100);
    const ADDRESS: SocketAddr =
        SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 7781);

    fn round() -> Reason {
        Reason::Round(Subject {
            id: NodeId(1),
            incarnation: Incarnation(1),
        })
    }

    fn ms(ms: u64) -> Mono {
        Mono::from_millis(ms)
    }

    #[test]
    fn a_silent_member_is_pinged_again_and_by_others_and_judged_after_five_units() {
        let mut probes = Probes::default();
        assert!(probes.start(ms(0), 7, round(), ADDRESS, UNIT));
        for (at, step) in [
            (100, Step::PingAgain),
            (200, Step::Indirect),
            (300, Step::PingAgain),
            (400, Step::PingAgain),
            (500, Step::Verdict),
        ] {
            assert_eq!(probes.due(ms(at - 1)), None);
            assert_eq!(probes.due(ms(at)), Some((7, step)));
        }
    }

    /// Without this, a node that gets no CPU for 400 ms runs all steps at
    /// once on waking and accuses a member whose ack lies in its own socket.
    #[test]
    fn a_starved_node_still_gives_every_step_its_full_wait() {
        let mut probes = Probes::default();
        probes.start(ms(0), 7, round(), ADDRESS, UNIT);
        assert_eq!(probes.due(ms(900)), Some((7, Step::PingAgain)));
        assert_eq!(probes.due(ms(900)), None);
        assert_eq!(probes.deadline(), Some(ms(1_000)));
    }

    #[test]
    fn slow_links_get_longer_steps_within_bounds() {
        assert_eq!(unit(UNIT, None), UNIT);
        assert_eq!(unit(UNIT, Some(ms(1))), UNIT);
        assert_eq!(unit(UNIT, Some(ms(90))), ms(180));
        assert_eq!(unit(UNIT, Some(ms(9_000))), ms(400));
    }

    #[test]
    fn an_ack_after_several_pings_measures_from_the_one_that_it_answers() {
        let mut probes = Probes::default();
        assert!(probes.start(ms(0), 7, round(), ADDRESS, UNIT));
        let probe = probes.get_mut(7).expect("it is in flight");
        for at in [100, 300, 400] {
            probe.pinged_again(ms(at));
        }
        let known = |rtt| Some(Duration::from_millis(rtt));
        for (rtt, at, is) in [(2, 401, 1), (2, 405, 5), (2, 450, 350), (240, 450, 350)] {
            let is = Duration::from_millis(is);
            assert_eq!(probe.round_trip(ms(at), known(rtt)), is, "{rtt} {at}");
        }
        assert_eq!(probe.round_trip(ms(401), None), Duration::from_millis(401));
    }
}
