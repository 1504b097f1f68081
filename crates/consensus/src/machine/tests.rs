//! What is agreed, record by record.

use super::*;

const ANN: NodeId = NodeId(1);
const BO: NodeId = NodeId(2);

fn created() -> State {
    let mut state = State::default();
    state.apply(&Command::Decide {
        decision: Decision::Created,
        base: 0,
    });
    state
}

fn seen(id: NodeId) -> Seen {
    Seen {
        id,
        name: format!("node-{}", id.0),
        address: "127.0.0.1:7781".into(),
        manager: true,
    }
}

fn join(state: &mut State, ids: &[NodeId]) -> u64 {
    let joined = ids.iter().copied().map(seen).collect();
    let gone = Vec::new();
    state.apply(&Command::View { joined, gone }).revision
}

#[test]
fn the_first_decision_stands() {
    for (first, second) in [
        (Decision::Created, Decision::Abandoned),
        (Decision::Abandoned, Decision::Created),
    ] {
        let mut state = State::default();
        for decision in [first, second] {
            state.apply(&Command::Decide { decision, base: 7 });
        }
        assert_eq!(state.decision(), Some(first));
        assert_eq!(state.revision() > 7, first == Decision::Created);
    }
}

#[test]
fn an_abandoned_cluster_has_no_leader_and_no_view() {
    let mut state = State::default();
    state.apply(&Command::Decide {
        decision: Decision::Abandoned,
        base: 0,
    });
    state.apply(&Command::Elected {
        leader: ANN,
        term: 2,
        above: 0,
    });
    join(&mut state, &[ANN]);
    assert_eq!((state.election(), state.view()), (None, 0));
}

#[test]
fn every_election_has_a_token_above_all_before() {
    let mut state = created();
    let mut last = 0;
    for (leader, term) in [(ANN, 1), (BO, 2), (BO, 5), (ANN, 6)] {
        let elected = Command::Elected {
            leader,
            term,
            above: 0,
        };
        let token = state.apply(&elected).revision;
        assert!(token > last, "{token} after {last}");
        assert_eq!(
            state.election().map(|election| election.revision),
            Some(token)
        );
        last = token;
    }
    // A process that comes back to its term is another holder of the lead.
    let again = Command::Elected {
        leader: ANN,
        term: 6,
        above: 0,
    };
    assert!(state.apply(&again).revision > last);
    // One that has heard of a cluster that had come further goes beyond it.
    let above = Command::Elected {
        leader: ANN,
        term: 6,
        above: 100,
    };
    assert_eq!(state.apply(&above).revision, 101);
}

#[test]
fn a_cluster_that_goes_on_for_another_has_all_it_had_and_higher_tokens() {
    let mut state = created();
    join(&mut state, &[ANN, BO]);
    for manager in [ANN, BO] {
        let demoted = true;
        state.apply(&Command::Demote { manager, demoted });
    }
    let elected = Command::Elected {
        leader: BO,
        term: 4,
        above: 0,
    };
    let before = state.apply(&elected).revision;
    let heard = before + 100;
    for above in [0, heard] {
        let new = state.clone().refounded(ANN, ClusterId(7), above);
        assert_eq!(new.revision(), before.max(above) + RAISE);
        assert_eq!((new.election(), new.origins()), (None, &[ClusterId(7)][..]));
        assert_eq!(new.members(), state.members());
        assert_eq!(new.demoted().iter().collect::<Vec<_>>(), [&BO]);
    }
    let twice = state.refounded(ANN, ClusterId(7), 0);
    let twice = twice.refounded(BO, ClusterId(8), 0);
    assert_eq!(twice.origins(), [ClusterId(7), ClusterId(8)]);
}

#[test]
fn a_view_tells_what_changed_and_nothing_else() {
    let mut state = created();
    join(&mut state, &[ANN]);
    let before = state.revision();
    assert_eq!(join(&mut state, &[ANN]), before, "nothing changed");
    join(&mut state, &[ANN, BO]);
    assert_eq!(state.view(), 2);
    let views = state.views_after(1).unwrap_or_default();
    assert_eq!(views.len(), 1);
    assert_eq!(views[0].joined, [seen(BO)]);
    let gone = [ANN, NodeId(9)].map(|id| Gone { id, left: false });
    state.apply(&Command::View {
        joined: Vec::new(),
        gone: gone.to_vec(),
    });
    assert_eq!(state.members().keys().copied().collect::<Vec<_>>(), [BO]);
    assert_eq!(state.views_after(2).unwrap_or_default()[0].gone, gone[..1]);
}

#[test]
fn who_was_away_for_too_long_is_told_so() {
    let mut state = created();
    for id in 1..=(VIEWS_MAX as u128 + 10) {
        join(&mut state, &[NodeId(id)]);
    }
    assert_eq!(state.views().count(), VIEWS_MAX);
    assert_eq!(state.views_after(5), None);
    let since = state.view() - 3;
    let numbers = |views: Vec<View>| views.iter().map(|view| view.number).collect::<Vec<_>>();
    assert_eq!(
        state.views_after(since).map(numbers),
        Some(vec![since + 1, since + 2, since + 3])
    );
}
