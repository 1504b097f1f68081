//! World: hosts on a network, and the time that passes there.
//!
//! One queue holds everything to come. Taking the next thing out of it,
//! handing it to whom it concerns and planning what follows is all that ever
//! happens, so a world is a function of its seed and of what is done to it
//! from outside, in that order.

mod commands;
mod engine;
mod packets;
mod streams;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dui_core::{
    EndOfStream, Entry, Event, Keyring, Lost, Mono, NodeId, StreamId, Ticket, Tuning, Written,
};

use crate::dice::Dice;
use crate::host::{Host, Place};
use crate::network::Network;
use crate::queue::{Ns, Queue};
use crate::slab::Slab;
use crate::trace::Trace;
use crate::wire::{Segment, Wire};

/// What is known of a host before its first process.
#[derive(Clone, Debug)]
pub struct Habitat {
    /// For people; also the node's name.
    pub name: String,
    /// Cluster of its node.
    pub cluster: String,
    /// Its keys; empty: in clear.
    pub keys: Keyring,
    /// Whether it has a data directory.
    pub data_dir: bool,
    /// `None`: the next free one.
    pub address: Option<SocketAddr>,
}

impl Habitat {
    /// A host of the cluster `town`, in clear, with a data directory.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.into(),
            cluster: "town".into(),
            keys: Keyring::default(),
            data_dir: true,
            address: None,
        }
    }
}

/// What a node told its application.
#[derive(Clone, Debug)]
pub struct News {
    /// When, in true time.
    pub at: Mono,
    /// Whose.
    pub place: Place,
    /// Which of its processes.
    pub life: u32,
    /// What.
    pub event: Event,
}

/// What became of a write.
#[derive(Clone, Debug)]
pub struct Deed {
    /// Where it was made.
    pub place: Place,
    /// By which process.
    pub life: u32,
    /// Which.
    pub ticket: Ticket,
    /// How it went.
    pub result: Result<Written, Lost>,
}

/// What was sent and what became of it, since the world began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Packets sent.
    pub packets: u64,
    /// Their bytes.
    pub packet_bytes: u64,
    /// The largest of them.
    pub packet_bytes_max: usize,
    /// Packets that the network lost.
    pub lost: u64,
    /// Packets that found a full socket.
    pub overflowed: u64,
    /// Beacons sent.
    pub beacons: u64,
    /// Frames sent on streams.
    pub frames: u64,
    /// Their bytes.
    pub frame_bytes: u64,
    /// The largest of them.
    pub frame_bytes_max: usize,
    /// Inputs handed to nodes.
    pub inputs: u64,
}

/// Something to come.
#[derive(Debug)]
enum Happening {
    Datagram {
        to: Place,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Beacon {
        to: Place,
        from: SocketAddr,
        bytes: Arc<[u8]>,
    },
    Unreachable {
        to: Place,
        life: u32,
        peer: SocketAddr,
    },
    Connect {
        wire: u64,
    },
    Segment {
        wire: u64,
        from_end: usize,
        segment: Segment,
    },
    Retransmit {
        wire: u64,
        end: usize,
    },
    FirstFrame {
        wire: u64,
    },
    /// The local system ends a stream.
    StreamEnd {
        to: Place,
        life: u32,
        stream: StreamId,
        how: EndOfStream,
    },
    Wake {
        to: Place,
        life: u32,
    },
    GoOn {
        to: Place,
        life: u32,
    },
    Write {
        to: Place,
        life: u32,
    },
    GiveUpLeaving {
        to: Place,
        life: u32,
    },
    Store {
        to: Place,
        life: u32,
        batch: u64,
        entries: Vec<Entry>,
        removed: Vec<Entry>,
    },
}

/// A simulated world.
#[derive(Debug)]
pub struct World {
    /// The network; change it at any time.
    pub network: Network,
    /// What nodes told since this was last emptied, oldest first.
    pub news: Vec<News>,
    /// What became of writes since this was last emptied, oldest first.
    pub deeds: Vec<Deed>,
    /// `false`: no news is kept.
    pub keeps_news: bool,
    /// Every datagram delivered (from, to, bytes), if recording.
    pub recorded: Option<Vec<(SocketAddr, SocketAddr, Vec<u8>)>>,
    /// Fingerprint and text of what happens.
    pub trace: Trace,
    /// Time between two probes of nodes that start from now on.
    pub probe_interval: Duration,
    /// Constants of their protocol.
    pub tuning: Tuning,
    /// The mistake that nodes that start from now on make.
    #[cfg(feature = "bugs")]
    pub bug: Option<dui_core::Bug>,
    /// The chance of everything that nothing else decides.
    pub dice: Dice,
    now: Ns,
    queue: Queue<Happening>,
    hosts: Vec<Host>,
    by_address: BTreeMap<SocketAddr, Place>,
    wires: Slab<Wire>,
    traffic: Traffic,
}

impl World {
    /// An empty world.
    pub fn new(seed: u64) -> Self {
        Self {
            network: Network::default(),
            news: Vec::new(),
            deeds: Vec::new(),
            keeps_news: true,
            recorded: None,
            trace: Trace::none(),
            probe_interval: Duration::from_secs(1),
            tuning: Tuning::default(),
            #[cfg(feature = "bugs")]
            bug: None,
            dice: Dice::new(seed ^ 0x5eed),
            now: 1_000_000_000,
            queue: Queue::new(),
            hosts: Vec::new(),
            by_address: BTreeMap::new(),
            wires: Slab::new(),
            traffic: Traffic::default(),
        }
    }

    // --- getters ---

    /// True time since the world began.
    pub fn now(&self) -> Mono {
        Duration::from_nanos(self.now)
    }

    /// All hosts, by place.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// One host.
    pub fn host(&self, place: Place) -> &Host {
        &self.hosts[place]
    }

    /// To change what it has (clock, disk, cost, keys of its next process).
    pub fn host_mut(&mut self, place: Place) -> &mut Host {
        &mut self.hosts[place]
    }

    /// Which host has an address on the network.
    pub fn at(&self, address: SocketAddr) -> Option<Place> {
        self.by_address.get(&address).copied()
    }

    /// What was sent so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// Things in flight or planned, and streams: what a bound can be set on.
    pub fn backlog(&self) -> (usize, usize) {
        (self.queue.len(), self.wires.len())
    }

    /// Whether two processes keep a stream from one to the other, as far as the first knows.
    pub fn streams(&self, holder: Place, other: Place) -> usize {
        let Some(process) = &self.hosts[holder].process else {
            return 0;
        };
        let ends = process.streams.values();
        ends.filter(|(wire, end)| {
            let wire = self.wires.get(*wire);
            let far = wire.and_then(|wire| wire.ends[1 - end].as_ref());
            far.is_some_and(|far| far.place == other)
        })
        .count()
    }

    /// Puts what is done from outside into the trace.
    pub(crate) fn note(&mut self, kind: &str, what: &dyn std::fmt::Debug) {
        self.trace.note(self.now, "", kind, what, &[]);
    }

    // --- hosts ---

    /// Builds a host, without a process yet.
    pub fn build(&mut self, habitat: Habitat) -> Place {
        let place = self.hosts.len();
        let address = habitat.address.unwrap_or_else(|| self.free_address());
        let id = NodeId(self.dice.wide());
        let mut host = Host {
            name: habitat.name,
            id,
            address,
            outer: address,
            cluster: habitat.cluster,
            keys: habitat.keys,
            clock: crate::clock::Clock::default(),
            disk: crate::disk::Disk::default(),
            joins: Vec::new(),
            shared: dui_core::SharedConfig::default(),
            examiner: false,
            cost: Duration::ZERO,
            merge_cost: Duration::ZERO,
            on: true,
            life: 0,
            process: None,
        };
        host.disk.kept = habitat.data_dir;
        self.hosts.push(host);
        self.by_address.insert(address, place);
        place
    }

    /// An address that no host has.
    pub fn free_address(&self) -> SocketAddr {
        let mut n = self.hosts.len() as u32;
        loop {
            let [_, a, b, c] = (n + 256).to_be_bytes();
            let address = SocketAddr::from(([10, a, b, c], 7781));
            if !self.by_address.contains_key(&address) {
                return address;
            }
            n += 0x1_0000;
        }
    }

    // --- time ---

    /// The next thing happens; `false` when that is after `end`.
    pub fn step(&mut self, end: Mono) -> bool {
        let end = end.as_nanos() as Ns;
        if self.queue.next_at().is_none_or(|at| at > end) {
            return false;
        }
        if let Some((at, happening)) = self.queue.pop() {
            self.now = self.now.max(at);
            self.happen(happening);
        }
        true
    }

    /// Lets time pass.
    pub fn run(&mut self, span: Duration) {
        let end = self.now() + span;
        while self.step(end) {}
        self.now = end.as_nanos() as Ns;
    }

    /// Lets time pass until something holds, which is looked at after every
    /// step; the time it took, or `None` after `limit`.
    pub fn until(
        &mut self,
        limit: Duration,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> Option<Duration> {
        let start = self.now();
        loop {
            if holds(self) {
                return Some(self.now() - start);
            }
            if !self.step(start + limit) {
                self.now = (start + limit).as_nanos() as Ns;
                return None;
            }
        }
    }

    /// As [`World::until`], looking only every so often: for conditions that
    /// cost more than a step.
    pub fn until_every(
        &mut self,
        every: Duration,
        limit: Duration,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> Option<Duration> {
        let start = self.now();
        loop {
            if holds(self) {
                return Some(self.now() - start);
            }
            if self.now() >= start + limit {
                return None;
            }
            self.run(every);
        }
    }

    fn later(&mut self, delay: Duration, happening: Happening) {
        let at = self.now + delay.as_nanos() as Ns;
        self.queue.push(at, happening);
    }
}
