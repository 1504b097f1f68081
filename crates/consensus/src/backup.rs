//! Backup: what was agreed, in a file of its own.
//!
//! ```text
//!   magic 8 · version 4 · zeros 4 · length 8 · check 32 (BLAKE3 of all else) · body
//! ```
//!
//! The state only: who votes, and the log, are a group's own business, and
//! whoever restores founds another group.

use dui_core::ClusterName;
use prost::Message;

use crate::founding::ClusterId;
use crate::machine::State;
use crate::machine::store::{Agreed, decode, encode};
use crate::record::BadRecord;

const MAGIC: &[u8; 8] = b"duibckup";
/// The newest format that we read, and the one that we write.
pub const VERSION: u32 = 1;
const CHECK: std::ops::Range<usize> = 24..56;

/// What the managers of a cluster agreed on at some moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// What the cluster is called.
    pub name: ClusterName,
    /// Which cluster it was.
    pub cluster: ClusterId,
    /// When the copy was made, ms since the Unix epoch.
    pub made_ms: u64,
    /// All of it.
    pub state: State,
}

/// Why a file cannot be restored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBackup {
    /// Something else.
    #[error("this is no backup of dui: it does not begin as one")]
    Foreign,
    /// Written by a newer dui.
    #[error("this backup has format {found}, this dui reads up to {VERSION}: upgrade it")]
    Newer {
        /// Its format.
        found: u32,
    },
    /// Its length is not what it says.
    #[error("this backup is cut or has grown: it should have {wanted} bytes, and has {found}")]
    Length {
        /// What it says.
        wanted: u64,
        /// What there is.
        found: u64,
    },
    /// The check does not fit.
    #[error("this backup is damaged: its checksum does not fit; take another copy")]
    Damaged,
    /// It is whole, and yet says something that this dui does not know.
    #[error("this backup cannot be read: {}", .0.0)]
    Unknown(BadRecord),
}

#[derive(Clone, PartialEq, Message)]
struct Proto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bytes = "vec", tag = "2")]
    cluster: Vec<u8>,
    #[prost(uint64, tag = "3")]
    made_ms: u64,
    /// For whoever looks at it without reading the state.
    #[prost(uint64, tag = "4")]
    revision: u64,
    #[prost(bytes = "vec", tag = "5")]
    state: Vec<u8>,
}

impl Backup {
    /// The bytes of the file.
    pub fn encode(&self) -> Vec<u8> {
        let state = Agreed {
            state: self.state.clone().into(),
            ..Agreed::default()
        };
        let body = Proto {
            name: self.name.as_str().into(),
            cluster: self.cluster.0.to_be_bytes().into(),
            made_ms: self.made_ms,
            revision: self.state.revision(),
            state: encode(&state),
        }
        .encode_to_vec();
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend((body.len() as u64).to_be_bytes());
        bytes.extend([0; 32]);
        bytes.extend(body);
        let check = check(&bytes);
        bytes[CHECK].copy_from_slice(check.as_bytes());
        bytes
    }

    /// From the bytes of a file.
    ///
    /// # Errors
    /// [`BadBackup`], which says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadBackup> {
        if !bytes.starts_with(MAGIC) {
            return Err(BadBackup::Foreign);
        }
        let cut = |wanted: u64| BadBackup::Length {
            wanted,
            found: bytes.len() as u64,
        };
        let (head, body) = bytes
            .split_at_checked(CHECK.end)
            .ok_or(cut(CHECK.end as u64))?;
        let number = |range: std::ops::Range<usize>| {
            let bytes = head[range].iter();
            bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        let version = number(8..12) as u32;
        if version > VERSION {
            return Err(BadBackup::Newer { found: version });
        }
        let length = number(16..24);
        if length != body.len() as u64 {
            return Err(cut(length.saturating_add(CHECK.end as u64)));
        }
        if head[CHECK] != *check(bytes).as_bytes() {
            return Err(BadBackup::Damaged);
        }
        let unknown = |what| BadBackup::Unknown(BadRecord(what));
        let body = Proto::decode(body).map_err(|_| unknown("not readable"))?;
        let cluster = body.cluster.as_slice().try_into();
        let cluster = cluster.map_err(|_| unknown("no id of a cluster"))?;
        let name = body.name.parse();
        let state = decode(&body.state).map_err(BadBackup::Unknown)?.state;
        let state = State::clone(&state);
        if state.decision() != Some(crate::founding::Decision::Created) {
            return Err(unknown("the state of a cluster that was never formed"));
        }
        Ok(Self {
            name: name.map_err(|_| unknown("no name of a cluster"))?,
            cluster: ClusterId(u128::from_be_bytes(cluster)),
            made_ms: body.made_ms,
            state,
        })
    }
}

/// Of everything but the check itself.
fn check(bytes: &[u8]) -> blake3::Hash {
    let mut hash = blake3::Hasher::new();
    hash.update(&bytes[..CHECK.start]);
    hash.update(&bytes[CHECK.end..]);
    hash.finalize()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use dui_core::NodeId;

    use super::*;
    use crate::call::{Answer, Call};
    use crate::founding::Decision;
    use crate::record::{Command, Seen};

    fn backup() -> Backup {
        let mut state = State::default();
        for command in [
            Command::Decide {
                decision: Decision::Created,
                base: 5,
            },
            Command::Demote {
                manager: NodeId(3),
                demoted: true,
            },
            Command::View {
                joined: vec![Seen {
                    id: NodeId(3),
                    name: "cy".into(),
                    address: "127.0.0.1:7783".into(),
                    manager: true,
                }],
                gone: Vec::new(),
            },
        ] {
            state.apply(&command);
        }
        Backup {
            name: "green".parse().unwrap(),
            cluster: ClusterId(9),
            made_ms: 1_000,
            state: state.refounded(NodeId(1), ClusterId(8), 0),
        }
    }

    #[test]
    fn what_was_saved_is_restored() {
        assert_eq!(Backup::decode(&backup().encode()), Ok(backup()));
    }

    #[test]
    fn no_bit_may_flip_and_no_byte_be_missing() {
        let good = backup().encode();
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 4;
            assert!(Backup::decode(&bad).is_err(), "byte {place}");
            assert!(Backup::decode(&good[..place]).is_err(), "cut at {place}");
        }
        let longer = [&good[..], &[0]].concat();
        assert!(matches!(
            Backup::decode(&longer),
            Err(BadBackup::Length { .. })
        ));
    }

    #[test]
    fn what_is_asked_and_answered_comes_over_as_it_was() {
        let asked = |call: Call| Call::decode(&call.encode());
        let here = ClusterId(9);
        assert!(matches!(asked(Call::Backup(here)), Ok(Call::Backup(id)) if id == here));
        assert!(matches!(asked(Call::Origins(here)), Ok(Call::Origins(id)) if id == here));
        let answered = |answer: Answer| Answer::decode(&answer.encode());
        let file = backup().encode();
        let copied = answered(Answer::Backup(file.clone()));
        assert!(matches!(copied, Ok(Answer::Backup(bytes)) if bytes == file));
        for origins in [vec![], vec![ClusterId(7), here]] {
            let told = answered(Answer::Origins(origins.clone()));
            assert!(matches!(told, Ok(Answer::Origins(ids)) if ids == origins));
        }
    }

    #[test]
    fn a_refusal_says_what_is_wrong() {
        let good = backup().encode();
        let why = |bytes: &[u8]| Backup::decode(bytes).unwrap_err().to_string();
        assert!(why(b"PK\x03\x04 something else").contains("no backup of dui"));
        assert!(why(&good[..good.len() - 1]).contains("cut"));
        let mut damaged = good.clone();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(why(&damaged).contains("checksum"));
        let mut newer = good;
        newer[11] = 7;
        assert!(why(&newer).contains("format 7"));
    }
}
