//! Cluster keys: one seals, all of them open.
//!
//! Several keys at once let an operator rotate without a moment in which two
//! members cannot talk: install the new key everywhere, then make it primary,
//! then remove the old one.

use std::fmt;

/// A cluster key: 32 secret bytes. `Debug` shows the fingerprint only.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    secret: [u8; 32],
    fingerprint: KeyFingerprint,
}

/// Names a key without telling it: the first 4 bytes of a hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyFingerprint(pub [u8; 4]);

impl KeyFingerprint {
    /// What stands in a packet that is not sealed.
    pub const NONE: Self = Self([0; 4]);
    /// What stands in a packet that turns another away, see [`crate::seal`].
    pub const TURNED_AWAY: Self = Self([0xff; 4]);
}

/// Why a key was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// Not 32 bytes.
    #[error("a cluster key has 32 bytes, this one has {got}")]
    Length {
        /// The length seen.
        got: usize,
    },
    /// More keys than a keyring holds.
    #[error("a keyring holds at most {KEYS_MAX} keys")]
    TooMany,
}

/// Most keys in a keyring: every unknown packet costs one comparison each.
pub const KEYS_MAX: usize = 16;

impl Key {
    /// A key of these bytes.
    ///
    /// # Errors
    /// Unless there are exactly 32.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, KeyError> {
        let secret: [u8; 32] = bytes
            .try_into()
            .map_err(|_| KeyError::Length { got: bytes.len() })?;
        let hash = blake3::derive_key("dui v1 key fingerprint", &secret);
        // The other fingerprints mean something else.
        let [a, b, c, d] = [hash[0].clamp(1, 0xfe), hash[1], hash[2], hash[3]];
        let fingerprint = KeyFingerprint([a, b, c, d]);
        Ok(Self {
            secret,
            fingerprint,
        })
    }

    /// Its public name.
    pub fn fingerprint(&self) -> KeyFingerprint {
        self.fingerprint
    }

    /// What streams under this key are secured with, see the shell.
    pub fn stream_secret(&self) -> [u8; 32] {
        self.derive(b"dui v1 stream")
    }

    /// A subkey for one purpose; the same inputs give the same subkey.
    pub(crate) fn derive(&self, purpose: &[u8]) -> [u8; 32] {
        *blake3::keyed_hash(&self.secret, purpose).as_bytes()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.fingerprint())
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

impl fmt::Debug for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The keys of a node: the first seals, all open. Empty: everything in clear.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyring(Vec<Key>);

impl Keyring {
    /// A keyring whose first key seals.
    ///
    /// # Errors
    /// With more than [`KEYS_MAX`] keys.
    pub fn new(keys: Vec<Key>) -> Result<Self, KeyError> {
        if keys.len() > KEYS_MAX {
            return Err(KeyError::TooMany);
        }
        Ok(Self(keys))
    }

    /// The key that seals; `None` when packets go in clear.
    pub fn primary(&self) -> Option<&Key> {
        self.0.first()
    }

    /// The name of the key that seals.
    pub fn fingerprint(&self) -> KeyFingerprint {
        self.primary()
            .map_or(KeyFingerprint::NONE, Key::fingerprint)
    }

    /// The key with this fingerprint.
    pub fn find(&self, fingerprint: KeyFingerprint) -> Option<&Key> {
        self.0.iter().find(|key| key.fingerprint() == fingerprint)
    }

    /// Fingerprints for people: comma-separated, or `none`.
    pub fn describe(&self) -> String {
        if self.0.is_empty() {
            return "none".into();
        }
        let names: Vec<_> = self
            .0
            .iter()
            .map(|key| key.fingerprint().to_string())
            .collect();
        names.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_shows_in_debug_output() {
        let key = Key::from_slice(&[7; 32]).expect("32 bytes");
        assert_eq!(format!("{key:?}"), format!("Key({})", key.fingerprint()));
        assert_eq!(Key::from_slice(&[7; 31]), Err(KeyError::Length { got: 31 }));
    }

    #[test]
    fn the_first_key_seals_and_every_key_is_found() {
        let keys: Vec<_> = (1..=3u8)
            .map(|n| Key::from_slice(&[n; 32]).expect("32 bytes"))
            .collect();
        let ring = Keyring::new(keys.clone()).expect("three keys");
        assert_eq!(ring.primary(), Some(&keys[0]));
        assert_eq!(ring.find(keys[2].fingerprint()), Some(&keys[2]));
        assert_eq!(ring.find(KeyFingerprint([0; 4])), None);
    }
}
