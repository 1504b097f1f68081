//! Town: a small world whose hosts have names, for stories.
//!
//! Everybody belongs to the cluster `town`, hears beacons, and has a data
//! directory. What a resident was told is kept for each of its lives.

use std::net::SocketAddr;
use std::time::Duration;

use dui_core::{Event, Key, Keyring, Known, LeaderNews, MemberState, Mono, NodeId, Now, Peer};

use crate::host::{Host, Pause, Place};
use crate::network::Latency;
use crate::world::{Habitat, World};

/// Hosts with names.
#[derive(Debug)]
pub struct Town {
    /// Where they are: for what has no word of its own here.
    pub world: World,
    told: Vec<(u32, Vec<(Mono, Event)>)>,
    seed: u64,
}

impl Town {
    /// Nobody lives here yet.
    pub fn new(seed: u64) -> Self {
        Self {
            world: World::new(seed),
            told: Vec::new(),
            seed,
        }
    }

    /// A town whose residents all start now and find one another.
    pub fn of<const N: usize>(seed: u64, names: [&str; N]) -> Self {
        let mut town = Self::new(seed);
        for name in names {
            town.move_in(name);
        }
        town.run(secs(3));
        town.assert_all_met();
        town
    }

    /// `n` residents called n0, n1, …
    pub fn of_size(seed: u64, n: usize) -> Self {
        let mut town = Self::new(seed);
        for place in 0..n {
            town.move_in(&format!("n{place}"));
        }
        town.run(secs(5));
        town.assert_all_met();
        town
    }

    fn assert_all_met(&self) {
        let all = self.world.hosts().len();
        for host in self.world.hosts() {
            let seen = self.alive(&host.name).len();
            assert_eq!(
                seen, all,
                "{} does not see all, seed {}",
                host.name, self.seed
            );
        }
    }

    // --- who lives here ---

    /// Somebody of this town, in clear, starts.
    pub fn move_in(&mut self, name: &str) -> &mut Self {
        self.move_in_with(name, "town", Keyring::default())
    }

    /// Somebody of any cluster starts.
    pub fn move_in_with(&mut self, name: &str, cluster: &str, keys: Keyring) -> &mut Self {
        self.reserve(name, cluster, keys).start(name)
    }

    /// A host where somebody may start later.
    pub fn reserve(&mut self, name: &str, cluster: &str, keys: Keyring) -> &mut Self {
        self.world.build(Habitat {
            cluster: cluster.into(),
            keys,
            ..Habitat::named(name)
        });
        self.told.push((0, Vec::new()));
        self
    }

    /// Starts (again) with what its disk remembers.
    pub fn start(&mut self, name: &str) -> &mut Self {
        let place = self.place(name);
        assert!(self.world.start(place), "{name} does not start");
        self.listen();
        self
    }

    /// A new node (fresh id) on the host of one that is gone.
    pub fn replace(&mut self, gone: &str, name: &str) -> &mut Self {
        let place = self.place(gone);
        assert!(
            self.world.host(place).peer().is_none(),
            "{gone} still lives"
        );
        self.world.host_mut(place).name = name.into();
        self.world.renew(place);
        self.start(name)
    }

    /// Makes `name` a copy of `original`: same id, another address.
    pub fn copy_identity(&mut self, original: &str, name: &str) -> &mut Self {
        let (id, place) = (self.id(original), self.place(name));
        self.world.host_mut(place).id = id;
        self
    }

    /// Starts one that only examines.
    pub fn start_examiner(&mut self, name: &str) -> &mut Self {
        let place = self.place(name);
        self.world.host_mut(place).examiner = true;
        self.start(name)
    }

    /// SIGKILL.
    pub fn kill(&mut self, name: &str) -> &mut Self {
        self.world.kill(self.place(name));
        self
    }

    /// SIGSTOP.
    pub fn stop(&mut self, name: &str) -> &mut Self {
        self.world.pause(self.place(name), Pause::Stopped);
        self
    }

    /// SIGCONT.
    pub fn resume(&mut self, name: &str) -> &mut Self {
        self.world.pause(self.place(name), Pause::No);
        self
    }

    /// Sets the wall clock of one host ahead of the true time, or behind it.
    pub fn set_clock_ahead(&mut self, name: &str, ahead_ms: i64) -> &mut Self {
        let place = self.place(name);
        self.world.host_mut(place).clock.set_ahead(ahead_ms);
        self
    }

    /// Its host has another address from now on.
    pub fn readdress(&mut self, name: &str, address: SocketAddr) -> &mut Self {
        self.world.move_to(self.place(name), address);
        self.listen();
        self
    }

    /// The hosts of two exchange their addresses, both at once; a process that
    /// is dead starts at the other's.
    pub fn swap(&mut self, one: &str, other: &str) -> &mut Self {
        let (a, b) = (self.address(one), self.address(other));
        self.readdress(one, b).readdress(other, a)
    }

    // --- the network ---

    /// Nothing goes from one to the other any more; the way back stays.
    pub fn cut_one_way(&mut self, from: &str, to: &str) -> &mut Self {
        let (from, to) = (self.place(from), self.place(to));
        self.world.network.link_mut(from, to).cut = true;
        self
    }

    /// Packets from `from` to `to` are dropped; streams pass.
    pub fn block_udp(&mut self, from: &str, to: &str) -> &mut Self {
        let (from, to) = (self.place(from), self.place(to));
        self.world.network.link_mut(from, to).udp_cut = true;
        self
    }

    /// Nothing goes between the two.
    pub fn cut(&mut self, a: &str, b: &str) -> &mut Self {
        self.cut_one_way(a, b).cut_one_way(b, a)
    }

    /// Cuts each of these from everybody else.
    pub fn partition(&mut self, side: &[&str]) -> &mut Self {
        let hosts = self.world.hosts().iter();
        let names: Vec<String> = hosts.map(|host| host.name.clone()).collect();
        for a in side {
            for b in names.iter().filter(|name| !side.contains(&name.as_str())) {
                self.cut(a, b);
            }
        }
        self
    }

    /// Every cut ends.
    pub fn heal(&mut self) -> &mut Self {
        let loss_ppm = self.world.network.loss_ppm;
        self.world.network.heal();
        self.world.network.loss_ppm = loss_ppm;
        self
    }

    /// So many of a hundred packets are lost.
    pub fn lose_percent(&mut self, percent: u32) -> &mut Self {
        self.world.network.loss_ppm = percent * 10_000;
        self
    }

    /// Every packet takes so long.
    pub fn take(&mut self, latency: Duration) -> &mut Self {
        self.world.network.latency = Latency::Constant(latency);
        self
    }

    // --- commands ---

    /// Asks a resident for something, or orders it.
    pub fn with<T>(&mut self, name: &str, act: impl FnOnce(&mut Peer, Now) -> T) -> T {
        let place = self.place(name);
        let told = self.world.with(place, act);
        self.listen();
        told.unwrap_or_else(|| panic!("{name} does not run"))
    }

    /// Tells a resident what the managers have agreed on.
    pub fn tell_leader(&mut self, name: &str, news: LeaderNews) -> &mut Self {
        self.with(name, |peer, now| peer.tell_leader(now, news));
        self
    }

    /// Takes a node out of its town, to be called by hand from now on, and
    /// what time it is there.
    pub fn take_out(&mut self, name: &str) -> (Peer, Now) {
        let place = self.place(name);
        let taken = self.world.take_out(place);
        taken.unwrap_or_else(|| panic!("{name} does not run"))
    }

    /// Hands a packet to a resident as if the network had.
    pub fn inject(&mut self, to: &str, from: SocketAddr, bytes: &[u8]) {
        self.world.inject(self.place(to), from, bytes);
        self.listen();
    }

    // --- what they believe ---

    /// The node of a resident.
    pub fn peer(&self, name: &str) -> &Peer {
        let peer = self.resident(name).peer();
        peer.unwrap_or_else(|| panic!("{name} does not run"))
    }

    /// Its host.
    pub fn resident(&self, name: &str) -> &Host {
        self.world.host(self.place(name))
    }

    /// Its node id.
    pub fn id(&self, name: &str) -> NodeId {
        self.resident(name).id
    }

    /// Its peer address.
    pub fn address(&self, name: &str) -> SocketAddr {
        self.resident(name).address
    }

    /// Names of those that `viewer` holds alive.
    pub fn alive(&self, viewer: &str) -> Vec<String> {
        let members = self.peer(viewer).members().into_iter();
        let alive = members.filter(|member| member.state == MemberState::Alive);
        alive.map(|member| member.name.to_string()).collect()
    }

    /// Where `viewer` believes `member` to live.
    pub fn address_of(&self, viewer: &str, member: &str) -> Option<SocketAddr> {
        let id = self.id(member);
        self.peer(viewer).member(id).map(|member| member.address)
    }

    /// What `viewer` believes of `member`; `None`: not listed.
    pub fn belief(&self, viewer: &str, member: &str) -> Option<MemberState> {
        let id = self.id(member);
        self.peer(viewer).member(id).map(|member| member.state)
    }

    /// What `viewer` believes the managers to have agreed on.
    pub fn leader_news(&self, viewer: &str) -> Option<&LeaderNews> {
        self.peer(viewer).leader_news()
    }

    /// What a resident was told in its present life.
    pub fn events(&self, viewer: &str) -> &[(Mono, Event)] {
        &self.told[self.place(viewer)].1
    }

    /// Whether anybody announced anybody failed in a present life: who, whom.
    pub fn anybody_failed(&self) -> Option<(String, String)> {
        for (host, (_, events)) in self.world.hosts().iter().zip(&self.told) {
            for (_, event) in events {
                if let Event::MemberFailed(member) = event {
                    return Some((host.name.clone(), member.name.to_string()));
                }
            }
        }
        None
    }

    /// Streams that `holder` keeps open to `other`, as far as `holder` knows.
    pub fn streams(&self, holder: &str, other: &str) -> usize {
        self.world.streams(self.place(holder), self.place(other))
    }

    /// Peers that its disk remembers.
    pub fn known(&self, name: &str) -> Vec<Known> {
        let durable = self.resident(name).disk.durable();
        durable
            .map(|record| record.known.clone())
            .unwrap_or_default()
    }

    /// Packets sent by all so far.
    pub fn sent(&self) -> u64 {
        self.world.traffic().packets
    }

    // --- time ---

    /// True time since the town was built.
    pub fn now(&self) -> Mono {
        self.world.now()
    }

    /// Lets time pass.
    pub fn run(&mut self, span: Duration) -> &mut Self {
        self.world.run(span);
        self.listen();
        self
    }

    /// Runs until the condition holds; the time it took, or `None` after `limit`.
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
            if !self.world.step(start + limit) {
                return None;
            }
            self.listen();
        }
    }

    // --- helpers ---

    /// Where somebody lives.
    pub fn place(&self, name: &str) -> Place {
        let place = self.world.hosts().iter().position(|host| host.name == name);
        place.unwrap_or_else(|| panic!("nobody is called {name}"))
    }

    /// Gives the news to whom they were told.
    fn listen(&mut self) {
        for news in self.world.news.drain(..) {
            let (life, events) = &mut self.told[news.place];
            if *life != news.life {
                *life = news.life;
                events.clear();
            }
            events.push((news.at, news.event));
        }
    }
}

/// So many seconds.
pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// So many milliseconds.
pub fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A keyring of one key.
pub fn key(byte: u8) -> Keyring {
    let key = Key::from_slice(&[byte; 32]).expect("32 bytes are a key");
    Keyring::new(vec![key]).expect("one key is no duplicate")
}
