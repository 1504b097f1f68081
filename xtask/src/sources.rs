//! Sources: every file opens with its idea, can be held in mind, and is finished.

use crate::Complaint;
use crate::lexer::{lines_with, split};

/// Longest source in lines. Aim for 500; past that, look for two modules.
pub const LINES_MAX: usize = 700;

/// Files that are longer all the same, with the lines they may have: numbers
/// that only ever go down.
pub const RATCHET: &[(&str, usize)] = &[];

/// Code that stands for work not done, and tests that stand for nothing.
const UNFINISHED: &[&str] = &["todo!", "unimplemented!", "#[ignore"];

/// Notes to oneself: they belong to the change, or to the tracker.
const NOTES: &[&str] = &["TODO", "FIXME", "XXX"];

/// Checks one Rust source.
pub fn check_rust(path: &str, source: &str) -> Vec<Complaint> {
    let mut complaints = check_length(path, source, RATCHET);
    if !source.starts_with("//!") {
        complaints.push(format!(
            "{path}:1: no header: begin with `//! Noun: the idea of this file.`"
        ));
    }
    let split = split(source);
    for word in UNFINISHED {
        for line in lines_with(&split.code, word) {
            complaints.push(format!("{path}:{line}: `{word}`: finish it or take it out"));
        }
    }
    complaints.extend(check_notes(path, &split.comments));
    complaints
}

/// Checks comments, or the whole text of a file that is not Rust.
pub fn check_notes(path: &str, text: &str) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for word in NOTES {
        for line in lines_with(text, word) {
            complaints.push(format!("{path}:{line}: {word}: do it now, or file it"));
        }
    }
    complaints
}

fn check_length(path: &str, source: &str, ratchet: &[(&str, usize)]) -> Vec<Complaint> {
    let lines = source.lines().count();
    let listed = ratchet.iter().find(|(listed, _)| *listed == path);
    match listed {
        Some((_, most)) if lines < *most => vec![format!(
            "{path}:1: {lines} lines, its ratchet says {most}: lower it in xtask/src/sources.rs"
        )],
        Some((_, most)) if lines > *most => vec![format!(
            "{path}:1: {lines} lines, its ratchet allows {most}: this file may only shrink"
        )],
        None if lines > LINES_MAX => vec![format!(
            "{path}:1: {lines} lines, at most {LINES_MAX}: look for two ideas in it"
        )],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_without_a_header_is_refused() {
        assert!(check_rust("x.rs", "fn f() {}\n")[0].contains("no header"));
        assert!(check_rust("x.rs", "//! Nothing: no more.\n").is_empty());
    }

    #[test]
    fn unfinished_work_is_refused() {
        for bad in [
            "fn f() { todo!() }",
            "fn f() { unimplemented!(\"later\") }",
            "#[ignore = \"slow\"]\nfn f() {}",
            "fn f() {} // TODO: more",
            "/* FIXME */",
        ] {
            let source = format!("//! X: y.\n{bad}\n");
            assert_eq!(check_rust("x.rs", &source).len(), 1, "{bad}");
        }
        let fine = "//! X: y.\nlet a = \"todo!() TODO\";\n";
        assert!(check_rust("x.rs", fine).is_empty());
    }

    #[test]
    fn a_file_may_be_long_only_by_name_and_only_shrink() {
        let long = "//! X: y.\n".repeat(LINES_MAX + 1);
        assert_eq!(check_length("x.rs", &long, &[]).len(), 1);
        assert!(check_length("x.rs", &long, &[("x.rs", LINES_MAX + 1)]).is_empty());
        assert!(check_length("x.rs", &long, &[("x.rs", LINES_MAX)])[0].contains("only shrink"));
        assert!(check_length("x.rs", &long, &[("x.rs", 9_999)])[0].contains("lower it"));
    }
}
