//! Hardship: taken ports, bad directories, logs that nobody reads.

use std::net::TcpListener;

use nix::sys::signal::Signal;

use crate::town::{Node, Reader, Town, output, stderr, stdout};

#[test]
fn a_taken_port_that_was_asked_for_is_named() {
    let town = Town::new("taken");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for flag in ["--client-port", "--health-port", "--peer-port"] {
        let run = output(&mut town.run(&[flag, &port]));
        assert_eq!(run.status.code(), Some(78), "{flag}");
        assert!(stderr(&run).contains(&port), "{flag}: {}", stderr(&run));
    }
}

#[test]
fn the_network_needs_a_key() {
    let town = Town::new("network");
    let run = output(&mut town.run(&["--bind", "0.0.0.0", "--advertise", "192.0.2.1"]));
    assert_eq!(run.status.code(), Some(78));
    assert!(
        stderr(&run).contains("dui keys generate"),
        "{}",
        stderr(&run)
    );
}

#[test]
fn a_locked_data_directory_names_the_process_that_has_it() {
    let town = Town::new("locked");
    let directory = tempfile::tempdir().unwrap();
    let data = ["--data-dir", directory.path().to_str().unwrap()];
    let ann = town.start("ann", &data);
    let second = output(&mut town.run(&data));
    assert_eq!(second.status.code(), Some(78));
    assert!(
        stderr(&second).contains(&ann.pid().to_string()),
        "{}",
        stderr(&second)
    );
}

#[test]
fn a_data_directory_that_cannot_be_written_is_named() {
    let town = Town::new("readonly");
    let run = output(&mut town.run(&["--data-dir", "/proc/dui"]));
    assert_eq!(run.status.code(), Some(78));
    assert!(stderr(&run).contains("/proc/dui"), "{}", stderr(&run));
}

#[test]
fn a_node_outlives_the_reader_of_its_log() {
    for (story, reader) in [("gone", Reader::GoesAway), ("asleep", Reader::Sleeps)] {
        let town = Town::new(story);
        let mut ann = town.start("ann", &["--log-level", "trace"]);
        ann.set_reader(reader);
        for number in 0..200 {
            let name = format!("noise-{number}");
            let said = ann.ask(&["event", &name, &"x".repeat(4_000)]);
            assert!(said.status.success(), "{story}: {}", stderr(&said));
        }
        assert!(stdout(&ann.ask(&["events", "noise-199"])).contains("noise-199"));
        ann.signal(Signal::SIGTERM);
        assert_eq!(ann.exit_code(), Some(0), "{story}");
    }
}

#[test]
fn a_hang_up_without_a_terminal_reloads_the_log_level() {
    let town = Town::new("reload");
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("dui.toml");
    std::fs::write(&config, "log-level = 'info'\n").unwrap();
    let run = town.run(&["--config", config.to_str().unwrap(), "--name", "ann"]);
    // As nohup does, so that the test may run in a terminal.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$@\"", "sh"]);
    shell.arg(run.get_program()).args(run.get_args());
    let mut ann = Node::start(&mut shell);
    std::fs::write(&config, "log-level = 'debug'\n").unwrap();
    ann.signal(Signal::SIGHUP);
    ann.says("reloaded", |line| line["log_level"] == "DEBUG");
    std::fs::write(&config, "log-level = 'loud'\n").unwrap();
    ann.signal(Signal::SIGHUP);
    ann.says("reload_failed", |line| {
        line["reason"].to_string().contains("dui.toml:1")
    });
    ann.signal(Signal::SIGTERM);
    assert_eq!(ann.exit_code(), Some(0));
}
