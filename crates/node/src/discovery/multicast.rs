//! Multicast: one packet that every node on the link hears.
//!
//! Two sockets. The one that hears is bound to the group, not to the
//! wildcard, and shared by every node of the host; `IP_MULTICAST_ALL` off
//! keeps it to the interface it joined on. The one that speaks is bound to the
//! interface's address, so that hearers see a real source; bound to the group
//! it could not be.
//!
//! Switches that snoop on IGMP forget members whose reports got lost: the
//! group is left and joined anew every minute. Loopback has no switch and
//! needs no such wake-up.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, Sleep, sleep};

use super::{Find, Provider};
use crate::udp;

pub(super) const NAME: &str = "multicast";

/// An administratively scoped group: routers keep it within the site.
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 77, 91);

const REJOIN_INTERVAL: Duration = Duration::from_secs(60);

/// A hundred nodes of one host hear one another's bursts.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// The group as one interface sees it.
#[derive(Debug)]
pub(super) struct Multicast {
    hears: AsyncFd<UdpSocket>,
    speaks: UdpSocket,
    spoken_from: SocketAddr,
    interface: Ipv4Addr,
    port: u16,
    /// `None` on loopback.
    rejoin: Option<Pin<Box<Sleep>>>,
    /// Whether the last beacon could not be sent: reported once per change.
    muted: bool,
}

impl Multicast {
    /// Joins the group on the interface that has this address.
    ///
    /// # Errors
    /// An IPv6 address, an interface without multicast, a port that a program
    /// holds which does not share it.
    pub(super) fn join(interface: IpAddr, port: u16) -> io::Result<Self> {
        let IpAddr::V4(interface) = interface else {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "multicast needs an IPv4 address to bind",
            ));
        };
        let speaks = speaker(interface)?;
        Ok(Self {
            hears: udp::read_only(hearer(interface, port)?, Interest::READABLE)?,
            spoken_from: speaks.local_addr()?,
            speaks,
            interface,
            port,
            rejoin: (!interface.is_loopback()).then(|| Box::pin(sleep(REJOIN_INTERVAL))),
            muted: false,
        })
    }

    fn poll_rejoin(&mut self, context: &mut Context<'_>) {
        let Some(timer) = &mut self.rejoin else {
            return;
        };
        while timer.as_mut().poll(context).is_ready() {
            timer.as_mut().reset(Instant::now() + REJOIN_INTERVAL);
            let socket = SockRef::from(self.hears.get_ref());
            // Not a member any more (the interface went away): joining counts.
            let _ = socket.leave_multicast_v4(&GROUP, &self.interface);
            if let Err(error) = socket.join_multicast_v4(&GROUP, &self.interface) {
                tracing::debug!(
                    target: "dui", event = "multicast_not_joined", interface = %self.interface,
                    %error,
                );
            }
        }
    }
}

impl Provider for Multicast {
    fn announce(&mut self, beacon: &[u8]) {
        let sent = self.speaks.send_to(beacon, (GROUP, self.port));
        match (sent, self.muted) {
            (Ok(_), true) => {
                self.muted = false;
                tracing::info!(target: "dui", event = "provider_available", provider = NAME);
            }
            (Err(error), false) if error.kind() != io::ErrorKind::WouldBlock => {
                self.muted = true;
                tracing::warn!(
                    target: "dui", event = "provider_unavailable", provider = NAME,
                    interface = %self.interface, port = self.port, %error,
                    remedy = "bring the interface up, or name a peer with --join",
                );
            }
            _ => {}
        }
    }

    fn poll_find(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Find> {
        self.poll_rejoin(context);
        loop {
            let Poll::Ready(Ok(mut readable)) = self.hears.poll_read_ready(context) else {
                return Poll::Pending;
            };
            match readable.try_io(|socket| socket.get_ref().recv_from(buffer)) {
                // Our own echo says nothing; a full buffer is no beacon.
                Ok(Ok((length, from))) if from != self.spoken_from && length < buffer.len() => {
                    return Poll::Ready(Find::Beacon {
                        provider: NAME,
                        from,
                        length,
                    });
                }
                Ok(Ok(_) | Err(_)) | Err(_) => {}
            }
        }
    }
}

fn hearer(interface: Ipv4Addr, port: u16) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    socket.set_multicast_all_v4(false)?;
    socket.bind(&SocketAddrV4::new(GROUP, port).into())?;
    socket.join_multicast_v4(&GROUP, &interface)?;
    Ok(socket.into())
}

fn speaker(interface: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddrV4::new(interface, 0).into())?;
    socket.set_multicast_if_v4(&interface)?;
    socket.set_multicast_ttl_v4(1)?;
    // Other nodes of this host hear us only by the loop.
    socket.set_multicast_loop_v4(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    async fn next(multicast: &mut Multicast) -> Option<usize> {
        let mut buffer = udp::receive_buffer();
        let find = std::future::poll_fn(|context| multicast.poll_find(context, &mut buffer));
        match tokio::time::timeout(Duration::from_secs(600), find).await {
            Ok(Find::Beacon { length, .. }) => Some(length),
            _ => None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_group_joined_anew_every_minute_is_still_heard() {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let mut ann = Multicast::join(here, 17_796).unwrap();
        let mut bo = Multicast::join(here, 17_796).unwrap();
        assert!(bo.rejoin.is_none(), "loopback has no switch");
        bo.rejoin = Some(Box::pin(sleep(REJOIN_INTERVAL)));

        assert_eq!(next(&mut bo).await, None, "ten minutes of silence");
        ann.announce(b"ann is here");
        assert_eq!(next(&mut bo).await, Some(11));
    }
}
