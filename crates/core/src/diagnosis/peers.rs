//! Peers: the rules about one peer, by what it told and what came back of it.

use super::judge::{HEADER_BYTES, HIDDEN, Judge, MTU_MIN, clock_remedy, in_use, label, near};
use super::{Code, Examination, LINKS, Local, PeerSeen, StreamSeen, TurnedAway};
use crate::types::Refusal;
use crate::wire::{Way, Ways};

impl Judge {
    pub(super) fn peer(&mut self, seen: &Examination, local: &Local, peer: &PeerSeen) {
        let label = label(peer);
        if peer.denied {
            self.find(
                Code::UdpBlocked,
                label.clone(),
                "this host's own firewall does not let packets to it out",
                udp_remedy(seen, peer),
            );
        }
        if let Some(refusal) = &peer.refusal {
            self.refused(&label, refusal);
        }
        if peer.answered() {
            self.pass("answers", label.clone());
            // Asked under its own cluster's name, one that we refuse answers, too.
            for check in ["cluster", "key", "version"] {
                self.pass(check, label.clone());
            }
            self.packets(seen, local, peer, &label);
            self.streams(seen, peer, &label);
            self.links(seen, local, peer, &label);
            self.address(seen, peer, &label);
        } else if peer.refusal.is_some() {
            if let Some(told) = peer.turned_away {
                self.turned_away(seen, peer, told, &label);
            }
            let hidden = format!("{label} does not speak with this node");
            for check in HIDDEN {
                self.skip(check, hidden.clone());
            }
        } else if peer.expected {
            self.silence(peer, label);
        }
    }

    pub(super) fn refused(&mut self, label: &str, refusal: &Refusal) {
        let detail = refusal.to_string();
        let (code, remedy) = match refusal {
            Refusal::OtherCluster { .. } => (Code::OtherCluster, cluster_remedy()),
            Refusal::OtherKey { .. } | Refusal::NotSealed { .. } => (
                Code::OtherKey,
                "give both the same --key-file: compare the fingerprints",
            ),
            Refusal::OtherVersion { .. } => (Code::OtherVersion, "upgrade the older one"),
            Refusal::ClockAhead { .. } | Refusal::TimestampAhead { .. } => {
                (Code::ClockOff, clock_remedy())
            }
        };
        self.find(code, label, detail, remedy);
    }

    /// It has another key, and answered so much that other troubles show, too.
    fn turned_away(&mut self, seen: &Examination, peer: &PeerSeen, told: TurnedAway, label: &str) {
        if told.same_name {
            self.pass("cluster", label);
        } else {
            self.find(
                Code::OtherCluster,
                label,
                "behind its other key its cluster has another name, too",
                cluster_remedy(),
            );
        }
        let (packets, streams) = (told.by.contains(Way::Packet), told.by.contains(Way::Stream));
        if packets {
            self.pass("udp", label);
        } else if !peer.denied {
            let what = "it turns streams away for their key, and packets bring no such answer";
            self.find(Code::UdpBlocked, label, what, udp_remedy(seen, peer));
        }
        // Without a key it would not answer on streams.
        let keyed = matches!(peer.refusal, Some(Refusal::OtherKey { .. }));
        if keyed && !streams {
            let what = "it turns packets away for their key, and streams bring no such answer";
            self.find(Code::TcpBlocked, label, what, tcp_remedy(seen, peer));
        }
    }

    fn packets(&mut self, seen: &Examination, local: &Local, peer: &PeerSeen, label: &str) {
        let there = peer.there.contains(Way::Packet);
        let back = peer.back.contains(Way::Packet);
        let what = match (there, back) {
            (true, true) => {
                self.pass("udp", label);
                None
            }
            (false, false) => Some("no packet gets through, neither way; streams do"),
            (false, true) => Some("packets from here do not arrive there; those from there do"),
            (true, false) => Some("packets from here arrive there; those from there do not"),
        };
        // Of the own firewall it has been told already.
        if let Some(what) = what.filter(|_| !peer.denied) {
            self.find(Code::UdpBlocked, label, what, udp_remedy(seen, peer));
        }
        let cut = |ways: Ways| {
            let small = ways.contains(Way::Packet);
            let through = Way::PACKETS
                .into_iter()
                .rev()
                .find(|way| ways.contains(*way));
            through.filter(|way| small && *way != Way::Packet1200)
        };
        let told = local.mtu.is_some_and(|mtu| mtu < MTU_MIN);
        let ways = [
            (cut(peer.there), "from here"),
            (cut(peer.back).filter(|_| !told), "from there"),
        ];
        let mut whole = true;
        for (largest, direction) in ways {
            let Some(largest) = largest else {
                continue;
            };
            whole = false;
            let passes = largest.packet_bytes().max(100) as u32 + HEADER_BYTES;
            let next = Way::PACKETS
                .into_iter()
                .find(|way| way.packet_bytes() > largest.packet_bytes());
            let stuck = next.map_or(MTU_MIN, |way| way.packet_bytes() as u32 + HEADER_BYTES);
            self.find(
                Code::Mtu,
                label,
                format!(
                    "packets {direction} of up to {passes} bytes arrive, those of {stuck} do not: \
                     some link on the way has an MTU between the two"
                ),
                format!(
                    "raise the MTU of that link, most likely an interface or tunnel of one of the \
                     two hosts (`ip link`), to 1,500, or at least {MTU_MIN}"
                ),
            );
        }
        if there && back && whole && !told {
            self.pass("packet_size", label);
        } else if !there && !back {
            self.skip("packet_size", "packets do not get through at all");
        }
    }

    fn streams(&mut self, seen: &Examination, peer: &PeerSeen, label: &str) {
        let back = peer.back.contains(Way::StreamBack);
        let there = peer.stream == StreamSeen::Answered;
        let remedy = tcp_remedy(seen, peer);
        match peer.stream {
            StreamSeen::Answered => {}
            StreamSeen::Refused => self.find(
                Code::TcpBlocked,
                label,
                "streams from here are rejected, though its packets show that it runs: a firewall \
                 rejects them",
                remedy.clone(),
            ),
            StreamSeen::Silent => self.find(
                Code::TcpBlocked,
                label,
                "streams from here connect, and then nothing comes back on them",
                remedy.clone(),
            ),
            StreamSeen::Broken | StreamSeen::Untried => self.find(
                Code::TcpBlocked,
                label,
                "streams from here do not get through; packets do",
                remedy.clone(),
            ),
        }
        if !back {
            self.find(
                Code::TcpBlocked,
                label,
                "streams from there do not get through to here",
                remedy,
            );
        }
        if there && back {
            self.pass("tcp", label);
        }
    }

    fn links(&mut self, seen: &Examination, local: &Local, peer: &PeerSeen, label: &str) {
        for link in LINKS {
            let (check, code) = of_link(link);
            if !in_use(local, check) {
                continue;
            }
            if !near(seen, local, peer) {
                self.skip(check, format!("{label} is on another network"));
                continue;
            }
            if !peer.links.contains(link) {
                self.skip(check, format!("{label} does not use it"));
                continue;
            }
            let what = match (peer.there.contains(link), peer.back.contains(link)) {
                (true, true) => {
                    self.pass(check, label);
                    continue;
                }
                (false, false) => "beacons are heard neither there nor here",
                (false, true) => "beacons from here are not heard there",
                (true, false) => "beacons from there are not heard here",
            };
            self.find(code, label, what, link_remedy(link));
        }
    }

    fn address(&mut self, seen: &Examination, peer: &PeerSeen, label: &str) {
        match peer.seen {
            Some(at) if at != seen.own => self.find(
                Code::Nat,
                label,
                format!(
                    "it sees this node at {at}, and this node tells everybody {}",
                    seen.own
                ),
                "pass --advertise with the address at which others reach this node, or let \
                 packets between them pass untranslated",
            ),
            Some(_) => self.pass("address", label),
            None => self.skip("address", "no answer by packet"),
        }
    }

    /// It answers by no way, and should be there.
    fn silence(&mut self, peer: &PeerSeen, label: String) {
        match peer.stream {
            _ if peer.refused || peer.stream == StreamSeen::Refused => self.find(
                Code::NotRunning,
                label,
                "it refuses: nobody listens there, or a firewall rejects both packets and streams",
                format!(
                    "start dui there, or let UDP and TCP pass to port {}; if it is gone for good, \
                     take it off the list, or `dui forget` it",
                    peer.address.port()
                ),
            ),
            StreamSeen::Broken | StreamSeen::Untried | StreamSeen::Refused => self.find(
                Code::Unreachable,
                label,
                "neither packets nor streams bring any answer: the host is down, its address is \
                 wrong, or a firewall drops everything",
                format!(
                    "see whether the host is up and the address right (`ping {}`), and let UDP and \
                     TCP pass to port {}",
                    peer.address.ip(),
                    peer.address.port()
                ),
            ),
            // Told when everything else is known: `unexplained`.
            StreamSeen::Silent | StreamSeen::Answered => {}
        }
    }
}

pub(super) fn of_link(link: Way) -> (&'static str, Code) {
    match link {
        Way::Broadcast => ("broadcast", Code::BroadcastBlocked),
        _ => ("multicast", Code::MulticastBlocked),
    }
}

pub(super) fn link_remedy(link: Way) -> &'static str {
    match link {
        Way::Broadcast => broadcast_remedy(),
        _ => multicast_remedy(),
    }
}

pub(super) fn multicast_remedy() -> &'static str {
    "let UDP to port 7791 of group 239.255.77.91 (IPv6: ff12::7791) pass, in the firewalls of both \
     hosts and in the switch between (IGMP snooping needs a querier); or do without: name a peer \
     with --join, or use --discovery dns:NAME"
}

pub(super) fn broadcast_remedy() -> &'static str {
    "let UDP to port 7791 of the network's broadcast address pass; or do without: --discovery \
     multicast, or name a peer with --join"
}

fn cluster_remedy() -> &'static str {
    "start both with the same --cluster, or leave them apart"
}

fn udp_remedy(seen: &Examination, peer: &PeerSeen) -> String {
    pass_remedy("UDP", seen, peer)
}

fn tcp_remedy(seen: &Examination, peer: &PeerSeen) -> String {
    pass_remedy("TCP", seen, peer)
}

fn pass_remedy(what: &str, seen: &Examination, peer: &PeerSeen) -> String {
    format!(
        "let {what} pass to port {} there, and to port {} here, in every firewall between",
        peer.address.port(),
        seen.own.port()
    )
}
