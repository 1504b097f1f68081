//! Interfaces: what addresses this host has, and word when that changes.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, OwnedFd};

use dui_core::diagnosis::Network;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::udp;

/// RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR of rtnetlink(7).
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// The interface that has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    /// What the kernel calls it.
    pub(crate) index: u32,
    /// Where everybody on its IPv4 network hears; none on loopback.
    pub(crate) broadcast: Option<Ipv4Addr>,
    /// Leading bits that the addresses of its network share.
    prefix: Option<u32>,
}

impl Interface {
    /// The one that has `address` now.
    ///
    /// # Errors
    /// None has it, or the system does not tell.
    pub(crate) fn of(address: IpAddr) -> io::Result<Self> {
        for entry in getifaddrs()? {
            let Some(storage) = entry.address else {
                continue;
            };
            let v4 = storage.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            let v6 = storage.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip()));
            if v4.or(v6) != Some(address) {
                continue;
            }
            let broadcast = entry.broadcast.filter(|_| !address.is_loopback());
            return Ok(Self {
                index: if_nametoindex(entry.interface_name.as_str())?,
                broadcast: broadcast.and_then(|to| Some(to.as_sockaddr_in()?.ip())),
                prefix: entry.netmask.and_then(|mask| {
                    let v4 = mask.as_sockaddr_in();
                    let v6 = mask.as_sockaddr_in6();
                    v4.map(|mask| mask.ip().to_bits().leading_ones())
                        .or(v6.map(|mask| mask.ip().to_bits().leading_ones()))
                }),
            });
        }
        Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            format!("no interface has the address {address}"),
        ))
    }

    /// The network that `address`, which this interface has, is in.
    pub(crate) fn network(self, address: IpAddr) -> Option<Network> {
        let prefix = self.prefix?;
        Some(Network { address, prefix })
    }
}

/// Hears from the kernel when an interface or an address comes or goes.
#[derive(Debug)]
pub(crate) struct Watch {
    netlink: AsyncFd<OwnedFd>,
}

impl Watch {
    /// Listens from now on.
    ///
    /// # Errors
    /// Where the kernel has no such socket to give.
    pub(crate) fn new() -> io::Result<Self> {
        let netlink = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        bind(netlink.as_raw_fd(), &NetlinkAddr::new(0, GROUPS))?;
        Ok(Self {
            netlink: udp::watched(netlink, Interest::READABLE)?,
        })
    }

    /// Something has changed since the last time; what, is to be looked up.
    /// Cancel safe.
    pub(crate) async fn changed(&self) {
        loop {
            let Ok(mut ready) = self.netlink.readable().await else {
                // The runtime shuts down.
                return std::future::pending().await;
            };
            let mut any = false;
            let mut buffer = [0; 4_096];
            loop {
                match recv(self.netlink.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                    Ok(_) | Err(nix::errno::Errno::ENOBUFS) => any = true,
                    Err(nix::errno::Errno::EINTR) => {}
                    Err(_) => break,
                }
            }
            ready.clear_ready();
            if any {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn loopback_has_an_index_and_no_broadcast() {
        let lo = Interface::of(IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap();
        assert!(lo.index > 0);
        assert_eq!(lo.broadcast, None);
        let nowhere = Interface::of("192.0.2.1".parse().unwrap()).unwrap_err();
        assert!(nowhere.to_string().contains("192.0.2.1"));
    }
}
