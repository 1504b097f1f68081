//! Story: what happens to a node, step by step, and what must hold after each.

use std::time::Duration;

use dui_core::entry::VALUE_BYTES_MAX;
use dui_core::seal::Channel;
use dui_core::wire::{FRAME_BYTES_MAX, PACKET_BYTES_MAX, Packet};
use dui_core::{
    Acks, ClusterName, Config, EndOfStream, EntryKey, Event, Incarnation, Input, Key, Keyring,
    MemberState, NodeId, Now, Output, Peer, Role, RunId, SharedConfig, StreamId, Write,
};
use libfuzzer_sys::arbitrary::{self, Arbitrary};

use crate::liar::{Id, Info, Liar, Part, Place};

pub(crate) const OWN: NodeId = NodeId(0x4f57_4e00_0000_0000_0000_0000_0000_0000);
pub(crate) const WALL_MS: u64 = 1_700_000_000_000;

/// Outputs of one step. A frame of 64 KiB asks for much, but not for more.
const OUTPUTS_MAX: usize = 8_192;
/// Wake-ups within one second of the node's time.
const WAKES_MAX: usize = 5_000;

#[derive(Arbitrary, Debug)]
pub(crate) struct Story {
    keyed: bool,
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Wait {
        ms: u16,
    },
    /// Time passes unnoticed, as while the machine sleeps.
    Sleep {
        ms: u32,
        noticed: bool,
    },
    Packet {
        from: Place,
        body: Bytes,
    },
    Beacon {
        from: Place,
        body: Bytes,
    },
    LiarsBeacon {
        from: Place,
        info: Info,
        view: u64,
    },
    Unreachable(Place),
    Accept {
        stream: u8,
        from: Place,
    },
    Frame {
        stream: u8,
        body: Bytes,
    },
    End {
        stream: u8,
        how: u8,
    },
    Candidates {
        places: Vec<Place>,
        file: bool,
    },
    Publish {
        name_bytes: u8,
        payload_bytes: u16,
    },
    Write {
        key: u8,
        /// 0: a delete.
        value_bytes: u32,
        acks: u8,
    },
    /// What is to be stored from now on is, or is not.
    Disk {
        full: bool,
    },
    Recover {
        keep: bool,
    },
    Leave,
    Forget {
        whom: Id,
        force: bool,
    },
}

#[derive(Arbitrary, Debug)]
enum Bytes {
    Noise(Vec<u8>),
    /// Sealed, of our cluster, of somebody, and then noise.
    Garbled {
        from: Id,
        noise: Vec<u8>,
    },
    Lies {
        from: Id,
        echo: bool,
        parts: Vec<Part>,
    },
}

struct Stage {
    peer: Peer,
    liar: Liar,
    now: Now,
    wake: Option<Duration>,
    streams: Vec<StreamId>,
    /// The last batch of entries that was to be stored.
    stored: Option<u64>,
    full: bool,
    incarnation: Incarnation,
    over: bool,
}

/// As long as may be: what it says has to fit its packets all the same.
pub(crate) fn cluster() -> ClusterName {
    "green".repeat(12).parse().expect("60 letters are a name")
}

pub(crate) fn tell(story: Story) {
    let mut stage = Stage::new(story.keyed);
    for step in story.steps {
        stage.play(step);
        stage.check();
        if stage.over {
            return;
        }
    }
    // Whatever happened, time goes on.
    stage.wait(Duration::from_secs(5));
    stage.check();
}

impl Stage {
    fn new(keyed: bool) -> Self {
        let key = Key::from_slice(&[0x6b; 32]).expect("32 bytes");
        let keys = Keyring::new(if keyed { vec![key] } else { vec![] }).expect("one key");
        let now = Now {
            mono: Duration::from_secs(1_000),
            wall_ms: WALL_MS,
        };
        let config = Config {
            cluster: cluster(),
            name: "honest".repeat(10).parse().expect("60 letters are a name"),
            role: Role::Manager,
            version: "1".repeat(32),
            id: OWN,
            run: RunId(7),
            incarnation: Incarnation(WALL_MS),
            address: Place(0).address(),
            keys: keys.clone(),
            known: vec![],
            forgotten: vec![],
            probe_interval: Duration::from_secs(1),
            shared: SharedConfig {
                bytes_max: 1 << 20,
                ..SharedConfig::default()
            },
        };
        let mut stage = Self {
            peer: Peer::new(config, now, [1; 32]),
            liar: Liar::new(keys),
            now,
            wake: None,
            streams: vec![],
            stored: None,
            full: false,
            incarnation: Incarnation(0),
            over: false,
        };
        stage.drain();
        stage
    }

    fn play(&mut self, step: Step) {
        match step {
            Step::Wait { ms } => self.wait(Duration::from_millis(ms.into())),
            Step::Sleep { ms, noticed } => {
                self.pass(Duration::from_millis(ms.into()));
                if noticed {
                    self.hand_in(Input::Thawed {
                        seed: [ms as u8; 32],
                    });
                }
            }
            Step::Packet { from, body } => {
                let bytes = self.make(Some(Channel::Packet), body);
                self.hand_in(Input::Datagram {
                    from: from.address(),
                    bytes: &bytes,
                });
            }
            Step::Beacon { from, body } => {
                let bytes = self.make(Some(Channel::Packet), body);
                self.hear_beacon(from, &bytes);
            }
            Step::LiarsBeacon { from, info, view } => {
                let bytes = self.liar.beacon(info, view);
                self.hear_beacon(from, &bytes);
            }
            Step::Unreachable(place) => {
                self.hand_in(Input::Unreachable {
                    peer: place.address(),
                });
            }
            Step::Accept { stream, from } => {
                let stream = StreamId(u64::from(stream) * 2 + 1);
                self.streams.push(stream);
                self.hand_in(Input::StreamAccepted {
                    stream,
                    from: from.address(),
                });
            }
            Step::Frame { stream, body } => {
                let bytes = self.make(None, body);
                if let Some(stream) = self.stream(stream) {
                    self.hand_in(Input::StreamFrame {
                        stream,
                        bytes: &bytes,
                    });
                }
            }
            Step::End { stream, how } => {
                if let Some(stream) = self.stream(stream) {
                    let how = match how % 3 {
                        0 => EndOfStream::Refused,
                        1 => EndOfStream::Closed,
                        _ => EndOfStream::Broken,
                    };
                    self.streams.retain(|&other| other != stream);
                    self.hand_in(Input::StreamEnded { stream, how });
                }
            }
            Step::Candidates { places, file } => self.hand_in(Input::Candidates {
                provider: if file { "file" } else { "static" },
                addresses: places.into_iter().map(Place::address).collect(),
            }),
            Step::Publish {
                name_bytes,
                payload_bytes,
            } => {
                let name = "n".repeat(name_bytes.into());
                let payload = vec![0; payload_bytes.into()];
                let _ = self.peer.publish(self.now, &name, &payload);
                self.drain();
            }
            Step::Write {
                key,
                value_bytes,
                acks,
            } => {
                let key = EntryKey::new(&format!("k{}", key % 32)).expect("a short key");
                let acks = match acks % 4 {
                    0 => Acks::All,
                    1 => Acks::Here,
                    n => Acks::Count(n.into()),
                };
                let value = vec![b'w'; value_bytes as usize % (VALUE_BYTES_MAX + 2)];
                if value.is_empty() {
                    let _ = self.peer.delete(self.now, &key, acks);
                } else {
                    let _ = self.peer.write(self.now, Write::put(&key, &value), acks);
                }
                self.drain();
                self.store();
            }
            Step::Disk { full } => self.full = full,
            Step::Recover { keep } => {
                self.peer.recover_shared(self.now, keep);
                self.drain();
                self.store();
            }
            Step::Leave => {
                self.peer.leave(self.now);
                self.drain();
            }
            Step::Forget { whom, force } => {
                let _ = self.peer.forget(self.now, whom.id(), force);
                self.drain();
            }
        }
    }

    /// As a packet of a channel, or as a frame of a stream.
    fn make(&mut self, channel: Option<Channel>, body: Bytes) -> Vec<u8> {
        match body {
            Bytes::Noise(bytes) => bytes,
            Bytes::Garbled { from, noise } => {
                let mut body = Packet::new(from.id()).encode(&cluster());
                body.extend(noise);
                self.liar.seal(channel, &body)
            }
            Bytes::Lies { from, echo, parts } => self.liar.say(channel, from, echo, parts),
        }
    }

    fn hear_beacon(&mut self, from: Place, bytes: &[u8]) {
        let (from, provider) = (from.address(), "multicast");
        self.hand_in(Input::Beacon {
            from,
            bytes,
            provider,
        });
    }

    fn stream(&self, n: u8) -> Option<StreamId> {
        let n = usize::from(n).checked_rem(self.streams.len())?;
        Some(self.streams[n])
    }

    fn hand_in(&mut self, input: Input<'_>) {
        self.peer.handle(self.now, input);
        self.drain();
        self.store();
    }

    fn store(&mut self) {
        while let Some(batch) = self.stored.take() {
            let input = if self.full {
                let reason = "full".into();
                Input::StoreFailed { batch, reason }
            } else {
                Input::Stored { batch }
            };
            self.peer.handle(self.now, input);
            self.drain();
        }
    }

    /// Lets the node have every wake-up that it asks for.
    fn wait(&mut self, time: Duration) {
        let end = self.now.mono + time;
        let wakes_max = WAKES_MAX * (1 + time.as_secs() as usize);
        for _ in 0..wakes_max {
            match self.wake {
                Some(at) if at <= end => {
                    self.pass(at.saturating_sub(self.now.mono));
                    self.hand_in(Input::Timeout);
                }
                _ => {
                    self.pass(end - self.now.mono);
                    return;
                }
            }
            if self.over {
                return;
            }
        }
        panic!(
            "{wakes_max} wake-ups in {time:?}, the last at {:?}",
            self.wake
        );
    }

    fn pass(&mut self, time: Duration) {
        self.now.mono += time;
        self.now.wall_ms = WALL_MS + (self.now.mono.as_millis() as u64 - 1_000_000);
    }

    fn drain(&mut self) {
        let mut outputs = 0;
        while let Some(output) = self.peer.poll_output() {
            outputs += 1;
            assert!(outputs <= OUTPUTS_MAX, "one step causes a storm");
            match output {
                Output::Send { bytes, .. } => {
                    assert!(bytes.len() <= PACKET_BYTES_MAX);
                    self.liar.listen(Some(Channel::Packet), &bytes);
                }
                Output::Beacon { bytes } => assert!(bytes.len() <= PACKET_BYTES_MAX),
                Output::StreamOpen { stream, .. } => self.streams.push(stream),
                Output::StreamSend { bytes, .. } => {
                    assert!(bytes.len() <= FRAME_BYTES_MAX);
                    self.liar.listen(None, &bytes);
                }
                Output::StreamClose { stream } => self.streams.retain(|&other| other != stream),
                Output::Event(Event::Fatal(_)) => self.over = true,
                Output::Persist(_) | Output::Event(_) | Output::Written { .. } => {}
                Output::Store { batch, .. } => self.stored = Some(batch),
                Output::WakeAt { at, .. } => {
                    assert!(at >= self.now.mono, "a wake-up in the past");
                    self.wake = Some(at);
                }
            }
        }
    }

    fn check(&mut self) {
        let members = self.peer.members();
        assert!(members.len() <= 65_536, "{} members", members.len());
        assert!(self.peer.events().len() <= 1_024);
        let this = self.peer.this();
        assert!(members.contains(&this.member), "a node lists itself");
        let want = if this.leaving {
            MemberState::Left
        } else {
            MemberState::Alive
        };
        assert_eq!(this.member.state, want, "a node knows how it is");
        assert!(
            this.member.incarnation >= self.incarnation,
            "it never goes back"
        );
        self.incarnation = this.member.incarnation;
        let shared = self.peer.shared(self.now);
        // One more of the largest may have been let in.
        assert!(shared.bytes <= shared.bytes_max + shared.bytes_max / 4 + (1 << 21));
        let listed = self.peer.list(self.now, "", None, usize::MAX);
        assert!(listed.len() <= shared.entries, "{listed:?}, {shared:?}");
        for entry in listed {
            assert_eq!(self.peer.entry(self.now, entry.key()), Some(entry));
        }
    }
}
