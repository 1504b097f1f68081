//! File: settings in TOML, with every mistake named by line.
//!
//! The file is flat: the keys are the flags without their dashes. A value
//! becomes the text that a flag would have had, after its TOML type was
//! checked; what the text means is not decided here.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::value::Shape;
use super::{Setting, TABLE};

/// Far above every setting with comments; a wrong path must not be read whole.
const FILE_BYTES_MAX: u64 = 256 * 1024;

/// One setting as the file has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) name: &'static str,
    pub(super) text: String,
    /// Counted from 1.
    pub(super) line: usize,
}

/// Reads the file at `path`.
///
/// # Errors
/// All that is wrong with it, each with path, line and remedy.
pub(super) fn read(path: &Path) -> Result<Vec<Line>, Vec<String>> {
    let text = contents(path).map_err(|problem| {
        vec![format!(
            "cannot read the settings in {}: {problem}",
            path.display()
        )]
    })?;
    parse(&text).map_err(|problems| {
        let place = path.display();
        problems
            .into_iter()
            .map(|(line, problem)| format!("{place}:{line}: {problem}"))
            .collect()
    })
}

fn contents(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let read = File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| error.to_string())?;
    if read as u64 > FILE_BYTES_MAX {
        return Err(format!(
            "it is larger than {} KiB, so it is another file",
            FILE_BYTES_MAX / 1024
        ));
    }
    Ok(text)
}

fn parse(text: &str) -> Result<Vec<Line>, Vec<(usize, String)>> {
    let line_at = |offset: usize| 1 + text[..offset].matches('\n').count();
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(span.start));
        vec![(line, error.message().to_owned())]
    })?;
    let (mut lines, mut problems) = (Vec::new(), Vec::new());
    for (key, value) in table.get_ref() {
        let line = line_at(key.span().start);
        let Some(setting) = Setting::find(key.get_ref()) else {
            problems.push((line, unknown(key.get_ref())));
            continue;
        };
        let name = setting.name;
        match text_of(setting.shape, value.get_ref()) {
            Some(text) => lines.push(Line { name, text, line }),
            None => problems.push((
                line,
                format!(
                    "{name}: expected {}, got {}",
                    expected(setting),
                    seen(value.get_ref())
                ),
            )),
        }
    }
    if problems.is_empty() {
        Ok(lines)
    } else {
        problems.sort();
        Err(problems)
    }
}

/// The text a flag would have had; `None` if the TOML type is another one.
fn text_of(shape: Shape, value: &DeValue<'_>) -> Option<String> {
    match (shape, value) {
        (Shape::Text | Shape::List, DeValue::String(text)) => Some(text.clone().into_owned()),
        (Shape::Number, DeValue::Integer(number)) => {
            let number = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
            Some(number.to_string())
        }
        (Shape::Switch, DeValue::Boolean(on)) => Some(on.to_string()),
        (Shape::List, DeValue::Array(items)) => {
            let items: Option<Vec<&str>> = items.iter().map(|i| i.get_ref().as_str()).collect();
            items.map(|items| items.join(","))
        }
        _ => None,
    }
}

fn expected(setting: &Setting) -> String {
    match setting.shape {
        Shape::Text => format!("a text, {}", setting.expected),
        Shape::List => format!("a text or an array of texts, {}", setting.expected),
        Shape::Number | Shape::Switch => setting.expected.into(),
    }
}

fn seen(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text \"{text}\""),
        DeValue::Integer(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(on) => on.to_string(),
        DeValue::Array(_) => "an array with something else in it".into(),
        other => format!("a value of type {}", other.type_str()),
    }
}

/// Names the key that was probably meant.
fn unknown(key: &str) -> String {
    let written = key.replace('_', "-");
    let nearest = TABLE
        .iter()
        .map(|setting| (strsim::jaro_winkler(setting.name, &written), setting.name))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.75);
    match nearest {
        Some((_, name)) => format!("unknown key '{key}': did you mean '{name}'?"),
        None => format!("unknown key '{key}': \"dui run --print-config\" lists them all"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn problem(text: &str) -> (usize, String) {
        parse(text).unwrap_err().remove(0)
    }

    #[test]
    fn values_become_the_text_a_flag_would_have() {
        let lines = parse(
            "cluster = 'blue'\n\nclient-port = 0x1e61\ninsecure = true\njoin = ['10.0.0.1', '10.0.0.2']\n",
        )
        .unwrap();
        let text = |name| lines.iter().find(|line| line.name == name).unwrap();
        assert_eq!(text("cluster").text, "blue");
        assert_eq!(
            (text("client-port").text.as_str(), text("client-port").line),
            ("7777", 3)
        );
        assert_eq!(text("insecure").text, "true");
        assert_eq!(text("join").text, "10.0.0.1,10.0.0.2");
    }

    #[test]
    fn an_unknown_key_is_answered_with_the_nearest_one() {
        let (line, text) = problem("role = 'worker'\nclient_prot = 1\n");
        assert_eq!(line, 2);
        assert_eq!(
            text,
            "unknown key 'client_prot': did you mean 'client-port'?"
        );
        assert!(problem("zzz = 1").1.contains("--print-config"));
    }

    #[test]
    fn a_wrong_type_is_named_with_line_expected_and_seen() {
        let (line, text) = problem("\nclient-port = '7777'\n");
        assert_eq!(line, 2);
        assert_eq!(
            text,
            "client-port: expected a whole number from 0 to 65535, got the text \"7777\""
        );
        assert!(problem("leave-timeout = 8").1.contains("8s"));
        assert!(problem("insecure = 'yes'").1.contains("true or false"));
        assert!(problem("join = [1]").1.contains("an array of texts"));
        assert!(problem("[cluster]\nname = 1").1.contains("table"));
    }

    #[test]
    fn every_mistake_is_reported_at_once_and_syntax_by_line() {
        assert_eq!(parse("a = 1\nrole = 2\nb = 3").unwrap_err().len(), 3);
        assert_eq!(problem("role = 'worker'\nrole = 'manager'").0, 2);
        assert_eq!(problem("role =").0, 1);
    }

    #[test]
    fn an_unreadable_file_is_named() {
        let problems = read(Path::new("/nonexistent/dui.toml")).unwrap_err();
        assert!(
            problems[0].contains("/nonexistent/dui.toml"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_file_without_end_is_not_read_to_its_end() {
        let problems = read(Path::new("/dev/zero")).unwrap_err();
        assert!(
            problems[0].contains("/dev/zero") && problems[0].contains("256 KiB"),
            "{problems:?}"
        );
    }
}
