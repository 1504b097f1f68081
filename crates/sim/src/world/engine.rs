//! Engine: one thing happens, and a process does what follows from it.
//!
//! The order within a process is the order of the node's shell: a sleep is
//! told first, then the input, then every output is carried out; what has
//! arrived is read before the timer is looked at.

use std::time::Duration;

use dui_core::{Event, Input, Mono, Now, Output, Peer};

use super::{Deed, Happening, News, World};
use crate::disk::SYNC;
use crate::host::{Arrival, Pause, Place};
use crate::queue::Ns;

/// Inputs that a process takes before it looks at its timer again.
const BATCH_MAX: usize = 64;

impl World {
    pub(super) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Datagram { to, from, bytes } => self.datagram_arrives(to, from, bytes),
            Happening::Beacon { to, from, bytes } => {
                if self.hosts[to].is_reachable() {
                    self.deliver(to, Arrival::Beacon { from, bytes });
                }
            }
            Happening::Unreachable { to, life, peer } => {
                if self.lives(to, life) && self.hosts[to].is_reachable() {
                    self.deliver(to, Arrival::Unreachable { peer });
                }
            }
            Happening::Connect { wire } => self.connect(wire),
            Happening::Segment {
                wire,
                from_end,
                segment,
            } => self.segment_arrives(wire, from_end, segment),
            Happening::Retransmit { wire, end } => self.retransmit(wire, end),
            Happening::FirstFrame { wire } => self.expect_first_frame(wire),
            Happening::StreamEnd {
                to,
                life,
                stream,
                how,
            } => {
                if self.lives(to, life) {
                    self.deliver(to, Arrival::Ended { stream, how });
                }
            }
            Happening::Wake { to, life } => self.wake(to, life),
            Happening::GoOn { to, life } => {
                if self.lives(to, life) {
                    self.go_on(to);
                }
            }
            Happening::Write { to, life } => {
                let (now, host) = (self.now, &mut self.hosts[to]);
                if host.life == life && host.process.is_some() && host.disk.is_due(now) {
                    let again = host.disk.retry(now);
                    self.plan_write(to, again);
                }
            }
            Happening::GiveUpLeaving { to, life } => {
                if self.lives(to, life) {
                    self.end_process(to, true);
                }
            }
            Happening::Store {
                to,
                life,
                batch,
                entries,
                removed,
            } => {
                // What was on its way when its process died did not get there.
                if self.lives(to, life) {
                    let stored = self.hosts[to].disk.store(entries, &removed);
                    self.deliver(to, Arrival::Stored { batch, stored });
                }
            }
        }
    }

    pub(super) fn lives(&self, place: Place, life: u32) -> bool {
        let host = &self.hosts[place];
        host.life == life && host.process.is_some()
    }

    /// Something reaches a process: read now, or kept until it reads.
    pub(super) fn deliver(&mut self, to: Place, arrival: Arrival) {
        let now = self.now;
        let Some(process) = &mut self.hosts[to].process else {
            return;
        };
        let waits = process.pause != Pause::No
            || process.busy_until > now
            || process.goes_on
            || !process.inbox.is_empty();
        if waits {
            if !process.keep(arrival) {
                self.traffic.overflowed += 1;
            }
            return self.plan_going_on(to);
        }
        self.feed(to, arrival);
    }

    /// A process that has something to read or to compute goes on when it can.
    pub(super) fn plan_going_on(&mut self, place: Place) {
        let (now, host) = (self.now, &mut self.hosts[place]);
        let life = host.life;
        if let Some(process) = &mut host.process
            && process.pause == Pause::No
            && !process.goes_on
        {
            process.goes_on = true;
            let at = process.busy_until.max(now);
            self.queue.push(at, Happening::GoOn { to: place, life });
        }
    }

    /// Reads what has come, then does what is due.
    fn go_on(&mut self, place: Place) {
        if let Some(process) = &mut self.hosts[place].process {
            process.goes_on = false;
        }
        let mut batch = 0;
        loop {
            let now = self.now;
            let Some(process) = &mut self.hosts[place].process else {
                return;
            };
            if process.pause != Pause::No {
                return;
            }
            if process.busy_until > now {
                return self.plan_going_on(place);
            }
            match process.read() {
                Some(arrival) => self.feed(place, arrival),
                None => break,
            }
            batch += 1;
            if batch % BATCH_MAX == 0 {
                self.do_what_is_due(place);
            }
        }
        self.do_what_is_due(place);
    }

    fn wake(&mut self, place: Place, life: u32) {
        let now = self.now;
        if !self.lives(place, life) {
            return;
        }
        let Some(process) = &mut self.hosts[place].process else {
            return;
        };
        // An earlier wake-up has replaced it, or it has been one itself.
        if process.armed != Some(now) {
            return;
        }
        process.armed = None;
        if process.pause != Pause::No {
            return;
        }
        if process.busy_until > now || !process.inbox.is_empty() || process.goes_on {
            return self.plan_going_on(place);
        }
        self.do_what_is_due(place);
    }

    /// Calls the core if its time has come, else sees to it that it is called then.
    fn do_what_is_due(&mut self, place: Place) {
        let host = &mut self.hosts[place];
        let mono = host.clock.now(self.now).mono;
        let Some(process) = &mut host.process else {
            return;
        };
        match process.wake {
            Some((at, why)) if at <= mono => {
                process.wake = None;
                if self.trace.is_on() {
                    let name = &self.hosts[place].name;
                    self.trace.note(self.now, name, "due", &why, &[]);
                }
                self.handle(place, Input::Timeout);
            }
            Some(_) => self.arm(place),
            None => {}
        }
    }

    /// Plans a wake-up, unless one is planned that comes no later.
    fn arm(&mut self, place: Place) {
        let host = &mut self.hosts[place];
        let life = host.life;
        let Some(process) = &mut host.process else {
            return;
        };
        let Some((at, _)) = process.wake else {
            return;
        };
        let at = host.clock.when(at).max(self.now);
        if process.armed.is_none_or(|armed| at < armed) {
            process.armed = Some(at);
            self.queue.push(at, Happening::Wake { to: place, life });
        }
    }

    /// One input from the network or the system.
    fn feed(&mut self, place: Place, arrival: Arrival) {
        match &arrival {
            Arrival::Datagram { from, bytes } => {
                let from = *from;
                if let Some(recorded) = &mut self.recorded {
                    recorded.push((from, self.hosts[place].address, bytes.clone()));
                }
                self.handle(place, Input::Datagram { from, bytes });
            }
            Arrival::Beacon { from, bytes } => {
                let input = Input::Beacon {
                    from: *from,
                    bytes,
                    provider: "multicast",
                };
                self.handle(place, input);
            }
            Arrival::Unreachable { peer } => {
                self.handle(place, Input::Unreachable { peer: *peer });
            }
            Arrival::Accepted { stream, from } => {
                let (stream, from) = (*stream, *from);
                self.handle(place, Input::StreamAccepted { stream, from });
            }
            Arrival::Frame { stream, bytes } => {
                // Of a stream that was closed meanwhile nothing is told.
                if self.has_stream(place, *stream) {
                    let stream = *stream;
                    self.handle(place, Input::StreamFrame { stream, bytes });
                }
            }
            Arrival::Refused { refusal, stranger } => {
                let (refusal, stranger) = (refusal.clone(), *stranger);
                self.handle(place, Input::StreamRefused { refusal, stranger });
            }
            Arrival::Ended { stream, how } => {
                if self.drop_stream(place, *stream) {
                    let (stream, how) = (*stream, *how);
                    self.handle(place, Input::StreamEnded { stream, how });
                }
            }
            Arrival::Stored { batch, stored } => {
                let (batch, reason) = (*batch, "the disk is full".into());
                let input = match stored {
                    true => Input::Stored { batch },
                    false => Input::StoreFailed { batch, reason },
                };
                self.handle(place, input);
            }
            Arrival::Candidates { addresses } => {
                let input = Input::Candidates {
                    provider: "static",
                    addresses: addresses.clone(),
                };
                self.handle(place, input);
            }
        }
    }

    /// Hands one input to the core and carries out what follows.
    pub(super) fn handle(&mut self, place: Place, input: Input<'_>) {
        if self.trace.is_on() {
            self.trace_input(place, &input);
        }
        self.traffic.inputs += 1;
        self.call(place, |peer, now| peer.handle(now, input));
    }

    /// Calls the core, which learns first that it slept, and carries out what follows.
    pub(super) fn call<T>(
        &mut self,
        place: Place,
        act: impl FnOnce(&mut Peer, Now) -> T,
    ) -> Option<T> {
        let host = &mut self.hosts[place];
        let now = host.clock.now(self.now);
        let cost = host.cost.as_nanos() as Ns;
        let members = |peer: &Peer| peer.live() as u64;
        let merge_cost = host.merge_cost.as_nanos() as Ns;
        let process = host.process.as_mut()?;
        if process.peer.slept(now) {
            let seed = self.dice.entropy();
            process.peer.handle(now, Input::Thawed { seed });
        }
        let before = members(&process.peer);
        let told = act(&mut process.peer, now);
        let merged = members(&process.peer).saturating_sub(before);
        let cost = cost + merge_cost * merged;
        process.busy_until = self.now + cost;
        self.carry_out(place);
        if cost > 0 {
            self.plan_going_on(place);
        }
        Some(told)
    }

    /// Carries out everything that the core has decided.
    pub(super) fn carry_out(&mut self, place: Place) {
        let mut ends = false;
        while let Some(process) = &mut self.hosts[place].process
            && let Some(output) = process.peer.poll_output()
        {
            ends |= self.carry_out_one(place, output);
        }
        if ends {
            self.end_process(place, true);
        } else {
            self.arm(place);
        }
    }

    /// `true` when the process ends of itself now.
    fn carry_out_one(&mut self, place: Place, output: Output) -> bool {
        if self.trace.covers_outputs() {
            self.trace_output(place, &output);
        }
        match output {
            Output::Send { to, bytes } => self.send_datagram(place, to, bytes),
            Output::Beacon { bytes } => self.send_beacon(place, &bytes),
            Output::StreamOpen { stream, to } => self.open_stream(place, stream, to),
            Output::StreamSend { stream, bytes } => self.send_frame(place, stream, bytes),
            Output::StreamClose { stream } => self.close_stream(place, stream),
            Output::Persist(record) => {
                let again = self.hosts[place].disk.write(self.now, record);
                self.plan_write(place, again);
            }
            Output::Store {
                batch,
                entries,
                removed,
            } => {
                let life = self.hosts[place].life;
                let store = Happening::Store {
                    to: place,
                    life,
                    batch,
                    entries,
                    removed,
                };
                self.later(SYNC, store);
            }
            Output::Written { ticket, result } => {
                let life = self.hosts[place].life;
                self.deeds.push(Deed {
                    place,
                    life,
                    ticket,
                    result,
                });
            }
            Output::WakeAt { at, why } => {
                if let Some(process) = &mut self.hosts[place].process {
                    process.wake = Some((at, why));
                }
            }
            Output::Event(event) => return self.hear_news(place, event),
        }
        false
    }

    fn hear_news(&mut self, place: Place, event: Event) -> bool {
        let host = &self.hosts[place];
        let ends = match &event {
            Event::Left { .. } => host.is_leaving(),
            Event::Fatal(_) => true,
            _ => false,
        };
        if self.keeps_news {
            let news = News {
                at: Mono::from_nanos(self.now),
                place,
                life: host.life,
                event,
            };
            self.news.push(news);
        }
        ends
    }

    fn plan_write(&mut self, place: Place, at: Option<Ns>) {
        if let Some(at) = at {
            let life = self.hosts[place].life;
            let delay = Duration::from_nanos(at.saturating_sub(self.now));
            self.later(delay, Happening::Write { to: place, life });
        }
    }

    fn trace_input(&mut self, place: Place, input: &Input<'_>) {
        let name = &self.hosts[place].name;
        let now = self.now;
        match input {
            Input::Datagram { from, bytes } => self.trace.note(now, name, "packet", from, bytes),
            Input::Beacon { from, bytes, .. } => self.trace.note(now, name, "beacon", from, bytes),
            Input::StreamFrame { stream, bytes } => {
                self.trace.note(now, name, "frame", stream, bytes);
            }
            // What it is for was told.
            Input::Timeout => {}
            other => self.trace.note(now, name, "input", other, &[]),
        }
    }

    fn trace_output(&mut self, place: Place, output: &Output) {
        let name = &self.hosts[place].name;
        let now = self.now;
        match output {
            Output::Send { to, bytes } => self.trace.note(now, name, "send", to, bytes),
            Output::Beacon { bytes } => self.trace.note(now, name, "send beacon", &(), bytes),
            Output::StreamSend { stream, bytes } => {
                self.trace.note(now, name, "send frame", stream, bytes);
            }
            Output::Event(event) => self.trace.note(now, name, "event", event, &[]),
            other => self.trace.note(now, name, "output", other, &[]),
        }
    }
}
