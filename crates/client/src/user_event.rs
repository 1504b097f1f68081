//! User events: small messages from a program to every node.
//!
//! A payload is bytes. JSON has none, so what is UTF-8 travels as `payload`
//! and anything else as `payload_base64`; exactly one of the two is there.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// An event that some node published.
///
/// Any two nodes that hold the same events list them in the same order: by
/// `timestamp`, ties broken by `origin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UserEvent {
    /// Hybrid clock reading: 48 bits of milliseconds since the Unix epoch,
    /// then 16 bits that count within one millisecond. Needs 64-bit integers:
    /// where numbers are doubles, use `at` and the order of the list.
    pub timestamp: u64,
    /// The millisecond of `timestamp`: RFC 3339, UTC.
    #[schema(format = DateTime)]
    pub at: String,
    /// Id of the node that published it: 32 hexadecimal digits.
    pub origin: String,
    /// What it is called: 1 to 128 bytes.
    #[schema(example = "deploy")]
    pub name: String,
    /// Up to 8 KiB of anything: `payload` or `payload_base64` in JSON.
    #[serde(flatten)]
    pub payload: Payload,
}

/// The bytes of an event, in the form that JSON can carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum Payload {
    /// UTF-8 text as it is.
    #[serde(rename = "payload")]
    Text(String),
    /// Anything else, in standard base64 with padding.
    #[serde(rename = "payload_base64")]
    Base64(Binary),
}

/// Bytes that are not UTF-8: a base64 string in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, content_encoding = "base64")]
pub struct Binary(#[serde(serialize_with = "encode", deserialize_with = "decode")] pub Vec<u8>);

impl Payload {
    /// The bytes that were published.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Base64(Binary(bytes)) => bytes,
        }
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        String::from_utf8(bytes).map_or_else(
            |not_text| Self::Base64(Binary(not_text.into_bytes())),
            Self::Text,
        )
    }
}

fn encode<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&STANDARD.encode(bytes))
}

fn decode<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(from)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

/// Events that are still kept (the last 1,024), oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventList {
    /// The events, ordered by (`timestamp`, `origin`).
    pub events: Vec<UserEvent>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn deploy(payload: &[u8]) -> UserEvent {
        UserEvent {
            timestamp: u64::MAX,
            at: "2026-11-23T02:16:26.123Z".into(),
            origin: "0".repeat(32),
            name: "deploy".into(),
            payload: payload.to_vec().into(),
        }
    }

    #[test]
    fn text_is_readable_in_json_and_bytes_survive_it() {
        let text = serde_json::to_value(deploy("grüß dich".as_bytes())).unwrap();
        assert_eq!(text["payload"], "grüß dich");
        assert!(text.get("payload_base64").is_none());

        let bytes = serde_json::to_value(deploy(&[0xff, 0x00])).unwrap();
        assert_eq!(bytes["payload_base64"], "/wA=");
        assert!(bytes.get("payload").is_none());
        let back: UserEvent = serde_json::from_value(bytes).unwrap();
        assert_eq!(back, deploy(&[0xff, 0x00]));
    }

    #[test]
    fn an_empty_payload_is_empty_text() {
        let event = serde_json::to_value(deploy(b"")).unwrap();
        assert_eq!(event["payload"], "");
    }
}
