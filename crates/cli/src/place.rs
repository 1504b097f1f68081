//! Place: which address `--bind` and `--advertise` mean on this machine.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use crate::settings::Place;

/// An address of an interface that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    interface: String,
    address: IpAddr,
}

/// The addresses of every interface that is up.
///
/// # Errors
/// When the system does not tell.
pub(crate) fn candidates() -> Result<Vec<Candidate>, String> {
    let all = getifaddrs().map_err(|error| format!("cannot list interfaces: {error}"))?;
    let up = all.filter(|entry| entry.flags.contains(InterfaceFlags::IFF_UP));
    let with_ip = up.filter_map(|entry| {
        let storage = entry.address?;
        let v4 = storage.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        let v6 = || storage.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip()));
        Some(Candidate {
            interface: entry.interface_name,
            address: v4.or_else(v6)?,
        })
    });
    Ok(with_ip.collect())
}

/// The address that is meant.
///
/// # Errors
/// When there is none or `auto` has a choice; lists what there is.
pub(crate) fn resolve(place: &Place, here: &[Candidate]) -> Result<IpAddr, String> {
    match place {
        Place::Address(address) => Ok(*address),
        Place::Interface(name) => {
            let mut on_it = here
                .iter()
                .filter(|c| c.interface == *name && usable(c.address));
            let first = on_it.next().map(|candidate| candidate.address);
            // IPv4 first: peers that were given IPv4 addresses must reach us.
            let v4 = on_it
                .map(|candidate| candidate.address)
                .find(IpAddr::is_ipv4);
            first
                .map(|first| v4.filter(|_| first.is_ipv6()).unwrap_or(first))
                .ok_or_else(|| {
                    format!(
                        "no interface '{name}' with an address is up; {}",
                        list(here)
                    )
                })
        }
        Place::Auto => {
            let plausible: Vec<&Candidate> = here
                .iter()
                .filter(|c| c.address.is_ipv4() && !c.address.is_loopback() && usable(c.address))
                .collect();
            match plausible.as_slice() {
                [only] => Ok(only.address),
                [] => Err(format!(
                    "this machine has no IPv4 address beyond loopback; {}",
                    list(here)
                )),
                _ => Err(format!("'auto' has a choice: name one; {}", list(here))),
            }
        }
    }
}

/// Not link-local: such an address means nothing without its interface.
fn usable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
    }
}

fn list(here: &[Candidate]) -> String {
    let list: Vec<String> = here
        .iter()
        .filter(|candidate| usable(candidate.address))
        .map(|candidate| format!("{} ({})", candidate.address, candidate.interface))
        .collect();
    match list.as_slice() {
        [] => "there are no addresses at all".into(),
        list => format!("there are {}", list.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn machine(addresses: &[(&str, &str)]) -> Vec<Candidate> {
        let candidate = |(interface, address): &(&str, &str)| Candidate {
            interface: (*interface).into(),
            address: address.parse().unwrap(),
        };
        addresses.iter().map(candidate).collect()
    }

    #[test]
    fn auto_takes_the_only_address_beyond_loopback_and_lists_a_choice() {
        let mut here = machine(&[
            ("lo", "127.0.0.1"),
            ("eth0", "10.0.0.7"),
            ("eth0", "fe80::1"),
            ("eth1", "169.254.3.4"),
        ]);
        assert_eq!(
            resolve(&Place::Auto, &here),
            Ok("10.0.0.7".parse().unwrap())
        );
        here.extend(machine(&[("eth2", "192.168.1.2")]));
        let problem = resolve(&Place::Auto, &here).unwrap_err();
        assert!(problem.contains("10.0.0.7 (eth0)") && problem.contains("192.168.1.2 (eth2)"));
        let problem = resolve(&Place::Auto, &machine(&[("lo", "127.0.0.1")])).unwrap_err();
        assert!(problem.contains("no IPv4 address"), "{problem}");
    }

    #[test]
    fn an_interface_gives_its_ipv4_address_before_its_ipv6_one() {
        let here = machine(&[
            ("eth0", "fd00::7"),
            ("eth0", "10.0.0.7"),
            ("eth6", "fd00::8"),
        ]);
        let on = |name: &str| resolve(&Place::Interface(name.into()), &here);
        assert_eq!(on("eth0"), Ok("10.0.0.7".parse().unwrap()));
        assert_eq!(on("eth6"), Ok("fd00::8".parse().unwrap()));
        assert!(on("wlan0").unwrap_err().contains("eth0"));
    }

    #[test]
    fn this_machine_has_a_loopback_address() {
        let here = candidates().unwrap();
        assert!(here.iter().any(|candidate| candidate.address.is_loopback()));
    }
}
