//! Stories of what an operator alone may decide: managers that are lost for
//! good, promises given up, copies of what was agreed.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::agreement::{agree, durable, id, leads, until};
use crate::town::{PATIENCE, Town, sees};
use dui_node::consensus::founding::ClusterId;
use dui_node::consensus::machine::RAISE;
use dui_node::core::{Acks, EntryKey, LeaderNews, MemberState};
use dui_node::{Node, Options, SharedWrite};

/// So long managers that are alive may elect one of them.
const ELECTION: Duration = Duration::from_secs(3);

/// Names in the data directory of a manager's groups.
pub(crate) fn groups(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir.join("raft")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

/// Managers of these names that have founded together.
async fn founded(town: &Town, dirs: &Path, names: &[&str]) -> (Vec<Node>, LeaderNews) {
    let mut nodes = Vec::new();
    for name in names {
        let options = durable(town, name, dirs, names.len() as u32);
        nodes.push(Node::start(options).await.unwrap());
    }
    let all: Vec<&Node> = nodes.iter().collect();
    let news = agree(&all, "all vote", |news| news.voters.len() == names.len()).await;
    for node in &all {
        // What is told everybody may come before what the log says.
        seen(node, names.len()).await;
        until("it has all records", async || {
            let beat = node.handle().group()?.beat;
            let all = beat.applied > 0 && beat.applied == beat.last;
            (all && beat.committed == beat.last).then_some(())
        })
        .await;
    }
    (nodes, news)
}

/// Waits until the managers have agreed that so many are members.
async fn seen(node: &Node, count: usize) {
    until("all are in the newest view", async || {
        (node.handle().views().members.len() == count).then_some(())
    })
    .await;
}

/// Stops a node and destroys what it had.
async fn destroy(node: Node, dir: &Path) {
    node.stop().await;
    fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn after_a_majority_is_lost_for_good_the_last_one_founds_anew_with_what_it_had() {
    let town = Town::new();
    let dirs = tempfile::tempdir().unwrap();
    let (mut nodes, _) = founded(&town, dirs.path(), &["ann", "bo", "cy"]).await;
    seen(&nodes[0], 3).await;
    let ann = id(&nodes[0]).await;
    let all: Vec<&Node> = nodes.iter().collect();
    let old = agree(&all, "one leads", |_| true).await;

    let cy = nodes.pop().unwrap();
    let healthy = cy.handle().recover_quorum(false).await.unwrap_err();
    assert_eq!(healthy.code, "has_quorum", "{healthy}");
    for (node, name) in nodes.into_iter().zip(["ann", "bo"]) {
        destroy(node, &dirs.path().join(name)).await;
        sees(&cy.handle(), name, MemberState::Failed).await;
    }

    let refounded = cy.handle().recover_quorum(false).await.unwrap();
    assert_eq!(refounded.origin.0, old.cluster_id);
    assert_ne!(refounded.cluster, refounded.origin);
    assert!(refounded.revision > old.revision + RAISE, "{refounded:?}");
    let handle = cy.handle();
    let news = leads(&handle, "cy leads", |news| {
        news.cluster_id == refounded.cluster.0
    })
    .await;
    assert_eq!(news.voters, [id(&cy).await]);
    assert!(news.view >= old.view, "views go on: {news:?} after {old:?}");
    let kept = groups(&dirs.path().join("cy"));
    let aside = format!("{}.lost-", refounded.origin);
    assert!(kept.iter().any(|name| name.starts_with(&aside)), "{kept:?}");
    assert!(kept.contains(&refounded.cluster.to_string()), "{kept:?}");

    // Others come, are taught, and vote: the cluster is as any other.
    let di = Node::start(durable(&town, "di", dirs.path(), 3))
        .await
        .unwrap();
    let ed = Node::start(durable(&town, "ed", dirs.path(), 3))
        .await
        .unwrap();
    let all = [&cy, &di, &ed];
    let grown = agree(&all, "three vote", |news| news.voters.len() == 3).await;
    assert_eq!(grown.cluster_id, refounded.cluster.0);
    let backup = di.handle().backup().await.unwrap();
    let backup = dui_node::consensus::backup::Backup::decode(&backup).unwrap();
    assert_eq!(backup.state.origins(), [refounded.origin]);
    let mut joined = backup.state.views().flat_map(|view| &view.joined);
    assert!(joined.any(|seen| seen.id == ann), "nothing is lost");

    // And it is one that lasts.
    cy.stop().await;
    let led_by = grown.leader;
    let after = agree(&[&di, &ed], "another leads", |news| news.leader != led_by).await;
    assert_eq!(after.cluster_id, refounded.cluster.0);
    // A crash right after it was written that cy belongs to the new one.
    let raft = dirs.path().join("cy/raft");
    let kept = groups(&dirs.path().join("cy"));
    let lost = kept.iter().find(|name| name.starts_with(&aside)).unwrap();
    fs::rename(raft.join(lost), raft.join(refounded.origin.to_string())).unwrap();
    let cy = Node::start(durable(&town, "cy", dirs.path(), 3))
        .await
        .unwrap();
    let back = agree(&[&cy, &di, &ed], "cy is back", |news| {
        news.voters.len() == 3
    })
    .await;
    assert_eq!(back.cluster_id, refounded.cluster.0);
    assert!(back.voters.contains(&id(&cy).await));
    let kept = groups(&dirs.path().join("cy"));
    assert!(!kept.contains(&refounded.origin.to_string()), "{kept:?}");
}

#[tokio::test]
async fn who_comes_back_late_from_the_old_cluster_joins_the_new_one_as_a_new_node() {
    let town = Town::new();
    let dirs = tempfile::tempdir().unwrap();
    let (mut nodes, _) = founded(&town, dirs.path(), &["ann", "bo", "cy"]).await;
    let cy = nodes.pop().unwrap();
    let bo = nodes.pop().unwrap();
    destroy(nodes.pop().unwrap(), &dirs.path().join("ann")).await;
    let old_bo = id(&bo).await;
    bo.stop().await;
    for name in ["ann", "bo"] {
        sees(&cy.handle(), name, MemberState::Failed).await;
    }
    let refounded = cy.handle().recover_quorum(false).await.unwrap();

    let bo = Node::start(durable(&town, "bo", dirs.path(), 3))
        .await
        .unwrap();
    assert_eq!(id(&bo).await, old_bo, "it does not know yet");
    let mark = dirs.path().join("bo/reset");
    until("bo has heard of it", async || mark.exists().then_some(())).await;
    bo.stop().await;
    let bo = Node::start(durable(&town, "bo", dirs.path(), 3))
        .await
        .unwrap();
    assert!(!mark.exists());
    let new_bo = id(&bo).await;
    assert_ne!(new_bo, old_bo);
    let di = Node::start(durable(&town, "di", dirs.path(), 3))
        .await
        .unwrap();
    let news = agree(&[&bo, &cy, &di], "bo votes", |news| {
        news.voters.contains(&new_bo) && news.voters.len() == 3
    })
    .await;
    assert_eq!(news.cluster_id, refounded.cluster.0);
}

#[tokio::test]
async fn a_healthy_cluster_is_left_alone_unless_forced() {
    let town = Town::new();
    let dirs = tempfile::tempdir().unwrap();
    let (nodes, old) = founded(&town, dirs.path(), &["ann", "bo", "cy"]).await;
    for node in &nodes {
        let refused = node.handle().recover_quorum(false).await.unwrap_err();
        assert_eq!(refused.code, "has_quorum", "{refused}");
    }
    let all: Vec<&Node> = nodes.iter().collect();
    let still = agree(&all, "one leads", |_| true).await;
    assert_eq!(still.cluster_id, old.cluster_id);
    let forced = nodes[0].handle().recover_quorum(true).await.unwrap();
    assert_ne!(forced.cluster.0, old.cluster_id);
}

/// Of three managers one is destroyed and another, the leader or not, started
/// again with a log that it cannot read: the third has run all the time. Two
/// of three live, and nobody can be elected.
async fn half_blind(town: &Town, dirs: &Path, blind_leader: bool) -> (Node, Node, LeaderNews) {
    let names = ["ann", "bo", "cy"];
    let (nodes, _) = founded(town, dirs, &names).await;
    let all: Vec<&Node> = nodes.iter().collect();
    let old = agree(&all, "one leads", |_| true).await;
    let (mut leader, mut others) = (None, Vec::new());
    for (node, name) in nodes.into_iter().zip(names) {
        if id(&node).await == old.leader {
            leader = Some((node, name));
        } else {
            others.push((node, name));
        }
    }
    let (leader, other) = (leader.unwrap(), others.pop().unwrap());
    let (lost, lost_name) = others.pop().unwrap();
    let ((blind, name), (left, _)) = if blind_leader {
        (leader, other)
    } else {
        (other, leader)
    };
    // Both at once: nobody is elected instead.
    let lost_dir = dirs.join(lost_name);
    tokio::join!(destroy(lost, &lost_dir), blind.stop());
    let group = ClusterId(old.cluster_id).to_string();
    for file in fs::read_dir(dirs.join(name).join("raft").join(group)).unwrap() {
        let file = file.unwrap().path();
        let mut bytes = fs::read(&file).unwrap();
        bytes[0] ^= 1;
        fs::write(file, bytes).unwrap();
    }
    sees(&left.handle(), lost_name, MemberState::Failed).await;
    let blind = Node::start(durable(town, name, dirs, 3)).await.unwrap();
    sees(&left.handle(), name, MemberState::Alive).await;
    (blind, left, old)
}

/// Founds anew what [`half_blind`] left, not before the two had their time.
async fn found_anew_after_a_while(left: &Node, old: &LeaderNews) -> LeaderNews {
    let began = Instant::now();
    let refounded = left.handle().recover_quorum(false).await.unwrap();
    assert!(began.elapsed() >= ELECTION, "{:?}", began.elapsed());
    assert_eq!(refounded.origin.0, old.cluster_id);
    let own = id(left).await;
    let news = leads(&left.handle(), "it leads alone", |news| {
        news.voters == [own]
    })
    .await;
    assert_eq!(news.cluster_id, refounded.cluster.0);
    news
}

#[tokio::test]
async fn where_a_majority_lives_and_elects_nobody_the_operators_word_stands_after_a_while() {
    let town = Town::new();
    let dirs = tempfile::tempdir().unwrap();
    let (blind, left, old) = half_blind(&town, dirs.path(), true).await;
    let refused = blind.handle().recover_quorum(true).await.unwrap_err();
    assert_eq!(refused.code, "no_copy", "{refused}");
    assert!(refused.why.contains("cannot be read now"), "{refused}");

    let anew = found_anew_after_a_while(&left, &old).await;
    // The other hears of it, and has nothing to set against it.
    let this = blind.handle().this().await.unwrap();
    let name = this.member.name.as_str();
    let mark = dirs.path().join(name).join("reset");
    until("it has heard of it", async || mark.exists().then_some(())).await;
    blind.stop().await;
    let back = Node::start(durable(&town, name, dirs.path(), 3))
        .await
        .unwrap();
    let news = agree(&[&back, &left], "it has joined", |_| true).await;
    assert_eq!(news.cluster_id, anew.cluster_id);
}

#[tokio::test]
async fn a_leader_that_reaches_no_majority_is_no_reason_against_founding_anew() {
    let town = Town::new();
    let dirs = tempfile::tempdir().unwrap();
    let (_blind, left, old) = half_blind(&town, dirs.path(), false).await;
    assert!(left.handle().group().unwrap().beat.leads, "it believes so");
    found_anew_after_a_while(&left, &old).await;
}

#[tokio::test]
async fn who_asks_during_an_election_hears_that_nothing_has_to_be_recovered() {
    let town = Town::new();
    let dirs = tempfile::tempdir().unwrap();
    let (mut nodes, _) = founded(&town, dirs.path(), &["ann", "bo", "cy"]).await;
    let all: Vec<&Node> = nodes.iter().collect();
    let old = agree(&all, "one leads", |_| true).await;
    let mut place = 0;
    for (index, node) in nodes.iter().enumerate() {
        if id(node).await == old.leader {
            place = index;
        }
    }
    nodes.remove(place).stop().await;
    let refused = nodes[0].handle().recover_quorum(false).await.unwrap_err();
    assert_eq!(refused.code, "has_quorum", "{refused}");
    assert!(refused.why.contains("of the 3"), "{refused}");
    let all: Vec<&Node> = nodes.iter().collect();
    let after = agree(&all, "another leads", |news| news.leader != old.leader).await;
    assert_eq!(after.cluster_id, old.cluster_id);
}

#[tokio::test]
async fn without_a_disk_the_last_manager_founds_anew_in_memory() {
    let town = Town::new();
    let [ann, bo, cy] = town.of(["ann", "bo", "cy"]).await;
    let all = [&ann, &bo, &cy];
    let old = agree(&all, "three vote", |news| news.voters.len() == 3).await;
    for (node, name) in [(ann, "ann"), (bo, "bo")] {
        node.stop().await;
        sees(&cy.handle(), name, MemberState::Failed).await;
    }
    let refounded = cy.handle().recover_quorum(false).await.unwrap();
    assert_eq!(refounded.origin.0, old.cluster_id);
    let di = town.start("di").await;
    let news = agree(&[&cy, &di], "di joins", |_| true).await;
    assert_eq!(news.cluster_id, refounded.cluster.0);
}

#[tokio::test]
async fn a_reset_makes_a_new_node_at_the_next_start_and_entries_survive() {
    let town = Town::new();
    let dirs = tempfile::tempdir().unwrap();
    let (nodes, _) = founded(&town, dirs.path(), &["ann"]).await;
    let ann = nodes.into_iter().next().unwrap();
    let old = id(&ann).await;
    let write = SharedWrite::Put {
        key: EntryKey::new("color").unwrap(),
        value: b"green".into(),
        content_type: None,
        ttl: None,
    };
    let handle = ann.handle();
    let written = handle.write(vec![write], Acks::Here, PATIENCE).await;
    written.unwrap().remove(0).unwrap();
    ann.handle().reset().await.unwrap();
    let refused = ann.handle().recover_quorum(true).await.unwrap_err();
    assert_eq!(refused.code, "not_done", "{refused}");
    ann.stop().await;

    let ann = Node::start(durable(&town, "ann", dirs.path(), 1))
        .await
        .unwrap();
    assert_ne!(id(&ann).await, old);
    leads(&ann.handle(), "it founds as a new one", |_| true).await;
    let entry = ann.handle().entry("color".into()).await.unwrap();
    assert!(entry.is_some(), "shared entries stay");
    let new = id(&ann).await;
    ann.stop().await;
    let ann = Node::start(durable(&town, "ann", dirs.path(), 1))
        .await
        .unwrap();
    assert_eq!(id(&ann).await, new, "once is enough");
}

#[tokio::test]
async fn a_backup_is_restored_by_an_empty_manager_alone() {
    let town = Town::new();
    let dirs = tempfile::tempdir().unwrap();
    let (nodes, _) = founded(&town, dirs.path(), &["ann", "bo", "cy"]).await;
    seen(&nodes[0], 3).await;
    let all: Vec<&Node> = nodes.iter().collect();
    let mut copies = Vec::new();
    for node in &all {
        copies.push(node.handle().backup().await.unwrap());
    }
    let old = agree(&all, "one leads", |_| true).await;
    let refused = nodes[1].handle().restore(&copies[0]).await.unwrap_err();
    assert_eq!(refused.code, "has_cluster", "{refused}");
    for (node, name) in nodes.into_iter().zip(["ann", "bo", "cy"]) {
        destroy(node, &dirs.path().join(name)).await;
    }

    let di = Node::start(durable(&town, "di", dirs.path(), 3))
        .await
        .unwrap();
    let mut damaged = copies[0].clone();
    *damaged.last_mut().unwrap() ^= 1;
    let refused = di.handle().restore(&damaged).await.unwrap_err();
    assert_eq!(refused.code, "bad_backup");
    assert!(refused.why.contains("checksum"), "{refused}");
    let foreign = di.handle().restore(b"not a backup").await.unwrap_err();
    assert!(foreign.why.contains("no backup of dui"), "{foreign}");
    assert!(di.handle().group().is_none(), "nothing was changed");

    let restored = di.handle().restore(&copies[0]).await.unwrap();
    assert_eq!(restored.origin.0, old.cluster_id);
    assert!(restored.revision > restored.revision_before + RAISE);
    let ed = Node::start(durable(&town, "ed", dirs.path(), 3))
        .await
        .unwrap();
    let news = agree(&[&di, &ed], "both know", |news| {
        news.cluster_id == restored.cluster.0
    })
    .await;
    assert!(news.elected_at > old.elected_at);
}

#[tokio::test]
async fn who_founds_nothing_abandons_nothing_and_a_worker_recovers_nothing() {
    let town = Town::new();
    let dirs = tempfile::tempdir().unwrap();
    let (nodes, _) = founded(&town, dirs.path(), &["ann"]).await;
    let refused = nodes[0].handle().abandon_founding().await.unwrap_err();
    assert_eq!(refused.code, "not_founding", "{refused}");
    let worker = Options {
        role: dui_node::core::Role::Worker,
        ..town.options("will")
    };
    let will = Node::start(worker).await.unwrap();
    let refused = will.handle().recover_quorum(false).await.unwrap_err();
    assert_eq!(refused.code, "not_a_manager");
    let refused = will.handle().abandon_founding().await.unwrap_err();
    assert_eq!(refused.code, "not_a_manager");
    let refused = will.handle().reset().await.unwrap_err();
    assert_eq!(refused.code, "not_a_manager");
}
