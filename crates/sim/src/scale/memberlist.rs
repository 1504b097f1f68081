//! Memberlist: a model of another scheme on the same network, to compare with.
//!
//! Gossip and suspicion as HashiCorp's memberlist has them, with its defaults
//! for a LAN: every 200 ms each node sends what it has to three others at
//! random, each message 4 ⌈log10(N + 1)⌉ times at most. Each second it probes
//! one member of its own shuffled list; silence is suspected at the end of
//! that second. A suspicion lasts 6 times 4 max(1, log10 N) s, less for each
//! of two who suspect independently, that much once without the 6 at last.
//! What it costs in bytes and how nodes join is not modelled, nor are false
//! suspicions.
//!
//! Source: memberlist's config.go, suspicion.go, util.go (v0.5); SWIM (Das et
//! al., DSN 2002); Lifeguard (arXiv:1707.00788).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Figures, Scale};
use crate::dice::Dice;
use crate::network::Network;
use crate::queue::{Ns, Queue};

const GOSSIP_INTERVAL_MS: u64 = 200;
const GOSSIP_NODES: usize = 3;
const RETRANSMIT_MULT: u32 = 4;
const PROBE_INTERVAL_MS: u64 = 1_000;
const SUSPICION_MULT: f64 = 4.0;
const SUSPICION_MAX_MULT: f64 = 6.0;
/// Independent suspicions that shorten a suspicion to its minimum.
const CONFIRMATIONS: usize = 2;
const MS: Ns = 1_000_000;
const LIMIT: Ns = 300_000 * MS;

/// Events and deaths under that scheme.
pub fn memberlist(scale: &Scale) -> Figures {
    let mut figures = Figures::of(scale);
    let mut dice = Dice::new(scale.seed ^ 0x3e3b);
    for _ in 0..scale.events {
        let mut model = Model::new(scale, dice.fork());
        model.learn(0, 0, Message::Event);
        let took = model.run(Message::Event, None);
        figures.spread_last.extend(took.last());
        figures.spread.extend(took);
        model
            .sends
            .iter()
            .for_each(|sends| figures.sends.add(*sends));
    }
    for _ in 0..scale.kill {
        let mut model = Model::new(scale, dice.fork());
        // The last one died at the beginning.
        let dead = scale.nodes - 1;
        figures.detect.extend(model.run(Message::Dead, Some(dead)));
    }
    figures.sort();
    figures
}

/// What is gossiped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Message {
    Event,
    /// Suspected by this one.
    Suspect(usize),
    Dead,
}

#[derive(Debug)]
enum Happening {
    Gossip(usize),
    /// At the end of its interval a probe of the dead one had no answer.
    Suspects(usize),
    Arrival(usize, Vec<Message>),
    Timeout(usize),
}

#[derive(Debug, Default)]
struct Node {
    /// What it passes on, and how often it did.
    queue: BTreeMap<Message, u32>,
    heard: BTreeSet<Message>,
    suspects_since: Option<Ns>,
}

struct Model {
    network: Network,
    dice: Dice,
    queue: Queue<Happening>,
    nodes: Vec<Node>,
    sends: Vec<u64>,
    transmits_max: u32,
    suspicion_min_ms: f64,
}

impl Model {
    fn new(scale: &Scale, dice: Dice) -> Self {
        let digits = (scale.nodes as f64 + 1.0).log10().ceil() as u32;
        let mut network = Network::default();
        network.latency = scale.latency;
        network.loss_ppm = scale.loss_ppm;
        let mut model = Self {
            network,
            dice,
            queue: Queue::new(),
            nodes: (0..scale.nodes).map(|_| Node::default()).collect(),
            sends: vec![0; scale.nodes],
            transmits_max: RETRANSMIT_MULT * digits,
            suspicion_min_ms: SUSPICION_MULT
                * (scale.nodes as f64).log10().max(1.0)
                * PROBE_INTERVAL_MS as f64,
        };
        for node in 0..scale.nodes {
            let at = model.dice.below(GOSSIP_INTERVAL_MS * MS);
            model.queue.push(at, Happening::Gossip(node));
        }
        model
    }

    /// When each node other than the dead one learned a message, sorted.
    fn run(&mut self, wanted: Message, dead: Option<usize>) -> Vec<Duration> {
        let others = self.nodes.len() - 1;
        if let Some(dead) = dead {
            for node in (0..self.nodes.len()).filter(|node| *node != dead) {
                // Its place in a shuffled list, and its phase.
                let turn = self.dice.below(others as u64);
                let phase = self.dice.below(PROBE_INTERVAL_MS * MS);
                let at = (turn + 1) * PROBE_INTERVAL_MS * MS + phase;
                self.queue.push(at, Happening::Suspects(node));
            }
        }
        let mut took = Vec::new();
        while let Some((now, happening)) = self.queue.pop() {
            if took.len() == others || now > LIMIT {
                break;
            }
            let node = match happening {
                Happening::Gossip(node) => {
                    self.gossip(now, node, dead);
                    continue;
                }
                Happening::Suspects(node) if !self.nodes[node].heard.contains(&Message::Dead) => {
                    self.learn(now, node, Message::Suspect(node));
                    node
                }
                Happening::Suspects(_) => continue,
                Happening::Arrival(node, messages) => {
                    let knew = self.nodes[node].heard.contains(&wanted);
                    for message in messages {
                        self.learn(now, node, message);
                    }
                    if knew {
                        continue;
                    }
                    node
                }
                Happening::Timeout(node) => {
                    if self.nodes[node].heard.contains(&Message::Dead)
                        || self.suspicion_ends(node).is_none_or(|at| at > now)
                    {
                        continue;
                    }
                    self.learn(now, node, Message::Dead);
                    node
                }
            };
            if self.nodes[node].heard.contains(&wanted) {
                took.push(Duration::from_nanos(now));
            }
        }
        took.resize(others, Duration::from_nanos(LIMIT));
        took
    }

    fn learn(&mut self, now: Ns, node: usize, message: Message) {
        let state = &mut self.nodes[node];
        if state.heard.contains(&Message::Dead) || !state.heard.insert(message) {
            return;
        }
        if let Message::Suspect(_) = message {
            let suspicions = state.heard.len();
            // Those beyond what is wanted are neither counted nor passed on.
            if suspicions > 1 + CONFIRMATIONS {
                return;
            }
            state.suspects_since.get_or_insert(now);
            if let Some(at) = self.suspicion_ends(node) {
                self.queue.push(at.max(now), Happening::Timeout(node));
            }
        }
        self.nodes[node].queue.insert(message, 0);
    }

    /// suspicion.go: from the maximum to the minimum, logarithmically.
    fn suspicion_ends(&self, node: usize) -> Option<Ns> {
        let state = &self.nodes[node];
        let since = state.suspects_since?;
        let confirmed = state.heard.len().saturating_sub(1).min(CONFIRMATIONS);
        let (min, max) = (
            self.suspicion_min_ms,
            self.suspicion_min_ms * SUSPICION_MAX_MULT,
        );
        let part = (confirmed as f64 + 1.0).ln() / (CONFIRMATIONS as f64 + 1.0).ln();
        let wait_ms = (max - part * (max - min)).max(min);
        Some(since + (wait_ms * MS as f64) as Ns)
    }

    fn gossip(&mut self, now: Ns, node: usize, dead: Option<usize>) {
        self.queue
            .push(now + GOSSIP_INTERVAL_MS * MS, Happening::Gossip(node));
        if dead == Some(node) {
            return;
        }
        for _ in 0..GOSSIP_NODES {
            let to = self.dice.below(self.nodes.len() as u64) as usize;
            let queue = &mut self.nodes[node].queue;
            if to == node || queue.is_empty() {
                continue;
            }
            let messages: Vec<Message> = queue.keys().copied().collect();
            queue.values_mut().for_each(|sent| *sent += 1);
            queue.retain(|_, sent| *sent < self.transmits_max);
            self.sends[node] += messages.len() as u64;
            let packet = self.network.packet(node, to, 100, &mut self.dice);
            if let Some(delay) = packet.filter(|_| dead != Some(to)) {
                self.queue
                    .push(now + delay, Happening::Arrival(to, messages));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What our notes say of the same scheme, simulated elsewhere: the last
    /// of 1,024 after 979 to 1,309 ms, 16 sends at most.
    #[test]
    fn an_event_takes_about_a_second_to_the_last_of_a_thousand() {
        let scale = Scale {
            nodes: 1_024,
            events: 20,
            kill: 0,
            ..Scale::default()
        };
        let figures = memberlist(&scale);
        let last = figures.spread_last.last().expect("20 events");
        assert!((900..1_600).contains(&last.as_millis()), "{last:?}");
        assert!(figures.sends.max <= 16);
    }

    /// Its suspicion minimum is 12 s at 1,000 nodes.
    #[test]
    fn a_death_is_known_after_the_suspicion_and_not_before() {
        let scale = Scale {
            nodes: 1_000,
            events: 0,
            kill: 3,
            ..Scale::default()
        };
        let detect = memberlist(&scale).detect;
        assert_eq!(detect.len(), 3 * 999);
        assert!(detect[0] > Duration::from_secs(12), "{:?}", detect[0]);
        assert!(detect[detect.len() - 1] < Duration::from_secs(40));
    }
}
