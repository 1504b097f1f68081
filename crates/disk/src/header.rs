//! Header: what stands first in a file, and says whose it is.
//!
//! ```text
//!   magic 8 · version 4 · kind 4 · number 8 · mark 8 · salt 16 · check 8
//! ```
//!
//! The check is BLAKE3 over all before it, cut short. Numbers are
//! little-endian. A file has its name only when the header is whole, so that
//! one which is not is damage, never the work of a crash.

/// Bytes of a header.
pub const HEADER_BYTES: usize = 56;

/// What the check covers.
const CHECKED_BYTES: usize = 48;

/// A kind of log: what its files have in common.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// The first bytes.
    pub magic: [u8; 8],
    /// The newest version that this dui reads, and the one that it writes.
    pub version: u32,
    /// What to say of a file that begins otherwise.
    pub mismatch: &'static str,
}

/// What stands first in a file, beside its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Which of the format's files it is; what that means is up to the format.
    pub kind: u32,
    /// The one in its name, so that a file under another's is found out.
    pub number: u64,
    /// An offset, here or elsewhere, up to which everything was synced before
    /// this file got its name: what does not fit before it is damage.
    pub mark: u64,
    /// Something that no other file has.
    pub salt: u128,
}

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Written by a newer dui.
    Newer(u32),
    /// Neither cut short by a crash nor as it was written.
    Damaged {
        /// Where in the file.
        offset: u64,
        /// What does not fit.
        what: &'static str,
    },
}

impl Header {
    /// Its bytes.
    pub fn encode(&self, format: &Format) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&format.magic);
        bytes[8..12].copy_from_slice(&format.version.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.kind.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.mark.to_le_bytes());
        bytes[32..CHECKED_BYTES].copy_from_slice(&self.salt.to_le_bytes());
        let check = blake3::hash(&bytes[..CHECKED_BYTES]);
        bytes[CHECKED_BYTES..].copy_from_slice(&check.as_bytes()[..8]);
        bytes
    }

    /// The header at the beginning of these bytes.
    ///
    /// # Errors
    /// What is [`Wrong`] with it.
    pub fn decode(bytes: &[u8], format: &Format) -> Result<Self, Wrong> {
        let damaged = |what| Err(Wrong::Damaged { offset: 0, what });
        let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
            return damaged("too short for a header");
        };
        if bytes[..8] != format.magic {
            return damaged(format.mismatch);
        }
        let check = blake3::hash(&bytes[..CHECKED_BYTES]);
        if check.as_bytes()[..8] != bytes[CHECKED_BYTES..] {
            return damaged("its header's checksum is wrong");
        }
        // Checked: what the version means is up to the version alone.
        let version = u32::from_le_bytes(array(&bytes[8..12]));
        if version > format.version {
            return Err(Wrong::Newer(version));
        }
        Ok(Self {
            kind: u32::from_le_bytes(array(&bytes[12..16])),
            number: u64::from_le_bytes(array(&bytes[16..24])),
            mark: u64::from_le_bytes(array(&bytes[24..32])),
            salt: u128::from_le_bytes(array(&bytes[32..CHECKED_BYTES])),
        })
    }
}

pub(crate) fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().expect("a slice of this length")
}
