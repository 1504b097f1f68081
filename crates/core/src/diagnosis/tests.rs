//! Each rule by itself.

use super::*;
use crate::keyring::KeyFingerprint;

fn at(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 7781))
}

/// A peer with whom everything gets through.
fn well(n: u8) -> PeerSeen {
    let links: Ways = LINKS.into_iter().collect();
    let mut all: Ways = Way::PACKETS.into_iter().collect();
    all.extend(links);
    let mut back = all;
    back.insert(Way::StreamBack);
    PeerSeen {
        address: at(n),
        name: Some(format!("n{n}")),
        state: Some(MemberState::Alive),
        expected: true,
        there: all,
        back,
        links,
        stream: StreamSeen::Answered,
        refused: false,
        denied: false,
        clock_ahead_ms: Some(3),
        seen: Some(at(1)),
        refusal: None,
        turned_away: None,
    }
}

/// A peer that answers nothing.
fn mute(n: u8, stream: StreamSeen) -> PeerSeen {
    PeerSeen {
        there: Ways::default(),
        back: Ways::default(),
        links: Ways::default(),
        clock_ahead_ms: None,
        seen: None,
        stream,
        ..well(n)
    }
}

fn other_key(n: u8) -> Refusal {
    Refusal::OtherKey {
        theirs: KeyFingerprint([9; 4]),
        ours: "07070707".into(),
        from: at(n),
    }
}

fn seen(peers: Vec<PeerSeen>) -> Examination {
    Examination {
        own: at(1),
        member: true,
        peers,
        left_out: 0,
        refusals: Vec::new(),
        heard: Ways::default(),
    }
}

fn here() -> Local {
    let provider = |name: &str| Provider {
        name: name.into(),
        detail: String::new(),
        error: None,
    };
    Local {
        network: Some(Network {
            address: at(1).ip(),
            prefix: 24,
        }),
        mtu: Some(1_500),
        providers: vec![provider("multicast"), provider("broadcast")],
        ..Local::default()
    }
}

fn codes(diagnosis: &Diagnosis) -> Vec<&'static str> {
    let findings = diagnosis.findings.iter();
    findings.map(|finding| finding.code.as_str()).collect()
}

fn found(peers: Vec<PeerSeen>) -> Vec<&'static str> {
    codes(&diagnose(&seen(peers), &here()))
}

fn without(mut ways: Ways, gone: &[Way]) -> Ways {
    for way in gone {
        ways.0 &= !(1 << *way as u32);
    }
    ways
}

#[test]
fn where_all_is_well_every_check_has_passed() {
    let diagnosis = diagnose(&seen(vec![well(2), well(3)]), &here());
    assert_eq!(diagnosis.findings, []);
    for check in &diagnosis.checks {
        let expected = match check.name {
            "names" => CheckState::Skipped,
            _ => CheckState::Ok,
        };
        assert_eq!(check.state, expected, "{check:?}");
    }
}

#[test]
fn alone_nothing_is_wrong_and_what_was_not_tried_says_why() {
    let diagnosis = diagnose(&seen(Vec::new()), &here());
    assert_eq!(diagnosis.findings, []);
    let udp = diagnosis.checks.iter().find(|check| check.name == "udp");
    assert!(udp.is_some_and(|udp| udp.detail.contains("no other node")));
}

#[test]
fn long_packets_that_vanish_are_told_by_direction_and_size() {
    let long = [Way::Packet1000, Way::Packet1200];
    let mut peer = well(2);
    peer.there = without(peer.there, &long);
    let diagnosis = diagnose(&seen(vec![peer]), &here());
    assert_eq!(codes(&diagnosis), ["mtu"]);
    let told = &diagnosis.findings[0].detail;
    assert!(
        told.contains("from here of up to 828 bytes") && told.contains("1028"),
        "{told}"
    );

    // Of our own interface that is known by name and number.
    let mut peer = well(2);
    peer.back = without(peer.back, &long);
    let narrow = Local {
        mtu: Some(900),
        ..here()
    };
    let diagnosis = diagnose(&seen(vec![peer]), &narrow);
    assert_eq!(codes(&diagnosis), ["mtu"]);
    let finding = &diagnosis.findings[0];
    assert!(
        finding.subject == "this host" && finding.detail.contains("900"),
        "{finding:?}"
    );
}

#[test]
fn what_the_own_firewall_does_is_told_of_strangers_too() {
    let mut stranger = mute(2, StreamSeen::Silent);
    stranger.refusal = Some(other_key(2));
    stranger.denied = true;
    assert_eq!(found(vec![stranger, well(3)]), ["other_key", "udp_blocked"]);
}

/// A peer with another key that turned us away by these ways.
fn outsider(n: u8, by: &[Way]) -> PeerSeen {
    let mut peer = mute(n, StreamSeen::Silent);
    peer.refusal = Some(other_key(n));
    peer.turned_away = Some(TurnedAway {
        by: by.iter().copied().collect(),
        same_name: true,
    });
    peer
}

#[test]
fn who_turns_us_away_shows_by_which_ways_we_reached_it() {
    let both = [Way::Packet, Way::Stream];
    assert_eq!(found(vec![outsider(2, &both), well(3)]), ["other_key"]);
    let no_packets = vec![outsider(2, &both[1..]), well(3)];
    assert_eq!(found(no_packets), ["other_key", "udp_blocked"]);
    let no_streams = vec![outsider(2, &both[..1]), well(3)];
    assert_eq!(found(no_streams), ["other_key", "tcp_blocked"]);
    // Without a key there is no handshake that a stream could be refused in.
    let mut open = outsider(2, &both[..1]);
    open.refusal = Some(Refusal::NotSealed {
        ours: "07070707".into(),
        from: at(2),
    });
    assert_eq!(found(vec![open, well(3)]), ["other_key"]);
}

#[test]
fn a_strangers_clock_and_name_count_for_what_they_are() {
    let both = [Way::Packet, Way::Stream];
    let mut stranger = outsider(2, &both);
    stranger.clock_ahead_ms = Some(-600_000);
    stranger.turned_away.as_mut().unwrap().same_name = false;
    let other = stranger.clone();
    assert_eq!(
        found(vec![stranger.clone(), well(3)]),
        ["other_cluster", "other_key"],
        "who shares our key tells the time"
    );
    let mut alone = seen(vec![stranger, other]);
    alone.heard.extend(LINKS.into_iter().collect());
    assert_eq!(
        codes(&diagnose(&alone, &here())),
        ["other_cluster", "other_key", "clock_off"]
    );
}

#[test]
fn a_peer_of_another_cluster_is_examined_under_its_own_name() {
    let mut peer = well(2);
    peer.refusal = Some(Refusal::OtherCluster {
        theirs: "blue".into(),
        ours: "green".into(),
        from: at(2),
    });
    peer.state = None;
    peer.there = without(peer.there, &[Way::Multicast]);
    peer.clock_ahead_ms = Some(-600_000);
    assert_eq!(
        found(vec![peer]),
        ["other_cluster", "multicast_blocked", "clock_off"]
    );
}

#[test]
fn a_link_that_is_not_in_use_says_so() {
    let mut local = here();
    local
        .providers
        .retain(|provider| provider.name == "multicast");
    let diagnosis = diagnose(&seen(vec![well(2)]), &local);
    let mut checks = diagnosis.checks.iter();
    let broadcast = checks.find(|check| check.name == "broadcast").unwrap();
    assert_eq!(broadcast.state, CheckState::Skipped);
    assert_eq!(broadcast.detail, "this node does not use it");
}

#[test]
fn links_are_tried_only_with_those_who_are_near_and_listen() {
    let (mut far, mut deaf) = (well(2), well(3));
    far.address = SocketAddr::from(([10, 0, 1, 2], 7781));
    for peer in [&mut far, &mut deaf] {
        peer.there = without(peer.there, &LINKS);
        peer.back = without(peer.back, &LINKS);
    }
    deaf.links = Ways::default();
    assert_eq!(found(vec![far, deaf]), [""; 0]);
}

#[test]
fn where_all_are_strangers_a_link_that_is_silent_is_blocked() {
    let mut stranger = mute(2, StreamSeen::Silent);
    stranger.refusal = Some(other_key(2));
    let mut seen = seen(vec![stranger]);
    seen.heard.insert(Way::Broadcast);
    assert_eq!(
        codes(&diagnose(&seen, &here())),
        ["other_key", "multicast_blocked"]
    );
    seen.heard.insert(Way::Multicast);
    assert_eq!(codes(&diagnose(&seen, &here())), ["other_key"]);
}

#[test]
fn streams_that_are_dropped_rejected_or_one_way_are_blocked() {
    for stream in [StreamSeen::Broken, StreamSeen::Refused, StreamSeen::Silent] {
        let peer = PeerSeen { stream, ..well(2) };
        assert_eq!(found(vec![peer]), ["tcp_blocked"], "{stream:?}");
    }
    let mut peer = well(2);
    peer.back = without(peer.back, &[Way::StreamBack]);
    assert_eq!(found(vec![peer]), ["tcp_blocked"]);
}

#[test]
fn an_address_that_others_see_elsewhere_is_translated() {
    let mut peer = well(2);
    peer.seen = Some(SocketAddr::from(([192, 0, 2, 1], 40_000)));
    let diagnosis = diagnose(&seen(vec![peer]), &here());
    assert_eq!(codes(&diagnosis), ["nat"]);
    assert!(diagnosis.findings[0].detail.contains("192.0.2.1:40000"));
}

#[test]
fn the_clock_of_most_is_right_and_of_two_nobody_can_tell() {
    let ahead = |n, ms| PeerSeen {
        clock_ahead_ms: Some(ms),
        ..well(n)
    };
    let ours = diagnose(&seen(vec![ahead(2, -600_000), ahead(3, -600_100)]), &here());
    assert_eq!(ours.findings[0].subject, "this node");
    assert_eq!(ours.findings.len(), 1);
    let theirs = diagnose(&seen(vec![ahead(2, 0), ahead(3, 90_000)]), &here());
    assert!(theirs.findings[0].subject.starts_with("n3"), "{theirs:?}");
    let either = diagnose(&seen(vec![ahead(2, 90_000)]), &here());
    assert!(
        either.findings[0].detail.contains("which of the two"),
        "{either:?}"
    );
    assert_eq!(found(vec![ahead(2, 59_000), well(3)]), [""; 0]);
}

#[test]
fn whoever_answers_nothing_is_told_by_what_came_back_instead() {
    assert_eq!(found(vec![mute(2, StreamSeen::Refused)]), ["not_running"]);
    assert_eq!(found(vec![mute(2, StreamSeen::Broken)]), ["unreachable"]);
    let refused = PeerSeen {
        refused: true,
        ..mute(2, StreamSeen::Broken)
    };
    assert_eq!(found(vec![refused]), ["not_running"]);
    assert_eq!(found(vec![mute(2, StreamSeen::Silent)]), ["unknown"]);
    // A host that was only knocked at owes nobody an answer.
    for stream in [StreamSeen::Refused, StreamSeen::Broken, StreamSeen::Silent] {
        let peer = PeerSeen {
            expected: false,
            ..mute(2, stream)
        };
        assert_eq!(found(vec![peer]), [""; 0]);
    }
}

#[test]
fn a_peer_that_answers_by_every_way_and_is_no_member_is_a_riddle() {
    let peer = PeerSeen {
        state: None,
        ..well(2)
    };
    assert_eq!(found(vec![peer.clone()]), ["unknown"]);
    // An examiner has no members.
    let examiner = Examination {
        member: false,
        ..seen(vec![peer])
    };
    assert_eq!(codes(&diagnose(&examiner, &here())), [""; 0]);
}

#[test]
fn what_is_wrong_on_this_host_is_found_without_any_peer() {
    let broken = |name: &str, error: &str| Provider {
        name: name.into(),
        detail: "seed.example:7781".into(),
        error: Some(error.into()),
    };
    let local = Local {
        taken: vec![Taken {
            what: "peer",
            address: at(1),
            holder: Some("python3 (pid 42)".into()),
        }],
        providers: vec![
            broken("static", "'seed.example' has no IPv4 address"),
            broken("file", "cannot read it"),
            broken("broadcast", "this interface has no broadcast address"),
        ],
        ..here()
    };
    let diagnosis = diagnose(&seen(Vec::new()), &local);
    assert_eq!(
        codes(&diagnosis),
        ["port_taken", "name_unresolved", "file_unreadable"]
    );
    assert!(diagnosis.findings[0].detail.starts_with("python3 (pid 42)"));
}

#[test]
fn every_finding_says_what_to_do_and_every_code_has_a_paragraph() {
    let docs = include_str!("../../../../docs/doctor.md");
    let lines = docs.lines();
    let described: Vec<&str> = lines.filter_map(|line| line.strip_prefix("### ")).collect();
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(described, codes);
    for stream in [StreamSeen::Refused, StreamSeen::Broken, StreamSeen::Silent] {
        for finding in diagnose(&seen(vec![mute(2, stream)]), &here()).findings {
            assert!(!finding.remedy.is_empty() && !finding.subject.is_empty());
        }
    }
}

#[test]
fn a_network_has_a_prefix_in_either_family() {
    let net = |text: &str, prefix| Network {
        address: text.parse().unwrap(),
        prefix,
    };
    let holds = |net: Network, text: &str| net.contains(text.parse().unwrap());
    assert!(holds(net("10.0.0.1", 24), "10.0.0.254"));
    assert!(!holds(net("10.0.0.1", 24), "10.0.1.1"));
    assert!(holds(net("fd77::1", 64), "fd77::ffff"));
    assert!(!holds(net("fd77::1", 64), "fd78::1"));
    assert!(!holds(net("10.0.0.1", 0), "fd77::1"));
}
