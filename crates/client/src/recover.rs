//! Recover: which shared entries stay after a parting that was too long.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which shared entries stay when two sides meet that were apart for longer
/// than tombstones live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SharedChoice {
    /// Both sides': what one has deleted meanwhile comes back with what the
    /// other still has. Said on one node.
    Keep,
    /// The other side's: the node gives up what it holds. Said on every node
    /// of the side that gives up.
    Discard,
}

impl SharedChoice {
    /// The word in requests and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Discard => "discard",
        }
    }
}

impl fmt::Display for SharedChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SharedChoice {
    type Err = UnknownChoice;

    fn from_str(word: &str) -> Result<Self, UnknownChoice> {
        let choices = [Self::Keep, Self::Discard];
        let choice = choices.into_iter().find(|choice| choice.as_str() == word);
        choice.ok_or(UnknownChoice)
    }
}

/// A word that is no [`SharedChoice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("say keep or discard")]
pub struct UnknownChoice;

/// What became of the shared entries that a node held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Recovered {
    /// What was chosen.
    pub shared: SharedChoice,
    /// How many the node kept, or gave up.
    pub entries: u64,
}
