//! Failure: how a command ends badly, as an exit code and a next move.

use std::io;

/// A request failed, or a leave was incomplete.
pub(crate) const FAILED: u8 = 1;
/// What was typed cannot work, as the command line's parser says it, too.
const USAGE: u8 = 2;
/// `EX_CONFIG`: nothing was started, and starting again alone will not help.
pub(crate) const CONFIG: u8 = 78;

/// Why a command ended badly.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    /// What failed and what to do; empty: say nothing.
    pub(crate) text: String,
}

impl Failure {
    /// Something that the world refused.
    pub(crate) fn failed(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { code: FAILED, text }
    }

    /// What was typed cannot work so.
    pub(crate) fn usage(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { code: USAGE, text }
    }

    /// Something that an operator has to set right.
    pub(crate) fn config(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { code: CONFIG, text }
    }

    /// The reader of stdout went away, as `head` does: no reason to complain.
    fn nobody_reads() -> Self {
        let text = String::new();
        Self { code: 0, text }
    }
}

impl From<dui_client::Error> for Failure {
    fn from(error: dui_client::Error) -> Self {
        let code = match error {
            dui_client::Error::BadAddress { .. } => USAGE,
            _ => FAILED,
        };
        let text = error.to_string();
        Self { code, text }
    }
}

/// An error of writing to stdout.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::nobody_reads(),
            _ => Self::failed(format!("cannot write to stdout: {error}")),
        }
    }
}
