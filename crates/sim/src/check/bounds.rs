//! Bounds: no packet or frame is larger than agreed, and no node keeps more than its limits; no cluster talks without end; old rumors are dropped with the next one.

use super::{Check, Truth};
use crate::world::World;

const PACKET_BYTES_MAX: usize = 1_200;
const FRAME_BYTES_MAX: usize = 65_536;
const RUMORS_MAX: usize = 8_192;
const RUMOR_BYTES_MAX: usize = 8 << 20;
const WINDOWS_MAX: usize = 16_384;
const EVENTS_MAX: usize = 1_024;
const PROBES_MAX: usize = 1_024;
/// Of its own: two for the ring and 64 short ones. As many again of each peer
/// that does the same would be possible; in chaos nobody has more than these.
const STREAMS_MAX: usize = 66 * 4;

/// Inputs of one node in a second, on average. Three rumors a second of each of
/// 64 members, each of six neighbours and named six times more, are 2,304.
const INPUTS_MAX: u64 = 2_304;

#[derive(Debug, Default)]
pub(super) struct Bounds {
    /// Inputs of all up to the last look.
    inputs: u64,
}

impl Check for Bounds {
    fn rule(&self) -> &'static str {
        "bounds"
    }

    fn look(&mut self, world: &World, _: &Truth) -> Result<(), String> {
        let traffic = world.traffic();
        let inputs = traffic.inputs - std::mem::replace(&mut self.inputs, traffic.inputs);
        let each = inputs / world.hosts().len().max(1) as u64;
        within("inputs of each node", each as usize, INPUTS_MAX as usize)?;
        within("packet bytes", traffic.packet_bytes_max, PACKET_BYTES_MAX)?;
        within("frame bytes", traffic.frame_bytes_max, FRAME_BYTES_MAX)?;
        for peer in world.hosts().iter().filter_map(|host| host.peer()) {
            let holds = peer.holdings();
            within("rumors", holds.rumors, RUMORS_MAX)?;
            within("rumor bytes", holds.rumor_bytes, RUMOR_BYTES_MAX)?;
            within("windows", holds.windows, WINDOWS_MAX)?;
            within("events", holds.events, EVENTS_MAX)?;
            within("probes", holds.probes, PROBES_MAX)?;
            within("streams", holds.streams, STREAMS_MAX)?;
        }
        Ok(())
    }

    /// Everybody has just said one thing after five silent seconds, so what is
    /// kept is that, and at most one more of each: a refutation.
    fn end(&mut self, world: &World, _: &Truth) -> Result<(), String> {
        for host in world.hosts() {
            if let Some(peer) = host.peer() {
                let holds = peer.holdings();
                within(
                    "rumors after silence",
                    holds.rumors,
                    2 * world.hosts().len(),
                )?;
            }
        }
        Ok(())
    }
}

fn within(what: &str, got: usize, max: usize) -> Result<(), String> {
    if got > max {
        return Err(format!("{got} {what}, at most {max}"));
    }
    Ok(())
}
