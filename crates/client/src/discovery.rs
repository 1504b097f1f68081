//! Discovery: which provider found whom, and which works not at all.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What discovery of the asked node knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Discovery {
    /// A line per provider that was asked for.
    pub providers: Vec<ProviderInfo>,
    /// Peer addresses that answered once and do not now; they are tried for ever.
    pub lost: Vec<String>,
}

/// How a provider is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProviderState {
    /// It found or heard somebody.
    Working,
    /// Nothing keeps it from working, and it has found nobody yet.
    Waiting,
    /// Something keeps it from working; it goes on trying.
    Failing,
}

/// One provider, and its catch since the node started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProviderInfo {
    /// `multicast`, `static`, …
    #[schema(example = "multicast")]
    pub name: String,
    /// What it looks at: a group, names, a path.
    #[schema(example = "239.255.77.91, port 7791, at 10.0.0.7")]
    pub detail: String,
    /// Whether it works.
    pub state: ProviderState,
    /// What keeps it from working, with the remedy; `null`: nothing does.
    pub error: Option<String>,
    /// Distinct addresses that it found.
    pub found: u64,
    /// Beacons heard or lists received.
    pub heard: u64,
    /// When it last heard something (RFC 3339, UTC, milliseconds); `null`: never.
    #[schema(format = DateTime)]
    pub last: Option<String>,
}
