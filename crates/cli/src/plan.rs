//! Plan: what the settings mean on this machine, as options of a node.

use dui_node::core::Keyring;
use dui_node::{Options, Port, Provider};

use crate::place::{self, Candidate};
use crate::settings::{Place, PortNumber, Settings, Sourced};

/// The options that `settings` ask for.
///
/// # Errors
/// When an interface or `auto` does not settle an address.
pub(crate) fn options(
    settings: &Settings,
    keys: Keyring,
    here: &[Candidate],
) -> Result<Options, String> {
    let named = |flag: &'static str| move |problem: String| format!("{flag}: {problem}");
    let bind = place::resolve(&settings.bind.value, here).map_err(named("--bind"))?;
    let advertise = match &settings.advertise.value {
        Some(place) => Some(place::resolve(place, here).map_err(named("--advertise"))?),
        // Bound to every address, others still have to be told a single one.
        None if bind.is_unspecified() => {
            let only = place::resolve(&Place::Auto, here);
            Some(only.map_err(named("--advertise is needed with this --bind"))?)
        }
        None => None,
    };
    Ok(Options {
        cluster: settings.cluster.value.clone(),
        name: settings.name.value.clone(),
        role: settings.role.value,
        bind,
        advertise,
        peer_port: port(&settings.peer_port),
        discovery_port: Port {
            number: settings.discovery_port.value.0.get(),
            asked: settings.discovery_port.asked(),
        },
        discovery: providers(settings),
        data_dir: settings.data_dir.value.clone(),
        keys,
        insecure: settings.insecure.value,
        leave_timeout: settings.leave_timeout.value,
        shared_bytes_max: settings.shared_memory.value.0,
        tombstone_life: settings.tombstone_life.value.0,
        clock_ahead_max: settings.clock_ahead_max.value,
        ..Options::default()
    })
}

/// A port and whether somebody chose it.
pub(crate) fn port(setting: &Sourced<PortNumber>) -> Port {
    let PortNumber(number) = setting.value;
    Port {
        number,
        asked: setting.asked(),
    }
}

/// `--join` adds to what `--discovery` says, whatever that is.
fn providers(settings: &Settings) -> Vec<Provider> {
    let mut providers = settings.discovery.value.0.clone();
    let join = &settings.join.value;
    if !join.is_empty() {
        providers.push(Provider::Static(join.clone()));
    }
    providers
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::settings::{Flags, load};

    fn planned(variables: &[(&str, &str)]) -> Result<Options, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, text)| text.to_string())
        };
        let loaded = load(&Flags::default(), &variable, None).unwrap();
        options(&loaded.settings, Keyring::default(), &[])
    }

    #[test]
    fn the_defaults_are_those_of_an_embedded_node() {
        let planned = planned(&[]).unwrap();
        assert_eq!(format!("{planned:?}"), format!("{:?}", Options::default()));
    }

    #[test]
    fn join_adds_to_discovery_and_stands_alone_beside_none() {
        let two = planned(&[("DUI_JOIN", "10.0.0.1,10.0.0.2")])
            .unwrap()
            .discovery;
        assert_eq!(two.len(), 3);
        let alone = planned(&[("DUI_JOIN", "10.0.0.1"), ("DUI_DISCOVERY", "none")]).unwrap();
        let address = "10.0.0.1:7781".parse().unwrap();
        assert_eq!(alone.discovery, vec![Provider::Static(vec![address])]);
        assert!(
            planned(&[("DUI_DISCOVERY", "none")])
                .unwrap()
                .discovery
                .is_empty()
        );
    }

    #[test]
    fn a_port_that_somebody_chose_is_remembered_as_such() {
        let planned = planned(&[("DUI_PEER_PORT", "7781")]).unwrap();
        assert!(planned.peer_port.asked);
        assert!(!planned.discovery_port.asked);
    }

    #[test]
    fn bound_to_everything_without_a_plausible_address_asks_for_one() {
        let problem = planned(&[("DUI_BIND", "0.0.0.0")]).unwrap_err();
        assert!(problem.starts_with("--advertise is needed"), "{problem}");
    }
}
