//! Diagnosis: from what an examination saw to what is wrong, and what to do about it.
//!
//! An examination ([`crate::peer`]) sends packets of every length, streams and
//! beacons to the peers that it knows of and has them do the same; here is
//! what it brings home. Judging it needs neither clock nor network, so each
//! rule is tested by itself.

mod judge;
mod peers;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
mod text;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub use judge::diagnose;

use crate::types::{MemberState, Refusal};
use crate::wire::{Way, Ways};

/// What an examination saw.
#[derive(Clone, Debug, PartialEq)]
pub struct Examination {
    /// Our own peer address, as others are told.
    pub own: SocketAddr,
    /// Whether a node examines: then whoever gets through is a member, too.
    pub member: bool,
    /// Whom it examined.
    pub peers: Vec<PeerSeen>,
    /// Peers that it left out because there are so many.
    pub left_out: usize,
    /// Who was refused lately, and not for want of an answer to us.
    pub refusals: Vec<Refusal>,
    /// By which links anything at all was heard, be it of strangers.
    pub heard: Ways,
}

/// One peer, as an examination saw it.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerSeen {
    /// Its peer address.
    pub address: SocketAddr,
    /// What it is called, if it is a member.
    pub name: Option<String>,
    /// What this node believes of it, if it is a member.
    pub state: Option<MemberState>,
    /// Whether a member or a provider names it: then it should be there.
    pub expected: bool,
    /// By which ways we got through to it, as it told us.
    pub there: Ways,
    /// By which ways it got through to us.
    pub back: Ways,
    /// The links that it listens to; none until it has answered.
    pub links: Ways,
    /// How our stream to it went.
    pub stream: StreamSeen,
    /// Port unreachable came back for a packet.
    pub refused: bool,
    /// Our own system did not let a packet out.
    pub denied: bool,
    /// Its wall clock less ours, in ms.
    pub clock_ahead_ms: Option<i64>,
    /// How it sees our address.
    pub seen: Option<SocketAddr>,
    /// Why it, or we, refuse the other.
    pub refusal: Option<Refusal>,
    /// What it told when it turned us away for our key.
    pub turned_away: Option<TurnedAway>,
}

/// A peer with another key turned us away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnedAway {
    /// By which ways: [`Way::Packet`], [`Way::Stream`].
    pub by: Ways,
    /// Its cluster seems to have our cluster's name.
    pub same_name: bool,
}

/// How a stream went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamSeen {
    /// None was opened, or none was due yet.
    Untried,
    /// Connected, and our question was answered.
    Answered,
    /// Connected, and then nothing: no handshake, no answer.
    Silent,
    /// A reset: nobody listens there, or a firewall rejects.
    Refused,
    /// No connection in time.
    Broken,
}

/// What only the shell can see.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Local {
    /// The network that our interface is on.
    pub network: Option<Network>,
    /// Largest IP packet that our interface takes.
    pub mtu: Option<u32>,
    /// Each provider that was asked for, and what keeps it from working.
    pub providers: Vec<Provider>,
    /// Ports that a node started now would not get.
    pub taken: Vec<Taken>,
    /// What else would keep a node from starting: settings, addresses.
    pub unusable: Vec<String>,
    /// What was not checked, and why: (check, reason).
    pub skipped: Vec<(&'static str, String)>,
}

/// A provider as the shell sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// `multicast`, `static`, …
    pub name: String,
    /// What it looks at.
    pub detail: String,
    /// What keeps it from working.
    pub error: Option<String>,
}

/// A port that somebody else has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// `peer`, `client`, `health` or `discovery`.
    pub what: &'static str,
    /// Where we would listen.
    pub address: SocketAddr,
    /// Who does, as `python3 (pid 42)`.
    pub holder: Option<String>,
}

/// An IP network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// Any address in it.
    pub address: IpAddr,
    /// Leading bits that its addresses share.
    pub prefix: u32,
}

impl Network {
    /// Whether an address is in it.
    pub fn contains(self, other: IpAddr) -> bool {
        let bits = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => u128::from(u32::from(ip)) << 96,
            IpAddr::V6(ip) => u128::from(ip),
        };
        let differs = bits(self.address) ^ bits(other);
        self.address.is_ipv4() == other.is_ipv4() && differs.leading_zeros() >= self.prefix
    }
}

/// A wall clock this far from the others is a finding.
pub const CLOCK_OFF: Duration = Duration::from_secs(60);

/// What is wrong, and what is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnosis {
    /// What is wrong, most telling first; empty: nothing.
    pub findings: Vec<Finding>,
    /// What was tried.
    pub checks: Vec<Check>,
}

/// Something wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What kind.
    pub code: Code,
    /// Whom it is about: addresses, a name, a port.
    pub subject: String,
    /// What was seen.
    pub detail: String,
    /// What to do.
    pub remedy: String,
}

/// Something that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// `sockets`, `names`, `udp`, …
    pub name: &'static str,
    /// With whom.
    pub subject: String,
    /// How it went.
    pub state: CheckState,
    /// What was seen, or why it was not tried.
    pub detail: String,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckState {
    /// As it should.
    Ok,
    /// There is a finding.
    Wrong,
    /// It could not be tried.
    Skipped,
}

impl CheckState {
    /// `ok`, `wrong` or `skipped`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Wrong => "wrong",
            Self::Skipped => "skipped",
        }
    }
}

macro_rules! codes {
    ($($name:ident = $word:literal, $check:literal: $doc:literal;)*) => {
        /// Kinds of findings. Stable: programs match their words.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Code { $(#[doc = $doc] $name,)* }

        impl Code {
            /// Every code, most telling first.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word in JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// The check that it belongs to.
            pub fn check(self) -> &'static str {
                match self { $(Self::$name => $check),* }
            }
        }
    };
}

codes! {
    Configuration = "configuration", "sockets": "A setting, key or address cannot work.";
    PortTaken = "port_taken", "sockets": "Another program has a port.";
    NameUnresolved = "name_unresolved", "names": "A name has no address.";
    FileUnreadable = "file_unreadable", "names": "A list of peers cannot be read.";
    OtherCluster = "other_cluster", "cluster": "Same key, another cluster name.";
    OtherKey = "other_key", "key": "Another cluster key, or none.";
    OtherVersion = "other_version", "version": "Another version of the wire format.";
    UdpBlocked = "udp_blocked", "udp": "Packets do not get through.";
    TcpBlocked = "tcp_blocked", "tcp": "Streams do not get through.";
    Mtu = "mtu", "packet_size": "Short packets get through, long ones do not.";
    MulticastBlocked = "multicast_blocked", "multicast": "Multicast does not get through.";
    BroadcastBlocked = "broadcast_blocked", "broadcast": "Broadcast does not get through.";
    ClockOff = "clock_off", "clock": "A wall clock is far from the others.";
    Nat = "nat", "address": "Others see this node at another address.";
    NotRunning = "not_running", "answers": "Nobody listens there.";
    Unreachable = "unreachable", "answers": "Nothing comes back, by no way.";
    Unknown = "unknown", "answers": "Something is wrong, and it is none of the above.";
}

/// The links among the ways.
pub(crate) const LINKS: [Way; 2] = [Way::Multicast, Way::Broadcast];
