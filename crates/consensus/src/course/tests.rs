//! Stories of managers that seek a cluster, and a town of them in which
//! everything happens in any order.

#![allow(clippy::unwrap_used)]

mod town;

use dui_core::{Incarnation, MessageCounter, RunId};

use super::*;
use crate::founding::Record;
use town::{End, Town};

const ANN: NodeId = NodeId(1);
const BO: NodeId = NodeId(2);
const CY: NodeId = NodeId(3);

pub(crate) fn member(id: NodeId, state: MemberState) -> Member {
    Member {
        id,
        run: RunId(1),
        name: format!("node-{}", id.0).parse().unwrap(),
        role: Role::Manager,
        address: "127.0.0.1:7781".parse().unwrap(),
        state,
        incarnation: Incarnation(1),
        messages: MessageCounter(1),
        version: "0.1.0".into(),
        rtt: None,
        since_ms: 0,
    }
}

fn news(cluster: u128, voters: &[NodeId], ephemeral: bool) -> LeaderNews {
    LeaderNews {
        cluster_id: cluster,
        revision: 9,
        leader: voters[0],
        term: 1,
        elected_at: 9,
        view: 1,
        voters: voters.to_vec(),
        ephemeral,
    }
}

/// A manager without a disk, on loopback, and what it sees after a minute.
fn cy() -> (Course, Around) {
    let course = Course::new(Setup {
        me: CY,
        manager: true,
        expect: None,
        loopback: true,
        ephemeral: true,
    });
    let around = Around {
        now: Duration::from_secs(60),
        members: vec![member(CY, MemberState::Alive)],
        ..Around::default()
    };
    (course, around)
}

fn fresh() -> Founding {
    Founding::new(CY, Record::default())
}

fn member_of(cluster: u128) -> Founding {
    let record = Record {
        member: Some(ClusterId(cluster)),
        ..Record::default()
    };
    Founding::new(CY, record)
}

const NOTHING: Part<'_> = Part {
    runs: None,
    written: None,
};

#[test]
fn a_cluster_without_disks_is_over_when_each_voter_is_gone() {
    let (mut course, mut around) = cy();
    let news = news(7, &[ANN, BO], true);
    for (ann, bo, over) in [
        (MemberState::Failed, MemberState::Alive, false),
        (MemberState::Failed, MemberState::Suspect, false),
        (MemberState::Failed, MemberState::Left, true),
        (MemberState::Failed, MemberState::Failed, true),
    ] {
        around.members = vec![member(ANN, ann), member(BO, bo)];
        assert_eq!(course.is_over(&news, &around), over, "{ann:?}, {bo:?}");
    }
    around.members.clear();
    assert!(course.is_over(&news, &around), "nobody was heard of");
    around.now = Duration::from_millis(999);
    assert!(!course.is_over(&news, &around), "not yet");
    course.hear_left(ANN);
    course.hear_superseded(BO);
    assert!(course.is_over(&news, &around));
}

#[test]
fn where_a_cut_is_possible_who_has_failed_may_be_alive() {
    let (course, mut around) = cy();
    let lan = Course::new(Setup {
        loopback: false,
        ..course.setup
    });
    let news = news(7, &[ANN], true);
    around.members = vec![member(ANN, MemberState::Failed)];
    assert!(!lan.is_over(&news, &around));
    around.members.clear();
    assert!(!lan.is_over(&news, &around));
    around.members = vec![member(ANN, MemberState::Left)];
    assert!(lan.is_over(&news, &around));
}

#[test]
fn a_cluster_with_a_disk_is_over_when_an_operator_says_so() {
    let (course, mut around) = cy();
    let news = news(7, &[ANN, BO], false);
    around.members = [ANN, BO].map(|id| member(id, MemberState::Left)).into();
    assert!(!course.is_over(&news, &around), "a disk comes back");
    around.forgotten.insert(ANN);
    assert!(!course.is_over(&news, &around), "one of two");
    around.forgotten.insert(BO);
    assert!(course.is_over(&news, &around));
}

#[test]
fn nobody_joins_by_hearsay() {
    let (mut course, mut around) = cy();
    around.members.push(member(ANN, MemberState::Alive));
    let news = news(7, &[ANN], true);
    let turns = course.hear_news(&fresh(), &news, NOTHING, &around);
    assert!(turns.contains(&Turn::Ask(vec![ANN])), "{turns:?}");
    assert!(!turns.iter().any(|turn| matches!(turn, Turn::Join(_))));

    let elsewhere = Standing {
        expect: 0,
        fresh: false,
        member: Some(ClusterId(8)),
        ephemeral: true,
        sees: Vec::new(),
    };
    let belongs = Some(elsewhere);
    let turns = course.hear_standing(&fresh(), ANN, belongs.clone(), &around);
    assert_eq!(turns, [Turn::Join(ClusterId(8))], "what it says of itself");
    around.news = Some(super::tests::news(8, &[BO], true));
    let turns = course.hear_standing(&fresh(), ANN, belongs, &around);
    assert_eq!(turns, [], "that one is over, and ann has not noticed");
}

#[test]
fn who_votes_never_gives_its_cluster_up() {
    let (mut course, mut around) = cy();
    around.members.push(member(ANN, MemberState::Failed));
    for (voters, forsaken) in [(vec![ANN, CY], false), (vec![ANN], true)] {
        around.news = Some(news(7, &voters, true));
        let turns = course.look(&member_of(7), NOTHING, &around);
        assert_eq!(turns.contains(&Turn::BeginAnew), forsaken, "{voters:?}");
    }
}

#[test]
fn who_learns_may_have_a_vote_and_waits_for_an_election() {
    let (mut course, mut around) = cy();
    around.news = Some(news(7, &[ANN], true));
    around.members.push(member(ANN, MemberState::Failed));
    around.members.push(member(BO, MemberState::Alive));
    let mut beat = town::beat(&BTreeSet::from([ANN]));
    beat.learners = BTreeSet::from([BO, CY]);
    let mut goes = |beat: &Beat, around: &Around| {
        let part = Part {
            runs: Some(beat),
            written: Some(ClusterId(7)),
        };
        let turns = course.look(&member_of(7), part, around);
        turns.contains(&Turn::BeginAnew)
    };
    assert!(!goes(&beat, &around), "bo may lead in a moment");
    around.now += Duration::from_millis(4_999);
    assert!(!goes(&beat, &around));
    beat.voters.insert(BO);
    around.now += Duration::from_millis(1);
    assert!(!goes(&beat, &around), "bo votes");
    beat.voters.remove(&BO);
    assert!(!goes(&beat, &around), "it begins to wait anew");
    around.now += Duration::from_secs(5);
    beat.voters.insert(CY);
    assert!(!goes(&beat, &around), "it votes, whatever the news");
    beat.voters.remove(&CY);
    assert!(!goes(&beat, &around));
    around.now += Duration::from_secs(5);
    assert!(goes(&beat, &around));
}

#[test]
fn news_of_another_cluster_that_is_over_keep_nobody_from_beginning_anew() {
    let (mut course, mut around) = cy();
    around.members.push(member(ANN, MemberState::Failed));
    around.members.push(member(BO, MemberState::Failed));
    around.news = Some(news(7, &[ANN], true));
    let beat = town::beat(&BTreeSet::from([ANN]));
    let part = Part {
        runs: Some(&beat),
        written: Some(ClusterId(7)),
    };
    let waits = [Turn::LookIn(LOOK_AGAIN)];
    assert_eq!(course.look(&member_of(7), part, &around), waits);
    around.news = Some(news(8, &[BO], true));
    assert_eq!(course.look(&member_of(7), part, &around), waits);
    around.now += ELECTED;
    let turns = course.look(&member_of(7), part, &around);
    assert!(turns.contains(&Turn::BeginAnew), "{turns:?}");
}

#[test]
fn who_has_written_its_cluster_down_stays_in_it() {
    let (course, mut around) = cy();
    let mut durable = Course::new(Setup {
        ephemeral: false,
        ..course.setup
    });
    around.news = Some(news(7, &[ANN], true));
    assert_eq!(durable.look(&member_of(7), NOTHING, &around), []);
    around.members.push(member(BO, MemberState::Alive));
    let turns = durable.hear_news(&member_of(7), &news(8, &[BO], true), NOTHING, &around);
    let (own, other) = (ClusterId(7), ClusterId(8));
    assert_eq!(
        turns,
        [Turn::AskOrigins(other), Turn::Strangers { own, other }]
    );
}

#[test]
fn each_proposal_may_take_twice_as_long_as_the_one_before() {
    let mut course = Course::new(Setup {
        me: CY,
        manager: true,
        expect: Some(1),
        loopback: false,
        ephemeral: false,
    });
    let mut around = Around {
        members: vec![member(CY, MemberState::Alive)],
        ..Around::default()
    };
    let mut proposed = Vec::new();
    while proposed.len() < 9 {
        let turns = course.look(&fresh(), NOTHING, &around);
        if turns.iter().any(|turn| matches!(turn, Turn::Propose(_))) {
            let again = !proposed.is_empty();
            assert_eq!(
                turns.contains(&Turn::Abort),
                again,
                "the old one is given up"
            );
            proposed.push(around.now);
        }
        around.now += FOUNDING_TICK;
    }
    let took: Vec<u64> = proposed
        .windows(2)
        .map(|two| (two[1] - two[0]).as_secs())
        .collect();
    assert_eq!(took, [2, 4, 8, 16, 32, 64, 64, 64]);
}

#[test]
fn a_proposal_ends_when_one_of_its_managers_is_gone() {
    let mut course = Course::new(Setup {
        me: ANN,
        manager: true,
        expect: Some(2),
        loopback: false,
        ephemeral: false,
    });
    let founding = Founding::new(ANN, Record::default());
    let both = [ANN, BO].map(|id| member(id, MemberState::Alive));
    let mut around = Around {
        members: both.into(),
        ..Around::default()
    };
    let standing = Standing {
        expect: 2,
        fresh: true,
        member: None,
        ephemeral: false,
        sees: vec![ANN, BO],
    };
    course.look(&founding, NOTHING, &around);
    course.hear_standing(&founding, BO, Some(standing), &around);
    course.look(&founding, NOTHING, &around);
    around.now = Duration::from_millis(300);
    let turns = course.look(&founding, NOTHING, &around);
    assert!(
        turns.contains(&Turn::Propose([ANN, BO].into())),
        "{turns:?}"
    );
    around.now = Duration::from_millis(400);
    assert!(
        !course
            .look(&founding, NOTHING, &around)
            .contains(&Turn::Abort)
    );
    around.members[1] = member(BO, MemberState::Failed);
    assert!(
        course
            .look(&founding, NOTHING, &around)
            .contains(&Turn::Abort)
    );
}

#[test]
fn who_was_removed_and_may_not_know_it_does_not_campaign() {
    let (mut course, _) = cy();
    let mut beat = town::beat(&BTreeSet::from([ANN, CY]));
    assert!(
        course.may_campaign(ClusterId(7), &beat, 3),
        "nobody says otherwise"
    );
    course.note(&member_of(7), Some(&news(7, &[ANN], false)));
    assert!(!course.may_campaign(ClusterId(7), &beat, 8));
    assert!(
        course.may_campaign(ClusterId(7), &beat, 9),
        "its log is as new"
    );
    assert!(
        course.may_campaign(ClusterId(6), &beat, 8),
        "news of another cluster"
    );
    beat.voters.remove(&CY);
    assert!(!course.may_campaign(ClusterId(7), &beat, 9));
}

#[test]
fn who_votes_doubts_old_news() {
    let (course, _) = cy();
    let mut beat = town::beat(&BTreeSet::from([ANN, BO, CY]));
    assert!(course.doubts(&beat), "nobody leads");
    beat.leader = Some(ANN);
    assert!(!course.doubts(&beat));
    (beat.leader, beat.leads) = (Some(CY), true);
    assert!(course.doubts(&beat), "no majority has ever answered");
    beat.quorum_heard = Some(Duration::from_secs(2));
    assert!(!course.doubts(&beat));
    beat.quorum_heard = Some(Duration::from_secs(3));
    assert!(course.doubts(&beat));
    beat.voters.remove(&CY);
    assert!(!course.doubts(&beat), "it has no say");
}

// --- in any order ---

/// So many lives of each town: 150, which takes seconds, unless the environment
/// variable DUI_TOWN_LIVES says otherwise.
fn seeds() -> std::ops::Range<u64> {
    let lives = std::env::var("DUI_TOWN_LIVES");
    0..lives.map_or(150, |lives| lives.parse().unwrap())
}

/// All of them end well; few may end in the hands of an operator.
fn live(town: fn(u64, Option<Mistake>) -> Town) {
    let ends: Vec<End> = seeds()
        .map(|seed| town(seed, None).live().unwrap())
        .collect();
    let lost = ends.iter().filter(|end| **end == End::Lost).count();
    assert!(lost <= ends.len() / 4, "{lost} of {}", ends.len());
}

#[test]
fn on_loopback_there_is_one_cluster_and_it_comes_back() {
    live(Town::on_loopback);
}

#[test]
fn on_a_network_that_is_cut_those_expected_found_one_cluster() {
    live(Town::of_three);
}

#[test]
fn the_town_finds_each_rule_that_is_taken_out() {
    for (mistake, what) in [
        (Mistake::NeverForsakes, "does not come to rest"),
        (Mistake::TrustsNews, "does not come to rest"),
        (Mistake::SeatsAreFree, "two clusters"),
        (Mistake::NoClock, "a token has gone back"),
    ] {
        // The rarest shows in one life of some hundreds.
        let lives = (0..2_000).map(|seed| Town::on_loopback(seed, Some(mistake)).live());
        let mut wrongs = lives.filter_map(Result::err);
        let found = wrongs.any(|wrong| wrong.contains(what));
        assert!(found, "{mistake:?} shows in no life of a town");
    }
}
