//! Stories of several nodes in one process: they find, lose and leave each other.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::town::{PATIENCE, Town, hears, joining, sees, settles};
use dui_node::core::{Event, ForgetError, Key, Keyring, MemberState, PublishError, Refusal};
use dui_node::{ApiError, Node, NodeEvent, Options};
use tokio::time::timeout;
use tokio_stream::StreamExt;

#[tokio::test]
async fn nodes_without_any_flag_find_each_other_on_loopback() {
    let town = Town::new();
    let [ann, bo, cy] = town.of(["ann", "bo", "cy"]).await;
    let addresses = [&ann, &bo, &cy].map(Node::peer_address);
    for member in cy.handle().members().await.unwrap() {
        assert!(addresses.contains(&member.address), "{member:?}");
    }
    assert!(ann.handle().status().await.unwrap().ready);
}

#[tokio::test]
async fn one_address_is_enough_where_nothing_is_heard() {
    let town = Town::new();
    let ann = Node::start(joining(town.options("ann"), &[]))
        .await
        .unwrap();
    let join = [ann.peer_address()];
    let bo = Node::start(joining(town.options("bo"), &join))
        .await
        .unwrap();
    let cy = Node::start(joining(town.options("cy"), &join))
        .await
        .unwrap();
    sees(&bo.handle(), "cy", MemberState::Alive).await;
    sees(&cy.handle(), "bo", MemberState::Alive).await;
}

#[tokio::test]
async fn a_peer_that_is_named_before_it_starts_is_found_when_it_does() {
    let town = Town::new();
    let later = town.start("later").await;
    let address = later.peer_address();
    later.stop().await;
    let early = Node::start(joining(town.options("early"), &[address]))
        .await
        .unwrap();
    timeout(Duration::from_millis(300), std::future::pending::<()>())
        .await
        .unwrap_err();
    let options = Options {
        peer_port: crate::town::asked(address.port()),
        ..joining(town.options("later"), &[])
    };
    let _later = Node::start(options).await.unwrap();
    sees(&early.handle(), "later", MemberState::Alive).await;
}

#[tokio::test]
async fn a_goodbye_is_heard_at_once_and_told_to_everybody_who_asked() {
    let town = Town::new();
    let [ann, bo, cy] = town.of(["ann", "bo", "cy"]).await;
    let mut news_of_bo = bo.handle().subscribe(None).await.unwrap();

    let (one, other) = (bo.handle(), bo.handle());
    let (first, second) = tokio::join!(one.leave(), other.leave());
    assert_eq!(first, second);
    assert!(first.clone().unwrap().acked > 0, "{first:?}");
    for node in [&ann, &cy] {
        sees(&node.handle(), "bo", MemberState::Left).await;
    }

    let mut last = None;
    while let Some(item) = timeout(PATIENCE, news_of_bo.next()).await.unwrap() {
        last = Some(item.event);
    }
    assert_eq!(last, Some(NodeEvent::Leaving));
    let this = bo.handle().this().await.unwrap();
    assert!(this.leaving);
    assert_eq!(this.member.state, MemberState::Left);
    assert!(!bo.handle().status().await.unwrap().ready);
    let refused = bo.handle().publish("late".into(), vec![]).await;
    assert_eq!(refused, Err(ApiError::Publish(PublishError::Leaving)));
}

#[tokio::test]
async fn the_last_one_leaves_without_waiting_for_anybody() {
    let ann = Town::new().start("ann").await;
    let begun = Instant::now();
    let outcome = ann.handle().leave().await.unwrap();
    assert_eq!((outcome.acked, outcome.wanted), (0, 0));
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_node_that_stops_without_a_goodbye_has_failed() {
    let town = Town::new();
    let [ann, bo, cy] = town.of(["ann", "bo", "cy"]).await;
    let begun = Instant::now();
    bo.stop().await;
    for node in [&ann, &cy] {
        sees(&node.handle(), "bo", MemberState::Failed).await;
    }
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "its closed sockets are evidence: {:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn an_event_reaches_everybody_with_its_payload() {
    let town = Town::new();
    let [ann, bo, cy] = town.of(["ann", "bo", "cy"]).await;
    let mut news = cy.handle().subscribe(None).await.unwrap();
    let sent = ann
        .handle()
        .publish("deploy".into(), vec![0, 159, 255])
        .await;
    let heard = hears(&mut news, |event| match event {
        Event::User(event) => Some(event.clone()),
        _ => None,
    });
    assert_eq!(Ok(heard.await), sent);
    settles(&bo.handle(), "bo keeps it", |_| Some(())).await;
    assert_eq!(ann.handle().events().await.unwrap().len(), 1);

    let nameless = ann.handle().publish(String::new(), vec![]).await;
    assert_eq!(nameless, Err(ApiError::Publish(PublishError::Name)));
}

#[tokio::test]
async fn a_restart_with_its_directory_is_the_same_node_and_leaves_no_ghost() {
    let town = Town::new();
    let dir = tempfile::tempdir().unwrap();
    let ann = town.start("ann").await;
    let bo = Node::start(town.options_with_dir("bo", dir.path()))
        .await
        .unwrap();
    let before = sees(&ann.handle(), "bo", MemberState::Alive).await;
    bo.stop().await;
    let _bo = Node::start(town.options_with_dir("bo", dir.path()))
        .await
        .unwrap();
    let after = settles(&ann.handle(), "bo is back", |members| {
        let newer = |m: &&dui_node::core::Member| {
            m.incarnation > before.incarnation && m.state == MemberState::Alive
        };
        members
            .iter()
            .filter(|m| m.id == before.id)
            .find(newer)
            .cloned()
    })
    .await;
    assert_ne!(after.run, before.run);
    assert_eq!(ann.handle().members().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_forgotten_node_learns_it_and_stops() {
    let town = Town::new();
    let [ann, mut bo, _cy] = town.of(["ann", "bo", "cy"]).await;
    let id = bo.handle().this().await.unwrap().member.id;
    let refused = ann.handle().forget(id, false).await;
    assert_eq!(refused, Err(ApiError::Forget(ForgetError::Alive)));
    ann.handle().forget(id, true).await.unwrap();
    let fatal = timeout(PATIENCE, bo.stopped()).await.unwrap().unwrap();
    assert!(fatal.to_string().contains(&id.to_string()), "{fatal}");
    assert_eq!(bo.stopped().await, Some(fatal), "it says so again");
    assert_eq!(bo.handle().this().await, Err(ApiError::Stopped));
    settles(&ann.handle(), "bo is gone", |members| {
        (!members.iter().any(|m| m.id == id)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn of_a_copied_directory_one_node_stops() {
    let town = Town::new();
    let _witness = town.start("witness").await;
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut original = Node::start(town.options_with_dir("original", dir.path()))
        .await
        .unwrap();
    copy_all(dir.path(), copy.path());
    let mut copied = Node::start(town.options_with_dir("copied", copy.path()))
        .await
        .unwrap();
    let stopped = async {
        tokio::select! {
            fatal = original.stopped() => fatal,
            fatal = copied.stopped() => fatal,
        }
    };
    let fatal = timeout(PATIENCE, stopped).await.unwrap().unwrap();
    assert!(fatal.to_string().contains("copied"), "{fatal}");
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, copy) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy_all(&path, &copy);
        } else {
            std::fs::copy(path, copy).unwrap();
        }
    }
}

#[tokio::test]
async fn a_manager_whose_promises_are_lost_starts_as_a_new_node() {
    let town = Town::new();
    let dir = tempfile::tempdir().unwrap();
    let id_of = async |name: &str| {
        let options = town.options_with_dir(name, dir.path());
        let node = Node::start(options).await.unwrap();
        let id = node.handle().this().await.unwrap().member.id;
        node.stop().await;
        id
    };
    let id = id_of("ann").await;
    assert_eq!(id_of("ann").await, id, "nothing is missing");
    std::fs::remove_file(dir.path().join("founding")).unwrap();
    let fresh = id_of("ann").await;
    assert_ne!(fresh, id);
    assert_eq!(id_of("ann").await, fresh);
}

#[tokio::test]
async fn other_clusters_are_refused_by_name_and_never_listed() {
    let town = Town::new();
    let ann = town.start("ann").await;
    let mut news = ann.handle().subscribe(Some(0)).await.unwrap();
    let green = Options {
        cluster: "green".parse().unwrap(),
        ..town.options("bo")
    };
    let bo = Node::start(green).await.unwrap();
    let heard = hears(&mut news, |event| match event {
        Event::Refused(Refusal::OtherCluster { theirs, .. }) => Some(theirs.clone()),
        _ => None,
    });
    assert_eq!(heard.await, "green");
    for node in [&ann, &bo] {
        assert_eq!(node.handle().members().await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_key_keeps_those_together_who_have_it() {
    let town = Town::new();
    let with_key = |name: &str, byte: u8| Options {
        keys: Keyring::new(vec![Key::from_slice(&[byte; 32]).unwrap()]).unwrap(),
        ..town.options(name)
    };
    let ann = Node::start(with_key("ann", 1)).await.unwrap();
    let bo = Node::start(with_key("bo", 1)).await.unwrap();
    let eve = Node::start(with_key("eve", 2)).await.unwrap();
    let mut news_of_eve = eve.handle().subscribe(Some(0)).await.unwrap();
    sees(&ann.handle(), "bo", MemberState::Alive).await;
    sees(&bo.handle(), "ann", MemberState::Alive).await;
    hears(&mut news_of_eve, |event| match event {
        Event::Refused(Refusal::OtherKey { .. }) => Some(()),
        _ => None,
    })
    .await;
    assert_eq!(eve.handle().members().await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_handle_outlives_its_node_and_says_so() {
    let ann = Town::new().start("ann").await;
    let handle = ann.handle();
    let mut news = handle.subscribe(None).await.unwrap();
    ann.stop().await;
    assert_eq!(handle.members().await, Err(ApiError::Stopped));
    assert_eq!(handle.leave().await, Err(ApiError::Stopped));
    assert_eq!(handle.subscribe(None).await.unwrap_err(), ApiError::Stopped);
    assert_eq!(timeout(PATIENCE, news.next()).await.unwrap(), None);
}

#[tokio::test]
async fn a_node_that_is_dropped_lets_its_directory_go() {
    let town = Town::new();
    let dir = tempfile::tempdir().unwrap();
    let options = town.options_with_dir("ann", dir.path());
    let ann = Node::start(options.clone()).await.unwrap();
    let error = Node::start(options.clone()).await.unwrap_err();
    let pid = std::process::id().to_string();
    assert!(error.to_string().contains(&pid), "{error}");

    let handle = ann.handle();
    drop(ann);
    let freed = async {
        while handle.this().await.is_ok() {}
        while Node::start(options.clone()).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, freed).await.unwrap();
}
