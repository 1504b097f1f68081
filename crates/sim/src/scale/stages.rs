//! Stages: what happens to the cluster, one thing after another.

use std::collections::BTreeSet;
use std::time::Duration;

use dui_core::{Counters, Event, MemberState, Mono};

use super::Run;
use crate::host::Place;
use crate::world::World;

/// Whoever knows nothing after this counts with this.
const LIMIT: Duration = Duration::from_secs(60);
/// After a stage, so that the next one finds a quiet cluster.
const SETTLE: Duration = Duration::from_secs(2);
/// Between two events: the last repair of a rumor comes after 630 ms.
const EVENT_EVERY: Duration = Duration::from_millis(700);

impl Run<'_> {
    /// All start at once, and join through the first.
    pub(super) fn boot(&mut self) {
        self.begin("boot");
        let first = self.start(None);
        for _ in 1..self.scale.nodes {
            let through = (!self.scale.acquainted).then_some(first);
            self.start(through);
            if self.world.hosts().len().is_multiple_of(256) {
                self.report(self.world.hosts().len() as f64 / self.scale.nodes as f64);
            }
        }
        if self.scale.acquainted {
            self.world.keeps_news = false;
            self.world.acquaint();
            self.world.keeps_news = true;
        } else {
            let all = self.living.clone();
            self.figures.join = self.see(self.began, &all, self.scale.nodes);
        }
        self.pass(SETTLE);
        for place in 1..=self.scale.stalled.min(self.living.len() - 1) {
            self.stalls.add(self.world.now(), self.living[place]);
        }
    }

    /// Events are published by anybody, one after another.
    pub(super) fn spread(&mut self) {
        for number in 0..self.scale.events {
            self.begin("events");
            self.report(number as f64 / self.scale.events as f64);
            let Some(origin) = self.dice.pick(&self.living).copied() else {
                return;
            };
            let before = self.counters();
            let start = self.world.now();
            let published = self
                .world
                .with(origin, |peer, now| peer.publish(now, "news", b"of today"));
            let Some(Ok(event)) = published else {
                continue;
            };
            let mut lack: BTreeSet<Place> = self.living.iter().copied().collect();
            lack.remove(&origin);
            let mut took = Vec::new();
            let mut heard = |place: Place, at: Mono| {
                if lack.remove(&place) {
                    took.push(at - start);
                }
                lack.is_empty()
            };
            let is_it = |told: &Event| matches!(told, Event::User(told) if *told == event);
            self.until(LIMIT, |_, news| {
                is_it(&news.event) && heard(news.place, news.at)
            });
            took.extend(lack.iter().map(|_| LIMIT));
            self.figures.spread_last.extend(took.iter().max());
            self.figures.spread.extend(took);
            let passed = self.world.now() - start;
            self.pass(EVENT_EVERY.saturating_sub(passed));
            self.count_sends(&before);
        }
    }

    /// Nothing happens.
    pub(super) fn idle(&mut self) {
        if self.scale.idle.is_zero() {
            return;
        }
        self.begin("idle");
        let bytes = |world: &World| {
            let traffic = world.traffic();
            traffic.packet_bytes + traffic.frame_bytes
        };
        let before = bytes(&self.world);
        self.pass(self.scale.idle);
        let sent = (bytes(&self.world) - before) as f64;
        let node_seconds = self.living.len() as f64 * self.scale.idle.as_secs_f64();
        self.figures.bytes_per_node_s = sent / node_seconds;
    }

    /// Members die, one after another.
    pub(super) fn kill(&mut self) {
        for number in 0..self.scale.kill {
            self.begin("kill");
            self.report(number as f64 / self.scale.kill as f64);
            let Some(victim) = self.take_one() else {
                return;
            };
            let start = self.world.now();
            if self.scale.evidence {
                self.world.kill(victim);
            } else {
                self.world.vanish(victim);
            }
            let took = self.learn(start, victim, MemberState::Failed);
            self.figures.detect.extend(took);
            self.pass(SETTLE);
        }
    }

    /// Members leave, one after another.
    pub(super) fn leave(&mut self) {
        for number in 0..self.scale.leave {
            self.begin("leave");
            self.report(number as f64 / self.scale.leave as f64);
            let Some(leaver) = self.take_one() else {
                return;
            };
            let start = self.world.now();
            self.world.leave(leaver);
            let took = self.learn(start, leaver, MemberState::Left);
            self.figures.leave.extend(took);
            self.pass(SETTLE);
        }
    }

    /// Newcomers join a cluster that is there, all at once.
    pub(super) fn join(&mut self) {
        if self.scale.join == 0 {
            return;
        }
        self.begin("join");
        let start = self.world.now();
        let through = self.living.first().copied();
        let newcomers: Vec<Place> = (0..self.scale.join).map(|_| self.start(through)).collect();
        self.figures.newcomers = self.see(start, &newcomers, self.living.len());
    }

    // --- helpers ---

    /// When each of these sees so many live members.
    fn see(&mut self, start: Mono, who: &[Place], wanted: usize) -> Vec<Duration> {
        let mut lack: BTreeSet<Place> = who.iter().copied().collect();
        let mut took = Vec::new();
        self.until(LIMIT, |world, news| {
            let live = world.host(news.place).peer().map(dui_core::Peer::live);
            if live == Some(wanted) && lack.remove(&news.place) {
                took.push(news.at - start);
            }
            lack.is_empty()
        });
        took.extend(lack.iter().map(|_| LIMIT));
        took
    }

    /// When each of the living knows that a member is in this state.
    fn learn(&mut self, start: Mono, member: Place, state: MemberState) -> Vec<Duration> {
        let id = self.world.host(member).id;
        // Who is stopped learns it late, and that tells nothing.
        let well = self.living.iter().filter(|place| !self.stalls.has(**place));
        let mut lack: BTreeSet<Place> = well.copied().collect();
        let mut took = Vec::new();
        self.until(LIMIT, |_, news| {
            let told = match &news.event {
                Event::MemberFailed(member) | Event::MemberLeft(member) => member,
                _ => return false,
            };
            if told.id == id && told.state == state && lack.remove(&news.place) {
                took.push(news.at - start);
            }
            lack.is_empty()
        });
        took.extend(lack.iter().map(|_| LIMIT));
        took
    }

    fn counters(&self) -> Vec<Counters> {
        let peers = self
            .living
            .iter()
            .filter_map(|place| self.world.host(*place).peer());
        peers.map(dui_core::Peer::counters).collect()
    }

    fn count_sends(&mut self, before: &[Counters]) {
        let after = self.counters();
        for (before, after) in before.iter().zip(&after) {
            self.figures
                .sends
                .add(after.rumors_sent - before.rumors_sent);
            self.figures
                .ids
                .add(after.rumor_ids_sent - before.rumor_ids_sent);
        }
    }
}
