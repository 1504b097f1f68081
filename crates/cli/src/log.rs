//! Log: one line per event on stderr, for people or for programs.
//!
//! A node must outlive whoever reads its log. So a line is one `write(2)` of
//! at most a pipe's atomic size, tried only while stderr takes it at once;
//! otherwise it is dropped, and the number of dropped lines is told as soon
//! as somebody reads again.

use std::fmt::{self, Write as _};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber, span};

use crate::settings::LogFormat;

/// POSIX's least PIPE_BUF on Linux: a pipe that polls as writable takes this
/// much without blocking, and never mixes it with another line.
const LINE_BYTES_MAX: usize = 4096;
const VALUE_CHARS_MAX: usize = 400;

/// The target of lines that are written at every level: `ready` is a
/// contract with whoever started the node, not chatter.
pub(crate) const ALWAYS: &str = "dui::always";

/// Writes every event of this process; cheap to clone.
#[derive(Clone)]
pub(crate) struct Log {
    format: LogFormat,
    shared: Arc<Shared>,
}

struct Shared {
    /// See [`rank`].
    level: AtomicU8,
    dropped: AtomicU64,
}

impl Log {
    /// A log that shows `level` and what is more urgent.
    pub(crate) fn new(format: LogFormat, level: Level) -> Self {
        let shared = Shared {
            level: AtomicU8::new(rank(level)),
            dropped: AtomicU64::new(0),
        };
        Self {
            format,
            shared: Arc::new(shared),
        }
    }

    /// Makes it the log of the whole process, unless there is one.
    pub(crate) fn install(&self) {
        // The only error is that somebody was first, and then lines go there.
        let _ = tracing::subscriber::set_global_default(self.clone());
    }

    /// Shows another level from now on.
    pub(crate) fn set_level(&self, level: Level) {
        self.shared.level.store(rank(level), Relaxed);
        tracing::callsite::rebuild_interest_cache();
    }

    fn write(&self, level: Level, fields: &Fields) {
        let dropped = self.shared.dropped.load(Relaxed);
        if dropped > 0 {
            let mut missing = Fields {
                event: "log_lines_dropped".into(),
                ..Fields::default()
            };
            missing.push("count", Value::Bare(dropped.to_string()));
            if write_line(&self.line(Level::WARN, &missing)) {
                self.shared.dropped.fetch_sub(dropped, Relaxed);
            }
        }
        if !write_line(&self.line(level, fields)) {
            self.shared.dropped.fetch_add(1, Relaxed);
        }
    }

    fn line(&self, level: Level, fields: &Fields) -> String {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        match self.format {
            LogFormat::Json => json(&stamp(now.as_micros()), level, fields),
            LogFormat::Text => text(&stamp(now.as_micros()), level, fields),
        }
    }
}

impl Subscriber for Log {
    fn enabled(&self, of: &Metadata<'_>) -> bool {
        let shown = self.shared.level.load(Relaxed);
        // Libraries speak up when something is wrong, not about their day.
        // Of the Raft library the node tells what matters.
        let theirs = of.target().starts_with("openraft");
        let ours = of.target().starts_with("dui") || (*of.level() <= Level::WARN && !theirs);
        of.target() == ALWAYS || (ours && rank(*of.level()) <= shown)
    }

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if fields.event.is_empty() {
            fields.event = std::mem::take(&mut fields.message);
        }
        let message = std::mem::take(&mut fields.message);
        if !message.is_empty() {
            fields.push("message", Value::Quoted(message));
        }
        self.write(*event.metadata().level(), &fields);
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // ALWAYS lines are errors to this hint, so no level hides them.
        let all = [
            Level::ERROR,
            Level::WARN,
            Level::INFO,
            Level::DEBUG,
            Level::TRACE,
        ];
        let shown = self.shared.level.load(Relaxed);
        let level = all.into_iter().find(|level| rank(*level) == shown);
        level.map(LevelFilter::from_level)
    }

    // dui has no spans: a node's story is told by the fields of its events.
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

/// A number per level; less is more urgent.
fn rank(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        _ => 5,
    }
}

enum Value {
    /// A number or a boolean: stands in JSON as it is.
    Bare(String),
    Quoted(String),
}

/// An event taken apart.
#[derive(Default)]
struct Fields {
    event: String,
    message: String,
    rest: Vec<(&'static str, Value)>,
}

impl Fields {
    fn push(&mut self, name: &'static str, value: Value) {
        self.rest.push((name, value));
    }

    fn text(&mut self, field: &Field, text: String) {
        match field.name() {
            "event" => self.event = text,
            "message" => self.message = text,
            name => self.push(name, Value::Quoted(text)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, value.to_owned());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field.name(), Value::Bare(value.to_string()));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field.name(), Value::Bare(value.to_string()));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field.name(), Value::Bare(value.to_string()));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        // NaN and infinities are no JSON numbers.
        let text = value.to_string();
        self.push(
            field.name(),
            if value.is_finite() {
                Value::Bare(text)
            } else {
                Value::Quoted(text)
            },
        );
    }
}

/// RFC 3339 in UTC with microseconds: lines of several nodes sort by it.
fn stamp(micros: u128) -> String {
    let ms = u64::try_from(micros / 1_000).unwrap_or(u64::MAX);
    let to_ms = dui_client::rfc3339(ms);
    format!("{}{:03}Z", to_ms.trim_end_matches('Z'), micros % 1_000)
}

fn json(ts: &str, level: Level, fields: &Fields) -> String {
    let level = level.as_str().to_ascii_lowercase();
    let mut line = format!("{{\"ts\":\"{ts}\",\"level\":\"{level}\",\"event\":");
    push_json_text(&mut line, &fields.event);
    for (name, value) in &fields.rest {
        line.push(',');
        push_json_text(&mut line, name);
        line.push(':');
        match value {
            Value::Bare(text) => line.push_str(text),
            Value::Quoted(text) => push_json_text(&mut line, text),
        }
    }
    line.push_str("}\n");
    line
}

fn push_json_text(line: &mut String, text: &str) {
    line.push('"');
    for c in short(text) {
        match c {
            '"' | '\\' => line.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(line, "\\u{:04x}", c as u32);
            }
            c => line.push(c),
        }
    }
    line.push('"');
}

fn text(ts: &str, level: Level, fields: &Fields) -> String {
    let mut line = format!("{ts} {level:<5} ");
    line.extend(short(&fields.event));
    for (name, value) in &fields.rest {
        let _ = write!(line, " {name}=");
        match value {
            Value::Bare(text) => line.push_str(text),
            Value::Quoted(text) => {
                let plain = |c: char| c.is_ascii_graphic() && c != '"';
                if !text.is_empty() && text.chars().all(plain) {
                    line.extend(short(text));
                } else {
                    push_json_text(&mut line, text);
                }
            }
        }
    }
    line.push('\n');
    line
}

fn short(text: &str) -> impl Iterator<Item = char> {
    let cut = text.chars().nth(VALUE_CHARS_MAX).map(|_| '…');
    text.chars().take(VALUE_CHARS_MAX).chain(cut)
}

/// Whether the line was written, whole.
fn write_line(line: &str) -> bool {
    let stderr = io::stderr();
    let mut writable = [PollFd::new(
        std::os::fd::AsFd::as_fd(&stderr),
        PollFlags::POLLOUT,
    )];
    let ready = poll(&mut writable, PollTimeout::ZERO) == Ok(1)
        && writable[0].revents() == Some(PollFlags::POLLOUT);
    ready
        && line.len() <= LINE_BYTES_MAX
        && nix::unistd::write(&stderr, line.as_bytes()) == Ok(line.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn member_failed() -> Fields {
        let mut fields = Fields {
            event: "member_failed".into(),
            ..Fields::default()
        };
        fields.push("member", Value::Quoted("ann".into()));
        fields.push("incarnation", Value::Bare("7".into()));
        fields.push("reason", Value::Quoted("said \"no\"\n".into()));
        fields
    }

    #[test]
    fn json_is_one_flat_object_a_line_that_begins_with_when_and_what() {
        let line = json(&stamp(1_795_400_186_123_456), Level::INFO, &member_failed());
        assert!(line.starts_with(
            r#"{"ts":"2026-11-23T02:16:26.123456Z","level":"info","event":"member_failed","#
        ));
        assert_eq!(line.matches('\n').count(), 1);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["incarnation"], 7);
        assert_eq!(object["reason"], "said \"no\"\n");
    }

    #[test]
    fn text_keeps_a_value_with_spaces_or_newlines_on_its_line() {
        let line = text("T", Level::WARN, &member_failed());
        assert_eq!(
            line,
            "T WARN  member_failed member=ann incarnation=7 reason=\"said \\\"no\\\"\\u000a\"\n"
        );
    }

    #[test]
    fn a_huge_value_is_cut() {
        let mut fields = member_failed();
        fields.push("detail", Value::Quoted("ä".repeat(100_000)));
        let line = json("T", Level::INFO, &fields);
        assert!(line.len() < LINE_BYTES_MAX, "{}", line.len());
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok());
    }
}
