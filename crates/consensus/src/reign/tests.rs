//! Stories of a leader, told in its own words.

#![allow(clippy::unwrap_used)]

use dui_core::LeaderNews;

use super::*;
use crate::course;
use crate::founding::{Proposal, Record};

const ANN: NodeId = NodeId(1);
const BO: NodeId = NodeId(2);
const CLUSTER: ClusterId = ClusterId(7);

fn member(id: u128, state: MemberState) -> Member {
    course::tests::member(NodeId(id), state)
}

/// Ann, who leads a cluster in which she votes alone, and all she sees.
struct Palace {
    reign: Reign,
    beat: Beat,
    state: State,
    founding: Founding,
    course: Course,
    around: Around,
    ephemeral: bool,
    abandons: bool,
}

impl Palace {
    /// Just elected, in a cluster that exists.
    fn new() -> Self {
        let mut palace = Self::undecided(Record {
            member: Some(CLUSTER),
            ..Record::default()
        });
        let decision = Decision::Created;
        palace.state.apply(&Command::Decide { decision, base: 0 });
        palace
    }

    fn undecided(record: Record) -> Self {
        Self {
            reign: Reign::begin(3, Duration::ZERO),
            beat: Beat {
                leader: Some(ANN),
                leads: true,
                term: 3,
                voters: BTreeSet::from([ANN]),
                changing: false,
                learners: BTreeSet::new(),
                ephemeral: BTreeSet::new(),
                last: 1,
                committed: 1,
                applied: 1,
                matched: BTreeMap::new(),
                quorum_heard: None,
                stopped: None,
            },
            state: State::default(),
            founding: Founding::new(ANN, record),
            course: Course::new(course::Setup {
                me: ANN,
                manager: true,
                expect: None,
                loopback: true,
                ephemeral: false,
            }),
            around: Around {
                members: vec![member(1, MemberState::Alive)],
                ..Around::default()
            },
            ephemeral: false,
            abandons: false,
        }
    }

    fn at(&mut self, ms: u64) -> Vec<Act> {
        self.around.now = Duration::from_millis(ms);
        let realm = Realm {
            me: ANN,
            cluster: CLUSTER,
            beat: &self.beat,
            state: &self.state,
            rules: &Rules::default(),
            ephemeral: self.ephemeral,
            wall_ms: 1_700_000_000_000,
            departing: false,
            abandons: self.abandons,
        };
        self.reign
            .look(&realm, &self.founding, &self.course, &self.around)
    }

    /// Does what she says, round by round, until she says nothing new.
    fn settle(&mut self, ms: u64) {
        for _ in 0..10 {
            let rounds = self.at(ms).into_iter().filter_map(|act| match act {
                Act::Write(round, command) => Some((round, command)),
                _ => None,
            });
            let rounds: Vec<_> = rounds.collect();
            if rounds.is_empty() {
                return;
            }
            for (round, command) in rounds {
                self.state.apply(&command);
                self.reign.hear_done(round, true);
            }
        }
        panic!("never content");
    }

    fn tells(&mut self, ms: u64) -> bool {
        self.at(ms).contains(&Act::Tell)
    }
}

fn elected(above: u64) -> Act {
    let (leader, term) = (ANN, 3);
    Act::Write(
        Round::Claim,
        Command::Elected {
            leader,
            term,
            above,
        },
    )
}

fn writes_a_view(acts: &[Act]) -> bool {
    acts.iter()
        .any(|act| matches!(act, Act::Write(Round::View, _)))
}

// --- the claim ---

#[test]
fn nobody_is_told_before_the_lead_is_claimed() {
    let mut palace = Palace::new();
    assert_eq!(palace.at(0), [elected(0)]);
    assert_eq!(palace.at(1), [], "it is being written");
    assert_eq!(palace.reign.hear_done(Round::Claim, false), TRY_AGAIN);
    assert_eq!(palace.at(51), [elected(0)], "it was not");
    let (leader, term, above) = (ANN, 3, 0);
    palace.state.apply(&Command::Elected {
        leader,
        term,
        above,
    });
    assert!(!palace.reign.is_claimed());
    palace.reign.hear_done(Round::Claim, true);
    assert!(palace.reign.is_claimed() && palace.tells(52));
}

#[test]
fn who_comes_back_to_its_old_term_gets_a_new_token() {
    let mut palace = Palace::new();
    palace.settle(0);
    let token = palace.state.election().unwrap().revision;
    // Another process, the same term.
    palace.reign = Reign::begin(3, Duration::ZERO);
    palace.settle(0);
    assert!(palace.state.election().unwrap().revision > token);
}

#[test]
fn tokens_rise_above_those_of_a_cluster_that_is_no_more() {
    let mut palace = Palace::new();
    palace.settle(0);
    palace.around.news = Some(LeaderNews {
        cluster_id: 8,
        revision: 90,
        leader: BO,
        term: 1,
        elected_at: 90,
        view: 1,
        voters: vec![BO],
        ephemeral: true,
    });
    palace.around.members.push(member(2, MemberState::Alive));
    assert!(palace.tells(2_000), "bo's cluster lives, and is another");
    palace.around.members[1] = member(2, MemberState::Failed);
    assert_eq!(palace.at(2_000), [elected(90)]);
    palace.reign.hear_done(Round::Claim, false);
    palace.settle(2_000);
    assert!(palace.state.election().unwrap().revision > 90);
}

// --- founding ---

fn holder(voters: [NodeId; 2]) -> Palace {
    let slot = Proposal::new("town", voters.into(), 1);
    Palace::undecided(Record {
        slot,
        ..Record::default()
    })
}

#[test]
fn who_knows_that_all_have_accepted_says_that_the_cluster_exists() {
    // The lowest accepts last.
    let mut palace = holder([ANN, BO]);
    let (decision, base) = (Decision::Created, 0);
    let created = Act::Write(Round::Claim, Command::Decide { decision, base });
    assert_eq!(palace.at(0), [created]);
    assert_eq!(palace.at(1), [Act::LookIn(SEATS_TICK)], "once");
}

#[test]
fn without_disks_the_first_revision_is_the_clock() {
    let mut palace = holder([ANN, BO]);
    palace.ephemeral = true;
    palace.settle(0);
    assert!(palace.state.revision() > 1_700_000_000_000);
}

#[test]
fn a_proposal_without_proof_is_given_up_late_or_when_an_operator_says_so() {
    let zed = NodeId(0);
    let (decision, base) = (Decision::Abandoned, 0);
    let abandoned = Act::Write(Round::Claim, Command::Decide { decision, base });
    let mut palace = holder([zed, ANN]);
    assert_eq!(palace.at(4_999), [Act::LookIn(SEATS_TICK)]);
    assert_eq!(palace.at(5_000), std::slice::from_ref(&abandoned));
    let mut palace = holder([zed, ANN]);
    palace.abandons = true;
    assert_eq!(palace.at(0), [abandoned]);
}

// --- views ---

#[test]
fn a_view_waits_until_nothing_has_changed_for_a_moment() {
    let mut palace = Palace::new();
    palace.settle(0);
    assert_eq!(palace.state.view(), 1, "the first comes at once");
    palace.around.members.push(member(2, MemberState::Alive));
    palace.reign.stir(Duration::from_millis(1_000));
    let acts = palace.at(1_200);
    assert!(
        acts.contains(&Act::LookIn(Duration::from_millis(100))),
        "{acts:?}"
    );
    palace.around.members.push(member(3, MemberState::Alive));
    palace.reign.stir(Duration::from_millis(1_200));
    assert!(!writes_a_view(&palace.at(1_499)));
    assert!(writes_a_view(&palace.at(1_500)), "both at once");
    assert!(!writes_a_view(&palace.at(1_501)), "one at a time");
    palace.reign.hear_done(Round::View, false);
    palace.settle(1_550);
    assert_eq!(palace.state.view(), 2);
}

#[test]
fn a_view_waits_for_suspects_but_not_for_long() {
    let mut palace = Palace::new();
    palace.settle(0);
    palace.settle(300);
    palace.around.members.push(member(2, MemberState::Suspect));
    palace.reign.stir(Duration::from_millis(1_000));
    palace.reign.stir(Duration::from_millis(3_000));
    assert!(!writes_a_view(&palace.at(5_999)));
    assert!(writes_a_view(&palace.at(6_000)));
}

#[test]
fn a_view_tells_who_came_and_how_others_went() {
    let members = [
        member(1, MemberState::Alive),
        member(2, MemberState::Suspect),
        member(3, MemberState::Left),
        member(4, MemberState::Failed),
    ];
    let Some(Command::View { joined, gone }) = changes(&BTreeMap::new(), &members) else {
        panic!("nobody was seen before");
    };
    assert_eq!(joined.len(), 2);
    assert!(gone.is_empty());

    let mut seen: BTreeMap<NodeId, Seen> = joined.into_iter().map(|seen| (seen.id, seen)).collect();
    assert_eq!(changes(&seen, &members), None);
    for id in 3..=5 {
        let mut was = seen[&NodeId(1)].clone();
        was.id = NodeId(id);
        seen.insert(was.id, was);
    }
    let Some(Command::View { joined, gone }) = changes(&seen, &members) else {
        panic!("three are gone");
    };
    assert!(joined.is_empty());
    let how: Vec<_> = gone.iter().map(|gone| (gone.id.0, gone.left)).collect();
    assert_eq!(how, [(3, true), (4, false), (5, false)]);
}

// --- seats ---

fn willing() -> Option<Standing> {
    Some(Standing {
        expect: 0,
        fresh: false,
        member: Some(CLUSTER),
        ephemeral: false,
        sees: Vec::new(),
    })
}

#[test]
fn managers_are_asked_before_they_are_taught() {
    let mut palace = Palace::new();
    let others = [2, 3].map(|id| member(id, MemberState::Alive));
    palace.around.members.extend(others);
    palace.settle(0);
    let ids = [2, 3].map(NodeId);
    assert!(palace.at(1).contains(&Act::Ask(ids.into())));
    for id in ids {
        palace.reign.hear_standing(id, willing());
    }
    let kind = Kind { ephemeral: false };
    let step = Step::Teach(ids.map(|id| (id, kind)).into());
    assert!(palace.at(2).contains(&Act::Take(step.clone())));
    assert!(
        !palace.at(3).contains(&Act::Take(step)),
        "one step at a time"
    );
}

#[test]
fn who_gave_its_seat_up_gets_none_again() {
    let mut palace = Palace::new();
    let others = [2, 3].map(|id| member(id, MemberState::Alive));
    palace.around.members.extend(others);
    palace.settle(0);
    for id in [2, 3].map(NodeId) {
        palace.reign.hear_standing(id, willing());
    }
    palace.reign.hear_removed(NodeId(3));
    let acts = palace.at(1);
    let steps = acts.iter().any(|act| matches!(act, Act::Take(_)));
    assert!(!steps, "two are no better than one: {acts:?}");
}

#[test]
fn a_voter_that_an_operator_removed_is_replaced_at_once() {
    for (forgotten, replaced) in [(false, false), (true, true)] {
        let mut palace = Palace::new();
        palace.beat.voters = [1, 2, 3].map(NodeId).into();
        let members = [
            (2, MemberState::Alive),
            (3, MemberState::Failed),
            (4, MemberState::Alive),
        ];
        let others = members.map(|(id, state)| member(id, state));
        palace.around.members.extend(others);
        palace.around.forgotten = [3].map(NodeId).into_iter().filter(|_| forgotten).collect();
        palace.settle(0);
        palace.reign.hear_standing(NodeId(4), willing());
        let acts = palace.at(1_000);
        let steps = acts.iter().any(|act| matches!(act, Act::Take(_)));
        assert_eq!(steps, replaced, "{acts:?}");
    }
}

#[test]
fn a_demoted_leader_hands_over_to_whoever_has_most() {
    let mut palace = Palace::new();
    palace.settle(0);
    palace.beat.voters = [1, 2, 3].map(NodeId).into();
    palace.beat.matched = [(2, 5), (3, 9)].map(|(id, at)| (NodeId(id), at)).into();
    let others = [2, 3].map(|id| member(id, MemberState::Alive));
    palace.around.members.extend(others);
    let (manager, demoted) = (ANN, true);
    palace.state.apply(&Command::Demote { manager, demoted });
    assert!(palace.at(1).contains(&Act::HandOver(NodeId(3))));
}
