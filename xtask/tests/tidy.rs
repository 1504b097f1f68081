//! Tidy: every check, over the whole repository.

use std::fs;
use std::path::Path;

use xtask::tree::{self, File};
use xtask::{layers, links, purity, sources};

const CORE: &str = "crates/core/src/";
/// Its program tells how long people waited, and reads its command line.
const SIM: &str = "crates/sim/src/";
const SIM_PROGRAM: &str = "crates/sim/src/main.rs";
/// Driven by its checker, which tells how long that took.
const FOUNDING: &str = "crates/consensus/src/founding/mod.rs";

#[test]
fn imports_point_down_only() {
    check(|file| {
        if file.path.ends_with("Cargo.toml") && file.path.contains('/') && !is_fuzz(file) {
            return layers::check_manifest(&file.path, &file.text);
        }
        match file.path.strip_prefix(CORE) {
            Some(path) if path.ends_with(".rs") => layers::check_core_source(path, &file.text),
            _ => Vec::new(),
        }
    });
}

#[test]
fn core_simulator_and_founding_touch_no_clock_socket_thread_randomness_or_hash_order() {
    check(|file| {
        let pure = [CORE, SIM, FOUNDING]
            .iter()
            .any(|of| file.path.starts_with(of));
        if pure && file.path.ends_with(".rs") && file.path != SIM_PROGRAM {
            purity::check(&file.path, &file.text)
        } else {
            Vec::new()
        }
    });
}

#[test]
fn sources_have_a_header_a_bounded_length_and_nothing_unfinished() {
    check(|file| {
        if file.path.ends_with(".rs") {
            sources::check_rust(&file.path, &file.text)
        } else {
            sources::check_notes(&file.path, &file.text)
        }
    });
}

#[test]
fn links_in_documents_lead_somewhere() {
    let root = tree::root();
    check(|file| {
        if file.path.ends_with(".md") {
            links::check(&file.path, &file.text, |path| {
                text_or_folder(&root.join(path))
            })
        } else {
            Vec::new()
        }
    });
}

#[test]
fn the_ratchet_lists_only_files_that_exist() {
    for (path, _) in sources::RATCHET {
        assert!(
            tree::root().join(path).is_file(),
            "{path} is gone: take it off the list"
        );
    }
}

/// Runs a check over every file and shows all complaints at once.
fn check(complaints: impl Fn(&File) -> Vec<xtask::Complaint>) {
    let files = tree::files(&tree::root()).expect("the repository can be read");
    assert!(
        files.iter().any(|file| file.path == "README.md"),
        "this is not the repository"
    );
    let all: Vec<_> = files.iter().flat_map(complaints).collect();
    assert!(all.is_empty(), "\n{}\n", all.join("\n"));
}

/// Fuzz targets are a workspace of their own, free to reach into core.
fn is_fuzz(file: &File) -> bool {
    file.path.starts_with("fuzz/")
}

fn text_or_folder(path: &Path) -> Option<String> {
    if path.is_dir() {
        return Some(String::new());
    }
    fs::read_to_string(path).ok()
}
