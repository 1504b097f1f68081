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

/// Bytes under the two names that they have in JSON.
macro_rules! bytes_as {
    ($(#[$about:meta])* $type:ident: $text:literal or $base64:literal) => {
        $(#[$about])*
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        pub enum $type {
            /// UTF-8 text as it is.
            #[serde(rename = $text)]
            Text(String),
            /// Anything else, in standard base64 with padding.
            #[serde(rename = $base64)]
            Base64(Binary),
        }

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

bytes_as! {
    /// The bytes of an event, in the form that JSON can carry.
    Payload: "payload" or "payload_base64"
}

bytes_as! {
    /// The bytes of an entry, in the form that JSON can carry.
    Value: "value" or "value_base64"
}
