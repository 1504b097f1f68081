//! Agreement: once nothing disturbs, all live members list the same live members, each where it is, the same events, and the same leader news, within a stated time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use dui_core::{Incarnation, MemberState, NodeId};

use crate::host::Host;
use crate::world::World;

/// Probe rounds until a dead member was asked by somebody, at least. Where views
/// are equal it is one; where they differ each of N picks one of N at random,
/// and the chance that nobody picked it in r rounds is e^-r: 1 in 160,000 here.
/// Whom one alone lists that one asks within 2N - 1 rounds (SWIM, section 4.3).
const ROUNDS_MIN: u32 = 12;
/// A probe's verdict: 5 units of 400 ms, where packets took long, by an observer
/// of awareness 8.
pub const VERDICT: Duration = Duration::from_millis(5 * 400 * 9);
/// Twice the suspicion's floor, up to 1,000 members.
const SUSPICION: Duration = Duration::from_millis(6_400);
/// Lost peers are tried once a second by somebody; a side that was lost is
/// found unless nobody tries any of it for so long: e^-12 even for a side of one.
const LOST: Duration = Duration::from_secs(12);
/// A difference shows on the next probe, outlasts 200 ms, is asked again and
/// reconciled; should a message get lost, once more.
const RECONCILED: Duration = Duration::from_secs(5);
/// A detour is tried by packet again after so long.
const DETOUR: Duration = Duration::from_secs(30);

/// How long `members` may take to agree again after the last disturbance. A
/// death is noticed and judged, islands find each other and reconcile; these
/// go on side by side, but one may wait for the other, so they add up. What is
/// said by streams through a cut waits for their retransmission, at most as
/// long as the detour lasts that began then.
pub fn agreed_within(members: usize) -> Duration {
    let by_size = Duration::from_secs_f64((members.max(1) as f64).log10());
    let rounds = (2 * members as u32).saturating_sub(1).max(ROUNDS_MIN);
    Duration::from_secs(1) * rounds
        + VERDICT
        + SUSPICION.max(by_size * 2)
        + LOST
        + RECONCILED
        + DETOUR
}

/// What running nodes of one cluster do not agree on; `None`: they do.
pub fn disagreement(world: &World) -> Option<String> {
    let mut clusters: BTreeMap<String, Vec<&Host>> = BTreeMap::new();
    for host in world.hosts().iter().filter(|host| host.peer().is_some()) {
        clusters
            .entry(super::cluster_of(host))
            .or_default()
            .push(host);
    }
    clusters.into_values().find_map(|hosts| differs(&hosts))
}

fn differs(hosts: &[&Host]) -> Option<String> {
    // The cheap look first: most of the time they differ in it, if at all.
    let peers = || hosts.iter().filter_map(|host| host.peer());
    let mut views = peers().map(|peer| (peer.this().view, peer.holdings().events));
    let first = views.next()?;
    if views.any(|view| view != first) {
        return Some(format!("views or events differ: {}", groups(hosts)));
    }
    let mut leaders = peers().map(|peer| peer.leader_news());
    let first = leaders.next()?;
    if leaders.any(|news| news != first) {
        return Some("leader news differ".into());
    }
    let expected: BTreeMap<NodeId, (Incarnation, SocketAddr)> = hosts
        .iter()
        .filter_map(|host| {
            let incarnation = host.peer()?.this().member.incarnation;
            Some((host.id, (incarnation, host.address)))
        })
        .collect();
    let events = hosts.first()?.peer()?.events();
    for host in hosts {
        let peer = host.peer()?;
        let alive: BTreeMap<NodeId, (Incarnation, SocketAddr)> = peer
            .members()
            .into_iter()
            .filter(|member| member.state == MemberState::Alive)
            .map(|member| (member.id, (member.incarnation, member.address)))
            .collect();
        if alive != expected {
            return Some(format!(
                "{} lists {} alive, {} run, or elsewhere",
                host.name,
                alive.len(),
                expected.len()
            ));
        }
        if peer.events() != events {
            return Some(format!("{} holds other events than the first", host.name));
        }
    }
    None
}

/// Who holds how many members live and how many events; equal views together.
fn groups(hosts: &[&Host]) -> String {
    let mut groups: BTreeMap<(u64, usize, usize), Vec<&str>> = BTreeMap::new();
    for host in hosts {
        if let Some(peer) = host.peer() {
            let members = peer.members().into_iter();
            let live =
                members.filter(|m| matches!(m.state, MemberState::Alive | MemberState::Suspect));
            let key = (peer.this().view, live.count(), peer.holdings().events);
            groups.entry(key).or_default().push(&host.name);
        }
    }
    let told = groups.iter().map(|((_, live, events), names)| {
        format!("{} list {live} live, {events} events", names.join(" "))
    });
    told.collect::<Vec<_>>().join("; ")
}
