//! Links: a link in a document leads to a file, or to a heading, that exists.

use std::path::{Component, Path, PathBuf};

use crate::Complaint;

/// Checks the links of one document. `read` gives the text of a file by its
/// path in the repository, `Some("")` for a directory, `None` for nothing.
pub fn check(path: &str, text: &str, read: impl Fn(&str) -> Option<String>) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for (line, target) in links(text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (file, fragment) = target.split_once('#').unwrap_or((target.as_str(), ""));
        let file = if file.is_empty() {
            path.to_owned()
        } else {
            beside(path, file)
        };
        let Some(there) = read(&file) else {
            complaints.push(format!(
                "{path}:{line}: link to {target}: there is no {file}"
            ));
            continue;
        };
        if !fragment.is_empty() && !headings(&there).any(|heading| heading == fragment) {
            complaints.push(format!(
                "{path}:{line}: link to {target}: {file} has no heading #{fragment}"
            ));
        }
    }
    complaints
}

/// `file` as seen from the folder of `path`, without `..`.
fn beside(path: &str, file: &str) -> String {
    let mut resolved = PathBuf::from(path);
    resolved.pop();
    for part in Path::new(file).components() {
        match part {
            Component::ParentDir => {
                resolved.pop();
            }
            Component::Normal(name) => resolved.push(name),
            _ => {}
        }
    }
    resolved.to_string_lossy().into_owned()
}

/// Targets of `[text](target)`, outside code, with their lines.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(text) {
        let line = without_inline_code(line);
        for (at, _) in line.match_indices("](") {
            if let Some(end) = line[at + 2..].find(')') {
                found.push((number, line[at + 2..at + 2 + end].to_owned()));
            }
        }
    }
    found
}

/// Lines outside fenced code, numbered from 1.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then_some((number + 1, line))
    })
}

fn without_inline_code(line: &str) -> String {
    line.split('`').step_by(2).collect()
}

/// Headings as the anchors that a reader's browser is given.
fn headings(text: &str) -> impl Iterator<Item = String> + '_ {
    prose(text)
        .filter(|(_, line)| line.starts_with('#'))
        .map(|(_, line)| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter_map(|c| match c {
                    ' ' => Some('-'),
                    c if c.is_alphanumeric() || matches!(c, '-' | '_') => Some(c),
                    _ => None,
                })
                .collect()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<String> {
        match path {
            "docs/a.md" => Some("# Title\n## Exit codes, all\n".into()),
            "LICENSE" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn a_link_to_nowhere_is_refused() {
        for bad in ["[x](b.md)", "[x](a.md#nothing)", "see [y](../none) here"] {
            assert_eq!(check("docs/a.md", bad, read).len(), 1, "{bad}");
        }
    }

    #[test]
    fn files_headings_the_web_and_code_are_fine() {
        let fine = "[x](a.md) [y](../LICENSE) [z](a.md#exit-codes-all) [w](https://example.org/b)\n\
                    `[v](b.md)`\n```\n[u](b.md)\n```\n[t](#title)";
        assert_eq!(check("docs/a.md", fine, read), Vec::<String>::new());
    }
}
