//! Goodbye: every way in which a node may end, and what the others make of it.

use nix::sys::signal::Signal;

use crate::town::{Node, Town, eventually, stdout};

fn two(story: &str, arguments: &[&str]) -> (Node, Node) {
    let town = Town::new(story);
    let ann = town.start("ann", &[]);
    let bo = town.start("bo", arguments);
    ann.sees("bo", "alive");
    bo.sees("ann", "alive");
    (ann, bo)
}

#[test]
fn a_terminated_node_has_left_and_was_never_failed() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let (ann, mut bo) = two("leave", &[]);
        bo.signal(signal);
        assert_eq!(bo.exit_code(), Some(0), "{signal}");
        ann.says_of("member_left", "bo");
        ann.sees("bo", "left");
        assert!(!ann.said("member_failed"), "{signal}");
    }
}

#[test]
fn a_node_alone_leaves_at_once() {
    let mut ann = Town::new("alone").start("ann", &["--leave-timeout", "1h"]);
    ann.signal(Signal::SIGTERM);
    assert_eq!(ann.exit_code(), Some(0));
}

#[test]
fn the_second_signal_does_not_wait() {
    let mut ann = Town::new("second").start("ann", &["--drain", "1h"]);
    ann.signal(Signal::SIGTERM);
    ann.says("leaving", |_| true);
    // One that comes at once would be taken for an echo of the first.
    let status = eventually("a second signal ends it", || {
        ann.signal(Signal::SIGINT);
        ann.ended()
    });
    assert_eq!(status.code(), Some(128 + 2));
}

#[test]
fn a_node_that_quits_says_no_goodbye() {
    let (ann, mut bo) = two("quit", &[]);
    bo.signal(Signal::SIGQUIT);
    assert_eq!(bo.exit_code(), Some(131));
    ann.sees("bo", "failed");
    assert!(!ann.said("member_left"));
}

#[test]
fn a_killed_node_has_failed_and_why_tells() {
    let (ann, mut bo) = two("kill", &[]);
    bo.signal(Signal::SIGKILL);
    bo.ends();
    ann.says_of("member_failed", "bo");
    let why = ann.ask(&["why", "bo"]);
    assert!(why.status.success());
    assert!(
        stdout(&why).starts_with("bo is failed since"),
        "{}",
        stdout(&why)
    );
}

#[test]
fn leaving_by_command_keeps_the_process_up_until_its_signal() {
    let (ann, mut bo) = two("command", &["--drain", "1h"]);
    let left = bo.ask(&["leave", "--wait"]);
    assert!(left.status.success());
    assert_eq!(stdout(&left), "left; 1 of 1 peers confirmed\n");
    ann.sees("bo", "left");
    bo.sees("bo", "left");
    assert!(
        bo.ask(&["leave", "--wait"]).status.success(),
        "leaving again changes nothing"
    );
    bo.signal(Signal::SIGTERM);
    assert_eq!(bo.exit_code(), Some(0));
}

#[test]
fn a_node_that_drains_is_not_ready_and_goes_on_serving() {
    let (ann, bo) = two("drain", &["--drain", "1h"]);
    bo.signal(Signal::SIGTERM);
    bo.says("leaving", |_| true);
    let health = crate::town::output(crate::town::dui().args([
        "health",
        "--ready",
        "--addr",
        &bo.field("health"),
    ]));
    assert_eq!(health.status.code(), Some(1));
    assert_eq!(bo.members().len(), 2);
    ann.sees("bo", "alive");
}

#[test]
fn a_watcher_hears_that_the_node_leaves() {
    let (_ann, mut bo) = two("watcher", &[]);
    let mut watch = crate::town::dui()
        .args(["watch", "--json", "--addr", &bo.field("client")])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().unwrap()));
    assert!(lines.next().unwrap().unwrap().contains("\"reset\""));
    bo.signal(Signal::SIGTERM);
    let last = lines.map_while(Result::ok).last();
    assert!(last.unwrap_or_default().contains("\"leaving\""));
    assert!(watch.wait().unwrap().success());
    assert_eq!(bo.exit_code(), Some(0));
}
