//! Extraction: what a handler takes from a request, refused as a problem when it is not valid.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use dui_client::Code;
use serde::de::DeserializeOwned;

use crate::refusal::Refusal;

/// Longest wait for a body: a sender that drips must not hold a connection for ever.
const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// The query, parsed into `T`.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let parsed = axum::extract::Query::<T>::try_from_uri(&parts.uri);
        let query = parsed.map_err(|why| {
            let text = why.body_text();
            // What comes before the colon is about our code.
            let detail = text
                .split_once(": ")
                .map_or(text.as_str(), |(_, what)| what);
            Refusal::new(Code::BadParameter, detail)
        })?;
        Ok(Self(query.0))
    }
}

/// The variable part of the path, decoded.
pub(crate) struct Segment(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = axum::extract::Path::<String>::from_request_parts(parts, state).await;
        let path = path.map_err(|why| Refusal::new(Code::BadRequest, why.body_text()))?;
        Ok(Self(path.0))
    }
}

/// The body, byte for byte, within the bound that the route has set.
pub(crate) struct Body(pub(crate) Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let body = Bytes::from_request(request, state);
        let Ok(body) = tokio::time::timeout(BODY_PATIENCE, body).await else {
            let detail =
                format!("the body did not arrive within {BODY_PATIENCE:?}: send it at once");
            return Err(Refusal::new(Code::BadRequest, detail));
        };
        body.map(Self).map_err(|why| {
            if why.status() == StatusCode::PAYLOAD_TOO_LARGE {
                let detail = "the body is larger than this route takes: store large data elsewhere and send a reference to it";
                Refusal::new(Code::BodyTooLarge, detail)
            } else {
                Refusal::new(Code::BadRequest, why.body_text())
            }
        })
    }
}

/// A parameter that is a switch: absent or `false` is off; present without a
/// value, or `true`, is on.
pub(crate) fn switch(name: &str, value: Option<&str>) -> Result<bool, Refusal> {
    match value {
        None | Some("false") => Ok(false),
        Some("" | "true") => Ok(true),
        Some(other) => {
            let shown: String = other.chars().take(32).collect();
            let detail = format!("{name}='{shown}' is not valid: use {name}=true or leave it out");
            Err(Refusal::new(Code::BadParameter, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn an_unknown_parameter_is_named_with_those_there_are() {
        #[derive(Debug, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct OnlyState {
            #[expect(dead_code, reason = "the name is what matters")]
            state: Option<String>,
        }
        let (mut parts, ()) = axum::http::Request::get("/?status=alive")
            .body(())
            .unwrap()
            .into_parts();
        let refused = Query::<OnlyState>::from_request_parts(&mut parts, &()).await;
        let detail = refused.err().unwrap().problem().detail.clone();
        assert!(detail.starts_with("status: unknown field"), "{detail}");
        assert!(detail.contains("`state`"), "{detail}");
    }

    #[test]
    fn a_switch_is_on_with_or_without_true_and_never_by_accident() {
        assert!(!switch("force", None).unwrap());
        assert!(!switch("force", Some("false")).unwrap());
        assert!(switch("force", Some("")).unwrap());
        assert!(switch("force", Some("true")).unwrap());
        assert!(
            switch("force", Some("yes"))
                .unwrap_err()
                .problem()
                .is(Code::BadParameter)
        );
    }
}
