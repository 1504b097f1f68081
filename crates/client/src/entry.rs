//! Entries: shared data, which every node holds and anyone may write.
//!
//! Of two writes of one key the one with the higher `version` stays, on every
//! node: its order as text is the order of writes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::binary::{Binary, EntryValue};
use crate::problem::Problem;

/// A shared entry as the asked node holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Entry {
    /// 1 to 1,024 bytes of UTF-8.
    #[schema(example = "config/limits")]
    pub key: String,
    /// Up to 1 MiB of anything: `value` or `value_base64` in JSON.
    #[serde(flatten)]
    pub value: EntryValue,
    /// As it was sent with the value; `null` if none was.
    #[serde(default)]
    #[schema(example = "application/json")]
    pub content_type: Option<String>,
    /// Names this write; the higher one of a key stays. Compare as text.
    #[schema(example = "0001a2165ca61b70-7f3a9c0d5e6b41829d10c4a7e2f80b35")]
    pub version: String,
    /// Hybrid clock reading of the write: 48 bits of milliseconds since the
    /// Unix epoch, then 16 bits that count within one millisecond. Needs
    /// 64-bit integers: where numbers are doubles, use `version` and `at`.
    pub timestamp: u64,
    /// The millisecond of `timestamp`: RFC 3339, UTC.
    #[schema(format = DateTime)]
    pub at: String,
    /// Id of the node that wrote it: 32 hexadecimal digits.
    pub updated_by: String,
    /// How much longer it lives, in milliseconds; `null`: until it is deleted.
    pub ttl_ms: Option<u64>,
}

/// A write that is done: durable at the asked node if it has a data
/// directory, and at as many others as was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Written {
    /// The key that was written or deleted.
    pub key: String,
    /// Names this write.
    #[schema(example = "0001a2165ca61b70-7f3a9c0d5e6b41829d10c4a7e2f80b35")]
    pub version: String,
    /// Hybrid clock reading of the write; see the entry's.
    pub timestamp: u64,
    /// The millisecond of `timestamp`: RFC 3339, UTC.
    #[schema(format = DateTime)]
    pub at: String,
    /// Id of the node that wrote it: the asked one.
    pub updated_by: String,
    /// Members that hold the write durably, as far as was asked for; the
    /// asked node is one of them.
    pub acked: u64,
}

/// A page of entries, by key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntryList {
    /// The entries, ordered by the bytes of their keys.
    pub entries: Vec<Entry>,
    /// Asks for the next page; `null`: this is the last one.
    pub cursor: Option<String>,
}

/// What one operation of a batch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OperationKind {
    /// Gives a key a value.
    Put,
    /// Reads a key.
    Get,
    /// Takes a key's value away.
    Delete,
}

/// One operation of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// `put`, `get` or `delete`.
    pub op: OperationKind,
    /// 1 to 1,024 bytes of UTF-8.
    #[schema(example = "config/limits")]
    pub key: String,
    /// Of a put: the value as text. A put has this or `value_base64`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Of a put: the value in standard base64 with padding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_base64: Option<Binary>,
    /// Of a put: what the value is, at most 254 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Of a put: how long it lives in milliseconds; without it until it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<u64>,
}

impl Operation {
    /// Gives a key a value.
    pub fn put(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        let (value, value_base64) = match EntryValue::from(value.into()) {
            EntryValue::Text(text) => (Some(text), None),
            EntryValue::Base64(bytes) => (None, Some(bytes)),
        };
        Self {
            value,
            value_base64,
            ..Self::of(OperationKind::Put, key)
        }
    }

    /// Reads a key.
    pub fn get(key: impl Into<String>) -> Self {
        Self::of(OperationKind::Get, key)
    }

    /// Takes a key's value away.
    pub fn delete(key: impl Into<String>) -> Self {
        Self::of(OperationKind::Delete, key)
    }

    fn of(op: OperationKind, key: impl Into<String>) -> Self {
        Self {
            op,
            key: key.into(),
            value: None,
            value_base64: None,
            content_type: None,
            ttl_ms: None,
        }
    }
}

/// Many operations in one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// 1 to 1,000 of them. Writes are made first, in their order, and become
    /// durable together; reads see what is there afterwards. Each succeeds or
    /// fails for itself.
    #[schema(min_items = 1, max_items = 1000)]
    pub operations: Vec<Operation>,
}

/// What came of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchResults {
    /// One for each operation, in their order.
    pub results: Vec<BatchResult>,
}

/// What came of one operation: what the same request alone would be answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BatchResult {
    /// The HTTP status that it would have alone.
    pub status: u16,
    /// Of a get: the entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Entry>,
    /// Of a put or delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<Written>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// What happened to an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ChangeKind {
    /// It has a new value, or is told of for the first time.
    Put,
    /// It was deleted.
    Deleted,
    /// Its time to live ran out.
    Expired,
}

/// A change of a shared entry, as a watch tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SharedChange {
    /// What happened.
    pub change: ChangeKind,
    /// The entry as it is now: of one that is gone the value is empty, and
    /// `version` names the write that took it away.
    pub entry: Entry,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_entry_reads_as_documented() {
        let text = r#"{"key":"a/b","value_base64":"/wA=","version":"01-02","timestamp":1,
            "at":"2026-11-23T02:16:26.123Z","updated_by":"02","ttl_ms":null,"weather":"fine"}"#;
        let entry: Entry = serde_json::from_str(text).unwrap();
        assert_eq!(entry.value.as_bytes(), [0xff, 0]);
        assert_eq!((entry.content_type.as_deref(), entry.ttl_ms), (None, None));
        let back = serde_json::to_value(&entry).unwrap();
        assert!(back["ttl_ms"].is_null() && back["content_type"].is_null());
        assert_eq!(back["value_base64"], "/wA=");
    }

    #[test]
    fn an_operation_says_what_it_needs_and_no_more() {
        let put = serde_json::to_value(Operation::put("a", b"1".to_vec())).unwrap();
        assert_eq!(
            put,
            serde_json::json!({"op": "put", "key": "a", "value": "1"})
        );
        let bytes = serde_json::to_value(Operation::put("a", vec![0xff])).unwrap();
        assert_eq!(bytes["value_base64"], "/w==");
        let strange = r#"{"op":"get","key":"a","colour":"red"}"#;
        serde_json::from_str::<Operation>(strange).unwrap_err();
    }
}
