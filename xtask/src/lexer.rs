//! Lexer: tells Rust code from its comments and strings.
//!
//! A rule about code must not trip over a comment that explains the rule, nor
//! over a string that quotes it. Both results keep every line where it was, so
//! that a complaint can name the line.

/// A source text, split.
#[derive(Debug, PartialEq, Eq)]
pub struct Split {
    /// Code alone; comments and the insides of strings are blanks.
    pub code: String,
    /// Comments alone; everything else is blanks.
    pub comments: String,
}

#[derive(Clone, Copy)]
enum Place {
    Code,
    LineComment,
    /// Nested this deep.
    BlockComment(usize),
    Text,
    /// Ends at a quote and this many hashes.
    RawText(usize),
}

/// Splits Rust source. Text that is not Rust gives something harmless.
pub fn split(source: &str) -> Split {
    let chars: Vec<char> = source.chars().collect();
    let (mut code, mut comments) = (String::new(), String::new());
    let mut place = Place::Code;
    let mut at = 0;
    while at < chars.len() {
        let (taken, next) = step(&chars, at, place);
        for &c in &chars[at..at + taken] {
            let blank = if c == '\n' { '\n' } else { ' ' };
            let commented = matches!(place, Place::LineComment | Place::BlockComment(_))
                || matches!(next, Place::LineComment | Place::BlockComment(_));
            let quoted = matches!(place, Place::Text | Place::RawText(_));
            code.push(if commented || quoted { blank } else { c });
            comments.push(if commented { c } else { blank });
        }
        at += taken;
        place = next;
    }
    Split { code, comments }
}

/// How many characters belong together at `at`, and where that leaves us.
fn step(chars: &[char], at: usize, place: Place) -> (usize, Place) {
    let here = chars[at];
    let ahead = chars.get(at + 1).copied();
    match place {
        Place::Code => match (here, ahead) {
            ('/', Some('/')) => (2, Place::LineComment),
            ('/', Some('*')) => (2, Place::BlockComment(1)),
            ('"', _) => (1, Place::Text),
            ('r', Some('"' | '#')) if !continues_word(chars, at) => raw_start(chars, at),
            ('\'', _) => (quote_length(chars, at), Place::Code),
            _ => (1, Place::Code),
        },
        Place::LineComment if here == '\n' => (1, Place::Code),
        Place::LineComment => (1, Place::LineComment),
        Place::BlockComment(depth) => match (here, ahead) {
            ('*', Some('/')) if depth == 1 => (2, Place::Code),
            ('*', Some('/')) => (2, Place::BlockComment(depth - 1)),
            ('/', Some('*')) => (2, Place::BlockComment(depth + 1)),
            _ => (1, Place::BlockComment(depth)),
        },
        Place::Text => match (here, ahead) {
            ('\\', Some(_)) => (2, Place::Text),
            ('"', _) => (1, Place::Code),
            _ => (1, Place::Text),
        },
        Place::RawText(hashes) => {
            let closes = here == '"'
                && chars.len() > at + hashes
                && chars[at + 1..=at + hashes].iter().all(|&c| c == '#');
            if closes {
                (1 + hashes, Place::Code)
            } else {
                (1, Place::RawText(hashes))
            }
        }
    }
}

/// `br"…"` starts a raw string, the last letter of `for"` does not.
fn continues_word(chars: &[char], at: usize) -> bool {
    at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_') && chars[at - 1] != 'b'
}

fn raw_start(chars: &[char], at: usize) -> (usize, Place) {
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    match chars.get(at + 1 + hashes) {
        Some('"') => (2 + hashes, Place::RawText(hashes)),
        _ => (1, Place::Code), // a raw identifier: r#type
    }
}

/// A character literal counts as one piece, the tick of a lifetime as itself.
fn quote_length(chars: &[char], at: usize) -> usize {
    if chars.get(at + 1) == Some(&'\\') {
        let end = chars[at + 3..].iter().position(|&c| c == '\'');
        return end.map_or(1, |end| end + 4);
    }
    if chars.get(at + 2) == Some(&'\'') {
        3
    } else {
        1
    }
}

/// Lines, numbered from 1, in which `word` stands as a word of its own. A
/// boundary is asked for only where the word itself ends in a letter.
pub fn lines_with<'a>(text: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let starts_open = word.starts_with(is_word);
    let ends_open = word.ends_with(is_word);
    text.lines().enumerate().filter_map(move |(number, line)| {
        line.match_indices(word)
            .any(|(at, _)| {
                let before = line[..at].chars().next_back();
                let after = line[at + word.len()..].chars().next();
                !(starts_open && before.is_some_and(is_word)
                    || ends_open && after.is_some_and(is_word))
            })
            .then_some(number + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_comments_and_strings_are_told_apart() {
        let source = "let a = \"// no \\\" comment\"; // yes\nlet b = 'x'; /* a /* b */ c */ done";
        let split = split(source);
        assert!(!split.code.contains("comment"), "{}", split.code);
        assert!(split.code.contains("let b = 'x';") && split.code.contains("done"));
        assert!(split.comments.contains("// yes") && split.comments.contains("c */"));
        assert!(!split.comments.contains("done"));
        assert_eq!(split.code.lines().count(), 2);
    }

    #[test]
    fn raw_strings_lifetimes_and_quotes_in_characters_do_not_confuse_it() {
        let code = split("r#\"a \" todo\"# + f::<'a>('\"', '\\'') + r#type").code;
        assert!(!code.contains("todo"), "{code}");
        assert!(
            code.contains("f::<'a>(") && code.ends_with("+ r#type"),
            "{code}"
        );
    }

    #[test]
    fn a_word_inside_another_is_not_that_word() {
        let text = "MyInstant\nInstant::now()\nInstantly";
        assert_eq!(lines_with(text, "Instant").collect::<Vec<_>>(), [2]);
        assert_eq!(lines_with("a::todo!()", "todo!").collect::<Vec<_>>(), [1]);
    }
}
