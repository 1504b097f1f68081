//! Members: who is in the cluster, as one node sees it.
//!
//! Every answer is the view of the node that was asked. Two nodes may differ
//! for a moment; `incarnation` tells which of two states of one id is newer.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether a node votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Role {
    /// Votes and may lead.
    Manager,
    /// Takes part in everything else.
    Worker,
}

impl Role {
    /// The word in JSON: `manager` or `worker`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manager => "manager",
            Self::Worker => "worker",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the asked node believes of a member.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MemberState {
    /// Answers, as far as anybody knows.
    Alive,
    /// Did not answer somebody; fails soon unless it speaks up.
    Suspect,
    /// Observed dead.
    Failed,
    /// Said goodbye.
    Left,
}

impl MemberState {
    /// Every state, in the order in which a member may pass through them.
    pub const ALL: [Self; 4] = [Self::Alive, Self::Suspect, Self::Failed, Self::Left];

    /// The word in JSON: `alive`, `suspect`, `failed` or `left`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Failed => "failed",
            Self::Left => "left",
        }
    }
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that is no member state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{got}' is not a member state: use alive, suspect, failed or left")]
pub struct UnknownState {
    got: String,
}

impl FromStr for MemberState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let known = Self::ALL.into_iter().find(|state| state.as_str() == text);
        known.ok_or_else(|| UnknownState {
            got: text.chars().take(32).collect(),
        })
    }
}

/// A node as others see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Member {
    /// Names the node for good: 32 hexadecimal digits.
    #[schema(example = "7f3a9c0d5e6b41829d10c4a7e2f80b35")]
    pub id: String,
    /// A label for people; need not be unique.
    #[schema(example = "grace-hopper-7f3a")]
    pub name: String,
    /// Manager or worker.
    pub role: Role,
    /// Its peer address, `IP:PORT` (UDP and TCP).
    #[schema(example = "127.0.0.1:7781")]
    pub address: String,
    /// What the asked node believes of it.
    pub state: MemberState,
    /// Orders the states of one id: the higher one is newer.
    pub incarnation: u64,
    /// The highest message counter known of its present run.
    pub messages: u64,
    /// The dui version it runs.
    pub version: String,
    /// Labels set by people. Empty for now.
    pub tags: BTreeMap<String, String>,
    /// Smoothed round-trip time in milliseconds, measured by the asked node;
    /// `null` until it measured one, and for itself.
    pub rtt_ms: Option<f64>,
    /// When `state` began, by the asked node's clock: RFC 3339, UTC, milliseconds.
    #[schema(format = DateTime, example = "2026-11-23T02:16:26.123Z")]
    pub since: String,
}

/// Members in every state that was asked for, the asked node included, sorted by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MemberList {
    /// The members.
    pub members: Vec<Member>,
}

/// The asked node about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SelfInfo {
    /// Itself as a member; these fields stand beside the others in JSON.
    #[serde(flatten)]
    pub member: Member,
    /// The cluster it belongs to.
    #[schema(example = "dui")]
    pub cluster: String,
    /// Names this process: 32 hexadecimal digits, fresh at every start.
    pub run: String,
    /// Rumors that this run originated. The same number as `messages`.
    pub message_counter: u64,
    /// The newest revision of what the managers have agreed on that it has
    /// heard of; 0 before the first.
    pub revision: u64,
    /// Fingerprint of the cluster key that seals packets; `null` without a key.
    #[schema(example = "9f2c41aa")]
    pub key: Option<String>,
    /// Its own health after Lifeguard: 0 is well, 8 is starved.
    pub awareness: u32,
    /// Fingerprint of its member view, 16 hexadecimal digits: equal on two
    /// nodes that see the same members alive.
    #[schema(example = "00c0ffee00c0ffee")]
    pub view: String,
    /// `true` from the first step of leaving on.
    pub leaving: bool,
    /// Where this API listens, `IP:PORT`.
    #[schema(example = "127.0.0.1:7777")]
    pub client_address: String,
    /// Where the health port listens, `IP:PORT`.
    #[schema(example = "127.0.0.1:8888")]
    pub health_address: String,
}

/// Why a member is in its state, as the asked node knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    /// The member now.
    pub member: Member,
    /// The asked node's own health: 0 is well, 8 is starved. A starved judge
    /// gives its suspects longer.
    pub awareness: u32,
    /// The last 16 things that happened, oldest first.
    pub story: Vec<WhyEntry>,
}

/// One line of a member's story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhyEntry {
    /// When, by the asked node's clock: RFC 3339, UTC, milliseconds.
    #[schema(format = DateTime)]
    pub at: String,
    /// What happened, as a stable word: `probe_timeout`, `accused`, `refused`,
    /// `stream_ended`, `suspected`, `refuted`, `failed`, `left`, `alive`, …
    #[schema(example = "accused")]
    pub what: String,
    /// Id of who said so; `null` for the asked node's own observation.
    pub by: Option<String>,
    /// Details for people.
    pub detail: String,
}

/// How a leave went. The node stays up in state `left` until it is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LeaveOutcome {
    /// Always `left`.
    pub state: MemberState,
    /// Peers that confirmed.
    pub acked: u64,
    /// Peers that should have. Fewer acks are no failure: gossip carries the news on.
    pub wanted: u64,
}

/// A member that is no longer listed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Forgotten {
    /// As it was last seen; these fields stand beside `reason` in JSON.
    #[serde(flatten)]
    pub member: Member,
    /// `operator` (removed for good), `superseded` (a new node answered at its
    /// address) or `reaped` (left or failed long ago).
    #[schema(example = "superseded")]
    pub reason: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_member_reads_as_documented_and_a_newer_nodes_fields_are_skipped() {
        let text = r#"{"id":"7f3a9c0d5e6b41829d10c4a7e2f80b35","name":"ann","role":"manager",
            "address":"127.0.0.1:7781","state":"suspect","incarnation":7,"messages":2,
            "version":"0.1.0","tags":{},"rtt_ms":null,"since":"2026-11-23T02:16:26.123Z",
            "weather":"fine"}"#;
        let member: Member = serde_json::from_str(text).unwrap();
        assert_eq!(member.state, MemberState::Suspect);
        assert_eq!(member.rtt_ms, None);
        let back = serde_json::to_value(&member).unwrap();
        assert!(back["rtt_ms"].is_null() && back["tags"].is_object());
    }

    #[test]
    fn a_wrong_state_is_answered_with_the_right_ones() {
        assert_eq!("left".parse(), Ok(MemberState::Left));
        let error = "dead".parse::<MemberState>().unwrap_err().to_string();
        assert!(
            error.contains("'dead'") && error.contains("failed"),
            "{error}"
        );
    }
}
