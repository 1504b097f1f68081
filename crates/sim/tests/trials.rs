//! Long hardships, shortened: what the show `partition-24h` plays for a day and for hours.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use dui_sim::trials::{Outcome, Trial};

const MINUTE: Duration = Duration::from_secs(60);

fn play(trial: Trial, minutes: u32, seed: u64) -> Outcome {
    trial.run(50, MINUTE * minutes, seed).unwrap()
}

fn failed(outcome: &Outcome) -> u64 {
    outcome.minutes.iter().map(|minute| minute.failed).sum()
}

/// Four of five refutations do not reach it, so it asks again.
#[test]
fn a_host_that_hears_a_fifth_calls_nobody_failed() {
    for seed in [1, 2] {
        let outcome = play(Trial::Loss, 30, seed);
        assert_eq!(failed(&outcome), 0, "seed {seed}: {:?}", outcome.minutes);
        assert!(outcome.agreed_after.is_some());
    }
}

#[test]
fn links_that_carry_one_way_make_nobody_failed() {
    let outcome = play(Trial::OneWay, 5, 1);
    assert_eq!(failed(&outcome), 0, "{:?}", outcome.minutes);
}

#[test]
fn two_halves_hold_one_another_failed_once_and_agree_at_once_when_they_meet() {
    let outcome = play(Trial::Partition, 5, 1);
    assert_eq!(failed(&outcome), 50 * 25, "{:?}", outcome.minutes);
    assert!(outcome.agreed_after.unwrap() < Duration::from_secs(10));
}
