//! Health: what the health port answers when all is well.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// All is well. Anything else is a problem with status 503.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// Always `ok`.
    #[schema(example = "ok")]
    pub status: String,
}
