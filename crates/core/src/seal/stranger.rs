//! Stranger: what a node tells whoever seals with a key that it does not have.
//!
//! ```text
//! packet  version 1 │ ff ff ff ff │ salt of the packet turned away 16 │ card 14
//! card    key fingerprint 4 │ wall clock in ms 8 │ check of the cluster's name 2
//! ```
//!
//! It goes in clear, since the two have no key in common: without it, a node
//! with a wrong key could not tell that from packets that do not arrive, nor
//! learn what else is wrong. It gives away as little as that takes. The check
//! is the same in every card, so that many of them tell an eavesdropper no
//! more than one: 16 bits of a hash. Nothing is acted on; it is named to
//! people. It repeats the salt of the packet that it turns away, so who did
//! not see that packet cannot make it, and it is shorter than any sealed
//! packet and never answered, so it can neither amplify nor go back and forth.

use crate::id::ClusterName;
use crate::keyring::{KeyFingerprint, Keyring};

use super::{PREFIX_BYTES, SALT_BYTES, Salt, VERSION};

/// Bytes of a [`Stranger`] on the wire.
pub const CARD_BYTES: usize = 14;

/// A node with another key, as it tells of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// The key that it seals with; [`KeyFingerprint::NONE`]: it has none.
    pub key: KeyFingerprint,
    /// Its wall clock, in ms since 1970.
    pub wall_ms: u64,
    check: [u8; 2],
}

impl Stranger {
    /// What a node of this cluster with these keys tells at this time.
    pub fn new(keys: &Keyring, cluster: &ClusterName, wall_ms: u64) -> Self {
        Self {
            key: keys.fingerprint(),
            wall_ms,
            check: check_of(cluster),
        }
    }

    /// Whether its cluster may have this name: another one that passes for it
    /// is one in 65,536.
    pub fn may_be_of(&self, cluster: &ClusterName) -> bool {
        self.check == check_of(cluster)
    }

    /// The card: fingerprint 4, wall clock in ms 8 (big-endian), check 2.
    pub fn to_bytes(&self) -> [u8; CARD_BYTES] {
        let mut bytes = [0; CARD_BYTES];
        bytes[..4].copy_from_slice(&self.key.0);
        bytes[4..12].copy_from_slice(&self.wall_ms.to_be_bytes());
        bytes[12..].copy_from_slice(&self.check);
        bytes
    }

    /// Reads a card. Any bytes are one.
    pub fn from_bytes(bytes: &[u8; CARD_BYTES]) -> Self {
        let [k0, k1, k2, k3, w0, w1, w2, w3, w4, w5, w6, w7, c0, c1] = *bytes;
        Self {
            key: KeyFingerprint([k0, k1, k2, k3]),
            wall_ms: u64::from_be_bytes([w0, w1, w2, w3, w4, w5, w6, w7]),
            check: [c0, c1],
        }
    }

    /// The packet that turns away one sealed under this salt.
    pub(super) fn turn_away(&self, salt: &Salt) -> Vec<u8> {
        let prefix = [VERSION].into_iter().chain(KeyFingerprint::TURNED_AWAY.0);
        let rest = salt.iter().copied().chain(self.to_bytes());
        prefix.chain(rest).collect()
    }
}

fn check_of(cluster: &ClusterName) -> [u8; 2] {
    let hash = blake3::derive_key("dui v1 cluster check", cluster.as_str().as_bytes());
    [hash[0], hash[1]]
}

/// Whom the rest of a packet turns away, by its salt, and who does.
pub(super) fn parse_turned_away(rest: &[u8]) -> Option<(Salt, Stranger)> {
    let (salt, card) = rest.split_first_chunk()?;
    let card: &[u8; CARD_BYTES] = card.try_into().ok()?;
    Some((*salt, Stranger::from_bytes(card)))
}

const _: () = assert!(
    PREFIX_BYTES + SALT_BYTES + CARD_BYTES < PREFIX_BYTES + SALT_BYTES + 1 + super::TAG_BYTES,
    "turning away amplifies nothing"
);
