//! Write options: how many have to hold a write, and how long to wait for them.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::header::{IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
use axum::http::request::Parts;
use dui_client::{Code, parse_duration};
use dui_node::core::Acks;
use dui_node::{SharedWrite, WriteResult};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::App;
use crate::ask::ask_within;
use crate::extract::Query;
use crate::refusal::Refusal;

/// Longest wait for acknowledgements unless a request says otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most that a request can say.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// The node itself answers when the time is over; beyond this it is stuck.
const MARGIN: Duration = Duration::from_secs(3);
/// Longest life of an entry that has one: 100 years.
pub(crate) const TTL_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// Query of a write.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WriteQuery {
    /// How many members have to hold the write durably before it is answered:
    /// a number, the asked node being the first, or `all` that are alive.
    #[param(example = "2")]
    ack: Option<String>,
    /// Longest wait for them, with its unit: `500ms`, `5s` (the default), at
    /// most `60s`.
    #[param(example = "5s")]
    timeout: Option<String>,
    /// How long the entry lives, with its unit: `30s`, `1h`. Without it until
    /// it is deleted. Of puts only.
    #[param(example = "30s")]
    ttl: Option<String>,
    /// Taken from the query by [`super::target`].
    #[serde(rename = "key")]
    #[param(ignore)]
    _key: Option<String>,
}

/// What a write is to wait for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    acks: Acks,
    timeout: Duration,
    pub(crate) ttl: Option<Duration>,
}

impl<S: Send + Sync> FromRequestParts<S> for Options {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        refuse_conditions(&parts.headers)?;
        let Query(query) = Query::<WriteQuery>::from_request_parts(parts, state).await?;
        query.options()
    }
}

impl WriteQuery {
    fn options(&self) -> Result<Options, Refusal> {
        let bad = |detail: &str| Refusal::new(Code::BadParameter, detail);
        let acks = match self.ack.as_deref() {
            None => Acks::Here,
            Some("all") => Acks::All,
            Some(text) => match text.parse() {
                Ok(1) => Acks::Here,
                Ok(count @ 2..) => Acks::Count(count),
                _ => return Err(bad("ack is a number from 1, or all")),
            },
        };
        let duration = |text: &Option<String>| text.as_deref().map(parse_duration);
        let timeout = match duration(&self.timeout) {
            None => TIMEOUT,
            Some(Some(timeout)) if timeout <= TIMEOUT_MAX => timeout,
            Some(_) => {
                return Err(bad(
                    "timeout is a duration such as 500ms or 5s, at most 60s",
                ));
            }
        };
        let ttl = match duration(&self.ttl) {
            None => None,
            Some(Some(ttl)) if !ttl.is_zero() && ttl <= TTL_MAX => Some(ttl),
            Some(_) => {
                return Err(bad(
                    "ttl is a duration such as 30s or 1h, at most 100 years",
                ));
            }
        };
        Ok(Options { acks, timeout, ttl })
    }
}

/// Hands writes to the node and waits for their results.
pub(crate) async fn write(
    app: &App,
    writes: Vec<SharedWrite>,
    options: Options,
) -> Result<Vec<WriteResult>, Refusal> {
    let Options { acks, timeout, .. } = options;
    ask_within(timeout + MARGIN, app.handle().write(writes, acks, timeout)).await
}

/// A condition that we ignored would be worse than none.
fn refuse_conditions(headers: &HeaderMap) -> Result<(), Refusal> {
    let conditions = [IF_MATCH, IF_NONE_MATCH, IF_UNMODIFIED_SINCE];
    match conditions.iter().find(|name| headers.contains_key(*name)) {
        None => Ok(()),
        Some(name) => Err(Refusal::new(
            Code::ConditionalWrite,
            format!(
                "{name}: shared entries can be written everywhere at once, so no node knows whether a condition holds: leave the header out, or use consistent entries (/v1/consistent) where there are any"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn options(ack: &str, timeout: &str, ttl: &str) -> Result<Options, Refusal> {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let query = WriteQuery {
            ack: given(ack),
            timeout: given(timeout),
            ttl: given(ttl),
            _key: None,
        };
        query.options()
    }

    #[test]
    fn a_write_waits_for_whom_and_as_long_as_it_says() {
        let plain = options("", "", "").unwrap();
        assert_eq!(
            (plain.acks, plain.timeout, plain.ttl),
            (Acks::Here, TIMEOUT, None)
        );
        let careful = options("all", "1m", "1h").unwrap();
        assert_eq!(careful.acks, Acks::All);
        assert_eq!(careful.timeout, Duration::from_secs(60));
        assert_eq!(careful.ttl, Some(Duration::from_secs(3_600)));
        assert_eq!(options("1", "", "").unwrap().acks, Acks::Here);
        assert_eq!(options("3", "", "").unwrap().acks, Acks::Count(3));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (ack, timeout, ttl) in [
            ("0", "", ""),
            ("-1", "", ""),
            ("some", "", ""),
            ("", "5", ""),
            ("", "61s", ""),
            ("", "", "30"),
            ("", "", "0s"),
            ("", "", "40000d"),
        ] {
            let refusal = options(ack, timeout, ttl).unwrap_err();
            assert!(
                refusal.problem().is(Code::BadParameter),
                "{ack} {timeout} {ttl}"
            );
        }
    }
}
