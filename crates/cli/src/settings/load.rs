//! Load: which source of a setting wins.
//!
//! Flag, then `DUI_*` variable, then file, then default. A variable that is
//! set but empty counts as not set: that is how compose files pass on what
//! nobody chose. The winner is remembered with its value, because
//! `--print-config` shows it and a port that was asked for does not move.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::value::{Shape, Value};
use super::{Setting, Settings, Sourced, TABLE, file};

/// Who set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Flag,
    /// The variable's name.
    Environment(String),
    File {
        path: PathBuf,
        line: usize,
    },
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(name) => write!(f, "env {name}"),
            Self::File { path, line } => write!(f, "file {}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

impl<T> Sourced<T> {
    /// Whether anybody chose this value.
    pub(crate) fn asked(&self) -> bool {
        self.source != Source::Default
    }
}

/// The settings given as flags, checked by the parser of the command line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags(BTreeMap<&'static str, String>);

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        for setting in TABLE {
            if let Some(texts) = matches.get_many::<String>(setting.name) {
                let texts: Vec<&str> = texts.map(String::as_str).collect();
                self.0.insert(setting.name, texts.join(","));
            }
        }
        Ok(())
    }
}

impl clap::Args for Flags {
    fn augment_args(command: clap::Command) -> clap::Command {
        TABLE
            .iter()
            .fold(command, |command, setting| command.arg(argument(setting)))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

fn argument(setting: &'static Setting) -> clap::Arg {
    let mut help = format!("{} [env: {}", setting.help, setting.variable());
    if !setting.default.is_empty() {
        help.push_str(&format!(", default: {}", setting.default));
    }
    help.push(']');
    let check = |text: &str| {
        // An empty list is a list; any other empty value is a variable of a
        // script that was not set, and what it was to say must not get lost.
        if text.is_empty() && setting.shape != Shape::List {
            return Err(format!(
                "expected {}: leave the flag out where there is none",
                setting.expected
            ));
        }
        (setting.check)(text).map(|()| text.to_owned())
    };
    let argument = clap::Arg::new(setting.name)
        .long(setting.name)
        .help(help)
        .value_parser(check);
    match setting.shape {
        Shape::Switch => argument
            .num_args(0..=1)
            .require_equals(true)
            .hide_possible_values(true)
            .value_name("true|false")
            .default_missing_value("true"),
        Shape::List => argument
            .value_name(setting.placeholder)
            .action(clap::ArgAction::Append),
        Shape::Text | Shape::Number => argument.value_name(setting.placeholder),
    }
}

/// The winners, still as text.
pub(super) struct Raw(BTreeMap<&'static str, (String, Source)>);

impl Raw {
    /// The parsed value of a setting; notes what is wrong with it otherwise.
    pub(super) fn parse<T: Value>(
        &self,
        name: &'static str,
        problems: &mut Vec<String>,
    ) -> Option<Sourced<T>> {
        let (text, source) = &self.0[name];
        match T::parse(text) {
            Ok(value) => Some(Sourced {
                value,
                source: source.clone(),
            }),
            Err(problem) => {
                problems.push(match source {
                    Source::Flag => format!("--{name}: {problem}"),
                    Source::Environment(variable) => format!("{variable}: {problem}"),
                    Source::File { path, line } => {
                        format!("{}:{line}: {name}: {problem}", path.display())
                    }
                    Source::Default => format!("the default of --{name}: {problem}"),
                });
                None
            }
        }
    }

    pub(super) fn text(&self, setting: &Setting) -> (&str, &Source) {
        let (text, source) = &self.0[setting.name];
        (text, source)
    }
}

/// Everything that is in force.
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    pub(super) raw: Raw,
    /// Cluster keys from `DUI_KEY`, unless a flag named a key file.
    pub(crate) key: Option<String>,
}

/// Settles every setting by flags, this process's variables and a file.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_for(flags: &Flags, config: Option<&Path>) -> Result<Loaded, Vec<String>> {
    let variable =
        |name: &str| std::env::var_os(name).map(|text| text.to_string_lossy().into_owned());
    load(flags, &variable, config)
}

/// Settles every setting.
///
/// # Errors
/// All that is wrong, one message each: what, where, and what would be right.
pub(crate) fn load(
    flags: &Flags,
    variable: &dyn Fn(&str) -> Option<String>,
    config: Option<&Path>,
) -> Result<Loaded, Vec<String>> {
    let variable = |name: &str| variable(name).filter(|text| !text.is_empty());
    let mut lines = BTreeMap::new();
    if let Some(path) = config {
        for line in file::read(path)? {
            let path = path.to_owned();
            let source = Source::File {
                path,
                line: line.line,
            };
            lines.insert(line.name, (line.text, source));
        }
    }
    let mut winners = BTreeMap::new();
    for setting in TABLE {
        let name = setting.name;
        let winner = if let Some(text) = flags.0.get(name) {
            (text.clone(), Source::Flag)
        } else if let Some(text) = variable(&setting.variable()) {
            (text, Source::Environment(setting.variable()))
        } else if let Some(line) = lines.remove(name) {
            line
        } else {
            (setting.default.to_owned(), Source::Default)
        };
        winners.insert(name, winner);
    }
    let raw = Raw(winners);
    let settings = Settings::parse(&raw)?;
    let key = match (&settings.key_file.source, variable("DUI_KEY")) {
        (Source::Flag, _) => None,
        (Source::Environment(_), Some(_)) => {
            return Err(vec![
                "DUI_KEY and DUI_KEY_FILE are both set: unset one of them".into(),
            ]);
        }
        (_, key) => key,
    };
    Ok(Loaded { settings, raw, key })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with(
        flags: &[(&'static str, &str)],
        variables: &[(&str, &str)],
        file: &str,
    ) -> Result<Loaded, Vec<String>> {
        let flags = Flags(
            flags
                .iter()
                .map(|(name, text)| (*name, text.to_string()))
                .collect(),
        );
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dui.toml");
        std::fs::write(&path, file).unwrap();
        load(
            &flags,
            &|name| variables.get(name).map(ToString::to_string),
            Some(&path),
        )
    }

    #[test]
    fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
        let file = "cluster = 'file'\n";
        let flags = [("cluster", "flag")];
        let variables = [("DUI_CLUSTER", "variable")];
        let cluster = |loaded: Result<Loaded, Vec<String>>| {
            let cluster = loaded.unwrap().settings.cluster;
            (cluster.value.to_string(), cluster.source)
        };
        assert_eq!(
            cluster(with(&flags, &variables, file)),
            ("flag".into(), Source::Flag)
        );
        assert_eq!(
            cluster(with(&[], &variables, file)),
            ("variable".into(), Source::Environment("DUI_CLUSTER".into()))
        );
        let (name, source) = cluster(with(&[], &[], file));
        assert_eq!(name, "file");
        assert!(matches!(source, Source::File { line: 1, .. }));
        assert_eq!(cluster(with(&[], &[], "")), ("dui".into(), Source::Default));
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        let loaded = with(&[], &[("DUI_ROLE", "")], "").unwrap();
        assert_eq!(loaded.settings.role.source, Source::Default);
    }

    #[test]
    fn a_wrong_value_names_who_said_it() {
        let problems = with(&[], &[("DUI_CLIENT_PORT", "http")], "role = 'boss'")
            .err()
            .unwrap();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(
            problems[0].contains("dui.toml:1: role: expected manager or worker"),
            "{problems:?}"
        );
        assert!(
            problems[1].starts_with("DUI_CLIENT_PORT: expected a whole number"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_key_in_the_environment_yields_to_the_flag_and_not_to_the_file() {
        let key = [("DUI_KEY", "secret")];
        assert!(with(&[("key-file", "k")], &key, "").unwrap().key.is_none());
        assert!(with(&[], &key, "key-file = 'k'").unwrap().key.is_some());
        let both = [("DUI_KEY", "secret"), ("DUI_KEY_FILE", "k")];
        assert!(with(&[], &both, "").is_err());
    }
}
