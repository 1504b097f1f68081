//! Discovery: the ways to find addresses, all at once and for as long as the node runs.
//!
//! A provider hears beacons, or finds addresses, or both. One that cannot
//! work is told with its remedy and tried again: the others go on.

mod background;
mod file;
mod link;
mod lookup;
mod state;

use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, Waker};

use tokio::sync::watch;

use crate::options::{self, PeerPlace};
use link::{Kind, Link};
pub(crate) use lookup::look_up;
pub(crate) use state::Board;
pub use state::ProviderState;

/// What a provider came up with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Find {
    /// A beacon of this length is in the buffer.
    Beacon {
        /// Who heard it.
        provider: &'static str,
        /// Its source address.
        from: SocketAddr,
        /// Bytes of the buffer that it fills.
        length: usize,
    },
    /// All the addresses that a provider knows now.
    Candidates {
        /// Who found them.
        provider: &'static str,
        /// Peer addresses.
        addresses: Vec<SocketAddr>,
    },
}

/// A way to find addresses.
pub(crate) trait Provider: Send + std::fmt::Debug {
    /// Sends a beacon to everybody it reaches; nothing for a provider that
    /// only looks addresses up.
    fn announce(&mut self, beacon: &[u8]);

    /// Interfaces or addresses came or went.
    fn network_changed(&mut self);

    /// The next find; beacons are read into `buffer`. Registers the waker like
    /// a stream, so it may be dropped and polled anew.
    fn poll_find(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Find>;
}

/// All providers of a node.
#[derive(Debug)]
pub(crate) struct Discovery {
    providers: Vec<Box<dyn Provider>>,
    /// Whether the node knows nobody: names are asked for more often then.
    alone: watch::Sender<bool>,
    board: Board,
}

impl Discovery {
    /// Starts what `choices` ask for, on the interface that has the address
    /// `interface`. What does not work is told with its remedy and tried
    /// again, and keeps none of the others from working.
    pub(crate) fn start(choices: &[options::Provider], interface: IpAddr, port: u16) -> Self {
        let (alone, is_alone) = watch::channel(true);
        let board = Board::default();
        let mut providers: Vec<Box<dyn Provider>> = Vec::new();
        // One list for all names of a kind, however many options they came
        // from: what a provider finds replaces what it found before.
        let (mut fixed, mut names): (Vec<PeerPlace>, Vec<PeerPlace>) = Default::default();
        for choice in choices {
            let kind = match choice {
                options::Provider::Multicast => Kind::Multicast,
                options::Provider::Broadcast => Kind::Broadcast,
                options::Provider::Static(places) => {
                    fixed.extend(places.iter().cloned());
                    continue;
                }
                options::Provider::Dns(place) => {
                    names.push(place.clone());
                    continue;
                }
                options::Provider::File(path) => {
                    let line = board.add(file::NAME, path.display().to_string());
                    providers.push(Box::new(file::start(path.clone(), line)));
                    continue;
                }
            };
            // Beacons on loopback go by multicast, which reaches all of it.
            if kind == Kind::Broadcast && interface.is_loopback() {
                continue;
            }
            let group = match (kind, interface) {
                (Kind::Broadcast, _) => "everybody on this network".into(),
                (Kind::Multicast, IpAddr::V4(_)) => link::GROUP_V4.to_string(),
                (Kind::Multicast, IpAddr::V6(_)) => link::GROUP_V6.to_string(),
            };
            let line = board.add(kind.name(), format!("{group}, port {port}, at {interface}"));
            providers.push(Box::new(Link::open(kind, interface, port, line)));
        }
        for (name, mut places) in [(lookup::STATIC, fixed), (lookup::DNS, names)] {
            places.sort();
            places.dedup();
            if places.is_empty() {
                continue;
            }
            let detail: Vec<String> = places.iter().map(ToString::to_string).collect();
            let line = board.add(name, detail.join(", "));
            let ipv4 = interface.is_ipv4();
            let lookup = lookup::start(name, places, ipv4, is_alone.clone(), line);
            providers.push(Box::new(lookup));
        }
        Self {
            providers,
            alone,
            board,
        }
    }

    /// How each provider is doing.
    pub(crate) fn board(&self) -> Board {
        self.board.clone()
    }

    /// Whether the node knows nobody now.
    pub(crate) fn set_alone(&self, alone: bool) {
        self.alone
            .send_if_modified(|was| std::mem::replace(was, alone) != alone);
    }

    /// Interfaces or addresses came or went.
    pub(crate) fn network_changed(&mut self) {
        for provider in &mut self.providers {
            provider.network_changed();
        }
    }

    /// Sends a beacon by every provider.
    pub(crate) fn announce(&mut self, beacon: &[u8]) {
        for provider in &mut self.providers {
            provider.announce(beacon);
        }
    }

    /// Waits for the next find. Cancel safe; for ever when there is no provider.
    pub(crate) async fn next(&mut self, buffer: &mut [u8]) -> Find {
        std::future::poll_fn(|context| self.poll(context, buffer)).await
    }

    /// The next find that needs no waiting.
    pub(crate) fn try_next(&mut self, buffer: &mut [u8]) -> Option<Find> {
        // Whoever waits next registers its own waker: see `poll_find`.
        match self.poll(&mut Context::from_waker(Waker::noop()), buffer) {
            Poll::Ready(find) => Some(find),
            Poll::Pending => None,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Find> {
        for provider in &mut self.providers {
            if let Poll::Ready(find) = provider.poll_find(context, buffer) {
                return Poll::Ready(find);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    async fn beacon(discovery: &mut Discovery) -> Vec<u8> {
        let mut buffer = crate::udp::receive_buffer();
        let find = timeout(Duration::from_secs(5), discovery.next(&mut buffer))
            .await
            .unwrap();
        match find {
            Find::Beacon {
                provider, length, ..
            } => {
                assert_eq!(provider, "multicast");
                buffer[..length].to_vec()
            }
            other => panic!("a beacon was sent, got {other:?}"),
        }
    }

    #[tokio::test]
    async fn nodes_of_one_host_hear_one_another_and_not_themselves() {
        let choices = [options::Provider::Multicast];
        let mut ann = Discovery::start(&choices, LOOPBACK, 17_791);
        let mut bo = Discovery::start(&choices, IpAddr::from([127, 0, 3, 9]), 17_791);
        ann.announce(b"ann is here");
        assert_eq!(beacon(&mut bo).await, b"ann is here");
        bo.announce(b"bo is here");
        assert_eq!(
            beacon(&mut ann).await,
            b"bo is here",
            "the own beacon is not heard"
        );
    }

    #[tokio::test]
    async fn clusters_on_another_port_are_not_heard() {
        let choices = [options::Provider::Multicast];
        let mut blue = Discovery::start(&choices, LOOPBACK, 17_792);
        let mut green = Discovery::start(&choices, LOOPBACK, 17_793);
        let mut green_too = Discovery::start(&choices, LOOPBACK, 17_793);
        blue.announce(b"blue");
        green_too.announce(b"green");
        assert_eq!(beacon(&mut green).await, b"green");
    }

    async fn found(discovery: &mut Discovery) -> Find {
        let next = discovery.next(&mut []);
        timeout(Duration::from_secs(5), next).await.unwrap()
    }

    #[tokio::test]
    async fn fixed_addresses_of_several_options_are_one_list_found_once() {
        let place = |text: &str| text.parse::<PeerPlace>().unwrap();
        let (a, b) = ("127.0.0.1:7781", "127.0.0.1:7782");
        let choices = [
            options::Provider::Static(vec![place(b), place(a)]),
            options::Provider::Static(vec![place(a)]),
        ];
        let mut discovery = Discovery::start(&choices, LOOPBACK, 17_794);
        let expected = Find::Candidates {
            provider: "static",
            addresses: vec![a.parse().unwrap(), b.parse().unwrap()],
        };
        assert_eq!(found(&mut discovery).await, expected);
        assert_eq!(discovery.try_next(&mut []), None);
    }

    #[tokio::test]
    async fn a_provider_that_cannot_work_says_so_and_leaves_the_others_alone() {
        let join = options::Provider::Static(vec!["[::1]:7781".parse().unwrap()]);
        let choices = [options::Provider::Multicast, join];
        let ipv6 = "::1".parse().unwrap();
        let mut discovery = Discovery::start(&choices, ipv6, 17_795);
        assert!(matches!(
            found(&mut discovery).await,
            Find::Candidates { .. }
        ));
        let states = discovery.board().read();
        let broken = |name| states.iter().any(|s| s.name == name && s.error.is_some());
        assert!(broken("multicast") && !broken("static"), "{states:?}");
    }

    #[tokio::test]
    async fn a_file_is_read_when_it_appears_and_again_when_it_changes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("peers");
        let choices = [options::Provider::File(path.clone())];
        let mut discovery = Discovery::start(&choices, LOOPBACK, 17_797);
        let broken = || discovery.board().read()[0].error.clone();
        let told = async {
            while broken().is_none() {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(5), told).await.unwrap();
        assert!(broken().unwrap().contains("peers"));
        for content in ["127.0.0.1:1", "127.0.0.1:1\njunk\n127.0.0.1:20"] {
            // As whoever writes such files should: whole, or not at all.
            let draft = directory.path().join("draft");
            std::fs::write(&draft, content).unwrap();
            std::fs::rename(&draft, &path).unwrap();
            let lines = content.lines().filter_map(|line| line.parse().ok());
            let expected = Find::Candidates {
                provider: "file",
                addresses: lines.collect(),
            };
            assert_eq!(found(&mut discovery).await, expected);
        }
        assert!(
            discovery.board().read()[0]
                .error
                .clone()
                .unwrap()
                .contains("line 2")
        );
    }
}
