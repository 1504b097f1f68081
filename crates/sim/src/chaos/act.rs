//! Act: what a fault does in the world, and to whom.
//!
//! A fault that makes no sense at the moment (a kill where two are left, a
//! restart where nobody is dead) does nothing, so that a plan can be played
//! whatever has become of its hosts.

use std::net::SocketAddr;
use std::time::Duration;

use dui_core::{LeaderNews, NodeId};

use super::Fault;
use super::stage::{Relief, Stage};
use crate::check::Violation;
use crate::host::{Pause, Place};

impl Stage {
    #[expect(clippy::too_many_lines, reason = "one line or a few for each fault")]
    pub(super) fn befall(&mut self, fault: &Fault) -> Result<(), Violation> {
        self.world.note("fault", fault);
        if !matches!(fault, Fault::Publish(..) | Fault::Lead(..) | Fault::Rest(_)) {
            self.truth.calm_since = None;
        }
        match *fault {
            Fault::Kill(one) => {
                if let Some(place) = self.expendable(one) {
                    self.world.kill(place);
                }
            }
            Fault::Vanish(one) => {
                if let Some(place) = self.expendable(one) {
                    self.world.vanish(place);
                }
            }
            Fault::Leave(one) => {
                // A stopped process does not hear of it.
                if let Some(place) = self.expendable(one)
                    && self.world.host(place).runs()
                {
                    self.world.leave(place);
                }
            }
            Fault::Restart(one) => {
                if let Some(place) = self.dead(one) {
                    self.start(place);
                }
            }
            Fault::RestartElsewhere(one) => {
                if let Some(place) = self.dead(one).filter(|place| self.may_move(*place)) {
                    let address = self.world.free_address();
                    self.world.move_to(place, address);
                    self.start(place);
                }
            }
            Fault::Replace(one) => {
                if let Some(place) = self.dead(one) {
                    self.world.renew(place);
                    self.start(place);
                }
            }
            Fault::Swap(one, other) => self.swap(one, other),
            Fault::TakeOver(one, other) => self.take_over(one, other),
            Fault::Move(one) => {
                let place = self.any(one);
                if self.may_move(place) && self.world.host(place).runs() {
                    let address = self.world.free_address();
                    self.relocate(place, address);
                }
            }
            Fault::Exchange(one, other) => self.exchange(one, other),
            Fault::Stop(one, span) => self.pause(one, Pause::Stopped, span),
            Fault::Sleep(one, span) => self.pause(one, Pause::Asleep, span),
            Fault::Slow(one, cost, span) => {
                let place = self.any(one);
                self.world.host_mut(place).cost = cost;
                self.relieve(span, Relief::Quicken(place));
            }
            Fault::CutOneWay(one, other) => self.cut(one, other),
            Fault::Cut(one, other) => {
                self.cut(one, other);
                self.cut(other, one);
            }
            Fault::BlockUdpOut(one) => {
                let place = self.any(one);
                self.world.network.nic_mut(place).udp_out_cut = true;
            }
            Fault::BlockUdpIn(one) => {
                let place = self.any(one);
                self.world.network.nic_mut(place).udp_in_cut = true;
            }
            Fault::Partition(bits) => {
                for place in 0..self.world.hosts().len() {
                    let group = bits >> (2 * (place % 64)) & 3;
                    self.world.network.nic_mut(place).group = group as u32;
                }
            }
            Fault::Join => {
                for place in 0..self.world.hosts().len() {
                    self.world.network.nic_mut(place).group = 0;
                }
            }
            Fault::Lose(ppm) => self.world.network.loss_ppm = ppm,
            Fault::LoseAt(one, inward_ppm, out_ppm) => {
                let place = self.any(one);
                let nic = self.world.network.nic_mut(place);
                (nic.loss_in_ppm, nic.loss_out_ppm) = (inward_ppm, out_ppm);
            }
            Fault::Duplicate(ppm) => self.world.network.duplication_ppm = ppm,
            Fault::Reorder(ppm) => self.world.network.reorder_ppm = ppm,
            Fault::Narrow(one, bytes) => {
                let to = self.any(one);
                for from in 0..self.world.hosts().len() {
                    self.world.network.link_mut(from, to).packet_bytes_max = Some(bytes);
                }
            }
            Fault::Delay(one, delay) => {
                let place = self.any(one);
                self.world.network.nic_mut(place).delay = delay;
            }
            Fault::ClockAhead(one, ahead_ms) => {
                let place = self.any(one);
                let ahead_ms = ahead_ms + (self.hours * 3_600_000) as i64;
                self.world.host_mut(place).clock.set_ahead(ahead_ms);
            }
            Fault::Drift(one, ppm) => {
                let place = self.any(one);
                self.world.set_drift(place, ppm);
            }
            Fault::HoursPass(hours) => {
                self.hours += hours;
                for place in 0..self.world.hosts().len() {
                    let clock = &mut self.world.host_mut(place).clock;
                    clock.set_ahead(clock.ahead_ms() + (hours * 3_600_000) as i64);
                }
            }
            Fault::Readdress(one) => {
                let (place, address) = (self.any(one), self.world.free_address());
                self.world.readdress(place, address);
            }
            Fault::DiskFull(one) => {
                let place = self.any(one);
                self.world.host_mut(place).disk.full = true;
            }
            Fault::DiskFree(one) => {
                let place = self.any(one);
                self.world.host_mut(place).disk.full = false;
            }
            Fault::Publish(one, bytes) => {
                let place = self.any(one);
                self.publish(place, bytes);
            }
            Fault::Lead(one, before) => {
                let place = self.any(one);
                self.lead(place, before);
            }
            Fault::Forget(one, other) => {
                let (by, whom) = (self.any(one), self.any(other));
                let id = self.world.host(whom).id;
                let may_go =
                    self.expendable(other) == Some(whom) || self.world.host(whom).peer().is_none();
                if may_go && self.world.host(by).runs() {
                    // An id that it does not know is an error, and changes nothing.
                    let _ = self.world.with(by, |peer, now| peer.forget(now, id, true));
                }
            }
            Fault::Rest(span) => {
                self.heal();
                self.run(span)?;
            }
        }
        self.listen()
    }

    fn swap(&mut self, one: u64, other: u64) {
        let (a, b) = (self.any(one), self.any(other));
        if a == b || !self.may_move(a) || !self.may_move(b) {
            return;
        }
        let (here, there) = (self.world.host(a).address, self.world.host(b).address);
        for place in [a, b] {
            self.world.kill(place);
        }
        self.world.move_to(a, there);
        self.world.move_to(b, here);
        for place in [a, b] {
            self.start(place);
        }
    }

    fn exchange(&mut self, one: u64, other: u64) {
        let (a, b) = (self.any(one), self.any(other));
        let may = |place| self.may_move(place) && self.world.host(place).runs();
        if a != b && may(a) && may(b) {
            let (here, there) = (self.world.host(a).address, self.world.host(b).address);
            self.relocate(a, there);
            self.relocate(b, here);
        }
    }

    fn relocate(&mut self, place: Place, address: SocketAddr) {
        self.truth.moved.insert(place, self.world.now());
        self.world.move_to(place, address);
    }

    fn take_over(&mut self, one: u64, other: u64) {
        let (a, b) = (self.any(one), self.any(other));
        if a == b || !self.may_move(a) || !self.may_move(b) {
            return;
        }
        let (here, elsewhere) = (self.world.host(a).address, self.world.free_address());
        for place in [a, b] {
            self.world.kill(place);
        }
        self.world.move_to(a, elsewhere);
        self.world.move_to(b, here);
        for place in [b, a] {
            self.start(place);
        }
    }

    fn pause(&mut self, one: u64, how: Pause, span: Duration) {
        let place = self.any(one);
        let host = self.world.host(place);
        if host.pause() == Some(Pause::No) {
            let relief = Relief::GoOn(place, host.life(), self.world.now());
            self.world.pause(place, how);
            self.relieve(span, relief);
        }
    }

    fn cut(&mut self, one: u64, other: u64) {
        let (from, to) = (self.any(one), self.any(other));
        if from != to {
            self.world.network.link_mut(from, to).cut = true;
        }
    }

    pub(super) fn publish(&mut self, place: Place, bytes: usize) {
        if !self.world.host(place).runs() {
            return;
        }
        self.published += 1;
        let mut payload = vec![0; bytes.max(8)];
        payload[..8].copy_from_slice(&self.published.to_le_bytes());
        let name = format!("event-{}", self.published);
        // Who leaves refuses, and nothing was published then.
        let _ = self.world.with(place, |peer, now| {
            peer.publish(now, &name, &payload).is_ok()
        });
    }

    fn lead(&mut self, place: Place, before: u64) {
        if !self.world.host(place).runs() {
            return;
        }
        self.revision += u64::from(before == 0);
        let revision = self.revision.saturating_sub(before);
        // Of every size, and the same whenever it is told.
        let voters = (0..=u128::from(revision % 16)).map(NodeId).collect();
        let news = LeaderNews {
            cluster_id: 1,
            revision,
            leader: NodeId(u128::from(revision)),
            term: revision / 2,
            elected_at: revision / 2 * 2,
            view: revision,
            voters,
            ephemeral: false,
        };
        self.world
            .with(place, |peer, now| peer.tell_leader(now, news));
    }

    // --- who ---

    fn any(&self, number: u64) -> Place {
        (number % self.world.hosts().len() as u64) as Place
    }

    /// One that runs, if two others do that stay.
    fn expendable(&self, number: u64) -> Option<Place> {
        let hosts = self.world.hosts().iter();
        let staying = hosts
            .filter(|host| host.peer().is_some() && !host.is_leaving())
            .count();
        let place = self.any(number);
        let runs = self.world.host(place).peer().is_some();
        (runs && staying > 2 && place < self.plan.nodes).then_some(place)
    }

    /// One that does not run.
    fn dead(&self, number: u64) -> Option<Place> {
        let hosts = self.world.hosts().iter().enumerate();
        let dead: Vec<Place> = hosts
            .filter(|(_, host)| host.peer().is_none())
            .map(|(place, _)| place)
            .collect();
        let pick = number.checked_rem(dead.len() as u64)? as usize;
        dead.get(pick).copied()
    }

    /// Where newcomers are told to go: three of the cluster, one stranger.
    pub(super) fn first(&self) -> impl Iterator<Item = Place> + use<> {
        let strangers = self.plan.nodes..self.plan.nodes + self.plan.strangers;
        (0..3.min(self.plan.nodes)).chain(strangers.take(1))
    }

    /// Where newcomers are told to go, and whom nobody would find, stay.
    fn may_move(&self, place: Place) -> bool {
        let host = self.world.host(place);
        let found_anywhere = self.plan.multicast || (host.disk.kept && place >= 3);
        let found_anywhere = found_anywhere && (self.plan.multicast || place != self.plan.nodes);
        found_anywhere && host.outer == host.address
    }
}
