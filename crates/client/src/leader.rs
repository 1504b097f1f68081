//! The leader: who leads the managers, as one node knows it.
//!
//! Every node knows, workers too. What was known last of term, cluster and
//! fencing token stays while nobody leads: who compares tokens can go on.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether anybody leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LeaderState {
    /// Somebody does.
    Led,
    /// The cluster is formed, and nobody leads now.
    Electing,
    /// There is no formed cluster.
    Unformed,
}

impl LeaderState {
    /// The word in JSON: `led`, `electing` or `unformed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Led => "led",
            Self::Electing => "electing",
            Self::Unformed => "unformed",
        }
    }
}

impl fmt::Display for LeaderState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Leader {
    /// Its id; `null` when nobody leads now.
    #[schema(example = "7f3a9c0d5e6b41829d10c4a7e2f80b35")]
    pub id: Option<String>,
    /// Its name; `null` when nobody leads now.
    #[schema(example = "grace-hopper-7f3a")]
    pub name: Option<String>,
    /// Its peer address; `null` when nobody leads now.
    #[schema(example = "127.0.0.1:7781")]
    pub address: Option<String>,
    /// The latest term that is known; `null` before the first.
    pub term: Option<u64>,
    /// Names the formed cluster, 32 hexadecimal digits; `null` before there
    /// is one.
    #[schema(example = "5e6b41829d10c4a7e2f80b357f3a9c0d")]
    pub cluster_id: Option<String>,
    /// The fencing token: the revision at which the latest leader was elected.
    /// It never goes back, not even when the cluster is recovered, as terms do.
    /// `null` before the first election.
    pub revision: Option<u64>,
    /// Whether anybody leads.
    pub state: LeaderState,
    /// Why nobody leads, and what to do; left out when somebody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl Leader {
    /// Whether somebody leads now.
    pub fn is_led(&self) -> bool {
        self.state == LeaderState::Led
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_cluster_without_a_leader_reads_as_documented() {
        let text = r#"{"id":null,"name":null,"address":null,"term":3,"cluster_id":"c1",
            "revision":9,"state":"electing","why":"two of three are gone","mood":"bad"}"#;
        let leader: Leader = serde_json::from_str(text).unwrap();
        assert!(!leader.is_led());
        assert_eq!((leader.term, leader.revision), (Some(3), Some(9)));
    }

    #[test]
    fn who_leads_needs_no_reason() {
        let led = Leader {
            id: Some("a1".into()),
            name: Some("ann".into()),
            address: Some("127.0.0.1:7781".into()),
            term: Some(1),
            cluster_id: Some("c1".into()),
            revision: Some(2),
            state: LeaderState::Led,
            why: None,
        };
        let json = serde_json::to_value(&led).unwrap();
        assert_eq!(json["state"], "led");
        assert!(json.get("why").is_none());
    }
}
