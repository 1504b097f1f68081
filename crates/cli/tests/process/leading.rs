//! Leading: who leads, the views and the managers, for people and programs.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::town::{Node, Town, dui, eventually, stderr, stdout};

/// What a command prints with `--json`.
fn json(node: &Node, command: &[&str]) -> Value {
    let answer = node.ask(&[command, &["--json"]].concat());
    serde_json::from_slice(&answer.stdout).unwrap_or_else(|_| panic!("{}", stderr(&answer)))
}

/// Who leads, once somebody does.
fn leader(node: &Node) -> Value {
    eventually("somebody leads", || {
        let answer = node.ask(&["leader", "--json"]);
        let leader: Value = serde_json::from_slice(&answer.stdout).unwrap();
        let led = leader["state"] == "led";
        assert_eq!(answer.status.code(), Some(i32::from(!led)), "{leader}");
        led.then_some(leader)
    })
}

#[test]
fn a_node_alone_leads_and_every_command_says_so() {
    let town = Town::new("lead");
    let ann = town.start("ann", &[]);
    let told = leader(&ann);
    assert_eq!(told["name"], "ann");
    assert_eq!(told["id"], ann.field("id"));
    assert!(told.get("why").is_none());

    let table = stdout(&ann.ask(&["leader"]));
    let mut lines = table.lines();
    assert!(lines.next().unwrap().starts_with("NAME"), "{table}");
    let line = lines.next().unwrap();
    assert!(line.starts_with("ann") && line.ends_with("led"), "{table}");
    assert!(
        table.lines().all(|line| line.chars().count() <= 80),
        "{table}"
    );

    let views = eventually("there is a view", || {
        let views = json(&ann, &["views"]);
        (views["views"] != Value::Array(Vec::new())).then_some(views)
    });
    assert_eq!(views["cluster_id"], told["cluster_id"]);
    assert_eq!(views["views"][0]["joined"][0]["name"], "ann");
    let table = stdout(&ann.ask(&["views"]));
    assert!(table.lines().nth(1).unwrap().ends_with("  +ann"), "{table}");

    let managers = json(&ann, &["managers"]);
    assert_eq!(managers["managers"][0]["part"], "leader");
    assert_eq!(managers["managers"][0]["durable"], false);
    let table = stdout(&ann.ask(&["managers"]));
    assert!(
        table.contains("leader") && table.contains("MATCHED"),
        "{table}"
    );

    let moved = ann.ask(&["leader", "move", "ann"]);
    assert!(moved.status.success(), "{}", stderr(&moved));
    let nobody = ann.ask(&["leader", "move", "bo"]);
    assert_eq!(nobody.status.code(), Some(1));
    assert!(stderr(&nobody).contains("'bo'"), "{}", stderr(&nobody));
}

#[test]
fn a_cluster_without_a_leader_says_why_and_is_exit_code_1() {
    let town = Town::new("leaderless");
    let ann = town.start("ann", &["--expect", "3"]);
    let (code, text) = eventually("it says why", || {
        let answer = ann.ask(&["leader"]);
        let text = stdout(&answer);
        (text.lines().count() > 3).then_some((answer.status.code(), text))
    });
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("unformed"), "{text}");
    let told = json(&ann, &["leader"]);
    assert!(told["name"].is_null() && told["term"].is_null(), "{told}");
    assert!(told["why"].is_string(), "{told}");
    let refused = ann.ask(&["managers", "demote", "ann"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("nobody leads"),
        "{}",
        stderr(&refused)
    );
}

#[test]
fn three_managers_vote_and_leadership_moves_by_name() {
    let town = Town::new("vote");
    let nodes = ["ann", "bo", "cy"].map(|name| town.start(name, &[]));
    eventually("all vote", || {
        let managers = json(&nodes[0], &["managers"]);
        let managers = managers["managers"].as_array().unwrap();
        let votes = |one: &&Value| one["part"] == "leader" || one["part"] == "voter";
        (managers.iter().filter(votes).count() == 3).then_some(())
    });
    let before = leader(&nodes[0]);
    let heir = if before["name"] == "bo" { "cy" } else { "bo" };
    let mut watch = dui()
        .args(["leader", "--watch", "--json", "--addr"])
        .arg(nodes[0].field("client"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut told = lines.map(|line| -> Value { serde_json::from_str(&line.unwrap()).unwrap() });
    assert_eq!(told.next().unwrap()["name"], before["name"]);

    let moved = nodes[1].ask(&["leader", "move", heir]);
    assert!(moved.status.success(), "{}", stderr(&moved));
    assert!(stdout(&moved).contains(heir), "{}", stdout(&moved));
    assert!(told.any(|leader| leader["name"] == heir));
    watch.kill().unwrap();
    watch.wait().unwrap();
    let after = leader(&nodes[0]);
    assert!(after["revision"].as_u64() > before["revision"].as_u64());

    let demoted = stdout(&nodes[0].ask(&["managers", "demote", "ann"]));
    assert!(demoted.starts_with("ann is to stand by"), "{demoted}");
    let promoted = stdout(&nodes[0].ask(&["managers", "promote", "ann"]));
    assert!(promoted.starts_with("ann may vote"), "{promoted}");
}

#[test]
fn a_watch_shows_views_as_they_come() {
    let town = Town::new("views");
    let ann = town.start("ann", &[]);
    leader(&ann);
    let mut watch = dui()
        .args(["views", "--watch", "--addr", &ann.field("client")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut line = || lines.next().unwrap().unwrap();
    assert!(line().starts_with("NUMBER"));
    assert!(line().ends_with("  +ann"));
    let _bo = town.start("bo", &[]);
    assert!(line().ends_with("  +bo"));
    watch.kill().unwrap();
    watch.wait().unwrap();
}
