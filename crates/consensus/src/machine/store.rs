//! Store: the machine as the Raft library drives it, and its snapshots.
//!
//! The state is in memory; what is durable is the log, and now and then a
//! snapshot that makes its beginning superfluous. Whoever reads watches
//! [`Agreed`], which changes once for each batch of records.

use std::io;
use std::sync::Arc;

use dui_core::NodeId;
use futures_util::{Stream, StreamExt};
use openraft::storage::RaftStateMachine;
use openraft::type_config::alias::SnapshotOf;
use openraft::{EntryPayload, RaftSnapshotBuilder};
use prost::Message;
use tokio::sync::watch;

use super::{Election, State, View};
use crate::founding::{ClusterId, Decision};
use crate::record::{self, BadRecord, Outcome, Seen, proto};
use crate::store::{Snapshots, StoreError};
use crate::types::{LogId, SnapshotMeta, StoredMembership, Types};

/// Members of a whole view.
const MEMBERS_MAX: usize = 65_536;

/// What is agreed, and by which record.
#[derive(Clone, Debug, Default)]
pub struct Agreed {
    /// What the records up to `applied` amount to.
    pub state: Arc<State>,
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
}

impl Agreed {
    /// Who votes.
    pub fn voters(&self) -> Vec<NodeId> {
        self.membership.voter_ids().map(|id| id.0).collect()
    }

    /// Whether all who vote are without a disk.
    pub fn is_ephemeral(&self) -> bool {
        let membership = self.membership.membership();
        let mut voters = membership.voter_ids();
        voters.all(|id| membership.get_node(&id).is_some_and(|kind| kind.ephemeral))
    }

    /// The index of the last record that was applied; 0 before the first.
    pub fn index(&self) -> u64 {
        self.applied.as_ref().map_or(0, |id| id.index)
    }
}

/// One manager's copy of what is agreed.
#[derive(Clone, Debug)]
pub struct Machine {
    agreed: Arc<watch::Sender<Agreed>>,
    snapshots: Snapshots,
}

impl Machine {
    /// With what its latest snapshot holds.
    ///
    /// # Errors
    /// [`StoreError`] when there is one that cannot be read.
    pub fn open(snapshots: Snapshots) -> Result<(Self, watch::Receiver<Agreed>), StoreError> {
        let kept = snapshots.load()?;
        let agreed = match kept {
            Some(bytes) => decode(&bytes).map_err(|why| snapshots.damaged(why.0))?,
            None => Agreed::default(),
        };
        let (agreed, receiver) = watch::channel(agreed);
        let machine = Self {
            agreed: Arc::new(agreed),
            snapshots,
        };
        Ok((machine, receiver))
    }

    fn snapshot(&self) -> (SnapshotMeta, Vec<u8>) {
        let agreed = self.agreed.borrow();
        let meta = SnapshotMeta {
            last_log_id: agreed.applied,
            last_membership: agreed.membership.clone(),
        };
        (meta, encode(&agreed))
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = Vec<u8>;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let agreed = self.agreed.borrow();
        Ok((agreed.applied, agreed.membership.clone()))
    }

    async fn apply<Entries>(&mut self, mut entries: Entries) -> Result<(), io::Error>
    where
        Entries: Stream<Item = Result<openraft::storage::EntryResponder<Types>, io::Error>>
            + Unpin
            + Send,
    {
        // Whoever watches sees a batch as one change.
        let mut answers = Vec::new();
        let mut batch = Vec::new();
        while let Some(next) = entries.next().await {
            let (entry, responder) = next?;
            batch.push(entry);
            answers.push(responder);
        }
        let mut outcomes = Vec::with_capacity(batch.len());
        self.agreed.send_modify(|agreed| {
            for entry in batch {
                let outcome = match entry.payload {
                    EntryPayload::Normal(command) => {
                        Arc::make_mut(&mut agreed.state).apply(&command)
                    }
                    EntryPayload::Membership(membership) => {
                        agreed.membership = StoredMembership::new(Some(entry.log_id), membership);
                        Arc::make_mut(&mut agreed.state).reseat();
                        Outcome {
                            revision: agreed.state.revision,
                        }
                    }
                    EntryPayload::Blank => Outcome {
                        revision: agreed.state.revision,
                    },
                };
                agreed.applied = Some(entry.log_id);
                outcomes.push(outcome);
            }
        });
        for (responder, outcome) in answers.into_iter().zip(outcomes) {
            if let Some(responder) = responder {
                responder.send(outcome);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Vec<u8>,
    ) -> Result<(), io::Error> {
        let mut agreed = decode(&snapshot).map_err(io::Error::other)?;
        agreed.applied = meta.last_log_id;
        agreed.membership = meta.last_membership.clone();
        save(&self.snapshots, encode(&agreed)).await?;
        self.agreed.send_replace(agreed);
        Ok(())
    }

    async fn get_current_snapshot(
        &mut self,
    ) -> Result<Option<SnapshotOf<Types, Vec<u8>>>, io::Error> {
        let Some(snapshot) = self.snapshots.load().map_err(io::Error::other)? else {
            return Ok(None);
        };
        let agreed = decode(&snapshot).map_err(io::Error::other)?;
        let meta = SnapshotMeta {
            last_log_id: agreed.applied,
            last_membership: agreed.membership,
        };
        Ok(Some(SnapshotOf::<Types, Vec<u8>> { meta, snapshot }))
    }
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = Vec<u8>;

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<Types, Vec<u8>>, io::Error> {
        let (meta, snapshot) = self.snapshot();
        save(&self.snapshots, snapshot.clone()).await?;
        Ok(SnapshotOf::<Types, Vec<u8>> { meta, snapshot })
    }
}

/// Off the runtime: others go on while the disk is slow.
async fn save(snapshots: &Snapshots, bytes: Vec<u8>) -> io::Result<()> {
    let snapshots = snapshots.clone();
    tokio::task::spawn_blocking(move || snapshots.save(&bytes))
        .await
        .unwrap_or_else(|gone| Err(io::Error::other(gone)))
}

#[derive(Clone, PartialEq, Message)]
struct ProtoAgreed {
    #[prost(message, optional, tag = "1")]
    applied: Option<proto::LogId>,
    #[prost(message, optional, tag = "2")]
    membership: Option<proto::StoredMembership>,
    /// 0 undecided, 1 created, 2 abandoned.
    #[prost(uint32, tag = "3")]
    decision: u32,
    #[prost(uint64, tag = "4")]
    revision: u64,
    #[prost(message, optional, tag = "5")]
    elected: Option<proto::Elected>,
    #[prost(uint64, tag = "6")]
    elected_at: u64,
    #[prost(message, repeated, tag = "7")]
    members: Vec<proto::Seen>,
    #[prost(message, repeated, tag = "8")]
    views: Vec<ProtoView>,
    #[prost(message, optional, tag = "9")]
    demoted: Option<proto::Ids>,
    /// 16 bytes an id, end to end.
    #[prost(bytes = "vec", tag = "20")]
    origins: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ProtoView {
    #[prost(uint64, tag = "1")]
    number: u64,
    #[prost(uint64, tag = "2")]
    revision: u64,
    #[prost(message, optional, tag = "3")]
    change: Option<proto::View>,
}

pub(crate) fn cluster_out(cluster: ClusterId) -> Vec<u8> {
    cluster.0.to_be_bytes().to_vec()
}

pub(crate) fn cluster_in(bytes: &[u8]) -> Result<ClusterId, BadRecord> {
    let id = bytes.try_into();
    let id = id.map_err(|_| BadRecord("no id of a cluster"))?;
    Ok(ClusterId(u128::from_be_bytes(id)))
}

pub(crate) fn clusters_out(clusters: &[ClusterId]) -> Vec<u8> {
    clusters.iter().copied().flat_map(cluster_out).collect()
}

pub(crate) fn clusters_in(bytes: &[u8]) -> Result<Vec<ClusterId>, BadRecord> {
    bytes.chunks(16).map(cluster_in).collect()
}

pub(crate) fn view_out(view: &View) -> ProtoView {
    ProtoView {
        number: view.number,
        revision: view.revision,
        change: Some(record::view_out(&view.joined, &view.gone)),
    }
}

/// A view of all members there are: its number, its revision, and they.
pub(crate) fn whole_in(view: &ProtoView) -> Result<(u64, u64, Vec<Seen>), BadRecord> {
    let change = view.change.as_ref().ok_or(BadRecord("a view of nothing"))?;
    if change.joined.len() > MEMBERS_MAX {
        return Err(BadRecord("a view with too many members"));
    }
    let members = change.joined.iter().map(record::seen_in);
    Ok((
        view.number,
        view.revision,
        members.collect::<Result<_, _>>()?,
    ))
}

pub(crate) fn view_in(view: &ProtoView) -> Result<View, BadRecord> {
    let change = view.change.as_ref().ok_or(BadRecord("a view of nothing"))?;
    let (joined, gone) = record::view_in(change)?;
    Ok(View {
        number: view.number,
        revision: view.revision,
        joined,
        gone,
    })
}

pub(crate) fn encode(agreed: &Agreed) -> Vec<u8> {
    let state = &agreed.state;
    ProtoAgreed {
        applied: agreed.applied.as_ref().map(record::log_id_out),
        membership: Some(record::stored_membership_out(&agreed.membership)),
        decision: match state.decision {
            None => 0,
            Some(Decision::Created) => 1,
            Some(Decision::Abandoned) => 2,
        },
        revision: state.revision,
        elected: state.election.map(|election| proto::Elected {
            leader: record::id_out(election.leader),
            term: election.term,
            above: 0,
        }),
        elected_at: state.election.map_or(0, |election| election.revision),
        members: state.members.values().map(record::seen_out).collect(),
        views: state.views.iter().map(view_out).collect(),
        demoted: Some(record::ids_out(state.demoted.iter().copied())),
        origins: clusters_out(&state.origins),
    }
    .encode_to_vec()
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Agreed, BadRecord> {
    let kept = ProtoAgreed::decode(bytes).map_err(|_| BadRecord("not readable"))?;
    let election = kept.elected.as_ref().map(|elected| {
        Ok(Election {
            leader: record::id_in(&elected.leader)?,
            term: elected.term,
            revision: kept.elected_at,
        })
    });
    let members = kept.members.iter().map(|seen| {
        let seen = record::seen_in(seen)?;
        Ok((seen.id, seen))
    });
    let membership = kept.membership.as_ref().map(record::stored_membership_in);
    Ok(Agreed {
        state: Arc::new(State {
            decision: match kept.decision {
                0 => None,
                1 => Some(Decision::Created),
                2 => Some(Decision::Abandoned),
                _ => return Err(BadRecord("a decision that there is not")),
            },
            revision: kept.revision,
            election: election.transpose()?,
            members: members.collect::<Result<_, _>>()?,
            demoted: {
                let none = proto::Ids::default();
                let demoted = record::ids_in(kept.demoted.as_ref().unwrap_or(&none))?;
                demoted.into_iter().collect()
            },
            views: kept.views.iter().map(view_in).collect::<Result<_, _>>()?,
            origins: clusters_in(&kept.origins)?,
        }),
        applied: kept.applied.as_ref().map(record::log_id_in).transpose()?,
        membership: membership.transpose()?.unwrap_or_default(),
    })
}
