//! Place: where a node is to be, as people say it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The longest name there may be (RFC 1035, section 2.3.4).
const NAME_BYTES_MAX: usize = 253;

/// An address, or what leads to one on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This address, now and later.
    Address(IpAddr),
    /// The address of this interface, followed when it changes; to advertise
    /// also a name that the name server or `/etc/hosts` knows, looked up again
    /// and again.
    Named(String),
    /// What the rules of [`Options::locate`](crate::Options::locate) choose,
    /// followed when that changes.
    Auto,
}

/// A text that is no [`Place`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no place: give an IP address, an interface name, a host name, or auto")]
pub struct NoPlace(String);

impl FromStr for Place {
    type Err = NoPlace;

    fn from_str(text: &str) -> Result<Self, NoPlace> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let strange = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control();
        // An address with a slip of the pen is no name.
        let digits = text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        let name = (1..=NAME_BYTES_MAX).contains(&text.len()) && !text.contains(strange) && !digits;
        match text {
            "auto" => Ok(Self::Auto),
            _ if name => Ok(Self::Named(text.into())),
            _ => Err(NoPlace(text.chars().take(NAME_BYTES_MAX).collect())),
        }
    }
}

impl From<IpAddr> for Place {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Named(name) => f.write_str(name),
            Self::Auto => f.write_str("auto"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_an_address_a_name_or_auto() {
        assert_eq!("auto".parse(), Ok(Place::Auto));
        assert_eq!("eth0".parse(), Ok(Place::Named("eth0".into())));
        let host = "db-1.example.org";
        assert_eq!(host.parse(), Ok(Place::Named(host.into())));
        assert!(matches!("::1".parse(), Ok(Place::Address(_))));
        for bad in [
            "",
            "10.0.0.1:7781",
            "10.0.0",
            "a/b",
            "a b",
            &"x".repeat(254),
        ] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}
