//! What a million shared entries cost: `cargo bench -p dui-core --bench shared`.
//!
//! Entries of 32 bytes of key and 64 of value are loaded, read and written on
//! one peer; then another, which is empty, takes them, and two that differ in
//! ten become equal. Both are driven by hand on one core, without a network.
//! Memory is what the process grew by.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use dui_core::{
    Acks, Config, EndOfStream, Entry, EntryKey, Incarnation, Input, Keyring, Mono, NodeId, Now,
    Output, Peer, Role, RunId, SharedConfig, StreamId, Timestamp, Version, Write,
};

const ENTRIES: u64 = 1_000_000;
const SOME: u64 = 100_000;
const WALL_MS: u64 = 1_790_000_000_000;

fn main() {
    let before = anonymous_bytes();
    let entries: Vec<Entry> = (0..ENTRIES).map(entry).collect();
    let mut pair = Pair::new();
    let started = Instant::now();
    pair.call(0, |peer, now| peer.load(now, entries));
    println!(
        "{:<36}{:>9.2?}",
        "a million entries loaded",
        started.elapsed()
    );
    let bytes = (anonymous_bytes() - before) / ENTRIES;
    let counted = pair.peers[0].shared(pair.now).bytes / ENTRIES;
    println!(
        "{:<36}{bytes:>9} bytes an entry, {counted} counted",
        "memory"
    );

    let keys: Vec<EntryKey> = (0..SOME).map(|n| key(n * 7)).collect();
    let started = Instant::now();
    for key in &keys {
        assert!(pair.peers[0].entry(pair.now, key.as_str()).is_some());
    }
    report("read", started.elapsed(), SOME);
    let started = Instant::now();
    for key in &keys {
        let write = Write::put(key, &[b'w'; 64]);
        pair.call(0, |peer, now| peer.write(now, write, Acks::Here).unwrap());
    }
    report("write, stored and told", started.elapsed(), SOME);

    let before = anonymous_bytes();
    let started = Instant::now();
    pair.meet();
    pair.until_equal();
    println!(
        "{:<36}{:>9.2?}",
        "a fresh peer has them all",
        started.elapsed()
    );
    let bytes = (anonymous_bytes() - before) / ENTRIES;
    println!("{:<36}{bytes:>9} bytes an entry", "memory of the joiner");
    println!("{:<36}{:>9} bytes on the wire", "", pair.bytes);

    // Apart for a moment, each writes five.
    pair.apart = true;
    for n in 0..10 {
        let key = key(n * ENTRIES / 10 + 3);
        let write = Write::put(&key, b"different");
        let on = (n % 2) as usize;
        pair.call(on, |peer, now| peer.write(now, write, Acks::Here).unwrap());
    }
    pair.pass(Duration::from_secs(1));
    pair.apart = false;
    pair.bytes = 0;
    let started = Instant::now();
    pair.until_equal();
    println!("{:<36}{:>9.2?}", "ten differences found", started.elapsed());
    println!("{:<36}{:>9} bytes on the wire", "", pair.bytes);
}

fn key(n: u64) -> EntryKey {
    EntryKey::new(&format!("key/{n:028}")).unwrap()
}

fn entry(n: u64) -> Entry {
    let version = Version {
        timestamp: Timestamp::from_ms(WALL_MS - 1_000_000 + n / 10),
        origin: NodeId(u128::from(n % 3)),
    };
    Entry::value_of(key(n).as_str(), version, &[b'v'; 64], None, None)
}

fn report(what: &str, took: Duration, times: u64) {
    let each = took.as_nanos() / u128::from(times);
    println!("{what:<36}{each:>9} ns");
}

fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("RssAnon"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1_024
}

/// Two peers, and what is on its way between them.
struct Pair {
    peers: [Peer; 2],
    wakes: [Option<Mono>; 2],
    /// To whom each stream leads, and what it is called there.
    streams: BTreeMap<(usize, StreamId), StreamId>,
    next_stream: u64,
    arrivals: VecDeque<(usize, Arrival)>,
    now: Now,
    bytes: usize,
    /// Nothing gets through.
    apart: bool,
}

enum Arrival {
    Packet(Vec<u8>),
    Accepted(StreamId),
    Frame(StreamId, Vec<u8>),
    Ended(StreamId),
    Stored(u64),
}

impl Pair {
    fn new() -> Self {
        let now = Now {
            mono: Mono::from_secs(1),
            wall_ms: WALL_MS,
        };
        let peers = [0, 1].map(|place| {
            let config = Config {
                cluster: "bench".parse().unwrap(),
                name: format!("n{place}").parse().unwrap(),
                role: Role::Manager,
                version: "0.1.0".into(),
                id: NodeId(7 + place as u128),
                run: RunId(7 + place as u128),
                incarnation: Incarnation(WALL_MS),
                address: address(place),
                keys: Keyring::default(),
                known: Vec::new(),
                forgotten: Vec::new(),
                probe_interval: Duration::from_secs(1),
                shared: SharedConfig {
                    bytes_max: 1 << 30,
                    ..SharedConfig::default()
                },
            };
            Peer::new(config, now, [place as u8; 32])
        });
        let mut pair = Self {
            peers,
            wakes: [None; 2],
            streams: BTreeMap::new(),
            next_stream: 1,
            arrivals: VecDeque::new(),
            now,
            bytes: 0,
            apart: false,
        };
        pair.drain(0);
        pair.drain(1);
        pair
    }

    fn call<T>(&mut self, place: usize, act: impl FnOnce(&mut Peer, Now) -> T) -> T {
        let out = act(&mut self.peers[place], self.now);
        self.drain(place);
        self.settle();
        out
    }

    fn meet(&mut self) {
        let addresses = vec![address(0)];
        self.call(1, |peer, now| {
            let provider = "static";
            peer.handle(
                now,
                Input::Candidates {
                    provider,
                    addresses,
                },
            );
        });
    }

    fn until_equal(&mut self) {
        let print = |peer: &Peer, now| {
            let shared = peer.shared(now);
            (shared.fingerprint, shared.entries)
        };
        let now = self.now;
        while print(&self.peers[0], now) != print(&self.peers[1], now) {
            self.pass(Duration::from_millis(10));
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now.mono + span;
        loop {
            let due = [0, 1]
                .into_iter()
                .filter_map(|place| Some((self.wakes[place]?, place)));
            let Some((at, place)) = due.min().filter(|(at, _)| *at <= end) else {
                break;
            };
            self.set_time(at.max(self.now.mono));
            self.wakes[place] = None;
            self.call(place, |peer, now| peer.handle(now, Input::Timeout));
        }
        self.set_time(end);
    }

    fn set_time(&mut self, mono: Mono) {
        self.now.mono = mono;
        self.now.wall_ms = WALL_MS + mono.as_millis() as u64;
    }

    fn settle(&mut self) {
        while let Some((to, arrival)) = self.arrivals.pop_front() {
            let from = address(1 - to);
            let peer = &mut self.peers[to];
            match arrival {
                Arrival::Packet(bytes) => {
                    peer.handle(
                        self.now,
                        Input::Datagram {
                            from,
                            bytes: &bytes,
                        },
                    );
                }
                Arrival::Accepted(stream) => {
                    peer.handle(self.now, Input::StreamAccepted { stream, from });
                }
                Arrival::Frame(stream, bytes) => {
                    let bytes = &bytes[..];
                    peer.handle(self.now, Input::StreamFrame { stream, bytes });
                }
                Arrival::Ended(stream) => {
                    let how = EndOfStream::Closed;
                    peer.handle(self.now, Input::StreamEnded { stream, how });
                }
                Arrival::Stored(batch) => peer.handle(self.now, Input::Stored { batch }),
            }
            self.drain(to);
        }
    }

    fn drain(&mut self, place: usize) {
        let other = 1 - place;
        while let Some(output) = self.peers[place].poll_output() {
            match output {
                Output::Send { bytes, .. } if !self.apart => {
                    self.bytes += bytes.len();
                    self.arrivals.push_back((other, Arrival::Packet(bytes)));
                }
                Output::StreamOpen { stream, .. } if !self.apart => {
                    let theirs = StreamId(self.next_stream);
                    self.next_stream += 2;
                    self.streams.insert((place, stream), theirs);
                    self.streams.insert((other, theirs), stream);
                    self.arrivals.push_back((other, Arrival::Accepted(theirs)));
                }
                Output::StreamSend { stream, bytes } if !self.apart => {
                    if let Some(theirs) = self.streams.get(&(place, stream)) {
                        self.bytes += bytes.len();
                        self.arrivals
                            .push_back((other, Arrival::Frame(*theirs, bytes)));
                    }
                }
                Output::StreamClose { stream } => {
                    if let Some(theirs) = self.streams.remove(&(place, stream)) {
                        self.streams.remove(&(other, theirs));
                        self.arrivals.push_back((other, Arrival::Ended(theirs)));
                    }
                }
                Output::Store { batch, .. } => {
                    self.arrivals.push_back((place, Arrival::Stored(batch)));
                }
                Output::WakeAt { at, .. } => self.wakes[place] = Some(at),
                _ => {}
            }
        }
    }
}

fn address(place: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1 + place as u8], 7781))
}
