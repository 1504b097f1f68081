//! Peer socket: packets out and in, and the refusals that come back for them.
//!
//! Registered for reading alone: a socket that also waits to be writable is
//! woken once for each packet that the kernel has delivered, which doubles the
//! wake-ups of an idle node. A packet that finds the send buffer full is
//! dropped instead, as any other packet may be.
//!
//! With `IP_RECVERR` the kernel queues the ICMP errors of an unconnected
//! socket. *Port* unreachable, sent by the very host that we wrote to, is
//! evidence that nobody listens there any more; anything else (host and net
//! unreachable, prohibited, whatever a router or firewall says) speaks about
//! the way and is thrown away.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::io::{Interest, Ready};

/// The longest packet that is looked at; longer ones cannot be ours.
pub(crate) const PACKET_BYTES_MAX: usize = 1_500;

/// A buffer for [`PeerSocket::receive`]: one byte more than the longest
/// packet, so that an oversized one shows.
pub(crate) fn receive_buffer() -> Box<[u8]> {
    vec![0; PACKET_BYTES_MAX + 1].into_boxed_slice()
}

/// Registers a non-blocking socket with the runtime for these interests alone.
///
/// # Errors
/// Outside of a tokio runtime.
#[expect(
    deprecated,
    reason = "its successor asks for a promise about types whose descriptor may change; those of \
              std own theirs and keep it"
)]
pub(crate) fn watched<T: AsRawFd>(socket: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(socket, interest)
}

/// The unconnected UDP socket of a node.
#[derive(Debug)]
pub(crate) struct PeerSocket {
    socket: AsyncFd<UdpSocket>,
}

/// The kernel has something for us; hand it back to [`PeerSocket::drained`]
/// when it has no more.
pub(crate) type Readiness<'a> = AsyncFdReadyGuard<'a, UdpSocket>;

impl PeerSocket {
    /// Takes over a bound, non-blocking socket.
    ///
    /// # Errors
    /// Outside of a tokio runtime, or where the kernel knows no `IP_RECVERR`.
    pub(crate) fn new(socket: UdpSocket) -> io::Result<Self> {
        if socket.local_addr()?.is_ipv4() {
            setsockopt(&socket, sockopt::Ipv4RecvErr, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv6RecvErr, &true)?;
        }
        let socket = watched(socket, Interest::READABLE | Interest::ERROR)?;
        Ok(Self { socket })
    }

    /// Sends a packet, or drops it when the kernel cannot take it now; `false`
    /// when this host's own firewall does not let it out.
    pub(crate) fn send(&self, to: SocketAddr, bytes: &[u8]) -> bool {
        let socket = self.socket.get_ref();
        let mut sent = socket.send_to(bytes, to);
        if matches!(&sent, Err(error) if error.kind() == io::ErrorKind::ConnectionRefused) {
            // An earlier packet's refusal, reported by whichever call comes next.
            sent = socket.send_to(bytes, to);
        }
        let Err(error) = sent else {
            return true;
        };
        tracing::trace!(target: "dui", event = "packet_not_sent", %to, %error);
        error.kind() != io::ErrorKind::PermissionDenied
    }

    /// Waits until packets or refusals have come. Cancel safe.
    pub(crate) async fn ready(&self) -> io::Result<Readiness<'_>> {
        self.socket
            .ready(Interest::READABLE | Interest::ERROR)
            .await
    }

    /// The next packet's length and sender; `None` when there is none left.
    /// Oversized packets are skipped.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        // Errors other than "nothing there" belong to packets that we sent and
        // are reported once each; the bound keeps a broken socket from spinning.
        for _ in 0..64 {
            match self.socket.get_ref().recv_from(buffer) {
                Ok((length, from)) if length <= PACKET_BYTES_MAX => return Some((length, from)),
                Ok((_oversized, from)) => {
                    tracing::trace!(target: "dui", event = "packet_oversized", %from);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(_) => {}
            }
        }
        None
    }

    /// The next peer that refused a packet, where the refusal is evidence;
    /// `None` when the error queue is empty.
    pub(crate) fn refusal(&self) -> Option<SocketAddr> {
        loop {
            // The kernel bounds the queue by the receive buffer.
            match self.next_error() {
                Ok(Some(peer)) => return Some(peer),
                Ok(None) => {}
                Err(_) => return None,
            }
        }
    }

    /// One entry of the error queue, if it is evidence.
    fn next_error(&self) -> nix::Result<Option<SocketAddr>> {
        let mut returned_packet = [0; 64];
        let mut iov = [IoSliceMut::new(&mut returned_packet)];
        let mut control = [0; 256];
        let message = recvmsg::<SockaddrStorage>(
            self.socket.as_raw_fd(),
            &mut iov,
            Some(&mut control),
            MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT,
        )?;
        let Some(destination) = message.address.as_ref().and_then(socket_address) else {
            return Ok(None);
        };
        let refused = message.cmsgs()?.any(|control| match control {
            ControlMessageOwned::Ipv4RecvErr(error, Some(offender)) => {
                let offender = Ipv4Addr::from(u32::from_be(offender.sin_addr.s_addr));
                icmp::is_port_unreachable(error.ee_origin, error.ee_type, error.ee_code)
                    && destination.ip() == IpAddr::V4(offender)
            }
            ControlMessageOwned::Ipv6RecvErr(error, Some(offender)) => {
                let offender = Ipv6Addr::from(offender.sin6_addr.s6_addr);
                icmp::is_port_unreachable(error.ee_origin, error.ee_type, error.ee_code)
                    && destination.ip() == IpAddr::V6(offender)
            }
            _ => false,
        });
        Ok(refused.then_some(destination))
    }

    /// Tells the runtime that a queue was empty, so that it waits for more.
    pub(crate) fn drained(readiness: &mut Readiness<'_>, queue: Ready) {
        readiness.clear_ready_matching(queue);
    }
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
        (Some(v4), _) => Some(SocketAddr::new(v4.ip().into(), v4.port())),
        (_, Some(v6)) => Some(SocketAddr::new(v6.ip().into(), v6.port())),
        _ => None,
    }
}

/// The numbers of `linux/errqueue.h` and of RFC 792 and RFC 4443.
mod icmp {
    const ORIGIN_V4: u8 = 2;
    const ORIGIN_V6: u8 = 3;
    const UNREACHABLE_V4: u8 = 3;
    const UNREACHABLE_V6: u8 = 1;
    const PORT_V4: u8 = 3;
    const PORT_V6: u8 = 4;

    pub(super) fn is_port_unreachable(origin: u8, kind: u8, code: u8) -> bool {
        matches!(
            (origin, kind, code),
            (ORIGIN_V4, UNREACHABLE_V4, PORT_V4) | (ORIGIN_V6, UNREACHABLE_V6, PORT_V6)
        )
    }

    #[cfg(test)]
    mod tests {
        use super::is_port_unreachable;

        #[test]
        fn what_a_router_or_a_firewall_says_is_no_evidence() {
            const PROHIBITED: u8 = 13;
            const HOST: u8 = 1;
            assert!(is_port_unreachable(2, 3, 3));
            assert!(is_port_unreachable(3, 1, 4));
            assert!(!is_port_unreachable(2, 3, PROHIBITED));
            assert!(!is_port_unreachable(2, 3, HOST));
            assert!(!is_port_unreachable(3, 1, 0), "no route");
            assert!(!is_port_unreachable(1, 3, 3), "a local error");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn socket(ip: &str) -> PeerSocket {
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.set_nonblocking(true).unwrap();
        PeerSocket::new(socket).unwrap()
    }

    fn address(socket: &PeerSocket) -> SocketAddr {
        socket.socket.get_ref().local_addr().unwrap()
    }

    async fn next_refusal(socket: &PeerSocket) -> SocketAddr {
        let wait = async {
            loop {
                let mut readiness = socket.ready().await.unwrap();
                if let Some(peer) = socket.refusal() {
                    return peer;
                }
                PeerSocket::drained(&mut readiness, Ready::ERROR);
            }
        };
        timeout(Duration::from_secs(5), wait).await.unwrap()
    }

    #[tokio::test]
    async fn a_closed_port_refuses_by_name_and_the_socket_lives_on() {
        for ip in ["127.0.0.1", "::1"] {
            let ours = socket(ip);
            let gone = address(&socket(ip));
            let alive = socket(ip);

            ours.send(gone, b"anybody there?");
            assert_eq!(next_refusal(&ours).await, gone);

            ours.send(gone, b"still nobody?");
            ours.send(address(&alive), b"hello");
            let _ = alive.ready().await.unwrap();
            let mut buffer = receive_buffer();
            let (length, from) = alive.receive(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (&b"hello"[..], address(&ours)));
        }
    }

    #[tokio::test]
    async fn an_oversized_packet_is_skipped_and_the_next_one_is_read() {
        let (ann, bo) = (socket("127.0.0.1"), socket("127.0.0.1"));
        ann.send(address(&bo), &[0; PACKET_BYTES_MAX + 1]);
        ann.send(address(&bo), &[7; PACKET_BYTES_MAX]);
        let _ = bo.ready().await.unwrap();
        let mut buffer = receive_buffer();
        let (length, _) = bo.receive(&mut buffer).unwrap();
        assert_eq!((length, buffer[0]), (PACKET_BYTES_MAX, 7));
        assert_eq!(bo.receive(&mut buffer), None);
    }
}
