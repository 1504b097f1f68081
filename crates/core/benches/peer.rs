//! What one peer costs in a cluster of thousands: `cargo bench -p dui-core`.
//!
//! Some peers are each told of 4,096 members, packet by packet, as a welcome
//! or a reconciliation would; then they live through probe rounds, rumors and
//! comparisons with everybody answering. Memory is what the process grew by:
//! crates without unsafe code have no counting allocator.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dui_core::reconcile::{Fingerprint, Range, RangeBody};
use dui_core::seal::{Channel, Seal};
use dui_core::wire::{Body, MemberInfo, MemberRecord, Packet, Rumor, RumorId, Subject, digest};
use dui_core::{
    Config, Incarnation, Input, Keyring, MemberState, MessageCounter, Mono, NodeId, Now, Output,
    Peer, Role, RunId,
};
use rand_chacha::ChaCha12Rng;
use rand_core::SeedableRng;

const MEMBERS: u64 = 4_096;
const PEERS: u64 = 32;
const WALL_MS: u64 = 1_790_000_000_000;
/// Members that a packet of 1,200 bytes holds.
const PER_PACKET: usize = 10;
const ROUNDS: u32 = 300;
const COMPARISONS: u64 = 10;

fn main() {
    let mut rng = ChaCha12Rng::from_seed([0; 32]);
    let mut seal = Seal::new(Keyring::default(), &mut rng);
    let members: Vec<MemberInfo> = (1..=MEMBERS).map(member).collect();
    let mut sealed = |from: NodeId, fill: &dyn Fn(&mut Packet)| {
        let mut packet = Packet::new(from);
        fill(&mut packet);
        let plain = packet.encode(&"bench".parse().unwrap());
        seal.seal(Channel::Packet, &plain, &mut rng)
    };

    let lists: Vec<Vec<u8>> = members
        .chunks(PER_PACKET)
        .map(|some| {
            sealed(members[0].id, &|packet| {
                packet.members = some.iter().map(record).collect();
            })
        })
        .collect();
    let before = resident_bytes();
    let started = Instant::now();
    let mut peers: Vec<Driven> = (0..PEERS).map(|n| Driven::new(MEMBERS + 1 + n)).collect();
    for peer in &mut peers {
        for list in &lists {
            peer.hear(members[0].address, list);
        }
        assert_eq!(peer.peer.members().len() as u64, MEMBERS + 1);
    }
    let pairs = PEERS * MEMBERS;
    report("merge a member", started.elapsed(), pairs);
    let bytes = (resident_bytes() - before) / pairs;
    println!("{:<36}{bytes:>9} bytes a member", "table and news of them");

    let started = Instant::now();
    let mut probes = 0;
    for peer in &mut peers {
        peer.pass(Duration::from_secs(1) * ROUNDS, |peer| {
            while let Some((to, seq)) = peer.pings.pop() {
                probes += 1;
                let Some(target) = lives_at(&members, to) else {
                    continue;
                };
                let view = peer.peer.this().view;
                let ack = sealed(target.id, &|packet| {
                    packet.ack = Some(seq);
                    packet.digest = Some(digest(view, seq));
                });
                peer.hear(to, &ack);
            }
        });
    }
    report(
        "a second with a probe answered",
        started.elapsed(),
        PEERS * u64::from(ROUNDS),
    );
    println!(
        "{:<36}{:>9.2} pings a second",
        "",
        f64::from(probes) / (PEERS * u64::from(ROUNDS)) as f64
    );

    let rumors: Vec<Vec<u8>> = members
        .iter()
        .map(|info| {
            let suspect = Subject {
                id: members[0].id,
                incarnation: Incarnation(1),
            };
            let id = RumorId {
                origin: info.id,
                run: info.run,
                counter: MessageCounter(2),
            };
            let body = Body::Suspect(vec![suspect]);
            sealed(info.id, &|packet| {
                packet.rumors = vec![Rumor {
                    id,
                    body: body.clone(),
                }]
            })
        })
        .collect();
    let started = Instant::now();
    for peer in &mut peers {
        for (rumor, info) in rumors.iter().zip(&members) {
            peer.hear(info.address, rumor);
        }
    }
    report("a rumor that is no news", started.elapsed(), pairs);

    let renewed: Vec<Vec<u8>> = members
        .iter()
        .map(|info| {
            let mut info = info.clone();
            info.incarnation = info.incarnation.next();
            let id = RumorId {
                origin: info.id,
                run: info.run,
                counter: MessageCounter(3),
            };
            sealed(info.id, &|packet| {
                packet.rumors = vec![Rumor {
                    id,
                    body: Body::Alive(info.clone()),
                }]
            })
        })
        .collect();
    let started = Instant::now();
    for peer in &mut peers {
        for (rumor, info) in renewed.iter().zip(&members) {
            peer.pass(Duration::from_millis(1), |_| {});
            peer.hear(info.address, rumor);
        }
    }
    report("a rumor that is passed on", started.elapsed(), pairs);
    let bytes = (resident_bytes() - before) / pairs;
    println!(
        "{:<36}{bytes:>9} bytes a member",
        "with rumors on their way"
    );
    for peer in &mut peers {
        peer.pass(Duration::from_secs(6), |_| {});
    }

    let started = Instant::now();
    let asked = sealed(members[0].id, &|packet| {
        let body = RangeBody::Fingerprint(Fingerprint {
            count: MEMBERS,
            sum: 1,
        });
        packet.member_ranges = vec![Range {
            lo: [0; 24],
            hi: [0xff; 24],
            body,
        }];
    });
    for peer in &mut peers {
        for _ in 0..COMPARISONS {
            peer.hear(members[0].address, &asked);
        }
    }
    report(
        "a comparison answered",
        started.elapsed(),
        PEERS * COMPARISONS,
    );
    let bytes = (resident_bytes() - before) / pairs;
    println!("{:<36}{bytes:>9} bytes a member", "at the end");
}

fn lives_at(members: &[MemberInfo], address: SocketAddr) -> Option<&MemberInfo> {
    members
        .binary_search_by_key(&address, |info| info.address)
        .ok()
        .map(|place| &members[place])
}

fn report(what: &str, took: Duration, times: u64) {
    let each = took.as_secs_f64() * 1e6 / times as f64;
    println!("{what:<36}{each:>9.2} µs");
}

fn member(n: u64) -> MemberInfo {
    let mix = u128::from(n) * 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    MemberInfo {
        id: NodeId(mix),
        run: RunId(mix.rotate_left(64)),
        incarnation: Incarnation(WALL_MS),
        name: format!("node-{n}").parse().unwrap(),
        role: Role::Manager,
        address: SocketAddr::from(([10, 1, (n >> 8) as u8, n as u8], 7781)),
        version: "0.1.0".into(),
        cookie: n,
        messages: MessageCounter(1),
    }
}

fn record(info: &MemberInfo) -> MemberRecord {
    MemberRecord {
        info: info.clone(),
        state: MemberState::Alive,
    }
}

/// A peer whose outputs go nowhere but are looked at.
struct Driven {
    peer: Peer,
    now: Mono,
    wake: Mono,
    pings: Vec<(SocketAddr, u32)>,
    seal: Seal,
}

impl Driven {
    fn new(n: u64) -> Self {
        let info = member(n);
        let config = Config {
            cluster: "bench".parse().unwrap(),
            name: info.name,
            role: info.role,
            version: "0.1.0".into(),
            id: info.id,
            run: info.run,
            incarnation: info.incarnation,
            address: info.address,
            keys: Keyring::default(),
            known: Vec::new(),
            forgotten: Vec::new(),
            probe_interval: Duration::from_secs(1),
            shared: dui_core::SharedConfig::default(),
        };
        let now = Now {
            mono: Mono::ZERO,
            wall_ms: WALL_MS,
        };
        let mut rng = ChaCha12Rng::from_seed([1; 32]);
        let mut driven = Self {
            peer: Peer::new(config, now, [n as u8; 32]),
            now: Mono::ZERO,
            wake: Mono::ZERO,
            pings: Vec::new(),
            seal: Seal::new(Keyring::default(), &mut rng),
        };
        driven.drain();
        driven
    }

    fn hear(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.peer
            .handle(self.clock(), Input::Datagram { from, bytes });
        self.drain();
    }

    /// Lives through a span of time; `others` answer after each wake-up.
    fn pass(&mut self, span: Duration, mut others: impl FnMut(&mut Self)) {
        let end = self.now + span;
        while self.wake <= end {
            self.now = self.wake.max(self.now);
            self.peer.handle(self.clock(), Input::Timeout);
            self.drain();
            others(self);
        }
        self.now = end;
    }

    fn clock(&self) -> Now {
        Now {
            mono: self.now,
            wall_ms: WALL_MS + self.now.as_millis() as u64,
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.peer.poll_output() {
            match output {
                Output::WakeAt { at, .. } => self.wake = at,
                Output::Send { to, bytes } => {
                    let plain = self.seal.open(Channel::Packet, &bytes).unwrap().plain;
                    // Only pings are looked at: others would cost time that is not the peer's.
                    if plain.len() < 40 {
                        let packet = Packet::decode(&plain, &"bench".parse().unwrap()).unwrap();
                        self.pings.extend(packet.ping.map(|seq| (to, seq)));
                    }
                }
                _ => {}
            }
        }
    }
}

/// What this process holds in memory.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4_096
}
