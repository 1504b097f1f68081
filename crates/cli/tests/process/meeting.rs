//! Meeting: nodes start, find each other, and come back as who they were.

use nix::sys::signal::Signal;

use crate::town::{Town, dui, eventually, output, stdout};

#[test]
fn a_node_is_ready_at_once_and_answers() {
    let town = Town::new("ready");
    let ann = town.start("ann", &[]);
    assert_eq!(ann.field("member"), "ann");
    assert_eq!(ann.field("id").len(), 32);
    let members = ann.members();
    assert_eq!(members.len(), 1);
    assert_eq!(members[0]["address"], ann.field("address"));
    let health = output(dui().args(["health", "--live", "--addr", &ann.field("health")]));
    assert!(health.status.success());
    assert_eq!(stdout(&health), "live\n");
}

#[test]
fn nodes_find_each_other_without_being_told_where() {
    let town = Town::new("meet");
    let nodes = ["ann", "bo", "cy"].map(|name| town.start(name, &[]));
    for node in &nodes {
        for name in ["ann", "bo", "cy"] {
            node.sees(name, "alive");
        }
    }
    let mut clients = nodes.each_ref().map(|node| node.field("client"));
    clients.sort();
    assert!(
        clients.windows(2).all(|pair| pair[0] != pair[1]),
        "{clients:?}"
    );
}

#[test]
fn one_address_is_enough_where_nothing_is_discovered() {
    let town = Town::new("join");
    let ann = town.start("ann", &["--discovery", "none"]);
    let join = ann.field("address");
    let bo = town.start("bo", &["--discovery", "none", "--join", &join]);
    ann.sees("bo", "alive");
    bo.sees("ann", "alive");
}

#[test]
fn nodes_with_one_key_meet_and_strangers_stay_out() {
    let directory = tempfile::tempdir().unwrap();
    let town = Town::new("key");
    let [ours, theirs] = ["ours", "theirs"].map(|name| {
        let path = directory.path().join(name);
        let path = path.to_str().unwrap().to_owned();
        assert!(
            output(dui().args(["keys", "generate", "--out", &path]))
                .status
                .success()
        );
        path
    });
    let ann = town.start("ann", &["--key-file", &ours]);
    let _eve = town.start("eve", &["--key-file", &theirs]);
    let bo = town.start("bo", &["--key-file", &ours]);
    bo.sees("ann", "alive");
    ann.says("refused", |line| line["reason"].to_string().contains("key"));
    assert!(ann.members().iter().all(|member| member["name"] != "eve"));
}

#[test]
fn a_node_comes_back_as_itself_with_a_higher_incarnation() {
    let town = Town::new("return");
    let directory = tempfile::tempdir().unwrap();
    let data = ["--data-dir", directory.path().to_str().unwrap()];
    let watcher = town.start("watcher", &[]);
    let mut first = town.start("ann", &data);
    watcher.sees("ann", "alive");
    first.signal(Signal::SIGKILL);
    first.ends();
    let second = town.start("ann", &data);
    assert_eq!(second.field("id"), first.field("id"));
    let before = first.says("ready", |_| true)["incarnation"].as_u64();
    let after = second.says("ready", |_| true)["incarnation"].as_u64();
    assert!(before.is_some() && after > before, "{before:?} {after:?}");
    eventually("the watcher lists the new incarnation", || {
        let members = watcher.members();
        let listed = members.iter().any(|member| {
            member["id"] == second.field("id") && member["incarnation"].as_u64() >= after
        });
        listed.then_some(())
    });
    let anns = watcher
        .members()
        .into_iter()
        .filter(|member| member["name"] == "ann");
    assert_eq!(anns.count(), 1);
}
