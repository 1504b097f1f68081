//! Leave: saying goodbye, and making sure that enough heard it.
//!
//! The goodbye is a rumor like any other; its first hearers confirm it to
//! the leaver, who repeats it to others until a few have. Nobody waits for
//! peers that are leaving too: they are no longer counted.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use super::outbox::Path;
use super::{Event, Peer};
use crate::clock::{Mono, Now};
use crate::id::NodeId;
use crate::wire::{Body, Packet, Rumor, RumorId, RumorIds};

/// Peers that have to confirm, if there are so many.
const ACKS_WANTED: usize = 3;
const REPEAT: Duration = Duration::from_millis(50);
const REPEAT_MAX: Duration = Duration::from_secs(1);
/// Peers told anew at each repetition.
const TOLD_AGAIN: usize = 6;

/// A leave under way, or done.
#[derive(Debug)]
pub(super) struct Leaving {
    rumor: RumorId,
    acked: BTreeSet<NodeId>,
    /// Addresses that refused the goodbye: nobody lives there any more.
    gone: BTreeSet<SocketAddr>,
    repeat_at: Mono,
    wait: Duration,
    done: bool,
}

impl Leaving {
    pub(super) fn deadline(&self) -> Option<Mono> {
        (!self.done).then_some(self.repeat_at)
    }
}

impl Peer {
    pub(super) fn begin_leaving(&mut self, now: Now) {
        if self.leaving.is_some() {
            return;
        }
        let subject = self.membership.leave(now);
        self.originate(now, Body::Left(subject));
        self.leaving = Some(Leaving {
            rumor: RumorId {
                origin: self.config.id,
                run: self.config.run,
                counter: self.messages,
            },
            acked: BTreeSet::new(),
            gone: BTreeSet::new(),
            repeat_at: now.mono + REPEAT,
            wait: REPEAT,
            done: false,
        });
        self.deliver_rumors(now);
        self.leave_ring();
    }

    /// A peer confirms that it heard our goodbye.
    pub(super) fn hear_confirmed(&mut self, from: NodeId, lists: &[RumorIds]) {
        if let Some(leaving) = &mut self.leaving
            && super::spread::ungroup(lists).any(|(id, _)| id == leaving.rumor)
        {
            leaving.acked.insert(from);
        }
    }

    /// Nobody listens at this address: a leaver does not look into it any
    /// more, and does not wait for who died just before, or left unheard.
    pub(super) fn leave_without(&mut self, address: SocketAddr) {
        if let Some(leaving) = &mut self.leaving {
            leaving.gone.insert(address);
        }
    }

    /// Ends the leave when enough know, repeats the goodbye when it is time.
    pub(super) fn tend_leave(&mut self, now: Now) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        if leaving.done {
            return;
        }
        let table = self.membership.table();
        let there = |id: &&NodeId| {
            let entry = table.get(**id);
            entry.is_some_and(|entry| !leaving.gone.contains(&entry.info.address))
        };
        let others = table.live().iter().filter(there).count();
        let still_there = leaving
            .acked
            .iter()
            .filter(|id| !self.membership.is_live(**id));
        // Who confirmed and left since then counts as well as who stayed.
        let (acked, wanted) = (
            leaving.acked.len(),
            ACKS_WANTED.min(others + still_there.count()),
        );
        if acked >= wanted {
            leaving.done = true;
            self.persist(false);
            return self.tell(Event::Left { acked, wanted });
        }
        if leaving.repeat_at > now.mono {
            return;
        }
        leaving.repeat_at = now.mono + leaving.wait;
        leaving.wait = (leaving.wait * 2).min(REPEAT_MAX);
        let (acked, rumor) = (leaving.acked.clone(), leaving.rumor);
        let Some(rumor) = self.gossip.get(rumor).cloned() else {
            return;
        };
        self.repeat_goodbye(&rumor, &acked);
    }

    fn repeat_goodbye(&mut self, rumor: &Rumor, acked: &BTreeSet<NodeId>) {
        let again = self
            .membership
            .sample(TOLD_AGAIN, &mut self.rng, |id| acked.contains(&id));
        for id in again {
            let Some(entry) = self.membership.table().get(id) else {
                continue;
            };
            let path = Path::Packet(entry.info.address);
            let mut packet = Packet::new(self.config.id);
            packet.rumors.push(rumor.clone());
            self.send(path, Some(id), packet);
        }
    }
}
