//! Binary: bytes in JSON, which has none.
//!
//! What is UTF-8 travels as text under one name, anything else as base64
//! under another that ends in `_base64`; exactly one of the two is there.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// Bytes that are not UTF-8: a base64 string in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, content_encoding = "base64")]
pub struct Binary(#[serde(serialize_with = "encode", deserialize_with = "decode")] pub Vec<u8>);

fn encode<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&STANDARD.encode(bytes))
}

fn decode<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(from)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
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

/// The bytes of an entry, in the form that JSON can carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub enum EntryValue {
    /// UTF-8 text as it is.
    #[serde(rename = "value")]
    Text(String),
    /// Anything else, in standard base64 with padding.
    #[serde(rename = "value_base64")]
    Base64(Binary),
}

// The enums are written out: names that a macro hands on reach serde, and not
// the derive that describes the schema.
macro_rules! bytes {
    ($type:ident) => {
        impl $type {
            /// The bytes.
            pub fn as_bytes(&self) -> &[u8] {
                match self {
                    Self::Text(text) => text.as_bytes(),
                    Self::Base64(Binary(bytes)) => bytes,
                }
            }
        }

        impl From<Vec<u8>> for $type {
            fn from(bytes: Vec<u8>) -> Self {
                String::from_utf8(bytes).map_or_else(
                    |not_text| Self::Base64(Binary(not_text.into_bytes())),
                    Self::Text,
                )
            }
        }
    };
}

bytes!(Payload);
bytes!(EntryValue);
