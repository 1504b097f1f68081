//! Call: what managers ask of one another, and how it is laid out in bytes.
//!
//! A call names the cluster it is about; the connection it goes over names
//! who asks and who is asked, once and for all calls. So a manager that lives
//! at an address where another one lived answers nothing meant for that one,
//! and an answer counts for who gave it, wherever that was.

use dui_core::NodeId;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use prost::Message;

use crate::founding::{ClusterId, Decision, Proposal, Word};
use crate::machine::View;
use crate::machine::store::{
    cluster_in, cluster_out, clusters_in, clusters_out, view_in, view_out, whole_in,
};
use crate::record::{self, BadRecord, Seen, proto};
use crate::types::{LogId, SnapshotMeta, Types, Vote};

/// Records in one call, at most.
pub const ENTRIES_MAX: usize = 1_024;
/// Managers that a proposal may name.
pub const VOTERS_MAX: usize = 16;

/// What a manager asks of another.
#[derive(Debug)]
pub enum Call {
    /// Raft, in the group of a cluster.
    Raft(ClusterId, Box<Raft>),
    /// About a proposal to found.
    Word(Proposal, Word),
    /// How do you stand to founding?
    Standing,
    /// Views after this number.
    Views(ClusterId, u64),
    /// What the leader alone may do.
    Operate(ClusterId, Operation),
    /// A copy of what is agreed, confirmed to be not old.
    Backup(ClusterId),
    /// Which clusters this one goes on for.
    Origins(ClusterId),
}

/// What the Raft library sends.
#[derive(Debug)]
pub enum Raft {
    /// Records, or none: then it is a heartbeat.
    Append(AppendEntriesRequest<Types>),
    /// A candidate asks for a vote.
    Vote(VoteRequest<Types>),
    /// Whether one would be given.
    PreVote(VoteRequest<Types>),
    /// Everything up to a record at once.
    Snapshot(Vote, SnapshotMeta, Vec<u8>),
    /// The leader hands over.
    Transfer(TransferLeaderRequest<Types>),
}

/// No term and no index comes near it; the library counts on that.
const NUMBER_MAX: u64 = 1 << 62;

impl Raft {
    /// Whether it can have been said, by this manager: nobody votes or leads
    /// in another's name. The library takes what it is told for granted, and
    /// ends the process where that cannot be.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, from: NodeId) -> Result<(), &'static str> {
        let (vote, ids): (&Vote, Vec<Option<&LogId>>) = match self {
            Raft::Append(append) => {
                let mut last = append.prev_log_id.as_ref();
                for entry in &append.entries {
                    let next = last.map_or(0, |id| id.index.saturating_add(1));
                    // The first of all may be any: the log may begin there.
                    let follows = entry.log_id.index == next || (last.is_none() && next == 0);
                    if !follows || last.is_some_and(|id| *id > entry.log_id) {
                        return Err("its records do not follow one another");
                    }
                    last = Some(&entry.log_id);
                }
                let prev = append.prev_log_id.as_ref();
                (
                    &append.vote,
                    vec![prev, last, append.leader_commit.as_ref()],
                )
            }
            Raft::Vote(vote) | Raft::PreVote(vote) => (&vote.vote, vec![vote.last_log_id.as_ref()]),
            Raft::Snapshot(vote, meta, _) => {
                let membership = meta.last_membership.log_id().as_ref();
                (vote, vec![meta.last_log_id.as_ref(), membership])
            }
            Raft::Transfer(transfer) => (transfer.from_leader(), vec![transfer.last_log_id()]),
        };
        if vote.leader_id.node_id.0 != from {
            return Err("it speaks for another manager");
        }
        let late = ids.iter().flatten().any(|id| id.leader_id > vote.leader_id);
        // A candidate's log may be of a later leader than the term it stands in.
        if late && !matches!(self, Raft::Vote(_) | Raft::PreVote(_)) {
            return Err("its records are of a later leader than itself");
        }
        let huge = |id: &&LogId| id.index > NUMBER_MAX || id.leader_id.term > NUMBER_MAX;
        if vote.leader_id.term > NUMBER_MAX || ids.into_iter().flatten().any(|id| huge(&id)) {
            return Err("its numbers cannot be");
        }
        Ok(())
    }
}

/// What an operator asks of the managers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// This manager is to vote.
    Promote(NodeId),
    /// This manager is to vote no more.
    Demote(NodeId),
    /// This manager is to lead.
    Move(NodeId),
    /// This manager leaves for good: it votes no more and gets no records.
    Remove(NodeId),
}

/// How a manager stands to founding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How many managers it expects; 0 when it founds nothing.
    pub expect: u32,
    /// Bound to nothing.
    pub fresh: bool,
    /// The formed cluster it belongs to.
    pub member: Option<ClusterId>,
    /// It has no disk.
    pub ephemeral: bool,
    /// Managers that it is in contact with, itself included, at most 64.
    pub sees: Vec<NodeId>,
}

/// What came after a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Views {
    /// These, without a gap.
    Next(Vec<View>),
    /// Some of them are no longer kept, or nothing was known: the newest
    /// view's number and revision, and all its members.
    Whole {
        /// Its number.
        number: u64,
        /// Of the record that made it.
        revision: u64,
        /// All of them.
        members: Vec<Seen>,
    },
}

impl Views {
    /// Whether it tells nothing.
    pub fn is_empty(&self) -> bool {
        matches!(self, Views::Next(views) if views.is_empty())
    }
}

/// An answer.
#[derive(Debug)]
pub enum Answer {
    /// To records.
    Append(AppendEntriesResponse<Types>),
    /// To either vote.
    Vote(VoteResponse<Types>),
    /// To a snapshot.
    Snapshot(SnapshotResponse<Types>),
    /// Done, and nothing to tell.
    Done,
    /// To [`Call::Standing`].
    Standing(Standing),
    /// To [`Call::Views`].
    Views(Views),
    /// To [`Call::Backup`]: the file.
    Backup(Vec<u8>),
    /// To [`Call::Origins`], oldest first.
    Origins(Vec<ClusterId>),
    /// Not done, and why, for people. `code` is one of the API's.
    Refused {
        /// For programs.
        code: String,
        /// What failed, the value seen, the remedy.
        why: String,
    },
}

mod wire;

/// In the order of their numbers on the wire, from 1.
const WORDS: [Word; 7] = [
    Word::Propose,
    Word::Accepted,
    Word::Query,
    Word::Pending,
    Word::Veto,
    Word::Decided(Decision::Created),
    Word::Decided(Decision::Abandoned),
];

impl Call {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = wire::Call::default();
        match self {
            Call::Raft(cluster, raft) => {
                out.cluster = cluster_out(*cluster);
                raft_out(raft, &mut out);
            }
            Call::Word(proposal, word) => {
                out.cluster = cluster_out(proposal.id());
                let place = WORDS.iter().position(|known| known == word);
                out.word = Some(wire::Word {
                    voters: Some(record::ids_out(proposal.voters().iter().copied())),
                    word: place.map_or(0, |place| place as u32 + 1),
                });
            }
            Call::Standing => out.standing = true,
            Call::Backup(cluster) => {
                out.cluster = cluster_out(*cluster);
                out.backup = true;
            }
            Call::Origins(cluster) => {
                out.cluster = cluster_out(*cluster);
                out.origins = true;
            }
            Call::Views(cluster, after) => {
                out.cluster = cluster_out(*cluster);
                out.views_after = Some(*after);
            }
            Call::Operate(cluster, operation) => {
                out.cluster = cluster_out(*cluster);
                let (what, manager) = match operation {
                    Operation::Promote(id) => (1, id),
                    Operation::Demote(id) => (2, id),
                    Operation::Move(id) => (3, id),
                    Operation::Remove(id) => (4, id),
                };
                out.operate = Some(wire::Operate {
                    manager: record::id_out(*manager),
                    what,
                });
            }
        }
        out.encode_to_vec()
    }

    /// From its bytes.
    ///
    /// # Errors
    /// [`BadRecord`]: nobody of this version said that.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        counts(bytes).ok_or(BadRecord("too many records"))?;
        let call = wire::Call::decode(bytes).map_err(|_| BadRecord("not readable"))?;
        if call.standing {
            return Ok(Call::Standing);
        }
        let cluster = cluster_in(&call.cluster)?;
        if let Some(word) = &call.word {
            let voters = record::ids_in(word.voters.as_ref().ok_or(BadRecord("no voters"))?)?;
            if voters.len() > VOTERS_MAX {
                return Err(BadRecord("too many voters"));
            }
            let proposal =
                Proposal::heard(cluster, voters).ok_or(BadRecord("no proposal of managers"))?;
            let place = (word.word as usize).wrapping_sub(1);
            let word = WORDS.get(place).ok_or(BadRecord("a word nobody knows"))?;
            return Ok(Call::Word(proposal, *word));
        }
        if call.backup {
            return Ok(Call::Backup(cluster));
        }
        if call.origins {
            return Ok(Call::Origins(cluster));
        }
        if let Some(after) = call.views_after {
            return Ok(Call::Views(cluster, after));
        }
        if let Some(operate) = &call.operate {
            let manager = record::id_in(&operate.manager)?;
            let operation = match operate.what {
                1 => Operation::Promote(manager),
                2 => Operation::Demote(manager),
                3 => Operation::Move(manager),
                4 => Operation::Remove(manager),
                _ => return Err(BadRecord("an operation nobody knows")),
            };
            return Ok(Call::Operate(cluster, operation));
        }
        Ok(Call::Raft(cluster, Box::new(raft_in(call)?)))
    }
}

/// Looks how many records a call has, before each of them takes a hundred
/// times its bytes in memory; `None` when they are too many. What is not
/// readable is refused by who reads it.
fn counts(bytes: &[u8]) -> Option<()> {
    const APPEND: u32 = 2;
    const ENTRIES: u32 = 4;
    let mut entries = 0;
    for (tag, append) in fields(bytes) {
        if tag == APPEND {
            entries += fields(append).filter(|(tag, _)| *tag == ENTRIES).count();
        }
    }
    (entries <= ENTRIES_MAX).then_some(())
}

/// The fields of a message that have a length, as far as it can be read.
fn fields(mut bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> {
    use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

    std::iter::from_fn(move || {
        loop {
            let (tag, kind) = decode_key(&mut bytes).ok()?;
            if kind != WireType::LengthDelimited {
                skip_field(kind, tag, &mut bytes, DecodeContext::default()).ok()?;
                continue;
            }
            let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
            let (field, rest) = bytes.split_at_checked(length)?;
            bytes = rest;
            return Some((tag, field));
        }
    })
}

fn raft_out(raft: &Raft, out: &mut wire::Call) {
    match raft {
        Raft::Append(append) => {
            out.append = Some(wire::Append {
                vote: Some(record::vote_out(&append.vote)),
                prev: append.prev_log_id.as_ref().map(record::log_id_out),
                commit: append.leader_commit.as_ref().map(record::log_id_out),
                entries: append.entries.iter().map(record::entry_out).collect(),
            });
        }
        Raft::Vote(vote) => out.vote = Some(vote_for_out(vote)),
        Raft::PreVote(vote) => out.pre_vote = Some(vote_for_out(vote)),
        Raft::Snapshot(vote, meta, bytes) => {
            out.snapshot = Some(wire::Snapshot {
                vote: Some(record::vote_out(vote)),
                last: meta.last_log_id.as_ref().map(record::log_id_out),
                membership: Some(record::stored_membership_out(&meta.last_membership)),
                bytes: bytes.clone(),
            });
        }
        Raft::Transfer(transfer) => {
            out.transfer = Some(wire::Transfer {
                from: Some(record::vote_out(transfer.from_leader())),
                to: record::id_out(transfer.to_node_id().0),
                last: transfer.last_log_id().map(record::log_id_out),
            });
        }
    }
}

fn raft_in(call: wire::Call) -> Result<Raft, BadRecord> {
    if let Some(append) = call.append {
        if append.entries.len() > ENTRIES_MAX {
            return Err(BadRecord("too many records"));
        }
        let entries = append.entries.into_iter().map(record::entry_in);
        return Ok(Raft::Append(AppendEntriesRequest {
            vote: vote_in(&append.vote)?,
            prev_log_id: log_id_in(&append.prev)?,
            leader_commit: log_id_in(&append.commit)?,
            entries: entries.collect::<Result<_, _>>()?,
        }));
    }
    if let Some(vote) = &call.vote {
        return Ok(Raft::Vote(vote_for_in(vote)?));
    }
    if let Some(vote) = &call.pre_vote {
        return Ok(Raft::PreVote(vote_for_in(vote)?));
    }
    if let Some(snapshot) = call.snapshot {
        let membership = snapshot.membership.unwrap_or_default();
        let meta = SnapshotMeta {
            last_log_id: log_id_in(&snapshot.last)?,
            last_membership: record::stored_membership_in(&membership)?,
        };
        return Ok(Raft::Snapshot(
            vote_in(&snapshot.vote)?,
            meta,
            snapshot.bytes,
        ));
    }
    if let Some(transfer) = &call.transfer {
        return Ok(Raft::Transfer(TransferLeaderRequest::new(
            vote_in(&transfer.from)?,
            crate::types::RaftId(record::id_in(&transfer.to)?),
            log_id_in(&transfer.last)?,
        )));
    }
    Err(BadRecord("a call that this dui does not know"))
}

impl Answer {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = wire::Answer::default();
        match self {
            Answer::Append(AppendEntriesResponse::Success) => out.append = 1,
            Answer::Append(AppendEntriesResponse::Conflict) => out.append = 2,
            Answer::Append(AppendEntriesResponse::PartialSuccess(last)) => {
                let last = last.as_ref().map(record::log_id_out);
                out.partial = Some(wire::Partial { last });
            }
            Answer::Append(AppendEntriesResponse::HigherVote(vote)) => {
                out.higher = Some(record::vote_out(vote));
            }
            Answer::Vote(vote) => {
                out.vote = Some(wire::Voted {
                    vote: Some(record::vote_out(&vote.vote)),
                    granted: vote.vote_granted,
                    last: vote.last_log_id.as_ref().map(record::log_id_out),
                });
            }
            Answer::Snapshot(snapshot) => out.snapshot = Some(record::vote_out(&snapshot.vote)),
            Answer::Done => out.done = true,
            Answer::Standing(standing) => {
                out.standing = Some(wire::Standing {
                    expect: standing.expect,
                    fresh: standing.fresh,
                    member: standing.member.map_or(Vec::new(), cluster_out),
                    sees: Some(record::ids_out(standing.sees.iter().copied())),
                    ephemeral: standing.ephemeral,
                });
            }
            Answer::Views(views) => {
                out.views = Some(match views {
                    Views::Next(views) => wire::Views {
                        next: views.iter().map(view_out).collect(),
                        whole: None,
                    },
                    Views::Whole {
                        number,
                        revision,
                        members,
                    } => wire::Views {
                        next: Vec::new(),
                        whole: Some(view_out(&View {
                            number: *number,
                            revision: *revision,
                            joined: members.clone(),
                            gone: Vec::new(),
                        })),
                    },
                });
            }
            Answer::Backup(bytes) => out.backup = Some(bytes.clone()),
            Answer::Origins(clusters) => out.origins = Some(clusters_out(clusters)),
            Answer::Refused { code, why } => {
                out.refused = Some(wire::Refused {
                    code: code.clone(),
                    why: why.clone(),
                });
            }
        }
        out.encode_to_vec()
    }

    /// From its bytes.
    ///
    /// # Errors
    /// [`BadRecord`]: nobody of this version said that.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        let answer = wire::Answer::decode(bytes).map_err(|_| BadRecord("not readable"))?;
        if let Some(refused) = answer.refused {
            let wire::Refused { code, why } = refused;
            return Ok(Answer::Refused { code, why });
        }
        match answer.append {
            1 => return Ok(Answer::Append(AppendEntriesResponse::Success)),
            2 => return Ok(Answer::Append(AppendEntriesResponse::Conflict)),
            _ => {}
        }
        if let Some(partial) = &answer.partial {
            let last = log_id_in(&partial.last)?;
            return Ok(Answer::Append(AppendEntriesResponse::PartialSuccess(last)));
        }
        if answer.higher.is_some() {
            let vote = vote_in(&answer.higher)?;
            return Ok(Answer::Append(AppendEntriesResponse::HigherVote(vote)));
        }
        if let Some(voted) = &answer.vote {
            let last = log_id_in(&voted.last)?;
            let vote = vote_in(&voted.vote)?;
            return Ok(Answer::Vote(VoteResponse::new(vote, last, voted.granted)));
        }
        if answer.snapshot.is_some() {
            let vote = vote_in(&answer.snapshot)?;
            return Ok(Answer::Snapshot(SnapshotResponse::new(vote)));
        }
        if let Some(standing) = &answer.standing {
            return Ok(Answer::Standing(Standing {
                expect: standing.expect,
                fresh: standing.fresh,
                member: if standing.member.is_empty() {
                    None
                } else {
                    Some(cluster_in(&standing.member)?)
                },
                ephemeral: standing.ephemeral,
                sees: record::ids_in(standing.sees.as_ref().unwrap_or(&proto::Ids::default()))?,
            }));
        }
        if let Some(views) = &answer.views {
            if let Some(whole) = &views.whole {
                let (number, revision, members) = whole_in(whole)?;
                return Ok(Answer::Views(Views::Whole {
                    number,
                    revision,
                    members,
                }));
            }
            let next = views.next.iter().map(view_in);
            return Ok(Answer::Views(Views::Next(next.collect::<Result<_, _>>()?)));
        }
        if let Some(bytes) = answer.backup {
            return Ok(Answer::Backup(bytes));
        }
        if let Some(origins) = &answer.origins {
            return Ok(Answer::Origins(clusters_in(origins)?));
        }
        if answer.done {
            return Ok(Answer::Done);
        }
        Err(BadRecord("an answer that this dui does not know"))
    }
}

fn vote_for_out(vote: &VoteRequest<Types>) -> wire::VoteFor {
    wire::VoteFor {
        vote: Some(record::vote_out(&vote.vote)),
        last: vote.last_log_id.as_ref().map(record::log_id_out),
        transfer: vote.leadership_transfer,
    }
}

fn vote_for_in(vote: &wire::VoteFor) -> Result<VoteRequest<Types>, BadRecord> {
    Ok(VoteRequest {
        vote: vote_in(&vote.vote)?,
        last_log_id: log_id_in(&vote.last)?,
        leadership_transfer: vote.transfer,
    })
}

fn vote_in(vote: &Option<proto::Vote>) -> Result<Vote, BadRecord> {
    record::vote_in(vote.as_ref().ok_or(BadRecord("no vote"))?)
}

fn log_id_in(id: &Option<proto::LogId>) -> Result<Option<LogId>, BadRecord> {
    id.as_ref().map(record::log_id_in).transpose()
}

#[cfg(test)]
mod tests;
