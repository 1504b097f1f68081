//! Hardship: taken ports, bad directories, logs that nobody reads.

use std::net::TcpListener;
use std::process::Stdio;

use nix::sys::signal::Signal;

use crate::town::{Node, Town, dui, eventually, output, stderr};

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
    for trait_of_reader in ["gone", "stuck"] {
        let town = Town::new(trait_of_reader);
        let mut command = town.run(&["--log-level", "trace", "--client-port", "0"]);
        let port_file = tempfile::NamedTempFile::new().unwrap();
        drop(port_file);
        let mut ann = Unread::start(&mut command);
        let bo = town.start("bo", &[]);
        bo.sees(&ann.name, "alive");
        if trait_of_reader == "gone" {
            ann.stderr = None;
        }
        for number in 0..200 {
            let name = format!("noise-{number}");
            assert!(
                bo.ask(&["event", &name, &"x".repeat(4_000)])
                    .status
                    .success()
            );
        }
        eventually("the node still answers", || {
            let events =
                output(dui().args(["events", "noise-199", "--json", "--addr", &ann.client]));
            String::from_utf8(events.stdout)
                .unwrap()
                .contains("noise-199")
                .then_some(())
        });
        ann.child_signal(Signal::SIGTERM);
        assert_eq!(ann.ends(), Some(0), "{trait_of_reader}");
    }
}

/// A node whose log is read up to `ready` and never again.
struct Unread {
    child: std::process::Child,
    stderr: Option<std::io::BufReader<std::process::ChildStderr>>,
    name: String,
    client: String,
}

impl Unread {
    fn start(command: &mut std::process::Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let stderr = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut unread = Self {
            child,
            stderr: Some(stderr),
            name: String::new(),
            client: String::new(),
        };
        while unread.client.is_empty() {
            let mut line = String::new();
            let reader = unread.stderr.as_mut().unwrap();
            assert!(
                std::io::BufRead::read_line(reader, &mut line).unwrap() > 0,
                "it ended"
            );
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            if line["event"] == "ready" {
                unread.name = line["member"].as_str().unwrap().into();
                unread.client = line["client"].as_str().unwrap().into();
            }
        }
        unread
    }

    fn child_signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).unwrap();
    }

    fn ends(&mut self) -> Option<i32> {
        eventually("the process ends", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
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
