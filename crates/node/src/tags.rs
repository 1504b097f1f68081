//! Tags: what a node says of itself beside its name, kept as a shared entry.
//!
//! A node with tags has one entry, `dui/tags/ID`, a JSON object of texts. So
//! tags travel, persist and resume as every entry does, and have no small
//! packet to fit into. The entry lives for a day, and its node renews it while
//! it runs: the tags of an id that never comes back go by themselves. Anybody
//! may write it, which changes the tags until the node starts anew.

use std::collections::BTreeMap;
use std::time::Duration;

use dui_core::{Acks, EntryKey, NodeId};
use tokio::time::sleep;

use crate::handle::{ApiError, Handle};
use crate::shared::{SharedWrite, WriteFailure};

/// A node's tags, by their keys.
pub type Tags = BTreeMap<String, String>;

/// Tags of a node at most.
pub const TAGS_MAX: usize = 64;
const KEY_BYTES_MAX: usize = 128;
const VALUE_BYTES_MAX: usize = 1_024;

const PREFIX: &str = "dui/tags/";
const LIFE: Duration = Duration::from_secs(24 * 3_600);
/// With so much of its life left an entry is renewed: a machine that slept
/// over the end of it has its tags again soon after.
const RENEW_BELOW: Duration = Duration::from_secs(16 * 3_600);
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// A write that was not taken is tried again after this.
const RETRY: Duration = Duration::from_secs(5);

/// Why tags were refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    /// More than a node may have.
    #[error("a node has at most {TAGS_MAX} tags")]
    TooMany,
    /// A key that cannot be one.
    #[error("the key of a tag has 1 to {KEY_BYTES_MAX} bytes and no control characters")]
    Key,
    /// A value that cannot be one.
    #[error("the value of a tag has at most {VALUE_BYTES_MAX} bytes and no control characters")]
    Value,
}

/// Whether a node may have these tags.
///
/// # Errors
/// [`TagError`], of the first that it may not have.
pub fn check_tags(tags: &Tags) -> Result<(), TagError> {
    let printable = |text: &str| !text.chars().any(char::is_control);
    if tags.len() > TAGS_MAX {
        return Err(TagError::TooMany);
    }
    for (key, value) in tags {
        if !(1..=KEY_BYTES_MAX).contains(&key.len()) || !printable(key) {
            return Err(TagError::Key);
        }
        if value.len() > VALUE_BYTES_MAX || !printable(value) {
            return Err(TagError::Value);
        }
    }
    Ok(())
}

fn key_of(id: NodeId) -> String {
    format!("{PREFIX}{id}")
}

/// Anybody may have written it: what is no tags is none.
fn parse(value: &[u8]) -> Tags {
    let tags: Tags = serde_json::from_slice(value).unwrap_or_default();
    check_tags(&tags).map_or_else(|_| Tags::new(), |()| tags)
}

impl Handle {
    /// The tags of these members, in their order; none for who has none.
    ///
    /// # Errors
    /// [`ApiError::Stopped`].
    pub async fn tags(&self, ids: &[NodeId]) -> Result<Vec<Tags>, ApiError> {
        let entries = self.entries(ids.iter().map(|id| key_of(*id)).collect());
        let tags = |entry: Option<crate::SharedEntry>| {
            entry.map_or_else(Tags::new, |it| parse(it.entry.value()))
        };
        Ok(entries.await?.into_iter().map(tags).collect())
    }
}

/// Keeps the entry of a node, until that stops.
pub(crate) async fn keep(handle: Handle, tags: Tags) {
    tokio::select! {
        () = handle.stopped() => {}
        _ = tend(&handle, tags) => {}
    }
}

async fn tend(handle: &Handle, tags: Tags) -> Result<(), ApiError> {
    let id = handle.this().await?.member.id;
    let key = EntryKey::new(&key_of(id)).expect("prefix and id are a key");
    if tags.is_empty() {
        // Of an earlier start, or of nobody.
        if handle.entry(key.to_string()).await?.is_some() {
            store(handle, SharedWrite::Delete { key }).await?;
        }
        return Ok(());
    }
    let mut value = serde_json::to_vec(&tags).expect("texts are JSON");
    store(handle, put(&key, value.clone())).await?;
    loop {
        sleep(LOOK_EVERY).await;
        let present = handle.entry(key.to_string()).await?;
        let mut left = Duration::ZERO;
        if let Some(present) = present {
            value = present.entry.value().to_vec();
            let end_ms = present.entry.expires_ms().unwrap_or(0);
            left = Duration::from_millis(end_ms.saturating_sub(present.at_ms));
        }
        if left < RENEW_BELOW {
            store(handle, put(&key, value.clone())).await?;
        }
    }
}

fn put(key: &EntryKey, value: Vec<u8>) -> SharedWrite {
    SharedWrite::Put {
        key: key.clone(),
        value,
        content_type: Some(b"application/json".to_vec()),
        ttl: Some(LIFE),
    }
}

/// Writes until that is taken: a clock may be wrong, or a disk full, for now.
async fn store(handle: &Handle, write: SharedWrite) -> Result<(), ApiError> {
    let mut told = false;
    loop {
        let done = handle.write(vec![write.clone()], Acks::Here, RETRY).await?;
        let error = match done.first() {
            Some(Err(WriteFailure::Unknown)) | Some(Ok(_)) | None => return Ok(()),
            Some(Err(error)) => error,
        };
        if !told {
            tracing::warn!(
                target: "dui", event = "tags_not_stored", %error,
                remedy = "others see no tags of this node until its shared entries can be written; it keeps trying",
            );
            told = true;
        }
        sleep(RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(pairs: &[(&str, &str)]) -> Tags {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn what_is_no_object_of_texts_within_bounds_is_no_tags() {
        assert_eq!(parse(br#"{"rack":"a1"}"#), tags(&[("rack", "a1")]));
        let long = format!(r#"{{"k":"{}"}}"#, "v".repeat(VALUE_BYTES_MAX + 1));
        let many: Tags = (0..=TAGS_MAX)
            .map(|n| (n.to_string(), String::new()))
            .collect();
        let many = serde_json::to_string(&many).expect("texts are JSON");
        for junk in [
            "",
            "[]",
            r#"{"a":1}"#,
            r#"{"":"x"}"#,
            "{\"a\":\"\\u0000\"}",
            &long,
            &many,
        ] {
            assert_eq!(parse(junk.as_bytes()), Tags::new(), "{junk:.20}");
        }
    }

    #[test]
    fn the_bounds_are_named() {
        assert_eq!(check_tags(&tags(&[("rack", "")])), Ok(()));
        assert_eq!(check_tags(&tags(&[("", "x")])), Err(TagError::Key));
        assert_eq!(check_tags(&tags(&[("a\n", "x")])), Err(TagError::Key));
        assert_eq!(check_tags(&tags(&[("a", "\u{7f}")])), Err(TagError::Value));
    }
}
