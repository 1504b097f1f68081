//! Stories of managers: who founds, who leads, and what everybody is told of it.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::town::{PATIENCE, Town, sees};
use dui_node::consensus::call::Operation;
use dui_node::core::{LeaderNews, MemberState, NodeId, Role};
use dui_node::{Handle, LeaderState, Node, Options};
use tokio::time::{sleep, timeout};

/// Waits until `wanted` says what it saw.
pub(crate) async fn until<T>(what: &str, mut wanted: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = wanted().await {
                return found;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    let found = timeout(PATIENCE, waiting).await;
    found.unwrap_or_else(|_| panic!("never: {what}"))
}

pub(crate) async fn id(node: &Node) -> NodeId {
    node.handle().this().await.unwrap().member.id
}

/// What a node says of the leader, once `wanted` likes it.
pub(crate) async fn leads(
    handle: &Handle,
    what: &str,
    wanted: impl Fn(&LeaderNews) -> bool,
) -> LeaderNews {
    until(what, async || {
        let leadership = handle.leader().await.unwrap();
        let news = leadership
            .news
            .filter(|_| leadership.state == LeaderState::Led);
        news.filter(&wanted)
    })
    .await
}

/// The one leader that all of these name.
pub(crate) async fn agree(
    nodes: &[&Node],
    what: &str,
    wanted: impl Fn(&LeaderNews) -> bool,
) -> LeaderNews {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut all = Vec::new();
        for node in nodes {
            all.push(node.handle().leader().await.unwrap());
        }
        let led = all.iter().all(|one| one.state == LeaderState::Led);
        let told: Vec<&LeaderNews> = all.iter().filter_map(|one| one.news.as_ref()).collect();
        if let Some(first) = told.first()
            && led
            && told.len() == nodes.len()
            && told.iter().all(|news| news == first)
            && wanted(first)
        {
            return (*first).clone();
        }
        if Instant::now() > deadline {
            let groups: Vec<_> = nodes.iter().map(|node| node.handle().group()).collect();
            let mut seen = Vec::new();
            for node in nodes {
                let members = node.handle().members().await.unwrap();
                let states = members.iter().map(|m| (m.id, m.name.to_string(), m.state));
                seen.push((states.collect::<Vec<_>>(), node.handle().views()));
            }
            panic!("never: {what}; they say {all:#?}; groups {groups:#?}; they see {seen:?}");
        }
        sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) fn durable(town: &Town, name: &str, dir: &Path, expect: u32) -> Options {
    Options {
        expect: Some(expect),
        ..town.options_with_dir(name, &dir.join(name))
    }
}

#[tokio::test]
async fn on_loopback_somebody_leads_at_once_and_workers_know_it_too() {
    let town = Town::new();
    let [ann, bo, cy] = town.of(["ann", "bo", "cy"]).await;
    let worker = Options {
        role: Role::Worker,
        ..town.options("will")
    };
    let will = Node::start(worker).await.unwrap();
    let all = [&ann, &bo, &cy, &will];
    let news = agree(&all, "three vote", |news| news.voters.len() == 3).await;
    let managers = [id(&ann).await, id(&bo).await, id(&cy).await];
    assert!(news.voters.iter().all(|voter| managers.contains(voter)));
    assert!(news.ephemeral, "nobody has a disk");
}

#[tokio::test]
async fn when_the_leader_dies_another_leads_with_a_higher_token() {
    let town = Town::new();
    let mut nodes: Vec<Node> = town.of(["ann", "bo", "cy"]).await.into();
    let all: Vec<&Node> = nodes.iter().collect();
    let before = agree(&all, "three vote", |news| news.voters.len() == 3).await;
    let place = {
        let mut place = 0;
        for (index, node) in nodes.iter().enumerate() {
            if id(node).await == before.leader {
                place = index;
            }
        }
        place
    };
    nodes.remove(place).stop().await;
    let all: Vec<&Node> = nodes.iter().collect();
    let after = agree(&all, "another leads", |news| news.leader != before.leader).await;
    assert_eq!(after.cluster_id, before.cluster_id);
    assert!(after.elected_at > before.elected_at && after.term > before.term);
}

#[tokio::test]
async fn a_leader_that_leaves_hands_over_and_gives_its_seat_up() {
    let town = Town::new();
    let nodes = town.of(["ann", "bo", "cy", "di"]).await;
    let all: Vec<&Node> = nodes.iter().collect();
    let before = agree(&all, "three vote", |news| news.voters.len() == 3).await;
    let mut others = Vec::new();
    for node in &nodes {
        if id(node).await == before.leader {
            node.handle().leave().await.unwrap();
        } else {
            others.push(node);
        }
    }
    let after = agree(&others, "its seat is another's", |news| {
        !news.voters.contains(&before.leader) && news.voters.len() == 3
    });
    let after = after.await;
    assert_ne!(after.leader, before.leader);
    assert_eq!(after.cluster_id, before.cluster_id);
}

#[tokio::test]
async fn the_only_voter_that_leaves_makes_the_other_one_lead() {
    let town = Town::new();
    let ann = town.start("ann").await;
    let before = leads(&ann.handle(), "ann leads alone", |_| true).await;
    let bo = town.start("bo").await;
    agree(&[&ann, &bo], "both know", |_| true).await;
    ann.handle().leave().await.unwrap();
    let own = id(&bo).await;
    let after = leads(&bo.handle(), "bo leads", |news| news.leader == own).await;
    assert_eq!(
        after.cluster_id, before.cluster_id,
        "it is the same cluster"
    );
    assert!(after.elected_at > before.elected_at);
}

#[tokio::test]
async fn when_all_voters_without_a_disk_have_died_the_next_one_founds_above_them() {
    let town = Town::new();
    let ann = town.start("ann").await;
    let before = leads(&ann.handle(), "ann leads alone", |_| true).await;
    let bo = town.start("bo").await;
    agree(&[&ann, &bo], "both know", |_| true).await;
    ann.stop().await;
    sees(&bo.handle(), "ann", MemberState::Failed).await;
    let own = id(&bo).await;
    let after = leads(&bo.handle(), "bo leads", |news| news.leader == own).await;
    assert_ne!(after.cluster_id, before.cluster_id, "the other one is gone");
    assert!(after.elected_at > before.revision, "tokens never go back");
}

#[tokio::test]
async fn three_that_are_expected_found_one_cluster_that_outlives_them() {
    let town = Town::new();
    let dirs = tempfile::tempdir().unwrap();
    let names = ["ann", "bo", "cy"];
    let mut last: Option<LeaderNews> = None;
    for round in 0..3 {
        let mut nodes = Vec::new();
        for name in names {
            let options = durable(&town, name, dirs.path(), 3);
            nodes.push(Node::start(options).await.unwrap());
            if round == 0 && nodes.len() < 3 {
                let status = nodes[0].handle().status().await.unwrap();
                assert!(!status.ready, "a leader is expected, and there is none");
            }
        }
        let all: Vec<&Node> = nodes.iter().collect();
        let news = agree(&all, "one leads", |news| news.voters.len() == 3).await;
        assert!(!news.ephemeral);
        if let Some(last) = &last {
            assert_eq!(news.cluster_id, last.cluster_id);
            assert!(news.elected_at > last.elected_at, "{news:?} after {last:?}");
        }
        last = Some(news);
        for node in nodes {
            node.stop().await;
        }
    }
}

#[tokio::test]
async fn managers_that_expect_different_numbers_found_nothing_and_name_both() {
    let town = Town::new();
    let dirs = tempfile::tempdir().unwrap();
    let ann = Node::start(durable(&town, "ann", dirs.path(), 2))
        .await
        .unwrap();
    let bo = Node::start(durable(&town, "bo", dirs.path(), 3))
        .await
        .unwrap();
    for node in [&ann, &bo] {
        let why = until("both numbers are named", async || {
            let leadership = node.handle().leader().await.unwrap();
            assert_eq!(leadership.state, LeaderState::Unformed);
            let why = leadership.why?;
            (why.contains("expects 2") && why.contains("expects 3")).then_some(why)
        });
        assert!(why.await.contains("--expect"));
    }
}

#[tokio::test]
async fn every_node_sees_the_same_views() {
    let town = Town::new();
    let [ann, bo, cy] = town.of(["ann", "bo", "cy"]).await;
    let worker = Options {
        role: Role::Worker,
        ..town.options("will")
    };
    let will = Node::start(worker).await.unwrap();
    let all = [&ann, &bo, &cy, &will];
    agree(&all, "three vote", |news| news.voters.len() == 3).await;
    let members = async |node: &Node, count: usize| {
        until("all are in the newest view", async || {
            let views = node.handle().views();
            (views.members.len() == count).then_some(views)
        })
        .await
    };
    for node in all {
        members(node, 4).await;
    }
    bo.handle().leave().await.unwrap();
    let mut newest = Vec::new();
    for node in [&ann, &cy, &will] {
        let views = members(node, 3).await;
        let last = views.views.last().unwrap().clone();
        assert!(last.gone.iter().all(|gone| gone.left), "it said goodbye");
        newest.push((views.cluster, last));
    }
    assert!(newest.windows(2).all(|two| two[0] == two[1]), "{newest:?}");
}

#[tokio::test]
async fn an_operator_moves_the_lead_and_takes_seats() {
    let town = Town::new();
    let nodes = town.of(["ann", "bo", "cy", "di"]).await;
    let all: Vec<&Node> = nodes.iter().collect();
    let before = agree(&all, "three vote", |news| news.voters.len() == 3).await;
    let heir = *before
        .voters
        .iter()
        .find(|voter| **voter != before.leader)
        .unwrap();
    let handle = nodes[0].handle();
    handle.operate(Operation::Move(heir)).await.unwrap();
    agree(&all, "the heir leads", |news| news.leader == heir).await;
    handle
        .operate(Operation::Demote(before.leader))
        .await
        .unwrap();
    let after = agree(&all, "another votes instead", |news| {
        !news.voters.contains(&before.leader) && news.voters.len() == 3
    });
    after.await;
    let refused = handle.operate(Operation::Move(before.leader)).await;
    assert_eq!(refused.unwrap_err().code, "not_a_voter");
}

#[tokio::test]
async fn the_seat_of_a_forgotten_voter_is_taken_at_once() {
    let town = Town::new();
    let mut nodes: Vec<Node> = town.of(["ann", "bo", "cy", "di"]).await.into();
    let all: Vec<&Node> = nodes.iter().collect();
    let before = agree(&all, "three vote", |news| news.voters.len() == 3).await;
    let mut ids = Vec::new();
    for node in &nodes {
        ids.push(id(node).await);
    }
    let follows = |id: &NodeId| before.voters.contains(id) && *id != before.leader;
    let place = ids.iter().position(follows).unwrap();
    let lost = ids[place];
    nodes.remove(place).stop().await;
    let handle = nodes[0].handle();
    until("it is shown failed", async || {
        let members = handle.members().await.unwrap();
        let failed = |member: &dui_node::core::Member| member.state == MemberState::Failed;
        members
            .iter()
            .any(|member| member.id == lost && failed(member))
            .then_some(())
    })
    .await;
    handle.forget(lost, false).await.unwrap();
    let all: Vec<&Node> = nodes.iter().collect();
    agree(&all, "another votes instead", |news| {
        news.voters.len() == 3 && !news.voters.contains(&lost)
    })
    .await;
}

#[tokio::test]
async fn on_loopback_nobody_founds_beside_a_cluster_however_that_was_founded() {
    let town = Town::new();
    let dirs = tempfile::tempdir().unwrap();
    let ann = Node::start(durable(&town, "ann", dirs.path(), 1)).await;
    let ann = ann.unwrap();
    leads(&ann.handle(), "ann leads", |_| true).await;
    // It hears of nobody: the kernel alone knows.
    let deaf = Options {
        discovery: Vec::new(),
        ..town.options("bo")
    };
    let bo = Node::start(deaf).await.unwrap();
    until("bo waits for those who are there", async || {
        let leadership = bo.handle().leader().await.unwrap();
        assert_eq!(leadership.state, LeaderState::Unformed);
        let why = leadership.why?;
        why.contains("another manager of this machine")
            .then_some(())
    })
    .await;
}
