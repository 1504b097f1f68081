//! Stories of a founding that stands still: managers have accepted a proposal
//! in writing, and the one that made it is lost for good.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use prost::Message;

use crate::agreement::{agree, durable, id, leads, until};
use crate::recovery::groups;
use crate::town::{Town, sees};
use dui_node::consensus::founding::ClusterId;
use dui_node::core::{MemberState, NodeId};
use dui_node::{Handle, Node, NotDone};
use tokio::task::JoinHandle;

/// Holders that do not know that all have accepted give up after five seconds
/// with a leader by themselves: what comes sooner comes at an operator's word.
const AT_ONCE: Duration = Duration::from_secs(4);

/// Nobody has this lowest of all ids any more.
const LOST: NodeId = NodeId(1);

/// What they have accepted.
const PROPOSAL: ClusterId = ClusterId(7);

/// What a manager has in writing, as `managers/record.rs` has it.
#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    slot: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    slot_voters: Vec<u8>,
}

/// Puts down in the directories of these managers that each has accepted a
/// proposal of theirs and a lost one's. That one had the proof, or would have
/// had it next: they do not know.
async fn accepted(town: &Town, dirs: &Path, names: &[&str]) {
    let mut ids = Vec::new();
    for name in names {
        let node = Node::start(durable(town, name, dirs, 3)).await.unwrap();
        ids.push(id(&node).await);
        node.stop().await;
    }
    let voters: BTreeSet<NodeId> = ids.iter().copied().chain([LOST]).collect();
    for (name, id) in names.iter().zip(ids) {
        let record = Record {
            id: id.to_bytes().into(),
            slot: PROPOSAL.0.to_be_bytes().into(),
            slot_voters: voters.iter().flat_map(|id| id.to_bytes()).collect(),
        };
        let body = record.encode_to_vec();
        let check = blake3::hash(&body);
        let bytes = [b"duifound".as_slice(), &check.as_bytes()[..16], &body].concat();
        fs::write(dirs.join(name).join("founding"), bytes).unwrap();
    }
}

/// Starts one of them, which waits for the others' decision.
async fn waiting(town: &Town, dirs: &Path, name: &str) -> Node {
    let node = Node::start(durable(town, name, dirs, 3)).await.unwrap();
    until("it takes part in the decision", async || {
        node.handle()
            .group()
            .filter(|group| group.cluster == PROPOSAL)
    })
    .await;
    node
}

fn abandoning(handle: Handle) -> JoinHandle<Result<(), NotDone>> {
    tokio::spawn(async move { handle.abandon_founding().await })
}

#[tokio::test]
async fn at_an_operators_word_the_holders_give_up_at_once_and_found_with_another() {
    let town = Town::new();
    let dirs = tempfile::tempdir().unwrap();
    accepted(&town, dirs.path(), &["bo", "cy"]).await;
    let bo = waiting(&town, dirs.path(), "bo").await;
    let cy = waiting(&town, dirs.path(), "cy").await;
    let decider = until("the holders have elected one", async || {
        bo.handle().group()?.beat.leader
    })
    .await;
    // Whoever is asked: here the one that decides nothing.
    let asked = if decider == id(&bo).await { &cy } else { &bo };
    let began = Instant::now();
    abandoning(asked.handle()).await.unwrap().unwrap();
    let took = began.elapsed();
    assert!(took < AT_ONCE, "they gave up by themselves, after {took:?}");

    let di = Node::start(durable(&town, "di", dirs.path(), 3))
        .await
        .unwrap();
    let all = [&bo, &cy, &di];
    let news = agree(&all, "three vote", |news| news.voters.len() == 3).await;
    assert_ne!(news.cluster_id, PROPOSAL.0);
    for (node, name) in all.iter().zip(["bo", "cy", "di"]) {
        assert!(news.voters.contains(&id(node).await));
        let groups = groups(&dirs.path().join(name));
        assert_eq!(groups, [ClusterId(news.cluster_id).to_string()], "{name}");
    }
}

#[tokio::test]
async fn an_operators_word_waits_for_a_majority_and_the_holders_join_who_founded_meanwhile() {
    let town = Town::new();
    let dirs = tempfile::tempdir().unwrap();
    accepted(&town, dirs.path(), &["bo", "cy"]).await;
    let ann = Node::start(durable(&town, "ann", dirs.path(), 1))
        .await
        .unwrap();
    let formed = leads(&ann.handle(), "ann leads", |_| true).await;
    let bo = waiting(&town, dirs.path(), "bo").await;
    let abandoned = abandoning(bo.handle());
    sees(&bo.handle(), "ann", MemberState::Alive).await;
    assert!(!abandoned.is_finished(), "one of three decides nothing");

    let cy = Node::start(durable(&town, "cy", dirs.path(), 3))
        .await
        .unwrap();
    // It may be over before anybody has seen who was elected.
    until("the holders have elected one", async || {
        let group = bo.handle().group();
        let elected = group.is_none_or(|group| group.beat.leader.is_some());
        elected.then_some(())
    })
    .await;
    let began = Instant::now();
    abandoned.await.unwrap().unwrap();
    let took = began.elapsed();
    assert!(took < AT_ONCE, "they gave up by themselves, after {took:?}");
    let all = [&ann, &bo, &cy];
    let news = agree(&all, "three vote", |news| news.voters.len() == 3).await;
    assert_eq!(news.cluster_id, formed.cluster_id);
}

#[tokio::test]
async fn where_most_who_accepted_are_destroyed_the_last_one_is_told_to_reset() {
    let town = Town::new();
    let dirs = tempfile::tempdir().unwrap();
    accepted(&town, dirs.path(), &["bo", "cy"]).await;
    fs::remove_dir_all(dirs.path().join("cy")).unwrap();
    let bo = waiting(&town, dirs.path(), "bo").await;
    until("it says what it waits for", async || {
        let why = bo.handle().leader().await.unwrap().why?;
        why.contains("is being decided").then_some(())
    })
    .await;
    let old = id(&bo).await;
    let promised = fs::read(dirs.path().join("bo/founding")).unwrap();

    // It can neither be decided, nor may this one go on from nothing.
    let stuck = bo.handle().abandon_founding().await.unwrap_err();
    assert_eq!(stuck.code, "no_quorum", "{stuck}");
    assert!(stuck.why.contains("--reset"), "{stuck}");
    let refused = bo.handle().recover_quorum(true).await.unwrap_err();
    assert_eq!(refused.code, "no_copy", "{refused}");
    assert!(refused.why.contains("--abandon-founding"), "{refused}");
    let still = fs::read(dirs.path().join("bo/founding")).unwrap();
    assert_eq!(still, promised, "what was promised stays promised");

    bo.handle().reset().await.unwrap();
    bo.stop().await;
    let mut nodes = Vec::new();
    for name in ["bo", "cy", "di"] {
        let options = durable(&town, name, dirs.path(), 3);
        nodes.push(Node::start(options).await.unwrap());
    }
    let all: Vec<&Node> = nodes.iter().collect();
    let news = agree(&all, "three vote", |news| news.voters.len() == 3).await;
    assert_ne!(news.cluster_id, PROPOSAL.0);
    assert_ne!(id(&nodes[0]).await, old, "who promised that is no more");
}
