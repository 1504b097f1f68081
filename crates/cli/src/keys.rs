//! Keys: cluster keys as people keep them, base64 text in a file.
//!
//! One key a line, `#` begins a comment; the first key seals, all of them
//! open. A key is 32 random bytes, so that guessing is hopeless and nothing
//! has to stretch a password.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dui_node::core::{Key, Keyring};

const KEY_BYTES: usize = 32;
/// Far above 16 keys with comments; a wrong path must not be read whole.
const FILE_BYTES_MAX: u64 = 64 * 1024;
const REMEDY: &str = "make a key with \"dui keys generate\"";

/// The keys of a file, and a warning when others can read it.
///
/// # Errors
/// What is wrong, with path, line and remedy. Never a part of a key.
pub(crate) fn read(path: &Path) -> Result<(Keyring, Option<String>), String> {
    let place = path.display();
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => format!(
            "there is no key file {place}: make one with \"dui keys generate --out {place}\", \
             or copy that of another node"
        ),
        _ => format!("cannot read the key file {place}: {error}"),
    };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    let mut text = String::new();
    file.take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    let keys = parse(&text).map_err(|(line, problem)| format!("{place}:{line}: {problem}"))?;
    let warning = (mode & 0o007 != 0)
        .then(|| format!("everybody on this machine can read {place}: chmod 600 {place}"));
    Ok((keys, warning))
}

/// The keys in a text.
///
/// # Errors
/// The line, from 1, and what is wrong with it.
pub(crate) fn parse(text: &str) -> Result<Keyring, (usize, String)> {
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if !line.is_empty() {
            keys.push(decode(line).map_err(|problem| (index + 1, problem))?);
        }
    }
    if keys.is_empty() {
        return Err((1, format!("there is no key in it: {REMEDY}")));
    }
    Keyring::new(keys).map_err(|error| (text.lines().count(), error.to_string()))
}

fn decode(line: &str) -> Result<Key, String> {
    let bytes = STANDARD.decode(line).map_err(|_| {
        let long = 4 * KEY_BYTES.div_ceil(3);
        format!("this is no base64 text of {long} characters: {REMEDY}")
    })?;
    Key::from_slice(&bytes).map_err(|error| format!("{error}: {REMEDY}"))
}

/// Makes a key and writes it to `out`, which must not exist, or returns it.
///
/// # Errors
/// When the file exists or cannot be written.
pub(crate) fn generate(out: Option<&Path>) -> Result<Option<String>, String> {
    let mut bytes = [0; KEY_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| format!("no randomness: {error}"))?;
    let line = format!("{}\n", STANDARD.encode(bytes));
    let Some(path) = out else {
        return Ok(Some(line));
    };
    let place = path.display();
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                format!("{place} exists and is left as it is: choose another name for --out")
            }
            _ => format!("cannot create {place}: {error}"),
        })?;
    file.write_all(line.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(|error| format!("cannot write {place}: {error}"))?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn written(text: &str, mode: u32) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        (directory, path)
    }

    #[test]
    fn a_generated_key_is_read_back_and_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        assert_eq!(generate(Some(&path)).unwrap(), None);
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let (keys, warning) = read(&path).unwrap();
        assert!(keys.primary().is_some());
        assert_eq!(warning, None);
        assert!(generate(Some(&path)).unwrap_err().contains("left as it is"));
        assert_eq!(read(&path).unwrap().0, keys);
    }

    #[test]
    fn the_first_of_several_keys_seals_and_comments_are_skipped() {
        let [old, new] = [(); 2].map(|()| generate(None).unwrap().unwrap());
        let ring = parse(&format!("# rotated\n\n{new}  {} # old\n", old.trim())).unwrap();
        assert_eq!(ring.primary(), parse(&new).unwrap().primary());
        assert_eq!(ring.describe().split(", ").count(), 2);
    }

    #[test]
    fn a_bad_line_is_named_without_telling_the_key() {
        let good = generate(None).unwrap().unwrap();
        let (line, problem) = parse(&format!("{good}c2VjcmV0\n")).unwrap_err();
        assert_eq!(line, 2);
        assert!(
            problem.contains("has 32 bytes, this one has 6"),
            "{problem}"
        );
        assert!(!problem.contains("c2VjcmV0"));
        let (line, problem) = parse("# x\n\nnot base64!\n").unwrap_err();
        assert_eq!(line, 3);
        assert!(problem.contains("base64"), "{problem}");
    }

    #[test]
    fn an_empty_or_missing_file_says_how_to_make_a_key() {
        let (_keep, path) = written("# nothing here\n", 0o600);
        assert!(read(&path).unwrap_err().contains("dui keys generate"));
        let missing = read(Path::new("/nonexistent/key")).unwrap_err();
        assert!(missing.contains("/nonexistent/key"), "{missing}");
    }

    #[test]
    fn a_key_that_everybody_can_read_is_a_warning() {
        let (_keep, path) = written(&generate(None).unwrap().unwrap(), 0o644);
        let warning = read(&path).unwrap().1.unwrap();
        assert!(warning.contains("chmod 600"), "{warning}");
    }
}
