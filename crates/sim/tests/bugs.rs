//! Bugs: each checker catches a mistake made on purpose, and chaos finds each soon.
//!
//! Built with `--features bugs` only. Nodes make one mistake each time; what
//! has to notice is the rule that it breaks.

#![allow(clippy::unwrap_used)]

use dui_core::Bug;
use dui_sim::chaos::{Case, shrink};
use dui_sim::check::Violation;

/// Seeds in which a mistake has to show.
const SEEDS: u64 = 200;

/// The first seed of small clusters in which nodes that make this mistake break
/// one of these rules.
fn first(bug: Bug, rules: &[&str]) -> (Case, Violation) {
    let found = (0..SEEDS).find_map(|seed| {
        let case = Case {
            seed,
            nodes: Some(5 + seed as usize % 8),
            bug: Some(bug),
            ..Case::default()
        };
        let broken = case.play().err()?;
        rules.contains(&broken.rule).then_some((case, broken))
    });
    found.unwrap_or_else(|| panic!("{} breaks none of {rules:?}", bug.as_str()))
}

fn is_caught_by(bug: Bug, rules: &[&str]) {
    let (case, _) = first(bug, rules);
    // It is the mistake that breaks the rule, not the plan.
    let innocent = Case { bug: None, ..case };
    assert_eq!(innocent.play().err(), None, "{innocent}");
}

#[test]
fn who_refutes_without_raising_its_incarnation_is_never_done() {
    is_caught_by(Bug::FlatRefutation, &["bounds", "agreement"]);
}

#[test]
fn a_duplicate_window_without_the_run_swallows_news() {
    is_caught_by(Bug::RunlessWindow, &["rumors", "agreement"]);
}

#[test]
fn a_suspicion_that_outlives_its_refutation_never_rests() {
    // Who is failed in spite of its answer refutes, is failed again, and so on.
    is_caught_by(Bug::StaleSuspicion, &["answering", "agreement", "bounds"]);
}

#[test]
fn a_leaver_that_is_adopted_again_is_a_resurrection() {
    is_caught_by(Bug::AdoptedLeaver, &["resurrection"]);
}

#[test]
fn an_ack_from_anybody_at_the_address_settles_what_it_must_not() {
    is_caught_by(Bug::StrangersAck, &["answering", "agreement"]);
}

#[test]
fn older_news_take_an_incarnation_back() {
    is_caught_by(Bug::OlderWins, &["incarnations"]);
}

#[test]
fn a_leaver_that_may_fail_is_noticed() {
    is_caught_by(Bug::LeaverFails, &["leavers"]);
}

#[test]
fn a_hoard_of_old_rumors_is_noticed() {
    is_caught_by(Bug::Hoard, &["bounds"]);
}

#[test]
fn a_member_of_another_cluster_is_noticed() {
    is_caught_by(Bug::ClusterBlind, &["strangers"]);
}

#[test]
fn an_accusation_on_waking_is_noticed() {
    is_caught_by(Bug::HastyWaking, &["waking"]);
}

#[test]
fn an_event_that_is_told_twice_is_noticed() {
    is_caught_by(Bug::ToldTwice, &["rumors"]);
}

#[test]
fn views_that_stay_different_are_noticed() {
    is_caught_by(Bug::DeafDigest, &["agreement", "rumors"]);
}

#[test]
fn older_leader_news_that_replace_newer_ones_are_noticed() {
    is_caught_by(Bug::ForgetfulLeader, &["leading"]);
}

#[test]
fn a_case_is_shrunk_to_what_it_takes_and_its_line_repeats_it() {
    let (case, broken) = first(Bug::AdoptedLeaver, &["resurrection"]);
    let (smaller, again) = shrink(&case, broken.clone());
    assert_eq!(again.rule, broken.rule);
    let (before, after) = (case.plan(), smaller.plan());
    assert!(after.nodes <= before.nodes && after.faults.len() < before.faults.len());
    assert!(after.faults.len() * 2 < before.faults.len(), "{smaller}");
    let numbers: Vec<usize> = after.faults.iter().map(|(number, ..)| *number).collect();
    for number in &numbers {
        let others = numbers.iter().copied().filter(|other| other != number);
        let without = Case {
            only: Some(others.collect()),
            ..smaller.clone()
        };
        let rule = without.play().err().map(|broken| broken.rule);
        assert_ne!(rule, Some(again.rule), "{smaller} needs no fault {number}");
    }
    assert_eq!(smaller.play().err(), Some(again));
    let line = smaller.to_string();
    assert!(
        line.contains("--faults") && line.ends_with("--bug adopted-leaver"),
        "{line}"
    );
}
