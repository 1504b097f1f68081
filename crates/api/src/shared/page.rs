//! Pages: listing entries a part at a time, and cursors that lead to the next.
//!
//! A cursor holds the last key of a page, so that it stays right whatever is
//! written meanwhile, on every node of the cluster; and what it belongs to,
//! so that it is of no use for anything else.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dui_client::{Code, EntryList};
use serde::{Deserialize, Serialize};

use crate::App;
use crate::ask::ask;
use crate::convert;
use crate::refusal::Refusal;

/// Entries of a page unless somebody asks for another number.
const LIMIT: usize = 100;
/// Most of them.
const LIMIT_MAX: usize = 1_000;
/// A page ends early when its values have so many bytes.
const PAGE_BYTES: usize = 4 << 20;

/// What a listing asks for.
#[derive(Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) prefix: String,
    pub(crate) limit: Option<String>,
    pub(crate) cursor: Option<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    cluster: String,
    prefix: String,
    after: String,
}

impl Cursor {
    fn encode(&self) -> String {
        // Three strings: JSON can hold them.
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default())
    }

    fn decode(text: &str) -> Option<Self> {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
    }
}

/// The page that is asked for.
pub(crate) async fn page(State(app): State<App>, wanted: Wanted) -> Result<Response, Refusal> {
    let Wanted {
        prefix,
        limit,
        cursor,
    } = wanted;
    let limit = limit.as_deref().map_or(Ok(LIMIT), parse_limit)?;
    let cluster = ask(app.handle().this()).await?.cluster.to_string();
    let after = match cursor {
        None => None,
        Some(text) => Some(place(&text, &cluster, &prefix)?),
    };
    // One more, to know whether there is one.
    let page = ask(app.handle().page(prefix.clone(), after, limit + 1)).await?;
    let mut bytes = 0;
    let fits = page.entries.iter().take(limit).take_while(|entry| {
        let first = bytes == 0;
        bytes += entry.as_bytes().len();
        first || bytes <= PAGE_BYTES
    });
    let taken = fits.count();
    let entries: Vec<_> = page.entries[..taken]
        .iter()
        .map(|entry| convert::entry(entry, page.at_ms))
        .collect();
    let cursor = (taken < page.entries.len()).then(|| {
        let after = entries.last().map(|entry| entry.key.clone());
        let after = after.unwrap_or_default();
        Cursor {
            cluster,
            prefix,
            after,
        }
        .encode()
    });
    Ok(Json(EntryList { entries, cursor }).into_response())
}

fn parse_limit(text: &str) -> Result<usize, Refusal> {
    let limit = text.parse().ok();
    limit
        .filter(|limit| (1..=LIMIT_MAX).contains(limit))
        .ok_or_else(|| {
            let detail = format!("limit is a number from 1 to {LIMIT_MAX}");
            Refusal::new(Code::BadParameter, detail)
        })
}

fn place(text: &str, cluster: &str, prefix: &str) -> Result<String, Refusal> {
    let refused = |detail: String| Refusal::new(Code::BadCursor, detail);
    let cursor = Cursor::decode(text);
    let cursor = cursor.ok_or_else(|| refused("not a cursor: start again without one".into()))?;
    if cursor.cluster != cluster {
        let of: String = cursor.cluster.chars().take(64).collect();
        return Err(refused(format!(
            "the cursor is of cluster '{of}', this is '{cluster}': start again without it"
        )));
    }
    if cursor.prefix != prefix {
        return Err(refused(
            "the cursor belongs to another prefix: give the one that it was made for".into(),
        ));
    }
    Ok(cursor.after)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_cursor_leads_on_where_it_comes_from_and_nowhere_else() {
        let cursor = Cursor {
            cluster: "blue".into(),
            prefix: "a/".into(),
            after: "a/ü\0".into(),
        };
        let text = cursor.encode();
        assert_eq!(place(&text, "blue", "a/").unwrap(), "a/ü\0");
        for (text, cluster, prefix) in [
            (&*text, "green", "a/"),
            (&text, "blue", "b/"),
            ("garbage", "blue", "a/"),
            ("", "blue", "a/"),
        ] {
            let refusal = place(text, cluster, prefix).unwrap_err();
            assert!(refusal.problem().is(Code::BadCursor), "{text}");
        }
    }

    #[test]
    fn a_limit_has_bounds() {
        assert_eq!(parse_limit("1000").unwrap(), 1_000);
        for bad in ["0", "1001", "-1", "", "ten"] {
            assert!(
                parse_limit(bad)
                    .unwrap_err()
                    .problem()
                    .is(Code::BadParameter)
            );
        }
    }
}
