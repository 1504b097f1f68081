//! Gossip: how one fact reaches everybody, fast, and how what got lost is found.
//!
//! A rumor goes out in full at once to the neighbours on three rings; who
//! receives it for the first time does the same. Repair follows only a
//! rumor: its id goes to successors on six further rings at 10·2^k ms, and
//! who lacks it pulls. There is no periodic traffic: an idle cluster is
//! silent but for its probes.
//!
//! Sources: flooding on random regular graphs (Kermarrec, Massoulié, Ganesh,
//! TPDS 2003, for the redundancy needed); lazy push of ids as in Plumtree
//! (Leitão, Pereira, Rodrigues, SRDS 2007).

mod events;
mod rings;
mod window;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::bugs::{Bug, Bugs};
use crate::clock::Mono;
use crate::id::NodeId;
use crate::tuning::Tuning;
use crate::types::Timer;
use crate::wire::{Body, Rumor, RumorId};
pub(crate) use events::EventLog;
use rings::Rings;
use window::Windows;

/// How long a rumor can be pulled.
const KEPT: Duration = Duration::from_secs(5);
/// Rumors and bytes kept for pulling; beyond that the oldest goes.
const KEPT_MAX: usize = 1_024;
const KEPT_BYTES_MAX: usize = 8 << 20;
/// More rumors than this within [`STORM_SPAN`] are a storm.
const STORM_RUMORS: usize = 8;
const STORM_SPAN: Duration = Duration::from_millis(100);
/// A pull that was not answered is repeated so often, by turns to all who have
/// named it: one of them may be reached by a stream alone, or stuck. Until then
/// what was lost is missing here alone, and to wait for the next to name it
/// costs ever more.
const PULLS_AGAIN: u32 = 4;
/// More than so many to turn to are of no use.
const NAMERS_MAX: usize = 6;
/// One by stream is given up after this; another may be asked then.
const PULL_BY_STREAM: Duration = Duration::from_millis(500);
const PULLS_MAX: usize = 4_096;
/// Budget in full sends: so many bytes per second, at most so many at once.
const BUDGET_PER_SECOND: f64 = 8e6;
const BUDGET_MAX: f64 = 2e6;

/// A rumor that others may still need.
#[derive(Debug)]
struct Held {
    rumor: Rumor,
    bytes: usize,
    /// Members that are known to have it.
    had_by: Vec<NodeId>,
}

/// Rumors for one member, to be packed.
#[derive(Debug, PartialEq)]
pub(crate) struct Delivery {
    pub(crate) to: NodeId,
    pub(crate) rumors: Vec<RumorId>,
    pub(crate) what: What,
}

/// What a member gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The rumors in full.
    Full,
    /// Their ids: it may lack them.
    Ids,
    /// The wish to have them, once more.
    Pull,
}

/// A rumor that was asked for.
#[derive(Debug)]
struct Pull {
    of: NodeId,
    /// Whom else to ask, the next one first.
    others: VecDeque<NodeId>,
    wait: Duration,
    again_at: Mono,
    left: u32,
}

/// What one node knows of rumors.
#[derive(Debug)]
pub(crate) struct Gossip {
    tuning: Tuning,
    rings: Rings,
    windows: Windows,
    held: BTreeMap<RumorId, Held>,
    bytes: usize,
    by_age: VecDeque<(Mono, RumorId)>,
    fresh: Vec<RumorId>,
    flush_at: Option<Mono>,
    repairs: BTreeMap<(Mono, RumorId), usize>,
    pulls: BTreeMap<RumorId, Pull>,
    /// When each of them is repeated or given up.
    pulls_due: BTreeSet<(Mono, RumorId)>,
    recent: VecDeque<Mono>,
    budget: f64,
    budget_at: Mono,
    bugs: Bugs,
}

impl Gossip {
    pub(crate) fn new(now: Mono, me: NodeId, tuning: &Tuning, bugs: Bugs) -> Self {
        Self {
            tuning: *tuning,
            rings: Rings::new(me, tuning),
            windows: Windows::new(bugs),
            held: BTreeMap::new(),
            bytes: 0,
            by_age: VecDeque::new(),
            fresh: Vec::new(),
            flush_at: None,
            repairs: BTreeMap::new(),
            pulls: BTreeMap::new(),
            pulls_due: BTreeSet::new(),
            recent: VecDeque::new(),
            budget: BUDGET_MAX,
            budget_at: now,
            bugs,
        }
    }

    // --- getters ---

    /// Rumors kept, their bytes, and windows of what was received.
    pub(crate) fn held(&self) -> (usize, usize, usize) {
        (self.held.len(), self.bytes, self.windows.len())
    }

    /// Whether a rumor was received before.
    pub(crate) fn knows(&self, id: RumorId) -> bool {
        self.windows.contains(id)
    }

    /// A rumor that can still be given away.
    pub(crate) fn get(&self, id: RumorId) -> Option<&Rumor> {
        self.held.get(&id).map(|held| &held.rumor)
    }

    /// Bytes that a kept rumor takes in a packet.
    pub(crate) fn bytes_of(&self, id: RumorId) -> usize {
        self.held.get(&id).map_or(0, |held| held.bytes)
    }

    /// Whether a live member stands next to this node on a ring on which
    /// rumors travel in full.
    pub(crate) fn is_neighbour(&mut self, id: NodeId, live: &[NodeId]) -> bool {
        self.rings.look(live);
        self.rings.full().contains(&id)
    }

    // --- members ---

    /// A member is live now.
    pub(crate) fn joined(&mut self, id: NodeId) {
        self.rings.joined(id);
    }

    /// A member is not live any more.
    pub(crate) fn gone(&mut self, id: NodeId) {
        self.rings.gone(id);
    }

    // --- rumors ---

    /// Takes note of a rumor that arrived; `false` if it had before.
    pub(crate) fn receive(&mut self, id: RumorId, from: NodeId) -> bool {
        if let Some(pull) = self.pulls.remove(&id) {
            self.pulls_due.remove(&(pull.again_at, id));
        }
        self.had(id, from);
        self.windows.insert(id)
    }

    /// Spreads a rumor: own, or news that arrived from `from`.
    pub(crate) fn spread(&mut self, now: Mono, rumor: Rumor, from: Option<NodeId>) {
        let id = rumor.id;
        let bytes = rumor.encoded_len();
        self.windows.insert(id);
        let held = Held {
            rumor,
            bytes,
            had_by: from.into_iter().collect(),
        };
        if self.held.insert(id, held).is_some() {
            return;
        }
        self.bytes += bytes;
        self.by_age.push_back((now, id));
        self.drop_outdated(id);
        self.fresh.push(id);
        self.repairs.insert((now + self.tuning.repair_first, id), 0);
        self.schedule_flush(now);
        self.trim(now);
    }

    /// A member is known to have a rumor: it sent it, or named it.
    pub(crate) fn had(&mut self, id: RumorId, who: NodeId) {
        if let Some(held) = self.held.get_mut(&id)
            && !held.had_by.contains(&who)
        {
            held.had_by.push(who);
        }
    }

    /// Whether to pull a rumor now: it is missing, and nobody was asked just
    /// before. `wait`: after so long without an answer it is asked `of` again;
    /// `None`: what was asked for cannot get lost.
    pub(crate) fn wants(
        &mut self,
        now: Mono,
        id: RumorId,
        of: NodeId,
        wait: Option<Duration>,
    ) -> bool {
        if let Some(pull) = self.pulls.get_mut(&id) {
            let known = pull.of == of || pull.others.contains(&of);
            if !known && pull.others.len() < NAMERS_MAX {
                pull.others.push_back(of);
            }
            return false;
        }
        if self.pulls.len() >= PULLS_MAX || self.knows(id) {
            return false;
        }
        let pull = Pull {
            of,
            others: VecDeque::new(),
            wait: wait.unwrap_or(PULL_BY_STREAM),
            again_at: now,
            left: wait.map_or(0, |_| PULLS_AGAIN),
        };
        self.await_pull(now, id, pull);
        true
    }

    // --- time ---

    /// When something is due, and what.
    pub(crate) fn deadline(&self) -> Option<(Mono, Timer)> {
        let flush = self.flush_at.map(|at| (at, Timer::Gossip));
        let repair = self
            .repairs
            .first_key_value()
            .map(|((at, _), _)| (*at, Timer::Repair));
        let pull = self.pulls_due.first().map(|(at, _)| (*at, Timer::Repair));
        flush.into_iter().chain(repair).chain(pull).min()
    }

    /// What is due now.
    pub(crate) fn on_time(&mut self, now: Mono, live: &[NodeId]) -> Vec<Delivery> {
        self.trim(now);
        let flush = self.flush_at.is_some_and(|at| at <= now);
        let repair = self
            .repairs
            .first_key_value()
            .is_some_and(|((at, _), _)| *at <= now);
        let mut deliveries = Vec::new();
        self.pull_again(now, &mut deliveries);
        if !flush && !repair {
            return deliveries;
        }
        self.rings.look(live);
        if flush {
            self.flush(now, &mut deliveries);
        }
        if repair {
            self.repair(now, &mut deliveries);
        }
        deliveries
    }

    // --- helpers ---

    /// Only the latest a member says of itself waits to be sent.
    fn drop_outdated(&mut self, newer: RumorId) {
        let about_itself = |id: RumorId| {
            let body = self.held.get(&id).map(|held| &held.rumor.body);
            matches!(body, Some(Body::Alive(_) | Body::Left(_)))
        };
        if !about_itself(newer) {
            return;
        }
        let outdated: Vec<RumorId> = self
            .fresh
            .iter()
            .copied()
            .filter(|id| {
                (id.origin, id.run) == (newer.origin, newer.run)
                    && id.counter < newer.counter
                    && about_itself(*id)
            })
            .collect();
        if outdated.is_empty() {
            return;
        }
        self.fresh.retain(|id| !outdated.contains(id));
        self.repairs.retain(|(_, id), _| !outdated.contains(id));
    }

    fn schedule_flush(&mut self, now: Mono) {
        self.recent.push_back(now);
        if self.recent.len() > STORM_RUMORS {
            self.recent.pop_front();
        }
        let storm = self.recent.len() == STORM_RUMORS
            && self
                .recent
                .front()
                .is_some_and(|first| now.saturating_sub(*first) < STORM_SPAN);
        // Fewer, fuller packets.
        let delay = if storm {
            self.tuning.storm_batch
        } else {
            Duration::ZERO
        };
        self.flush_at.get_or_insert(now + delay);
    }

    fn flush(&mut self, now: Mono, deliveries: &mut Vec<Delivery>) {
        let earned = now.saturating_sub(self.budget_at).as_secs_f64() * BUDGET_PER_SECOND;
        self.budget = (self.budget + earned).min(BUDGET_MAX);
        self.budget_at = now;
        self.flush_at = None;
        let fresh = std::mem::take(&mut self.fresh);
        for (place, id) in fresh.iter().enumerate() {
            if self.budget <= 0.0 {
                // Over budget: the rest waits, nothing is lost.
                self.fresh = fresh[place..].to_vec();
                self.flush_at = Some(now + self.tuning.storm_batch);
                break;
            }
            let Some(held) = self.held.get(id) else {
                continue;
            };
            for to in self.rings.full() {
                if !held.had_by.contains(to) {
                    self.budget -= held.bytes as f64;
                    deliver(deliveries, *to, *id, What::Full);
                }
            }
        }
    }

    fn repair(&mut self, now: Mono, deliveries: &mut Vec<Delivery>) {
        while let Some(((at, id), step)) = self.repairs.pop_first() {
            if at > now {
                self.repairs.insert((at, id), step);
                break;
            }
            let Some(held) = self.held.get(&id) else {
                continue;
            };
            if let Some(to) = self.rings.repair(step)
                && !held.had_by.contains(&to)
            {
                deliver(deliveries, to, id, What::Ids);
            }
            if step + 1 < self.tuning.repair_rings {
                let wait = self.tuning.repair_first * (1 << step);
                self.repairs.insert((at + wait, id), step + 1);
            }
        }
    }

    fn pull_again(&mut self, now: Mono, deliveries: &mut Vec<Delivery>) {
        while let Some((at, id)) = self.pulls_due.first().copied()
            && at <= now
        {
            self.pulls_due.remove(&(at, id));
            let Some(mut pull) = self.pulls.remove(&id) else {
                continue;
            };
            // Whoever names it next is asked anew.
            if pull.left > 0 {
                pull.left -= 1;
                if let Some(next) = pull.others.pop_front() {
                    pull.others.push_back(std::mem::replace(&mut pull.of, next));
                }
                deliver(deliveries, pull.of, id, What::Pull);
                self.await_pull(now, id, pull);
            }
        }
    }

    fn await_pull(&mut self, now: Mono, id: RumorId, mut pull: Pull) {
        pull.again_at = now + pull.wait;
        self.pulls_due.insert((pull.again_at, id));
        self.pulls.insert(id, pull);
    }

    fn trim(&mut self, now: Mono) {
        if self.bugs.has(Bug::Hoard) {
            return;
        }
        while let Some((heard, id)) = self.by_age.front().copied() {
            let over = self.held.len() > KEPT_MAX || self.bytes > KEPT_BYTES_MAX;
            if !over && now <= heard + KEPT {
                break;
            }
            self.by_age.pop_front();
            if let Some(held) = self.held.remove(&id) {
                self.bytes -= held.bytes;
            }
        }
    }
}

fn deliver(deliveries: &mut Vec<Delivery>, to: NodeId, id: RumorId, what: What) {
    match deliveries
        .iter_mut()
        .find(|delivery| delivery.to == to && delivery.what == what)
    {
        Some(delivery) => delivery.rumors.push(id),
        None => deliveries.push(Delivery {
            to,
            rumors: vec![id],
            what,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{MessageCounter, RunId};

    const WAIT: Duration = Duration::from_millis(10);
    const BO: NodeId = NodeId(2);

    fn rumor() -> RumorId {
        RumorId {
            origin: NodeId(3),
            run: RunId(1),
            counter: MessageCounter(1),
        }
    }

    fn gossip() -> Gossip {
        Gossip::new(Mono::ZERO, NodeId(1), &Tuning::default(), Bugs::default())
    }

    #[test]
    fn a_pull_that_got_lost_is_repeated_and_in_the_end_left_to_whoever_names_it_next() {
        let mut gossip = gossip();
        assert!(gossip.wants(Mono::ZERO, rumor(), BO, Some(WAIT)));
        let mut asked = 0;
        while let Some((at, _)) = gossip.deadline() {
            for delivery in gossip.on_time(at, &[]) {
                assert_eq!((delivery.to, delivery.what), (BO, What::Pull));
                asked += 1;
            }
        }
        assert_eq!(asked, PULLS_AGAIN);
        assert!(gossip.wants(Mono::from_secs(1), rumor(), NodeId(4), Some(WAIT)));
    }

    #[test]
    fn a_pull_is_repeated_by_turns_to_all_who_have_named_it() {
        let mut gossip = gossip();
        assert!(gossip.wants(Mono::ZERO, rumor(), BO, Some(WAIT)));
        for other in [NodeId(4), BO, NodeId(5), NodeId(4)] {
            assert!(!gossip.wants(Mono::ZERO, rumor(), other, Some(WAIT)));
        }
        let mut asked = Vec::new();
        while let Some((at, _)) = gossip.deadline() {
            let deliveries = gossip.on_time(at, &[]);
            asked.extend(deliveries.into_iter().map(|delivery| delivery.to));
        }
        assert_eq!(asked, [NodeId(4), NodeId(5), BO, NodeId(4)]);
    }

    #[test]
    fn what_came_is_not_asked_for_again() {
        let mut gossip = gossip();
        assert!(gossip.wants(Mono::ZERO, rumor(), BO, Some(WAIT)));
        assert!(gossip.receive(rumor(), BO));
        assert_eq!(gossip.deadline(), None);
        assert!(!gossip.wants(Mono::ZERO, rumor(), BO, Some(WAIT)));
    }
}
