//! Errors of starting: what failed, the value seen, the next move.
//!
//! All of them are configuration as an operator sees it: the node has not
//! joined anything and changed nothing that another start would trip over.

use std::io;
use std::net::{IpAddr, SocketAddr};

use crate::place::Place;
use crate::storage::StorageError;
use crate::tags::TagError;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No key, no network.
    #[error(
        "{address} is reachable from the network, and this node has no cluster key: make one with \
         `dui keys generate` and give it to every node with --key-file, or pass --insecure to let \
         everybody on that network read and join"
    )]
    NoKey {
        /// The address bound or advertised beyond loopback.
        address: IpAddr,
    },
    /// A cluster that would be gone with its processes.
    #[error(
        "{expect} managers are to found a cluster, and this one has no disk to write down what it \
         promises: give it a --data-dir of its own, or pass --ephemeral where all of them may be \
         without (then a majority that is gone at the same time takes the cluster with it)"
    )]
    NoDisk {
        /// How many are expected.
        expect: u32,
    },
    /// Tags that a node may not have.
    #[error("{0}: mend them, or leave them out")]
    Tags(TagError),
    /// No rule says which address to use.
    #[error(
        "bound to {bind}, this node does not know which address to use: {why}; name one with \
         --bind, or with --advertise where others reach it at another"
    )]
    AddressUnsettled {
        /// What was asked for.
        bind: Place,
        /// What is missing or ambiguous, and the addresses there are.
        why: String,
    },
    /// An address that no peer can send to.
    #[error(
        "others cannot reach this node at {advertise} while it is bound to {bind}: pass \
         --advertise with a unicast address of the same family"
    )]
    AdvertiseUnusable {
        /// What would be told to others.
        advertise: IpAddr,
        /// What the sockets are bound to.
        bind: IpAddr,
    },
    /// Another program has the port.
    #[error(
        "port {} of {} is taken by another program: find it with `ss -lntup sport = :{}` and stop \
         it, or choose another port", address.port(), address.ip(), address.port()
    )]
    PortTaken {
        /// Where we wanted to listen.
        address: SocketAddr,
    },
    /// Every port that could have been moved to is taken.
    #[error(
        "ports {first} to {last} of {ip} are all taken: stop some of the programs that hold them, \
         or choose a port elsewhere"
    )]
    PortsExhausted {
        /// On this address.
        ip: IpAddr,
        /// First port tried.
        first: u16,
        /// Last port tried.
        last: u16,
    },
    /// Not an address of this host.
    #[error("{ip} is no address of this host (`ip address` lists them): pass another --bind")]
    AddressNotLocal {
        /// What was asked for.
        ip: IpAddr,
    },
    /// A privileged port.
    #[error("this user may not listen at {address}: choose a port above 1023")]
    PortForbidden {
        /// Where we wanted to listen.
        address: SocketAddr,
    },
    /// Anything else that a socket can fail with.
    #[error("cannot open a socket at {address}: {source}")]
    Socket {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system gives no randomness.
    #[error(
        "the system gives no random bytes ({0}): a node without them would be predictable; make \
         /dev/urandom or the getrandom system call available"
    )]
    Entropy(getrandom::Error),
    /// Started outside of tokio.
    #[error(
        "a node runs on tokio: call Node::start within a tokio runtime with I/O and time enabled"
    )]
    NoRuntime,
    /// The data directory cannot be used.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl StartError {
    /// The exit code of a program that could not start for this reason:
    /// 78, `EX_CONFIG`.
    pub fn exit_code(&self) -> u8 {
        78
    }

    /// The variant for an error of binding to `address`.
    pub(crate) fn binding(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::PortTaken { address },
            io::ErrorKind::AddrNotAvailable => Self::AddressNotLocal { ip: address.ip() },
            io::ErrorKind::PermissionDenied => Self::PortForbidden { address },
            _ => Self::Socket { address, source },
        }
    }
}
