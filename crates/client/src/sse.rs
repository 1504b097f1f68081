//! Server-sent events: bytes in, messages out, whatever the chunks.
//!
//! A line may be cut anywhere by the network, even inside its CR LF, so the
//! parser keeps what is not finished. Both a line and a message have a bound:
//! a server that never ends a line must not fill our memory.
//!
//! Source: WHATWG HTML, "Server-sent events", section 9.2.6.

use std::collections::VecDeque;

/// Longest line and largest message in bytes. The largest honest message is
/// the present state of a cluster: about 400 bytes a member.
pub(crate) const BYTES_MAX: usize = 16 * 1024 * 1024;

/// One message of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// `event:`; empty when there was none.
    pub(crate) event: String,
    /// The `data:` lines, joined by line feeds.
    pub(crate) data: String,
    /// The last `id:` of the stream so far, here or in an earlier message.
    pub(crate) id: Option<String>,
}

/// A line or a message grew beyond [`BYTES_MAX`], or is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("an event larger than {BYTES_MAX} bytes")]
    TooLong,
    #[error("an event that is not UTF-8")]
    NotText,
}

/// Turns chunks into messages.
#[derive(Debug, Default)]
pub(crate) struct Parser {
    /// The unfinished line.
    line: Vec<u8>,
    /// The last byte was a CR: a LF now belongs to it.
    after_cr: bool,
    /// Nothing was read yet: a byte order mark is allowed.
    started: bool,
    /// The unfinished message. `data` has a line feed too many at its end.
    building: Message,
    ready: VecDeque<Message>,
}

impl Parser {
    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    /// Once malformed, the stream is of no use any more.
    pub(crate) fn push(&mut self, chunk: &[u8]) -> Result<(), Malformed> {
        let mut rest = chunk;
        while let Some(&first) = rest.first() {
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            let part = &rest[..end.unwrap_or(rest.len())];
            if self.line.len() + part.len() > BYTES_MAX {
                return Err(Malformed::TooLong);
            }
            self.line.extend_from_slice(part);
            let Some(end) = end else { break };
            self.after_cr = rest[end] == b'\r';
            rest = &rest[end + 1..];
            self.end_of_line()?;
        }
        Ok(())
    }

    /// The next whole message.
    pub(crate) fn pop(&mut self) -> Option<Message> {
        self.ready.pop_front()
    }

    fn end_of_line(&mut self) -> Result<(), Malformed> {
        let bytes = std::mem::take(&mut self.line);
        let mut line = std::str::from_utf8(&bytes).map_err(|_| Malformed::NotText)?;
        if !std::mem::replace(&mut self.started, true) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            self.end_of_message();
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => self.building.event = value.into(),
            "data" => {
                if self.building.data.len() + value.len() > BYTES_MAX {
                    return Err(Malformed::TooLong);
                }
                self.building.data.push_str(value);
                self.building.data.push('\n');
            }
            "id" if !value.contains('\0') => self.building.id = Some(value.into()),
            // A comment (its field is empty), `retry`, or a field of the future.
            _ => {}
        }
        Ok(())
    }

    /// A message without data is none, as the standard has it; its id counts.
    fn end_of_message(&mut self) {
        let id = self.building.id.clone();
        let mut message = std::mem::take(&mut self.building);
        self.building.id = id;
        if message.data.pop().is_some() {
            self.ready.push_back(message);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(chunks: &[&[u8]]) -> Vec<Message> {
        let mut parser = Parser::default();
        for chunk in chunks {
            parser.push(chunk).unwrap();
        }
        std::iter::from_fn(|| parser.pop()).collect()
    }

    fn message(event: &str, data: &str, id: Option<&str>) -> Message {
        Message {
            event: event.into(),
            data: data.into(),
            id: id.map(Into::into),
        }
    }

    const STREAM: &str = "\u{feff}: welcome\n\nid: r-1\r\nevent: member_alive\r\ndata: {\"name\":\"grüße\"}\r\n\r\n\
        data:first\rdata: second\rweather: fine\r\rid\nevent: empty\n\nid: r-3\ndata\n\ndata: unfinished";

    fn expected() -> Vec<Message> {
        vec![
            message("member_alive", "{\"name\":\"grüße\"}", Some("r-1")),
            message("", "first\nsecond", Some("r-1")),
            message("", "", Some("r-3")),
        ]
    }

    #[test]
    fn a_stream_reads_as_the_standard_says() {
        assert_eq!(parse(&[STREAM.as_bytes()]), expected());
    }

    #[test]
    fn where_the_network_cuts_changes_nothing() {
        let bytes = STREAM.as_bytes();
        let single: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(parse(&single), expected());
        for cut in 0..bytes.len() {
            assert_eq!(parse(&[&bytes[..cut], &bytes[cut..]]), expected());
        }
    }

    #[test]
    fn a_line_without_end_and_a_message_without_end_are_refused() {
        let mebibyte = vec![b'x'; 1024 * 1024];
        let mut endless_line = Parser::default();
        let refused = (0..17).find_map(|_| endless_line.push(&mebibyte).err());
        assert_eq!(refused, Some(Malformed::TooLong));

        let line = [b"data:".as_slice(), &mebibyte, b"\n"].concat();
        let mut endless_message = Parser::default();
        let refused = (0..17).find_map(|_| endless_message.push(&line).err());
        assert_eq!(refused, Some(Malformed::TooLong));
    }

    #[test]
    fn garbage_is_refused_by_name() {
        let mut parser = Parser::default();
        assert_eq!(parser.push(b"data: \xff\n"), Err(Malformed::NotText));
    }
}
