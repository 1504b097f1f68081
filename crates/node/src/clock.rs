//! Clock: the only place where the node reads time and system randomness.
//!
//! The core gets both as arguments. Its timers run on `CLOCK_BOOTTIME`, which
//! goes on while the machine sleeps, so that a sleep shows; tokio's timers run
//! on `CLOCK_MONOTONIC`, which does not. A timer set across a sleep is
//! therefore late, never early, and the first packet afterwards tells.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dui_core::{Mono, Now};
use nix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// Both clocks, as the core wants them.
pub(crate) fn now() -> Now {
    Now {
        mono: mono(),
        wall_ms: wall_ms(),
    }
}

/// Time since the machine booted, sleep included.
pub(crate) fn mono() -> Mono {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map(Duration::from)
        .expect("CLOCK_BOOTTIME exists since Linux 2.6.39")
}

/// Milliseconds since the Unix epoch; 0 for a clock set before it.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

/// When tokio has to wake us for a time of the core; `None` (nothing to wait
/// for) is far in the future, but near enough for every timer wheel.
pub(crate) fn instant_of(at: Option<Mono>) -> Instant {
    const FAR: Duration = Duration::from_secs(24 * 3600);
    let wait = at.map_or(FAR, |at| at.saturating_sub(mono()).min(FAR));
    Instant::now() + wait
}

/// 32 bytes of system entropy.
///
/// # Errors
/// Where the kernel gives none: no nonce can be drawn safely then.
pub(crate) fn entropy() -> Result<[u8; 32], getrandom::Error> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)?;
    Ok(seed)
}

/// 128 bits of system entropy: a fresh id.
pub(crate) fn fresh_u128() -> Result<u128, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(u128::from_be_bytes(bytes))
}
