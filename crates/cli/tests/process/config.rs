//! Configuration: what is wrong with it is told before anything is started.

use crate::town::{dui, output, stderr, stdout};

#[test]
fn every_mistake_of_a_file_is_named_with_its_line_and_exit_78() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dui.toml");
    std::fs::write(&path, "cluster = 'blue'\nclient_prot = 7777\nrole = 1\n").unwrap();
    let run = output(dui().args(["run", "--config", path.to_str().unwrap()]));
    assert_eq!(run.status.code(), Some(78));
    let text = stderr(&run);
    assert!(
        text.contains("dui.toml:2: unknown key 'client_prot': did you mean 'client-port'?"),
        "{text}"
    );
    assert!(text.contains("dui.toml:3: role: expected a text"), "{text}");
    assert_eq!(stdout(&run), "");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let run = output(dui().args(["run", "--config", "/nonexistent/dui.toml"]));
    assert_eq!(run.status.code(), Some(78));
    assert!(
        stderr(&run).contains("/nonexistent/dui.toml"),
        "{}",
        stderr(&run)
    );
}

#[test]
fn a_key_that_is_none_is_refused_without_being_shown() {
    let run = output(dui().arg("run").env("DUI_KEY", "hunter2"));
    assert_eq!(run.status.code(), Some(78));
    assert!(!stderr(&run).contains("hunter2"));
    assert!(
        stderr(&run).contains("dui keys generate"),
        "{}",
        stderr(&run)
    );
}

#[test]
fn what_is_in_force_is_shown_with_where_it_came_from() {
    let run = output(
        dui()
            .args(["run", "--print-config", "--role", "worker"])
            .env("DUI_CLUSTER", "blue"),
    );
    assert!(run.status.success());
    let line = |start: &str| {
        let text = stdout(&run);
        let line = text
            .lines()
            .find(|line| line.starts_with(start))
            .map(str::to_owned);
        line.unwrap_or_else(|| panic!("no {start} in {text}"))
    };
    assert!(line("role = \"worker\"").ends_with("# flag"));
    assert!(line("cluster = \"blue\"").ends_with("# env DUI_CLUSTER"));
    assert!(line("client-port = 7777").ends_with("# default"));
}

#[test]
fn wrong_usage_is_exit_2_and_no_command_shows_the_help() {
    assert_eq!(
        output(dui().args(["run", "--role", "boss"])).status.code(),
        Some(2)
    );
    assert_eq!(output(dui().arg("dance")).status.code(), Some(2));
    let help = output(&mut dui());
    assert_eq!(help.status.code(), Some(2));
    assert!(stderr(&help).contains("Usage: dui"), "{}", stderr(&help));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut command = dui();
    let mut child = command
        .args(["completions", "bash"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(stderr(&ended), "");
    assert!(ended.status.success());
}
