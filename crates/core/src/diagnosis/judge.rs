//! Judge: the rules by which what was seen becomes findings.
//!
//! What a peer itself tells counts most: "packets from you do not arrive"
//! needs it to answer by another way. Of a peer that answers by no way, only
//! what came back instead is known: a reset, a refusal, nothing at all. What
//! one trouble hides of another is not guessed at but shown as not checked.

use std::collections::BTreeMap;

use super::peers::{broadcast_remedy, link_remedy, multicast_remedy, of_link};
use super::text::{crowd, list, span};
use super::{CLOCK_OFF, Check, CheckState, Code, Diagnosis, Examination, Finding, LINKS, Local};
use super::{PeerSeen, StreamSeen};
use crate::types::MemberState;
use crate::wire::{PACKET_BYTES_MAX, Way};

/// Header of IPv4 or IPv6, and of UDP.
pub(super) const HEADER_BYTES: u32 = 28;
/// An interface that takes less cannot send our longest packets whole.
pub(super) const MTU_MIN: u32 = PACKET_BYTES_MAX as u32 + HEADER_BYTES;

/// Every check, in the order in which it is shown, and what it is about.
const CHECKS: &[(&str, &str)] = &[
    ("sockets", "this node's ports and settings"),
    ("names", "names and lists of peers"),
    ("answers", "a peer is where one should be"),
    ("cluster", "the same cluster name"),
    ("key", "the same cluster key"),
    ("version", "the same wire version"),
    ("udp", "packets, both ways"),
    ("packet_size", "1,200-byte packets, both ways"),
    ("tcp", "streams, both ways"),
    ("multicast", "multicast heard, both ways"),
    ("broadcast", "broadcast heard, both ways"),
    ("clock", "wall clocks within a minute"),
    ("address", "own address as others see it"),
];

const OURSELVES: &str = "this node";

/// What cannot be found out about a peer that does not speak with this node.
pub(super) const HIDDEN: [&str; 7] = [
    "udp",
    "packet_size",
    "tcp",
    "multicast",
    "broadcast",
    "clock",
    "address",
];

/// What is wrong, by what an examination and the shell have seen.
pub fn diagnose(seen: &Examination, local: &Local) -> Diagnosis {
    let mut judge = Judge::default();
    for (check, why) in &local.skipped {
        judge.skip(check, why);
    }
    judge.local(local);
    judge.own_mtu(seen, local);
    for peer in &seen.peers {
        judge.peer(seen, local, peer);
    }
    judge.strangers(seen);
    judge.silent_links(seen, local);
    judge.clocks(seen);
    judge.unexplained(seen);
    judge.verdict(seen)
}

/// A finding before those alike are told as one.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Clone)]
struct Point {
    code: Code,
    detail: String,
    remedy: String,
}

#[derive(Debug, Default)]
pub(super) struct Judge {
    points: Vec<(Point, Vec<String>)>,
    passed: BTreeMap<&'static str, Vec<String>>,
    skipped: BTreeMap<&'static str, String>,
}

impl Judge {
    pub(super) fn find(
        &mut self,
        code: Code,
        subject: impl Into<String>,
        detail: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let point = Point {
            code,
            detail: detail.into(),
            remedy: remedy.into(),
        };
        let subject = subject.into();
        match self.points.iter_mut().find(|(known, _)| *known == point) {
            Some((_, subjects)) if subjects.contains(&subject) => {}
            Some((_, subjects)) => subjects.push(subject),
            None => self.points.push((point, vec![subject])),
        }
    }

    pub(super) fn pass(&mut self, check: &'static str, subject: impl Into<String>) {
        self.passed.entry(check).or_default().push(subject.into());
    }

    pub(super) fn skip(&mut self, check: &'static str, why: impl Into<String>) {
        self.skipped.entry(check).or_insert_with(|| why.into());
    }

    // --- this host ---

    fn local(&mut self, local: &Local) {
        for text in &local.unusable {
            self.find(
                Code::Configuration,
                OURSELVES,
                text.clone(),
                "set that right and start again",
            );
        }
        for taken in &local.taken {
            let holder = taken.holder.as_deref().unwrap_or("another program");
            let port = taken.address.port();
            self.find(
                Code::PortTaken,
                format!("{} port {}", taken.what, taken.address),
                format!("{holder} has it, so no node can start there"),
                format!(
                    "stop that program (`ss -lntup sport = :{port}` shows it), or choose another \
                     port with --{}-port",
                    taken.what
                ),
            );
        }
        if local.unusable.is_empty() && local.taken.is_empty() {
            self.pass("sockets", OURSELVES);
        }
        for provider in &local.providers {
            let subject = format!("{} ({})", provider.name, provider.detail);
            match (provider.name.as_str(), &provider.error) {
                ("static" | "dns", Some(error)) => self.find(
                    Code::NameUnresolved,
                    subject,
                    error.clone(),
                    "mend the name or /etc/resolv.conf, or give an address instead of the name",
                ),
                ("file", Some(error)) => self.find(
                    Code::FileUnreadable,
                    subject,
                    error.clone(),
                    "write one IP[:PORT] a line into a file that this node may read",
                ),
                ("multicast", Some(error)) => self.find(
                    Code::MulticastBlocked,
                    "this host",
                    error.clone(),
                    multicast_remedy(),
                ),
                ("broadcast", Some(error)) if error.starts_with("cannot send") => self.find(
                    Code::BroadcastBlocked,
                    "this host",
                    error.clone(),
                    broadcast_remedy(),
                ),
                ("broadcast", Some(error)) => self.skip("broadcast", error.clone()),
                ("static" | "dns" | "file", None) => self.pass("names", provider.detail.clone()),
                _ => {}
            }
        }
        self.skip("names", "nothing is to be looked up");
        for link in ["multicast", "broadcast"] {
            if !local.providers.iter().any(|provider| provider.name == link) {
                self.skip(link, "this node does not use it");
            }
        }
    }

    fn own_mtu(&mut self, seen: &Examination, local: &Local) {
        if let Some(mtu) = local.mtu.filter(|mtu| *mtu < MTU_MIN) {
            self.find(
                Code::Mtu,
                "this host",
                format!(
                    "the interface of {} takes packets of at most {mtu} bytes (its MTU), and \
                     dui's have up to {MTU_MIN}: what others send does not arrive",
                    seen.own.ip()
                ),
                format!(
                    "raise its MTU to 1,500, or at least {MTU_MIN}: ip link set DEVICE mtu 1500"
                ),
            );
        }
    }

    /// Who was refused lately and is none of those examined.
    fn strangers(&mut self, seen: &Examination) {
        for refusal in &seen.refusals {
            // A member's clock is compared with the others' anyhow.
            let Some(from) = refusal.from() else {
                continue;
            };
            let known = seen.peers.iter().any(|peer| {
                peer.address.ip() == from.ip() && (peer.answered() || peer.refusal.is_some())
            });
            if !known {
                self.refused(&from.ip().to_string(), refusal);
            }
        }
    }

    /// Strangers send beacons, too: where none is heard, none can be.
    fn silent_links(&mut self, seen: &Examination, local: &Local) {
        let strangers: Vec<&PeerSeen> = seen
            .peers
            .iter()
            .filter(|peer| peer.refusal.is_some() && near(seen, local, peer))
            .collect();
        let friends = seen.peers.iter().any(PeerSeen::answered);
        if strangers.is_empty() || friends {
            return;
        }
        for link in LINKS {
            let (check, code) = of_link(link);
            if !in_use(local, check) {
                continue;
            }
            if seen.heard.contains(link) {
                self.pass(check, "this host hears");
                continue;
            }
            for peer in &strangers {
                let what = "no beacon was heard here, of anybody";
                self.find(code, label(peer), what, link_remedy(link));
            }
        }
    }

    fn clocks(&mut self, seen: &Examination) {
        let told = seen
            .peers
            .iter()
            .filter_map(|peer| Some((peer, peer.clock_ahead_ms?)));
        let mut told: Vec<(&PeerSeen, i64)> = told.collect();
        // What a stranger says of its clock nobody has sealed.
        if told.iter().any(|(peer, _)| peer.answered()) {
            told.retain(|(peer, _)| peer.answered());
        }
        if told.is_empty() {
            return;
        }
        let off = |ms: i64| ms.unsigned_abs() > CLOCK_OFF.as_millis() as u64;
        let direction = |ms: i64| if ms > 0 { "ahead" } else { "behind" };
        if let [(peer, ahead)] = told[..] {
            if off(ahead) {
                self.find(
                    Code::ClockOff,
                    label(peer),
                    format!(
                        "its clock is {} {} of this node's, and nobody else is there to tell which \
                         of the two is wrong",
                        span(ahead.unsigned_abs()),
                        direction(ahead)
                    ),
                    clock_remedy(),
                );
            } else {
                self.pass("clock", label(peer));
            }
            return;
        }
        let mut all: Vec<i64> = told.iter().map(|(_, ahead)| *ahead).collect();
        all.push(0);
        all.sort_unstable();
        let median = all[(all.len() - 1) / 2];
        let mut judge = |subject: String, ahead: i64| {
            if off(ahead) {
                let detail = format!(
                    "its clock is {} {} of most others",
                    span(ahead.unsigned_abs()),
                    direction(ahead)
                );
                self.find(Code::ClockOff, subject, detail, clock_remedy());
            } else if subject != OURSELVES {
                self.pass("clock", subject);
            }
        };
        judge(OURSELVES.into(), -median);
        for (peer, ahead) in told {
            judge(label(peer), ahead - median);
        }
    }

    /// Something is wrong, and nothing above says what.
    fn unexplained(&mut self, seen: &Examination) {
        let explained = |judge: &Self, label: &String| {
            judge
                .points
                .iter()
                .any(|(_, subjects)| subjects.contains(label))
        };
        for peer in &seen.peers {
            let label = label(peer);
            if explained(self, &label) || peer.refusal.is_some() {
                continue;
            }
            let (what, remedy) = if peer.answered() {
                let found = !seen.member || peer.state == Some(MemberState::Alive);
                if found {
                    continue;
                }
                (
                    "it answers by every way, and is no member in this node's eyes",
                    format!("`dui why` and the logs of both may tell more; restart {label}"),
                )
            } else if peer.expected && peer.stream == StreamSeen::Silent {
                (
                    "its port takes connections, and nothing answers, neither on them nor by \
                     packet: the process may be stopped, hung or starved, or no dui at all",
                    format!(
                        "look at the process that has port {} there",
                        peer.address.port()
                    ),
                )
            } else {
                continue;
            };
            let ruled_out = self.ruled_out();
            self.find(
                Code::Unknown,
                label,
                format!("{what}; ruled out: {ruled_out}"),
                remedy,
            );
        }
    }

    /// What has passed, and what a peer that takes connections shows by that.
    fn ruled_out(&self) -> String {
        let failed = |check: &str| self.points.iter().any(|(it, _)| it.code.check() == check);
        let mut out = vec!["a closed port there".to_owned(), "a cut network".to_owned()];
        out.extend(
            CHECKS
                .iter()
                .filter(|(check, _)| self.passed.contains_key(check) && !failed(check))
                .map(|(check, about)| match *check {
                    "sockets" | "names" => (*about).to_owned(),
                    _ => format!("{about} (with others)"),
                }),
        );
        out.join(", ")
    }

    // --- all in all ---

    fn verdict(mut self, seen: &Examination) -> Diagnosis {
        let expected = seen.peers.iter().any(|peer| peer.expected);
        let nobody = if expected {
            "nobody answered"
        } else {
            "no other node was found"
        };
        self.points.sort_by_key(|(point, _)| point.code);
        let mut checks = Vec::new();
        for (name, about) in CHECKS {
            let wrong: Vec<String> = self
                .points
                .iter()
                .filter(|(point, _)| point.code.check() == *name)
                .flat_map(|(_, subjects)| subjects.iter().cloned())
                .collect();
            let passed = self.passed.get(name).map(Vec::as_slice).unwrap_or_default();
            let check = |state, subject: &[String], detail: String| Check {
                name,
                subject: crowd(subject),
                state,
                detail,
            };
            checks.push(if !wrong.is_empty() {
                check(CheckState::Wrong, &wrong, (*about).to_owned())
            } else if !passed.is_empty() {
                check(CheckState::Ok, passed, (*about).to_owned())
            } else {
                let why = self.skipped.get(name).map_or(nobody, String::as_str);
                check(CheckState::Skipped, &[], why.to_owned())
            });
        }
        if seen.left_out > 0
            && let Some(answers) = checks.iter_mut().find(|check| check.name == "answers")
        {
            answers.detail = format!("{}; {} others left out", answers.detail, seen.left_out);
        }
        let findings = self.points.into_iter().map(|(point, subjects)| Finding {
            code: point.code,
            subject: list(&subjects),
            detail: point.detail,
            remedy: point.remedy,
        });
        Diagnosis {
            findings: findings.collect(),
            checks,
        }
    }
}

impl PeerSeen {
    /// Whether it answered by any way.
    pub fn answered(&self) -> bool {
        // A beacon that was heard is no answer.
        let by = [Way::Packet, Way::Packet1200, Way::StreamBack];
        self.stream == StreamSeen::Answered
            || !self.there.is_empty()
            || by.into_iter().any(|way| self.back.contains(way))
    }
}

pub(super) fn label(peer: &PeerSeen) -> String {
    match &peer.name {
        Some(name) => format!("{name} ({})", peer.address),
        None => peer.address.to_string(),
    }
}

/// Whether beacons can reach from one to the other.
pub(super) fn near(seen: &Examination, local: &Local, peer: &PeerSeen) -> bool {
    let (own, theirs) = (seen.own.ip(), peer.address.ip());
    own.is_loopback() && theirs.is_loopback()
        || local
            .network
            .is_some_and(|network| network.contains(theirs))
}

/// Whether a link was asked for, and works as far as this host can tell.
pub(super) fn in_use(local: &Local, link: &str) -> bool {
    let mut providers = local.providers.iter();
    providers.any(|provider| provider.name == link && provider.error.is_none())
}

pub(super) fn clock_remedy() -> &'static str {
    "set the clock right and keep it so: run chrony, systemd-timesyncd or another NTP client"
}
