//! Hardships: what must stay bounded, and heal, when things go wrong in a row.

#![allow(clippy::unwrap_used)]

mod town;

use dui_core::wire::{Body, Packet, Rumor, RumorId, Subject};
use dui_core::{Event, Incarnation, Input, MemberState, MessageCounter, Output, RunId, Timer};
use town::{Town, key, ms, secs};

// --- clocks ---

#[test]
fn a_clock_ahead_of_the_others_makes_nobody_probe_more_or_less() {
    for seed in 0..10 {
        let mut town = Town::new(seed);
        for name in ["ann", "bo", "cy", "dee"] {
            town.move_in(name);
        }
        town.set_clock_ahead("dee", 55_000).run(secs(5));
        town.with("dee", |peer, now| peer.publish(now, "early", b"1"))
            .unwrap();
        town.run(secs(1));
        for name in ["ann", "bo", "cy"] {
            let before = town.peer(name).counters().probes_sent;
            town.run(secs(20));
            let probes = town.peer(name).counters().probes_sent - before;
            assert!(
                (15..=30).contains(&probes),
                "{name} sent {probes} probes in 20 s, seed {seed}"
            );
        }
    }
}
