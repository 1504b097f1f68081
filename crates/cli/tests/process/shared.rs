//! Shared entries through the binary: what was acknowledged is there, whatever happens to the process.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::town::{Node, Town, dui, eventually, output, stderr, stdout};

#[test]
fn any_bytes_come_back_as_they_went_in() {
    let town = Town::new("bytes");
    let ann = town.start("ann", &[]);
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let path = file.path().to_str().unwrap();
    let put = ann.ask(&["put", "a/../b", "--file", path, "--content-type", "image/x"]);
    assert!(put.status.success(), "{}", stderr(&put));
    assert_eq!(ann.ask(&["get", "a/../b"]).stdout, bytes);

    let mut from_stdin = dui()
        .args(["put", "stdin", "-", "--addr", &ann.field("client")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    from_stdin
        .stdin
        .take()
        .unwrap()
        .write_all(b"\0\xff\n")
        .unwrap();
    assert!(from_stdin.wait().unwrap().success());
    assert_eq!(ann.ask(&["get", "stdin"]).stdout, b"\0\xff\n");

    let entry: Value =
        serde_json::from_slice(&ann.ask(&["get", "a/../b", "--json"]).stdout).unwrap();
    assert_eq!(entry["content_type"], "image/x");
}

#[test]
fn entries_are_listed_deleted_and_missed_with_a_reason() {
    let town = Town::new("list");
    let ann = town.start("ann", &[]);
    for key in ["app/one", "app/two", "other"] {
        assert!(ann.ask(&["put", key, "-1", "--ttl", "1h"]).status.success());
    }
    let listed = stdout(&ann.ask(&["list", "app/"]));
    assert!(
        listed.contains("app/one") && !listed.contains("other"),
        "{listed}"
    );
    let lines = stdout(&ann.ask(&["list", "--json", "--limit", "2"]));
    assert_eq!(lines.lines().count(), 2, "{lines}");

    let deleted = ann.ask(&["delete", "app/one", "--json"]);
    let deleted: Value = serde_json::from_slice(&deleted.stdout).unwrap();
    assert_eq!(deleted["acked"], 1);
    for missing in [["get", "app/one"], ["delete", "app/one"]] {
        let answer = ann.ask(&missing);
        assert_eq!(answer.status.code(), Some(1));
        assert!(stderr(&answer).contains("'app/one'"), "{}", stderr(&answer));
    }
    let late = ann.ask(&["put", "a", "1", "--ack", "2", "--timeout", "50ms"]);
    assert_eq!(late.status.code(), Some(1));
    assert!(
        stderr(&late).contains("the write stays"),
        "{}",
        stderr(&late)
    );
}

/// Writes as fast as it can until told to stop; gives what was acknowledged
/// of each key, which counts up, and what was asked for and not answered.
fn write_numbers(address: &str, from: u64, stop: &AtomicBool) -> (u64, u64) {
    let (mut acknowledged, mut next) = (from, from);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = dui_client::Client::new(address).unwrap();
        while !stop.load(Ordering::Relaxed) {
            next += 1;
            let text = next.to_string();
            match client
                .put("counter", text, &dui_client::WriteOptions::default())
                .await
            {
                Ok(_) => acknowledged = next,
                Err(_) => break,
            }
        }
    });
    (acknowledged, next)
}

#[test]
fn a_node_killed_at_any_moment_keeps_all_that_it_acknowledged() {
    let town = Town::new("kill");
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let (mut acknowledged, mut asked) = (0, 0);
    let mut kills = 0;
    let end = Instant::now() + Duration::from_secs(8);
    while Instant::now() < end {
        let mut ann = town.start("ann", &["--data-dir", data]);
        let found = ann.ask(&["get", "counter"]);
        let found: u64 = stdout(&found).parse().unwrap_or(0);
        assert!(
            (acknowledged..=asked).contains(&found),
            "found {found} after {kills} kills; acknowledged {acknowledged}, asked for {asked}"
        );
        let address = ann.field("client");
        let stop = AtomicBool::new(false);
        // A moment that differs from round to round, in the middle of writes.
        let moment = Duration::from_micros(20_000 + 7_919 * (kills % 29));
        (acknowledged, asked) = std::thread::scope(|scope| {
            let writer = scope.spawn(|| write_numbers(&address, found, &stop));
            std::thread::sleep(moment);
            ann.signal(Signal::SIGKILL);
            stop.store(true, Ordering::Relaxed);
            writer.join().unwrap()
        });
        ann.ends();
        kills += 1;
    }
    assert!(
        kills >= 8 && acknowledged > 20,
        "{kills} kills, {acknowledged} writes"
    );
}

/// A node whose data directory is a file system of 2 MiB that it alone sees.
fn node_on_a_small_disk(town: &Town, mount: &Path) -> Node {
    let run = town.run(&["--name", "ann", "--data-dir", mount.to_str().unwrap()]);
    let mut command = std::process::Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c"]);
    command.arg(format!(
        "mount -t tmpfs -o size=2m none {} && exec \"$0\" \"$@\"",
        mount.display()
    ));
    command.arg(run.get_program()).args(run.get_args());
    for (name, value) in run.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Node::start(&mut command)
}

#[test]
fn a_full_disk_refuses_writes_keeps_what_is_there_and_recovers() {
    let town = Town::new("full");
    let directory = tempfile::tempdir().unwrap();
    let ann = node_on_a_small_disk(&town, directory.path());
    // The directory as that process sees it.
    let seen = format!("/proc/{}/root{}", ann.pid(), directory.path().display());
    let ballast = format!("{seen}/ballast");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![b'x'; 100_000]).unwrap();
    let put = |key: &str| ann.ask(&["put", key, "--file", file.path().to_str().unwrap()]);
    assert!(put("kept").status.success());
    // Whatever is left is taken, until nothing more goes in.
    let mut filling = std::fs::File::create(&ballast).unwrap();
    while filling.write_all(&[0; 4_096]).is_ok() {}

    let mut refused = None;
    for number in 0..30 {
        let answer = put(&format!("more/{number}"));
        if !answer.status.success() {
            refused = Some((number, stderr(&answer)));
            break;
        }
    }
    let (stored, reason) = refused.expect("the disk is full");
    assert!(reason.contains("free some space"), "{reason}");
    ann.says("entries_not_stored", |line| {
        line["remedy"] == "free some space"
    });
    // What was refused has not happened, what was acknowledged has.
    let missing = ann.ask(&["get", &format!("more/{stored}")]);
    assert_eq!(missing.status.code(), Some(1));
    assert_eq!(ann.ask(&["get", "kept"]).stdout.len(), 100_000);

    drop(filling);
    std::fs::remove_file(&ballast).unwrap();
    eventually("there is room again", || {
        put("again").status.success().then_some(())
    });
    ann.says("entries_stored", |_| true);
}

#[test]
fn a_damaged_directory_is_named_and_its_node_does_not_start() {
    let town = Town::new("damaged");
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let mut ann = town.start("ann", &["--data-dir", data]);
    for value in ["1", "2", "3"] {
        assert!(ann.ask(&["put", "a", value]).status.success());
    }
    ann.signal(Signal::SIGKILL);
    ann.ends();
    let file = directory.path().join("entries/log-0000000001");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[80] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let run = output(&mut town.run(&["--data-dir", data]));
    assert_eq!(run.status.code(), Some(78));
    let said = stderr(&run);
    assert!(
        said.contains("log-0000000001") && said.contains("at byte 56"),
        "{said}"
    );
}

#[test]
fn a_watch_shows_what_is_there_and_what_changes() {
    let town = Town::new("follow");
    let ann = town.start("ann", &[]);
    assert!(ann.ask(&["put", "app/one", "1"]).status.success());
    let mut watch = dui()
        .args([
            "watch",
            "--shared",
            "app/",
            "--json",
            "--addr",
            &ann.field("client"),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut events = lines.map(|line| -> Value { serde_json::from_str(&line.unwrap()).unwrap() });
    for event in ["reset", "shared_changed", "complete"] {
        assert_eq!(events.next().unwrap()["event"], event);
    }
    assert!(ann.ask(&["delete", "app/one"]).status.success());
    let deleted = events.next().unwrap();
    assert_eq!(deleted["data"]["change"], "deleted");
    assert_eq!(deleted["data"]["entry"]["key"], "app/one");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

/// The tags of ann, as this node has them.
fn tags_of_ann(node: &Node) -> Value {
    let members = node.members();
    let ann = members.into_iter().find(|member| member["name"] == "ann");
    ann.map_or(Value::Null, |ann| ann["tags"].clone())
}

#[test]
fn tags_are_seen_by_all_and_are_those_of_the_latest_start() {
    let town = Town::new("tags");
    let bo = town.start("bo", &[]);
    let directory = tempfile::tempdir().unwrap();
    let data = ["--data-dir", directory.path().to_str().unwrap()];
    let starts: [(&[&str], Value); 3] = [
        (
            &["--tag", "rack=a1", "--tag", "zone=b,empty="],
            serde_json::json!({"rack": "a1", "zone": "b", "empty": ""}),
        ),
        (&["--tag", "rack=z=9"], serde_json::json!({"rack": "z=9"})),
        (&[], serde_json::json!({})),
    ];
    for (flags, expected) in starts {
        let mut ann = town.start("ann", &[&data[..], flags].concat());
        for node in [&ann, &bo] {
            eventually("ann has her tags", || {
                (tags_of_ann(node) == expected).then_some(())
            });
        }
        let this = output(dui().args(["members", "--addr", &bo.field("client")]));
        assert_eq!(
            stdout(&this).contains("TAGS"),
            expected != serde_json::json!({})
        );
        ann.signal(Signal::SIGTERM);
        assert_eq!(ann.exit_code(), Some(0));
    }
}

#[test]
fn tags_can_be_changed_while_a_node_runs_and_junk_is_none() {
    let town = Town::new("retag");
    let ann = town.start("ann", &["--tag", "rack=a1"]);
    eventually("ann has her tags", || {
        (tags_of_ann(&ann) == serde_json::json!({"rack": "a1"})).then_some(())
    });
    let key = format!("dui/tags/{}", ann.field("id"));
    for (put, expected) in [
        (r#"{"rack":"b2"}"#, serde_json::json!({"rack": "b2"})),
        ("{}", serde_json::json!({})),
        (r#"{"rack":"c3"}"#, serde_json::json!({"rack": "c3"})),
        ("no tags", serde_json::json!({})),
    ] {
        assert!(ann.ask(&["put", &key, put]).status.success());
        assert_eq!(tags_of_ann(&ann), expected, "{put}");
    }
}

#[test]
fn a_tag_that_cannot_be_one_is_refused_with_a_reason() {
    for (tag, why) in [
        ("rack", "KEY=VALUE"),
        ("=a1", "1 to 128 bytes"),
        ("rack=a,rack=b", "twice"),
    ] {
        let refused = output(dui().args(["run", "--tag", tag]));
        assert_eq!(refused.status.code(), Some(2), "{tag}");
        assert!(stderr(&refused).contains(why), "{}", stderr(&refused));
    }
}

/// Tombstones live for a minute here, and clocks say that five have passed.
#[test]
fn two_that_were_apart_for_too_long_share_again_once_they_are_told_how() {
    let town = Town::new("parted");
    let directories = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let run = |place: usize| {
        let data = directories[place].path().to_str().unwrap();
        let name = ["ann", "bo"][place];
        town.run(&["--name", name, "--data-dir", data, "--tombstone-life", "1m"])
    };
    let ends = |mut node: Node| {
        node.signal(Signal::SIGTERM);
        node.ends();
    };
    let (ann, bo) = (Node::start(&mut run(0)), Node::start(&mut run(1)));
    ann.says("member_alive", |line| line["member"] == "bo");
    assert!(
        ann.ask(&["put", "both", "v", "--ack", "all"])
            .status
            .success()
    );
    ends(ann);
    assert!(bo.ask(&["put", "there", "v"]).status.success());
    ends(bo);

    let later = |place| {
        let mut command = run(place);
        command
            .env("LD_PRELOAD", faketime())
            .env("FAKETIME", "+5m")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        Node::start(&mut command)
    };
    let (ann, bo) = (later(0), later(1));
    let parted = bo.says("shared_parted", |line| line["member"] == "ann");
    let remedy = parted["remedy"].as_str().unwrap();
    assert!(remedy.contains("dui recover --shared keep"), "{remedy}");
    assert_eq!(ann.ask(&["get", "there"]).status.code(), Some(1));

    let unheard = bo.ask(&["recover", "--shared", "both"]);
    assert_eq!(unheard.status.code(), Some(2));
    assert!(
        stderr(&unheard).contains("keep or discard"),
        "{}",
        stderr(&unheard)
    );
    let kept = stdout(&bo.ask(&["recover", "--shared", "keep"]));
    assert!(kept.contains("kept 2 shared entries"), "{kept}");
    eventually("ann has what bo wrote", || {
        ann.ask(&["get", "there"]).status.success().then_some(())
    });
    let again = bo.ask(&["recover", "--shared", "discard"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        stderr(&again).contains("shared_parted"),
        "{}",
        stderr(&again)
    );
    assert_eq!(stdout(&ann.ask(&["get", "both"])), "v");
}

/// The library that moves a process's wall clock.
fn faketime() -> std::path::PathBuf {
    let libraries = std::fs::read_dir("/usr/lib").unwrap();
    let mut places = libraries.map(|entry| entry.unwrap().path().join("faketime/libfaketime.so.1"));
    let found = places.find(|path| path.exists());
    found.expect("install faketime: `make tools` does")
}
