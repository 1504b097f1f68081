//! Chaos: random clusters under random faults, then a healed phase that must converge.
//!
//! A seed makes a [`Plan`]; a [`Stage`] plays it under every checker. When the
//! faults are over, all must agree within `agreed_within`, stay so, and hear
//! at once what each says then. A plan that fails is shrunk to fewer nodes and
//! faults, and told as one line that repeats it.

mod act;
mod fault;
mod plan;
mod shrink;
mod stage;

use std::fmt;
use std::time::Duration;

pub use fault::Fault;
pub use plan::Plan;
pub use shrink::shrink;
pub use stage::{Played, Stage};

use crate::check::Violation;

/// What decides about a run, besides the code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Case {
    /// Decides everything else.
    pub seed: u64,
    /// Fewer nodes than the seed says.
    pub nodes: Option<usize>,
    /// Only these of the seed's faults, by number.
    pub only: Option<Vec<usize>>,
    /// The mistake that nodes make.
    #[cfg(feature = "bugs")]
    pub bug: Option<dui_core::Bug>,
}

impl Case {
    /// A seed as it is.
    pub fn of(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// What it makes happen.
    pub fn plan(&self) -> Plan {
        let mut plan = Plan::of(self.seed);
        if let Some(nodes) = self.nodes {
            plan.nodes = nodes;
        }
        if let Some(only) = &self.only {
            plan.keep(only);
        }
        plan
    }

    /// Plays it.
    ///
    /// # Errors
    /// The first rule that was broken.
    pub fn play(&self) -> Result<Played, Violation> {
        Stage::new(self).play()
    }
}

/// The arguments that repeat it.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "chaos --seeds {}..{}", self.seed, self.seed + 1)?;
        if let Some(nodes) = self.nodes {
            write!(f, " --nodes {nodes}")?;
        }
        if let Some(only) = &self.only {
            let only: Vec<String> = only.iter().map(ToString::to_string).collect();
            write!(f, " --faults {}", only.join(","))?;
        }
        #[cfg(feature = "bugs")]
        if let Some(bug) = self.bug {
            write!(f, " --bug {}", bug.as_str())?;
        }
        Ok(())
    }
}

/// Sums of many runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Runs.
    pub seeds: u64,
    /// Nodes in them.
    pub nodes: u64,
    /// Faults that befell them.
    pub faults: u64,
    /// Time that passed in them.
    pub virtual_time: Duration,
    /// Inputs that their nodes handled.
    pub inputs: u64,
    /// The longest until all agreed again.
    pub agreed_after_max: Duration,
    /// Where that was.
    pub slowest_seed: u64,
}

impl Tally {
    /// Adds a run.
    pub fn add(&mut self, seed: u64, played: &Played) {
        self.seeds += 1;
        self.nodes += played.nodes as u64;
        self.faults += played.faults as u64;
        self.virtual_time += played.virtual_time;
        self.inputs += played.inputs;
        if played.agreed_after > self.agreed_after_max {
            self.agreed_after_max = played.agreed_after;
            self.slowest_seed = seed;
        }
    }
}
