//! Packets: from one socket to another, or to nobody.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::{Happening, World};
use crate::host::{Arrival, Place};

impl World {
    pub(super) fn send_datagram(&mut self, from: Place, to: SocketAddr, bytes: Vec<u8>) {
        self.traffic.packets += 1;
        self.traffic.packet_bytes += bytes.len() as u64;
        self.traffic.packet_bytes_max = self.traffic.packet_bytes_max.max(bytes.len());
        let source = self.hosts[from].outer;
        // An address that nobody has is silent.
        let Some(target) = self.at(to) else {
            self.traffic.lost += 1;
            return;
        };
        if self.network.duplication_ppm > 0
            && self.dice.chance(self.network.duplication_ppm)
            && let Some(delay) = self
                .network
                .packet(from, target, bytes.len(), &mut self.dice)
        {
            let bytes = bytes.clone();
            let twin = Happening::Datagram {
                to: target,
                from: source,
                bytes,
            };
            self.queue.push(self.now + delay, twin);
        }
        match self
            .network
            .packet(from, target, bytes.len(), &mut self.dice)
        {
            Some(delay) => {
                let arrival = Happening::Datagram {
                    to: target,
                    from: source,
                    bytes,
                };
                self.queue.push(self.now + delay, arrival);
            }
            None => self.traffic.lost += 1,
        }
    }

    pub(super) fn datagram_arrives(&mut self, to: Place, from: SocketAddr, bytes: Vec<u8>) {
        let host = &self.hosts[to];
        if !host.is_reachable() {
            self.traffic.lost += 1;
        } else if host.process.is_some() {
            self.deliver(to, Arrival::Datagram { from, bytes });
        } else if self.network.evidence {
            self.answer_port_unreachable(to, from);
        }
    }

    /// The host lives, and nobody has the port.
    fn answer_port_unreachable(&mut self, from: Place, to: SocketAddr) {
        let Some(sender) = self.at(to) else {
            return;
        };
        if !self.network.passes(from, sender) {
            return;
        }
        let peer = self.hosts[from].outer;
        let life = self.hosts[sender].life;
        let delay = self.network.latency(from, sender, &mut self.dice);
        let answer = Happening::Unreachable {
            to: sender,
            life,
            peer,
        };
        self.later(Duration::from_nanos(delay), answer);
    }

    /// To every process in the domain, the sender's own included.
    pub(super) fn send_beacon(&mut self, from: Place, bytes: &[u8]) {
        self.traffic.beacons += 1;
        if !self.network.multicast {
            return;
        }
        let (source, domain) = (self.hosts[from].outer, self.network.nic(from).domain);
        let bytes: Arc<[u8]> = bytes.into();
        for to in 0..self.hosts.len() {
            if self.hosts[to].process.is_none() || self.network.nic(to).domain != domain {
                continue;
            }
            let delay = self.network.packet(from, to, bytes.len(), &mut self.dice);
            if let Some(delay) = delay {
                let bytes = bytes.clone();
                let beacon = Happening::Beacon {
                    to,
                    from: source,
                    bytes,
                };
                self.queue.push(self.now + delay, beacon);
            }
        }
    }
}
