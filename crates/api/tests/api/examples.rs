//! Examples run: what a reader copies works.

use std::process::Command;

#[test]
fn entries_are_written_watched_and_listed() {
    // Beside this test's own directory, where cargo puts both.
    let exe = std::env::current_exe().unwrap();
    let target = exe.parent().and_then(|deps| deps.parent()).unwrap();
    let output = Command::new(target.join("examples/entries"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    for line in [
        "wrote config/limit",
        "batch: status 201",
        "3 entries under config/",
        "config/colour is Deleted",
        "config/blob has 2 bytes",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
}
