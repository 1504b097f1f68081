//! Record: what a manager has in writing about founding, beside its id.
//!
//! One small file, replaced as a whole like the state file. It names the node
//! that wrote it: a file of another node, or one that is missing where the
//! state says that there was one, means that the directory was put together
//! from parts, and what this node promised is not known any more. Then it has
//! to be a new node, which promised nothing.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use dui_consensus::founding::{ClusterId, Proposal, Record};
use dui_core::NodeId;
use prost::Message;

use crate::storage::replace;

const FILE: &str = "founding";
const RAFT: &str = "raft";
/// There while this node is to become a new one.
const GIVEN_UP: &str = "reset";
const MAGIC: &[u8; 8] = b"duifound";
const CHECK_BYTES: usize = 16;

/// What is written: the record, and whether there is data of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) record: Record,
    /// The group whose data has to be there.
    pub(crate) group: Option<ClusterId>,
}

#[derive(Clone, PartialEq, Message)]
struct Proto {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    slot: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    slot_voters: Vec<u8>,
    /// 16 bytes an id, end to end.
    #[prost(bytes = "vec", tag = "4")]
    vetoed: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    abandoned: Vec<u8>,
    #[prost(bytes = "vec", tag = "6")]
    member: Vec<u8>,
    #[prost(bytes = "vec", tag = "7")]
    group: Vec<u8>,
}

/// Why what a directory says about founding cannot be this node's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It is not there, or another node wrote it.
    Record,
    /// It is not as it was written.
    Damaged,
    /// It is there, but the group's data is not.
    Group,
    /// An operator wants it so.
    GivenUp,
}

/// Where a group's data lies.
pub(crate) fn group_dir(dir: &Path, cluster: ClusterId) -> PathBuf {
    dir.join(RAFT).join(cluster.to_string())
}

/// Writes it; durable on return.
///
/// # Errors
/// Of the file system: what was written before is there then.
pub(crate) fn write(dir: &Path, id: NodeId, written: &Written) -> io::Result<()> {
    let Written { record, group } = written;
    let cluster = |cluster: &ClusterId| cluster.0.to_be_bytes();
    let one = |id: Option<&ClusterId>| id.map_or(Vec::new(), |id| cluster(id).to_vec());
    let many = |ids: &BTreeSet<ClusterId>| ids.iter().flat_map(cluster).collect();
    let slot = record.slot.as_ref();
    let body = Proto {
        id: id.to_bytes().into(),
        slot: one(slot.map(Proposal::id).as_ref()),
        slot_voters: slot
            .iter()
            .flat_map(|slot| slot.voters())
            .flat_map(|id| id.to_bytes())
            .collect(),
        vetoed: many(&record.vetoed),
        abandoned: many(&record.abandoned),
        member: one(record.member.as_ref()),
        group: one(group.as_ref()),
    }
    .encode_to_vec();
    let mut bytes = MAGIC.to_vec();
    bytes.extend(&blake3::hash(&body).as_bytes()[..CHECK_BYTES]);
    bytes.extend(body);
    replace(dir, FILE, &bytes)
}

/// Reads what `id` has written.
///
/// # Errors
/// [`Lost`], or the file system's inside.
pub(crate) fn read(dir: &Path, id: NodeId) -> io::Result<Result<Written, Lost>> {
    let bytes = match std::fs::read(dir.join(FILE)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Err(Lost::Record)),
        Err(error) => return Err(error),
    };
    let Some((owner, written)) = decode(&bytes) else {
        return Ok(Err(Lost::Damaged));
    };
    if owner != id {
        return Ok(Err(Lost::Record));
    }
    if let Some(group) = written.group
        && !group_dir(dir, group).is_dir()
    {
        return Ok(Err(Lost::Group));
    }
    Ok(Ok(written))
}

/// Moves away what another node of this directory has left behind: nothing of
/// it may be used, and nothing is destroyed.
///
/// # Errors
/// Of the file system.
pub(crate) fn put_aside(dir: &Path, stamp_ms: u64) -> io::Result<()> {
    for name in [FILE, RAFT] {
        match std::fs::rename(dir.join(name), dir.join(format!("{name}.lost-{stamp_ms}"))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Moves away the data of a group that this node takes no part in any more,
/// if it is there.
///
/// # Errors
/// Of the file system.
pub(crate) fn put_group_aside(dir: &Path, cluster: ClusterId, stamp_ms: u64) -> io::Result<()> {
    let aside = dir.join(RAFT).join(format!("{cluster}.lost-{stamp_ms}"));
    match std::fs::rename(group_dir(dir, cluster), aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// From the next start on this is a new node; durable on return.
///
/// # Errors
/// Of the file system.
pub(crate) fn give_up(dir: &Path) -> io::Result<()> {
    replace(dir, GIVEN_UP, b"The next start makes this a new node.\n")
}

/// Whether this is to be a new node.
pub(crate) fn is_given_up(dir: &Path) -> bool {
    dir.join(GIVEN_UP).exists()
}

/// It is a new node, and has written that.
///
/// # Errors
/// Of the file system: the next start makes it a new one again then.
pub(crate) fn begun_anew(dir: &Path) -> io::Result<()> {
    match std::fs::remove_file(dir.join(GIVEN_UP)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn decode(bytes: &[u8]) -> Option<(NodeId, Written)> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (check, body) = rest.split_at_checked(CHECK_BYTES)?;
    if blake3::hash(body).as_bytes()[..CHECK_BYTES] != *check {
        return None;
    }
    let body = Proto::decode(body).ok()?;
    let cluster = |bytes: &[u8]| Some(ClusterId(u128::from_be_bytes(bytes.try_into().ok()?)));
    let one = |bytes: &[u8]| match bytes {
        [] => Some(None),
        bytes => cluster(bytes).map(Some),
    };
    let many = |bytes: &[u8]| {
        bytes
            .chunks(16)
            .map(cluster)
            .collect::<Option<BTreeSet<_>>>()
    };
    let slot = match one(&body.slot)? {
        None => None,
        Some(id) => {
            let voters = body.slot_voters.chunks(16).map(NodeId::from_slice);
            Some(Proposal::heard(id, voters.collect::<Option<Vec<_>>>()?)?)
        }
    };
    let written = Written {
        record: Record {
            slot,
            vetoed: many(&body.vetoed)?,
            abandoned: many(&body.abandoned)?,
            member: one(&body.member)?,
        },
        group: one(&body.group)?,
    };
    Some((NodeId::from_slice(&body.id)?, written))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ANN: NodeId = NodeId(1);
    const BO: NodeId = NodeId(2);

    fn written() -> Written {
        Written {
            record: Record {
                slot: Proposal::new("green", BTreeSet::from([ANN, BO]), 7),
                vetoed: BTreeSet::from([ClusterId(3), ClusterId(4)]),
                abandoned: BTreeSet::from([ClusterId(5)]),
                member: Some(ClusterId(6)),
            },
            group: Some(ClusterId(6)),
        }
    }

    #[test]
    fn what_was_written_is_read_again_by_the_same_node_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(group_dir(dir.path(), ClusterId(6))).unwrap();
        for written in [Written::default(), written()] {
            write(dir.path(), ANN, &written).unwrap();
            assert_eq!(read(dir.path(), ANN).unwrap(), Ok(written));
            assert_eq!(read(dir.path(), BO).unwrap(), Err(Lost::Record));
        }
    }

    #[test]
    fn a_part_that_is_missing_shows() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), ANN).unwrap(), Err(Lost::Record));
        write(dir.path(), ANN, &written()).unwrap();
        assert_eq!(read(dir.path(), ANN).unwrap(), Err(Lost::Group));
        put_aside(dir.path(), 9).unwrap();
        assert_eq!(read(dir.path(), ANN).unwrap(), Err(Lost::Record));
        assert!(dir.path().join("founding.lost-9").exists());
    }

    #[test]
    fn a_group_is_put_aside_and_a_reset_marked_once() {
        let dir = tempfile::tempdir().unwrap();
        let group = group_dir(dir.path(), ClusterId(6));
        std::fs::create_dir_all(&group).unwrap();
        for _ in 0..2 {
            put_group_aside(dir.path(), ClusterId(6), 9).unwrap();
            assert!(!group.exists());
        }
        let aside = format!("{}.lost-9", ClusterId(6));
        assert!(dir.path().join(RAFT).join(aside).exists());

        assert!(!is_given_up(dir.path()));
        give_up(dir.path()).unwrap();
        assert!(is_given_up(dir.path()));
        for _ in 0..2 {
            begun_anew(dir.path()).unwrap();
            assert!(!is_given_up(dir.path()));
        }
    }

    #[test]
    fn no_bit_may_flip() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), ANN, &written()).unwrap();
        let good = std::fs::read(dir.path().join(FILE)).unwrap();
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 4;
            assert_eq!(decode(&bad), None, "byte {place}");
            assert_eq!(decode(&good[..place]), None, "cut at {place}");
        }
    }
}
