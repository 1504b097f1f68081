//! Location: which address a node binds and which it tells others.
//!
//! What somebody said comes first; what is left open, rules settle, in the
//! order in which they can be trusted:
//!
//! 1. `--advertise`: an address, an interface, a name;
//! 2. what the orchestrator says (`POD_IP`), if this machine has it;
//! 3. the one of our own addresses that our discovery name resolves to;
//! 4. the address that the kernel sends from to a peer that we were told of;
//! 5. the only plausible address there is.
//!
//! If none settles it the node does not start, and says what there is to
//! choose from. Later the same rules are asked again whenever the network
//! changes: see [`follow`]. An address that still exists is kept then, unless
//! one of the first three names another: a route or an interface that came
//! does not move a node that is well where it is.

pub(crate) mod follow;
mod here;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use crate::binding;
use crate::discovery::look_up;
use crate::error::StartError;
use crate::options::{Host, Options, Provider};
use crate::place::Place;
use crate::storage;
use here::{Candidate, candidates, source_toward};

/// How long a start waits for names.
const START_PATIENCE: Duration = Duration::from_secs(2);

/// Peers asked for the way to, at most.
const PEERS_MAX: usize = 16;

/// Where a node is. What [`Options::locate`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    bind: IpAddr,
    advertise: IpAddr,
    rule: Rule,
    skipped: Vec<String>,
}

/// What settled the address that others are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Bind,
    Advertise,
    PodIp,
    OwnName,
    Source(SocketAddr),
    Only,
}

impl Location {
    /// What the sockets are bound to.
    pub fn bind(&self) -> IpAddr {
        self.bind
    }

    /// What others are told.
    pub fn advertise(&self) -> IpAddr {
        self.advertise
    }

    /// Which rule settled what others are told, for people.
    pub fn reason(&self) -> String {
        self.rule.to_string()
    }

    /// Rules that were asked before and had nothing to say, and why.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// Bound to every address, the advertised one tells the interface.
    pub(crate) fn interface(&self) -> IpAddr {
        if self.bind.is_unspecified() {
            self.advertise
        } else {
            self.bind
        }
    }

    /// Whether it is the same place, however it was found.
    pub(crate) fn is(&self, other: &Self) -> bool {
        (self.bind, self.advertise) == (other.bind, other.advertise)
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind => f.write_str("it is bound"),
            Self::Advertise => f.write_str("--advertise"),
            Self::PodIp => f.write_str("POD_IP"),
            Self::OwnName => f.write_str("own address behind the discovery name"),
            Self::Source(peer) => write!(f, "source address toward {peer}"),
            Self::Only => f.write_str("the only plausible address"),
        }
    }
}

impl Options {
    /// The addresses that a node with these options would use now: what
    /// [`Node::start`](crate::Node::start) does first, and a program that
    /// opens sockets of its own beside the node's. Waits two seconds for
    /// names at most.
    ///
    /// # Errors
    /// [`StartError::AddressUnsettled`], [`StartError::NoKey`],
    /// [`StartError::AdvertiseUnusable`].
    pub async fn locate(&self) -> Result<Location, StartError> {
        let rules = Rules::of(self);
        let here = candidates().map_err(|error| rules.unsettled(error.to_string()))?;
        let known = self.data_dir.as_deref().map(storage::peers_of);
        let known = known.unwrap_or_default();
        let mut view = View {
            here: &here,
            answers: &Answers::new(),
            known: &known,
            source: &source_toward,
            current: None,
        };
        let answers = ask(rules.names(&view), view.family(&rules.bind)).await;
        view.answers = &answers;
        let location = rules.choose(&view)?;
        rules.check(&location)?;
        Ok(location)
    }
}

/// What is known of names: the last answer for each.
type Answers = BTreeMap<String, Vec<IpAddr>>;

/// Looks names up, all at once, for as long as a start may wait.
async fn ask(names: BTreeSet<String>, ipv4: Option<bool>) -> Answers {
    let mut asked = JoinSet::new();
    for name in names {
        asked.spawn(async move {
            let first = look_up(&name, ipv4.unwrap_or(true)).await;
            let found = match (first, ipv4) {
                (Err(_), None) => look_up(&name, false).await,
                (first, _) => first,
            };
            Some((name, found.ok()?))
        });
    }
    let deadline = Instant::now() + START_PATIENCE;
    let mut answers = Answers::new();
    while let Ok(Some(answer)) = timeout_at(deadline, asked.join_next()).await {
        answers.extend(answer.ok().flatten());
    }
    answers
}

/// What somebody said about a node's address.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    bind: Place,
    advertise: Option<Place>,
    pod_ip: Option<IpAddr>,
    /// Names that stand for all peers, and so for this node, too.
    own_names: Vec<String>,
    /// Where peers are, as far as we were told.
    peers: Vec<(Host, u16)>,
    beyond_loopback: bool,
}

/// What there is to see now.
struct View<'a> {
    here: &'a [Candidate],
    answers: &'a Answers,
    /// Peers that we knew.
    known: &'a [SocketAddr],
    source: &'a (dyn Fn(SocketAddr) -> Option<IpAddr> + Sync),
    /// Where the node is; `None` at its start.
    current: Option<&'a Location>,
}

impl Rules {
    pub(crate) fn of(options: &Options) -> Self {
        let (mut own_names, mut peers) = (Vec::new(), Vec::new());
        for provider in &options.discovery {
            match provider {
                Provider::Dns(place) => {
                    if let Host::Name(name) = &place.host {
                        own_names.push(name.clone());
                    }
                    // Who else is behind it is a peer.
                    peers.push((place.host.clone(), place.port));
                }
                Provider::Static(places) => {
                    peers.extend(places.iter().map(|p| (p.host.clone(), p.port)));
                }
                Provider::Multicast | Provider::Broadcast | Provider::File(_) => {}
            }
        }
        Self {
            bind: options.bind.clone(),
            advertise: options.advertise.clone(),
            pod_ip: options.pod_ip,
            own_names,
            peers,
            beyond_loopback: options.keys.primary().is_some() || options.insecure,
        }
    }

    /// Whether a change of the network can move the node at all.
    fn movable(&self) -> bool {
        let fixed = |place: &Place| matches!(place, Place::Address(ip) if !ip.is_unspecified());
        !fixed(&self.bind) || self.advertise.as_ref().is_some_and(|place| !fixed(place))
    }

    /// Whether rules have to settle anything.
    fn open(&self) -> bool {
        let left_open = match &self.bind {
            Place::Address(ip) => ip.is_unspecified(),
            Place::Named(_) => false,
            Place::Auto => true,
        };
        left_open || self.advertise == Some(Place::Auto)
    }

    /// Names whose answers may matter.
    fn names(&self, view: &View<'_>) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        if let Some(Place::Named(name)) = &self.advertise
            && !view.has_interface(name)
        {
            names.insert(name.clone());
        }
        let family = view.family(&self.bind);
        let settled = self.pod_ip.is_some_and(|ip| view.has(ip));
        // Of a single address there is nothing to ask.
        if self.open() && !settled && view.plausible(family).len() > 1 {
            names.extend(self.own_names.iter().cloned());
            names.extend(self.peers.iter().filter_map(|(host, _)| match host {
                Host::Name(name) => Some(name.clone()),
                Host::Address(_) => None,
            }));
        }
        names
    }

    /// Where the node has to be.
    fn choose(&self, view: &View<'_>) -> Result<Location, StartError> {
        let mut skipped = Vec::new();
        let family = view.family(&self.bind);
        let told = self.told(view, family, &mut skipped);
        let (bind, rule) = match &self.bind {
            Place::Address(ip) => (*ip, Rule::Bind),
            Place::Named(interface) => {
                let on_it = view.on(interface, family).ok_or_else(|| {
                    let family = match family {
                        Some(true) => "IPv4 ",
                        Some(false) => "IPv6 ",
                        None => "",
                    };
                    let what = format!("no interface '{interface}' with an {family}address is up");
                    self.unsettled(format!("{what}; {}", list(view.here)))
                })?;
                (on_it, Rule::Bind)
            }
            Place::Auto => match told.filter(|ip| view.has(*ip)) {
                Some(ip) => (ip, Rule::Advertise),
                None => self.settle(view, family, &mut skipped)?,
            },
        };
        let (advertise, rule) = match told {
            Some(ip) => (ip, Rule::Advertise),
            None if bind.is_unspecified() || self.advertise == Some(Place::Auto) => {
                self.settle(view, Some(bind.is_ipv4()), &mut skipped)?
            }
            None => (bind, rule),
        };
        skipped.dedup();
        Ok(Location {
            bind,
            advertise,
            rule,
            skipped,
        })
    }

    /// Rule 1. A name may lead to an address of somebody else: one that is
    /// translated to ours on the way.
    fn told(
        &self,
        view: &View<'_>,
        family: Option<bool>,
        skipped: &mut Vec<String>,
    ) -> Option<IpAddr> {
        let name = match self.advertise.as_ref()? {
            Place::Address(ip) => return Some(*ip),
            Place::Auto => return None,
            Place::Named(name) => name,
        };
        if view.has_interface(name) {
            let on_it = view.on(name, family);
            if on_it.is_none() {
                skipped.push(format!("--advertise: interface '{name}' has no address"));
            }
            return on_it;
        }
        let answers = view.behind([name], family);
        let ours: Vec<IpAddr> = answers.iter().copied().filter(|ip| view.has(*ip)).collect();
        match (ours.as_slice(), answers.as_slice()) {
            ([only], _) | ([], [only]) => Some(*only),
            ([], []) => {
                skipped.push(format!(
                    "--advertise: '{name}' is no interface, and no name with an address"
                ));
                None
            }
            (several, _) => {
                let kept = view.current.map(|current| current.advertise);
                let kept = kept.filter(|ip| several.contains(ip));
                if kept.is_none() {
                    skipped.push(format!(
                        "--advertise: '{name}' has several addresses, and not exactly one is ours"
                    ));
                }
                kept
            }
        }
    }

    /// Rules 2 to 5.
    fn settle(
        &self,
        view: &View<'_>,
        family: Option<bool>,
        skipped: &mut Vec<String>,
    ) -> Result<(IpAddr, Rule), StartError> {
        let plausible = view.plausible(family);
        let at = |ip: IpAddr| plausible.iter().any(|candidate| candidate.address == ip);
        if let Some(ip) = self.pod_ip {
            if view.has(ip) && family.is_none_or(|ipv4| ip.is_ipv4() == ipv4) {
                return Ok((ip, Rule::PodIp));
            }
            skipped.push(format!("POD_IP: {ip} is no address of this machine"));
        }
        let current = view.current.and_then(|current| {
            let mut ours = [current.advertise, current.bind].into_iter();
            Some((ours.find(|ip| at(*ip))?, current.rule))
        });
        let behind = view.behind(&self.own_names, family);
        let ours: Vec<IpAddr> = behind.into_iter().filter(|ip| at(*ip)).collect();
        match (ours.as_slice(), current) {
            ([only], _) => return Ok((*only, Rule::OwnName)),
            (_, Some(current)) => return Ok(current),
            ([], None) => {}
            (several, None) => skipped.push(format!(
                "{} addresses of this machine are behind its discovery name",
                several.len()
            )),
        }
        for peer in self.peers(view, family) {
            if let Some(ip) = (view.source)(peer).filter(|ip| at(*ip)) {
                return Ok((ip, Rule::Source(peer)));
            }
        }
        match plausible.as_slice() {
            [only] => Ok((only.address, Rule::Only)),
            [] => Err(self.unsettled(format!(
                "this machine has no address beyond loopback that others could reach; {}",
                list(view.here)
            ))),
            several => Err(self.unsettled(format!(
                "this machine has {} that others may reach; {}",
                several.len(),
                list(view.here)
            ))),
        }
    }

    /// Where peers may be: those we were told of, then those we knew.
    fn peers(&self, view: &View<'_>, family: Option<bool>) -> Vec<SocketAddr> {
        let mut peers = Vec::new();
        for (host, port) in &self.peers {
            match host {
                Host::Address(ip) => peers.push(SocketAddr::new(*ip, *port)),
                Host::Name(name) => {
                    let found = view.behind([name], family).into_iter();
                    peers.extend(found.map(|ip| SocketAddr::new(ip, *port)));
                }
            }
        }
        peers.extend(view.known);
        peers.retain(|peer| family.is_none_or(|ipv4| peer.is_ipv4() == ipv4));
        peers.truncate(PEERS_MAX);
        peers
    }

    /// Whether a node may be there.
    pub(crate) fn check(&self, at: &Location) -> Result<(), StartError> {
        binding::check(at.bind, at.advertise, self.beyond_loopback)
    }

    fn unsettled(&self, why: String) -> StartError {
        let bind = self.bind.clone();
        StartError::AddressUnsettled { bind, why }
    }
}

impl View<'_> {
    /// IPv4 or not, where that is settled. A node keeps its family: peers that
    /// know it by one may not speak the other.
    fn family(&self, bind: &Place) -> Option<bool> {
        match (self.current, bind) {
            (Some(current), _) => Some(current.bind.is_ipv4()),
            (None, Place::Address(ip)) => Some(ip.is_ipv4()),
            (None, Place::Named(_) | Place::Auto) => None,
        }
    }

    /// Whether sockets can be bound to it.
    fn has(&self, ip: IpAddr) -> bool {
        self.here.iter().any(|candidate| candidate.address == ip)
    }

    fn has_interface(&self, name: &str) -> bool {
        self.here
            .iter()
            .any(|candidate| candidate.interface == name)
    }

    /// The address of an interface: IPv4 first, since peers that were given
    /// IPv4 addresses must reach us; the present one, if none is better.
    fn on(&self, interface: &str, family: Option<bool>) -> Option<IpAddr> {
        let on_it = self.here.iter().filter(|candidate| {
            let wanted = family.is_none_or(|ipv4| candidate.address.is_ipv4() == ipv4);
            candidate.interface == interface && candidate.usable() && wanted
        });
        let moving = |ip: IpAddr| self.current.is_some_and(|current| current.bind != ip);
        on_it
            .min_by_key(|c| (c.address.is_ipv6(), c.rank, moving(c.address)))
            .map(|candidate| candidate.address)
    }

    /// The best addresses that others may reach, of one family.
    fn plausible(&self, family: Option<bool>) -> Vec<&Candidate> {
        let mut plausible: Vec<&Candidate> = self
            .here
            .iter()
            .filter(|candidate| candidate.plausible())
            .collect();
        let ipv4 = family.unwrap_or_else(|| plausible.iter().any(|c| c.address.is_ipv4()));
        plausible.retain(|candidate| candidate.address.is_ipv4() == ipv4);
        let best = plausible.iter().map(|candidate| candidate.rank).min();
        plausible.retain(|candidate| Some(candidate.rank) == best);
        plausible
    }

    /// What names lead to, each address once. `/etc/hosts` often sends a
    /// machine's own name to loopback, which is of no use to others.
    fn behind<'a>(
        &self,
        names: impl IntoIterator<Item = &'a String>,
        family: Option<bool>,
    ) -> Vec<IpAddr> {
        let known = names.into_iter().filter_map(|name| self.answers.get(name));
        let wanted =
            |ip: &IpAddr| !ip.is_loopback() && family.is_none_or(|ipv4| ip.is_ipv4() == ipv4);
        let behind: BTreeSet<IpAddr> = known.flatten().copied().filter(wanted).collect();
        behind.into_iter().collect()
    }
}

/// What there is to choose from.
fn list(here: &[Candidate]) -> String {
    let usable = here.iter().filter(|candidate| candidate.usable());
    let list: Vec<String> = usable
        .map(|candidate| format!("{} ({})", candidate.address, candidate.interface))
        .collect();
    match list.as_slice() {
        [] => "there are no addresses at all".into(),
        list => format!("there are {}", list.join(", ")),
    }
}

#[cfg(test)]
mod tests;
