//! Entry: one item of shared data, and which of two writes of it wins.
//!
//! A write has a [`Version`], the hybrid time it was made at and who made it.
//! Of two writes of one key the one with the higher version stays, whatever
//! the order they arrive in: merging is taking the maximum, so it is
//! commutative, associative and idempotent. A delete is a write, too; what it
//! leaves is a tombstone, which has to be kept until nobody can hold the
//! older write any more.
//!
//! An entry is one allocation, laid out as it lies on disk, and clones
//! share it: a store of a million small ones pays for their bytes, not for
//! their fields.
//!
//! ```text
//! layout 1 │ kind 1 │ timestamp 8 │ origin 16 │ ttl ms 8 │ key length 2 │ type length 1 │ key │ type │ value
//! ```

mod write;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::id::NodeId;
use crate::reconcile;
pub use write::{
    Acks, Change, Lost, NotParted, PendingWrite, SharedChoice, SharedConfig, SharedInfo, Ticket,
    Write, WriteError, Written,
};

/// Longest key in bytes.
pub const KEY_BYTES_MAX: usize = 1_024;
/// Largest value in bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 20;
/// Longest content type in bytes.
pub const CONTENT_TYPE_BYTES_MAX: usize = 254;

/// The layout of an entry's bytes that this version writes.
const LAYOUT: u8 = 1;
/// Bytes before the key.
const HEAD: usize = 37;
/// Bytes of a name that depend on the key.
const NAME_OF_KEY: usize = 16;

/// What an entry is found by: 1 to 1,024 bytes of UTF-8, ordered by its bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct EntryKey(Box<str>);

/// Orders the writes of one key: the higher one stays.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Version {
    /// When it was written, by the writer's hybrid clock.
    pub timestamp: Timestamp,
    /// Who wrote it: breaks ties.
    pub origin: NodeId,
}

/// What a write left of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A value.
    Value = 0,
    /// Nothing: it was deleted. Kept until no older write can come back.
    Tombstone = 1,
    /// Nothing: its ttl ran out, and its value is no longer kept. Stands for
    /// the same write as the value did.
    Expired = 2,
}

/// One write of one key. Cloning is cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry(Arc<[u8]>);

/// Between which names all writes of a key lie.
pub(crate) fn names_of(key: &[u8]) -> (reconcile::Key, reconcile::Key) {
    let hash = blake3::hash(key);
    let within = |mut name: reconcile::Key| {
        name[..NAME_OF_KEY].copy_from_slice(&hash.as_bytes()[..NAME_OF_KEY]);
        name
    };
    (within(reconcile::LOWEST), within(reconcile::HIGHEST))
}

impl EntryKey {
    /// The key of these bytes.
    ///
    /// # Errors
    /// See [`KeyProblem`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyProblem> {
        let text = std::str::from_utf8(bytes).map_err(|_| KeyProblem::NotUtf8)?;
        Self::new(text)
    }

    /// The key of this text.
    ///
    /// # Errors
    /// See [`KeyProblem`].
    pub fn new(text: &str) -> Result<Self, KeyProblem> {
        match text.len() {
            0 => Err(KeyProblem::Empty),
            1..=KEY_BYTES_MAX => Ok(Self(text.into())),
            got => Err(KeyProblem::TooLong { got }),
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Why something is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// It has no bytes.
    #[error("a key has 1 to {KEY_BYTES_MAX} bytes, this one has none")]
    Empty,
    /// It has too many.
    #[error("a key has 1 to {KEY_BYTES_MAX} bytes, this one has {got}")]
    TooLong {
        /// How many.
        got: usize,
    },
    /// It is not text.
    #[error("a key is UTF-8, this one is not: encode other bytes, as base64 for example")]
    NotUtf8,
}

/// Why bytes are no entry: they were damaged, or written by a later version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an entry: its {0} is out of bounds")]
pub struct BadEntry(pub &'static str);

impl Entry {
    /// A value. Longer content types and larger values than the bounds are
    /// the caller's mistake: see [`Write`], which checks them.
    pub fn value_of(
        key: &str,
        version: Version,
        value: &[u8],
        content_type: Option<&[u8]>,
        ttl: Option<Duration>,
    ) -> Self {
        let ttl_ms = ttl.map_or(0, |ttl| (ttl.as_millis() as u64).max(1));
        Self::lay_out(Kind::Value, key, version, ttl_ms, content_type, value)
    }

    /// What a delete leaves.
    pub fn tombstone(key: &str, version: Version) -> Self {
        Self::lay_out(Kind::Tombstone, key, version, 0, None, &[])
    }

    /// The same write, without the value that nobody may read any more.
    pub fn expired(&self) -> Self {
        let (key, version) = (self.key(), self.version());
        Self::lay_out(Kind::Expired, key, version, self.ttl_ms(), None, &[])
    }

    fn lay_out(
        kind: Kind,
        key: &str,
        version: Version,
        ttl_ms: u64,
        content_type: Option<&[u8]>,
        value: &[u8],
    ) -> Self {
        assert!(
            (1..=KEY_BYTES_MAX).contains(&key.len()),
            "an EntryKey has 1 to 1,024 bytes: {}",
            key.len()
        );
        let content_type_len = content_type.map_or(0, |bytes| bytes.len() + 1);
        assert!(
            content_type_len <= CONTENT_TYPE_BYTES_MAX + 1,
            "writes check the length of content types: {content_type_len}"
        );
        let content_type = content_type.unwrap_or_default();
        let mut bytes = Vec::with_capacity(HEAD + key.len() + content_type.len() + value.len());
        bytes.extend([LAYOUT, kind as u8]);
        bytes.extend(version.timestamp.0.to_be_bytes());
        bytes.extend(version.origin.to_bytes());
        bytes.extend(ttl_ms.to_be_bytes());
        bytes.extend((key.len() as u16).to_be_bytes());
        bytes.push(content_type_len as u8);
        bytes.extend(key.as_bytes());
        bytes.extend(content_type);
        bytes.extend(value);
        Self(bytes.into())
    }

    /// The entry that lies in these bytes, which [`as_bytes`](Self::as_bytes) gave.
    ///
    /// # Errors
    /// [`BadEntry`] unless they are exactly one entry.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadEntry> {
        if bytes.len() < HEAD || bytes[0] != LAYOUT {
            return Err(BadEntry("layout"));
        }
        if bytes[1] > Kind::Expired as u8 {
            return Err(BadEntry("kind"));
        }
        let key_len = usize::from(u16::from_be_bytes([bytes[34], bytes[35]]));
        let type_len = usize::from(bytes[36]).saturating_sub(1);
        let key = bytes
            .get(HEAD..HEAD + key_len)
            .filter(|key| (1..=KEY_BYTES_MAX).contains(&key.len()) && str::from_utf8(key).is_ok());
        if key.is_none() {
            return Err(BadEntry("key"));
        }
        let Some(value_len) = bytes.len().checked_sub(HEAD + key_len + type_len) else {
            return Err(BadEntry("content type"));
        };
        if value_len > VALUE_BYTES_MAX || (value_len > 0 && bytes[1] != Kind::Value as u8) {
            return Err(BadEntry("value"));
        }
        Ok(Self(bytes.into()))
    }

    // --- getters ---

    /// The entry as it lies on disk.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// What it is found by.
    pub fn key(&self) -> &str {
        // Checked when it was made.
        str::from_utf8(self.key_bytes()).unwrap_or_default()
    }

    /// The key as it is compared: text is ordered as its bytes are, and
    /// checking at every step that they are text would cost more than that.
    pub(crate) fn key_bytes(&self) -> &[u8] {
        &self.0[HEAD..HEAD + self.key_len()]
    }

    /// Orders it among the writes of its key.
    pub fn version(&self) -> Version {
        Version {
            timestamp: Timestamp(self.u64_at(2)),
            origin: NodeId(u128::from(self.u64_at(10)) << 64 | u128::from(self.u64_at(18))),
        }
    }

    /// What the write left.
    pub fn kind(&self) -> Kind {
        match self.0[1] {
            0 => Kind::Value,
            1 => Kind::Tombstone,
            _ => Kind::Expired,
        }
    }

    /// The value, empty of what is deleted or expired.
    pub fn value(&self) -> &[u8] {
        &self.0[HEAD + self.key_len() + self.type_len()..]
    }

    /// What its writer said that the value is, byte for byte.
    pub fn content_type(&self) -> Option<&[u8]> {
        let start = HEAD + self.key_len();
        (self.0[36] > 0).then(|| &self.0[start..start + self.type_len()])
    }

    /// How long it lives, if not for ever.
    pub fn ttl(&self) -> Option<Duration> {
        let ttl_ms = self.ttl_ms();
        (ttl_ms > 0).then(|| Duration::from_millis(ttl_ms))
    }

    /// When it expires, in milliseconds of the hybrid clock.
    pub fn expires_ms(&self) -> Option<u64> {
        let ttl_ms = self.ttl_ms();
        (ttl_ms > 0).then(|| self.version().timestamp.ms().saturating_add(ttl_ms))
    }

    /// Whether there is a value to read at this time of the hybrid clock.
    pub fn is_live(&self, at_ms: u64) -> bool {
        self.kind() == Kind::Value && self.expires_ms().is_none_or(|expires| at_ms < expires)
    }

    /// Which write this is, for [reconciliation](crate::reconcile): 16 bytes
    /// that depend on the key and 8 that depend on the version, so that two
    /// writes of one key lie side by side. Part of the wire format.
    pub fn name(&self) -> reconcile::Key {
        self.name_within(names_of(self.key_bytes()).0)
    }

    /// Its name, given another between [`names_of`] its key.
    pub(crate) fn name_within(&self, mut name: reconcile::Key) -> reconcile::Key {
        let version = self.0[2..].first_chunk::<24>();
        let version = version.expect("an entry has 37 bytes at least");
        name[NAME_OF_KEY..].copy_from_slice(&reconcile::hash(version).to_be_bytes());
        name
    }

    /// Whether this write stays when both are known. Total: two different
    /// entries of one version, which only a copied identity can make, are
    /// ordered by what they left.
    pub fn beats(&self, other: &Entry) -> bool {
        let rank = |entry: &Entry| (entry.version(), entry.kind());
        match rank(self).cmp(&rank(other)) {
            std::cmp::Ordering::Equal => self.0 > other.0,
            order => order.is_gt(),
        }
    }

    // --- helpers ---

    fn key_len(&self) -> usize {
        usize::from(u16::from_be_bytes([self.0[34], self.0[35]]))
    }

    fn type_len(&self) -> usize {
        usize::from(self.0[36]).saturating_sub(1)
    }

    fn ttl_ms(&self) -> u64 {
        self.u64_at(26)
    }

    fn u64_at(&self, place: usize) -> u64 {
        let bytes = self.0[place..].first_chunk::<8>();
        u64::from_be_bytes(*bytes.expect("an entry has 37 bytes at least"))
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Version { timestamp, origin } = self.version();
        let (kind, key, bytes) = (self.kind(), self.key(), self.value().len());
        write!(
            f,
            "{kind:?}({key:?}, {bytes} B, {} by {origin:?})",
            timestamp.0
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(ms: u64, origin: u128) -> Version {
        Version {
            timestamp: Timestamp::from_ms(ms),
            origin: NodeId(origin),
        }
    }

    #[test]
    fn an_entry_reads_back_what_was_written() {
        let ttl = Some(Duration::from_secs(7));
        let version = version(1_000, 3 << 80 | 9);
        let entry = Entry::value_of("a/ä", version, b"\0v", Some(b"x/\xff"), ttl);
        let read = Entry::from_bytes(entry.as_bytes()).expect("bytes of an entry");
        assert_eq!(read, entry);
        assert_eq!((read.key(), read.value()), ("a/ä", &b"\0v"[..]));
        assert_eq!((read.version(), read.kind()), (version, Kind::Value));
        assert_eq!(
            (read.content_type(), read.ttl()),
            (Some(&b"x/\xff"[..]), ttl)
        );
        assert!(read.is_live(7_999) && !read.is_live(8_000));
        let empty_type = Entry::value_of("a", version, b"", Some(b""), None);
        assert_eq!(empty_type.content_type(), Some(&b""[..]));
        assert_eq!(empty_type.expires_ms(), None);
    }

    #[test]
    fn damaged_bytes_are_no_entry() {
        let entry = Entry::value_of("key", version(1, 1), b"value", Some(b"text"), None);
        let good = entry.as_bytes();
        for cut in 0..HEAD + 7 {
            assert!(Entry::from_bytes(&good[..cut]).is_err(), "{cut}");
        }
        let spoilt = |place: usize, byte| {
            let mut bytes = good.to_vec();
            bytes[place] = byte;
            Entry::from_bytes(&bytes)
        };
        assert!(spoilt(0, 2).is_err(), "a later layout");
        assert!(spoilt(1, 1).is_err(), "a tombstone with a value");
        assert!(spoilt(1, 3).is_err());
        assert!(spoilt(35, 0).is_err(), "no key");
        assert!(spoilt(HEAD, 0xff).is_err(), "not UTF-8");
        assert!(spoilt(36, 255).is_err());
    }

    #[test]
    fn an_expired_entry_stands_for_the_write_that_it_was() {
        let entry = Entry::value_of(
            "k",
            version(5, 1),
            b"v",
            None,
            Some(Duration::from_millis(1)),
        );
        let expired = entry.expired();
        assert_eq!(expired.name(), entry.name());
        assert!(expired.beats(&entry) && !entry.beats(&expired));
        assert!(!expired.is_live(0) && expired.value().is_empty());
        let newer = Entry::value_of("k", version(5, 2), b"w", None, None);
        assert!(newer.beats(&expired));
        assert_ne!(newer.name(), entry.name());
    }

    #[test]
    fn keys_have_bounds() {
        assert!(EntryKey::new(&"k".repeat(1_024)).is_ok());
        assert_eq!(
            EntryKey::new(&"k".repeat(1_025)),
            Err(KeyProblem::TooLong { got: 1_025 })
        );
        assert_eq!(EntryKey::new(""), Err(KeyProblem::Empty));
        assert_eq!(EntryKey::from_bytes(b"\xff"), Err(KeyProblem::NotUtf8));
        assert!(EntryKey::from_bytes(b"a/../\0").is_ok());
    }
}
