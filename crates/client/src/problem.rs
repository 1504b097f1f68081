//! Problem details: errors that a program can match and a person can act on.
//!
//! Source: RFC 9457. `type` leads to the paragraph of docs/errors.md that
//! tells cause and remedy, `code` is the same word for programs.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An error answer, `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Where the error is explained.
    #[serde(rename = "type")]
    #[schema(example = "https://github.com/buming/dui/blob/main/docs/errors.md#member_alive")]
    pub kind: String,
    /// The kind of error in a few words; the same for every error of one code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this very request, and what to do.
    pub detail: String,
    /// A stable word for programs, see docs/errors.md.
    #[schema(example = "member_alive")]
    pub code: String,
    /// With `ambiguous_name`: the ids that carry the name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<String>,
    /// With `ack_timeout`: how many members hold the write durably so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acked: Option<u64>,
}

impl Problem {
    /// A problem of this code; `detail` says what is wrong and what to do.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let word = code.as_str();
        Self {
            kind: format!("https://github.com/buming/dui/blob/main/docs/errors.md#{word}"),
            title: code.title().into(),
            status: code.status(),
            detail: detail.into(),
            code: word.into(),
            ids: Vec::new(),
            acked: None,
        }
    }

    /// Whether it is of this code.
    pub fn is(&self, code: Code) -> bool {
        self.code == code.as_str()
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

macro_rules! codes {
    ($($name:ident = $word:literal, $status:literal, $title:literal;)*) => {
        /// Every code that the API answers with. Stable: programs match them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Code {
            $(#[doc = concat!("`", $word, "` (", $status, "): ", $title, ".")] $name,)*
        }

        impl Code {
            /// Every code, in the order of docs/errors.md.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The word in JSON.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word),* }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status),* }
            }

            fn title(self) -> &'static str {
                match self { $(Self::$name => $title),* }
            }
        }
    };
}

codes! {
    BadParameter = "bad_parameter", 400, "A parameter is not valid";
    BadEventName = "bad_event_name", 400, "The event name is not valid";
    BadKey = "bad_key", 400, "The key is not valid";
    BadContentType = "bad_content_type", 400, "The content type is not valid";
    BadCursor = "bad_cursor", 400, "The cursor is of no use here";
    ConditionalWrite = "conditional_write", 400, "Shared entries are written without conditions";
    BadBackup = "bad_backup", 400, "The backup cannot be restored";
    BadRequest = "bad_request", 400, "The request cannot be read";
    ForbiddenHost = "forbidden_host", 403, "The Host header is not allowed";
    ForbiddenOrigin = "forbidden_origin", 403, "The Origin is not allowed";
    RemoteForbidden = "remote_forbidden", 403, "Only clients on the same host are served";
    UnknownPath = "unknown_path", 404, "There is nothing at this path";
    UnknownMember = "unknown_member", 404, "There is no such member";
    UnknownKey = "unknown_key", 404, "There is no entry under this key";
    WrongMethod = "wrong_method", 405, "The path does not take this method";
    AmbiguousName = "ambiguous_name", 409, "Several members carry this name";
    MemberAlive = "member_alive", 409, "The member is alive";
    ForgetSelf = "forget_self", 409, "A node cannot forget itself";
    NotParted = "not_parted", 409, "There is nothing to recover";
    NotAManager = "not_a_manager", 409, "The node is no manager that is alive";
    NotAVoter = "not_a_voter", 409, "The manager does not vote";
    NoQuorum = "no_quorum", 409, "The managers that remain could decide nothing";
    HasQuorum = "has_quorum", 409, "The cluster works";
    HasCluster = "has_cluster", 409, "The manager belongs to a cluster";
    NoCopy = "no_copy", 409, "The manager has no copy of what was agreed";
    NoDataDir = "no_data_dir", 409, "The node has no data directory";
    NotFounding = "not_founding", 409, "There is nothing to abandon";
    Busy = "busy", 409, "Another change of the managers is under way";
    BodyTooLarge = "body_too_large", 413, "The body is too large";
    Internal = "internal", 500, "The node made a mistake";
    ClockAhead = "clock_ahead", 503, "The node's clock is ahead";
    Leaving = "leaving", 503, "The node is leaving";
    LogStopped = "log_stopped", 503, "The leader's log is stopped";
    NoAnswer = "no_answer", 503, "The leader did not answer";
    NoLeader = "no_leader", 503, "Nobody leads";
    NotDone = "not_done", 503, "The leader could not do it";
    NotLeader = "not_leader", 503, "The manager that was asked leads no more";
    NotMoved = "not_moved", 503, "Leadership has not moved in time";
    NotReady = "not_ready", 503, "The node is not ready";
    OtherCluster = "other_cluster", 503, "The leader is another cluster's";
    Stalled = "stalled", 503, "The node does not answer in time";
    Stopped = "stopped", 503, "The node has stopped";
    TooManyWatchers = "too_many_watchers", 503, "Too many streams are open";
    TooManyWrites = "too_many_writes", 503, "Too many writes wait";
    AckTimeout = "ack_timeout", 504, "Too few members hold the write in time";
    EntriesFull = "entries_full", 507, "No memory is left for entries";
    NotStored = "not_stored", 507, "The write could not be stored";
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_problem_tells_programs_a_code_and_people_the_next_move() {
        let problem = Problem::new(Code::MemberAlive, "'ann' is alive: stop it first");
        let json = serde_json::to_value(&problem).unwrap();
        assert_eq!(json["code"], "member_alive");
        assert_eq!(json["status"], 409);
        assert!(json["type"].as_str().unwrap().ends_with("#member_alive"));
        assert!(json.get("ids").is_none());
        assert!(problem.is(Code::MemberAlive));
    }

    #[test]
    fn every_code_has_its_paragraph_in_the_documentation_and_back() {
        let docs = include_str!("../../../docs/errors.md");
        let described: Vec<_> = docs
            .lines()
            .filter_map(|l| l.strip_prefix("### "))
            .collect();
        let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(described, codes);
    }
}
