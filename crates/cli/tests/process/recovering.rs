//! Recovering: managers that are lost for good, and copies, as an operator
//! types it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::town::{Node, Town, eventually, stderr, stdout};

/// Who leads, once somebody does and `wanted` likes it.
fn leader(node: &Node, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || {
        let answer = node.ask(&["leader", "--json"]);
        let leader: Value = serde_json::from_slice(&answer.stdout).unwrap();
        (leader["state"] == "led" && wanted(&leader)).then_some(leader)
    })
}

#[test]
fn two_of_three_managers_are_lost_for_good() {
    let town = Town::new("lost");
    let dirs = tempfile::tempdir().unwrap();
    let start = |name: &str| {
        let dir = dirs.path().join(name);
        town.start(
            name,
            &["--expect", "3", "--data-dir", dir.to_str().unwrap()],
        )
    };
    let mut nodes = ["ann", "bo", "cy"].map(start).into_iter();
    let (ann, bo) = (nodes.next().unwrap(), nodes.next().unwrap());
    let cy = nodes.next().unwrap();
    let before = leader(&cy, "somebody leads", |_| true);
    eventually("all vote", || {
        let managers = stdout(&cy.ask(&["managers"]));
        let voters = managers.matches("voter").count();
        (voters == 2).then_some(())
    });
    let refused = cy.ask(&["recover", "--quorum", "--yes"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("are alive"),
        "{}",
        stderr(&refused)
    );
    for lost in [ann, bo] {
        drop(lost);
    }
    eventually("both have failed", || {
        let members = stdout(&cy.ask(&["members"]));
        (members.matches("failed").count() == 2).then_some(())
    });

    // Nobody is here to be asked.
    let unsure = cy.ask(&["recover", "--quorum"]);
    assert_eq!(unsure.status.code(), Some(2));
    assert!(stderr(&unsure).contains("--yes"), "{}", stderr(&unsure));
    let both = cy.ask(&["recover", "--quorum", "--reset", "--yes"]);
    assert_eq!(both.status.code(), Some(2));
    let done = cy.ask(&["recover", "--quorum", "--yes"]);
    assert!(done.status.success(), "{}", stderr(&done));
    let old = before["cluster_id"].as_str().unwrap();
    assert!(stdout(&done).contains(old), "{}", stdout(&done));
    let after = leader(&cy, "cy leads", |leader| leader["name"] == "cy");
    assert_ne!(after["cluster_id"], before["cluster_id"]);
    let token = |leader: &Value| leader["revision"].as_u64().unwrap();
    assert!(token(&after) > token(&before) + (1 << 40));
}

#[test]
fn a_copy_goes_from_a_cluster_to_a_new_one() {
    let town = Town::new("copy");
    let dirs = tempfile::tempdir().unwrap();
    let ann = town.start("ann", &[]);
    let before = leader(&ann, "ann leads", |_| true);
    let file = dirs.path().join("dui.backup");
    let path = file.to_str().unwrap();
    let saved = ann.ask(&["backup", path]);
    assert!(saved.status.success(), "{}", stderr(&saved));
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(ann.ask(&["backup", "-"]).stdout.starts_with(b"duibckup"));
    let refused = ann.ask(&["restore", path]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("--expect 3"),
        "{}",
        stderr(&refused)
    );
    drop(ann);

    let dir = dirs.path().join("bo");
    let bo = ["--expect", "3", "--data-dir", dir.to_str().unwrap()];
    let first = town.start("bo", &bo);
    let other = dirs.path().join("other");
    fs::write(&other, "something else").unwrap();
    let refused = first.ask(&["restore", other.to_str().unwrap()]);
    assert!(
        stderr(&refused).contains("no backup"),
        "{}",
        stderr(&refused)
    );
    let huge = fs::File::create(&other).unwrap();
    huge.set_len((64 << 20) + 1).unwrap();
    let refused = first.ask(&["restore", other.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1));
    let said = stderr(&refused);
    assert!(said.contains("none is larger than 64 MiB"), "{said}");
    let restored = first.ask(&["restore", path, "--json"]);
    let restored: Value = serde_json::from_slice(&restored.stdout).unwrap();
    assert_eq!(restored["recovered_from"], before["cluster_id"]);
    leader(&first, "bo leads", |leader| leader["name"] == "bo");

    let stuck = first.ask(&["recover", "--abandon-founding"]);
    assert!(
        stderr(&stuck).contains("nothing to abandon"),
        "{}",
        stderr(&stuck)
    );
    let reset = first.ask(&["recover", "--reset", "--yes"]);
    assert!(
        stdout(&reset).contains("start this node again"),
        "{}",
        stderr(&reset)
    );
    let id = first.field("id");
    drop(first);
    let again = town.start("bo", &bo);
    assert_ne!(again.field("id"), id);
}
