//! Calls there and back, and what nobody may have said.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use openraft::EntryPayload;
use proptest::prelude::*;

use super::*;
use crate::record::{Command, Gone};
use crate::types::{Entry, Kind, Membership, RaftId, StoredMembership};

const ANN: NodeId = NodeId(1);
const BO: NodeId = NodeId(2);
const GREEN: ClusterId = ClusterId(7);

fn id(term: u64, node: NodeId, index: u64) -> LogId {
    let leader = openraft::impls::leader_id_adv::LeaderId {
        term,
        node_id: RaftId(node),
    };
    LogId::new(leader, index)
}

fn membership() -> Membership {
    let configs = vec![
        BTreeSet::from([RaftId(ANN)]),
        BTreeSet::from([RaftId(ANN), RaftId(BO)]),
    ];
    let kinds = [(ANN, false), (BO, true), (NodeId(3), true)];
    let nodes = kinds.map(|(id, ephemeral)| (RaftId(id), Kind { ephemeral }));
    Membership::new(configs, std::collections::BTreeMap::from(nodes)).unwrap()
}

fn seen() -> Seen {
    Seen {
        id: ANN,
        name: "ann".into(),
        address: "127.0.0.1:7781".into(),
        manager: true,
    }
}

fn entries() -> Vec<Entry> {
    let view = Command::View {
        joined: vec![seen()],
        gone: vec![Gone { id: BO, left: true }],
    };
    let commands = [
        Command::Decide {
            decision: Decision::Created,
            base: 9,
        },
        Command::Elected {
            leader: ANN,
            term: 3,
            above: 12,
        },
        view,
        Command::Demote {
            manager: BO,
            demoted: true,
        },
    ];
    let mut payloads = vec![EntryPayload::Blank, EntryPayload::Membership(membership())];
    payloads.extend(commands.map(EntryPayload::Normal));
    let numbered = payloads.into_iter().enumerate();
    numbered
        .map(|(index, payload)| Entry {
            log_id: id(3, ANN, index as u64),
            payload,
        })
        .collect()
}

fn append(entries: Vec<Entry>) -> AppendEntriesRequest<Types> {
    AppendEntriesRequest {
        vote: Vote::new_committed(3, RaftId(ANN)),
        prev_log_id: None,
        entries,
        leader_commit: Some(id(3, ANN, 1)),
    }
}

fn vote(of: NodeId) -> VoteRequest<Types> {
    VoteRequest {
        vote: Vote::new(4, RaftId(of)),
        last_log_id: Some(id(3, ANN, 5)),
        leadership_transfer: true,
    }
}

fn snapshot() -> Raft {
    let meta = SnapshotMeta {
        last_log_id: Some(id(3, ANN, 5)),
        last_membership: StoredMembership::new(Some(id(2, BO, 1)), membership()),
    };
    Raft::Snapshot(Vote::new_committed(3, RaftId(ANN)), meta, vec![1, 2, 3])
}

fn calls() -> Vec<Call> {
    let proposal = Proposal::new("green", BTreeSet::from([ANN, BO]), 5).unwrap();
    let transfer = TransferLeaderRequest::new(
        Vote::new_committed(3, RaftId(ANN)),
        RaftId(BO),
        Some(id(3, ANN, 5)),
    );
    let rafts = [
        Raft::Append(append(entries())),
        Raft::Vote(vote(BO)),
        Raft::PreVote(vote(BO)),
        snapshot(),
        Raft::Transfer(transfer),
    ];
    let mut calls: Vec<Call> = rafts
        .into_iter()
        .map(|raft| Call::Raft(GREEN, Box::new(raft)))
        .collect();
    calls.extend(WORDS.map(|word| Call::Word(proposal.clone(), word)));
    calls.extend([Call::Standing, Call::Views(GREEN, 7)]);
    let operations = [
        Operation::Promote(ANN),
        Operation::Demote(ANN),
        Operation::Move(BO),
        Operation::Remove(BO),
    ];
    calls.extend(operations.map(|operation| Call::Operate(GREEN, operation)));
    calls
}

fn answers() -> Vec<Answer> {
    let view = View {
        number: 3,
        revision: 8,
        joined: vec![seen()],
        gone: Vec::new(),
    };
    vec![
        Answer::Append(AppendEntriesResponse::Success),
        Answer::Append(AppendEntriesResponse::Conflict),
        Answer::Append(AppendEntriesResponse::PartialSuccess(Some(id(1, ANN, 2)))),
        Answer::Append(AppendEntriesResponse::PartialSuccess(None)),
        Answer::Append(AppendEntriesResponse::HigherVote(Vote::new(9, RaftId(BO)))),
        Answer::Vote(VoteResponse::new(Vote::new(4, RaftId(BO)), None, true)),
        Answer::Snapshot(SnapshotResponse::new(Vote::new(4, RaftId(BO)))),
        Answer::Done,
        Answer::Standing(Standing {
            expect: 3,
            fresh: true,
            member: Some(GREEN),
            ephemeral: true,
            sees: vec![ANN, BO],
        }),
        Answer::Views(Views::Next(vec![view])),
        Answer::Views(Views::Next(Vec::new())),
        Answer::Views(Views::Whole {
            number: 4,
            revision: 9,
            members: vec![seen()],
        }),
        Answer::Refused {
            code: "busy".into(),
            why: "try again".into(),
        },
    ]
}

#[test]
fn every_call_and_every_answer_is_understood_as_it_was_meant() {
    for call in calls() {
        let told = Call::decode(&call.encode()).unwrap();
        assert_eq!(format!("{told:?}"), format!("{call:?}"));
    }
    for answer in answers() {
        let told = Answer::decode(&answer.encode()).unwrap();
        assert_eq!(format!("{told:?}"), format!("{answer:?}"));
    }
}

#[test]
fn nobody_speaks_for_another_manager() {
    let mine = Raft::Append(append(entries()));
    mine.check(ANN).unwrap();
    snapshot().check(ANN).unwrap();
    for forged in [
        mine,
        snapshot(),
        Raft::Vote(vote(ANN)),
        Raft::PreVote(vote(ANN)),
    ] {
        assert_eq!(forged.check(BO), Err("it speaks for another manager"));
    }
}

#[test]
fn what_the_library_takes_for_granted_is_checked_before() {
    let mut gap = append(entries());
    gap.entries.remove(2);
    assert!(Raft::Append(gap).check(ANN).is_err(), "a record is missing");
    let mut late = append(Vec::new());
    late.prev_log_id = Some(id(9, ANN, 5));
    assert!(Raft::Append(late).check(ANN).is_err(), "of a later leader");
    let mut huge = vote(BO);
    huge.vote = Vote::new(u64::MAX, RaftId(BO));
    assert!(Raft::Vote(huge).check(BO).is_err(), "no term is as high");
    let mut far = append(Vec::new());
    far.leader_commit = Some(id(3, ANN, u64::MAX));
    assert!(Raft::Append(far).check(ANN).is_err(), "no index is as high");
}

#[test]
fn more_records_than_may_be_are_counted_before_they_take_memory() {
    let blank = Entry {
        log_id: id(3, ANN, 0),
        payload: EntryPayload::Blank,
    };
    for (count, fits) in [(ENTRIES_MAX, true), (ENTRIES_MAX + 1, false)] {
        let many = append(vec![blank.clone(); count]);
        let bytes = Call::Raft(GREEN, Box::new(Raft::Append(many))).encode();
        assert_eq!(counts(&bytes).is_some(), fits);
        assert_eq!(Call::decode(&bytes).is_ok(), fits, "{count}");
    }
}

proptest! {
    #[test]
    fn bytes_from_anywhere_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Call::decode(&bytes);
        let _ = Answer::decode(&bytes);
    }

    #[test]
    fn a_flipped_byte_is_read_or_refused(place in any::<prop::sample::Index>(), by in 1_u8..) {
        for call in calls() {
            let mut bytes = call.encode();
            let place = place.index(bytes.len());
            bytes[place] ^= by;
            if let Ok(Call::Raft(_, raft)) = Call::decode(&bytes) {
                let _ = raft.check(ANN);
            }
        }
    }
}
