//! Ports: where a node listens, and where it moves when somebody else does.
//!
//! On loopback a port that nobody asked for moves to the next free one, so
//! that several nodes share a host without a flag. Everywhere else, and for a
//! port that somebody did ask for, a taken one is an error: others would look
//! for the node in vain.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::error::StartError;
use crate::options::Port;

/// How many ports a move tries before it gives up.
const MOVES_MAX: u16 = 2_000;

/// How many ports of the kernel's choice are tried before one is free for UDP
/// and for TCP.
const DRAWS_MAX: usize = 64;

/// Waiting connections: a storm of starting nodes connects to one address.
const BACKLOG: i32 = 1_024;

/// Holds the bursts that arrive while the node is busy: 1 MiB, as far as
/// `net.core.rmem_max` lets it grow.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;

/// Binds a TCP listener at `ip`, ready for an asynchronous runtime
/// (non-blocking). A taken port that nobody asked for moves to the next free
/// one on loopback.
///
/// # Errors
/// [`StartError::PortTaken`], [`StartError::PortsExhausted`],
/// [`StartError::AddressNotLocal`], [`StartError::PortForbidden`],
/// [`StartError::Socket`].
pub fn bind_tcp(ip: IpAddr, port: Port) -> Result<TcpListener, StartError> {
    bind_moving(ip, port, listen)
}

/// Binds the peer sockets: UDP and TCP at the same number.
///
/// # Errors
/// As [`bind_tcp`].
pub(crate) fn bind_peer(ip: IpAddr, port: Port) -> Result<(UdpSocket, TcpListener), StartError> {
    bind_moving(ip, port, |address| {
        let udp = bind_udp(address)?;
        let listener = listen(udp.local_addr()?)?;
        Ok((udp, listener))
    })
}

/// Calls `bind` with the port, then with those that it may move to.
fn bind_moving<T>(
    ip: IpAddr,
    port: Port,
    bind: impl Fn(SocketAddr) -> io::Result<T>,
) -> Result<T, StartError> {
    let taken = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
    let first = port.number;
    if first == 0 {
        // The kernel's free UDP port may be taken for TCP: draw again.
        let address = SocketAddr::new(ip, 0);
        for _ in 1..DRAWS_MAX {
            match bind(address) {
                Err(error) if taken(&error) => {}
                other => return other.map_err(|error| StartError::binding(address, error)),
            }
        }
        return bind(address).map_err(|error| StartError::binding(address, error));
    }
    if port.asked || !ip.is_loopback() {
        let address = SocketAddr::new(ip, first);
        return bind(address).map_err(|error| StartError::binding(address, error));
    }
    let last = first.saturating_add(MOVES_MAX);
    for number in first..=last {
        let address = SocketAddr::new(ip, number);
        match bind(address) {
            Err(error) if taken(&error) => {}
            other => return other.map_err(|error| StartError::binding(address, error)),
        }
    }
    Err(StartError::PortsExhausted { ip, first, last })
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    // Otherwise a restarted node waits out the TIME_WAIT of its old streams.
    // A port that somebody listens at stays taken all the same.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    // The kernel silently grants less; what it grants must do.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // Families are treated apart: no IPv4 peer in IPv6 clothes.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// An address of this test alone, so that ports are free.
    fn ip(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 91, last])
    }

    fn default(number: u16) -> Port {
        Port {
            number,
            asked: false,
        }
    }

    fn asked(number: u16) -> Port {
        Port {
            number,
            asked: true,
        }
    }

    #[test]
    fn a_second_node_on_loopback_moves_to_the_next_port_with_both_sockets() {
        let (first, _keep) = bind_peer(ip(1), default(7781)).unwrap();
        let (second, listener) = bind_peer(ip(1), default(7781)).unwrap();
        assert_eq!(first.local_addr().unwrap().port(), 7781);
        assert_eq!(second.local_addr().unwrap().port(), 7782);
        assert_eq!(listener.local_addr().unwrap(), second.local_addr().unwrap());
    }

    #[test]
    fn a_port_taken_for_tcp_alone_is_passed_over_for_udp_too() {
        let _web_server = bind_tcp(ip(2), default(7781)).unwrap();
        let (udp, _listener) = bind_peer(ip(2), default(7781)).unwrap();
        assert_eq!(udp.local_addr().unwrap().port(), 7782);
    }

    #[test]
    fn a_port_that_was_asked_for_never_moves() {
        let _holder = bind_peer(ip(3), asked(7781)).unwrap();
        let error = bind_peer(ip(3), asked(7781)).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, StartError::PortTaken { .. }), "{text}");
        assert!(
            text.contains("7781") && text.contains("127.0.91.3"),
            "{text}"
        );
    }

    #[test]
    fn the_kernel_may_choose_and_both_sockets_follow() {
        let (udp, listener) = bind_peer(ip(4), asked(0)).unwrap();
        let port = udp.local_addr().unwrap().port();
        assert_ne!(port, 0);
        assert_eq!(listener.local_addr().unwrap().port(), port);
    }

    #[test]
    fn an_address_of_another_host_is_named() {
        let elsewhere = IpAddr::from([192, 0, 2, 7]);
        let error = bind_tcp(elsewhere, asked(7781)).unwrap_err();
        assert!(
            matches!(error, StartError::AddressNotLocal { ip } if ip == elsewhere),
            "{error}"
        );
    }
}
