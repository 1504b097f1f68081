//! The doctor, where no network is needed to be ill. Hosts are in `tests/network/doctor.py`.

use std::net::{TcpListener, UdpSocket};
use std::process::Output;

use serde_json::Value;

use crate::town::{Town, dui, output, stderr, stdout};

/// What a doctor says who is asked where no node runs, with these settings.
fn alone(arguments: &[&str]) -> Output {
    // Nodes of other stories may listen at the default address.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    drop(nobody);
    output(
        dui()
            .args(["doctor", "--json", "--addr", &address])
            .args(["--client-port", "0", "--health-port", "0"])
            .args(arguments),
    )
}

fn codes(output: &Output) -> Vec<String> {
    let found: Value = serde_json::from_str(&stdout(output)).unwrap();
    let findings = found["findings"].as_array().unwrap();
    assert_eq!(found["healthy"], findings.is_empty());
    assert_eq!(output.status.code(), Some(i32::from(!findings.is_empty())));
    for finding in findings {
        assert_ne!(finding["remedy"], "", "{finding}");
    }
    let code = |finding: &Value| finding["code"].as_str().unwrap().to_owned();
    findings.iter().map(code).collect()
}

#[test]
fn two_nodes_that_see_each_other_are_well_and_people_are_told_so() {
    let town = Town::new("well");
    let (ann, bo) = (town.start("ann", &[]), town.start("bo", &[]));
    ann.sees("bo", "alive");
    bo.sees("ann", "alive");
    assert_eq!(codes(&ann.ask(&["doctor", "--json"])), [""; 0]);
    let text = stdout(&ann.ask(&["doctor"]));
    assert!(text.contains("Nothing is wrong"), "{text}");
    for check in ["udp", "tcp", "multicast", "clock"] {
        let line = text.lines().find(|line| line.starts_with(check)).unwrap();
        assert!(line.contains(" ok ") && line.contains("bo"), "{line}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

#[test]
fn a_place_that_the_node_does_not_know_is_examined_on_request() {
    let town = Town::new("also");
    let ann = town.start("ann", &[]);
    let nobody = UdpSocket::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let found = ann.ask(&["doctor", "--json", "--join", &nobody.to_string()]);
    assert_eq!(codes(&found), ["not_running"]);
    assert!(stdout(&found).contains(&nobody.to_string()));
}

#[test]
fn a_port_that_another_program_has_is_found_with_that_program() {
    let holder = TcpListener::bind("127.0.94.1:0").unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    let found = alone(&["--bind", "127.0.94.1", "--peer-port", &port]);
    assert_eq!(codes(&found), ["port_taken"]);
    let ours = format!("pid {}", std::process::id());
    assert!(stdout(&found).contains(&ours), "{}", stdout(&found));
    assert!(stderr(&found).contains("examining this host instead"));
}

#[test]
fn what_keeps_a_node_from_starting_is_told_as_findings() {
    let bad_key = alone(&["--key-file", "/nonexistent/key"]);
    assert_eq!(codes(&bad_key), ["configuration"]);
    assert!(stdout(&bad_key).contains("dui keys generate"));
    let no_key = alone(&["--bind", "192.0.2.1"]);
    assert_eq!(codes(&no_key), ["configuration"]);
    assert!(stdout(&no_key).contains("--insecure"));
}

#[test]
fn a_doctor_where_no_node_runs_finds_those_that_run_and_is_in_nobodys_list() {
    let town = Town::new("examiner");
    let ann = town.start("ann", &[]);
    let place = ann.field("address");
    let (cluster, port) = town.flags();
    let arguments = [
        "--cluster",
        &cluster,
        "--discovery-port",
        &port,
        "--join",
        &place,
    ];
    let found = alone(&arguments);
    assert_eq!(codes(&found), [""; 0]);
    assert!(stdout(&found).contains(&place), "{}", stdout(&found));
    assert_eq!(ann.members().len(), 1);
    let stranger = alone(&[
        "--discovery-port",
        &port,
        "--join",
        &place,
        "--cluster",
        "green",
    ]);
    assert_eq!(codes(&stranger), ["other_cluster"]);
    assert_eq!(ann.members().len(), 1);
}
