//! Values: how a setting is written, whoever writes it.
//!
//! A flag, a variable and a file all end as text that one parser reads, so
//! that `8s` means the same everywhere. What a file adds is a type
//! ([`Shape`]), checked before.

use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use dui_node::core::{ClusterName, NodeName, Role};
use dui_node::{PeerPlace, Place, PlaceError, Provider, Tags, check_tags};

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

/// How long something is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life(pub(crate) Duration);

impl Value for Life {
    const EXPECTED: &'static str = "a duration such as 12h or 30d, from 1m to 3650d";

    fn parse(text: &str) -> Result<Self, String> {
        const DAY: Duration = Duration::from_secs(86_400);
        duration::parse(text)
            .filter(|life| (Duration::from_secs(60)..=3_650 * DAY).contains(life))
            .map(Self)
            .ok_or_else(|| unlike(Self::EXPECTED, text))
    }
}

/// An amount of memory in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl Value for Size {
    const EXPECTED: &'static str = "a size such as 64MiB or 2GiB, at least 1MiB";

    fn parse(text: &str) -> Result<Self, String> {
        let units = [("MiB", 20), ("GiB", 30), ("TiB", 40)];
        let bytes = units.into_iter().find_map(|(unit, bits)| {
            let number = text.strip_suffix(unit)?.trim_end();
            number.parse::<u64>().ok()?.checked_mul(1 << bits)
        });
        bytes
            .filter(|bytes| (1 << 20..=1 << 50).contains(bytes))
            .map(Self)
            .ok_or_else(|| unlike(Self::EXPECTED, text))
    }
}

/// How many managers found together, if that is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expected(pub(crate) Option<u32>);

impl Value for Expected {
    const SHAPE: Shape = Shape::Number;
    const EXPECTED: &'static str = "a whole number from 1 to 15";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        let number = text.parse().ok().filter(|number| (1..=15).contains(number));
        let number = number.ok_or_else(|| unlike(Self::EXPECTED, text))?;
        Ok(Self(Some(number)))
    }
}

/// How many managers vote, at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Voters(pub(crate) usize);

impl Value for Voters {
    const SHAPE: Shape = Shape::Number;
    const EXPECTED: &'static str = "an odd number from 1 to 15";

    fn parse(text: &str) -> Result<Self, String> {
        let number: Option<usize> = text.parse().ok();
        number
            .filter(|number| (1..=15).contains(number) && number % 2 == 1)
            .map(Self)
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

/// Where to bind, before anybody looked at the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound(pub(crate) Place);

impl Value for Bound {
    const EXPECTED: &'static str = "an IP address, an interface name or auto";

    fn parse(text: &str) -> Result<Self, String> {
        match text.parse() {
            // IFNAMSIZ less its zero.
            Ok(Place::Named(name)) if name.len() > 15 => Err(unlike(Self::EXPECTED, text)),
            Ok(place) => Ok(Self(place)),
            Err(_) => Err(unlike(Self::EXPECTED, text)),
        }
    }
}

/// What to advertise, before anybody looked at the machine or asked for names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told(pub(crate) Place);

impl Value for Told {
    const EXPECTED: &'static str = "an IP address, an interface name, a host name or auto";

    fn parse(text: &str) -> Result<Self, String> {
        let place = text.parse().map(Self);
        place.map_err(|_| unlike(Self::EXPECTED, text))
    }
}

impl Value for Vec<PeerPlace> {
    const SHAPE: Shape = Shape::List;
    const EXPECTED: &'static str = "places HOST[:PORT]";

    fn parse(text: &str) -> Result<Self, String> {
        items(text).map(place).collect()
    }
}

fn place(text: &str) -> Result<PeerPlace, String> {
    text.parse().map_err(|error: PlaceError| error.to_string())
}

/// Tags of the node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tagged(pub(crate) Tags);

impl Value for Tagged {
    const SHAPE: Shape = Shape::List;
    const EXPECTED: &'static str = "tags KEY=VALUE";

    fn parse(text: &str) -> Result<Self, String> {
        let mut tags = Tags::new();
        for item in items(text) {
            let (key, value) = item
                .split_once('=')
                .ok_or_else(|| unlike(Self::EXPECTED, item))?;
            if tags.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(format!("'{key}' is given twice"));
            }
        }
        check_tags(&tags).map_err(|error| error.to_string())?;
        Ok(Self(tags))
    }
}

/// Ways to find other nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Discovery(pub(crate) Vec<Provider>);

impl Value for Discovery {
    const SHAPE: Shape = Shape::List;
    const EXPECTED: &'static str =
        "multicast, broadcast, dns:NAME[:PORT], static:HOST[:PORT],…, file:PATH, or none";

    fn parse(text: &str) -> Result<Self, String> {
        let mut found: Vec<Provider> = Vec::new();
        let mut none = false;
        for item in items(text) {
            let next = match item.split_once(':') {
                _ if item == "none" => {
                    none = true;
                    continue;
                }
                _ if item == "multicast" => Provider::Multicast,
                _ if item == "broadcast" => Provider::Broadcast,
                Some(("dns", name)) => Provider::Dns(place(name)?),
                Some(("file", path)) if !path.is_empty() => Provider::File(path.into()),
                Some(("static", first)) => Provider::Static(vec![place(first)?]),
                _ => match found.last_mut() {
                    // A comma inside static:A,B separates places.
                    Some(Provider::Static(places)) => {
                        places.push(place(item)?);
                        continue;
                    }
                    _ => {
                        return Err(format!(
                            "'{item}' is no way to find nodes; there are {}",
                            Self::EXPECTED
                        ));
                    }
                },
            };
            if !found.contains(&next) {
                found.push(next);
            }
        }
        if none && !found.is_empty() {
            return Err("'none' stands alone: leave it out, or the others".into());
        }
        Ok(Self(found))
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
    fn a_comma_after_static_goes_on_with_its_places() {
        let Discovery(ways) =
            Discovery::parse("static:10.0.0.1,seed.example:99,multicast,dns:tasks.web").unwrap();
        let place = |text: &str| text.parse().unwrap();
        let fixed = vec![place("10.0.0.1"), place("seed.example:99")];
        assert_eq!(
            ways,
            vec![
                Provider::Static(fixed),
                Provider::Multicast,
                Provider::Dns(place("tasks.web"))
            ]
        );
        assert_eq!(Discovery::parse("none").unwrap(), Discovery::default());
        let twice = Discovery::parse("broadcast, file:/etc/peers ,broadcast").unwrap();
        assert_eq!(twice.0.len(), 2);
    }

    #[test]
    fn ways_that_do_not_exist_are_answered_with_those_that_do() {
        for text in ["mdns", "multicast,10.0.0.1", "file:", "smoke:signals"] {
            let problem = Discovery::parse(text).unwrap_err();
            assert!(
                problem.contains("dns:NAME[:PORT], static:HOST"),
                "{problem}"
            );
        }
        assert!(
            Discovery::parse("dns:")
                .unwrap_err()
                .contains("seed.example")
        );
        assert!(Discovery::parse("none,multicast").is_err());
    }

    #[test]
    fn sockets_are_bound_at_interfaces_and_host_names_only_told() {
        let eth0 = Place::Named("eth0".into());
        assert_eq!(Bound::parse("auto"), Ok(Bound(Place::Auto)));
        assert_eq!(Bound::parse("eth0"), Ok(Bound(eth0)));
        for bad in ["", "10.0.0.1:7781", "a/b", "an-interface-too-long"] {
            assert!(Bound::parse(bad).is_err(), "{bad}");
        }
        let host = "an-interface-too-long.example";
        assert_eq!(Told::parse(host), Ok(Told(Place::Named(host.into()))));
        assert!(Told::parse("10.0.0.1:7781").is_err());
    }

    #[test]
    fn sizes_and_lives_have_units_and_bounds() {
        assert_eq!(Size::parse("256MiB"), Ok(Size(256 << 20)));
        assert_eq!(Size::parse("2 GiB"), Ok(Size(2 << 30)));
        for bad in ["256", "0MiB", "1KiB", "-1MiB", "99999999TiB", "MiB"] {
            assert!(Size::parse(bad).unwrap_err().contains("64MiB"), "{bad}");
        }
        let month = Duration::from_secs(30 * 86_400);
        assert_eq!(Life::parse("30d"), Ok(Life(month)));
        for bad in ["30", "1s", "4000d", ""] {
            assert!(Life::parse(bad).unwrap_err().contains("30d"), "{bad}");
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
