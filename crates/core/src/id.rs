//! Identity: what names a node, one process of it, and one life of its state.
//!
//! An address is only an attribute. Two states of one [`NodeId`] are ordered
//! by [`Incarnation`] alone; [`RunId`] tells two processes apart that claim
//! the same id (a copied data directory) and scopes the [`MessageCounter`],
//! which starts anew with each run.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

/// 128 random bits that name a node for as long as its data directory lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u128);

/// 128 random bits drawn at each process start.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u128);

/// Orders the states of one node id: the higher one wins at once.
///
/// `max(wall clock in ms, last persisted + 1)` at start, +1 to refute a
/// suspicion and at a change of address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Incarnation(pub u64);

/// Counts the rumors that one run of a node has originated, from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct MessageCounter(pub u64);

impl Incarnation {
    /// The incarnation a node starts with.
    pub fn at_start(wall_ms: u64, last_persisted: Option<Incarnation>) -> Self {
        let after_last = last_persisted.map_or(0, |last| last.0.saturating_add(1));
        Self(wall_ms.max(after_last))
    }

    /// The next higher incarnation: what a refutation carries.
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl NodeId {
    /// Length of the binary form in bytes.
    pub const BYTES: usize = 16;

    /// Big-endian bytes, so that byte order equals numeric order.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The id in these bytes; `None` unless there are exactly 16.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(u128::from_be_bytes(bytes.try_into().ok()?)))
    }

    /// The lowest id whose binary form begins with these 8 bytes.
    pub(crate) fn from_prefix(prefix: u64) -> Self {
        Self(u128::from(prefix) << 64)
    }
}

impl RunId {
    /// Big-endian bytes.
    pub fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// The run in these bytes; `None` unless there are exactly 16.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self(u128::from_be_bytes(bytes.try_into().ok()?)))
    }
}

macro_rules! hex_text {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:08x}…)", stringify!($type), (self.0 >> 96) as u32)
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
                    return Err(NameError::NotHex {
                        got: text.chars().take(64).collect(),
                    });
                }
                u128::from_str_radix(text, 16)
                    .map(Self)
                    .map_err(|_| NameError::NotHex { got: text.into() })
            }
        }
    };
}

hex_text!(NodeId);
hex_text!(RunId);

/// Why a name or an id was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Not 32 hexadecimal digits.
    #[error("'{got}' is not an id: an id is 32 hexadecimal digits")]
    NotHex {
        /// What was given, at most 64 characters of it.
        got: String,
    },
    /// A name outside of 1..=63 bytes.
    #[error("a {what} has 1 to {max} bytes, this one has {got}")]
    Length {
        /// Which name.
        what: &'static str,
        /// The longest allowed.
        max: usize,
        /// The length seen.
        got: usize,
    },
    /// A character that would break a table, a log line or a URL.
    #[error("a {what} holds letters, digits, '.', '_' and '-' only, this one has {got:?}")]
    Character {
        /// Which name.
        what: &'static str,
        /// The first offending character.
        got: char,
    },
}

/// Longest cluster or node name in bytes, as a DNS label's.
pub const NAME_BYTES_MAX: usize = 63;

fn check_name(what: &'static str, text: &str) -> Result<(), NameError> {
    if text.is_empty() || text.len() > NAME_BYTES_MAX {
        return Err(NameError::Length {
            what,
            max: NAME_BYTES_MAX,
            got: text.len(),
        });
    }
    match text
        .chars()
        .find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-'))
    {
        Some(got) => Err(NameError::Character { what, got }),
        None => Ok(()),
    }
}

/// Text of a name. Nearly all are short, and a node keeps one of each member:
/// those lie in place instead of in an allocation of their own.
#[derive(Clone)]
enum Label {
    Short { len: u8, bytes: [u8; SHORT_BYTES] },
    Long(Arc<str>),
}

/// As many as make a label no larger than a `String`.
const SHORT_BYTES: usize = 22;

impl Label {
    fn new(text: &str) -> Self {
        let mut bytes = [0; SHORT_BYTES];
        match bytes.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                let len = text.len() as u8;
                Self::Short { len, bytes }
            }
            None => Self::Long(text.into()),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Short { len, bytes } => std::str::from_utf8(&bytes[..usize::from(*len)])
                .expect("a label is made of a whole text"),
            Self::Long(text) => text,
        }
    }
}

impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Label {}

impl PartialOrd for Label {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Label {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Label {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

macro_rules! checked_name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        pub struct $type(Label);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check_name($what, text)?;
                Ok(Self(Label::new(text)))
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

checked_name!(
    /// Nodes with the same cluster name and key are one cluster.
    /// 1 to 63 bytes of letters, digits, `.`, `_`, `-`.
    ClusterName,
    "cluster name"
);
checked_name!(
    /// A label for people; it identifies nothing and need not be unique.
    /// 1 to 63 bytes of letters, digits, `.`, `_`, `-`.
    NodeName,
    "node name"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incarnation_never_goes_back_when_the_wall_clock_does() {
        let before = Incarnation(5_000);
        assert_eq!(
            Incarnation::at_start(1_000, Some(before)),
            Incarnation(5_001)
        );
        assert_eq!(
            Incarnation::at_start(9_000, Some(before)),
            Incarnation(9_000)
        );
        assert_eq!(Incarnation(u64::MAX).next(), Incarnation(u64::MAX));
    }

    #[test]
    fn ids_read_back_what_they_print() {
        let id = NodeId(0x00ab_u128 << 64 | 7);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(NodeId::from_slice(&id.to_bytes()), Some(id));
        assert!("+b".parse::<NodeId>().is_err());
        assert!(format!("+{:031x}", 7).parse::<NodeId>().is_err());
    }

    #[test]
    fn a_name_reads_the_same_whether_it_is_short_or_long() {
        let names: Vec<String> = (1..=NAME_BYTES_MAX).map(|len| "n".repeat(len)).collect();
        let parsed: Vec<NodeName> = names
            .iter()
            .map(|name| name.parse().expect("a name"))
            .collect();
        assert!(
            names
                .iter()
                .zip(&parsed)
                .all(|(name, read)| name == read.as_str())
        );
        assert!(parsed.is_sorted() && parsed[21] != parsed[22]);
        assert_eq!(size_of::<NodeName>(), size_of::<String>());
    }

    #[test]
    fn names_that_would_break_a_table_are_refused() {
        assert!("grace-hopper-7f3a".parse::<NodeName>().is_ok());
        for bad in ["", "a b", "a\n", "ä", &"x".repeat(64)] {
            assert!(bad.parse::<NodeName>().is_err(), "{bad:?}");
        }
    }
}
