//! Managers: who votes, who may, and how far each has come.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::member::MemberState;

/// What a manager does among the managers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Part {
    /// Leads.
    Leader,
    /// Votes and may lead.
    Voter,
    /// Gets all records, to vote once it has them. Only managers with a part
    /// of their own know; for others it stands by.
    Learner,
    /// Waits until it is needed.
    Standby,
}

impl Part {
    /// The word in JSON: `leader`, `voter`, `learner` or `standby`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Voter => "voter",
            Self::Learner => "learner",
            Self::Standby => "standby",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A manager, as the asked node knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Manager {
    /// Names the node for good.
    pub id: String,
    /// Its label for people.
    pub name: String,
    /// Its peer address.
    pub address: String,
    /// What the asked node believes of it.
    pub state: MemberState,
    /// What it does among the managers.
    pub part: Part,
    /// Whether it keeps what is agreed on a disk; `null` where the asked node
    /// does not know.
    pub durable: Option<bool>,
    /// Up to which record of the log it has all; `null` where the asked node
    /// does not know. Only the leader does.
    pub matched: Option<u64>,
}

/// Managers in every state, sorted by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ManagerList {
    /// The managers.
    pub managers: Vec<Manager>,
    /// Names the formed cluster; `null` before there is one.
    pub cluster_id: Option<String>,
    /// A change of those who vote is under way, as far as the asked node knows.
    pub changing: bool,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_not_known_of_a_manager_is_null() {
        let text = r#"{"managers":[{"id":"a1","name":"ann","address":"127.0.0.1:7781",
            "state":"alive","part":"standby","durable":null,"matched":null,"mood":"good"}],
            "cluster_id":"c1","changing":false}"#;
        let list: ManagerList = serde_json::from_str(text).unwrap();
        let manager = &list.managers[0];
        assert_eq!((manager.part, manager.durable), (Part::Standby, None));
        let back = serde_json::to_value(manager).unwrap();
        assert!(back["durable"].is_null() && back["matched"].is_null());
        assert_eq!(back["part"], manager.part.as_str());
    }
}
