//! Commands: what is done to a world from outside: starts, stops, moves, orders.

use std::net::SocketAddr;
use std::time::Duration;

use dui_core::wire::{MemberRecord, Packet};
use dui_core::{Config, EndOfStream, Incarnation, Input, NodeId, Now, Peer, Role, RunId, StreamId};

use super::{Happening, World};
use crate::host::{Arrival, Host, Pause, Place, Process};

/// The node's default: then it stops although nobody has confirmed.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(8);
/// Fit a frame, however long their names are.
const RECORDS_PER_FRAME: usize = 250;

impl World {
    // --- processes ---

    /// Starts a process on a host: the node that its disk remembers, or a new
    /// one. `false`: one runs already, or its disk is full.
    pub fn start(&mut self, place: Place) -> bool {
        if self.hosts[place].process.is_some() {
            return false;
        }
        let fresh = NodeId(self.dice.wide());
        let run = RunId(self.dice.wide());
        let seed = self.dice.entropy();
        let (probe_interval, tuning) = (self.probe_interval, self.tuning);
        let host = &mut self.hosts[place];
        let now = host.clock.now(self.now);
        let record = host.disk.durable().cloned();
        let last = record.as_ref().map(|record| record.incarnation);
        let incarnation = Incarnation::at_start(now.wall_ms, last);
        if !host.disk.open(incarnation) {
            return false;
        }
        if host.life > 0 && !host.disk.kept {
            host.id = fresh;
        }
        host.on = true;
        host.life += 1;
        let mut shared = host.shared.clone();
        let (known, forgotten) = match record {
            Some(record) => {
                shared.contacts = record.contacts;
                (record.known, record.forgotten)
            }
            None => (Vec::new(), Vec::new()),
        };
        let config = Config {
            cluster: host.cluster.parse().expect("a cluster name"),
            name: host.name.parse().expect("a node name"),
            role: Role::Manager,
            version: "0.1.0".into(),
            id: host.id,
            run,
            incarnation,
            address: host.address,
            keys: host.keys.clone(),
            known,
            forgotten,
            probe_interval,
            #[cfg(feature = "bugs")]
            bug: self.bug,
            shared,
        };
        let addresses = host.joins.clone();
        let mut peer = if host.examiner {
            Peer::examiner(config, now, seed)
        } else {
            Peer::tuned(config, &tuning, now, seed)
        };
        peer.load(now, host.disk.entries.values().cloned().collect());
        host.process = Some(Process::new(peer));
        self.carry_out(place);
        if !addresses.is_empty() {
            self.deliver(place, Arrival::Candidates { addresses });
        }
        true
    }

    /// All that run are told of one another, as if they had been together for
    /// long: thousands of nodes without the work of their meeting.
    pub fn acquaint(&mut self) {
        const STREAM: StreamId = StreamId(u64::MAX);
        let running = |(_, host): &(Place, &Host)| host.process.is_some();
        let (places, records): (Vec<Place>, Vec<MemberRecord>) = self
            .hosts
            .iter()
            .enumerate()
            .filter(running)
            .filter_map(|(place, host)| Some((place, host.peer()?.record())))
            .unzip();
        let frames = |teller: NodeId, cluster: &str| -> Vec<Vec<u8>> {
            let frame = |some: &[MemberRecord]| {
                let mut packet = Packet::new(teller);
                packet.members = some.to_vec();
                packet.encode(&cluster.parse().expect("a cluster name"))
            };
            records.chunks(RECORDS_PER_FRAME).map(frame).collect()
        };
        let [first, second, ..] = places[..] else {
            return;
        };
        let cluster = self.hosts[first].cluster.clone();
        let by_first = frames(self.hosts[first].id, &cluster);
        let by_second = frames(self.hosts[second].id, &cluster);
        for place in places {
            let (frames, teller) = if place == first {
                (&by_second, second)
            } else {
                (&by_first, first)
            };
            let from = self.hosts[teller].address;
            let stream = STREAM;
            self.handle(place, Input::StreamAccepted { stream, from });
            for bytes in frames {
                self.handle(place, Input::StreamFrame { stream, bytes });
            }
            let how = EndOfStream::Broken;
            self.handle(place, Input::StreamEnded { stream, how });
            if let Some(process) = &mut self.hosts[place].process {
                process.busy_until = self.now;
            }
        }
    }

    /// SIGKILL: the kernel ends its streams.
    pub fn kill(&mut self, place: Place) {
        self.end_process(place, false);
    }

    /// The host is without power: nothing answers any more, not even its kernel.
    pub fn vanish(&mut self, place: Place) {
        self.hosts[place].on = false;
        self.end_process(place, false);
    }

    /// A host without a process has power again, and refuses what comes.
    pub fn power_on(&mut self, place: Place) {
        self.hosts[place].on = true;
    }

    /// SIGTERM: says goodbye and ends when enough have heard it.
    pub fn leave(&mut self, place: Place) {
        let life = self.hosts[place].life;
        if let Some(process) = &mut self.hosts[place].process
            && !process.leaving
        {
            process.leaving = true;
            self.later(LEAVE_TIMEOUT, Happening::GiveUpLeaving { to: place, life });
            self.with(place, |peer, now| peer.leave(now));
        }
    }

    /// The process does not get to run any more.
    pub fn pause(&mut self, place: Place, how: Pause) {
        let Some(process) = &mut self.hosts[place].process else {
            return;
        };
        process.pause = how;
        if how == Pause::No {
            self.plan_going_on(place);
        }
    }

    /// Gives a host without a process a new data directory: another node.
    pub fn renew(&mut self, place: Place) {
        let id = NodeId(self.dice.wide());
        self.hosts[place].disk.wipe();
        self.hosts[place].id = id;
    }

    /// Asks a node for something, or orders it; `None` where none runs.
    pub fn with<T>(&mut self, place: Place, act: impl FnOnce(&mut Peer, Now) -> T) -> Option<T> {
        self.call(place, act)
    }

    /// Takes a node out of the world, as if it had been killed, and what time
    /// it is there.
    pub fn take_out(&mut self, place: Place) -> Option<(Peer, Now)> {
        let now = self.hosts[place].clock.now(self.now);
        let process = self.end_process(place, false)?;
        Some((*process, now))
    }

    /// Tells a node addresses of possible peers, now and at each start.
    pub fn join(&mut self, place: Place, addresses: Vec<SocketAddr>) {
        self.hosts[place].joins.clone_from(&addresses);
        self.deliver(place, Arrival::Candidates { addresses });
    }

    /// Hands a packet to a node as if the network had.
    pub fn inject(&mut self, to: Place, from: SocketAddr, bytes: &[u8]) {
        self.handle(to, Input::Datagram { from, bytes });
    }

    // --- clocks and places ---

    /// From now on a host's clocks run faster than true time by so many millionths.
    pub fn set_drift(&mut self, place: Place, ppm: i32) {
        let now = self.now;
        self.hosts[place].clock.set_drift(now, ppm);
        // Its timer rings at another true time now.
        if let Some(process) = &mut self.hosts[place].process {
            process.armed = None;
        }
        self.plan_going_on(place);
    }

    /// Moves a host on the network. The node does not know: peers see another
    /// source, and its old address is silent (a NAT that maps anew, a lease
    /// that ran out).
    pub fn readdress(&mut self, place: Place, outer: SocketAddr) {
        let old = self.hosts[place].outer;
        if self.by_address.get(&old) == Some(&place) {
            self.by_address.remove(&old);
        }
        self.hosts[place].outer = outer;
        self.by_address.insert(outer, place);
    }

    /// Moves a host on the network, and its node as its shell would: the old
    /// address is gone with every stream that led there, and nobody is told.
    pub fn move_to(&mut self, place: Place, address: SocketAddr) {
        self.readdress(place, address);
        let host = &mut self.hosts[place];
        host.address = address;
        if let Some(process) = &mut host.process {
            let ends = std::mem::take(&mut process.streams);
            self.end_streams(ends.into_values().collect(), false);
            self.handle(place, Input::Readdressed { address });
        }
    }

    // --- helpers ---

    pub(super) fn end_process(&mut self, place: Place, in_order: bool) -> Option<Box<Peer>> {
        let now = self.now;
        let host = &mut self.hosts[place];
        let process = host.process.take()?;
        host.disk.close(now, in_order);
        let told = host.on;
        let ends = process.streams.into_values().collect();
        self.end_streams(ends, told);
        Some(process.peer)
    }
}
