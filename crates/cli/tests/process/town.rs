//! Town: nodes as processes that end with the test, however it ends.

use std::io::{BufRead, BufReader, Read};
use std::net::UdpSocket;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// Longer than anything here takes on a busy machine; shorter than a person waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The binary, as its users start it.
pub(crate) fn dui() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dui"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("DUI_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command that ends by itself.
pub(crate) fn output(command: &mut Command) -> Output {
    command.output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Waits until `condition` gives something.
pub(crate) fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "never within {PATIENCE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A cluster name and discovery port that no other story uses.
pub(crate) struct Town {
    cluster: String,
    discovery_port: u16,
}

impl Town {
    pub(crate) fn new(story: &str) -> Self {
        // The kernel hands out another port to each story that asks now.
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let discovery_port = socket.local_addr().unwrap().port();
        Self {
            cluster: format!("{story}-{}", std::process::id()),
            discovery_port,
        }
    }

    /// Cluster name and discovery port.
    pub(crate) fn flags(&self) -> (String, String) {
        (self.cluster.clone(), self.discovery_port.to_string())
    }

    /// `dui run` for a node of this town.
    pub(crate) fn run(&self, arguments: &[&str]) -> Command {
        let mut command = dui();
        command
            .args(["run", "--cluster", &self.cluster, "--log-format", "json"])
            .args(["--discovery-port", &self.discovery_port.to_string()])
            .args(arguments);
        command
    }

    /// A node that is ready.
    pub(crate) fn start(&self, name: &str, arguments: &[&str]) -> Node {
        let mut command = self.run(arguments);
        Node::start(command.args(["--name", name]))
    }
}

/// A running node and the log it wrote so far.
pub(crate) struct Node {
    child: Child,
    log: Arc<Log>,
    ready: Value,
}

#[derive(Default)]
struct Log {
    lines: Mutex<Vec<Value>>,
    news: Condvar,
    reader: Mutex<Reader>,
    ended: AtomicBool,
}

/// What whoever reads a node's log does next.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Reader {
    #[default]
    Reads,
    /// Keeps the pipe open and takes nothing from it.
    Sleeps,
    /// Closes the pipe.
    GoesAway,
}

impl Node {
    /// Starts a `dui run --log-format json` and waits for `ready`.
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut node = Self {
            child,
            log: Arc::default(),
            ready: Value::Null,
        };
        let stderr = node.child.stderr.take().unwrap();
        let log = node.log.clone();
        std::thread::spawn(move || collect(stderr, &log));
        node.ready = node.says("ready", |_| true);
        node
    }

    /// A field of the `ready` line.
    pub(crate) fn field(&self, name: &str) -> String {
        let value = self.ready[name].as_str();
        value
            .unwrap_or_else(|| panic!("no {name} in {}", self.ready))
            .into()
    }

    /// Waits for a log line of this event that `fits`.
    pub(crate) fn says(&self, event: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + PATIENCE;
        let mut lines = self.log.lines.lock().unwrap();
        loop {
            let found = lines
                .iter()
                .find(|line| line["event"] == event && fits(line));
            if let Some(line) = found {
                return line.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = self.log.ended.load(Ordering::Relaxed);
            assert!(!left.is_zero() && !ended, "no {event} in {lines:#?}");
            (lines, _) = self.log.news.wait_timeout(lines, left).unwrap();
        }
    }

    /// Waits until it logged this event of a member with this name.
    pub(crate) fn says_of(&self, event: &str, member: &str) -> Value {
        self.says(event, |line| line["member"] == member)
    }

    /// Whether it ever logged this event so far.
    pub(crate) fn said(&self, event: &str) -> bool {
        let lines = self.log.lines.lock().unwrap();
        lines.iter().any(|line| line["event"] == event)
    }

    /// `dui COMMAND…` asking this node.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Output {
        output(
            dui()
                .args(arguments)
                .args(["--addr", &self.field("client")]),
        )
    }

    /// The members that it lists now.
    pub(crate) fn members(&self) -> Vec<Value> {
        let answer = self.ask(&["members", "--json"]);
        let list: Value = serde_json::from_slice(&answer.stdout)
            .unwrap_or_else(|_| panic!("{}", stderr(&answer)));
        list["members"].as_array().unwrap().clone()
    }

    /// Waits until it lists this member in this state.
    pub(crate) fn sees(&self, name: &str, state: &str) {
        eventually(&format!("{name} is {state}"), || {
            let members = self.members();
            members
                .iter()
                .any(|m| m["name"] == name && m["state"] == state)
                .then_some(())
        });
    }

    /// From the next line of its log on.
    pub(crate) fn set_reader(&self, reader: Reader) {
        *self.log.reader.lock().unwrap() = reader;
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        kill(Pid::from_raw(pid), signal).unwrap();
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Waits for its end.
    pub(crate) fn ends(&mut self) -> ExitStatus {
        eventually("the process ends", || self.ended())
    }

    /// Waits for its end and gives the exit code.
    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        self.ends().code()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Only errors when it has ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(stderr: impl Read, log: &Log) {
    let mut lines = BufReader::new(stderr).lines();
    while let Some(Ok(line)) = lines.next() {
        let line = serde_json::from_str(&line).unwrap_or(Value::String(line));
        log.lines.lock().unwrap().push(line);
        log.news.notify_all();
        match *log.reader.lock().unwrap() {
            Reader::Reads => {}
            Reader::GoesAway => return,
            // The pipe stays open as long as the test's process lives.
            Reader::Sleeps => return std::mem::forget(lines),
        }
    }
    log.ended.store(true, Ordering::Relaxed);
    log.news.notify_all();
}
