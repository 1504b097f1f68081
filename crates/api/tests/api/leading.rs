//! Leading over HTTP: who leads, the views, who votes, and handing over.

use axum::body::Body;
use axum::http::Request;
use dui_client::{
    Code, Leader, LeaderState, Manager, Part, Role, View, Watch, WatchEvent, WatchFilter,
};
use dui_node::core;

use crate::town::{DEADLINE, Resident, answer, eventually, next};

const LEADER: WatchFilter = WatchFilter {
    members: false,
    leader: true,
    events: dui_client::EventFilter::None,
    shared: None,
};

/// Who leads, once somebody does in the eyes of this node.
async fn led(node: &Resident) -> Leader {
    eventually("somebody leads", async || {
        node.client.leader().await.unwrap().is_led()
    })
    .await;
    node.client.leader().await.unwrap()
}

async fn metrics(node: &Resident) -> String {
    let request = Request::get("/metrics").body(Body::empty()).unwrap();
    let answer = answer(dui_api::health_router(node.app.clone()), request).await;
    String::from_utf8(answer.body).unwrap()
}

/// Three managers that all vote: the leader comes first.
async fn voters() -> Vec<Resident> {
    let mut town: Vec<Resident> = Resident::town(["ann", "bo", "cy"]).await.into();
    eventually("all vote", async || {
        let managers = town[1].client.managers().await.unwrap().managers;
        let votes = |one: &&Manager| matches!(one.part, Part::Leader | Part::Voter);
        managers.iter().filter(votes).count() == 3
    })
    .await;
    let leader = led(&town[1]).await.name.unwrap();
    let place = ["ann", "bo", "cy"].iter().position(|name| *name == leader);
    town.swap(0, place.unwrap());
    town
}

#[tokio::test]
async fn who_is_alone_leads_and_says_so_in_every_form() {
    let ann = Resident::start("ann", &[]).await;
    let leader = led(&ann).await;
    let this = ann.client.this().await.unwrap();
    assert_eq!(leader.id.as_deref(), Some(&*this.member.id));
    assert_eq!(leader.name.as_deref(), Some("ann"));
    assert_eq!(leader.address.as_deref(), Some(&*this.member.address));
    assert_eq!((leader.state, leader.why), (LeaderState::Led, None));
    assert_eq!(leader.cluster_id.as_ref().unwrap().len(), 32);
    assert!(leader.term.unwrap() > 0);
    assert!(this.revision >= leader.revision.unwrap(), "{this:?}");

    eventually("there is a view", async || {
        !ann.client.views(None).await.unwrap().views.is_empty()
    })
    .await;
    let views = ann.client.views(None).await.unwrap();
    assert_eq!(views.cluster_id, leader.cluster_id);
    assert_eq!(views.views[0].number, 1);
    assert_eq!(views.views[0].joined, views.members);
    assert_eq!(
        (&*views.members[0].name, views.members[0].role),
        ("ann", Role::Manager)
    );
    let later = ann.client.views(Some(1)).await.unwrap();
    assert!(later.views.is_empty() && later.members == views.members);

    let list = ann.client.managers().await.unwrap();
    assert_eq!(list.cluster_id, leader.cluster_id);
    let [one] = &list.managers[..] else {
        panic!("{list:?}");
    };
    assert_eq!((one.part, one.durable), (Part::Leader, Some(false)));
    assert!(one.matched.unwrap() > 0, "{one:?}");

    let text = metrics(&ann).await;
    for line in [
        "dui_leader_known 1\n",
        "dui_is_leader 1\n",
        "dui_view_number 1\n",
        "# TYPE dui_raft_appended_records_total counter\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let term = format!("dui_raft_term {}\n", leader.term.unwrap());
    assert!(text.contains(&term), "{text}");
}

#[tokio::test]
async fn a_worker_alone_says_why_nobody_leads() {
    let ann = Resident::start_with("ann", &[], |options| options.role = core::Role::Worker).await;
    let leader = ann.client.leader().await.unwrap();
    assert_eq!(leader.state, LeaderState::Unformed);
    assert_eq!((leader.name, leader.term), (None, None));
    eventually("it says why", async || {
        let why = ann.client.leader().await.unwrap().why;
        why.is_some_and(|why| why.contains("worker"))
    })
    .await;
    let none = ann.client.managers().await.unwrap();
    assert!(none.managers.is_empty() && none.cluster_id.is_none());
    assert!(ann.client.views(None).await.unwrap().cluster_id.is_none());
    let refused = ann.client.promote("ann").await.unwrap_err();
    assert!(refused.is(Code::NotAManager), "{refused:?}");
    let text = metrics(&ann).await;
    assert!(text.contains("dui_leader_known 0\n"), "{text}");
    assert!(!text.contains("dui_raft_"), "{text}");
}

#[tokio::test]
async fn a_manager_that_expects_others_is_not_ready_and_says_for_whom_it_waits() {
    let ann = Resident::start_with("ann", &[], |options| options.expect = Some(3)).await;
    let leader = ann.client.leader().await.unwrap();
    assert_eq!(leader.state, LeaderState::Unformed);
    let refused = ann.client.move_leader("ann").await.unwrap_err();
    assert!(refused.is(Code::NoLeader), "{refused:?}");
    let mut said = String::new();
    eventually("it says that it waits for a leader", async || {
        let refused = ann.health.probe(dui_client::Probe::Ready).await;
        let refused = refused.unwrap_err();
        assert!(refused.is(Code::NotReady), "{refused:?}");
        said = refused.to_string();
        let why = ann.client.leader().await.unwrap().why.unwrap();
        !why.is_empty() && said.contains(&why)
    })
    .await;
    assert!(said.contains("leader"), "{said}");
}

/// The next leader that is told of.
async fn leader_told(watch: &mut Watch) -> (Leader, String) {
    loop {
        let watched = next(watch).await;
        if let WatchEvent::LeaderChanged(leader) = watched.event {
            return (*leader, watched.id.unwrap());
        }
    }
}

async fn view_told(watch: &mut Watch) -> View {
    loop {
        if let WatchEvent::ViewChanged(view) = next(watch).await.event {
            return view;
        }
    }
}

#[tokio::test]
async fn a_watch_of_the_leader_begins_with_who_leads_and_tells_each_view() {
    let ann = Resident::start("ann", &[]).await;
    let mut early = ann.client.watch(&LEADER, None).await.unwrap();
    let first = next(&mut early).await;
    assert!(matches!(first.event, WatchEvent::Reset(_)), "{first:?}");
    let first = next(&mut early).await;
    assert!(
        matches!(first.event, WatchEvent::LeaderChanged(_)),
        "{first:?}"
    );
    let leader = led(&ann).await;

    eventually("there is a view", async || {
        !ann.client.views(None).await.unwrap().views.is_empty()
    })
    .await;
    let mut watch = ann.client.watch(&LEADER, None).await.unwrap();
    let (told, id) = leader_told(&mut watch).await;
    assert_eq!(told, leader);
    let seed = ann.node.peer_address();
    let bo = Resident::start("bo", &[seed]).await;
    let view = view_told(&mut watch).await;
    assert_eq!(view.joined[0].name, "bo");
    assert_eq!(Some(view.cluster_id), leader.cluster_id);

    // Who comes back is told the view again, and not who leads.
    let mut resumed = ann.client.watch(&LEADER, Some(&id)).await.unwrap();
    let again = next(&mut resumed).await;
    assert!(
        matches!(&again.event, WatchEvent::ViewChanged(same) if same.number == view.number),
        "{again:?}"
    );
    bo.client.leave().await.unwrap();
    let gone = view_told(&mut resumed).await;
    assert_eq!(gone.left, [bo.client.this().await.unwrap().member.id]);
    assert!(gone.failed.is_empty() && gone.joined.is_empty());
}

#[tokio::test]
async fn leadership_moves_to_whom_an_operator_names_and_everybody_is_told() {
    let town = voters().await;
    let (old, new) = (&town[0], &town[1]);
    let heir = new.client.this().await.unwrap().member;
    let before = led(old).await;
    let mut watch = old.client.watch(&LEADER, None).await.unwrap();
    assert_eq!(leader_told(&mut watch).await.0, before);

    let led = old.client.move_leader(&heir.name).await.unwrap();
    assert_eq!(led.id.as_deref(), Some(&*heir.id));
    assert!(
        led.revision > before.revision && led.term > before.term,
        "{before:?} {led:?}"
    );
    // To whom it is already changes nothing, and any node can be asked.
    let same = old.client.move_leader(&heir.id).await.unwrap();
    assert_eq!(same, led);
    let told = async { while leader_told(&mut watch).await.0 != led {} };
    tokio::time::timeout(DEADLINE, told).await.unwrap();
    assert!(metrics(new).await.contains("dui_is_leader 1\n"));
    assert!(metrics(old).await.contains("dui_is_leader 0\n"));
}

#[tokio::test]
async fn who_is_demoted_stands_by_until_it_is_promoted() {
    let town = voters().await;
    let other = town[1].client.this().await.unwrap().member;
    let part = async |wanted: Part| {
        eventually("its part changes", async || {
            let managers = town[0].client.managers().await.unwrap().managers;
            let one = managers.iter().find(|one: &&Manager| one.id == other.id);
            one.unwrap().part == wanted
        })
        .await;
    };
    let demoted = town[0].client.demote(&other.name).await.unwrap();
    assert_eq!(demoted.id, other.id);
    part(Part::Standby).await;
    let refused = town[0].client.move_leader(&other.name).await.unwrap_err();
    assert!(refused.is(Code::NotAVoter), "{refused:?}");
    town[0].client.promote(&other.name).await.unwrap();
    part(Part::Voter).await;
}
