//! Peer: whatever the world says, in any order, a node goes on within its bounds.
//!
//! The input is a list of steps: packets (garbled, or well begun so that they
//! get past the cluster name), beacons, streams that come, talk and end,
//! refusals, the owner's commands, and time that passes.

#![no_main]

use std::net::SocketAddr;
use std::time::Duration;

use dui_core::wire::{FRAME_BYTES_MAX, PACKET_BYTES_MAX, Packet};
use dui_core::{
    ClusterName, Config, EndOfStream, Incarnation, Input, Keyring, NodeId, Now, Output, Peer, Role,
    RunId, StreamId,
};
use libfuzzer_sys::fuzz_target;

const WALL_MS: u64 = 1_700_000_000_000;
/// More than any one input may make a node say; a loop would pass it at once.
const OUTPUTS_MAX: usize = 20_000;
const STEPS_MAX: usize = 64;

fuzz_target!(|bytes: &[u8]| {
    let mut town = Town::new();
    let mut rest = bytes;
    for _ in 0..STEPS_MAX {
        let [what, length, more @ ..] = rest else {
            break;
        };
        // Up to 1,020 bytes: long enough for the largest lists.
        let (said, after) = more.split_at(more.len().min(usize::from(*length) * 4));
        rest = after;
        town.step(*what, said);
    }
    town.wait(Duration::from_secs(30));
});

/// One node and everybody who talks to it.
struct Town {
    peer: Peer,
    cluster: ClusterName,
    now: Now,
    /// When the node wants to be woken.
    wake: Duration,
    /// The latest stream, of whichever side.
    stream: StreamId,
    accepted: u64,
}

impl Town {
    fn new() -> Self {
        let cluster: ClusterName = "dui".parse().expect("a valid name");
        let now = Now {
            mono: Duration::from_secs(1),
            wall_ms: WALL_MS,
        };
        let config = Config {
            cluster: cluster.clone(),
            name: "ann".parse().expect("a valid name"),
            role: Role::Manager,
            version: "0.0.0".into(),
            id: NodeId(1),
            run: RunId(1),
            incarnation: Incarnation(WALL_MS),
            address: address(0),
            keys: Keyring::default(),
            streams: true,
            known: Vec::new(),
            forgotten: Vec::new(),
            probe_interval: Duration::from_secs(1),
        };
        let mut town = Self {
            peer: Peer::new(config, now, [3; 32]),
            cluster,
            now,
            wake: Duration::MAX,
            stream: StreamId(1),
            accepted: 1,
        };
        town.drain();
        town
    }

    fn step(&mut self, what: u8, said: &[u8]) {
        let who = what >> 5;
        let from = address(who);
        match what & 0x1f {
            0..=7 => {
                let bytes = self.well_begun(who, said);
                self.hear(Input::Datagram {
                    from,
                    bytes: &bytes,
                });
            }
            8 => self.hear(Input::Datagram { from, bytes: said }),
            9 | 10 => {
                let mut bytes = vec![1, 0, 0, 0, 0];
                bytes.extend(said);
                self.hear(Input::Beacon {
                    from,
                    bytes: &bytes,
                    provider: "multicast",
                });
            }
            11 => {
                self.accepted += 2;
                self.stream = StreamId(self.accepted);
                self.hear(Input::StreamAccepted {
                    stream: self.stream,
                    from,
                });
            }
            12..=15 => {
                let bytes = self.well_begun(who, said);
                self.hear(Input::StreamFrame {
                    stream: self.stream,
                    bytes: &bytes,
                });
            }
            16 => self.hear(Input::StreamFrame {
                stream: self.stream,
                bytes: said,
            }),
            17 => self.end_stream(EndOfStream::Refused),
            18 => self.end_stream(EndOfStream::Closed),
            19 => self.end_stream(EndOfStream::Broken),
            20 => self.hear(Input::Unreachable { peer: from }),
            21 => {
                let addresses = (0..who).map(address).collect();
                self.hear(Input::Candidates {
                    provider: "static",
                    addresses,
                });
            }
            22 => self.hear(Input::Thawed { seed: [who; 32] }),
            23 => {
                let name = String::from_utf8_lossy(said);
                // Refusing a bad name is as good as taking a good one.
                let _ = self.peer.publish(self.now, &name, said);
                self.drain();
            }
            24 => {
                self.peer.leave(self.now);
                self.drain();
            }
            25 => {
                let id = NodeId(u128::from(who) + 1);
                let _ = self.peer.forget(self.now, id, said.is_empty());
                self.drain();
            }
            26 => self.hear(Input::Timeout),
            _ => self.wait(Duration::from_millis(40 << who)),
        }
    }

    /// A packet in clear of this cluster, from one of a few ids, that goes on
    /// with `said`: concatenated messages are one message.
    fn well_begun(&self, who: u8, said: &[u8]) -> Vec<u8> {
        let mut bytes = vec![1, 0, 0, 0, 0];
        bytes.extend(Packet::new(NodeId(u128::from(who) + 1)).encode(&self.cluster));
        bytes.extend(said);
        bytes
    }

    fn end_stream(&mut self, how: EndOfStream) {
        self.hear(Input::StreamEnded {
            stream: self.stream,
            how,
        });
    }

    fn hear(&mut self, input: Input<'_>) {
        self.peer.handle(self.now, input);
        self.drain();
    }

    /// Lets time pass; the node is woken whenever it asked to be.
    fn wait(&mut self, span: Duration) {
        let until = self.now.mono + span;
        for _ in 0..10_000 {
            if self.wake > until {
                break;
            }
            self.advance(self.wake.max(self.now.mono + Duration::from_micros(1)));
            self.hear(Input::Timeout);
        }
        self.advance(until);
        self.hear(Input::Timeout);
    }

    fn advance(&mut self, mono: Duration) {
        self.now.mono = self.now.mono.max(mono);
        self.now.wall_ms = WALL_MS + self.now.mono.as_millis() as u64;
    }

    /// Takes what the node has to say, and holds it to its bounds.
    fn drain(&mut self) {
        for _ in 0..OUTPUTS_MAX {
            match self.peer.poll_output() {
                Some(Output::Send { bytes, .. } | Output::Beacon { bytes }) => {
                    assert!(bytes.len() <= PACKET_BYTES_MAX, "{} bytes", bytes.len());
                }
                Some(Output::StreamSend { bytes, .. }) => {
                    assert!(bytes.len() <= FRAME_BYTES_MAX, "{} bytes", bytes.len());
                }
                Some(Output::StreamOpen { stream, .. }) => self.stream = stream,
                Some(Output::WakeAt { at, .. }) => self.wake = at,
                Some(_) => {}
                None => return,
            }
        }
        panic!("one input made the node say more than {OUTPUTS_MAX} things");
    }
}

fn address(who: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, who + 1], 7781))
}
