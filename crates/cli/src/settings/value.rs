//! Values: how a setting is written, whoever writes it.
//!
//! A flag, a variable and a file all end as text that one parser reads, so
//! that `8s` means the same everywhere. What a file adds is a type
//! ([`Shape`]), checked before.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use dui_node::core::{ClusterName, NodeName, Role};

use crate::duration;

/// The TOML type a setting has in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Text,
    Number,
    Switch,
    /// An array of texts, or one comma-separated text.
    List,
}

/// Something a setting can hold.
pub(crate) trait Value: Sized {
    const SHAPE: Shape = Shape::Text;
    /// What a message says it expected.
    const EXPECTED: &'static str;

    /// Reads the written form.
    ///
    /// # Errors
    /// What is wrong with it, without the name of the setting.
    fn parse(text: &str) -> Result<Self, String>;
}

impl<T: Value> Value for Option<T> {
    const SHAPE: Shape = T::SHAPE;
    const EXPECTED: &'static str = T::EXPECTED;

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "" => Ok(None),
            some => T::parse(some).map(Some),
        }
    }
}

macro_rules! by_from_str {
    ($type:ty, $expected:literal) => {
        impl Value for $type {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Result<Self, String> {
                text.parse::<$type>().map_err(|error| error.to_string())
            }
        }
    };
}

by_from_str!(NodeName, "a name of letters, digits, '.', '_' and '-'");
by_from_str!(ClusterName, "a name of letters, digits, '.', '_' and '-'");
by_from_str!(PathBuf, "a path");

impl Value for bool {
    const SHAPE: Shape = Shape::Switch;
    const EXPECTED: &'static str = "true or false";

    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "true" | "1" | "yes" => Ok(true),
            "false" | "0" | "no" => Ok(false),
            _ => Err(unlike(Self::EXPECTED, text)),
        }
    }
}

impl Value for Duration {
    const EXPECTED: &'static str = "a duration such as 500ms, 8s or 2m, at most 24h";

    fn parse(text: &str) -> Result<Self, String> {
        duration::parse(text)
            .filter(|duration| *duration <= Duration::from_secs(24 * 3_600))
            .ok_or_else(|| unlike(Self::EXPECTED, text))
    }
}

/// A port; 0 lets the kernel choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortNumber(pub(crate) u16);

impl Value for PortNumber {
    const SHAPE: Shape = Shape::Number;
    const EXPECTED: &'static str = "a whole number from 0 to 65535";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map(Self).map_err(|_| {
            let mut problem = unlike(Self::EXPECTED, text);
            if text.starts_with("tcp://") {
                problem.push_str(
                    " (Kubernetes sets such a variable for a Service of this name: \
                     set enableServiceLinks: false in the pod)",
                );
            }
            problem
        })
    }
}

/// A port that several nodes share, and so none that the kernel chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SharedPort(pub(crate) NonZeroU16);

impl Value for SharedPort {
    const SHAPE: Shape = Shape::Number;
    const EXPECTED: &'static str = "a whole number from 1 to 65535, the same at every node";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
            .map(Self)
            .map_err(|_| unlike(Self::EXPECTED, text))
    }
}

macro_rules! one_of {
    ($type:ty { $($word:literal => $variant:expr,)* } $expected:literal) => {
        impl Value for $type {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($variant),)*
                    _ => Err(unlike(Self::EXPECTED, text)),
                }
            }
        }
    };
}

one_of!(Role {
    "manager" => Role::Manager,
    "worker" => Role::Worker,
} "manager or worker");

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

one_of!(LogFormat {
    "text" => LogFormat::Text,
    "json" => LogFormat::Json,
} "text or json");

/// What is logged: this level and what is more urgent.
pub(crate) type LogLevel = tracing::Level;

one_of!(LogLevel {
    "error" => LogLevel::ERROR,
    "warn" => LogLevel::WARN,
    "info" => LogLevel::INFO,
    "debug" => LogLevel::DEBUG,
    "trace" => LogLevel::TRACE,
} "error, warn, info, debug or trace");

/// Where to bind or what to advertise, before anybody looked at the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Address(IpAddr),
    /// The only plausible address of this machine.
    Auto,
    Interface(String),
}

impl Value for Place {
    const EXPECTED: &'static str = "an IP address, an interface name or auto";

    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        // IFNAMSIZ less its zero.
        let interface = (1..=15).contains(&text.len())
            && !text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace());
        match text {
            "auto" => Ok(Self::Auto),
            _ if interface => Ok(Self::Interface(text.into())),
            _ => Err(unlike(Self::EXPECTED, text)),
        }
    }
}

/// Where another node may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerAddress(pub(crate) SocketAddr);

impl PeerAddress {
    const PORT: u16 = 7781;

    fn parse(text: &str) -> Result<Self, String> {
        if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
            return Ok(Self(SocketAddr::new(ip, Self::PORT)));
        }
        let local = text
            .strip_prefix("localhost")
            .map(|rest| format!("{}{rest}", Ipv4Addr::LOCALHOST));
        let text = local.as_deref().unwrap_or(text);
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self(SocketAddr::new(ip, Self::PORT)));
        }
        match text.parse::<SocketAddr>() {
            Ok(address) if address.port() != 0 => Ok(Self(address)),
            _ => Err(format!(
                "'{text}' is not an address: give IP or IP:PORT, such as 10.0.0.7 or [fd00::7]:7781 (names are not looked up)"
            )),
        }
    }
}

impl Value for Vec<PeerAddress> {
    const SHAPE: Shape = Shape::List;
    const EXPECTED: &'static str = "addresses HOST[:PORT]";

    fn parse(text: &str) -> Result<Self, String> {
        items(text).map(PeerAddress::parse).collect()
    }
}

/// Ways to find other nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Discovery {
    pub(crate) multicast: bool,
    pub(crate) addresses: Vec<PeerAddress>,
}

impl Value for Discovery {
    const SHAPE: Shape = Shape::List;
    const EXPECTED: &'static str = "multicast, static:HOST[:PORT],… or none";

    fn parse(text: &str) -> Result<Self, String> {
        let mut found = Self::default();
        let (mut none, mut inside_static) = (false, false);
        for item in items(text) {
            if let Some(first) = item.strip_prefix("static:") {
                inside_static = true;
                found.addresses.push(PeerAddress::parse(first)?);
            } else if item == "multicast" || item == "none" {
                inside_static = false;
                found.multicast |= item == "multicast";
                none |= item == "none";
            } else if inside_static {
                // A comma inside static:A,B separates addresses.
                found.addresses.push(PeerAddress::parse(item)?);
            } else {
                return Err(format!(
                    "'{item}' is no way to find nodes here; there are {}",
                    Self::EXPECTED
                ));
            }
        }
        if none && (found.multicast || !found.addresses.is_empty()) {
            return Err("'none' stands alone: leave it out, or the others".into());
        }
        Ok(found)
    }
}

fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
}

fn unlike(expected: &str, got: &str) -> String {
    format!("expected {expected}, got '{got}'")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_get_the_peer_port_unless_they_bring_one() {
        let parse = |text| PeerAddress::parse(text).map(|peer| peer.0.to_string());
        assert_eq!(parse("10.0.0.7").unwrap(), "10.0.0.7:7781");
        assert_eq!(parse("10.0.0.7:99").unwrap(), "10.0.0.7:99");
        assert_eq!(parse("fd00::7").unwrap(), "[fd00::7]:7781");
        assert_eq!(parse("[fd00::7]").unwrap(), "[fd00::7]:7781");
        assert_eq!(parse("[fd00::7]:99").unwrap(), "[fd00::7]:99");
        assert_eq!(parse("localhost:99").unwrap(), "127.0.0.1:99");
        assert!(parse("seed.example").unwrap_err().contains("not looked up"));
        assert!(parse("10.0.0.7:0").is_err());
    }

    #[test]
    fn a_comma_after_static_goes_on_with_its_addresses() {
        let both = Discovery::parse("static:10.0.0.1,10.0.0.2:99,multicast").unwrap();
        assert!(both.multicast);
        assert_eq!(both.addresses.len(), 2);
        assert_eq!(Discovery::parse("none").unwrap(), Discovery::default());
    }

    #[test]
    fn ways_that_do_not_exist_are_answered_with_those_that_do() {
        let problem = Discovery::parse("dns:seed").unwrap_err();
        assert!(problem.contains("multicast, static:HOST"), "{problem}");
        assert!(Discovery::parse("none,multicast").is_err());
    }

    #[test]
    fn a_place_is_an_address_an_interface_or_auto() {
        assert_eq!(Place::parse("auto"), Ok(Place::Auto));
        assert_eq!(Place::parse("eth0"), Ok(Place::Interface("eth0".into())));
        assert!(matches!(Place::parse("::1"), Ok(Place::Address(_))));
        for bad in ["", "10.0.0.1:7781", "a/b", "an-interface-too-long"] {
            assert!(Place::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_port_that_nodes_share_is_never_the_kernels_choice() {
        assert!(PortNumber::parse("0").is_ok());
        let problem = SharedPort::parse("0").unwrap_err();
        assert!(problem.contains("from 1 to 65535"), "{problem}");
    }

    #[test]
    fn a_port_variable_made_by_kubernetes_is_explained() {
        let problem = PortNumber::parse("tcp://10.0.0.1:7777").unwrap_err();
        assert!(problem.contains("enableServiceLinks"), "{problem}");
    }
}
