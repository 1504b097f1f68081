//! Doctor: why nodes do not find each other, as JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an examination found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Diagnosis {
    /// Whether nothing is wrong as far as was tried.
    pub healthy: bool,
    /// What is wrong, most telling first.
    pub findings: Vec<Finding>,
    /// What was tried, and how it went.
    pub checks: Vec<Check>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Finding {
    /// A stable word for programs, see docs/doctor.md.
    #[schema(example = "udp_blocked")]
    pub code: String,
    /// Whom it is about: peers, a port, a name.
    #[schema(example = "n02 (10.0.0.2:7781)")]
    pub subject: String,
    /// What was seen.
    pub detail: String,
    /// What to do.
    pub remedy: String,
}

/// Something that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Check {
    /// `sockets`, `names`, `answers`, `cluster`, `key`, `version`, `udp`,
    /// `packet_size`, `tcp`, `multicast`, `broadcast`, `clock` or `address`.
    #[schema(example = "udp")]
    pub name: String,
    /// With whom; empty if it was not tried.
    pub subject: String,
    /// How it went.
    pub state: CheckState,
    /// What was tried, or why it was not.
    pub detail: String,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckState {
    /// As it should.
    Ok,
    /// There is a finding.
    Wrong,
    /// It could not be tried.
    Skipped,
}
