//! Recovering over HTTP: what an operator decides, copies, and their refusals.

use std::path::Path;

use axum::body::Body;
use axum::http::Request;
use dui_client::{Client, Code, Error, LeaderState, Problem};

use crate::town::{Resident, answer, eventually};

async fn led(client: &Client) {
    eventually("somebody leads", async || {
        client.leader().await.unwrap().is_led()
    })
    .await;
}

fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> Problem {
    match result.unwrap_err() {
        Error::Problem(problem) => *problem,
        other => panic!("{other:?}"),
    }
}

async fn waits(name: &str, dir: &Path) -> Resident {
    Resident::start_with(name, &[], |options| {
        options.expect = Some(3);
        options.data_dir = Some(dir.join(name));
    })
    .await
}

#[tokio::test]
async fn what_cannot_be_decided_is_refused_with_its_code() {
    let ann = Resident::start("ann", &[]).await;
    led(&ann.client).await;
    let client = &ann.client;
    let problem = refused(client.recover_quorum(false).await);
    assert!(problem.is(Code::HasQuorum), "{problem:?}");
    assert!(refused(client.recover_reset().await).is(Code::NoDataDir));
    assert!(refused(client.abandon_founding().await).is(Code::NotFounding));
    for query in [
        "",
        "?quorum=true&reset=true",
        "?shared=keep&quorum=true",
        "?shared=keep&force=true",
        "?quorum=yes",
        "?all=true",
    ] {
        let request = Request::post(format!("/v1/recover{query}")).header("host", "127.0.0.1:7777");
        let answer = answer(ann.router(), request.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 400, "{query}");
    }
}

#[tokio::test]
async fn a_copy_is_restored_where_there_is_no_cluster_and_nowhere_else() {
    let dirs = tempfile::tempdir().unwrap();
    let ann = Resident::start("ann", &[]).await;
    led(&ann.client).await;
    let before = ann.client.leader().await.unwrap();
    let copy = ann.client.backup().await.unwrap();
    let problem = refused(ann.client.restore(copy.clone()).await);
    assert!(problem.is(Code::HasCluster), "{problem:?}");
    ann.node.stop().await;

    let bo = waits("bo", dirs.path()).await;
    let problem = refused(bo.client.restore(copy.slice(..copy.len() - 1)).await);
    assert!(problem.is(Code::BadBackup), "{problem:?}");
    assert!(problem.detail.contains("cut"), "{problem:?}");
    let state = bo.client.leader().await.unwrap().state;
    assert_eq!(state, LeaderState::Unformed, "nothing was changed");
    let restored = bo.client.restore(copy).await.unwrap();
    assert_eq!(Some(restored.recovered_from), before.cluster_id);
    assert!(restored.revision > restored.revision_before + (1 << 40));
    let after = bo.client.leader().await.unwrap();
    assert_eq!(after.cluster_id, Some(restored.cluster_id));
    assert_eq!(after.revision, Some(restored.revision));

    let reset = bo.client.recover_reset().await.unwrap();
    assert_eq!(reset.id, bo.client.this().await.unwrap().member.id);
    assert!(reset.restart && dirs.path().join("bo/reset").exists());
}

#[tokio::test]
async fn who_forces_it_gets_another_cluster() {
    let ann = Resident::start("ann", &[]).await;
    led(&ann.client).await;
    let before = ann.client.leader().await.unwrap();
    let refounded = ann.client.recover_quorum(true).await.unwrap();
    assert_eq!(Some(refounded.recovered_from), before.cluster_id);
    let after = ann.client.leader().await.unwrap();
    assert_eq!(after.cluster_id, Some(refounded.cluster_id));
    assert!(after.revision > before.revision);
}
