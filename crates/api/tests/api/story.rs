//! Nodes of a town, seen and driven through their API by the Rust client.

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use dui_client::{Code, Error, EventFilter, MemberState, Payload, Probe, WatchEvent, WatchFilter};
use tower::ServiceExt;

use crate::town::{DEADLINE, Resident, answer, cluster, eventually, next};

#[tokio::test]
async fn two_nodes_see_each_other_and_tell_it_in_every_form() {
    let [ann, bo] = Resident::town(["ann", "bo"]).await;

    let this = ann.client.this().await.unwrap();
    assert_eq!(this.member.name, "ann");
    assert_eq!(this.cluster, cluster().to_string());
    assert_eq!(
        this.client_address,
        ann.client.address().trim_start_matches("http://")
    );
    assert_eq!((this.key, this.leaving), (None, false));

    let members = ann.client.members(&[]).await.unwrap();
    let names: Vec<_> = members.iter().map(|member| &*member.name).collect();
    assert_eq!(names, ["ann", "bo"]);
    assert_eq!(members[1].address, bo.node.peer_address().to_string());
    assert!(members[1].since.ends_with('Z'), "{}", members[1].since);
    let gone = [MemberState::Failed, MemberState::Left];
    assert_eq!(ann.client.members(&gone).await.unwrap(), []);

    let by_name = ann.client.member("bo").await.unwrap();
    let by_id = ann.client.member(&by_name.id).await.unwrap();
    assert_eq!(by_id.id, by_name.id);
    assert_eq!(ann.client.why("bo").await.unwrap().member.id, by_name.id);

    let found = bo.client.discovery().await.unwrap();
    assert_eq!(found.lost, Vec::<String>::new());

    for probe in [Probe::Live, Probe::Started, Probe::Ready] {
        ann.health.probe(probe).await.unwrap();
    }
}

#[tokio::test]
async fn metrics_count_members_and_packets() {
    let [ann, _bo] = Resident::town(["ann", "bo"]).await;
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let answer = answer(dui_api::health_router(ann.app.clone()), request).await;
    assert_eq!(
        answer.content_type,
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = String::from_utf8(answer.body).unwrap();
    assert!(text.contains("dui_members{state=\"alive\"} 2\n"), "{text}");
    assert!(text.contains("dui_shared_entries 0\n"), "{text}");
    assert!(
        text.contains("# TYPE dui_packets_sent_total counter\n"),
        "{text}"
    );
    let sent = text
        .lines()
        .find_map(|line| line.strip_prefix("dui_packets_sent_total "));
    assert!(sent.unwrap().parse::<u64>().unwrap() > 0);
}

#[tokio::test]
async fn an_event_arrives_byte_for_byte_at_every_node() {
    let [ann, bo] = Resident::town(["ann", "bo"]).await;
    let deploys = WatchFilter {
        members: false,
        events: EventFilter::Named("de/ploy ü".into()),
        ..WatchFilter::default()
    };
    let mut watch = bo.client.watch(&deploys, None).await.unwrap();
    ann.client.publish("other", b"x".to_vec()).await.unwrap();
    let sent = ann
        .client
        .publish("de/ploy ü", vec![0xff, 0x00])
        .await
        .unwrap();
    assert_eq!(sent.payload.as_bytes(), [0xff, 0x00]);
    assert!(matches!(sent.payload, Payload::Base64(_)));

    assert_eq!(
        next(&mut watch).await.event,
        WatchEvent::UserEvent(sent.clone())
    );
    assert_eq!(bo.client.events(Some("de/ploy ü")).await.unwrap(), [sent]);
    eventually("both nodes list the same", async || {
        let (one, two) = (ann.client.events(None).await, bo.client.events(None).await);
        one.as_ref().unwrap().len() == 2 && one == two
    })
    .await;
}

#[tokio::test]
async fn a_watch_begins_with_the_present_and_resumes_without_gap_or_repeat() {
    let ann = Resident::start("ann", &[]).await;
    let everything = WatchFilter {
        leader: false,
        ..WatchFilter::all()
    };
    let mut watch = ann.client.watch(&everything, None).await.unwrap();
    let WatchEvent::Reset(present) = next(&mut watch).await.event else {
        panic!("the present state comes first");
    };
    assert_eq!(present.members.len(), 1);

    for payload in ["1", "2", "3"] {
        ann.client.publish("count", payload.into()).await.unwrap();
    }
    let first = next(&mut watch).await;
    drop(watch);
    let payload = |event| match event {
        WatchEvent::UserEvent(event) => String::from_utf8(event.payload.as_bytes().into()).unwrap(),
        other => panic!("a user event, not {other:?}"),
    };
    assert_eq!(payload(first.event), "1");

    let mut resumed = ann
        .client
        .watch(&everything, first.id.as_deref())
        .await
        .unwrap();
    assert_eq!(payload(next(&mut resumed).await.event), "2");
    assert_eq!(payload(next(&mut resumed).await.event), "3");

    let elsewhere = format!("{}-1", "0".repeat(32));
    let mut anew = ann
        .client
        .watch(&everything, Some(&elsewhere))
        .await
        .unwrap();
    let reset = next(&mut anew).await;
    assert!(matches!(reset.event, WatchEvent::Reset(_)), "{reset:?}");
    ann.client.publish("count", b"4".to_vec()).await.unwrap();
    assert_eq!(payload(next(&mut anew).await.event), "4");

    let mut from_reset = ann
        .client
        .watch(&everything, reset.id.as_deref())
        .await
        .unwrap();
    assert_eq!(payload(next(&mut from_reset).await.event), "4");
}

#[tokio::test]
async fn who_leaves_says_so_everywhere_and_stays_up() {
    let [ann, bo] = Resident::town(["ann", "bo"]).await;
    let mut at_ann = ann.client.watch(&WatchFilter::all(), None).await.unwrap();
    let members = WatchFilter {
        members: true,
        events: EventFilter::None,
        ..WatchFilter::default()
    };
    let mut at_bo = bo.client.watch(&members, None).await.unwrap();
    assert!(matches!(next(&mut at_bo).await.event, WatchEvent::Reset(_)));

    let outcome = ann.client.leave().await.unwrap();
    assert_eq!(outcome.state, MemberState::Left);
    assert_eq!((outcome.acked, outcome.wanted), (1, 1));
    assert_eq!(ann.client.leave().await.unwrap().state, MemberState::Left);

    while next(&mut at_ann).await.event != WatchEvent::Leaving {}
    assert_eq!(
        tokio::time::timeout(DEADLINE, at_ann.next()).await,
        Ok(None)
    );
    loop {
        match next(&mut at_bo).await.event {
            WatchEvent::MemberLeft(member) => break assert_eq!(member.name, "ann"),
            WatchEvent::MemberFailed(member) => panic!("{} left and did not fail", member.name),
            _ => {}
        }
    }

    assert!(ann.client.this().await.unwrap().leaving);
    ann.health.probe(Probe::Live).await.unwrap();
    assert!(
        ann.health
            .probe(Probe::Ready)
            .await
            .unwrap_err()
            .is(Code::NotReady)
    );
    let late = ann.client.watch(&members, None).await.unwrap_err();
    assert!(late.is(Code::Leaving), "{late:?}");
    let mute = ann.client.publish("deploy", Vec::new()).await.unwrap_err();
    assert!(mute.is(Code::Leaving), "{mute:?}");
}

#[tokio::test]
async fn a_live_member_is_forgotten_only_by_force_and_a_shared_name_names_nobody() {
    let [ann, bo, _other_bo] = Resident::town(["ann", "bo", "bo"]).await;
    let Err(Error::Problem(ambiguous)) = ann.client.forget("bo", true).await else {
        panic!("two members are called bo");
    };
    assert!(ambiguous.is(Code::AmbiguousName));
    assert_eq!(ambiguous.ids.len(), 2);

    let id = bo.client.this().await.unwrap().member.id;
    assert!(ambiguous.ids.contains(&id));
    let alive = ann.client.forget(&id, false).await.unwrap_err();
    assert!(alive.is(Code::MemberAlive), "{alive:?}");

    let mut watch = ann.client.watch(&WatchFilter::all(), None).await.unwrap();
    assert_eq!(ann.client.forget(&id, true).await.unwrap().id, id);
    loop {
        if let WatchEvent::MemberForgotten(gone) = next(&mut watch).await.event {
            assert_eq!((gone.member.id, &*gone.reason), (id.clone(), "operator"));
            break;
        }
    }
    let unknown = ann.client.member(&id).await.unwrap_err();
    assert!(unknown.is(Code::UnknownMember), "{unknown:?}");
}

#[tokio::test]
async fn the_end_of_a_server_ends_its_streams_with_a_goodbye() {
    let ann = Resident::start("ann", &[]).await;
    let mut watch = ann.client.watch(&WatchFilter::all(), None).await.unwrap();
    assert!(matches!(next(&mut watch).await.event, WatchEvent::Reset(_)));
    let client = ann.client.clone();
    ann.stop_serving().await;
    while next(&mut watch).await.event != WatchEvent::Leaving {}
    let error = client.this().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn one_stream_too_many_is_refused_until_another_ends() {
    let ann = Resident::start("ann", &[]).await;
    let watch = async || {
        let local: std::net::SocketAddr = "127.0.0.1:50000".parse().unwrap();
        let request = Request::get("/v1/watch?events").header("host", "localhost");
        let request = request.extension(ConnectInfo(local)).body(Body::empty());
        ann.router().oneshot(request.unwrap()).await.unwrap()
    };
    let mut streams = Vec::new();
    for _ in 0..dui_api::WATCHERS_MAX {
        streams.push(watch().await);
    }
    assert!(streams.iter().all(|stream| stream.status() == 200));
    assert_eq!(watch().await.status(), 503);
    let refused = ann
        .client
        .watch(&WatchFilter::all(), None)
        .await
        .unwrap_err();
    assert!(refused.is(Code::TooManyWatchers), "{refused:?}");
    streams.pop();
    assert_eq!(watch().await.status(), 200);
}
