//! Refusals: every error leaves as problem details with a stable code.

use axum::Json;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use dui_client::{Code, Problem};
use dui_node::core::{ForgetError, PublishError, WriteError};
use dui_node::{ApiError, NotDone, WriteFailure};

/// The media type of problem details.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// A request that is not carried out, and why. Boxed: it is the rare case,
/// and every handler's result has room for it.
#[derive(Debug)]
pub(crate) struct Refusal(Box<Problem>);

impl Refusal {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem::new(code, detail)))
    }

    /// The name is carried by several members; these are their ids.
    pub(crate) fn ambiguous(name: &str, ids: Vec<String>) -> Self {
        let detail = format!(
            "{} members are called '{name}': use one of their ids",
            ids.len()
        );
        let mut refusal = Self::new(Code::AmbiguousName, detail);
        refusal.0.ids = ids;
        refusal
    }

    pub(crate) fn into_problem(self) -> Problem {
        *self.0
    }

    #[cfg(test)]
    pub(crate) fn problem(&self) -> &Problem {
        &self.0
    }
}

impl From<ApiError> for Refusal {
    fn from(error: ApiError) -> Self {
        let code = match &error {
            ApiError::Stopped => Code::Stopped,
            ApiError::Publish(PublishError::Name) => Code::BadEventName,
            ApiError::Publish(PublishError::TooLarge { .. }) => Code::BodyTooLarge,
            ApiError::Publish(PublishError::Leaving) => Code::Leaving,
            ApiError::Forget(ForgetError::Unknown) => Code::UnknownMember,
            ApiError::Forget(ForgetError::Alive) => Code::MemberAlive,
            ApiError::Forget(ForgetError::Myself) => Code::ForgetSelf,
            ApiError::NotParted(_) => Code::NotParted,
            // An error that the node has learned and this table has not.
            _ => Code::Internal,
        };
        let remedy = match code {
            Code::Stopped | Code::Leaving => ": ask another node",
            Code::MemberAlive => " (force=true)",
            Code::NotParted => ": ask where \"shared_parted\" is logged",
            Code::BodyTooLarge => ": store it elsewhere and publish a reference to it",
            _ => "",
        };
        Self::new(code, format!("{error}{remedy}"))
    }
}

impl From<WriteFailure> for Refusal {
    fn from(failure: WriteFailure) -> Self {
        let (code, remedy) = match &failure {
            WriteFailure::Unknown => (Code::UnknownKey, ""),
            WriteFailure::Lost(_) => (Code::NotStored, ""),
            WriteFailure::Timeout { .. } => (
                Code::AckTimeout,
                ": the write stays and goes on to the others",
            ),
            WriteFailure::Refused(error) => match error {
                WriteError::TooLarge { .. } => (
                    Code::BodyTooLarge,
                    ": store it elsewhere and share a reference to it",
                ),
                WriteError::ContentType { .. } => (Code::BadContentType, ""),
                WriteError::Full { .. } => (Code::EntriesFull, " (--shared-memory)"),
                WriteError::ClockAhead { .. } => (Code::ClockAhead, ", or write on another node"),
                WriteError::Busy { .. } => (Code::TooManyWrites, ""),
                WriteError::Leaving => (Code::Leaving, ": ask another node"),
                // An error that the node has learned and this table has not.
                _ => (Code::Internal, ""),
            },
        };
        let mut refusal = Self::new(code, format!("{failure}{remedy}"));
        if let WriteFailure::Timeout { acked } = failure {
            refusal.0.acked = Some(acked as u64);
        }
        refusal
    }
}

impl From<NotDone> for Refusal {
    /// The leader may be of another version: its words are taken as they come.
    fn from(NotDone { code, why }: NotDone) -> Self {
        let of_managers = [
            Code::NotAManager,
            Code::NotAVoter,
            Code::NoQuorum,
            Code::BadBackup,
            Code::HasQuorum,
            Code::HasCluster,
            Code::NoCopy,
            Code::NoDataDir,
            Code::NotFounding,
            Code::Leaving,
            Code::Busy,
            Code::LogStopped,
            Code::NoAnswer,
            Code::NoLeader,
            Code::NotLeader,
            Code::OtherCluster,
            Code::Stopped,
        ];
        let known = of_managers.into_iter().find(|it| it.as_str() == code);
        let code = known.unwrap_or(Code::NotDone);
        let what = match code {
            Code::NoLeader => "nobody leads: ",
            _ => "",
        };
        Self::new(code, format!("{what}{why}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status);
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(self.0)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_problem_details_and_says_when_to_try_again() {
        let response = Refusal::from(ApiError::Publish(PublishError::Leaving)).into_response();
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(response.headers()[RETRY_AFTER], "1");

        let lasting = Refusal::from(ApiError::Forget(ForgetError::Alive)).into_response();
        assert_eq!(lasting.status(), StatusCode::CONFLICT);
        assert!(!lasting.headers().contains_key(RETRY_AFTER));
    }

    #[test]
    fn what_the_managers_refuse_has_its_code_and_a_word_of_the_future_one_too() {
        let refused = |code: &str| {
            Refusal::from(NotDone {
                code: code.into(),
                why: "because".into(),
            })
        };
        for (word, code, status) in [
            ("no_leader", Code::NoLeader, 503),
            ("not_a_voter", Code::NotAVoter, 409),
            ("busy", Code::Busy, 409),
            ("log_stopped", Code::LogStopped, 503),
            ("not_done", Code::NotDone, 503),
            ("on_holiday", Code::NotDone, 503),
            // Not the managers' to say.
            ("internal", Code::NotDone, 503),
        ] {
            let refusal = refused(word);
            assert!(refusal.problem().is(code), "{word}: {refusal:?}");
            assert_eq!(refusal.problem().status, status, "{word}");
            assert!(refusal.problem().detail.ends_with("because"));
        }
        let response = refused("no_leader").into_response();
        assert_eq!(response.headers()[RETRY_AFTER], "1");
    }
}
