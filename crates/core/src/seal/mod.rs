//! Seal: a packet is read only when somebody with the cluster key made it, and acted on only once.
//!
//! ```text
//! sealed  version 1 │ key fingerprint 4 │ salt 16 │ counter 1…3 │ AES-256-GCM ciphertext │ tag 16
//! clear   version 1 │ 00 00 00 00       │ body
//! ```
//!
//! What precedes the ciphertext is authenticated with it. The key of the cipher is
//! KDF(cluster key, salt, [`Channel`]) and its nonce the counter (LEB128). The
//! salt is random and new for each run, after each thaw and every 2^20
//! packets, so no clock, file or snapshot can make a nonce repeat under one
//! key. The channel is part of the key, so that a beacon can never be taken
//! for a packet.
//!
//! A sealed packet tells who made it, not when: whoever records one can send
//! it again. Hence a replay window per salt. But windows get lost, by a
//! restart here or for want of room, so a salt without one is [`Unproven`]:
//! what it says is readable but not to be acted on until one of its packets
//! echoes our [`Seal::cookie`], 64 random bits that it cannot have known
//! before we drew them. Three rules make that proof hold:
//!
//! - **Counters up to the proving one count as seen.** Bo acts on ann's packet
//!   1 and restarts; ann proves herself to the new bo with packet 3. Were 1
//!   and 2 still open, a recorded packet 1 would be news again. Whatever she
//!   seals after 3 was sealed after bo drew the cookie: nobody acted on it yet.
//! - **Evicting a window draws a new cookie.** Ann proves herself with packet 3,
//!   bo acts on it and later evicts her window. With the old cookie still in
//!   force a recorded packet 3 would prove her again and be acted on twice.
//! - **Nobody proves anything under our own salt.** Mallory hands our packets
//!   back to us: we would echo our own cookie and take that for the proof.
//!
//! Source: the window is that of IPsec (RFC 4303, section 3.4.3), the echo
//! that of DTLS's cookie exchange (RFC 9147, section 5.1).

mod stranger;
mod window;

#[cfg(test)]
mod tests;

use std::fmt;

use rand_core::Rng;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::keyring::{Key, KeyFingerprint, Keyring};
pub use stranger::{CARD_BYTES, Stranger};
use window::{Verdict, Windows};

/// The wire version that this node speaks: the first byte of every packet.
pub const VERSION: u8 = 1;

/// Packets sealed under one salt before the next one is drawn. Bounds what one
/// derived key encrypts and keeps the counter within three bytes.
pub const PACKETS_PER_SALT: u64 = 1 << 20;

const SALT_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
/// Version and key fingerprint: all that a packet in clear has before its body.
const PREFIX_BYTES: usize = 5;
/// LEB128 of any counter below [`PACKETS_PER_SALT`].
const COUNTER_BYTES_MAX: usize = 3;

type Salt = [u8; SALT_BYTES];

/// What a packet is for. Sealed for one channel, it opens on no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// Datagrams between peer sockets.
    Packet,
    /// Beacons by multicast or broadcast. They have no window: whatever they
    /// say, they only ever cause an exchange of packets.
    Beacon,
}

/// Seals and opens the packets of one node. Without a key it passes them
/// through and refuses sealed ones.
pub struct Seal {
    keys: Keyring,
    own: Option<Own>,
    cookie: u64,
    salt_generation: u64,
    windows: Windows,
}

/// What a packet held.
#[derive(Debug, PartialEq, Eq)]
pub struct Opened {
    /// The body.
    pub plain: Vec<u8>,
    /// Whether it may be acted on.
    pub standing: Standing,
}

/// How far an opened packet is to be trusted.
#[derive(Debug, PartialEq, Eq)]
pub enum Standing {
    /// No key in use: anybody may have sent it, any number of times.
    Clear,
    /// Made with our key, and opened for the first time.
    Proven,
    /// Made with our key, but perhaps long ago: show the sender our cookie and
    /// act on nothing until [`Seal::admit`] takes its echo.
    Unproven(Unproven),
}

/// A packet that has yet to prove its freshness; spent by [`Seal::admit`].
#[derive(Debug, PartialEq, Eq)]
pub struct Unproven {
    channel: Channel,
    salt: Salt,
    counter: u64,
}

/// Why a packet was dropped. Nothing was changed; sending it again does not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Shorter than its own header and tag.
    #[error("packet ends before its seal does")]
    Truncated,
    /// A wire version that we do not speak.
    #[error("packet speaks wire version {0}, this node speaks {VERSION}")]
    Version(u8),
    /// Sealed with a key that we do not have; `00000000`: not sealed at all.
    #[error("packet is sealed with key {0}, which this node does not have")]
    Key(KeyFingerprint),
    /// Not one of the cluster's: a node that has none of our keys turns a
    /// packet of ours away.
    #[error("a node with key {} turned a packet away", .0.key)]
    TurnedAway(Stranger),
    /// Altered on its way, sealed for another channel, or made up.
    #[error("packet was altered, made up or sealed for another channel")]
    Forged,
    /// Opened before, or too far behind the newest to tell.
    #[error("packet was seen before")]
    Replayed,
    /// Sealed under our own salt: our beacon heard by ourselves, or a packet
    /// that somebody handed back.
    #[error("packet is our own")]
    Own,
}

impl Seal {
    /// A seal for one run: draws its salt and its cookie.
    pub fn new(keys: Keyring, rng: &mut impl Rng) -> Self {
        let own = keys.primary().map(|key| Own::draw(key, rng));
        Self {
            keys,
            own,
            cookie: draw_cookie(rng),
            salt_generation: 0,
            windows: Windows::default(),
        }
    }

    /// Whether there is a key: then only sealed packets are taken.
    pub fn keyed(&self) -> bool {
        self.own.is_some()
    }

    /// What a peer must echo, inside the seal, to prove that it speaks now.
    /// Never 0, so that 0 can stand for "no echo". Changes without notice:
    /// read it for each packet.
    pub fn cookie(&self) -> u64 {
        self.cookie
    }

    /// Rises whenever our salt changes: peers have no window for the new one,
    /// so packets to them echo their cookies again until they have.
    pub fn salt_generation(&self) -> u64 {
        self.salt_generation
    }

    /// Most bytes that sealing adds to a body.
    pub fn overhead(&self) -> usize {
        if self.keyed() {
            PREFIX_BYTES + SALT_BYTES + COUNTER_BYTES_MAX + TAG_BYTES
        } else {
            PREFIX_BYTES
        }
    }

    /// Starts over with fresh entropy, after a thaw. A machine resumed twice
    /// from one snapshot would otherwise seal two different packets under one
    /// nonce, and take for news what it acted on after the snapshot was made.
    pub fn reseed(&mut self, rng: &mut impl Rng) {
        self.renew_salt(rng);
        self.cookie = draw_cookie(rng);
        self.windows = Windows::default();
    }

    /// The packet to send for this body.
    pub fn seal(&mut self, channel: Channel, plain: &[u8], rng: &mut impl Rng) -> Vec<u8> {
        if self
            .own
            .as_ref()
            .is_some_and(|own| own.is_worn_out(channel))
        {
            self.renew_salt(rng);
        }
        let mut bytes = Vec::with_capacity(plain.len() + self.overhead());
        bytes.push(VERSION);
        match &mut self.own {
            Some(own) => own.seal_into(&mut bytes, channel, plain),
            None => {
                bytes.extend_from_slice(&KeyFingerprint::NONE.0);
                bytes.extend_from_slice(plain);
            }
        }
        bytes
    }

    /// What this packet holds, and how far to trust it. Nothing is parsed
    /// before the seal is found whole.
    ///
    /// # Errors
    /// When it is not for us, not whole or not new. The counter of a proven
    /// packet is spent: opening it again is [`OpenError::Replayed`].
    pub fn open(&mut self, channel: Channel, bytes: &[u8]) -> Result<Opened, OpenError> {
        let (fingerprint, rest) = parse_prefix(bytes)?;
        if fingerprint == KeyFingerprint::TURNED_AWAY {
            return Err(self.turned_away(channel, rest));
        }
        let Some(own) = &self.own else {
            if fingerprint != KeyFingerprint::NONE {
                return Err(OpenError::Key(fingerprint));
            }
            return Ok(Opened {
                plain: rest.to_vec(),
                standing: Standing::Clear,
            });
        };
        let key = self
            .keys
            .find(fingerprint)
            .ok_or(OpenError::Key(fingerprint))?;
        let (salt, counter, ciphertext) = parse_sealed(rest)?;
        if salt == own.salt {
            return Err(OpenError::Own);
        }
        // Before the cipher, because a flood of replays should cost little;
        // what it says is acted on only after the cipher agreed.
        let verdict = self.windows.judge(channel, &salt, counter);
        if verdict == Verdict::Seen {
            return Err(OpenError::Replayed);
        }
        let header = &bytes[..bytes.len() - ciphertext.len()];
        let plain = decrypt(key, channel, &salt, counter, header, ciphertext)?;
        let standing = if verdict == Verdict::News {
            self.windows.spend(channel, &salt, counter);
            Standing::Proven
        } else {
            Standing::Unproven(Unproven {
                channel,
                salt,
                counter,
            })
        };
        Ok(Opened { plain, standing })
    }

    /// What to answer to a packet that [`Seal::open`] refused for its key:
    /// nothing to one that is not sealed, or only pretends to be.
    pub fn turn_away(&self, bytes: &[u8], own: &Stranger) -> Option<Vec<u8>> {
        let (fingerprint, rest) = parse_prefix(bytes).ok()?;
        let (salt, ..) = parse_sealed(rest).ok()?;
        let ours = self.keys.find(fingerprint).is_some();
        let known = fingerprint == KeyFingerprint::NONE
            || fingerprint == KeyFingerprint::TURNED_AWAY
            || ours;
        (!known).then(|| own.turn_away(&salt))
    }

    fn turned_away(&self, channel: Channel, rest: &[u8]) -> OpenError {
        let own = self.own.as_ref();
        match stranger::parse_turned_away(rest) {
            Some((salt, stranger))
                if channel == Channel::Packet && own.is_some_and(|own| own.salt == salt) =>
            {
                OpenError::TurnedAway(stranger)
            }
            _ => OpenError::Forged,
        }
    }

    /// Takes the echo that an unproven packet carried. `true`: it echoes our
    /// cookie and is news; act on it. `false`: drop it, after showing its
    /// sender our cookie.
    ///
    /// Two copies of one packet may both have been opened before the first is
    /// admitted: only the first is news. A beacon proves nothing.
    #[must_use = "a packet that is not admitted must not be acted on"]
    pub fn admit(&mut self, packet: Unproven, echo: u64, rng: &mut impl Rng) -> bool {
        let Unproven {
            channel,
            salt,
            counter,
        } = packet;
        if echo != self.cookie || channel == Channel::Beacon {
            return false;
        }
        match self.windows.judge(channel, &salt, counter) {
            Verdict::Seen => false,
            Verdict::News => {
                self.windows.spend(channel, &salt, counter);
                true
            }
            Verdict::NoWindow => {
                let evicted = self.windows.open(channel, salt, counter);
                if evicted {
                    self.cookie = draw_cookie(rng);
                }
                true
            }
        }
    }

    fn renew_salt(&mut self, rng: &mut impl Rng) {
        if let Some(key) = self.keys.primary() {
            self.own = Some(Own::draw(key, rng));
            self.salt_generation += 1;
        }
    }
}

/// Shows no secret: neither keys nor the cookie.
impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal")
            .field("keys", &self.keys)
            .field("salt_generation", &self.salt_generation)
            .field("windows", &self.windows.len())
            .finish_non_exhaustive()
    }
}

/// Our own salt, with a key and a counter for each channel.
struct Own {
    fingerprint: KeyFingerprint,
    salt: Salt,
    packet: Sealer,
    beacon: Sealer,
}

struct Sealer {
    cipher: LessSafeKey,
    /// Nonce of the next packet.
    next: u64,
}

impl Own {
    fn draw(key: &Key, rng: &mut impl Rng) -> Self {
        let mut salt = [0; SALT_BYTES];
        rng.fill_bytes(&mut salt);
        let sealer = |channel| Sealer {
            cipher: cipher(key, channel, &salt),
            next: 0,
        };
        Self {
            fingerprint: key.fingerprint(),
            salt,
            packet: sealer(Channel::Packet),
            beacon: sealer(Channel::Beacon),
        }
    }

    fn sealer(&mut self, channel: Channel) -> &mut Sealer {
        match channel {
            Channel::Packet => &mut self.packet,
            Channel::Beacon => &mut self.beacon,
        }
    }

    fn is_worn_out(&self, channel: Channel) -> bool {
        let sealer = match channel {
            Channel::Packet => &self.packet,
            Channel::Beacon => &self.beacon,
        };
        sealer.next >= PACKETS_PER_SALT
    }

    /// Appends all that follows the version, which is in `bytes` already.
    fn seal_into(&mut self, bytes: &mut Vec<u8>, channel: Channel, plain: &[u8]) {
        bytes.extend_from_slice(&self.fingerprint.0);
        bytes.extend_from_slice(&self.salt);
        let sealer = self.sealer(channel);
        let counter = sealer.next;
        sealer.next += 1;
        push_counter(bytes, counter);
        let header_bytes = bytes.len();
        bytes.extend_from_slice(plain);
        let (header, body) = bytes.split_at_mut(header_bytes);
        let tag = sealer
            .cipher
            .seal_in_place_separate_tag(nonce(counter), Aad::from(header), body)
            .expect("AES-GCM seals anything below 64 GiB");
        bytes.extend_from_slice(tag.as_ref());
    }
}

/// Deriving takes less time than fetching a kept key schedule is worth in
/// memory: about 0.3 µs against 0.5 KiB for each salt ever heard.
fn cipher(key: &Key, channel: Channel, salt: &Salt) -> LessSafeKey {
    let label: &[u8] = match channel {
        Channel::Packet => b"dui v1 packet",
        Channel::Beacon => b"dui v1 beacon",
    };
    let subkey = key.derive(&[salt, label].concat());
    let unbound = UnboundKey::new(&AES_256_GCM, &subkey).expect("an AES-256 key has 32 bytes");
    LessSafeKey::new(unbound)
}

fn decrypt(
    key: &Key,
    channel: Channel,
    salt: &Salt,
    counter: u64,
    header: &[u8],
    ciphertext: &[u8],
) -> Result<Vec<u8>, OpenError> {
    let mut buffer = ciphertext.to_vec();
    let plain_bytes = cipher(key, channel, salt)
        .open_in_place(nonce(counter), Aad::from(header), &mut buffer)
        .map_err(|_| OpenError::Forged)?
        .len();
    buffer.truncate(plain_bytes);
    Ok(buffer)
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; NONCE_LEN];
    bytes[NONCE_LEN - 8..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

fn draw_cookie(rng: &mut impl Rng) -> u64 {
    loop {
        let cookie = rng.next_u64();
        if cookie != 0 {
            return cookie;
        }
    }
}

fn parse_prefix(bytes: &[u8]) -> Result<(KeyFingerprint, &[u8]), OpenError> {
    let (&version, rest) = bytes.split_first().ok_or(OpenError::Truncated)?;
    if version != VERSION {
        return Err(OpenError::Version(version));
    }
    let (fingerprint, rest) = rest.split_first_chunk().ok_or(OpenError::Truncated)?;
    Ok((KeyFingerprint(*fingerprint), rest))
}

/// Salt, counter, and ciphertext with tag.
fn parse_sealed(bytes: &[u8]) -> Result<(Salt, u64, &[u8]), OpenError> {
    let (salt, rest) = bytes.split_first_chunk().ok_or(OpenError::Truncated)?;
    let (counter, ciphertext) = take_counter(rest)?;
    if ciphertext.len() < TAG_BYTES {
        return Err(OpenError::Truncated);
    }
    Ok((*salt, counter, ciphertext))
}

fn push_counter(bytes: &mut Vec<u8>, mut counter: u64) {
    while counter >= 0x80 {
        bytes.push(counter as u8 | 0x80);
        counter >>= 7;
    }
    bytes.push(counter as u8);
}

fn take_counter(bytes: &[u8]) -> Result<(u64, &[u8]), OpenError> {
    let mut counter = 0;
    for (i, &byte) in bytes.iter().enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shift = 7 * i as u32;
        // The tenth byte has room for one bit only.
        if shift > 63 || bits << shift >> shift != bits {
            return Err(OpenError::Forged);
        }
        counter |= bits << shift;
        if byte < 0x80 {
            return Ok((counter, &bytes[i + 1..]));
        }
    }
    Err(OpenError::Truncated)
}
