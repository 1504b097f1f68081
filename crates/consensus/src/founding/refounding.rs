//! Refounding: what an operator's word changes in what a manager has in writing.

use super::*;

const ANN: NodeId = NodeId(1);
const BO: NodeId = NodeId(2);
const NEW: ClusterId = ClusterId(9);

fn proposal() -> Proposal {
    let voters = vec![ANN, BO];
    Proposal::heard(ClusterId(7), voters).unwrap_or_else(|| unreachable!("in order"))
}

/// Ann, who has accepted a proposal, decided or not.
fn ann(member: Option<ClusterId>) -> Founding {
    let record = Record {
        slot: Some(proposal()),
        member,
        ..Record::default()
    };
    Founding::new(ANN, record)
}

#[test]
fn one_write_leads_from_the_old_cluster_to_the_new_one() {
    let old = proposal().id();
    let mut ann = ann(Some(old));
    assert_eq!(ann.refound(NEW), [Output::Write, Output::Serve(NEW)]);
    assert_eq!(ann.record().member, Some(NEW));
    assert_eq!(ann.record().slot, None);
    assert!(ann.record().abandoned.contains(&old));
    // Who still asks for the old one is set free by what is written.
    let answers = ann.hear(BO, &proposal(), Word::Query, true);
    let word = Word::Decided(Decision::Abandoned);
    assert_eq!(answers, [send(BO, &proposal(), word)]);
    assert_eq!(ann.join(old), [], "there is no way back");
}

#[test]
fn an_undecided_proposal_is_decided_first() {
    let mut ann = ann(None);
    assert!(ann.is_undecided());
    assert_eq!(ann.refound(NEW), []);
    assert_eq!(ann.record().member, None);
}

#[test]
fn a_fresh_manager_drops_what_it_proposes() {
    let mut ann = Founding::new(ANN, Record::default());
    ann.propose(proposal());
    assert!(ann.is_undecided());
    assert_eq!(ann.refound(NEW), [Output::Write, Output::Serve(NEW)]);
    assert!(!ann.is_undecided());
    let late = ann.hear(BO, &proposal(), Word::Accepted, true);
    assert_eq!(late, [], "its acceptance comes too late");
}
