//! Contact: beacons, hellos and welcomes: how two nodes first meet.

use std::net::SocketAddr;

use super::outbox::Path;
use super::{Output, Peer};
use crate::clock::Now;
use crate::discovery::{Call, Sighting};
use crate::id::NodeId;
use crate::seal::Channel;
use crate::wire::{Beacon, Greeting, MemberRecord, Packet};

/// Members named in a first answer: enough to find the rest from.
const WELCOME_MEMBERS: usize = 24;

impl Peer {
    /// Does what discovery has due.
    pub(super) fn discover(&mut self, now: Now) {
        if self.leaving.is_some() || self.examiner {
            return;
        }
        let table = self.membership.table();
        let lives = |address| table.live_at(address).is_some();
        let (version, alive) = (table.version(), table.live().len());
        let discovery = &mut self.discovery;
        for call in discovery.on_time(now.mono, version, alive, lives, &mut self.rng) {
            match call {
                Call::Beacon => self.send_beacon(None, None),
                Call::Greet(address) => self.greet(address),
                Call::GreetByStream(address) => self.greet_by_stream(address),
                Call::Compare(id) => self.compare_with(id),
            }
        }
    }

    /// "Here I am", by every provider that reaches everybody; for an
    /// examination of our own, or of somebody else, if a number is said.
    pub(super) fn send_beacon(&mut self, examination: Option<u64>, examined: Option<u64>) {
        let myself = self.membership.myself();
        let beacon = Beacon {
            id: myself.id,
            name: myself.name.clone(),
            address: myself.address,
            role: myself.role,
            messages: self.messages,
            view: self.membership.table().fingerprint(),
            examination,
            examined,
        };
        let plain = beacon.encode(&self.config.cluster);
        let bytes = self.seal.seal(Channel::Beacon, &plain, &mut self.rng);
        self.counters.beacons_sent += 1;
        self.outputs.push_back(Output::Beacon { bytes });
    }

    /// A beacon of our cluster was heard: a hint, no more.
    pub(super) fn sight(&mut self, now: Now, beacon: Beacon, provider: &'static str) {
        self.examinations.heard_beacon(now.mono, &beacon, provider);
        if self.examiner {
            // Not of another examiner, who soon is not there any more.
            if beacon.examination.is_none() {
                self.examinations.overhear(beacon.address);
            }
            return;
        }
        if beacon.id == self.config.id {
            // Ourselves, or a copy of our data directory: that one learns of
            // us by our hello, as we learn of it by its.
            return self.greet(beacon.address);
        }
        if self.leaving.is_some() {
            return;
        }
        let table = self.membership.table();
        // One that we know elsewhere has moved, perhaps: it says so when greeted.
        let known = table
            .get(beacon.id)
            .is_some_and(|entry| entry.is_live() && entry.info.address == beacon.address);
        let sighting = Sighting {
            id: beacon.id,
            address: beacon.address,
            known,
            same_view: beacon.view == table.fingerprint(),
        };
        let members = table.live().len();
        self.discovery
            .sighted(now, provider, sighting, members, &mut self.rng);
    }

    /// Says hello to whoever is at an address.
    pub(super) fn greet(&mut self, address: SocketAddr) {
        if self.leaving.is_some() || self.examiner || address == self.config.address {
            return;
        }
        let to = self
            .membership
            .table()
            .live_at(address)
            .map(|entry| entry.info.id);
        let packet = self.hello();
        self.send(Path::Packet(address), to, packet);
    }

    /// "Here I am, who else is there?"
    pub(super) fn hello(&self) -> Packet {
        let mut packet = Packet::new(self.config.id);
        packet.greeting = Some(Greeting::Hello);
        packet.rumors.push(self.my_alive.clone());
        packet.digest = Some(self.digest(0));
        packet
    }

    /// Answers a hello: here we are, here are some others, and this is what
    /// our view looks like from afar.
    pub(super) fn welcome(&mut self, now: Now, path: Path, newcomer: NodeId) {
        if self.leaving.is_some() {
            return;
        }
        let mut packet = Packet::new(self.config.id);
        packet.greeting = Some(Greeting::Welcome);
        packet.rumors.push(self.my_alive.clone());
        packet.digest = Some(self.digest(0));
        // A stream comes from a port of its own, which nobody advertises.
        packet.seen = match path {
            Path::Packet(address) => Some(address),
            Path::Stream(..) | Path::Multicast(_) => None,
        };
        packet.clock = Some(now.wall_ms);
        packet.leader = self.leader_news().cloned();
        let some = self
            .membership
            .sample(WELCOME_MEMBERS, &mut self.rng, |id| id == newcomer);
        let records = self.records(&some);
        self.send_list(
            path,
            Some(newcomer),
            packet,
            records,
            MemberRecord::encoded_len,
            |packet, record| packet.members.push(record),
        );
    }

    /// What we believe of these members.
    pub(super) fn records(&self, ids: &[NodeId]) -> Vec<MemberRecord> {
        let record = |id: &NodeId| {
            let entry = self.membership.table().get(*id)?;
            Some(MemberRecord {
                info: entry.info.clone(),
                state: entry.state,
            })
        };
        ids.iter().filter_map(record).collect()
    }
}
