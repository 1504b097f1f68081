//! Binding: which address to use and to tell, and when a key is needed for it.
//!
//! No key, no network: whatever can be reached from beyond loopback wants a
//! cluster key, or somebody who said that he wants none.

use std::net::IpAddr;

use crate::error::StartError;
use crate::options::Options;

/// The addresses of a node, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    /// What the sockets are bound to.
    pub(crate) bind: IpAddr,
    /// What others are told.
    pub(crate) advertise: IpAddr,
}

impl Binding {
    /// The addresses that `options` ask for.
    ///
    /// # Errors
    /// [`StartError::NoKey`], [`StartError::AdvertiseMissing`],
    /// [`StartError::AdvertiseUnusable`].
    pub(crate) fn of(options: &Options) -> Result<Self, StartError> {
        let bind = options.bind;
        let advertise = match options.advertise {
            Some(advertise) => advertise,
            None if bind.is_unspecified() => return Err(StartError::AdvertiseMissing { bind }),
            None => bind,
        };
        let reachable = !advertise.is_unspecified()
            && !advertise.is_multicast()
            && advertise.is_ipv4() == bind.is_ipv4();
        if !reachable {
            return Err(StartError::AdvertiseUnusable { advertise, bind });
        }
        let beyond_loopback = [bind, advertise].into_iter().find(|ip| !ip.is_loopback());
        let has_key = options.keys.primary().is_some();
        match beyond_loopback {
            Some(address) if !has_key && !options.insecure => Err(StartError::NoKey { address }),
            _ => Ok(Self { bind, advertise }),
        }
    }
}

impl Options {
    /// Whether these addresses may be used at all, before any socket is opened:
    /// what a program calls that opens sockets of its own beside the node's.
    ///
    /// # Errors
    /// [`StartError::NoKey`], [`StartError::AdvertiseMissing`],
    /// [`StartError::AdvertiseUnusable`].
    pub fn check(&self) -> Result<(), StartError> {
        Binding::of(self).map(drop)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use dui_core::{Key, Keyring};

    use super::*;

    fn options(bind: &str, advertise: Option<&str>) -> Options {
        Options {
            bind: bind.parse().unwrap(),
            advertise: advertise.map(|text| text.parse().unwrap()),
            ..Options::default()
        }
    }

    fn with_key(options: Options) -> Options {
        let key = Key::from_slice(&[7; 32]).unwrap();
        Options {
            keys: Keyring::new(vec![key]).unwrap(),
            ..options
        }
    }

    #[test]
    fn loopback_needs_no_key() {
        for bind in ["127.0.0.1", "127.0.7.9", "::1"] {
            let binding = Binding::of(&options(bind, None)).unwrap();
            assert_eq!(binding.advertise, binding.bind);
        }
    }

    #[test]
    fn the_network_needs_a_key_and_the_error_says_how_to_get_one() {
        for (bind, advertise) in [("10.0.0.7", None), ("127.0.0.1", Some("10.0.0.7"))] {
            let error = Binding::of(&options(bind, advertise)).unwrap_err();
            let text = error.to_string();
            for word in ["10.0.0.7", "dui keys generate", "--key-file", "--insecure"] {
                assert!(text.contains(word), "{word:?} is missing in {text:?}");
            }
            assert_eq!(error.exit_code(), 78);
        }
    }

    #[test]
    fn who_wants_no_key_says_so() {
        let insecure = Options {
            insecure: true,
            ..options("10.0.0.7", None)
        };
        assert!(Binding::of(&insecure).is_ok());
        assert!(Binding::of(&with_key(options("10.0.0.7", None))).is_ok());
    }

    #[test]
    fn bound_to_everything_one_must_say_which_address_to_tell() {
        let error = Binding::of(&options("0.0.0.0", None)).unwrap_err();
        assert!(error.to_string().contains("--advertise"), "{error}");
        let told = Binding::of(&with_key(options("0.0.0.0", Some("10.0.0.7")))).unwrap();
        assert_eq!(told.advertise.to_string(), "10.0.0.7");
    }

    #[test]
    fn an_address_that_nobody_can_send_to_is_not_advertised() {
        for told in ["0.0.0.0", "239.255.77.91", "fd00::7"] {
            let error = Binding::of(&with_key(options("10.0.0.7", Some(told)))).unwrap_err();
            assert!(
                matches!(error, StartError::AdvertiseUnusable { .. }),
                "{error}"
            );
        }
    }
}
