//! User events: small messages from a program to every node.
//!
//! A payload is bytes: `payload` or `payload_base64` in JSON.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::binary::Payload;

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
