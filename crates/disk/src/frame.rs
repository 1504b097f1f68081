//! Frame: bytes that lie where they were written, as they were written.
//!
//! ```text
//!   length 4 · check of this head 4 · check of the body 8 · body
//! ```
//!
//! Both checks are BLAKE3 over the file's salt and the frame's place, cut
//! short: a frame that lies elsewhere than it was written is as wrong as one
//! with a flipped bit, and nobody who chooses what is kept can make it look
//! like a frame. Numbers are little-endian.

use crate::header::array;

/// Bytes before each body.
pub(crate) const HEAD_BYTES: usize = 16;

/// No body is larger.
pub const BODY_BYTES_MAX: usize = 16 << 20;

/// No frame is larger.
pub const FRAME_BYTES_MAX: usize = HEAD_BYTES + BODY_BYTES_MAX;

/// The frame of this body at this place of the file with this salt.
///
/// # Panics
/// If the body is empty, or longer than [`BODY_BYTES_MAX`].
pub fn frame(salt: u128, place: u64, body: &[u8]) -> Vec<u8> {
    assert!(
        (1..=BODY_BYTES_MAX).contains(&body.len()),
        "whoever fills frames cuts them to fit: {}",
        body.len()
    );
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len());
    bytes.extend_from_slice(&Head::of(salt, place, body).encode());
    bytes.extend_from_slice(body);
    bytes
}

/// The body of the frame that these bytes of this place begin with, if one does.
pub(crate) fn body_in(bytes: &[u8], salt: u128, place: u64) -> Option<&[u8]> {
    let (head, rest) = bytes.split_first_chunk()?;
    // Cheap things first: this is asked of every place behind a torn frame.
    let length = Head::length_of(head)?;
    let body = rest.get(..length)?;
    let head = Head::decode(head, salt, place)?;
    head.is_of(salt, place, body).then_some(body)
}

/// What stands before each body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    length: u32,
    own_check: u32,
    body_check: u64,
}

impl Head {
    fn of(salt: u128, place: u64, body: &[u8]) -> Self {
        let body_check = check(salt, place, body);
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        Self {
            length,
            own_check: Self::own_check(salt, place, length, body_check),
            body_check,
        }
    }

    fn own_check(salt: u128, place: u64, length: u32, body_check: u64) -> u32 {
        let mut bytes = [0; 12];
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes[4..].copy_from_slice(&body_check.to_le_bytes());
        // A head must not be taken for a body of twelve bytes.
        check(!salt, place, &bytes) as u32
    }

    fn encode(&self) -> [u8; HEAD_BYTES] {
        let mut bytes = [0; HEAD_BYTES];
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.own_check.to_le_bytes());
        bytes[8..].copy_from_slice(&self.body_check.to_le_bytes());
        bytes
    }

    /// The head of this place, if it is one.
    pub(crate) fn decode(bytes: &[u8; HEAD_BYTES], salt: u128, place: u64) -> Option<Self> {
        let head = Self {
            length: Self::length_of(bytes)? as u32,
            own_check: u32::from_le_bytes(array(&bytes[4..8])),
            body_check: u64::from_le_bytes(array(&bytes[8..])),
        };
        let own_check = Self::own_check(salt, place, head.length, head.body_check);
        (head.own_check == own_check).then_some(head)
    }

    /// What it says of the body's length, if a body can be as long.
    fn length_of(bytes: &[u8; HEAD_BYTES]) -> Option<usize> {
        let length = u32::from_le_bytes(array(&bytes[..4])) as usize;
        (1..=BODY_BYTES_MAX).contains(&length).then_some(length)
    }

    /// Of the body.
    pub(crate) fn length(&self) -> usize {
        self.length as usize
    }

    /// Whether this is its body.
    pub(crate) fn is_of(&self, salt: u128, place: u64, body: &[u8]) -> bool {
        body.len() == self.length() && check(salt, place, body) == self.body_check
    }
}

fn check(salt: u128, place: u64, bytes: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(&place.to_le_bytes());
    hasher.update(bytes);
    u64::from_le_bytes(array(&hasher.finalize().as_bytes()[..8]))
}
