//! Examine: how two nodes find out which ways between them are open.

use std::net::SocketAddr;

use super::PACKET_BYTES_MAX;

/// A question of an examination: see `docs/protocol.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Examine {
    /// Random, one for a whole examination.
    pub number: u64,
    /// The asker's wall clock, ms since the Unix epoch.
    pub clock_ms: u64,
    /// What an answer by packet has to echo to be believed.
    pub cookie: u64,
    /// The asker's own peer address: where a stream is to be opened to.
    pub address: SocketAddr,
    /// By which way this question travels.
    pub way: Way,
    /// What the asker wants done besides, see [`Wishes`].
    pub wishes: Wishes,
}

/// The answer to an [`Examine`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Examined {
    /// Of the examination.
    pub number: u64,
    /// The answerer's wall clock, ms since the Unix epoch.
    pub clock_ms: u64,
    /// What the question said of the asker's clock.
    pub asked_ms: u64,
    /// The answerer's own peer address.
    pub address: SocketAddr,
    /// By which way this answer travels.
    pub way: Way,
    /// By which ways something of this examination has arrived so far.
    pub arrived: Ways,
    /// The links that the answerer listens to.
    pub links: Ways,
}

/// A way from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// A packet as short as it can be.
    Packet,
    /// A packet of about 500 bytes.
    Packet500,
    /// A packet of about 800 bytes.
    Packet800,
    /// A packet of about 1,000 bytes.
    Packet1000,
    /// A packet as long as they get: [`PACKET_BYTES_MAX`].
    Packet1200,
    /// A frame on a stream that the asker opened.
    Stream,
    /// A frame on a stream that the answerer opened.
    StreamBack,
    /// A beacon to the group.
    Multicast,
    /// A beacon to everybody.
    Broadcast,
}

impl Way {
    /// The ways of a packet, shortest first.
    pub const PACKETS: [Way; 5] = [
        Way::Packet,
        Way::Packet500,
        Way::Packet800,
        Way::Packet1000,
        Way::Packet1200,
    ];
    pub(super) const ALL: [Way; 9] = [
        Way::Packet,
        Way::Packet500,
        Way::Packet800,
        Way::Packet1000,
        Way::Packet1200,
        Way::Stream,
        Way::StreamBack,
        Way::Multicast,
        Way::Broadcast,
    ];

    /// How long a packet that goes this way is, seal included; 0: as it comes.
    pub fn packet_bytes(self) -> usize {
        match self {
            Way::Packet500 => 500,
            Way::Packet800 => 800,
            Way::Packet1000 => 1_000,
            Way::Packet1200 => PACKET_BYTES_MAX,
            _ => 0,
        }
    }

    /// The way of a beacon that this provider heard.
    pub fn of_provider(provider: &str) -> Option<Way> {
        match provider {
            "multicast" => Some(Way::Multicast),
            "broadcast" => Some(Way::Broadcast),
            _ => None,
        }
    }
}

/// A set of [`Way`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways(pub(crate) u32);

impl Ways {
    /// Adds one.
    pub fn insert(&mut self, way: Way) {
        self.0 |= 1 << way as u32;
    }

    /// Adds those of another set.
    pub fn extend(&mut self, other: Ways) {
        self.0 |= other.0;
    }

    /// Whether it is in.
    pub fn contains(self, way: Way) -> bool {
        self.0 & 1 << way as u32 != 0
    }

    /// Whether none is in.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether every one of these is in.
    pub fn contains_all(self, ways: &[Way]) -> bool {
        ways.iter().all(|way| self.contains(*way))
    }
}

impl FromIterator<Way> for Ways {
    fn from_iter<I: IntoIterator<Item = Way>>(ways: I) -> Self {
        let mut set = Self::default();
        ways.into_iter().for_each(|way| set.insert(way));
        set
    }
}

/// What an asker wants besides an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Packets of every length, although the question came by stream.
    pub packets: bool,
    /// An answer on a stream that the answerer opens.
    pub stream: bool,
    /// A beacon with the number of the examination, by every provider.
    pub beacon: bool,
}
