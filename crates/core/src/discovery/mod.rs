//! Discovery: whom to greet, when, and whom never to give up on.
//!
//! Addresses come from beacons, from providers' lists and from memory. All
//! of them are hints: who is at an address says so itself, when greeted.
//! Discovery never ends, so that two clusters that come within reach of one
//! another merge, and a partition of any length heals.

mod trickle;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rand_chacha::ChaCha12Rng;
use rand_core::Rng;

use crate::clock::{Mono, Now};
use crate::id::NodeId;
use crate::types::{Known, ProviderInfo, Timer};
use trickle::Trickle;

/// Peers remembered at most, latest first.
pub(crate) const KNOWN_MAX: usize = 1_024;
/// How many of those who hear a newcomer answer it, on average.
const ANSWERS: u64 = 3;
/// Longest wait before answering a newcomer: others may be faster.
const ANSWER_DELAY: Duration = Duration::from_millis(10);
/// A view seen to differ is believed to after this: news may be on the way.
const DIFFERENCE_OUTLASTS: Duration = Duration::from_millis(200);
/// A greeting that was not answered is repeated, ever more slowly.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// A greeting that is not repeated.
const ONCE: Duration = Duration::MAX;
/// Each second each node tries a lost peer, with probability lost / alive.
const LOST_INTERVAL: Duration = Duration::from_secs(1);
/// One in so many tries of a lost peer is made by stream, too.
const STREAM_TRIES: u32 = 4;
/// After this without anybody the first discovery window is over.
pub(crate) const WINDOW: Duration = Duration::from_secs(1);
/// Known peers greeted at a start and after a move.
const LATEST: usize = 8;
const GREETINGS_MAX: usize = 1_024;

/// A beacon, as far as discovery cares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sighting {
    pub(crate) id: NodeId,
    pub(crate) address: SocketAddr,
    /// It is a live member of ours.
    pub(crate) known: bool,
    /// Its view is ours.
    pub(crate) same_view: bool,
}

/// What discovery wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    /// Send a beacon.
    Beacon,
    /// Say hello to whoever is there.
    Greet(SocketAddr),
    /// The same by stream: packets were not answered.
    GreetByStream(SocketAddr),
    /// Compare views with this member.
    Compare(NodeId),
}

#[derive(Debug)]
enum Plan {
    /// A newcomer's beacon: greet unless we know it by then.
    Newcomer,
    /// A member's beacon showed another view: compare unless that has passed.
    Difference(NodeId),
    /// A provider named the address: greet until somebody lives there.
    Candidate { wait: Duration },
}

#[derive(Debug, Default)]
struct Catch {
    found: BTreeSet<SocketAddr>,
    heard: u64,
    last_ms: Option<u64>,
}

/// The discovery of one node.
#[derive(Debug)]
pub(crate) struct Discovery {
    me: SocketAddr,
    trickle: Trickle,
    plans: BTreeMap<SocketAddr, (Mono, Plan)>,
    /// Peers worth remembering: latest contact last.
    known: VecDeque<Known>,
    known_changed: bool,
    /// Addresses that each provider names now.
    named: BTreeMap<&'static str, BTreeSet<SocketAddr>>,
    lost_at: Mono,
    /// Who was lost when the view had this version, unless that is out of date.
    seen_lost: Option<(u64, Vec<SocketAddr>)>,
    caught: BTreeMap<&'static str, Catch>,
    beacon_heard: bool,
    started: Mono,
}

impl Discovery {
    pub(crate) fn new(now: Mono, me: SocketAddr, known: Vec<Known>, rng: &mut ChaCha12Rng) -> Self {
        let jitter = Duration::from_nanos(rng.next_u64() % LOST_INTERVAL.as_nanos() as u64);
        let mut discovery = Self {
            me,
            trickle: Trickle::new(now),
            plans: BTreeMap::new(),
            known: known.into_iter().take(KNOWN_MAX).rev().collect(),
            known_changed: false,
            named: BTreeMap::new(),
            lost_at: now + jitter,
            seen_lost: None,
            caught: BTreeMap::new(),
            beacon_heard: false,
            started: now,
        };
        discovery.greet_latest(now);
        discovery
    }

    // --- getters ---

    /// Whether a beacon of somebody else was ever heard: multicast works here.
    pub(crate) fn beacons_work(&self) -> bool {
        self.beacon_heard
    }

    /// Whether the first discovery window is over.
    pub(crate) fn window_over(&self, now: Mono) -> bool {
        now >= self.started + WINDOW
    }

    /// Peers worth remembering, latest first.
    pub(crate) fn known(&self) -> impl Iterator<Item = &Known> {
        self.known.iter().rev()
    }

    /// `true` once after [`Discovery::known`] changed.
    pub(crate) fn take_known_changed(&mut self) -> bool {
        std::mem::take(&mut self.known_changed)
    }

    /// A line per provider that caught anything.
    pub(crate) fn providers(&self) -> Vec<ProviderInfo> {
        let line = |(name, catch): (&&'static str, &Catch)| ProviderInfo {
            name,
            found: catch.found.len(),
            heard: catch.heard,
            last_ms: catch.last_ms,
        };
        self.caught.iter().map(line).collect()
    }

    /// Addresses where a peer was or should be, and nobody lives now.
    pub(crate) fn lost(&self, mut lives: impl FnMut(SocketAddr) -> bool) -> Vec<SocketAddr> {
        let all = self.known.iter().map(|peer| peer.address);
        let all: BTreeSet<SocketAddr> = all.chain(self.named.values().flatten().copied()).collect();
        all.into_iter()
            .filter(|address| *address != self.me && !lives(*address))
            .collect()
    }

    // --- what happens ---

    /// A beacon was heard.
    pub(crate) fn sighted(
        &mut self,
        now: Now,
        provider: &'static str,
        sighting: Sighting,
        members: usize,
        rng: &mut ChaCha12Rng,
    ) {
        self.catch(now, provider, [sighting.address]);
        self.beacon_heard = true;
        let same = sighting.known && sighting.same_view;
        self.trickle.heard(now.mono, same, rng);
        if same {
            self.plans.remove(&sighting.address);
            return;
        }
        // Each hearer answers with probability 3 / members: a few do.
        let chosen = rng.next_u64() % (members.max(1) as u64) < ANSWERS;
        if !chosen || self.plans.contains_key(&sighting.address) {
            return;
        }
        if sighting.known {
            let at = now.mono + DIFFERENCE_OUTLASTS;
            self.plan(sighting.address, at, Plan::Difference(sighting.id));
        } else {
            let spread = if members > 1 {
                ANSWER_DELAY
            } else {
                Duration::ZERO
            };
            let delay = spread.mul_f64(rng.next_u32() as f64 / u32::MAX as f64);
            self.plan(sighting.address, now.mono + delay, Plan::Newcomer);
        }
    }

    /// This node is at another address: as after a start, whoever may be there
    /// hears of it at once.
    pub(crate) fn readdressed(&mut self, now: Mono, me: SocketAddr) {
        self.me = me;
        self.trickle = Trickle::new(now);
        self.plans.remove(&me);
        self.greet_latest(now);
    }

    /// A provider names addresses: all that it knows now. What it named
    /// before and does not name any more is not looked for.
    pub(crate) fn candidates(
        &mut self,
        now: Now,
        provider: &'static str,
        addresses: Vec<SocketAddr>,
        mut lives: impl FnMut(SocketAddr) -> bool,
    ) {
        self.catch(now, provider, addresses.iter().copied());
        let now_named: BTreeSet<SocketAddr> = addresses.into_iter().take(GREETINGS_MAX).collect();
        self.seen_lost = None;
        let before = self.named.insert(provider, now_named.clone());
        let before = before.unwrap_or_default();
        for address in before.difference(&now_named) {
            if let Some((_, Plan::Candidate { .. })) = self.plans.get(address) {
                self.plans.remove(address);
            }
        }
        for address in now_named.difference(&before).copied() {
            if address != self.me && !lives(address) {
                self.plan(address, now.mono, Plan::Candidate { wait: RETRY_FIRST });
            }
        }
    }

    /// A member is there, and worth remembering.
    pub(crate) fn met(&mut self, peer: Known) {
        self.plans.remove(&peer.address);
        if self.known.back() == Some(&peer) {
            return;
        }
        self.known
            .retain(|old| old.id != peer.id && old.address != peer.address);
        if self.known.len() == KNOWN_MAX {
            self.known.pop_front();
        }
        self.known.push_back(peer);
        self.known_changed = true;
        self.seen_lost = None;
    }

    /// A member left or was forgotten: nobody to look for.
    pub(crate) fn unmeet(&mut self, id: NodeId) {
        let before = self.known.len();
        self.known.retain(|peer| peer.id != id);
        self.known_changed |= self.known.len() != before;
        self.seen_lost = None;
    }

    // --- time ---

    /// When something is due, and what.
    pub(crate) fn deadline(&self) -> (Mono, Timer) {
        let plan = self
            .plans
            .values()
            .map(|(at, _)| (*at, Timer::Greeting))
            .min();
        let beacon = (self.trickle.deadline(), Timer::Beacon);
        let lost = (self.lost_at, Timer::LostPeer);
        plan.into_iter()
            .chain([beacon, lost])
            .min()
            .unwrap_or(beacon)
    }

    /// What is due now. `version`: of the view, `lives`: whether a live member
    /// of it has this address.
    pub(crate) fn on_time(
        &mut self,
        now: Mono,
        version: u64,
        alive: usize,
        mut lives: impl FnMut(SocketAddr) -> bool,
        rng: &mut ChaCha12Rng,
    ) -> Vec<Call> {
        let mut calls = Vec::new();
        if self.trickle.on_time(now, rng) {
            calls.push(Call::Beacon);
        }
        let due: Vec<SocketAddr> = self
            .plans
            .iter()
            .filter(|(_, (at, _))| *at <= now)
            .map(|(address, _)| *address)
            .collect();
        for address in due {
            let Some((_, plan)) = self.plans.remove(&address) else {
                continue;
            };
            match plan {
                Plan::Difference(id) => calls.push(Call::Compare(id)),
                _ if lives(address) => {}
                Plan::Newcomer => calls.push(Call::Greet(address)),
                Plan::Candidate { wait } => {
                    calls.push(Call::Greet(address));
                    // From the longest wait on, the lost-peer rule takes over.
                    if wait == RETRY_MAX {
                        calls.push(Call::GreetByStream(address));
                    } else if wait < RETRY_MAX {
                        let next = (wait * 2).min(RETRY_MAX);
                        self.plan(address, now + wait, Plan::Candidate { wait: next });
                    }
                }
            }
        }
        if now >= self.lost_at {
            self.lost_at = now + LOST_INTERVAL;
            calls.extend(self.try_lost(version, alive, lives, rng));
        }
        calls
    }

    // --- helpers ---

    /// About one try a second for each lost peer, whatever the size: every
    /// one of `alive` nodes tries one of `lost` peers with probability
    /// lost / alive.
    fn try_lost(
        &mut self,
        version: u64,
        alive: usize,
        lives: impl FnMut(SocketAddr) -> bool,
        rng: &mut ChaCha12Rng,
    ) -> Vec<Call> {
        let seen = self.seen_lost.take().filter(|(of, _)| *of == version);
        let (_, lost) = seen.unwrap_or_else(|| (version, self.lost(lives)));
        let chosen = rng.next_u64() % (alive.max(1) as u64) < lost.len() as u64;
        let mut calls = Vec::new();
        if chosen {
            let pick = lost[(rng.next_u64() % lost.len() as u64) as usize];
            calls.push(Call::Greet(pick));
            // Where packets are blocked and streams are not.
            if rng.next_u32().is_multiple_of(STREAM_TRIES) {
                calls.push(Call::GreetByStream(pick));
            }
        }
        self.seen_lost = Some((version, lost));
        calls
    }

    /// Those who were there when we were last are the best hint there is.
    fn greet_latest(&mut self, now: Mono) {
        let latest = self.known.iter().take(LATEST);
        let latest: Vec<SocketAddr> = latest.map(|peer| peer.address).collect();
        for address in latest {
            self.plan(address, now, Plan::Candidate { wait: ONCE });
        }
    }

    fn plan(&mut self, address: SocketAddr, at: Mono, plan: Plan) {
        if self.plans.len() < GREETINGS_MAX {
            self.plans.insert(address, (at, plan));
        }
    }

    fn catch(
        &mut self,
        now: Now,
        provider: &'static str,
        addresses: impl IntoIterator<Item = SocketAddr>,
    ) {
        let catch = self.caught.entry(provider).or_default();
        catch.heard += 1;
        catch.last_ms = Some(now.wall_ms);
        for address in addresses {
            if catch.found.len() < KNOWN_MAX {
                catch.found.insert(address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand_core::SeedableRng;

    use super::*;

    fn at(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 7781))
    }

    /// A name whose tasks come and go would otherwise leave a trail of
    /// addresses that are tried for ever.
    #[test]
    fn what_a_provider_names_no_more_is_not_looked_for_and_others_keep_theirs() {
        let mut rng = ChaCha12Rng::seed_from_u64(1);
        let mut discovery = Discovery::new(Mono::ZERO, at(1), Vec::new(), &mut rng);
        let now = Now {
            mono: Mono::ZERO,
            wall_ms: 0,
        };
        let mut name = |provider, list: &[u8]| {
            let list = list.iter().map(|n| at(*n)).collect();
            discovery.candidates(now, provider, list, |_| false);
            discovery.lost(|_| false)
        };
        assert_eq!(name("dns", &[1, 2, 3]), [at(2), at(3)]);
        assert_eq!(name("file", &[3, 4]), [at(2), at(3), at(4)]);
        assert_eq!(name("dns", &[5]), [at(3), at(4), at(5)]);
        assert_eq!(name("dns", &[]), [at(3), at(4)]);
        let greeted = discovery.on_time(Mono::from_millis(1), 1, 1, |_| false, &mut rng);
        assert!(!greeted.contains(&Call::Greet(at(5))), "{greeted:?}");
        assert!(greeted.contains(&Call::Greet(at(4))), "{greeted:?}");
    }
}
