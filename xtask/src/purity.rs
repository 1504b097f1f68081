//! Purity: what the sans-IO cores, and the simulator that drives one, must not touch.
//!
//! Time, randomness and the network come in as arguments, so that a run can be
//! repeated from its seed. One stray clock or one hash map whose order differs
//! from run to run, and it cannot.

use crate::Complaint;
use crate::lexer::{lines_with, split};

/// What is banned, and what to use instead.
const BANNED: &[(&str, &str)] = &[
    ("Instant", "time comes in as `Now`"),
    ("SystemTime", "time comes in as `Now`"),
    ("UdpSocket", "packets go out as `Output::Send`"),
    ("TcpStream", "frames go out as `Output::StreamSend`"),
    ("TcpListener", "streams come in as `Input::StreamAccepted`"),
    ("UnixStream", "nothing here has sockets"),
    ("tokio", "nothing here has a runtime"),
    ("thread", "nothing here has threads"),
    ("HashMap", "its order differs from run to run: use BTreeMap"),
    ("HashSet", "its order differs from run to run: use BTreeSet"),
    ("thread_rng", "randomness comes from the seed"),
    ("rand::rng", "randomness comes from the seed"),
    ("getrandom", "randomness comes from the seed"),
    ("std::fs", "what must survive goes out as `Output::Persist`"),
    ("std::env", "configuration comes in as `Config`"),
];

/// Checks one source of a crate that has to be pure.
pub fn check(path: &str, source: &str) -> Vec<Complaint> {
    let code = split(source).code;
    let mut complaints = Vec::new();
    for (word, instead) in BANNED {
        for line in lines_with(&code, word) {
            complaints.push(format!(
                "{path}:{line}: `{word}` must not be here: {instead}"
            ));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_banned_word_is_found_in_code() {
        for (word, _) in BANNED {
            let complaints = check("x.rs", &format!("fn f() {{ {word}::new() }}"));
            assert!(
                complaints.iter().any(|c| c.starts_with("x.rs:1:")),
                "{word} was not found"
            );
        }
    }

    #[test]
    fn comments_strings_and_longer_names_are_free() {
        let fine = "// Instant::now() is banned\nlet a = \"HashMap\"; let b = MyInstant; threads()";
        assert!(check("x.rs", fine).is_empty());
    }
}
