//! Signals: what the system asks of a node, in our words.
//!
//! As PID 1 in an empty image a process has no default handlers: what it
//! does not ask for never arrives. So they are installed before anything
//! else is done, and orphans that were given to it are reaped.

use std::io;
use std::time::{Duration, Instant};

use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Leave the cluster, then exit; the second time exit at once.
    Leave {
        /// The signal's number, for the exit code of the second time.
        number: u8,
    },
    /// Exit at once, without leaving.
    Quit,
    /// Read the configuration again.
    Reload,
}

/// Exit code without leaving: what a shell reports for a death by SIGQUIT.
pub(crate) const QUIT: u8 = 131;

/// A signal so soon after the first is its echo, not impatience: `timeout`,
/// for one, signals its child and then its whole process group.
const ECHO: Duration = Duration::from_millis(50);

/// The handlers of a process.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hang_up: Signal,
    child: Signal,
    hang_up_leaves: bool,
}

impl Signals {
    /// Takes over the signals of this process.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn install() -> io::Result<Self> {
        // Asked before our handler replaces what nohup arranged.
        let ignored = hang_up_is_ignored();
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hang_up: signal(SignalKind::hangup())?,
            child: signal(SignalKind::child())?,
            hang_up_leaves: !ignored && has_terminal(),
        })
    }

    /// Resolves, with the exit code, when somebody does not want to wait for
    /// a goodbye that has begun. `reload` is called meanwhile as asked.
    pub(crate) async fn impatience(&mut self, reload: impl Fn()) -> u8 {
        let begun = Instant::now();
        loop {
            match self.next().await {
                Asked::Leave { .. } if begun.elapsed() < ECHO => {}
                Asked::Leave { number } => return 128 + number,
                Asked::Quit => return QUIT,
                Asked::Reload => reload(),
            }
        }
    }

    /// The next request. Cancel safe: no signal is lost.
    pub(crate) async fn next(&mut self) -> Asked {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Asked::Leave { number: 15 },
                _ = self.interrupt.recv() => return Asked::Leave { number: 2 },
                _ = self.quit.recv() => return Asked::Quit,
                _ = self.hang_up.recv() => {
                    return if self.hang_up_leaves {
                        Asked::Leave { number: 1 }
                    } else {
                        Asked::Reload
                    };
                }
                _ = self.child.recv() => reap_orphans(),
            }
        }
    }
}

/// A controlling terminal hangs up when its window is closed.
fn has_terminal() -> bool {
    std::fs::File::open("/dev/tty").is_ok()
}

/// Whether this process was started with SIGHUP ignored, as nohup does: then
/// whoever did so wants it to outlive the terminal.
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 != 0)
}

/// Only PID 1 inherits orphans; elsewhere children belong to who started them.
fn reap_orphans() {
    if Pid::this().as_raw() != 1 {
        return;
    }
    while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
        if status == WaitStatus::StillAlive {
            return;
        }
    }
}
