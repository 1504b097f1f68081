//! `dui up` where nothing is drawn: pictures one after another, and an end.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::town::{PATIENCE, dui, eventually};

/// A running `dui up`; its nodes end with it.
struct Up {
    child: std::process::Child,
    lines: Receiver<String>,
}

impl Up {
    fn start(nodes: &str) -> Self {
        let mut child = dui()
            .args(["up", "--nodes", nodes])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (shown, lines) = channel();
        std::thread::spawn(move || {
            let mut lines = stdout.lines().map_while(Result::ok);
            // Ends when the story does.
            lines.all(|line| shown.send(line).is_ok())
        });
        Self { child, lines }
    }

    /// Reads on to a line that holds `text`.
    fn shows(&mut self, text: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("no {text}: {error}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    fn exit_code(&mut self) -> Option<i32> {
        eventually("dui up ends", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn three_nodes_find_each_other_one_is_killed_and_the_rest_leave() {
    let mut up = Up::start("3");
    up.shows("all 3 running nodes see each other");
    let crash = up.shows("crash  kill -9 ");
    let (pid, name) = crash["crash  kill -9 ".len()..].split_once("  # ").unwrap();
    kill(Pid::from_raw(pid.parse().unwrap()), Signal::SIGKILL).unwrap();
    eventually("the killed node shows as failed", || {
        let line = up.shows(name);
        line.contains("failed").then_some(())
    });
    up.signal(Signal::SIGTERM);
    up.shows("2 of 2 nodes left");
    assert_eq!(up.exit_code(), Some(0));
}

#[test]
fn no_node_outlives_a_killed_parent() {
    let mut up = Up::start("1");
    let crash = up.shows("crash  kill -9 ");
    let pid = crash["crash  kill -9 ".len()..].split_once(' ').unwrap().0;
    let pid = Pid::from_raw(pid.parse().unwrap());
    up.signal(Signal::SIGKILL);
    up.exit_code();
    eventually("the node is gone", || {
        // A zombie that nobody has reaped yet is gone as well.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}
