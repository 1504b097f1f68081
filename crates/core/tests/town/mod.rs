//! Town: several peers in virtual time, over a network that tests can cut.
//!
//! Everything follows from the seed: latency, loss and every peer's
//! randomness. A datagram to an address where no process lives comes back as
//! port unreachable; a process that dies takes its streams with it.

#![allow(dead_code, clippy::unwrap_used, unreachable_pub)] // each test file uses a part of it

mod engine;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use dui_core::{
    Config, EndOfStream, Event, Input, Key, Keyring, MemberState, Mono, NodeId, Now, Output, Peer,
    Record, Role, RunId, StreamId,
};
use dui_core::{Incarnation, Known};

/// Wall clock at the start of every story, ms since the Unix epoch.
const EPOCH_MS: u64 = 1_790_000_000_000;

/// One process, dead or alive, at an address that stays.
pub struct Resident {
    pub name: String,
    pub id: NodeId,
    pub address: SocketAddr,
    pub peer: Option<Peer>,
    pub record: Option<Record>,
    pub events: Vec<(Mono, Event)>,
    stopped: bool,
    wake: Option<Mono>,
    runs: u64,
    keys: Keyring,
    cluster: String,
    /// How far its wall clock is ahead of the true time, in ms.
    pub wall_ahead_ms: i64,
}

#[derive(Debug)]
enum Arrival {
    Datagram {
        to: usize,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Beacon {
        to: usize,
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Unreachable {
        to: usize,
        peer: SocketAddr,
    },
    Open {
        from: usize,
        stream: StreamId,
        to: SocketAddr,
    },
    Frame {
        to: usize,
        stream: StreamId,
        bytes: Vec<u8>,
    },
    End {
        to: usize,
        stream: StreamId,
        how: EndOfStream,
    },
}

/// The network and who lives on it.
pub struct Town {
    pub now: Mono,
    pub residents: Vec<Resident>,
    arrivals: BTreeMap<(Mono, u64), Arrival>,
    /// Ends of streams: (resident, stream) to (resident, stream).
    wires: BTreeMap<(usize, StreamId), (usize, StreamId)>,
    cuts: BTreeSet<(usize, usize)>,
    /// Where packets, and only they, are dropped.
    udp_cuts: BTreeSet<(usize, usize)>,
    pub loss_percent: u64,
    pub latency: Duration,
    pub multicast: bool,
    /// Whether dead ports answer (ICMP) and dying processes end their streams.
    pub evidence: bool,
    pub sent: u64,
    /// Every datagram delivered, if recording.
    pub recorded: Option<Vec<(SocketAddr, SocketAddr, Vec<u8>)>>,
    serial: u64,
    random: u64,
}

impl Town {
    pub fn new(seed: u64) -> Self {
        Self {
            now: Mono::from_secs(1),
            residents: Vec::new(),
            arrivals: BTreeMap::new(),
            wires: BTreeMap::new(),
            cuts: BTreeSet::new(),
            udp_cuts: BTreeSet::new(),
            loss_percent: 0,
            latency: Duration::from_micros(500),
            multicast: true,
            evidence: true,
            sent: 0,
            recorded: None,
            serial: 0,
            random: seed ^ 0x5eed,
        }
    }

    /// A town whose residents all start now and find one another.
    pub fn of<const N: usize>(seed: u64, names: [&str; N]) -> Self {
        let mut town = Self::new(seed);
        for name in names {
            town.move_in(name);
        }
        town.run(Duration::from_secs(3));
        for name in names {
            assert_eq!(
                town.alive(name).len(),
                N,
                "{name} does not see all, seed {seed}"
            );
        }
        town
    }

    /// `n` residents called n0, n1, …
    pub fn of_size(seed: u64, n: usize) -> Self {
        let mut town = Self::new(seed);
        for place in 0..n {
            town.move_in(&format!("n{place}"));
        }
        town.run(Duration::from_secs(5));
        for place in 0..n {
            assert_eq!(town.alive(&format!("n{place}")).len(), n, "seed {seed}");
        }
        town
    }

    // --- who lives here ---

    pub fn move_in(&mut self, name: &str) -> &mut Self {
        self.move_in_with(name, "town", Keyring::default())
    }

    pub fn move_in_with(&mut self, name: &str, cluster: &str, keys: Keyring) -> &mut Self {
        self.reserve(name, cluster, keys).start(name)
    }

    /// An address where somebody may start later.
    pub fn reserve(&mut self, name: &str, cluster: &str, keys: Keyring) -> &mut Self {
        let place = self.residents.len() as u16;
        let address = SocketAddr::from(([127, 0, (place >> 8) as u8 + 1, place as u8], 7781));
        let id = NodeId(u128::from(self.draw()) << 64 | u128::from(self.draw()));
        self.residents.push(Resident {
            name: name.into(),
            id,
            address,
            peer: None,
            record: None,
            events: Vec::new(),
            stopped: false,
            wake: None,
            runs: 0,
            keys,
            cluster: cluster.into(),
            wall_ahead_ms: 0,
        });
        self
    }

    /// Starts (again) with the record it has, if any. What it was told in
    /// earlier lives is forgotten.
    pub fn start(&mut self, name: &str) -> &mut Self {
        self.start_as(name, Peer::new)
    }

    /// Starts one that only examines.
    pub fn start_examiner(&mut self, name: &str) -> &mut Self {
        self.start_as(name, Peer::examiner)
    }

    fn start_as(&mut self, name: &str, peer: fn(Config, Now, [u8; 32]) -> Peer) -> &mut Self {
        let place = self.place(name);
        let seed = self.seed();
        let now = self.clock_of(place);
        let resident = &mut self.residents[place];
        resident.runs += 1;
        resident.events.clear();
        let record = resident.record.clone();
        let last = record.as_ref().map(|record| record.incarnation);
        let config = Config {
            cluster: resident.cluster.parse().unwrap(),
            name: resident.name.parse().unwrap(),
            role: Role::Manager,
            version: "0.1.0".into(),
            id: resident.id,
            run: RunId(u128::from(seed[0]) << 64 | resident.id.0 ^ u128::from(resident.runs)),
            incarnation: Incarnation::at_start(now.wall_ms, last),
            address: resident.address,
            keys: resident.keys.clone(),
            known: record
                .as_ref()
                .map(|record| record.known.clone())
                .unwrap_or_default(),
            forgotten: record.map(|record| record.forgotten).unwrap_or_default(),
            probe_interval: Duration::from_secs(1),
        };
        resident.peer = Some(peer(config, now, seed));
        resident.stopped = false;
        self.drain(place);
        self
    }

    /// A new node (fresh id) at the address of one that is gone.
    pub fn replace(&mut self, gone: &str, name: &str) -> &mut Self {
        let place = self.place(gone);
        assert!(self.residents[place].peer.is_none(), "{gone} still lives");
        self.residents[place].name = name.into();
        self.residents[place].id = NodeId(u128::from(self.draw()) << 64 | u128::from(self.draw()));
        self.residents[place].record = None;
        self.start(name)
    }

    /// Makes `name` a copy of `original`: same id, another address.
    pub fn copy_identity(&mut self, original: &str, name: &str) -> &mut Self {
        let id = self.id(original);
        let place = self.place(name);
        self.residents[place].id = id;
        self
    }

    /// SIGKILL.
    pub fn kill(&mut self, name: &str) -> &mut Self {
        let place = self.place(name);
        self.residents[place].peer = None;
        self.residents[place].wake = None;
        let ends: Vec<_> = self
            .wires
            .keys()
            .filter(|(who, _)| *who == place)
            .copied()
            .collect();
        for end in ends {
            self.end_wire(end);
        }
        self
    }

    /// Streams that `holder` keeps open to `other`, as far as `holder` knows.
    pub fn streams(&self, holder: &str, other: &str) -> usize {
        let (holder, other) = (self.place(holder), self.place(other));
        let ends = self.wires.iter();
        ends.filter(|((from, _), (to, _))| (*from, *to) == (holder, other))
            .count()
    }

    /// Sets the wall clock of one node ahead of the true time, or behind it.
    pub fn set_clock_ahead(&mut self, name: &str, ahead_ms: i64) -> &mut Self {
        let place = self.place(name);
        self.residents[place].wall_ahead_ms = ahead_ms;
        self
    }

    /// SIGSTOP.
    pub fn stop(&mut self, name: &str) -> &mut Self {
        let place = self.place(name);
        self.residents[place].stopped = true;
        self
    }

    /// SIGCONT.
    pub fn resume(&mut self, name: &str) -> &mut Self {
        let place = self.place(name);
        self.residents[place].stopped = false;
        self
    }

    // --- the network ---

    /// Nothing goes from one to the other any more; the way back stays.
    pub fn cut_one_way(&mut self, from: &str, to: &str) -> &mut Self {
        let cut = (self.place(from), self.place(to));
        self.cuts.insert(cut);
        self
    }

    /// Packets from `from` to `to` are dropped; streams pass.
    pub fn block_udp(&mut self, from: &str, to: &str) -> &mut Self {
        let ends = (self.place(from), self.place(to));
        self.udp_cuts.insert(ends);
        self
    }

    pub fn cut(&mut self, a: &str, b: &str) -> &mut Self {
        self.cut_one_way(a, b).cut_one_way(b, a)
    }

    /// Cuts each of these from everybody else.
    pub fn partition(&mut self, side: &[&str]) -> &mut Self {
        let names: Vec<String> = self
            .residents
            .iter()
            .map(|resident| resident.name.clone())
            .collect();
        for a in side {
            for b in names.iter().filter(|name| !side.contains(&name.as_str())) {
                self.cut(a, b);
            }
        }
        self
    }

    pub fn heal(&mut self) -> &mut Self {
        self.cuts.clear();
        self.udp_cuts.clear();
        self
    }

    // --- commands ---

    pub fn with<T>(&mut self, name: &str, act: impl FnOnce(&mut Peer, Now) -> T) -> T {
        let place = self.place(name);
        let now = self.clock_of(place);
        let out = act(self.residents[place].peer.as_mut().unwrap(), now);
        self.drain(place);
        out
    }

    pub fn peer(&self, name: &str) -> &Peer {
        self.residents[self.place(name)].peer.as_ref().unwrap()
    }

    pub fn id(&self, name: &str) -> NodeId {
        self.residents[self.place(name)].id
    }

    pub fn address(&self, name: &str) -> SocketAddr {
        self.residents[self.place(name)].address
    }

    /// Hands a packet to a node as if the network had.
    pub fn inject(&mut self, to: &str, from: SocketAddr, bytes: &[u8]) {
        let place = self.place(to);
        self.feed(place, Input::Datagram { from, bytes });
    }

    // --- what they believe ---

    pub fn alive(&self, viewer: &str) -> Vec<String> {
        let members = self.peer(viewer).members();
        let alive = members
            .into_iter()
            .filter(|member| member.state == MemberState::Alive);
        alive.map(|member| member.name.to_string()).collect()
    }

    /// What `viewer` believes of `member`; `None`: not listed.
    pub fn belief(&self, viewer: &str, member: &str) -> Option<MemberState> {
        let id = self.id(member);
        self.peer(viewer).member(id).map(|member| member.state)
    }

    pub fn events(&self, viewer: &str) -> &[(Mono, Event)] {
        &self.residents[self.place(viewer)].events
    }

    /// Whether anybody ever announced anybody failed.
    pub fn anybody_failed(&self) -> Option<(String, String)> {
        for resident in &self.residents {
            for (_, event) in &resident.events {
                if let Event::MemberFailed(member) = event {
                    return Some((resident.name.clone(), member.name.to_string()));
                }
            }
        }
        None
    }

    pub fn now_ms(&self) -> u64 {
        self.now.as_millis() as u64
    }

    // --- time ---

    pub fn run(&mut self, span: Duration) -> &mut Self {
        let end = self.now + span;
        while self.step(end) {}
        self.now = end;
        self
    }

    /// Runs until the condition holds; the time it took, or `None` after `limit`.
    pub fn until(
        &mut self,
        limit: Duration,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> Option<Duration> {
        let start = self.now;
        let end = start + limit;
        loop {
            if holds(self) {
                return Some(self.now - start);
            }
            if !self.step(end) {
                return None;
            }
        }
    }
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A keyring of one key.
pub fn key(byte: u8) -> Keyring {
    Keyring::new(vec![Key::from_slice(&[byte; 32]).unwrap()]).unwrap()
}

/// Known peers of a record, for stories about memory.
pub fn known(town: &Town, name: &str) -> Vec<Known> {
    let resident = town
        .residents
        .iter()
        .find(|resident| resident.name == name)
        .unwrap();
    resident
        .record
        .as_ref()
        .map(|record| record.known.clone())
        .unwrap_or_default()
}
