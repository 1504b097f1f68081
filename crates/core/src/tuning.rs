//! Tuning: the constants of the protocol that a trade hangs on.
//!
//! Every node runs with [`Tuning::default`]; the simulator runs with others to
//! show what each of them buys and costs. `docs/tuning.md` has the curves.

use std::time::Duration;

/// Constants of the protocol.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tuning {
    /// Rings on which a rumor goes in full, to both neighbours: half of what a
    /// member sends of each rumor.
    pub full_rings: usize,
    /// Further rings whose successors hear of its id.
    pub repair_rings: usize,
    /// When the first of them does; each later one after twice as long.
    pub repair_first: Duration,
    /// How long rumors wait for one another when many come.
    pub storm_batch: Duration,
    /// Between the steps of a probe, on a quick link.
    pub probe_unit: Duration,
    /// Members asked for an indirect probe (SWIM's k).
    pub relays: usize,
    /// No suspicion that others share ends before.
    pub suspicion_min: Duration,
    /// One that nobody shares ends after so many times the minimum.
    pub suspicion_max_times: u32,
    /// Accusers beyond the first that shorten it to the minimum.
    pub accusers: usize,
    /// Lifeguard's highest local health score; 0: none.
    pub awareness_max: u32,
    /// Others whose word is needed to call a crash a crash.
    pub witnesses: usize,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            full_rings: 3,
            repair_rings: 6,
            repair_first: Duration::from_millis(10),
            storm_batch: Duration::from_millis(20),
            probe_unit: Duration::from_millis(100),
            relays: 3,
            // Below 2.8 s a node that was stopped for 3 s is failed before it can refute.
            suspicion_min: Duration::from_millis(3_200),
            suspicion_max_times: 2,
            accusers: 3,
            awareness_max: 8,
            witnesses: 2,
        }
    }
}
