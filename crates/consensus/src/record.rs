//! Record: what lies in the managers' log, and how it is laid out in bytes.
//!
//! Protocol Buffers, as everything that peers of different versions read: a
//! field that is not known is skipped, a command that is not known is refused
//! by whoever decodes it, so that no two managers apply different things.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use dui_core::NodeId;
use prost::Message;

use crate::founding::Decision;
use crate::types::{Entry, Kind, LogId, Membership, RaftId, StoredMembership, Vote};

/// Most members that a view is told of at once.
pub const VIEW_CHANGES_MAX: usize = 4_096;

/// What a leader proposes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Whether this group's cluster exists. The first of them stands.
    Decide {
        /// What is proposed.
        decision: Decision,
        /// Revisions of the cluster begin above this.
        base: u64,
    },
    /// The proposer leads in this term; its revision is the fencing token.
    Elected {
        /// The leader.
        leader: NodeId,
        /// Its term.
        term: u64,
        /// The highest revision ever heard of, in a cluster that is no more.
        above: u64,
    },
    /// The members of the cluster are other ones now.
    View {
        /// New ones, or such with another name, address or role.
        joined: Vec<Seen>,
        /// Those that are no more.
        gone: Vec<Gone>,
    },
    /// An operator says whether a manager may vote.
    Demote {
        /// Who.
        manager: NodeId,
        /// It may not; otherwise it may again.
        demoted: bool,
    },
}

/// A member of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who.
    pub id: NodeId,
    /// Its label for people.
    pub name: String,
    /// Its peer address.
    pub address: String,
    /// Whether it is a manager.
    pub manager: bool,
}

/// Who is no more in a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// Who.
    pub id: NodeId,
    /// It said goodbye; otherwise it failed or was forgotten.
    pub left: bool,
}

/// What came of a [`Command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The revision that it made, or the present one if it changed nothing.
    pub revision: u64,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Command::Decide { decision, .. } => write!(f, "decide {decision:?}"),
            Command::Elected { leader, term, .. } => write!(f, "elected {leader} in {term}"),
            Command::View { joined, gone } => {
                write!(f, "view: {} joined, {} gone", joined.len(), gone.len())
            }
            Command::Demote { manager, demoted } => write!(f, "demote {manager}: {demoted}"),
        }
    }
}

/// Bytes that are no record of ours, or of a newer dui.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no record of the managers' log: {0}")]
pub struct BadRecord(pub &'static str);

/// The fields as they lie in a record. A number once used is never given
/// another meaning.
pub(crate) mod proto {
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Vote {
        #[prost(uint64, tag = "1")]
        pub(crate) term: u64,
        #[prost(bytes = "vec", tag = "2")]
        pub(crate) node: Vec<u8>,
        #[prost(bool, tag = "3")]
        pub(crate) committed: bool,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct LogId {
        #[prost(uint64, tag = "1")]
        pub(crate) term: u64,
        #[prost(bytes = "vec", tag = "2")]
        pub(crate) node: Vec<u8>,
        #[prost(uint64, tag = "3")]
        pub(crate) index: u64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Entry {
        #[prost(message, optional, tag = "1")]
        pub(crate) id: Option<LogId>,
        #[prost(message, optional, tag = "2")]
        pub(crate) membership: Option<Membership>,
        #[prost(message, optional, tag = "3")]
        pub(crate) decide: Option<Decide>,
        #[prost(message, optional, tag = "4")]
        pub(crate) elected: Option<Elected>,
        #[prost(message, optional, tag = "5")]
        pub(crate) view: Option<View>,
        #[prost(message, optional, tag = "6")]
        pub(crate) demote: Option<Demote>,
        /// Says that an entry without any of the above is meant to be blank.
        #[prost(bool, tag = "15")]
        pub(crate) blank: bool,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Membership {
        #[prost(message, repeated, tag = "1")]
        pub(crate) configs: Vec<Ids>,
        #[prost(message, optional, tag = "2")]
        pub(crate) nodes: Option<Ids>,
        /// Those of `nodes` that have no disk.
        #[prost(message, optional, tag = "3")]
        pub(crate) ephemeral: Option<Ids>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct StoredMembership {
        #[prost(message, optional, tag = "1")]
        pub(crate) id: Option<LogId>,
        #[prost(message, optional, tag = "2")]
        pub(crate) membership: Option<Membership>,
    }

    /// 16 bytes an id, end to end.
    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Ids {
        #[prost(bytes = "vec", tag = "1")]
        pub(crate) ids: Vec<u8>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Decide {
        #[prost(bool, tag = "1")]
        pub(crate) created: bool,
        #[prost(uint64, tag = "2")]
        pub(crate) base: u64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Elected {
        #[prost(bytes = "vec", tag = "1")]
        pub(crate) leader: Vec<u8>,
        #[prost(uint64, tag = "2")]
        pub(crate) term: u64,
        #[prost(uint64, tag = "3")]
        pub(crate) above: u64,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct View {
        #[prost(message, repeated, tag = "1")]
        pub(crate) joined: Vec<Seen>,
        #[prost(message, repeated, tag = "2")]
        pub(crate) gone: Vec<Gone>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Demote {
        #[prost(bytes = "vec", tag = "1")]
        pub(crate) manager: Vec<u8>,
        #[prost(bool, tag = "2")]
        pub(crate) demoted: bool,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Seen {
        #[prost(bytes = "vec", tag = "1")]
        pub(crate) id: Vec<u8>,
        #[prost(string, tag = "2")]
        pub(crate) name: String,
        #[prost(string, tag = "3")]
        pub(crate) address: String,
        #[prost(bool, tag = "4")]
        pub(crate) manager: bool,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct Gone {
        #[prost(bytes = "vec", tag = "1")]
        pub(crate) id: Vec<u8>,
        #[prost(bool, tag = "2")]
        pub(crate) left: bool,
    }
}

// --- encoding ---

pub(crate) fn vote_out(vote: &Vote) -> proto::Vote {
    let leader = vote.leader_id();
    proto::Vote {
        term: leader.term,
        node: id_out(leader.node_id.0),
        committed: vote.is_committed(),
    }
}

pub(crate) fn log_id_out(id: &LogId) -> proto::LogId {
    proto::LogId {
        term: id.leader_id.term,
        node: id_out(id.leader_id.node_id.0),
        index: id.index,
    }
}

pub(crate) fn entry_out(entry: &Entry) -> proto::Entry {
    use openraft::EntryPayload;

    let mut out = proto::Entry {
        id: Some(log_id_out(&entry.log_id)),
        ..proto::Entry::default()
    };
    match &entry.payload {
        EntryPayload::Blank => out.blank = true,
        EntryPayload::Membership(membership) => out.membership = Some(membership_out(membership)),
        EntryPayload::Normal(Command::Decide { decision, base }) => {
            out.decide = Some(proto::Decide {
                created: *decision == Decision::Created,
                base: *base,
            });
        }
        EntryPayload::Normal(Command::Elected {
            leader,
            term,
            above,
        }) => {
            out.elected = Some(proto::Elected {
                leader: id_out(*leader),
                term: *term,
                above: *above,
            });
        }
        EntryPayload::Normal(Command::View { joined, gone }) => {
            out.view = Some(view_out(joined, gone));
        }
        EntryPayload::Normal(Command::Demote { manager, demoted }) => {
            out.demote = Some(proto::Demote {
                manager: id_out(*manager),
                demoted: *demoted,
            });
        }
    }
    out
}

pub(crate) fn view_out(joined: &[Seen], gone: &[Gone]) -> proto::View {
    proto::View {
        joined: joined.iter().map(seen_out).collect(),
        gone: gone
            .iter()
            .map(|gone| proto::Gone {
                id: id_out(gone.id),
                left: gone.left,
            })
            .collect(),
    }
}

pub(crate) fn seen_out(seen: &Seen) -> proto::Seen {
    proto::Seen {
        id: id_out(seen.id),
        name: seen.name.clone(),
        address: seen.address.clone(),
        manager: seen.manager,
    }
}

fn membership_out(membership: &Membership) -> proto::Membership {
    let configs = membership.get_joint_config().iter();
    proto::Membership {
        configs: configs
            .map(|config| ids_out(config.iter().map(|id| id.0)))
            .collect(),
        nodes: Some(ids_out(membership.nodes().map(|(id, _)| id.0))),
        ephemeral: Some(ids_out(
            membership
                .nodes()
                .filter(|(_, kind)| kind.ephemeral)
                .map(|(id, _)| id.0),
        )),
    }
}

pub(crate) fn stored_membership_out(stored: &StoredMembership) -> proto::StoredMembership {
    proto::StoredMembership {
        id: stored.log_id().as_ref().map(log_id_out),
        membership: Some(membership_out(stored.membership())),
    }
}

pub(crate) fn id_out(id: NodeId) -> Vec<u8> {
    id.to_bytes().to_vec()
}

pub(crate) fn ids_out(ids: impl Iterator<Item = NodeId>) -> proto::Ids {
    proto::Ids {
        ids: ids.flat_map(|id| id.to_bytes()).collect(),
    }
}

/// The bytes of an entry of the log.
pub(crate) fn encode_entry(entry: &Entry) -> Vec<u8> {
    entry_out(entry).encode_to_vec()
}

// --- decoding ---

pub(crate) fn vote_in(vote: &proto::Vote) -> Result<Vote, BadRecord> {
    let node = RaftId(id_in(&vote.node)?);
    Ok(if vote.committed {
        Vote::new_committed(vote.term, node)
    } else {
        Vote::new(vote.term, node)
    })
}

pub(crate) fn log_id_in(id: &proto::LogId) -> Result<LogId, BadRecord> {
    let leader = openraft::impls::leader_id_adv::LeaderId {
        term: id.term,
        node_id: RaftId(id_in(&id.node)?),
    };
    Ok(LogId::new(leader, id.index))
}

pub(crate) fn entry_in(entry: proto::Entry) -> Result<Entry, BadRecord> {
    use openraft::EntryPayload;

    let id = entry.id.as_ref().ok_or(BadRecord("an entry without id"))?;
    let mut payloads = Vec::new();
    if let Some(membership) = &entry.membership {
        payloads.push(EntryPayload::Membership(membership_in(membership)?));
    }
    if let Some(decide) = &entry.decide {
        payloads.push(EntryPayload::Normal(Command::Decide {
            decision: if decide.created {
                Decision::Created
            } else {
                Decision::Abandoned
            },
            base: decide.base,
        }));
    }
    if let Some(elected) = &entry.elected {
        payloads.push(EntryPayload::Normal(Command::Elected {
            leader: id_in(&elected.leader)?,
            term: elected.term,
            above: elected.above,
        }));
    }
    if let Some(view) = &entry.view {
        let (joined, gone) = view_in(view)?;
        payloads.push(EntryPayload::Normal(Command::View { joined, gone }));
    }
    if let Some(demote) = &entry.demote {
        payloads.push(EntryPayload::Normal(Command::Demote {
            manager: id_in(&demote.manager)?,
            demoted: demote.demoted,
        }));
    }
    if entry.blank {
        payloads.push(EntryPayload::Blank);
    }
    let (Some(payload), true) = (payloads.pop(), payloads.is_empty()) else {
        return Err(BadRecord("a command that this dui does not know"));
    };
    Ok(Entry {
        log_id: log_id_in(id)?,
        payload,
    })
}

pub(crate) fn view_in(view: &proto::View) -> Result<(Vec<Seen>, Vec<Gone>), BadRecord> {
    if view.joined.len().max(view.gone.len()) > VIEW_CHANGES_MAX {
        return Err(BadRecord("a view with too many changes"));
    }
    let joined = view.joined.iter().map(seen_in).collect::<Result<_, _>>()?;
    let gone = view.gone.iter().map(|gone| {
        Ok(Gone {
            id: id_in(&gone.id)?,
            left: gone.left,
        })
    });
    Ok((joined, gone.collect::<Result<_, _>>()?))
}

pub(crate) fn seen_in(seen: &proto::Seen) -> Result<Seen, BadRecord> {
    Ok(Seen {
        id: id_in(&seen.id)?,
        name: seen.name.clone(),
        address: seen.address.clone(),
        manager: seen.manager,
    })
}

fn membership_in(membership: &proto::Membership) -> Result<Membership, BadRecord> {
    let configs = membership.configs.iter().map(|ids| {
        let ids = ids_in(ids)?.into_iter().map(RaftId);
        Ok(ids.collect::<BTreeSet<_>>())
    });
    let configs = configs.collect::<Result<Vec<_>, _>>()?;
    let none = proto::Ids::default();
    let nodes = ids_in(membership.nodes.as_ref().unwrap_or(&none))?;
    let ephemeral = ids_in(membership.ephemeral.as_ref().unwrap_or(&none))?;
    let kind = |id: &NodeId| Kind {
        ephemeral: ephemeral.contains(id),
    };
    let nodes = nodes.into_iter().map(|id| (RaftId(id), kind(&id)));
    let nodes: BTreeMap<RaftId, Kind> = nodes.collect();
    if configs.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configs, nodes).map_err(|_| BadRecord("a membership that cannot be"))
}

pub(crate) fn stored_membership_in(
    stored: &proto::StoredMembership,
) -> Result<StoredMembership, BadRecord> {
    let id = stored.id.as_ref().map(log_id_in).transpose()?;
    let membership = stored.membership.as_ref().map(membership_in).transpose()?;
    Ok(StoredMembership::new(id, membership.unwrap_or_default()))
}

pub(crate) fn id_in(bytes: &[u8]) -> Result<NodeId, BadRecord> {
    NodeId::from_slice(bytes).ok_or(BadRecord("an id that is not 16 bytes"))
}

pub(crate) fn ids_in(ids: &proto::Ids) -> Result<Vec<NodeId>, BadRecord> {
    ids.ids.chunks(16).map(id_in).collect()
}

/// An entry from its bytes.
pub(crate) fn decode_entry(bytes: &[u8]) -> Result<Entry, BadRecord> {
    let entry = proto::Entry::decode(bytes).map_err(|_| BadRecord("not readable"))?;
    entry_in(entry)
}
