//! Asking: the commands for people and programs.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::town::{Town, dui, eventually, output, stderr, stdout};

#[test]
fn members_are_a_table_of_at_most_80_columns() {
    let town = Town::new("table");
    let ann = town.start(&"a".repeat(63), &[]);
    let table = stdout(&ann.ask(&["members"]));
    assert!(table.starts_with("NAME"), "{table}");
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(
        table.lines().all(|line| line.chars().count() <= 80),
        "{table}"
    );
    assert!(!table.contains('\x1b'), "{table}");
    assert_eq!(
        stdout(&ann.ask(&["members", "--state", "failed"]))
            .lines()
            .count(),
        1
    );
}

#[test]
fn an_event_reaches_the_other_node() {
    let town = Town::new("event");
    let (ann, bo) = (town.start("ann", &[]), town.start("bo", &[]));
    ann.sees("bo", "alive");
    assert!(ann.ask(&["event", "deploy", "v1.2"]).status.success());
    bo.says("user_event", |line| line["name"] == "deploy");
    let events = stdout(&bo.ask(&["events", "deploy"]));
    assert!(
        events.contains("deploy") && events.contains("v1.2"),
        "{events}"
    );
    let too_large = ann.ask(&["event", "deploy", &"x".repeat(8 * 1024 + 1)]);
    assert_eq!(too_large.status.code(), Some(1));
    let text = stderr(&too_large);
    assert!(text.contains("larger"), "{text}");
}

#[test]
fn a_forgotten_member_is_gone_everywhere() {
    let town = Town::new("forget");
    let (ann, bo) = (town.start("ann", &[]), town.start("bo", &[]));
    let mut cy = town.start("cy", &[]);
    for node in [&ann, &bo] {
        node.sees("cy", "alive");
    }
    let refused = ann.ask(&["forget", "cy"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("force"), "{}", stderr(&refused));
    cy.signal(Signal::SIGKILL);
    cy.ends();
    ann.sees("cy", "failed");
    assert!(ann.ask(&["forget", "cy"]).status.success());
    eventually("bo forgets cy too", || {
        bo.members()
            .iter()
            .all(|member| member["name"] != "cy")
            .then_some(())
    });
}

#[test]
fn nobody_home_says_how_to_start_a_node() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let members = output(dui().args(["members", "--addr", &address]));
    assert_eq!(members.status.code(), Some(1));
    assert!(stderr(&members).contains("dui run"), "{}", stderr(&members));
}

#[test]
fn a_watch_that_nobody_reads_ends_without_waiting_for_news() {
    let town = Town::new("abandoned");
    let ann = town.start("ann", &[]);
    let mut watch = dui()
        .args(["members", "--watch", "--addr", &ann.field("client")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    let mut reader = BufReader::new(watch.stdout.take().unwrap());
    reader.read_line(&mut first).unwrap();
    assert!(first.starts_with("NAME"), "{first}");
    drop(reader);
    let ended = eventually("the watch ends", || watch.try_wait().unwrap());
    assert!(ended.success(), "{ended}");
}
