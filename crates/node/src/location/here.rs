//! Here: the addresses of this machine, and how good each is to live at.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

/// An address of an interface that is up, and that sockets can be bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) interface: String,
    pub(super) address: IpAddr,
    pub(super) rank: Rank,
}

/// How long an address is meant to be used: the better, the smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    Stable,
    /// Made up for privacy, and replaced within a day (RFC 8981).
    Temporary,
    /// On its way out: not for anything new (RFC 4862, section 5.5.4).
    Deprecated,
}

impl Candidate {
    /// Others may reach it, as far as can be told from here. A link-local
    /// address means nothing without its interface.
    pub(super) fn plausible(&self) -> bool {
        !self.address.is_loopback() && self.usable()
    }

    pub(super) fn usable(&self) -> bool {
        match self.address {
            IpAddr::V4(v4) => !v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        }
    }
}

/// Every address of every interface that is up; none that is still being
/// tried for whether somebody else has it.
///
/// # Errors
/// When the system does not tell.
pub(super) fn candidates() -> io::Result<Vec<Candidate>> {
    // Without /proc every address counts as stable, which most are.
    let flags = ipv6_flags(&std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default());
    let up = getifaddrs()?.filter(|entry| entry.flags.contains(InterfaceFlags::IFF_UP));
    let candidates = up.filter_map(|entry| {
        let storage = entry.address?;
        let v4 = storage.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        let v6 = || storage.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip()));
        let address = v4.or_else(v6)?;
        let flags = match address {
            IpAddr::V4(_) => 0,
            IpAddr::V6(v6) => flags.get(&v6).copied().unwrap_or(0),
        };
        Some(Candidate {
            interface: entry.interface_name,
            address,
            rank: rank(flags)?,
        })
    });
    Ok(candidates.collect())
}

/// The rank of an IPv6 address by its flags of `linux/if_addr.h`; `None` while
/// nothing can be bound to it.
fn rank(flags: u8) -> Option<Rank> {
    const TEMPORARY: u8 = 0x01;
    const OPTIMISTIC: u8 = 0x04;
    const DAD_FAILED: u8 = 0x08;
    const DEPRECATED: u8 = 0x20;
    const TENTATIVE: u8 = 0x40;
    match flags {
        _ if flags & DAD_FAILED != 0 => None,
        _ if flags & TENTATIVE != 0 && flags & OPTIMISTIC == 0 => None,
        _ if flags & DEPRECATED != 0 => Some(Rank::Deprecated),
        _ if flags & TEMPORARY != 0 => Some(Rank::Temporary),
        _ => Some(Rank::Stable),
    }
}

/// Flags by address, from what `/proc/net/if_inet6` says: address, index,
/// prefix length, scope, flags (hexadecimal), interface.
fn ipv6_flags(table: &str) -> BTreeMap<Ipv6Addr, u8> {
    let line = |line: &str| {
        let mut fields = line.split_ascii_whitespace();
        let address = u128::from_str_radix(fields.next()?, 16).ok()?;
        let flags = u8::from_str_radix(fields.nth(3)?, 16).ok()?;
        Some((Ipv6Addr::from(address), flags))
    };
    table.lines().filter_map(line).collect()
}

/// The address that the kernel would send from to `peer`; nothing is sent.
pub(super) fn source_toward(peer: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(peer).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn this_machine_has_a_loopback_address_and_sends_from_it_to_itself() {
        let here = candidates().unwrap();
        assert!(here.iter().any(|candidate| candidate.address.is_loopback()));
        let itself = "127.0.0.1:9".parse().unwrap();
        assert_eq!(source_toward(itself), Some("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_the_kernel_says_of_an_ipv6_address_ranks_it() {
        let table = "\
            fd770000000000000000000000000007 02 40 00 80     eth0\n\
            fd770000000000001111222233334444 02 40 00 01     eth0\n\
            fd770000000000000000000000000008 02 40 00 a0     eth0\n\
            fd770000000000000000000000000009 02 40 00 c0     eth0\n\
            garbage\n";
        let flags = ipv6_flags(table);
        let rank = |text: &str| rank(flags[&text.parse().unwrap()]);
        assert_eq!(rank("fd77::7"), Some(Rank::Stable));
        assert_eq!(rank("fd77::1111:2222:3333:4444"), Some(Rank::Temporary));
        assert_eq!(rank("fd77::8"), Some(Rank::Deprecated));
        assert_eq!(rank("fd77::9"), None, "tentative");
        assert_eq!(flags.len(), 4);
    }
}
