//! Confirming: what cannot be taken back asks first, at a terminal.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Output, Stdio};

use nix::fcntl::OFlag;
use nix::pty::{PtyMaster, grantpt, posix_openpt, ptsname_r, unlockpt};

use crate::town::{Node, Town, dui, stderr, stdout};

/// `dui recover --reset` whose stdin is a terminal, and the one who sits there.
fn asked(node: &Node) -> (Child, PtyMaster) {
    // Which no child inherits: once it is closed here, the terminal is gone.
    let own = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let person = posix_openpt(own).unwrap();
    grantpt(&person).unwrap();
    unlockpt(&person).unwrap();
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(OFlag::O_NOCTTY.bits());
    let terminal = options.open(ptsname_r(&person).unwrap()).unwrap();
    let child = dui()
        .args(["recover", "--reset", "--addr", &node.field("client")])
        .stdin(terminal)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    (child, person)
}

/// What comes of these keys, pressed once the question is there. Without any
/// the terminal is closed.
fn answered(node: &Node, keys: &[u8]) -> Output {
    let (mut child, mut person) = asked(node);
    let mut question = Vec::new();
    let mut shown = child.stderr.take().unwrap();
    while !question.ends_with(b"[y/N] ") {
        let mut byte = [0];
        shown.read_exact(&mut byte).unwrap();
        question.push(byte[0]);
    }
    person.write_all(keys).unwrap();
    if keys.is_empty() {
        drop(person);
    }
    let mut output = child.wait_with_output().unwrap();
    output.stderr = question;
    shown.read_to_end(&mut output.stderr).unwrap();
    output
}

fn is_reset(dir: &Path) -> bool {
    dir.join("reset").exists()
}

#[test]
fn a_reset_asks_and_everything_but_yes_is_no() {
    let town = Town::new("confirm");
    let dirs = tempfile::tempdir().unwrap();
    let dir = dirs.path().join("ann");
    let ann = town.start("ann", &["--data-dir", dir.to_str().unwrap()]);

    // Enter alone, the end of the input (control-D), and a hangup, too.
    let no = [b"no\n".as_slice(), b"\n", b"yesterday\n", b"\x04", b""];
    for keys in no {
        let refused = answered(&ann, keys);
        let said = stderr(&refused);
        assert_eq!(refused.status.code(), Some(1), "{keys:?}: {said}");
        assert!(said.contains("has a new id once"), "{keys:?}: {said}");
        assert!(said.contains("nothing was changed"), "{keys:?}: {said}");
        assert_eq!(stdout(&refused), "", "{keys:?}");
        assert!(!is_reset(&dir), "{keys:?}");
    }
    // Where nobody is at a terminal, no answer is one.
    let yes = dirs.path().join("yes");
    fs::write(&yes, "yes\n").unwrap();
    let unasked = dui()
        .args(["recover", "--reset", "--addr", &ann.field("client")])
        .stdin(File::open(&yes).unwrap())
        .output()
        .unwrap();
    assert_eq!(unasked.status.code(), Some(2));
    assert!(stderr(&unasked).contains("Say --yes"), "{unasked:?}");
    assert!(!is_reset(&dir));

    let done = answered(&ann, b"Yes\n");
    assert!(done.status.success(), "{}", stderr(&done));
    assert!(stdout(&done).contains("start this node again"), "{done:?}");
    assert!(is_reset(&dir));
}
