//! Votes: why an answer counts for who gave it, wherever it came from.
//!
//! Managers restart with swapped addresses, and a candidate asks where it
//! knows them to have been. If it counts what comes back for whom it asked,
//! one manager's vote counts twice, the candidate's own not least, and two
//! lead in one term. Every order of questions is tried.

use std::collections::{BTreeSet, HashSet, VecDeque};

const MANAGERS: usize = 3;

/// One term: who voted for whom, and what each candidate counted.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Term {
    voted: [Option<usize>; MANAGERS],
    counted: [BTreeSet<usize>; MANAGERS],
}

/// Every term that can come about when manager `m` lives at `lives[m]`, where
/// others know it to be at `m`; whether two lead in one of them.
fn two_lead(lives: [usize; MANAGERS], by_responder: bool) -> bool {
    let begin = Term {
        voted: [None; MANAGERS],
        counted: Default::default(),
    };
    let mut seen = HashSet::from([begin.clone()]);
    let mut queue = VecDeque::from([begin]);
    while let Some(term) = queue.pop_front() {
        let majority = |counted: &&BTreeSet<usize>| counted.len() > MANAGERS / 2;
        if term.counted.iter().filter(majority).count() > 1 {
            return true;
        }
        for candidate in 0..MANAGERS {
            let mut next = term.clone();
            // It stands: votes for itself.
            if next.voted[candidate].is_none() {
                next.voted[candidate] = Some(candidate);
                next.counted[candidate].insert(candidate);
                if seen.insert(next.clone()) {
                    queue.push_back(next);
                }
                continue;
            }
            if next.voted[candidate] != Some(candidate) {
                continue;
            }
            for asked in (0..MANAGERS).filter(|asked| *asked != candidate) {
                let mut next = term.clone();
                // Whoever lives there now answers.
                let Some(responder) = lives.iter().position(|address| *address == asked) else {
                    continue;
                };
                if by_responder && responder != asked {
                    continue;
                }
                let vote = next.voted[responder].get_or_insert(candidate);
                if *vote == candidate {
                    next.counted[candidate].insert(asked);
                }
                if seen.insert(next.clone()) {
                    queue.push_back(next);
                }
            }
        }
    }
    false
}

const ALL: [[usize; MANAGERS]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

#[test]
fn votes_counted_by_address_make_two_leaders_in_one_term() {
    let wrong: Vec<_> = ALL
        .iter()
        .filter(|lives| two_lead(**lives, false))
        .collect();
    println!("addresses swapped, votes counted by address: two leaders for {wrong:?}");
    assert!(wrong.contains(&&[1, 0, 2]), "{wrong:?}");
    assert!(!wrong.contains(&&[0, 1, 2]), "nothing was swapped");
}

#[test]
fn votes_counted_by_who_gave_them_make_one() {
    assert!(!ALL.iter().any(|lives| two_lead(*lives, true)));
}
