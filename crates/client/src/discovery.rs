//! Discovery: which provider found whom, and which works not at all.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What discovery of the asked node knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Discovery {
    /// A line per provider that found or heard anything.
    pub providers: Vec<ProviderInfo>,
    /// Peer addresses that answered once and do not now; they are tried for ever.
    pub lost: Vec<String>,
}

/// One provider's catch since the node started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProviderInfo {
    /// `multicast`, `static`, …
    #[schema(example = "multicast")]
    pub name: String,
    /// Distinct addresses that it found.
    pub found: u64,
    /// Beacons heard or lists received.
    pub heard: u64,
    /// When it last heard something (RFC 3339, UTC, milliseconds); `null`: never.
    #[schema(format = DateTime)]
    pub last: Option<String>,
}
