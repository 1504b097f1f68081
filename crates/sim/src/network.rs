//! Network: what becomes of a packet between two hosts.
//!
//! A packet meets, in this order: the partition (hosts in different groups
//! hear nothing of each other), the link from one host to the other (cuts are
//! one way), the size that the path carries, and chance: lost, late, twice.
//! Streams see the same network through retransmission: what a packet loses,
//! a frame waits for.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::dice::Dice;
use crate::host::Place;
use crate::queue::Ns;

/// No latency is longer than this.
const LATENCY_MAX: Duration = Duration::from_secs(10);
/// TCP's first retransmission timeout (RFC 6298).
const RETRANSMIT: Duration = Duration::from_millis(200);
const RETRANSMITS_MAX: u32 = 8;

/// One-way delay of a packet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Latency {
    /// Always the same.
    Constant(Duration),
    /// Anything between, alike.
    Uniform {
        /// Shortest.
        min: Duration,
        /// Longest.
        max: Duration,
    },
    /// Half are faster than the median, a few are much slower.
    LogNormal {
        /// Median.
        median: Duration,
        /// Spread: 0.5 means that 1 in 40 takes 2.7 times the median.
        sigma: f64,
    },
}

impl Latency {
    fn draw(&self, dice: &mut Dice) -> Ns {
        let drawn = match *self {
            Latency::Constant(always) => always.as_nanos() as Ns,
            Latency::Uniform { min, max } => {
                let span = max.saturating_sub(min).as_nanos() as u64;
                min.as_nanos() as Ns + dice.below(span + 1)
            }
            Latency::LogNormal { median, sigma } => {
                (median.as_nanos() as f64 * (sigma * dice.normal()).exp()) as Ns
            }
        };
        drawn.min(LATENCY_MAX.as_nanos() as Ns)
    }

    /// The middle of what it draws.
    pub fn median(&self) -> Duration {
        match *self {
            Latency::Constant(median) | Latency::LogNormal { median, .. } => median,
            Latency::Uniform { min, max } => (min + max) / 2,
        }
    }
}

/// What is special about one direction between two hosts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Link {
    /// Nothing passes.
    pub cut: bool,
    /// No packet passes; streams do.
    pub udp_cut: bool,
    /// Packets lost besides others, per million.
    pub loss_ppm: u32,
    /// Instead of the network's.
    pub latency: Option<Latency>,
    /// Bytes that a packet may have here.
    pub packet_bytes_max: Option<usize>,
}

/// What is special about one host's connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nic {
    /// Hosts of different groups are apart.
    pub group: u32,
    /// Beacons stay in their domain.
    pub domain: u32,
    /// Packets lost on the way in, per million.
    pub loss_in_ppm: u32,
    /// Packets lost on the way out, per million.
    pub loss_out_ppm: u32,
    /// Added to each latency, both ways.
    pub delay: Duration,
    /// No packet comes in; streams do.
    pub udp_in_cut: bool,
    /// No packet gets out; streams do.
    pub udp_out_cut: bool,
}

const PLAIN: Nic = Nic {
    group: 0,
    domain: 0,
    loss_in_ppm: 0,
    loss_out_ppm: 0,
    delay: Duration::ZERO,
    udp_in_cut: false,
    udp_out_cut: false,
};

/// All that lies between the hosts.
#[derive(Clone, Debug)]
pub struct Network {
    /// One-way delay where a link has no other.
    pub latency: Latency,
    /// Packets lost, per million.
    pub loss_ppm: u32,
    /// Packets that arrive twice, per million.
    pub duplication_ppm: u32,
    /// Packets held back so that later ones overtake them, per million.
    pub reorder_ppm: u32,
    /// For so long at most.
    pub reorder_by: Duration,
    /// Bytes that a packet may have; larger ones vanish.
    pub packet_bytes_max: usize,
    /// Whether beacons reach the others of their domain.
    pub multicast: bool,
    /// Whether what has nobody to go to is answered: a port without process
    /// by ICMP, a stream by a reset, and a dying process ends its streams.
    pub evidence: bool,
    nics: Vec<Nic>,
    links: BTreeMap<(Place, Place), Link>,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            latency: Latency::Constant(Duration::from_micros(500)),
            loss_ppm: 0,
            duplication_ppm: 0,
            reorder_ppm: 0,
            reorder_by: Duration::from_millis(20),
            packet_bytes_max: 1_472,
            multicast: true,
            evidence: true,
            nics: Vec::new(),
            links: BTreeMap::new(),
        }
    }
}

impl Network {
    /// What is special about a host's connection.
    pub fn nic(&self, place: Place) -> &Nic {
        self.nics.get(place).unwrap_or(&PLAIN)
    }

    /// To change it.
    pub fn nic_mut(&mut self, place: Place) -> &mut Nic {
        if self.nics.len() <= place {
            self.nics.resize(place + 1, PLAIN);
        }
        &mut self.nics[place]
    }

    /// To change what is special about the way from one host to another.
    pub fn link_mut(&mut self, from: Place, to: Place) -> &mut Link {
        self.links.entry((from, to)).or_default()
    }

    fn link(&self, from: Place, to: Place) -> Option<&Link> {
        if self.links.is_empty() {
            return None;
        }
        self.links.get(&(from, to))
    }

    /// Every cut, loss and partition ends; latencies and domains stay.
    pub fn heal(&mut self) {
        self.loss_ppm = 0;
        self.duplication_ppm = 0;
        self.reorder_ppm = 0;
        self.links.clear();
        for nic in &mut self.nics {
            *nic = Nic {
                domain: nic.domain,
                delay: nic.delay,
                ..PLAIN
            };
        }
    }

    /// Whether anything at all gets from one host to another.
    pub fn passes(&self, from: Place, to: Place) -> bool {
        self.nic(from).group == self.nic(to).group
            && self.link(from, to).is_none_or(|link| !link.cut)
    }

    /// The delay of a packet of so many bytes; `None`: lost.
    pub(crate) fn packet(
        &self,
        from: Place,
        to: Place,
        bytes: usize,
        dice: &mut Dice,
    ) -> Option<Ns> {
        if !self.passes(from, to) {
            return None;
        }
        let (out, inward, link) = (self.nic(from), self.nic(to), self.link(from, to));
        let fits = link.and_then(|link| link.packet_bytes_max);
        let blocked = out.udp_out_cut
            || inward.udp_in_cut
            || link.is_some_and(|link| link.udp_cut)
            || bytes > fits.unwrap_or(self.packet_bytes_max);
        if blocked || self.is_lost(from, to, dice) {
            return None;
        }
        let mut delay = self.latency(from, to, dice);
        if dice.chance(self.reorder_ppm) {
            delay += dice.below(self.reorder_by.as_nanos() as u64 + 1);
        }
        Some(delay)
    }

    /// The delay of a frame on a stream, retransmissions included.
    pub(crate) fn frame(&self, from: Place, to: Place, dice: &mut Dice) -> Ns {
        let mut delay = self.latency(from, to, dice);
        let mut timeout = RETRANSMIT.as_nanos() as Ns;
        for _ in 0..RETRANSMITS_MAX {
            if !self.is_lost(from, to, dice) {
                break;
            }
            delay += timeout;
            timeout *= 2;
        }
        delay
    }

    /// Whether one segment there and its answer arrive: what TCP does not
    /// repeat in time.
    pub(crate) fn both_ways(&self, from: Place, to: Place, dice: &mut Dice) -> bool {
        !self.is_lost(from, to, dice) && !self.is_lost(to, from, dice)
    }

    /// The delay of what is not lost: a reset, an ICMP message.
    pub(crate) fn latency(&self, from: Place, to: Place, dice: &mut Dice) -> Ns {
        let special = self.link(from, to).and_then(|link| link.latency);
        let delay = self.nic(from).delay + self.nic(to).delay;
        special.unwrap_or(self.latency).draw(dice) + delay.as_nanos() as Ns
    }

    fn is_lost(&self, from: Place, to: Place, dice: &mut Dice) -> bool {
        dice.chance(self.loss_ppm)
            || dice.chance(self.nic(from).loss_out_ppm)
            || dice.chance(self.nic(to).loss_in_ppm)
            || self
                .link(from, to)
                .is_some_and(|link| dice.chance(link.loss_ppm))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_one_way_and_a_partition_both() {
        let mut network = Network::default();
        network.link_mut(0, 1).cut = true;
        assert!(!network.passes(0, 1) && network.passes(1, 0));
        network.nic_mut(2).group = 1;
        assert!(!network.passes(1, 2) && !network.passes(2, 1));
        network.heal();
        assert!(network.passes(0, 1) && network.passes(1, 2));
    }

    #[test]
    fn packets_are_lost_as_often_as_said_and_too_large_ones_always() {
        let (mut network, mut dice) = (Network::default(), Dice::new(1));
        network.nic_mut(1).loss_in_ppm = 800_000;
        let through = (0..10_000)
            .filter(|_| network.packet(0, 1, 100, &mut dice).is_some())
            .count();
        assert!((1_800..2_200).contains(&through), "{through}");
        assert!(network.packet(1, 0, 1_472, &mut dice).is_some());
        assert!(network.packet(1, 0, 1_473, &mut dice).is_none());
        network.link_mut(1, 0).packet_bytes_max = Some(1_000);
        assert!(network.packet(1, 0, 1_001, &mut dice).is_none());
    }

    #[test]
    fn half_of_the_log_normal_delays_are_below_their_median() {
        let mut dice = Dice::new(3);
        let median = Duration::from_millis(20);
        let latency = Latency::LogNormal { median, sigma: 0.5 };
        let below = (0..10_000)
            .filter(|_| latency.draw(&mut dice) < median.as_nanos() as Ns)
            .count();
        assert!((4_800..5_200).contains(&below), "{below}");
    }

    #[test]
    fn a_lossy_way_delays_frames_but_loses_none() {
        let (mut network, mut dice) = (Network::default(), Dice::new(4));
        let quick = network.frame(0, 1, &mut dice);
        network.loss_ppm = 1_000_000;
        assert!(network.frame(0, 1, &mut dice) > quick + 50_000_000_000);
    }
}
