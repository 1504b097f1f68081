//! Tree: the text files of the repository, as they are on disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Built or measured, not written: nobody tidies these.
const SKIPPED: &[&str] = &[
    ".git",
    "target",
    "out",
    "corpus",
    "artifacts",
    "__pycache__",
    "node_modules",
];

/// A text file.
#[derive(Debug)]
pub struct File {
    /// Relative to the repository, with `/`.
    pub path: String,
    /// Its contents.
    pub text: String,
}

/// The repository that this crate is part of.
pub fn root() -> PathBuf {
    // Asked at run time: a build may be shared by several checkouts.
    let crate_dir = std::env::var_os("CARGO_MANIFEST_DIR");
    crate_dir.map_or_else(|| PathBuf::from("."), |dir| Path::new(&dir).join(".."))
}

/// Every text file below `root`, sorted by path. Files that are not UTF-8 are
/// not text and left out.
///
/// # Errors
/// When a directory or file cannot be read.
pub fn files(root: &Path) -> io::Result<Vec<File>> {
    let mut found = Vec::new();
    collect(root, "", &mut found)?;
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn collect(dir: &Path, prefix: &str, found: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        let path = format!("{prefix}{name}");
        let kind = entry.file_type()?;
        if kind.is_dir() {
            collect(&entry.path(), &format!("{path}/"), found)?;
        } else if kind.is_file()
            && let Ok(text) = String::from_utf8(fs::read(entry.path())?)
        {
            found.push(File { path, text });
        }
    }
    Ok(())
}
