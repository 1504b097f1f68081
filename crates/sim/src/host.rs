//! Host: one machine: an address, clocks, a disk, and the process that runs on it.
//!
//! What arrives while the process does not run waits in its sockets, as much
//! as they hold. The process reads before it looks at its timer, and looks at
//! it again after a batch, as the node's driver does.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dui_core::{
    EndOfStream, Keyring, Mono, NodeId, Now, Peer, Refusal, SharedConfig, Stranger, StreamId, Timer,
};

use crate::clock::Clock;
use crate::disk::Disk;
use crate::queue::Ns;

/// Names a host: they are numbered as they are built.
pub type Place = usize;

/// Bytes that a socket holds for a process that does not read (Linux: rmem_default).
const SOCKET_BYTES_MAX: usize = 212_992;
/// What the kernel counts for a packet besides its bytes.
const PACKET_OVERHEAD: usize = 768;

/// Whether a process gets to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// It runs.
    No,
    /// SIGSTOP, a debugger: what arrives waits in its sockets.
    Stopped,
    /// The machine sleeps: packets to it are lost, streams wait.
    Asleep,
}

/// One machine.
#[derive(Debug)]
pub struct Host {
    /// For people.
    pub name: String,
    /// The node that runs here; a new one at each start without a data directory.
    pub id: NodeId,
    /// What the node tells others.
    pub address: SocketAddr,
    /// Where the network has it: differs behind a NAT, or after a move that
    /// the node does not know of.
    pub outer: SocketAddr,
    /// The cluster that its node belongs to.
    pub cluster: String,
    /// Its keys.
    pub keys: Keyring,
    /// What time it believes it is.
    pub clock: Clock,
    /// What survives its process.
    pub disk: Disk,
    /// Addresses its node is told to join at each start.
    pub joins: Vec<SocketAddr>,
    /// Whether its next process only examines, and is no member.
    pub examiner: bool,
    /// How its node keeps shared entries.
    pub shared: SharedConfig,
    /// CPU time that each input costs.
    pub cost: Duration,
    /// CPU time that each member costs that its node comes to know, besides.
    pub merge_cost: Duration,
    /// Whether it has power.
    pub(crate) on: bool,
    /// Processes started here so far: names the present one.
    pub(crate) life: u32,
    pub(crate) process: Option<Process>,
}

impl Host {
    /// The node that runs here now.
    pub fn peer(&self) -> Option<&Peer> {
        self.process.as_ref().map(|process| &*process.peer)
    }

    /// What time it believes it is, at a true time.
    pub fn now(&self, at: Mono) -> Now {
        self.clock.now(at.as_nanos() as Ns)
    }

    /// Whether its process runs, and is neither stopped nor asleep.
    pub fn runs(&self) -> bool {
        self.pause() == Some(Pause::No)
    }

    /// Whether its process is held; `None` without one.
    pub fn pause(&self) -> Option<Pause> {
        self.process.as_ref().map(|process| process.pause)
    }

    /// Whether its process has begun to leave.
    pub fn is_leaving(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.leaving)
    }

    /// Processes started here so far: names the present one.
    pub fn life(&self) -> u32 {
        self.life
    }

    pub(crate) fn is_reachable(&self) -> bool {
        self.on && self.pause() != Some(Pause::Asleep)
    }
}

/// What reaches a process.
#[derive(Debug)]
pub(crate) enum Arrival {
    Datagram {
        from: SocketAddr,
        bytes: Vec<u8>,
    },
    Beacon {
        from: SocketAddr,
        bytes: Arc<[u8]>,
    },
    Unreachable {
        peer: SocketAddr,
    },
    Accepted {
        stream: StreamId,
        from: SocketAddr,
    },
    Frame {
        stream: StreamId,
        bytes: Vec<u8>,
    },
    Refused {
        refusal: Refusal,
        stranger: Option<Stranger>,
    },
    Ended {
        stream: StreamId,
        how: EndOfStream,
    },
    Candidates {
        addresses: Vec<SocketAddr>,
    },
    Stored {
        batch: u64,
        stored: bool,
    },
}

impl Arrival {
    /// Bytes that a packet takes in its socket; streams have windows of their own.
    fn socket_bytes(&self) -> usize {
        match self {
            Arrival::Datagram { bytes, .. } => bytes.len() + PACKET_OVERHEAD,
            Arrival::Beacon { bytes, .. } => bytes.len() + PACKET_OVERHEAD,
            _ => 0,
        }
    }
}

/// A running node.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) peer: Box<Peer>,
    pub(crate) pause: Pause,
    pub(crate) leaving: bool,
    /// When the core wants to be called, by the host's clock, and why.
    pub(crate) wake: Option<(Mono, Timer)>,
    /// The one wake-up in the queue that counts.
    pub(crate) armed: Option<Ns>,
    /// It computes until then.
    pub(crate) busy_until: Ns,
    /// Whether it is planned that it goes on then.
    pub(crate) goes_on: bool,
    pub(crate) inbox: VecDeque<Arrival>,
    inbox_bytes: usize,
    /// Ends of streams here: which wire, and which end of it.
    pub(crate) streams: BTreeMap<StreamId, (u64, usize)>,
    pub(crate) next_accepted: u64,
}

impl Process {
    pub(crate) fn new(peer: Peer) -> Self {
        Self {
            peer: Box::new(peer),
            pause: Pause::No,
            leaving: false,
            wake: None,
            armed: None,
            busy_until: 0,
            goes_on: false,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            streams: BTreeMap::new(),
            next_accepted: 1,
        }
    }

    /// Puts into the sockets what cannot be read now; `false`: no room.
    pub(crate) fn keep(&mut self, arrival: Arrival) -> bool {
        let bytes = arrival.socket_bytes();
        if bytes > 0 && self.inbox_bytes + bytes > SOCKET_BYTES_MAX {
            return false;
        }
        self.inbox_bytes += bytes;
        self.inbox.push_back(arrival);
        true
    }

    /// Reads the next of what waited.
    pub(crate) fn read(&mut self) -> Option<Arrival> {
        let arrival = self.inbox.pop_front()?;
        self.inbox_bytes -= arrival.socket_bytes();
        Some(arrival)
    }
}
