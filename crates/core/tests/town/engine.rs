//! Engine: how the town's packets, streams and clocks move, one arrival at a time.

use super::*;

impl Town {
    /// The next thing that happens; `false` when that is after `end`.
    pub(super) fn step(&mut self, end: Mono) -> bool {
        let arrival = self.arrivals.keys().next().map(|(at, _)| *at);
        let woken = self
            .residents
            .iter()
            .enumerate()
            .filter(|(_, resident)| !resident.stopped)
            .filter_map(|(place, resident)| Some((resident.wake?, place)))
            .min();
        let next = arrival.into_iter().chain(woken.map(|(at, _)| at)).min();
        let Some(next) = next.filter(|next| *next <= end) else {
            return false;
        };
        self.now = self.now.max(next);
        if arrival == Some(next) {
            let (_, arrival) = self.arrivals.pop_first().unwrap();
            self.arrive(arrival);
        } else if let Some((_, place)) = woken {
            self.residents[place].wake = None;
            self.feed(place, Input::Timeout);
        }
        true
    }

    pub(super) fn arrive(&mut self, arrival: Arrival) {
        let to = match &arrival {
            Arrival::Datagram { to, .. }
            | Arrival::Beacon { to, .. }
            | Arrival::Unreachable { to, .. }
            | Arrival::Frame { to, .. }
            | Arrival::End { to, .. } => *to,
            Arrival::Open { from, stream, to } => return self.connect(*from, *stream, *to),
        };
        if self.residents[to].stopped {
            // It waits in the socket buffer until the process goes on.
            self.later(Duration::from_millis(10), arrival);
            return;
        }
        match arrival {
            Arrival::Datagram { from, bytes, .. } => {
                if let Some(recorded) = &mut self.recorded {
                    recorded.push((from, self.residents[to].address, bytes.clone()));
                }
                self.feed(
                    to,
                    Input::Datagram {
                        from,
                        bytes: &bytes,
                    },
                );
            }
            Arrival::Beacon { from, bytes, .. } => self.feed(
                to,
                Input::Beacon {
                    from,
                    bytes: &bytes,
                    provider: "multicast",
                },
            ),
            Arrival::Unreachable { peer, .. } => self.feed(to, Input::Unreachable { peer }),
            Arrival::Frame { stream, bytes, .. } => {
                self.feed(
                    to,
                    Input::StreamFrame {
                        stream,
                        bytes: &bytes,
                    },
                );
            }
            Arrival::End { stream, how, .. } => {
                self.wires.remove(&(to, stream));
                self.feed(to, Input::StreamEnded { stream, how });
            }
            Arrival::Open { .. } => {}
        }
    }

    pub(super) fn connect(&mut self, from: usize, stream: StreamId, to: SocketAddr) {
        let Some(place) = self.at(to) else {
            return;
        };
        if self.cuts.contains(&(from, place)) || self.cuts.contains(&(place, from)) {
            let how = EndOfStream::Broken;
            return self.later(
                Duration::from_millis(500),
                Arrival::End {
                    to: from,
                    stream,
                    how,
                },
            );
        }
        if self.residents[place].peer.is_none() {
            let how = EndOfStream::Refused;
            return self.later(
                self.latency,
                Arrival::End {
                    to: from,
                    stream,
                    how,
                },
            );
        }
        // The shell's handshake: strangers get no stream.
        let (one, other) = (&self.residents[from], &self.residents[place]);
        if (&one.keys, &one.cluster) != (&other.keys, &other.cluster) {
            let how = EndOfStream::Broken;
            return self.later(
                self.latency,
                Arrival::End {
                    to: from,
                    stream,
                    how,
                },
            );
        }
        self.serial += 1;
        let theirs = StreamId(self.serial * 2 + 1);
        self.wires.insert((from, stream), (place, theirs));
        self.wires.insert((place, theirs), (from, stream));
        let from = self.residents[from].address;
        self.feed(
            place,
            Input::StreamAccepted {
                stream: theirs,
                from,
            },
        );
    }

    pub(super) fn end_wire(&mut self, end: (usize, StreamId)) {
        let Some((to, stream)) = self.wires.remove(&end) else {
            return;
        };
        let cut = self.cuts.contains(&(end.0, to));
        if self.evidence && !cut {
            let how = EndOfStream::Closed;
            self.later(self.latency, Arrival::End { to, stream, how });
        }
    }

    pub(super) fn feed(&mut self, place: usize, input: Input<'_>) {
        let now = self.clock_of(place);
        let seed = self.seed();
        let Some(peer) = self.residents[place].peer.as_mut() else {
            return;
        };
        if peer.slept(now) {
            peer.handle(now, Input::Thawed { seed });
        }
        peer.handle(now, input);
        self.drain(place);
    }

    pub(super) fn drain(&mut self, place: usize) {
        while let Some(output) = self.residents[place]
            .peer
            .as_mut()
            .and_then(Peer::poll_output)
        {
            self.carry_out(place, output);
        }
    }

    pub(super) fn carry_out(&mut self, place: usize, output: Output) {
        let from = self.residents[place].address;
        match output {
            Output::Send { to, bytes } => {
                assert!(bytes.len() <= 1_200, "packet of {} bytes", bytes.len());
                self.sent += 1;
                let Some(target) = self.at(to) else {
                    return;
                };
                let lost = self.draw() % 100 < self.loss_percent;
                let blocked = self.udp_cuts.contains(&(place, target));
                if self.cuts.contains(&(place, target)) || blocked || lost {
                    return;
                }
                if self.residents[target].peer.is_some() {
                    let arrival = Arrival::Datagram {
                        to: target,
                        from,
                        bytes,
                    };
                    self.later(self.latency, arrival);
                } else if self.evidence && !self.cuts.contains(&(target, place)) {
                    self.later(
                        self.latency,
                        Arrival::Unreachable {
                            to: place,
                            peer: to,
                        },
                    );
                }
            }
            Output::Beacon { bytes } => {
                for target in 0..self.residents.len() {
                    let reaches = self.multicast
                        && !self.cuts.contains(&(place, target))
                        && !self.udp_cuts.contains(&(place, target));
                    if reaches && self.residents[target].peer.is_some() {
                        let bytes = bytes.clone();
                        self.later(
                            self.latency,
                            Arrival::Beacon {
                                to: target,
                                from,
                                bytes,
                            },
                        );
                    }
                }
            }
            Output::StreamOpen { stream, to } => {
                self.later(
                    self.latency,
                    Arrival::Open {
                        from: place,
                        stream,
                        to,
                    },
                );
            }
            Output::StreamSend { stream, bytes } => {
                // The frame follows the connection, which takes one latency.
                if let Some((to, stream)) = self.wires.get(&(place, stream)).copied() {
                    if !self.cuts.contains(&(place, to)) {
                        self.later(self.latency, Arrival::Frame { to, stream, bytes });
                    }
                } else {
                    self.send_once_open(place, stream, bytes);
                }
            }
            Output::StreamClose { stream } => self.end_wire((place, stream)),
            Output::Persist(record) => self.residents[place].record = Some(record),
            Output::Event(event) => {
                let now = self.now;
                self.residents[place].events.push((now, event));
            }
            Output::WakeAt { at, .. } => self.residents[place].wake = Some(at),
        }
    }

    /// Frames sent before the stream is open wait for it: looked up when it is.
    pub(super) fn send_once_open(&mut self, place: usize, stream: StreamId, bytes: Vec<u8>) {
        let opening = self
            .arrivals
            .iter()
            .find_map(|((at, _), arrival)| match arrival {
                Arrival::Open {
                    from,
                    stream: opening,
                    to,
                } if (*from, *opening) == (place, stream) => Some((*at, *to)),
                _ => None,
            });
        let Some((_, to)) = opening else {
            return;
        };
        // Open now instead of a latency later, so that the frame has a wire.
        let key = self
            .arrivals
            .iter()
            .find_map(|(key, arrival)| match arrival {
                Arrival::Open {
                    from,
                    stream: opening,
                    ..
                } if (*from, *opening) == (place, stream) => Some(*key),
                _ => None,
            });
        if let Some(key) = key {
            self.arrivals.remove(&key);
        }
        self.connect(place, stream, to);
        if let Some((to, stream)) = self.wires.get(&(place, stream)).copied() {
            self.later(self.latency, Arrival::Frame { to, stream, bytes });
        }
    }

    pub(super) fn later(&mut self, delay: Duration, arrival: Arrival) {
        self.serial += 1;
        self.arrivals
            .insert((self.now + delay, self.serial), arrival);
    }

    pub(super) fn clock_of(&self, place: usize) -> Now {
        let true_ms = EPOCH_MS + self.now.as_millis() as u64;
        Now {
            mono: self.now,
            wall_ms: true_ms.saturating_add_signed(self.residents[place].wall_ahead_ms),
        }
    }

    /// Who has this address: the last that moved in there.
    pub(super) fn at(&self, address: SocketAddr) -> Option<usize> {
        self.residents
            .iter()
            .position(|resident| resident.address == address)
    }

    pub(super) fn place(&self, name: &str) -> usize {
        let place = self
            .residents
            .iter()
            .position(|resident| resident.name == name);
        place.unwrap_or_else(|| panic!("nobody is called {name}"))
    }

    pub(super) fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        for chunk in seed.chunks_mut(8) {
            chunk.copy_from_slice(&self.draw().to_le_bytes());
        }
        seed
    }

    /// SplitMix64: a story replays from its seed alone.
    pub(super) fn draw(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
