//! Target: the key that a request is about, in its path or in its query.
//!
//! A key may hold any text, so we decode it ourselves: the usual decoders
//! put a replacement character where bytes are no UTF-8, and two keys would
//! become one.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use dui_client::Code;
use dui_node::core::EntryKey;

use crate::refusal::Refusal;

/// Where entries are.
pub(crate) const PREFIX: &str = "/v1/shared/";

/// The key of a request: what follows [`PREFIX`] in the path, or `?key=`.
pub(crate) struct Target(pub(crate) EntryKey);

/// The key of a request that need not have one.
pub(crate) struct MaybeTarget(pub(crate) Option<EntryKey>);

impl<S: Send + Sync> FromRequestParts<S> for Target {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let MaybeTarget(key) = MaybeTarget::from_request_parts(parts, state).await?;
        let missing = "say which key: in the path, as in /v1/shared/KEY, or as ?key=KEY";
        key.map(Self)
            .ok_or_else(|| Refusal::new(Code::BadKey, missing))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for MaybeTarget {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let in_path = parts.uri.path().strip_prefix(PREFIX);
        let in_query = parts.uri.query().and_then(|query| {
            let pairs = query
                .split('&')
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            pairs
                .into_iter()
                .find(|(name, _)| *name == "key")
                .map(|(_, value)| value)
        });
        let bytes = match (in_path, in_query) {
            (Some(_), Some(_)) => {
                let detail = "the key is in the path already: leave key= out";
                return Err(Refusal::new(Code::BadParameter, detail));
            }
            (Some(path), None) => decode(path, false),
            (None, Some(value)) => decode(value, true),
            (None, None) => return Ok(Self(None)),
        };
        let bytes = bytes.ok_or_else(|| {
            let detail =
                "a % of the key is not followed by two hexadecimal digits: encode % itself as %25";
            Refusal::new(Code::BadKey, detail)
        })?;
        key(&bytes).map(|key| Self(Some(key)))
    }
}

/// The key of these bytes.
pub(crate) fn key(bytes: &[u8]) -> Result<EntryKey, Refusal> {
    EntryKey::from_bytes(bytes).map_err(|problem| Refusal::new(Code::BadKey, problem.to_string()))
}

/// What percent-encoded text stands for. In a query a plus is a space.
fn decode(text: &str, plus: bool) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let (high, low) = (digit(rest.next()?)?, digit(rest.next()?)?);
                (high * 16 + low) as u8
            }
            b'+' if plus => b' ',
            byte => byte,
        });
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    async fn target(uri: &str) -> Result<String, String> {
        let request = axum::http::Request::get(uri).body(()).unwrap();
        let (mut parts, ()) = request.into_parts();
        match Target::from_request_parts(&mut parts, &()).await {
            Ok(Target(key)) => Ok(key.to_string()),
            Err(refusal) => Err(refusal.problem().code.clone()),
        }
    }

    #[tokio::test]
    async fn a_key_is_what_its_bytes_say() {
        for (uri, key) in [
            ("/v1/shared/a", "a"),
            ("/v1/shared/a/b//c/", "a/b//c/"),
            ("/v1/shared/a%2Fb%20c+d", "a/b c+d"),
            ("/v1/shared/gr%C3%BC%C3%9Fe", "grüße"),
            ("/v1/shared/%00%0a", "\0\n"),
            ("/v1/shared?key=..", ".."),
            ("/v1/shared?ttl=1s&key=a+b%2Bc", "a b+c"),
            ("/v1/shared?key=%EF%BF%BD", "\u{fffd}"),
        ] {
            assert_eq!(target(uri).await.as_deref(), Ok(key), "{uri}");
        }
        let long = "k".repeat(1_024);
        assert_eq!(
            target(&format!("/v1/shared/{long}")).await,
            Ok(long.clone())
        );
    }

    #[tokio::test]
    async fn what_is_no_key_is_refused() {
        let long = format!("/v1/shared/{}", "k".repeat(1_025));
        for (uri, code) in [
            ("/v1/shared/", "bad_key"),
            ("/v1/shared", "bad_key"),
            ("/v1/shared?key=", "bad_key"),
            ("/v1/shared?key", "bad_key"),
            ("/v1/shared/%ff", "bad_key"),
            ("/v1/shared?key=%c3%28", "bad_key"),
            ("/v1/shared/%zz", "bad_key"),
            ("/v1/shared/%4", "bad_key"),
            (&long, "bad_key"),
            ("/v1/shared/a?key=b", "bad_parameter"),
        ] {
            assert_eq!(target(uri).await, Err(code.into()), "{uri}");
        }
    }
}
