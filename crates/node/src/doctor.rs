//! Doctor: why nodes do not find each other, asked of a node or of this host.
//!
//! The core examines and judges; here is what only the shell can see (ports,
//! interfaces, names) and what makes the circumstances: a node that only
//! examines where none runs, one with another's cluster name where that
//! alone keeps two apart, and a look around where nobody is known at all.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use dui_core::diagnosis::{
    Diagnosis, Examination, Local, Network, PeerSeen, Provider as Tried, Taken, diagnose,
};
use dui_core::{EXAMINATION_LASTS, ExamineAlso, Refusal};
use nix::sys::socket::{getsockopt, sockopt};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::discovery::{ProviderState, look_up};
use crate::error::StartError;
use crate::handle::{ApiError, Handle};
use crate::interfaces::Interface;
use crate::node::Node;
use crate::options::{Host, Options, PeerPlace, Port, Provider};
use crate::place::Place;
use crate::{holder, ports};

/// How often an examination is asked whether it is over.
const LOOK: Duration = Duration::from_millis(50);
/// How long one that has just started listens before it examines.
const LISTEN: Duration = Duration::from_millis(1_200);
/// Longest wait for names; each server is asked twice for two seconds.
const NAMES: Duration = Duration::from_millis(4_500);
/// A host that takes connections at the peer port answers within this.
const KNOCK: Duration = Duration::from_millis(400);
/// A network with longer prefixes has at most 254 hosts to knock at.
const PREFIX_MIN: u32 = 24;
/// Other clusters that are examined under their own name.
const CLUSTERS_MAX: usize = 4;

/// What a node was started with, as far as an examination needs it.
#[derive(Debug)]
pub(crate) struct Kit {
    options: Options,
}

impl Kit {
    pub(crate) fn of(options: &Options) -> Self {
        let mut options = options.clone();
        options.data_dir = None;
        Self { options }
    }

    /// Whether it was told to look for whoever is there.
    fn looks_around(&self) -> bool {
        let link =
            |provider: &Provider| matches!(provider, Provider::Multicast | Provider::Broadcast);
        self.options.discovery.iter().any(link)
    }
}

impl Handle {
    /// Examines what gets through between this node and the peers that it
    /// knows of, and those at `also`: about three seconds at most, more when a
    /// name has to be looked up. Examinations of one node take turns.
    ///
    /// # Errors
    /// [`ApiError::Stopped`].
    pub async fn examine(&self, also: &[PeerPlace]) -> Result<Diagnosis, ApiError> {
        let _turn = self.examining.lock().await;
        let (mut local, mut expected) = (Local::default(), Vec::new());
        if !also.is_empty() {
            let own = self.this().await?.member.address;
            expected = look_all_up(also, own.is_ipv4(), &mut local).await;
        }
        let alone = self.ask(|peer, _| peer.alone()).await?;
        let seen = look_closely(self, &self.kit, expected, alone).await?;
        Ok(judge(self, &self.kit, seen, local).await)
    }
}

/// Examines this host as a node with these options would find it, without
/// being one: nobody lists it. `tcp` are the ports that the program opens
/// besides, by name.
pub async fn examine_here(options: Options, tcp: &[(&'static str, Port)]) -> Diagnosis {
    let mut local = Local::default();
    let location = match options.locate().await {
        Ok(location) => location,
        Err(error) => return not_at_all(local, error.to_string()),
    };
    for (what, port) in tcp {
        for ip in [location.bind(), IpAddr::V4(Ipv4Addr::LOCALHOST)] {
            if let Err(error) = ports::bind_tcp(ip, *port) {
                note(&mut local, what, error);
            }
        }
    }
    let mut options = options;
    options.data_dir = None;
    // Names and routes have been asked.
    options.bind = Place::Address(location.bind());
    options.advertise = Some(Place::Address(location.advertise()));
    if let Err(error) = ports::bind_peer(location.bind(), options.peer_port) {
        note(&mut local, "peer", error);
        options.peer_port = any_port();
    }
    let kit = Kit::of(&options);
    let examiner = match Node::examiner(options).await {
        Ok(examiner) => examiner,
        Err(error) => return not_at_all(local, error.to_string()),
    };
    let handle = examiner.handle();
    let diagnosis = async {
        listen(&handle).await?;
        let nobody = handle.ask(|peer, _| !peer.overheard()).await?;
        let seen = look_closely(&handle, &kit, Vec::new(), nobody).await?;
        Ok::<_, ApiError>(judge(&handle, &kit, seen, local.clone()).await)
    };
    let diagnosis = diagnosis.await;
    examiner.stop().await;
    diagnosis.unwrap_or_else(|error| not_at_all(local, error.to_string()))
}

/// Nothing could be tried, for want of a node to try it with.
fn not_at_all(mut local: Local, why: String) -> Diagnosis {
    if local.taken.is_empty() && !local.unusable.contains(&why) {
        local.unusable.push(why);
    }
    let nothing = Examination {
        own: SocketAddr::from(([0, 0, 0, 0], 0)),
        member: false,
        peers: Vec::new(),
        left_out: 0,
        refusals: Vec::new(),
        heard: Default::default(),
    };
    diagnose(&nothing, &local)
}

fn any_port() -> Port {
    Port {
        number: 0,
        asked: true,
    }
}

/// Why a port cannot be had.
fn note(local: &mut Local, what: &'static str, error: StartError) {
    match error {
        StartError::PortTaken { address } => {
            let taken = Taken {
                what,
                address,
                holder: holder::of(address),
            };
            if !local.taken.iter().any(|it| it.what == what) {
                local.taken.push(taken);
            }
        }
        other => {
            let text = other.to_string();
            if !local.unusable.contains(&text) {
                local.unusable.push(text);
            }
        }
    }
}

/// Lets others be heard and names be looked up.
async fn listen(handle: &Handle) -> Result<(), ApiError> {
    for _ in 0..3 {
        handle.ask(|peer, now| peer.call_out(now)).await?;
        sleep(LISTEN / 3).await;
    }
    let tried = async {
        while handle.providers().iter().any(|line| !line.tried) {
            sleep(LOOK).await;
        }
    };
    // What is not known by then, the board says so.
    let _ = timeout(NAMES, tried).await;
    Ok(())
}

/// Examines, and again under the name of those who are kept out by theirs alone.
async fn look_closely(
    handle: &Handle,
    kit: &Kit,
    expected: Vec<SocketAddr>,
    nobody: bool,
) -> Result<Examination, ApiError> {
    let own = handle.this().await?.member.address;
    let mut also = ExamineAlso {
        expected,
        possible: Vec::new(),
    };
    if nobody && kit.looks_around() {
        let port = kit.options.peer_port.number;
        also.possible = knock(own.ip(), if port == 0 { own.port() } else { port }).await;
    }
    let mut seen = examine(handle, also).await?;
    for (name, peers) in other_clusters(&seen.peers) {
        let mut options = kit.options.clone();
        let Ok(cluster) = name.parse() else {
            continue;
        };
        options.cluster = cluster;
        options.peer_port = any_port();
        // Whoever is greeted by name only is not to be joined by the way.
        options
            .discovery
            .retain(|provider| matches!(provider, Provider::Multicast | Provider::Broadcast));
        let Ok(examiner) = Node::examiner(options).await else {
            continue;
        };
        let also = ExamineAlso {
            expected: peers,
            possible: Vec::new(),
        };
        if let Ok(closer) = examine(&examiner.handle(), also).await {
            merge(&mut seen.peers, closer.peers);
        }
        examiner.stop().await;
    }
    Ok(seen)
}

async fn examine(handle: &Handle, also: ExamineAlso) -> Result<Examination, ApiError> {
    handle
        .ask(move |peer, now| peer.examine(now, &also))
        .await?;
    for _ in 0..(2 * EXAMINATION_LASTS.as_millis() / LOOK.as_millis()) {
        sleep(LOOK).await;
        if let Some(seen) = handle.ask(|peer, now| peer.examination(now)).await? {
            return Ok(seen);
        }
    }
    Err(ApiError::Stopped)
}

/// Peers by the name of their cluster, which is not ours.
fn other_clusters(peers: &[PeerSeen]) -> Vec<(String, Vec<SocketAddr>)> {
    let mut clusters: BTreeMap<String, Vec<SocketAddr>> = BTreeMap::new();
    for peer in peers {
        if let Some(Refusal::OtherCluster { theirs, .. }) = &peer.refusal {
            clusters
                .entry(theirs.clone())
                .or_default()
                .push(peer.address);
        }
    }
    clusters.into_iter().take(CLUSTERS_MAX).collect()
}

/// What was seen of those peers under another name, but for who refused whom.
fn merge(peers: &mut [PeerSeen], closer: Vec<PeerSeen>) {
    for seen in closer {
        if let Some(peer) = peers.iter_mut().find(|peer| peer.address == seen.address) {
            *peer = PeerSeen {
                name: peer.name.take(),
                state: peer.state,
                expected: peer.expected,
                refusal: peer.refusal.take(),
                // It saw another port than the one that we tell.
                seen: None,
                ..seen
            };
        }
    }
}

async fn judge(handle: &Handle, kit: &Kit, seen: Examination, mut local: Local) -> Diagnosis {
    let ip = seen.own.ip();
    local.network = Interface::of(ip).ok().and_then(|at| at.network(ip));
    local.mtu = local.network.and_then(mtu);
    let discovery = kit.options.discovery_port.number;
    for line in handle.providers() {
        let taken = line
            .error
            .as_deref()
            .is_some_and(|error| error.contains(IN_USE));
        if taken && !local.taken.iter().any(|it| it.what == "discovery") {
            let address = SocketAddr::new(ip, discovery);
            local.taken.push(Taken {
                what: "discovery",
                address,
                holder: holder::of(address),
            });
        }
        local.providers.push(tried(line));
    }
    diagnose(&seen, &local)
}

/// EADDRINUSE, as the system writes it.
const IN_USE: &str = "Address already in use";

fn tried(line: ProviderState) -> Tried {
    Tried {
        name: line.name.into(),
        detail: line.detail,
        error: line.error,
    }
}

/// Looks places up that were named for this examination alone.
async fn look_all_up(places: &[PeerPlace], ipv4: bool, local: &mut Local) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for place in places {
        let error = match &place.host {
            Host::Address(ip) => {
                found.push(SocketAddr::new(*ip, place.port));
                None
            }
            Host::Name(name) => match timeout(NAMES, look_up(name, ipv4)).await {
                Ok(Ok(ips)) => {
                    found.extend(ips.into_iter().map(|ip| SocketAddr::new(ip, place.port)));
                    None
                }
                Ok(Err(error)) => Some(error),
                Err(_) => Some(format!("no name server answers for '{name}'")),
            },
        };
        local.providers.push(Tried {
            name: "static".into(),
            detail: place.to_string(),
            error,
        });
    }
    found
}

/// Hosts of our network that take connections at the peer port. Only where
/// nobody is known: then this alone can tell that others are there.
async fn knock(own: IpAddr, port: u16) -> Vec<SocketAddr> {
    let network = Interface::of(own).ok().and_then(|at| at.network(own));
    let (Some(network), IpAddr::V4(v4)) = (network, own) else {
        return Vec::new();
    };
    if network.prefix < PREFIX_MIN || own.is_loopback() {
        return Vec::new();
    }
    let base = u32::from(v4) & (u32::MAX << (32 - network.prefix.min(31)));
    let count = 1_u32 << (32 - network.prefix);
    let mut knocks = JoinSet::new();
    for host in 1..count.saturating_sub(1) {
        let ip = Ipv4Addr::from(base + host);
        if ip != v4 {
            knocks.spawn(takes_connections(own, SocketAddr::from((ip, port))));
        }
    }
    let mut open: Vec<SocketAddr> = knocks.join_all().await.into_iter().flatten().collect();
    open.sort_unstable();
    open
}

async fn takes_connections(own: IpAddr, to: SocketAddr) -> Option<SocketAddr> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind(SocketAddr::new(own, 0)).ok()?;
    let connected = timeout(KNOCK, socket.connect(to)).await;
    matches!(connected, Ok(Ok(_))).then_some(to)
}

/// What the interface of this network takes, as its route says.
fn mtu(network: Network) -> Option<u32> {
    let IpAddr::V4(own) = network.address else {
        return None;
    };
    if own.is_loopback() {
        return None;
    }
    let neighbour = Ipv4Addr::from(u32::from(own) ^ 1);
    let socket = UdpSocket::bind((own, 0)).ok()?;
    socket.connect((neighbour, 9)).ok()?;
    let mtu = getsockopt(&socket, sockopt::IpMtu).ok()?;
    u32::try_from(mtu).ok()
}
