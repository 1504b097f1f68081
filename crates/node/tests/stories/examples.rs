//! Examples run: what a reader copies works.

use std::process::Command;

#[test]
fn two_nodes_find_each_other_and_part_politely() {
    // Beside this test's own directory, where cargo puts both.
    let exe = std::env::current_exe().unwrap();
    let target = exe.parent().and_then(|deps| deps.parent()).unwrap();
    let output = Command::new(target.join("examples/two_nodes"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(
        said.contains("bo is alive") && said.contains("bo left"),
        "{said}"
    );
}
