//! `dui recover`, `backup` and `restore`: what an operator decides, and copies
//! of what the managers agreed on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use dui_client::{Recovered, Refounded, SharedChoice};

use super::{client, json, read};
use crate::args::{BackupArgs, RecoverArgs, RestoreArgs};
use crate::failure::Failure;
use crate::screen::Screen;

/// As much as a node takes.
const BACKUP_BYTES_MAX: u64 = 64 << 20;

const QUORUM: &str = "\
This founds a new cluster from the copy that this one manager has. It is right
only if most of the managers that vote are lost for good: where they come back,
there are two clusters, and what the other one had agreed on later is lost.
Say it on the manager that has come furthest (MATCHED in \"dui managers\").";

const RESET: &str = "\
This manager gives up what it promised and has a new id once it is started
again. Its shared entries stay. It is right only if the disks of most of the
others that it founded or voted with are destroyed for good, or if its cluster
was recovered elsewhere: otherwise its vote is missing there.";

/// Decides what no node may decide by itself.
pub(crate) async fn recover(args: RecoverArgs) -> Result<(), Failure> {
    let client = client(&args.ask)?;
    let (machine, text) = if let Some(choice) = args.shared {
        let recovered = client.recover_shared(choice).await?;
        (json(&recovered)?, shared(&recovered))
    } else if args.quorum {
        ask(QUORUM, args.yes)?;
        let refounded = client.recover_quorum(args.force).await?;
        (json(&refounded)?, founded(&refounded))
    } else if args.reset {
        ask(RESET, args.yes)?;
        let reset = client.recover_reset().await?;
        let text = format!(
            "{} is given up: start this node again now, and it is a new one\n",
            reset.id
        );
        (json(&reset)?, text)
    } else {
        let abandoned = client.abandon_founding().await?;
        let text = "the proposal to found is abandoned\n".into();
        (json(&abandoned)?, text)
    };
    let text = if args.json { machine } else { text };
    Ok(Screen::stdout().print(&text)?)
}

fn shared(Recovered { shared, entries }: &Recovered) -> String {
    match shared {
        SharedChoice::Keep => format!("kept {entries} shared entries; the other side takes them\n"),
        SharedChoice::Discard => {
            format!("gave up {entries} shared entries; the other side's come instead\n")
        }
    }
}

fn founded(refounded: &Refounded) -> String {
    format!(
        "this manager founded cluster {}, which goes on for {};\n\
         revisions rise from {} to {}. Start others with empty data directories\n",
        refounded.cluster_id,
        refounded.recovered_from,
        refounded.revision_before,
        refounded.revision
    )
}

/// Has somebody at a terminal confirm it; elsewhere `--yes` does.
fn ask(what: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    let refused = |text: &str| Failure::usage(format!("{what}\n{text}"));
    if !io::stdin().is_terminal() {
        return Err(refused("Say --yes if that is so: nobody is here to ask."));
    }
    let mut stderr = io::stderr().lock();
    let asked = write!(stderr, "{what}\nGo on? [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let heard = asked.and_then(|()| io::stdin().lock().read_line(&mut answer));
    heard.map_err(|error| Failure::failed(format!("cannot ask: {error}; nothing was changed")))?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::failed("nothing was changed")),
    }
}

/// Saves what the managers agreed on.
pub(crate) async fn backup(args: BackupArgs) -> Result<(), Failure> {
    let bytes = client(&args.ask)?.backup().await?;
    if args.file.as_os_str() == "-" {
        return Ok(Screen::stdout().write(&bytes)?);
    }
    save(&args.file, &bytes).map_err(|error| {
        let file = args.file.display();
        Failure::failed(format!("cannot write {file}: {error}; it is as it was"))
    })?;
    let text = format!("{} bytes in {}\n", bytes.len(), args.file.display());
    Ok(Screen::stdout().print(&text)?)
}

/// Founds a cluster with what was saved.
pub(crate) async fn restore(args: RestoreArgs) -> Result<(), Failure> {
    let what = args.file.display().to_string();
    let bytes = if what == "-" {
        read(io::stdin().lock(), BACKUP_BYTES_MAX + 1, "stdin")?
    } else {
        let file = File::open(&args.file);
        let file = file.map_err(|error| Failure::failed(format!("cannot read {what}: {error}")))?;
        read(file, BACKUP_BYTES_MAX + 1, &what)?
    };
    if bytes.len() as u64 > BACKUP_BYTES_MAX {
        let mib = BACKUP_BYTES_MAX >> 20;
        let text = format!("{what} is no backup of dui: none is larger than {mib} MiB");
        return Err(Failure::failed(text));
    }
    let refounded = client(&args.ask)?.restore(bytes).await?;
    let text = if args.json {
        json(&refounded)?
    } else {
        founded(&refounded)
    };
    Ok(Screen::stdout().print(&text)?)
}

/// All of it or nothing, durable on return, for nobody else to read.
fn save(file: &Path, bytes: &[u8]) -> io::Result<()> {
    // What is no file would be replaced by one, even /dev/null.
    if fs::metadata(file).is_ok_and(|there| !there.is_file()) {
        let what = "it is no regular file; \"-\" is stdout";
        return Err(io::Error::other(what));
    }
    let mut temporary = file.as_os_str().to_owned();
    temporary.push(format!(".{}.new", std::process::id()));
    let dir = match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    // Never what somebody else has put there, a link perhaps.
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let opened = options.open(&temporary).or_else(|error| {
        if error.kind() != io::ErrorKind::AlreadyExists {
            return Err(error);
        }
        // Left by a process of this number that was killed; a link goes, not
        // what it leads to.
        fs::remove_file(&temporary)?;
        options.open(&temporary)
    });
    let mut opened = opened?;
    let saved = (|| {
        opened.write_all(bytes)?;
        opened.sync_all()?;
        fs::rename(&temporary, file)?;
        File::open(dir)?.sync_all()
    })();
    if saved.is_err() {
        // A full disk gets back what half a file took.
        let _ = fs::remove_file(&temporary);
    }
    saved
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_backup_is_whole_and_private_and_replaces_the_one_before() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("dui.backup");
        for bytes in [b"one".as_slice(), b"another"] {
            save(&file, bytes).unwrap();
            assert_eq!(fs::read(&file).unwrap(), bytes);
        }
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(save(&dir.path().join("missing/file"), b"one").is_err());
    }

    #[test]
    fn a_backup_that_was_killed_leaves_nothing_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let (file, other) = (dir.path().join("dui.backup"), dir.path().join("other"));
        fs::write(&other, b"of somebody else").unwrap();
        // In a container the next process may have the same number.
        let left = dir
            .path()
            .join(format!("dui.backup.{}.new", std::process::id()));
        std::os::unix::fs::symlink(&other, &left).unwrap();
        save(&file, b"one").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"one");
        assert!(!fs::symlink_metadata(&file).unwrap().is_symlink());
        assert_eq!(fs::read(&other).unwrap(), b"of somebody else");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_backup_replaces_no_directory_and_no_device() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        for file in [dir.path(), &link] {
            let refused = save(file, b"one").unwrap_err().to_string();
            assert!(refused.contains("no regular file"), "{refused}");
        }
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
