//! Binding: whether a node may be where it is to be.
//!
//! No key, no network: whatever can be reached from beyond loopback wants a
//! cluster key, or somebody who said that he wants none.

use std::net::IpAddr;

use crate::error::StartError;

/// Checks what the sockets are bound to and what others are told.
/// `beyond_loopback`: whether there is a key, or nobody wants one.
///
/// # Errors
/// [`StartError::AdvertiseUnusable`], [`StartError::NoKey`].
pub(crate) fn check(
    bind: IpAddr,
    advertise: IpAddr,
    beyond_loopback: bool,
) -> Result<(), StartError> {
    let reachable = !advertise.is_unspecified()
        && !advertise.is_multicast()
        && advertise.is_ipv4() == bind.is_ipv4();
    if !reachable {
        return Err(StartError::AdvertiseUnusable { advertise, bind });
    }
    match [bind, advertise].into_iter().find(|ip| !ip.is_loopback()) {
        Some(address) if !beyond_loopback => Err(StartError::NoKey { address }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn checked(bind: &str, advertise: &str, beyond_loopback: bool) -> Result<(), StartError> {
        let ip = |text: &str| text.parse().unwrap();
        check(ip(bind), ip(advertise), beyond_loopback)
    }

    #[test]
    fn loopback_needs_no_key() {
        for bind in ["127.0.0.1", "127.0.7.9", "::1"] {
            checked(bind, bind, false).unwrap();
        }
    }

    #[test]
    fn the_network_needs_a_key_and_the_error_says_how_to_get_one() {
        for (bind, advertise) in [("10.0.0.7", "10.0.0.7"), ("127.0.0.1", "10.0.0.7")] {
            checked(bind, advertise, true).unwrap();
            let error = checked(bind, advertise, false).unwrap_err();
            let text = error.to_string();
            for word in ["10.0.0.7", "dui keys generate", "--key-file", "--insecure"] {
                assert!(text.contains(word), "{word:?} is missing in {text:?}");
            }
            assert_eq!(error.exit_code(), 78);
        }
    }

    #[test]
    fn an_address_that_nobody_can_send_to_is_not_advertised() {
        for told in ["0.0.0.0", "239.255.77.91", "fd00::7"] {
            let error = checked("10.0.0.7", told, true).unwrap_err();
            assert!(
                matches!(error, StartError::AdvertiseUnusable { .. }),
                "{error}"
            );
        }
    }
}
