//! What a node is started with. Every field has the default that `dui run` documents.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use dui_core::{ClusterName, Keyring, NodeName, Role};

/// A port and whether somebody asked for exactly this one: a taken port that
/// nobody asked for moves to the next free one on loopback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The number; 0 lets the kernel choose.
    pub number: u16,
    /// `true` when set by flag, variable or file.
    pub asked: bool,
}

/// A way to find addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Beacons to group 239.255.77.91.
    Multicast,
    /// Fixed addresses `HOST[:PORT]` (IP literals here), tried at start and for ever.
    Static(Vec<SocketAddr>),
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
    /// Address of all sockets. Default 127.0.0.1.
    pub bind: IpAddr,
    /// Told to others instead of the bound address.
    pub advertise: Option<IpAddr>,
    /// UDP and TCP. Default 7781.
    pub peer_port: Port,
    /// UDP, shared by every node of a host. Default 7791.
    pub discovery_port: Port,
    /// Default: multicast.
    pub discovery: Vec<Provider>,
    /// Keeps id, incarnation and known peers. `None`: memory only.
    pub data_dir: Option<PathBuf>,
    /// Default empty: loopback only.
    pub keys: Keyring,
    /// Allows to bind beyond loopback without a key.
    pub insecure: bool,
    /// Longest wait for a leave. Default 8 s (Docker's 10 s less a margin).
    pub leave_timeout: Duration,
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
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            advertise: None,
            peer_port: default(7781),
            discovery_port: default(7791),
            discovery: vec![Provider::Multicast],
            data_dir: None,
            keys: Keyring::default(),
            insecure: false,
            leave_timeout: Duration::from_secs(8),
            probe_interval: Duration::from_secs(1),
        }
    }
}
