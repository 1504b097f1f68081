//! Link: one packet that every node on the network hears, by multicast or broadcast.
//!
//! Two sockets. The one that hears is bound to the group (or the broadcast
//! address), not to the wildcard, and shared by every node of the host: the
//! kernel hands each of them a copy. The one that speaks is bound to the
//! interface's address, so that hearers see a real source; bound to the group
//! it could not be. Both name their interface, so no route is needed.
//!
//! Switches that snoop on IGMP forget members whose reports got lost, and an
//! interface that comes back has no members: the sockets are made anew every
//! minute and whenever the network changed. Loopback has neither.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, Sleep, sleep};

use super::state::Line;
use super::{Find, Provider};
use crate::interfaces::Interface;
use crate::udp;

/// Administratively scoped: routers keep it within the site.
pub(super) const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 77, 91);

/// Link-local scope, transient.
pub(super) const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 0, 0x7791);

const REOPEN_INTERVAL: Duration = Duration::from_secs(60);

/// A hundred nodes of one host hear one another's bursts.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// How everybody is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Multicast,
    Broadcast,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
        }
    }

    /// Who is reached, for people.
    pub(super) fn detail(self, interface: IpAddr, port: u16) -> String {
        let group = match (self, interface) {
            (Self::Broadcast, _) => "everybody on this network".into(),
            (Self::Multicast, IpAddr::V4(_)) => GROUP_V4.to_string(),
            (Self::Multicast, IpAddr::V6(_)) => GROUP_V6.to_string(),
        };
        format!("{group}, port {port}, at {interface}")
    }
}

/// The network as one interface sees it.
#[derive(Debug)]
pub(super) struct Link {
    kind: Kind,
    interface: IpAddr,
    port: u16,
    /// `None` while they cannot be opened.
    sockets: Option<Sockets>,
    /// `None` on loopback.
    reopen: Option<Pin<Box<Sleep>>>,
    line: Line,
}

#[derive(Debug)]
struct Sockets {
    hears: AsyncFd<UdpSocket>,
    speaks: UdpSocket,
    spoken_from: SocketAddr,
    to: SocketAddr,
}

impl Link {
    /// Opens the sockets on the interface that has this address. What keeps
    /// them from being opened is told, and tried again.
    pub(super) fn open(kind: Kind, interface: IpAddr, port: u16, line: Line) -> Self {
        let mut link = Self {
            kind,
            interface,
            port,
            sockets: None,
            reopen: (!interface.is_loopback()).then(|| Box::pin(sleep(REOPEN_INTERVAL))),
            line,
        };
        link.reopen();
        link
    }

    fn reopen(&mut self) {
        // The old ones first: an interface counts memberships by socket.
        self.sockets = None;
        match Sockets::open(self.kind, self.interface, self.port) {
            Ok(sockets) => {
                self.sockets = Some(sockets);
                self.line.works();
            }
            Err(error) => self.line.fails(error.to_string()),
        }
    }

    fn poll_reopen(&mut self, context: &mut Context<'_>) {
        let mut due = false;
        if let Some(timer) = &mut self.reopen {
            while timer.as_mut().poll(context).is_ready() {
                timer.as_mut().reset(Instant::now() + REOPEN_INTERVAL);
                due = true;
            }
        }
        if due {
            self.reopen();
        }
    }
}

impl Provider for Link {
    fn announce(&mut self, beacon: &[u8]) {
        let Some(sockets) = &self.sockets else {
            return;
        };
        match sockets.speaks.send_to(beacon, sockets.to) {
            Ok(_) => self.line.works(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => self
                .line
                .fails(format!("cannot send to {}: {error}", sockets.to)),
        }
    }

    fn network_changed(&mut self) {
        if self.reopen.is_some() {
            self.reopen();
        }
    }

    fn moved(&mut self, interface: IpAddr) {
        self.interface = interface;
        self.line.looks_at(self.kind.detail(interface, self.port));
        self.reopen();
    }

    fn poll_find(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Find> {
        self.poll_reopen(context);
        let Some(sockets) = &self.sockets else {
            return Poll::Pending;
        };
        loop {
            let Poll::Ready(Ok(mut readable)) = sockets.hears.poll_read_ready(context) else {
                return Poll::Pending;
            };
            match readable.try_io(|socket| socket.get_ref().recv_from(buffer)) {
                // Our own echo says nothing; a full buffer is no beacon.
                Ok(Ok((length, from))) if from != sockets.spoken_from && length < buffer.len() => {
                    return Poll::Ready(Find::Beacon {
                        provider: self.kind.name(),
                        from,
                        length,
                    });
                }
                Ok(Ok(_) | Err(_)) | Err(_) => {}
            }
        }
    }
}

impl Sockets {
    fn open(kind: Kind, interface: IpAddr, port: u16) -> io::Result<Self> {
        let unsupported = |text| Err(io::Error::new(io::ErrorKind::Unsupported, text));
        let (hears, speaks, to) = match (kind, interface) {
            (Kind::Multicast, IpAddr::V4(address)) => {
                let to = SocketAddr::from((GROUP_V4, port));
                let hears = hearer(to)?;
                hears.set_multicast_all_v4(false)?;
                hears.join_multicast_v4(&GROUP_V4, &address)?;
                let speaks = speaker(SocketAddr::from((address, 0)))?;
                speaks.set_multicast_if_v4(&address)?;
                speaks.set_multicast_ttl_v4(1)?;
                // Other nodes of this host hear us only by the loop.
                speaks.set_multicast_loop_v4(true)?;
                (hears, speaks, to)
            }
            (Kind::Multicast, IpAddr::V6(address)) if address.is_loopback() => {
                return unsupported("IPv6 multicast does not work on loopback");
            }
            (Kind::Multicast, IpAddr::V6(address)) => {
                let index = Interface::of(interface)?.index;
                let to = SocketAddr::V6(SocketAddrV6::new(GROUP_V6, port, 0, index));
                let hears = hearer(to)?;
                hears.set_multicast_all_v6(false)?;
                hears.join_multicast_v6(&GROUP_V6, index)?;
                let scope = if address.is_unicast_link_local() {
                    index
                } else {
                    0
                };
                let speaks = speaker(SocketAddrV6::new(address, 0, 0, scope).into())?;
                speaks.set_multicast_if_v6(index)?;
                speaks.set_multicast_hops_v6(1)?;
                speaks.set_multicast_loop_v6(true)?;
                (hears, speaks, to)
            }
            (Kind::Broadcast, IpAddr::V4(address)) => {
                let Some(everybody) = Interface::of(interface)?.broadcast else {
                    return unsupported("this interface has no broadcast address");
                };
                let to = SocketAddr::from((everybody, port));
                let hears = hearer(to)?;
                let speaks = speaker(SocketAddr::from((address, 0)))?;
                speaks.set_broadcast(true)?;
                (hears, speaks, to)
            }
            (Kind::Broadcast, IpAddr::V6(_)) => {
                return unsupported("IPv6 has no broadcast, only multicast");
            }
        };
        let speaks: UdpSocket = speaks.into();
        Ok(Self {
            hears: udp::watched(hears.into(), Interest::READABLE)?,
            spoken_from: speaks.local_addr()?,
            speaks,
            to,
        })
    }
}

/// Bound to what everybody sends to, and shared with every node of this host.
fn hearer(to: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    socket.bind(&to.into())?;
    Ok(socket)
}

fn speaker(from: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(from), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&from.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::state::Board;
    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn link(interface: IpAddr, kind: Kind) -> (Link, Board) {
        let board = Board::default();
        let line = board.add(kind.name(), String::new());
        (Link::open(kind, interface, 17_796, line), board)
    }

    async fn next(link: &mut Link) -> Option<usize> {
        let mut buffer = udp::receive_buffer();
        let find = std::future::poll_fn(|context| link.poll_find(context, &mut buffer));
        match tokio::time::timeout(Duration::from_secs(600), find).await {
            Ok(Find::Beacon { length, .. }) => Some(length),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_joined_anew_every_minute_is_still_heard() {
        let ((mut ann, _), (mut bo, _)) =
            (link(HERE, Kind::Multicast), link(HERE, Kind::Multicast));
        assert!(bo.reopen.is_none(), "loopback has no switch");
        bo.reopen = Some(Box::pin(sleep(REOPEN_INTERVAL)));

        assert_eq!(next(&mut bo).await, None, "ten minutes of silence");
        ann.announce(b"ann is here");
        assert_eq!(next(&mut bo).await, Some(11));
    }

    #[tokio::test]
    async fn what_does_not_work_here_says_why() {
        let v6 = "::1".parse().unwrap();
        let gone = "192.0.2.1".parse().unwrap();
        for (interface, kind, why) in [
            (v6, Kind::Multicast, "loopback"),
            (v6, Kind::Broadcast, "IPv6 has no broadcast"),
            (HERE, Kind::Broadcast, "no broadcast address"),
            (gone, Kind::Broadcast, "192.0.2.1"),
        ] {
            let (mut link, board) = link(interface, kind);
            link.announce(b"nobody hears this");
            let error = board.read().remove(0).error.unwrap();
            assert!(error.contains(why), "{error}");
        }
    }
}
