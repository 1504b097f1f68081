//! What a node is started with. Every field has the default that `dui run` documents.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use dui_core::{ClusterName, Keyring, NodeName, Role};

use crate::place::Place;
use crate::tags::Tags;

/// A port and whether somebody asked for exactly this one: a taken port that
/// nobody asked for moves to the next free one on loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The number; 0 lets the kernel choose.
    pub number: u16,
    /// `true` when set by flag, variable or file.
    pub asked: bool,
}

/// A way to find addresses. All that are chosen run at once, for as long as
/// the node does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Beacons to group 239.255.77.91, or ff12::7791 from an IPv6 address.
    Multicast,
    /// Beacons to everybody on the IPv4 network. Not used on loopback, where
    /// multicast reaches all there is.
    Broadcast,
    /// Fixed places, tried at start and for ever. Names are looked up again
    /// and again.
    Static(Vec<PeerPlace>),
    /// Every address behind a name: looked up each second while the node is
    /// alone, each ten seconds later, whatever time to live the answer has.
    Dns(PeerPlace),
    /// One address a line, `#` for comments; read again when it changes. At
    /// most 1 MiB and 1,024 addresses.
    File(PathBuf),
}

/// Where a peer may be: `HOST[:PORT]`, the port 7781 unless it is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerPlace {
    /// The machine.
    pub host: Host,
    /// Its peer port.
    pub port: u16,
}

/// A machine by address or by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// An IP address.
    Address(IpAddr),
    /// A name to be looked up: at most 253 bytes of letters, digits, `-`, `_`
    /// and `.`.
    Name(String),
}

/// The peer port of whoever did not choose another.
const PEER_PORT: u16 = 7781;
/// The longest name there may be (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// A text that is no [`PeerPlace`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is no place of a peer: give HOST or HOST:PORT, such as 10.0.0.7, [fd00::7]:7781 or seed.example"
)]
pub struct PlaceError(String);

impl std::str::FromStr for PeerPlace {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let at = |ip, port| Self {
            host: Host::Address(ip),
            port,
        };
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(at(ip, PEER_PORT));
        }
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Some(Ok(ip)) = bare.map(str::parse) {
            return Ok(at(ip, PEER_PORT));
        }
        let problem = || PlaceError(text.chars().take(NAME_BYTES_MAX).collect());
        if let Ok(address) = text.parse::<SocketAddr>() {
            return match address.port() {
                0 => Err(problem()),
                port => Ok(at(address.ip(), port)),
            };
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, port.parse().map_err(|_| problem())?),
            None => (text, PEER_PORT),
        };
        if name == "localhost" && port != 0 {
            return Ok(at(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
        }
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            // An address with a slip of the pen is no name.
            && !name.bytes().all(|b| b.is_ascii_digit() || b == b'.')
            && port != 0;
        if !fits {
            return Err(problem());
        }
        Ok(Self {
            host: Host::Name(name.into()),
            port,
        })
    }
}

impl From<SocketAddr> for PeerPlace {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: Host::Address(address.ip()),
            port: address.port(),
        }
    }
}

impl std::fmt::Display for PeerPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Host::Address(ip) => write!(f, "{}", SocketAddr::new(*ip, self.port)),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Default `dui`.
    pub cluster: ClusterName,
    /// Default: a pioneer of computing with the first 4 hex digits of the id.
    pub name: Option<NodeName>,
    /// Default manager.
    pub role: Role,
    /// What else it says of itself: at most 64 keys of 1 to 128 bytes, values
    /// of up to 1 KiB, no control characters. Default none.
    pub tags: Tags,
    /// Address of all sockets. Default 127.0.0.1. An interface and `Auto` are
    /// followed when their address changes, a literal address never.
    pub bind: Place,
    /// Told to others instead of the bound address. Followed as `bind` is.
    pub advertise: Option<Place>,
    /// What an orchestrator says this node's address is (Kubernetes: status.podIP).
    /// Used where `bind` and `advertise` leave it open, if this machine has it.
    pub pod_ip: Option<IpAddr>,
    /// UDP and TCP. Default 7781.
    pub peer_port: Port,
    /// UDP, shared by every node of a host. Default 7791.
    pub discovery_port: Port,
    /// Default: multicast and broadcast.
    pub discovery: Vec<Provider>,
    /// Keeps id, incarnation and known peers. `None`: memory only.
    pub data_dir: Option<PathBuf>,
    /// Default empty: loopback only.
    pub keys: Keyring,
    /// Allows to bind beyond loopback without a key.
    pub insecure: bool,
    /// Longest wait for a leave. Default 8 s (Docker's 10 s less a margin).
    pub leave_timeout: Duration,
    /// Memory that shared entries may take, in bytes, overhead included. Every
    /// node holds all entries, so that all should have the same. Default
    /// 256 MiB. More is refused, and nothing is ever dropped for it.
    pub shared_bytes_max: u64,
    /// How long deletes are remembered. Default 30 days. Two nodes that were
    /// out of contact for longer exchange no entries until an operator decides.
    pub tombstone_life: Duration,
    /// How far this node's clock may be ahead of its peers' median before it
    /// refuses to write shared entries. Default 60 s.
    pub clock_ahead_max: Duration,
    /// How many managers found the cluster together, this one included: 1 to
    /// 15, an odd number is wise. `None`: on loopback the first one founds
    /// alone, elsewhere nobody does. Default `None`.
    pub expect: Option<u32>,
    /// Allows managers without a data directory to found with others beyond
    /// loopback: all of them gone at once, so is what they agreed on.
    pub ephemeral: bool,
    /// Most managers that vote; the others stand by. Default 5.
    pub voters_max: usize,
    /// Time between probes. Default 1 s; not a flag.
    pub probe_interval: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let default = |number| Port {
            number,
            asked: false,
        };
        Self {
            cluster: "dui".parse().expect("the default cluster name is valid"),
            name: None,
            role: Role::default(),
            tags: Tags::new(),
            bind: Place::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            advertise: None,
            pod_ip: None,
            peer_port: default(PEER_PORT),
            discovery_port: default(7791),
            discovery: vec![Provider::Multicast, Provider::Broadcast],
            data_dir: None,
            keys: Keyring::default(),
            insecure: false,
            leave_timeout: Duration::from_secs(8),
            shared_bytes_max: 256 << 20,
            tombstone_life: Duration::from_secs(30 * 24 * 3_600),
            clock_ahead_max: Duration::from_secs(60),
            expect: None,
            ephemeral: false,
            voters_max: 5,
            probe_interval: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_place_gets_the_peer_port_unless_it_brings_one() {
        let shown = |text: &str| text.parse::<PeerPlace>().unwrap().to_string();
        assert_eq!(shown("10.0.0.7"), "10.0.0.7:7781");
        assert_eq!(shown("10.0.0.7:99"), "10.0.0.7:99");
        assert_eq!(shown("fd00::7"), "[fd00::7]:7781");
        assert_eq!(shown("[fd00::7]"), "[fd00::7]:7781");
        assert_eq!(shown("[fd00::7]:99"), "[fd00::7]:99");
        assert_eq!(shown("localhost:99"), "127.0.0.1:99");
        assert_eq!(shown("tasks.web"), "tasks.web:7781");
        assert_eq!(shown("db_1.example:99"), "db_1.example:99");
    }

    #[test]
    fn what_is_no_place_is_refused_with_an_example() {
        let long = "a".repeat(300);
        for text in [
            "",
            ":7781",
            "10.0.0.7:0",
            "10.0.0",
            "a b",
            "seed:http",
            "seed:0",
            &long,
        ] {
            let error = text.parse::<PeerPlace>().unwrap_err().to_string();
            assert!(error.contains("such as 10.0.0.7"), "{text}: {error}");
        }
    }
}
