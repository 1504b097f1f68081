//! Screen: stdout as data, and as a picture that is drawn again in place.
//!
//! Colour and cursor movement are for terminals only; what is piped is plain
//! text of at most 80 columns.

use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Where data goes.
pub(crate) struct Screen {
    pub(crate) colour: bool,
    pub(crate) terminal: bool,
    /// Lines of the last picture, to be drawn over.
    drawn: usize,
}

/// Columns where nobody tells another number.
pub(crate) const COLUMNS: usize = 80;

impl Screen {
    /// This process's stdout.
    pub(crate) fn stdout() -> Self {
        let terminal = io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            // https://no-color.org
            colour: terminal && !dumb && !set("NO_COLOR"),
            terminal: terminal && !dumb,
            drawn: 0,
        }
    }

    /// Columns a line may have.
    pub(crate) fn columns(&self) -> usize {
        let (columns, _) = self.size();
        columns
    }

    /// Writes text as it is.
    pub(crate) fn print(&self, text: &str) -> io::Result<()> {
        self.write(text.as_bytes())
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    /// Shows a picture: on a terminal in place of the one before, elsewhere
    /// after it, with an empty line between.
    pub(crate) fn draw(&mut self, picture: &str) -> io::Result<()> {
        let text = if self.terminal {
            let (_, rows) = self.size();
            let kept = fit(picture, rows.saturating_sub(1));
            let up = match self.drawn {
                0 => String::new(),
                lines => format!("\x1b[{lines}A\r"),
            };
            self.drawn = kept.matches('\n').count();
            // Clear from here to the end, so that a shorter picture leaves no rest.
            format!("{up}\x1b[J{kept}")
        } else {
            let gap = if self.drawn > 0 { "\n" } else { "" };
            self.drawn = 1;
            format!("{gap}{picture}")
        };
        self.print(&text)
    }

    fn size(&self) -> (usize, usize) {
        let known = self.terminal.then(terminal_size::terminal_size).flatten();
        match known {
            Some((width, height)) if width.0 > 0 => (width.0.into(), height.0.into()),
            _ => (COLUMNS, 24),
        }
    }
}

/// Resolves when nobody can read stdout any more. What waits for news would
/// otherwise notice at the next one, which may never come: `| head -1` hangs.
pub(crate) async fn abandoned() {
    while !closed(io::stdout()) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// Whether the other end is gone. Errors are told without being asked for.
fn closed(file: impl AsFd) -> bool {
    let mut ends = [PollFd::new(file.as_fd(), PollFlags::empty())];
    poll(&mut ends, PollTimeout::ZERO).is_ok()
        && ends[0]
            .revents()
            .is_some_and(|found| found.intersects(PollFlags::POLLERR | PollFlags::POLLHUP))
}

/// At most `rows` lines; the last one tells how many are missing. The cursor
/// cannot go up beyond the first row of a terminal, so more cannot be redrawn.
fn fit(picture: &str, rows: usize) -> String {
    let lines: Vec<&str> = picture.lines().collect();
    let shown = if lines.len() <= rows {
        lines.len()
    } else {
        rows.saturating_sub(1)
    };
    let mut text: String = lines[..shown]
        .iter()
        .map(|line| format!("{line}\n"))
        .collect();
    if shown < lines.len() {
        text.push_str(&format!("… {} lines more\n", lines.len() - shown));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_closed_when_its_reader_is_gone() {
        let (reader, writer) = io::pipe().expect("a pipe");
        assert!(!closed(&writer));
        drop(reader);
        assert!(closed(&writer));
    }

    #[test]
    fn a_picture_higher_than_the_terminal_says_what_is_missing() {
        assert_eq!(fit("a\nb\nc\n", 3), "a\nb\nc\n");
        assert_eq!(fit("a\nb\nc\nd\n", 3), "a\nb\n… 2 lines more\n");
    }
}
