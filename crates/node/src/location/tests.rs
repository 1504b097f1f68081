//! Location, tested: machines, names and routes as each rule sees them, and later.

#![allow(clippy::unwrap_used)]

use dui_core::{Key, Keyring};

use super::here::Rank;
use super::*;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A machine, what names lead to, and where the node is.
struct Scene {
    options: Options,
    here: Vec<Candidate>,
    answers: Answers,
    known: Vec<SocketAddr>,
    routes: Vec<(SocketAddr, IpAddr)>,
    current: Option<Location>,
}

impl Scene {
    fn bind(bind: &str) -> Self {
        let keys = Keyring::new(vec![Key::from_slice(&[7; 32]).unwrap()]).unwrap();
        Self {
            options: Options {
                bind: bind.parse().unwrap(),
                keys,
                ..Options::default()
            },
            here: Vec::new(),
            answers: Answers::new(),
            known: Vec::new(),
            routes: Vec::new(),
            current: None,
        }
        .has(&[("lo", "127.0.0.1")])
    }

    fn has(mut self, addresses: &[(&str, &str)]) -> Self {
        for (interface, address) in addresses {
            self = self.ranks(interface, address, Rank::Stable);
        }
        self
    }

    fn ranks(mut self, interface: &str, address: &str, rank: Rank) -> Self {
        self.here.push(Candidate {
            interface: interface.into(),
            address: ip(address),
            rank,
        });
        self
    }

    fn advertise(mut self, place: &str) -> Self {
        self.options.advertise = Some(place.parse().unwrap());
        self
    }

    fn pod_ip(mut self, address: &str) -> Self {
        self.options.pod_ip = Some(ip(address));
        self
    }

    fn discovers(mut self, name: &str) -> Self {
        let place = name.parse().unwrap();
        self.options.discovery.push(Provider::Dns(place));
        self
    }

    fn joins(mut self, place: &str) -> Self {
        let place = place.parse().unwrap();
        self.options.discovery.push(Provider::Static(vec![place]));
        self
    }

    fn resolves(mut self, name: &str, to: &[&str]) -> Self {
        self.answers
            .insert(name.into(), to.iter().map(|text| ip(text)).collect());
        self
    }

    fn routes(mut self, peer: &str, source: &str) -> Self {
        self.routes.push((peer.parse().unwrap(), ip(source)));
        self
    }

    fn at(&self) -> Result<Location, StartError> {
        let source = |peer| {
            let mut routes = self.routes.iter();
            routes
                .find(|(to, _)| *to == peer)
                .map(|(_, source)| *source)
        };
        let view = View {
            here: &self.here,
            answers: &self.answers,
            known: &self.known,
            source: &source,
            current: self.current.as_ref(),
        };
        let rules = Rules::of(&self.options);
        let location = rules.choose(&view)?;
        rules.check(&location)?;
        Ok(location)
    }

    /// Bound and told address, and the rule.
    fn settles(&self, bind: &str, advertise: &str, reason: &str) -> Location {
        let at = self.at().unwrap();
        assert_eq!((at.bind, at.advertise), (ip(bind), ip(advertise)));
        assert!(
            at.reason().contains(reason),
            "{} is not {reason}",
            at.reason()
        );
        at
    }

    /// Moves in, and sees these addresses from then on.
    fn then_has(mut self, addresses: &[(&str, &str)]) -> Self {
        self.current = Some(self.at().unwrap());
        self.here.clear();
        self.has(&[("lo", "127.0.0.1")]).has(addresses)
    }
}

const TWO: [(&str, &str); 2] = [("eth0", "10.0.0.7"), ("eth1", "192.168.1.2")];

// --- what was said ---

#[test]
fn what_is_bound_is_told_unless_somebody_says_otherwise() {
    Scene::bind("10.0.0.7")
        .has(&TWO)
        .settles("10.0.0.7", "10.0.0.7", "bound");
    Scene::bind("eth1")
        .has(&TWO)
        .settles("192.168.1.2", "192.168.1.2", "bound");
    let outside = Scene::bind("eth1").has(&TWO).advertise("203.0.113.9");
    outside.settles("192.168.1.2", "203.0.113.9", "--advertise");
    let by_interface = Scene::bind("0.0.0.0").has(&TWO).advertise("eth1");
    by_interface.settles("0.0.0.0", "192.168.1.2", "--advertise");
}

#[test]
fn an_interface_gives_its_ipv4_address_before_its_ipv6_one() {
    let here = [
        ("eth0", "fd00::7"),
        ("eth0", "10.0.0.7"),
        ("eth6", "fd00::8"),
        ("eth6", "fe80::1"),
    ];
    Scene::bind("eth0")
        .has(&here)
        .settles("10.0.0.7", "10.0.0.7", "bound");
    Scene::bind("eth6")
        .has(&here)
        .settles("fd00::8", "fd00::8", "bound");
    let error = Scene::bind("wlan0")
        .has(&here)
        .at()
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("wlan0") && error.contains("10.0.0.7 (eth0)"),
        "{error}"
    );
}

#[test]
fn auto_binds_what_is_advertised_if_it_is_ours_and_what_the_rules_say_if_not() {
    let auto = || Scene::bind("auto").has(&TWO);
    auto()
        .advertise("192.168.1.2")
        .settles("192.168.1.2", "192.168.1.2", "--advertise");
    auto()
        .advertise("eth0")
        .settles("10.0.0.7", "10.0.0.7", "--advertise");
    let translated = auto().advertise("203.0.113.9").pod_ip("10.0.0.7");
    translated.settles("10.0.0.7", "203.0.113.9", "--advertise");
}

#[test]
fn a_name_to_advertise_is_ours_or_the_one_that_is_translated_to_ours() {
    let auto = || {
        Scene::bind("auto")
            .has(&TWO)
            .advertise("db-1.example")
            .pod_ip("10.0.0.7")
    };
    let named = |to: &[&str]| auto().resolves("db-1.example", to);
    named(&["192.168.1.2", "10.9.9.9"]).settles("192.168.1.2", "192.168.1.2", "--advertise");
    named(&["203.0.113.9"]).settles("10.0.0.7", "203.0.113.9", "--advertise");
    // Debian's /etc/hosts: of no use to others.
    let at = named(&["127.0.1.1"]).settles("10.0.0.7", "10.0.0.7", "POD_IP");
    assert!(
        at.skipped()[0].contains("db-1.example"),
        "{:?}",
        at.skipped()
    );
}

#[test]
fn a_name_that_does_not_resolve_or_leads_to_several_leaves_it_to_the_next_rule() {
    let auto = || {
        Scene::bind("auto")
            .has(&TWO)
            .advertise("db-1.example")
            .pod_ip("10.0.0.7")
    };
    for scene in [
        auto(),
        auto().resolves("db-1.example", &["203.0.113.9", "203.0.113.10"]),
        auto().resolves("db-1.example", &["10.0.0.7", "192.168.1.2"]),
    ] {
        let at = scene.settles("10.0.0.7", "10.0.0.7", "POD_IP");
        assert!(
            at.skipped()[0].starts_with("--advertise"),
            "{:?}",
            at.skipped()
        );
    }
}

// --- what the rules say ---

#[test]
fn the_rules_are_asked_in_their_order() {
    let join = "10.1.1.1:7781";
    let all = || {
        let scene = Scene::bind("auto")
            .has(&TWO)
            .discovers("tasks.web")
            .joins(join);
        scene.routes(join, "10.0.0.7")
    };
    let behind = |scene: Scene| scene.resolves("tasks.web", &["10.9.9.9", "192.168.1.2"]);
    behind(all().pod_ip("10.0.0.7")).settles("10.0.0.7", "10.0.0.7", "POD_IP");
    behind(all()).settles("192.168.1.2", "192.168.1.2", "discovery name");
    all().settles("10.0.0.7", "10.0.0.7", "toward 10.1.1.1:7781");
    let only = Scene::bind("auto").has(&TWO[1..]);
    only.settles("192.168.1.2", "192.168.1.2", "only plausible");
}

#[test]
fn a_pod_ip_that_this_machine_does_not_have_is_passed_over_and_told() {
    let scene = Scene::bind("auto").has(&TWO[..1]).pod_ip("10.9.9.9");
    let at = scene.settles("10.0.0.7", "10.0.0.7", "only plausible");
    assert_eq!(
        at.skipped(),
        ["POD_IP: 10.9.9.9 is no address of this machine"]
    );
}

#[test]
fn a_discovery_name_that_leads_to_foreign_addresses_or_to_several_of_ours_settles_nothing() {
    let named = |to: &[&str]| {
        let scene = Scene::bind("auto").has(&TWO).discovers("tasks.web");
        scene
            .joins("10.1.1.1:7781")
            .routes("10.1.1.1:7781", "10.0.0.7")
            .resolves("tasks.web", to)
    };
    named(&["10.9.9.9"]).settles("10.0.0.7", "10.0.0.7", "toward 10.1.1.1:7781");
    // A foreign one is a peer's, and shows the way.
    let peer = named(&["10.9.9.9"]).routes("10.9.9.9:7781", "192.168.1.2");
    peer.settles("192.168.1.2", "192.168.1.2", "toward 10.9.9.9:7781");
    let at = named(&["10.0.0.7", "192.168.1.2"]).settles("10.0.0.7", "10.0.0.7", "toward");
    assert!(
        at.skipped()[0].contains("2 addresses"),
        "{:?}",
        at.skipped()
    );
}

#[test]
fn a_peer_that_was_known_shows_the_way_as_well_and_one_on_loopback_does_not() {
    let mut scene = Scene::bind("auto").has(&TWO);
    scene.known = vec![
        "127.0.0.1:1".parse().unwrap(),
        "10.1.1.1:7781".parse().unwrap(),
    ];
    let scene = scene
        .routes("127.0.0.1:1", "127.0.0.1")
        .routes("10.1.1.1:7781", "192.168.1.2");
    scene.settles("192.168.1.2", "192.168.1.2", "toward 10.1.1.1:7781");
}

#[test]
fn several_candidates_and_nothing_to_choose_by_is_an_error_that_lists_them() {
    for bind in ["auto", "0.0.0.0"] {
        let error = Scene::bind(bind).has(&TWO).at().unwrap_err();
        let text = error.to_string();
        for part in [
            bind,
            "10.0.0.7 (eth0)",
            "192.168.1.2 (eth1)",
            "--bind",
            "--advertise",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert_eq!(error.exit_code(), 78);
    }
    let nothing = Scene::bind("auto").at().unwrap_err().to_string();
    assert!(nothing.contains("no address beyond loopback"), "{nothing}");
}

#[test]
fn bound_to_everything_the_rules_of_its_family_say_what_to_tell() {
    let both = [("eth0", "10.0.0.7"), ("eth0", "fd00::7")];
    Scene::bind("0.0.0.0")
        .has(&both)
        .settles("0.0.0.0", "10.0.0.7", "only plausible");
    Scene::bind("::")
        .has(&both)
        .settles("::", "fd00::7", "only plausible");
}

#[test]
fn of_ipv6_addresses_a_stable_one_is_taken_and_none_that_is_on_its_way_out() {
    let six = |bind: &str| {
        Scene::bind(bind)
            .ranks("eth0", "fd00::d", Rank::Deprecated)
            .ranks("eth0", "fd00::e", Rank::Temporary)
            .ranks("eth0", "fe80::1", Rank::Stable)
    };
    for bind in ["auto", "eth0"] {
        let scene = six(bind);
        scene.settles("fd00::e", "fd00::e", "");
        let scene = scene.has(&[("eth0", "fd00::7")]);
        scene.settles("fd00::7", "fd00::7", "");
    }
}

#[test]
fn who_may_not_be_on_the_network_does_not_get_there_by_a_rule() {
    let mut scene = Scene::bind("auto").has(&TWO[..1]);
    scene.options.keys = Keyring::default();
    assert!(matches!(scene.at(), Err(StartError::NoKey { .. })));
}

#[test]
fn names_are_asked_for_only_where_they_matter() {
    let asked = |scene: &Scene| {
        let view = View {
            here: &scene.here,
            answers: &scene.answers,
            known: &[],
            source: &|_| None,
            current: None,
        };
        let names = Rules::of(&scene.options).names(&view);
        names.into_iter().collect::<Vec<_>>().join(" ")
    };
    let named = |bind: &str| {
        Scene::bind(bind)
            .discovers("tasks.web")
            .joins("seed.example")
    };
    assert_eq!(asked(&named("auto").has(&TWO)), "seed.example tasks.web");
    assert_eq!(
        asked(&named("auto").has(&TWO[..1])),
        "",
        "there is nothing to choose"
    );
    assert_eq!(asked(&named("auto").has(&TWO).pod_ip("10.0.0.7")), "");
    assert_eq!(asked(&named("eth0").has(&TWO)), "", "it was said");
    let advertise = named("eth0").has(&TWO).advertise("db-1.example");
    assert_eq!(asked(&advertise), "db-1.example");
    assert_eq!(asked(&named("eth0").has(&TWO).advertise("eth1")), "");
}

// --- what happens later ---

#[test]
fn an_interface_and_auto_are_followed_and_a_literal_address_is_not() {
    let moved = [("eth1", "10.0.0.9")];
    let auto = Scene::bind("auto").has(&TWO[..1]).then_has(&moved);
    auto.settles("10.0.0.9", "10.0.0.9", "only plausible");
    let by_name = Scene::bind("eth0")
        .has(&TWO[..1])
        .then_has(&[("eth0", "10.0.0.9")]);
    by_name.settles("10.0.0.9", "10.0.0.9", "bound");
    let everything = Scene::bind("0.0.0.0").has(&TWO[..1]).then_has(&moved);
    everything.settles("0.0.0.0", "10.0.0.9", "only plausible");
    let literal = Scene::bind("10.0.0.7").has(&TWO[..1]).then_has(&moved);
    literal.settles("10.0.0.7", "10.0.0.7", "bound");
}

#[test]
fn an_address_that_still_exists_is_kept_whatever_comes_beside_it() {
    let mut scene = Scene::bind("auto").has(&TWO[..1]).then_has(&TWO);
    scene.settles("10.0.0.7", "10.0.0.7", "only plausible");
    scene = scene
        .joins("10.1.1.1:7781")
        .routes("10.1.1.1:7781", "192.168.1.2");
    scene.settles("10.0.0.7", "10.0.0.7", "only plausible");
    let by_name = Scene::bind("eth0").has(&TWO[..1]);
    let second = [("eth0", "10.0.0.3"), ("eth0", "10.0.0.7")];
    by_name
        .then_has(&second)
        .settles("10.0.0.7", "10.0.0.7", "bound");
}

#[test]
fn what_somebody_says_moves_a_node_that_is_well() {
    let scene = Scene::bind("auto")
        .has(&TWO[..1])
        .discovers("tasks.web")
        .then_has(&TWO);
    let scene = scene.resolves("tasks.web", &["192.168.1.2"]);
    scene.settles("192.168.1.2", "192.168.1.2", "discovery name");
}

#[test]
fn a_node_keeps_its_family() {
    let both = [("eth0", "10.0.0.7"), ("eth0", "fd00::7")];
    for bind in ["auto", "eth0"] {
        let gone = Scene::bind(bind).has(&both).then_has(&both[1..]);
        assert!(gone.at().is_err(), "IPv6 is no place for peers of 10.0.0.7");
    }
}

#[test]
fn only_what_can_move_is_followed() {
    let movable = |scene: Scene| Rules::of(&scene.options).movable();
    assert!(!movable(Scene::bind("10.0.0.7")));
    assert!(!movable(Scene::bind("10.0.0.7").advertise("203.0.113.9")));
    for scene in [
        Scene::bind("eth0"),
        Scene::bind("auto"),
        Scene::bind("0.0.0.0"),
        Scene::bind("10.0.0.7").advertise("db-1.example"),
    ] {
        assert!(movable(scene));
    }
}
