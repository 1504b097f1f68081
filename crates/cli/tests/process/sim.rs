//! `dui sim`: the same arguments, the same output.

use std::process::{Command, Output};

fn sim(args: &[&str]) -> Output {
    let mut dui = Command::new(env!("CARGO_BIN_EXE_dui"));
    dui.arg("sim").args(args).output().unwrap()
}

#[test]
fn figures_follow_from_the_arguments_alone_and_the_wall_clock_goes_to_stderr() {
    let args = ["--nodes", "12", "--loss", "2", "--idle", "3s", "--json"];
    let (one, other) = (sim(&args), sim(&args));
    assert!(one.status.success());
    assert_eq!(one.stdout, other.stdout);
    let figures: serde_json::Value = serde_json::from_slice(&one.stdout).unwrap();
    for name in ["join_ms", "spread_ms", "detect_ms", "leave_ms"] {
        for rank in ["p50", "p99", "last"] {
            assert!(figures[name][rank].is_number(), "{name}.{rank}: {figures}");
        }
    }
    assert_eq!(figures["false_failed"], 0);
    assert_eq!(figures["trace_hash"].as_str().map(str::len), Some(64));
    let told = String::from_utf8(one.stderr).unwrap();
    assert!(told.contains("of 12 nodes simulated in"), "{told}");
    assert!(!told.contains('\r'), "no bar without a terminal");
}

#[test]
fn a_plot_is_written_and_what_cannot_be_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let plot = dir.path().join("plot.svg");
    let drawn = sim(&[
        "--nodes",
        "5",
        "--idle",
        "0s",
        "--out",
        plot.to_str().unwrap(),
    ]);
    assert!(drawn.status.success());
    assert!(std::fs::read_to_string(&plot).unwrap().contains("deaths"));
    assert_eq!(sim(&["--nodes", "1"]).status.code(), Some(2));
    assert_eq!(sim(&["--set", "fanout=3"]).status.code(), Some(2));
    let nowhere = dir.path().join("none/plot.svg");
    let failed = sim(&[
        "--nodes",
        "3",
        "--idle",
        "0s",
        "--out",
        nowhere.to_str().unwrap(),
    ]);
    assert_eq!(failed.status.code(), Some(1));
}
