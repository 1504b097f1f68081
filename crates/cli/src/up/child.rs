//! Child: one node of `dui up` as a process, and what we hear from it.

use std::process::Stdio;

use dui_client::{Client, Member, WatchFilter};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{ChildStderr, Command};
use tokio::sync::mpsc;

use super::quick_client;
use crate::failure::Failure;

/// What a child tells, or what is told of it.
pub(super) enum News {
    /// It serves.
    Ready { index: usize, ready: Ready },
    /// Its view of the members changed.
    Changed,
    /// An error line of its log.
    Trouble { index: usize, line: String },
    /// It has exited; `None`: killed by a signal.
    Gone { index: usize, status: Option<i32> },
}

/// A child that serves.
pub(super) struct Ready {
    pub(super) name: String,
    /// Base URL of its API.
    pub(super) client: String,
    asker: Option<Client>,
}

/// One node.
pub(super) struct Child {
    pub(super) pid: u32,
    pub(super) ready: Option<Ready>,
    pub(super) trouble: Option<String>,
    /// Its exit code once it has exited; `Some(None)`: killed.
    pub(super) status: Option<Option<i32>>,
}

/// The fields of a log line that matter here.
#[derive(Deserialize)]
struct Line {
    level: String,
    event: String,
    member: Option<String>,
    client: Option<String>,
    reason: Option<String>,
}

impl Child {
    /// Starts a node of this cluster on free loopback ports.
    ///
    /// It is in a process group of its own, so that Ctrl-C reaches it only
    /// through us, once; and it leaves when we are gone, however we went.
    pub(super) fn spawn(
        index: usize,
        cluster: &str,
        report: mpsc::Sender<News>,
    ) -> Result<Self, Failure> {
        let failed = |error| Failure::failed(format!("cannot start a node: {error}"));
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command
            .args(["run", "--cluster", cluster, "--log-format", "json"])
            .args(["--parent", &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        // Settings for one node, as a port, would be the same for all here.
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("DUI_") {
                command.env_remove(name);
            }
        }
        let mut process = command.spawn().map_err(failed)?;
        let pid = process.id().unwrap_or_default();
        let stderr = process.stderr.take();
        tokio::spawn(async move {
            if let Some(stderr) = stderr {
                listen(index, stderr, &report).await;
            }
            let status = process.wait().await.ok().and_then(|status| status.code());
            // Nobody listens any more: we are exiting too.
            let _ = report.send(News::Gone { index, status }).await;
        });
        Ok(Self {
            pid,
            ready: None,
            trouble: None,
            status: None,
        })
    }

    pub(super) fn gone(&self) -> bool {
        self.status.is_some()
    }

    /// Its view of the members, if it answers.
    pub(super) async fn members(&self) -> Option<Vec<Member>> {
        let asker = self.ready.as_ref()?.asker.as_ref()?;
        asker.members(&[]).await.ok()
    }

    /// Asks it to leave.
    pub(super) fn terminate(&self) {
        if let (false, Ok(pid)) = (self.gone(), i32::try_from(self.pid)) {
            // It may be gone by now, which is what we want.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
    }
}

/// Reads a child's log until it ends.
async fn listen(index: usize, stderr: ChildStderr, report: &mpsc::Sender<News>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        let news = match serde_json::from_str::<Line>(&text) {
            Ok(Line {
                event,
                member: Some(name),
                client: Some(address),
                ..
            }) if event == "ready" => {
                let client = format!("http://{address}");
                let asker = quick_client(&client);
                if let Some(asker) = asker.clone() {
                    tokio::spawn(follow(asker, report.clone()));
                }
                News::Ready {
                    index,
                    ready: Ready {
                        name,
                        client,
                        asker,
                    },
                }
            }
            Ok(line) if line.level != "error" => continue,
            Ok(line) => News::Trouble {
                index,
                line: line.reason.unwrap_or(line.event),
            },
            // Not from its log: a usage error or a panic.
            Err(_) => News::Trouble { index, line: text },
        };
        if report.send(news).await.is_err() {
            return;
        }
    }
}

/// Tells of every change that a node sees, until it is gone.
async fn follow(client: Client, report: mpsc::Sender<News>) {
    let filter = WatchFilter {
        members: true,
        ..WatchFilter::default()
    };
    let Ok(mut watch) = client.watch(&filter, None).await else {
        return;
    };
    while let Some(Ok(_)) = watch.next().await {
        if report.send(News::Changed).await.is_err() {
            return;
        }
    }
}
