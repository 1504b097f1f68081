//! Recover: what an operator decides after what no node may decide by itself,
//! and copies of what the managers agreed on.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use hyper::Method;
use hyper::header::CONTENT_TYPE;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::client::{Call, Client, OPERATE_TIMEOUT};
use crate::error::Error;
use crate::path::query;

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

/// A cluster that one manager has founded alone, from what another one had
/// agreed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Refounded {
    /// Names the new cluster.
    pub cluster_id: String,
    /// Which cluster it goes on for.
    pub recovered_from: String,
    /// The revision of the copy that it began with.
    pub revision_before: u64,
    /// The fencing token of its first leader: at least 2^40 more.
    pub revision: u64,
}

/// A node that is a new one at its next start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GivenUp {
    /// The id that it gives up.
    pub id: String,
    /// It has to be started again now; always true.
    pub restart: bool,
}

/// A proposal to found that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Abandoned {
    /// Always true.
    pub abandoned: bool,
}

/// What an operator decides about this very node.
///
/// # Errors
/// See [`Error`]; so for every method.
impl Client {
    /// Decides which shared entries stay after a parting for longer than
    /// tombstones live.
    pub async fn recover_shared(&self, choice: SharedChoice) -> Result<Recovered, Error> {
        let path = query("/v1/recover", &[("shared", Some(choice.as_str()))]);
        self.json(Call::new(Method::POST, path), self.timeout).await
    }

    /// After the permanent loss of a majority of the managers that vote: the
    /// node, a manager with a copy of what was agreed, founds a new cluster
    /// alone. Where a majority is alive only with `force`.
    pub async fn recover_quorum(&self, force: bool) -> Result<Refounded, Error> {
        let force = force.then_some("true");
        let path = query("/v1/recover", &[("quorum", Some("true")), ("force", force)]);
        self.json(Call::new(Method::POST, path), OPERATE_TIMEOUT)
            .await
    }

    /// The node gives up what it promised as a manager: it is a new one once
    /// it is started again, which has to follow.
    pub async fn recover_reset(&self) -> Result<GivenUp, Error> {
        let path = query("/v1/recover", &[("reset", Some("true"))]);
        self.json(Call::new(Method::POST, path), OPERATE_TIMEOUT)
            .await
    }

    /// The node gives up the proposal to found that it holds, at once.
    pub async fn abandon_founding(&self) -> Result<Abandoned, Error> {
        let path = query("/v1/recover", &[("abandon_founding", Some("true"))]);
        self.json(Call::new(Method::POST, path), OPERATE_TIMEOUT)
            .await
    }

    /// A copy of everything that the managers agreed on, for
    /// [`restore`](Self::restore): confirmed by a majority to be not old. Any
    /// node gives it.
    pub async fn backup(&self) -> Result<Bytes, Error> {
        self.bytes(Call::get("/v1/backup"), OPERATE_TIMEOUT).await
    }

    /// The node, a manager that belongs to no cluster, founds one alone with
    /// what is in a backup.
    pub async fn restore(&self, backup: impl Into<Bytes>) -> Result<Refounded, Error> {
        let call = Call::new(Method::PUT, "/v1/restore")
            .with(CONTENT_TYPE, "application/octet-stream")
            .body(backup)
            .once();
        self.json(call, OPERATE_TIMEOUT).await
    }
}
