//! Paths and queries: anything may be in a name, so everything unusual is escaped.
//!
//! Source: RFC 3986, section 2: what is not an unreserved character is
//! percent-encoded, byte by byte.

use std::fmt::Write;

/// `text` as one segment of a path or one value of a query.
pub(crate) fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// `path` with those parameters that have a value.
pub(crate) fn query(path: &str, parameters: &[(&str, Option<&str>)]) -> String {
    let mut text = path.to_owned();
    let mut separator = '?';
    for (name, value) in parameters {
        if let Some(value) = value {
            let _ = write!(text, "{separator}{name}={}", percent_encode(value));
            separator = '&';
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_break_out_of_its_place() {
        assert_eq!(
            percent_encode("a/b?c=d&e f%ü"),
            "a%2Fb%3Fc%3Dd%26e%20f%25%C3%BC"
        );
        assert_eq!(percent_encode("grace-hopper_7.f~"), "grace-hopper_7.f~");
    }

    #[test]
    fn only_parameters_with_a_value_are_asked() {
        assert_eq!(query("/a", &[("b", None)]), "/a");
        let both = query("/a", &[("b", Some("x y")), ("c", None), ("d", Some(""))]);
        assert_eq!(both, "/a?b=x%20y&d=");
    }
}
