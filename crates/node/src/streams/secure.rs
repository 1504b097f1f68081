//! Secure: what makes a stream private to those who hold the cluster key.
//!
//! ```text
//! opener    version 1 │ key fingerprint 4 │ length 2 │ Noise message 1, payload: cluster name
//! acceptor  1 │ length 2 │ Noise message 2, payload: 0, or 1 and its own cluster name
//!      or   2 │ card 14: its key's fingerprint, its clock, a check of its cluster's name
//! ```
//!
//! The pattern is `NNpsk0`: fresh keys on both sides give forward secrecy,
//! and the cluster key, mixed in first, proves each to the other. So whoever
//! has no key is turned away by one failed decryption, before any curve is
//! multiplied. Message 1 may be a recorded one; the answer to it is of no use
//! to who replays it, so an acceptor believes nothing but the frames that
//! follow.
//!
//! Source: The Noise Protocol Framework, revision 34, sections 7.4 and 9.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use dui_core::seal::CARD_BYTES;
use dui_core::{ClusterName, Key, KeyFingerprint, Keyring, Refusal, Stranger};
use snow::{Builder, HandshakeState, TransportState};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::frame::WIRE_BYTES_MAX;
use crate::clock::wall_ms;

/// Both sides together.
pub(super) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes that sealing adds to a frame.
pub(super) const TAG_BYTES: usize = 16;

const PATTERN: &str = "Noise_NNpsk0_25519_AESGCM_SHA256";
const VERSION: u8 = 1;
const ACCEPTED: u8 = 1;
const REFUSED: u8 = 2;
const SAME_CLUSTER: u8 = 0;
const OTHER_CLUSTER: u8 = 1;
/// Two keys, two tags and the longest cluster name take less.
const MESSAGE_BYTES_MAX: usize = 256;

/// What a node's streams are sealed with.
#[derive(Debug)]
pub(crate) struct Security {
    cluster: ClusterName,
    /// Empty: frames go in clear.
    keys: Keyring,
}

/// Why a stream was not secured.
#[derive(Debug)]
pub(crate) enum Unsecured {
    /// The other side is not one of us; what it told when it turned us away.
    Refused(Refusal, Option<Stranger>),
    /// It broke off, was too slow, or spoke nonsense.
    Broken,
}

impl From<io::Error> for Unsecured {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

impl From<snow::Error> for Unsecured {
    fn from(_: snow::Error) -> Self {
        Self::Broken
    }
}

/// Seals and opens the frames of one stream.
#[derive(Debug)]
pub(crate) enum Sealing {
    /// No key: frames go as they are.
    Clear,
    /// Boxed: idle streams are many.
    Sealed(Box<TransportState>),
}

impl Security {
    /// Of a node in this cluster, with these keys.
    pub(crate) fn new(cluster: ClusterName, keys: Keyring) -> Self {
        Self { cluster, keys }
    }

    /// The opener's side.
    ///
    /// # Errors
    /// [`Unsecured`]: nothing but the handshake was said then.
    pub(crate) async fn open(
        &self,
        socket: &mut TcpStream,
        to: SocketAddr,
    ) -> Result<Sealing, Unsecured> {
        let Some(key) = self.keys.primary() else {
            return Ok(Sealing::Clear);
        };
        within(self.opener_says(socket, to, key)).await
    }

    /// The acceptor's side.
    ///
    /// # Errors
    /// [`Unsecured`]: the other side may know why.
    pub(super) async fn accept(
        &self,
        socket: &mut TcpStream,
        from: SocketAddr,
    ) -> Result<Sealing, Unsecured> {
        if self.keys.primary().is_none() {
            return Ok(Sealing::Clear);
        }
        within(self.acceptor_says(socket, from)).await
    }

    async fn opener_says(
        &self,
        socket: &mut TcpStream,
        to: SocketAddr,
        key: &Key,
    ) -> Result<Sealing, Unsecured> {
        let mut noise = handshake(key, true)?;
        let mut hello = vec![VERSION];
        hello.extend_from_slice(&key.fingerprint().0);
        push_message(&mut hello, &mut noise, self.cluster.as_str().as_bytes())?;
        socket.write_all(&hello).await?;
        match socket.read_u8().await? {
            ACCEPTED => {}
            REFUSED => {
                let mut card = [0; CARD_BYTES];
                socket.read_exact(&mut card).await?;
                let stranger = Stranger::from_bytes(&card);
                let refusal = Refusal::key(stranger.key, &self.keys, to);
                return Err(Unsecured::Refused(refusal, Some(stranger)));
            }
            _ => return Err(Unsecured::Broken),
        }
        let answer = read_message(socket, &mut noise).await?;
        match answer.split_first() {
            Some((&SAME_CLUSTER, [])) => Ok(Sealing::of(noise)?),
            Some((&OTHER_CLUSTER, name)) => Err(self.other_cluster(name, to)),
            _ => Err(Unsecured::Broken),
        }
    }

    async fn acceptor_says(
        &self,
        socket: &mut TcpStream,
        from: SocketAddr,
    ) -> Result<Sealing, Unsecured> {
        match socket.read_u8().await? {
            VERSION => {}
            // The length of a frame that is not sealed begins like this.
            0 => {
                return Err(self.other_key(KeyFingerprint::NONE, from));
            }
            theirs => {
                let ours = VERSION;
                let refusal = Refusal::OtherVersion { theirs, ours, from };
                return Err(Unsecured::Refused(refusal, None));
            }
        }
        let theirs = read_fingerprint(socket).await?;
        let Some(key) = self.keys.find(theirs) else {
            let mut no = vec![REFUSED];
            let own = Stranger::new(&self.keys, &self.cluster, wall_ms());
            no.extend_from_slice(&own.to_bytes());
            socket.write_all(&no).await?;
            return Err(self.other_key(theirs, from));
        };
        let mut noise = handshake(key, false)?;
        let name = read_message(socket, &mut noise).await?;
        let same = name == self.cluster.as_str().as_bytes();
        let mut verdict = vec![SAME_CLUSTER];
        if !same {
            verdict = vec![OTHER_CLUSTER];
            verdict.extend_from_slice(self.cluster.as_str().as_bytes());
        }
        let mut answer = vec![ACCEPTED];
        push_message(&mut answer, &mut noise, &verdict)?;
        socket.write_all(&answer).await?;
        if same {
            Ok(Sealing::of(noise)?)
        } else {
            Err(self.other_cluster(&name, from))
        }
    }

    fn other_key(&self, theirs: KeyFingerprint, from: SocketAddr) -> Unsecured {
        Unsecured::Refused(Refusal::key(theirs, &self.keys, from), None)
    }

    fn other_cluster(&self, name: &[u8], from: SocketAddr) -> Unsecured {
        let name = std::str::from_utf8(name).ok();
        match name.and_then(|name| name.parse::<ClusterName>().ok()) {
            Some(theirs) => {
                let refusal = Refusal::OtherCluster {
                    theirs: theirs.to_string(),
                    ours: self.cluster.to_string(),
                    from,
                };
                Unsecured::Refused(refusal, None)
            }
            None => Unsecured::Broken,
        }
    }
}

impl Sealing {
    fn of(noise: HandshakeState) -> Result<Self, snow::Error> {
        Ok(Self::Sealed(Box::new(noise.into_transport_mode()?)))
    }

    /// What goes over the wire for a frame of at most
    /// [`FRAME_BYTES_MAX`](super::frame::FRAME_BYTES_MAX) bytes; `None` once a
    /// stream has carried 2^64 of them.
    pub(super) fn seal(&mut self, frame: Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Self::Clear => Some(frame),
            Self::Sealed(noise) => {
                let mut sealed = vec![0; frame.len() + TAG_BYTES];
                noise.write_message(&frame, &mut sealed).ok()?;
                Some(sealed)
            }
        }
    }

    /// The frame in these bytes; `None` when they are not the next that the
    /// other side sealed.
    pub(super) fn open(&mut self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        match self {
            Self::Clear => Some(bytes),
            Self::Sealed(noise) => {
                let mut frame = vec![0; bytes.len()];
                let length = noise.read_message(&bytes, &mut frame).ok()?;
                frame.truncate(length);
                Some(frame)
            }
        }
    }
}

async fn within(
    handshake: impl Future<Output = Result<Sealing, Unsecured>>,
) -> Result<Sealing, Unsecured> {
    let done = timeout(HANDSHAKE_TIMEOUT, handshake).await;
    done.unwrap_or(Err(Unsecured::Broken))
}

fn handshake(key: &Key, opener: bool) -> Result<HandshakeState, snow::Error> {
    let secret = key.stream_secret();
    let builder = Builder::new(PATTERN.parse()?).psk(0, &secret)?;
    if opener {
        builder.build_initiator()
    } else {
        builder.build_responder()
    }
}

fn push_message(
    bytes: &mut Vec<u8>,
    noise: &mut HandshakeState,
    payload: &[u8],
) -> Result<(), Unsecured> {
    let mut message = [0; MESSAGE_BYTES_MAX];
    let length = noise.write_message(payload, &mut message)?;
    let announced = u16::try_from(length).map_err(|_| Unsecured::Broken)?;
    bytes.extend_from_slice(&announced.to_be_bytes());
    bytes.extend_from_slice(&message[..length]);
    Ok(())
}

async fn read_message(
    socket: &mut TcpStream,
    noise: &mut HandshakeState,
) -> Result<Vec<u8>, Unsecured> {
    let length = usize::from(socket.read_u16().await?);
    let mut message = [0; MESSAGE_BYTES_MAX];
    let message = message.get_mut(..length).ok_or(Unsecured::Broken)?;
    socket.read_exact(message).await?;
    let mut payload = [0; MESSAGE_BYTES_MAX];
    let length = noise.read_message(message, &mut payload)?;
    Ok(payload[..length].to_vec())
}

async fn read_fingerprint(socket: &mut TcpStream) -> io::Result<KeyFingerprint> {
    let mut bytes = [0; 4];
    socket.read_exact(&mut bytes).await?;
    Ok(KeyFingerprint(bytes))
}

const _: () = assert!(
    super::frame::FRAME_BYTES_MAX + TAG_BYTES <= WIRE_BYTES_MAX,
    "a sealed frame is one Noise message"
);
