//! Discovery: the ways to find addresses, all at once and for as long as the node runs.
//!
//! A provider hears beacons, or finds addresses, or both. One that cannot
//! start is reported with its remedy and left out: the others go on.

mod fixed;
mod multicast;

use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll, Waker};

use crate::options;
use fixed::Fixed;
use multicast::Multicast;

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

    /// The next find; beacons are read into `buffer`. Registers the waker like
    /// a stream, so it may be dropped and polled anew.
    fn poll_find(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Find>;
}

/// All providers of a node.
#[derive(Debug)]
pub(crate) struct Discovery {
    providers: Vec<Box<dyn Provider>>,
}

impl Discovery {
    /// Starts what `choices` ask for, on the interface that has the address
    /// `interface`. What cannot be started is logged with its remedy.
    pub(crate) fn start(choices: &[options::Provider], interface: IpAddr, port: u16) -> Self {
        let mut providers: Vec<Box<dyn Provider>> = Vec::new();
        if choices.contains(&options::Provider::Multicast) {
            match Multicast::join(interface, port) {
                Ok(multicast) => providers.push(Box::new(multicast)),
                Err(error) => tracing::warn!(
                    target: "dui", event = "provider_unavailable", provider = multicast::NAME,
                    %interface, port, %error,
                    remedy = "name a peer with --join, or leave multicast out of --discovery",
                ),
            }
        }
        // One list, however many options it came from: what a provider finds
        // replaces what it found before.
        let mut addresses: Vec<SocketAddr> = choices
            .iter()
            .filter_map(|choice| match choice {
                options::Provider::Static(addresses) => Some(addresses),
                _ => None,
            })
            .flatten()
            .copied()
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        if !addresses.is_empty() {
            providers.push(Box::new(Fixed::new(addresses)));
        }
        Self { providers }
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

    #[tokio::test]
    async fn fixed_addresses_of_several_options_are_one_list_found_once() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (a, b) = (address("127.0.0.1:7781"), address("127.0.0.1:7782"));
        let choices = [
            options::Provider::Static(vec![b, a]),
            options::Provider::Static(vec![a]),
        ];
        let mut discovery = Discovery::start(&choices, LOOPBACK, 17_794);
        let found = discovery.try_next(&mut []);
        let expected = Find::Candidates {
            provider: "static",
            addresses: vec![a, b],
        };
        assert_eq!(found, Some(expected));
        assert_eq!(discovery.try_next(&mut []), None);
    }

    #[tokio::test]
    async fn a_provider_that_cannot_start_leaves_the_others_alone() {
        let join = options::Provider::Static(vec!["[::1]:7781".parse().unwrap()]);
        let choices = [options::Provider::Multicast, join];
        let ipv6 = "::1".parse().unwrap();
        let mut discovery = Discovery::start(&choices, ipv6, 17_795);
        assert!(matches!(
            discovery.try_next(&mut []),
            Some(Find::Candidates { .. })
        ));
    }
}
