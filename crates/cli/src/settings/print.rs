//! Print: the settings shown, as they are in force and as they are documented.

use dui_node::Location;
use dui_node::core::Keyring;

use super::load::{Loaded, Source};
use super::value::{Shape, Value};
use super::{Setting, TABLE};

/// What is in force and from where, as a TOML file that would ask for the
/// same. A key shows by its fingerprint only.
pub(crate) fn print(loaded: &Loaded, keys: &Keyring) -> String {
    let lines: Vec<(String, String)> = TABLE
        .iter()
        .map(|setting| {
            let (text, source) = loaded.raw.text(setting);
            (assignment(setting, text), source.to_string())
        })
        .collect();
    let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or(0);
    let mut page: String = lines
        .into_iter()
        .map(|(line, source)| format!("{line:width$}  # {source}\n"))
        .collect();
    let from = match (&loaded.key, &loaded.settings.key_file.source) {
        (Some(_), _) => Source::Environment("DUI_KEY".into()).to_string(),
        (None, source) => source.to_string(),
    };
    page.push_str(&format!(
        "# key fingerprints: {} ({from})\n",
        keys.describe()
    ));
    page
}

/// What `bind` and `advertise` come to on this machine now, as comments.
pub(crate) fn print_location(found: &Result<Location, String>) -> String {
    let at = match found {
        Ok(at) => at,
        Err(problem) => return format!("# no address: {problem}\n"),
    };
    let mut page = format!(
        "# bound to {}, advertised as {} ({})\n",
        at.bind(),
        at.advertise(),
        at.reason(),
    );
    for skipped in at.skipped() {
        page.push_str(&format!("# passed over: {skipped}\n"));
    }
    page
}

/// `name = value`, or a comment where nothing is set.
fn assignment(setting: &Setting, text: &str) -> String {
    let name = setting.name;
    match setting.shape {
        _ if text.is_empty() => format!("# {name} ="),
        Shape::Number => format!("{name} = {text}"),
        Shape::Switch => format!("{name} = {}", bool::parse(text).unwrap_or_default()),
        Shape::Text | Shape::List => format!("{name} = {}", quoted(text)),
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", c as u32)),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// `docs/config.md`.
#[cfg(test)]
fn page() -> String {
    let mut page = String::from(
        "# Settings of `dui run`\n\n\
         Every setting can be a flag, a variable or a key of the TOML file that\n\
         `--config FILE` (or `DUI_CONFIG`) names, and wins in this order; the\n\
         default comes last. A variable that is set but empty counts as not set; a\n\
         flag with an empty value is refused, unless it takes a list.\n\
         `dui run --print-config` shows what is in force and from where.\n\n\
         | flag, key | variable | value | default | meaning |\n|---|---|---|---|---|\n",
    );
    for setting in TABLE {
        let cell = |text: &str| text.replace('|', "\\|");
        let default = match setting.default {
            "" => "none".into(),
            text => format!("`{text}`"),
        };
        page.push_str(&format!(
            "| `--{}` | `{}` | {} | {default} | {} |\n",
            setting.name,
            setting.variable(),
            cell(setting.expected),
            cell(setting.help),
        ));
    }
    page.push_str(
        "\nIn the file a port is a number, `insecure` a boolean, a list an array of\n\
         texts or one text with commas, and everything else a text:\n\n\
         ```toml\ncluster = \"blue\"\nclient-port = 7777\njoin = [\"10.0.0.7\", \"10.0.0.8:7781\"]\nleave-timeout = \"8s\"\n```\n\n\
         `DUI_KEY` holds a cluster key itself, where a file is not at hand; it is\n\
         never shown, only its fingerprint.\n",
    );
    page
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::settings::{Flags, load};

    /// `DUI_BLESS=1 cargo test -p dui-cli docs` writes the page anew.
    #[test]
    fn docs_config_is_what_the_table_says() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/config.md");
        if std::env::var_os("DUI_BLESS").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == page(),
            "docs/config.md is stale: DUI_BLESS=1 cargo test -p dui-cli docs_config"
        );
    }

    #[test]
    fn what_is_printed_is_a_file_that_asks_for_the_same() {
        let variable = |name: &str| match name {
            "DUI_CLUSTER" => Some("blue".into()),
            "DUI_DATA_DIR" => Some(r#"/tmp/a "b" \c"#.into()),
            "DUI_DISCOVERY" => Some("static:10.0.0.1,10.0.0.2".into()),
            _ => None,
        };
        let loaded = load(&Flags::default(), &variable, None).unwrap();
        let printed = print(&loaded, &Keyring::default());
        assert!(printed.contains("cluster = \"blue\""), "{printed}");
        assert!(printed.contains("# env DUI_CLUSTER"), "{printed}");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("dui.toml");
        std::fs::write(&path, &printed).unwrap();
        let again = load(&Flags::default(), &|_| None, Some(&path)).unwrap();
        let value = |loaded: &Loaded| format!("{:?}", loaded.settings.data_dir.value);
        assert_eq!(value(&again), value(&loaded));
        assert_eq!(
            again.settings.discovery.value,
            loaded.settings.discovery.value
        );
    }

    #[test]
    fn a_key_shows_by_its_fingerprint_only() {
        let secret = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        let variable = |name: &str| (name == "DUI_KEY").then(|| secret.to_owned());
        let loaded = load(&Flags::default(), &variable, None).unwrap();
        let keys = crate::keys::parse(secret).unwrap();
        let printed = print(&loaded, &keys);
        assert!(!printed.contains(secret), "{printed}");
        assert!(printed.contains(&keys.describe()), "{printed}");
        assert!(printed.contains("env DUI_KEY"), "{printed}");
    }
}
