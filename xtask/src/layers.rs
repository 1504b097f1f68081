//! Layers: imports point down only, between crates and inside core.
//!
//! A sans-IO core stays one only as long as nothing in it can reach up to the
//! shell; and membership, gossip and discovery can be read one at a time only
//! as long as none of them imports another.

use std::collections::BTreeMap;

use crate::Complaint;
use crate::lexer::split;

/// Which of our crates each crate may depend on, tests included.
const CRATES: &[(&str, &[&str])] = &[
    ("dui-core", &[]),
    ("dui-client", &[]),
    ("dui-disk", &[]),
    ("dui-node", &["dui-core", "dui-consensus", "dui-disk"]),
    ("dui-sim", &["dui-core"]),
    ("dui-consensus", &["dui-core", "dui-disk"]),
    ("dui-api", &["dui-node", "dui-client"]),
    ("dui-cli", &["dui-api", "dui-node", "dui-client", "dui-sim"]),
    ("xtask", &[]),
];

/// Modules of core that know nothing of membership, gossip, discovery or entries.
const FOUNDATION: &[&str] = &[
    "types",
    "tuning",
    "bugs",
    "clock",
    "id",
    "wire",
    "seal",
    "keyring",
    "reconcile",
    "entry",
    "diagnosis",
];
/// Modules that stand side by side on the foundation.
const MIDDLE: &[&str] = &["membership", "gossip", "discovery", "entries"];
/// The module that composes them.
const TOP: &str = "peer";

/// Checks one crate's Cargo.toml.
pub fn check_manifest(path: &str, manifest: &str) -> Vec<Complaint> {
    let manifest: toml::Table = match manifest.parse() {
        Ok(manifest) => manifest,
        Err(error) => return vec![format!("{path}:1: not TOML: {error}")],
    };
    let name = manifest
        .get("package")
        .and_then(|package| package.get("name"))
        .and_then(|name| name.as_str())
        .unwrap_or("(no name)");
    let allowed: BTreeMap<_, _> = CRATES.iter().copied().collect();
    let Some(allowed) = allowed.get(name) else {
        return vec![format!(
            "{path}:1: crate {name} has no layer: add it to CRATES in xtask/src/layers.rs"
        )];
    };
    ["dependencies", "dev-dependencies", "build-dependencies"]
        .iter()
        .filter_map(|section| manifest.get(*section)?.as_table())
        .flat_map(|table| table.keys())
        .filter(|dependency| CRATES.iter().any(|(ours, _)| ours == dependency))
        .filter(|dependency| !allowed.contains(&dependency.as_str()))
        .map(|dependency| {
            format!("{path}:1: {name} must not depend on {dependency}: imports point down only")
        })
        .collect()
}

/// Checks one source of core; `path` is relative to `crates/core/src`.
pub fn check_core_source(path: &str, source: &str) -> Vec<Complaint> {
    let modules = module_path(path);
    let Some(own) = modules.first() else {
        return Vec::new(); // lib.rs names everything
    };
    if *own != TOP && !FOUNDATION.contains(own) && !MIDDLE.contains(own) {
        return vec![format!(
            "crates/core/src/{path}:1: module {own} has no layer: add it in xtask/src/layers.rs"
        )];
    }
    let code = split(source).code;
    let mut complaints = Vec::new();
    for (line, target) in imports(&code, modules.len()) {
        if !may_import(own, &target) {
            complaints.push(format!(
                "crates/core/src/{path}:{line}: {own} must not import {target}: imports point down only"
            ));
        }
    }
    complaints
}

/// `membership/probe.rs` is `["membership", "probe"]`, `lib.rs` is `[]`.
fn module_path(path: &str) -> Vec<&str> {
    path.trim_end_matches(".rs")
        .split('/')
        .filter(|part| !matches!(*part, "mod" | "lib"))
        .collect()
}

fn may_import(own: &str, target: &str) -> bool {
    let known = target == TOP || FOUNDATION.contains(&target) || MIDDLE.contains(&target);
    if !known || own == TOP || own == target {
        return true;
    }
    FOUNDATION.contains(&target)
}

/// Names right below the crate root that the code reaches, with their lines:
/// by `crate::`, or by as many `super::` as the module is deep (or more).
fn imports(code: &str, depth: usize) -> Vec<(usize, String)> {
    let up = "super::".repeat(depth);
    let mut found = Vec::new();
    for prefix in ["crate::", up.as_str()] {
        for (at, _) in code.match_indices(prefix) {
            let line = code[..at].matches('\n').count() + 1;
            let mut rest = &code[at + prefix.len()..];
            while let Some(further) = rest.strip_prefix("super::") {
                rest = further;
            }
            found.extend(first_names(rest).into_iter().map(|name| (line, name)));
        }
    }
    found
}

/// The first name of a path, or of each path in a braced group.
fn first_names(path: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        let text = text.trim_start();
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    let Some(group) = path.strip_prefix('{') else {
        return vec![word(path)];
    };
    let (mut depth, mut start, mut names) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' if depth == 0 => {
                names.push(word(&group[start..at]));
                start = at + 1;
            }
            '}' => {
                names.push(word(&group[start..at]));
                break;
            }
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_depends_on_the_node_is_refused() {
        let bad =
            "[package]\nname = \"dui-core\"\n[dev-dependencies]\ndui-node = \"1\"\nbytes = \"1\"";
        assert_eq!(check_manifest("crates/core/Cargo.toml", bad).len(), 1);
        let good = "[package]\nname = \"dui-node\"\n[dependencies]\ndui-core = \"1\"";
        assert!(check_manifest("crates/node/Cargo.toml", good).is_empty());
    }

    #[test]
    fn a_crate_without_a_layer_is_refused() {
        let new = "[package]\nname = \"dui-extra\"";
        assert!(check_manifest("crates/extra/Cargo.toml", new)[0].contains("no layer"));
    }

    #[test]
    fn the_three_in_the_middle_never_import_one_another() {
        for bad in [
            "use crate::gossip::Rumor;",
            "use crate::{\n    clock::Now,\n    gossip::{Ring, Rumor},\n};",
            "fn f() { crate::peer::Peer::new() }",
            "use super::super::gossip::Rumor;",
        ] {
            let complaints = check_core_source("membership/probe.rs", bad);
            assert_eq!(complaints.len(), 1, "{bad}: {complaints:?}");
        }
        let good =
            "use crate::{clock, wire::Ping, NodeId};\nuse super::suspicion; // crate::gossip";
        assert!(check_core_source("membership/probe.rs", good).is_empty());
        assert!(check_core_source("peer/mod.rs", "use crate::gossip::Rumor;").is_empty());
    }

    #[test]
    fn the_foundation_imports_nothing_above_it() {
        assert_eq!(
            check_core_source("seal.rs", "use crate::membership::Member;").len(),
            1
        );
        assert!(check_core_source("seal.rs", "use crate::keyring::Key;").is_empty());
        assert!(check_core_source("extra.rs", "")[0].contains("no layer"));
    }
}
