//! Plan: what the settings mean on this machine, as options of a node.

use dui_node::core::Keyring;
use dui_node::{Options, Place, Port, Provider};

use crate::settings::{Bound, PortNumber, Settings, Sourced, Told};

/// The options that `settings` ask for.
///
/// `pod_ip`: what Kubernetes passes by its downward API, if anything.
///
/// # Errors
/// When that is no address, and it matters.
pub(crate) fn options(
    settings: &Settings,
    keys: Keyring,
    pod_ip: Option<&str>,
) -> Result<Options, String> {
    let Bound(bind) = settings.bind.value.clone();
    let advertise = settings.advertise.value.clone().map(|Told(place)| place);
    let said = matches!(&bind, Place::Address(ip) if !ip.is_unspecified())
        || matches!(bind, Place::Named(_));
    let pod_ip = match pod_ip.filter(|text| !text.is_empty()) {
        // It belongs to whoever started us, and is no setting of ours: looked
        // at only where the address is left open.
        Some(_) if said && advertise.is_none() => None,
        Some(text) => Some(text.parse().map_err(|_| {
            format!(
                "POD_IP: '{text}' is no IP address: pass status.podIP (fieldRef), or name the \
                 address with --bind"
            )
        })?),
        None => None,
    };
    Ok(Options {
        cluster: settings.cluster.value.clone(),
        name: settings.name.value.clone(),
        role: settings.role.value,
        tags: settings.tag.value.0.clone(),
        bind,
        advertise,
        pod_ip,
        peer_port: port(&settings.peer_port),
        discovery_port: Port {
            number: settings.discovery_port.value.0.get(),
            asked: settings.discovery_port.asked(),
        },
        discovery: providers(settings),
        data_dir: settings.data_dir.value.clone(),
        keys,
        insecure: settings.insecure.value,
        expect: settings.expect.value.0,
        ephemeral: settings.ephemeral.value,
        voters_max: settings.voters_max.value.0,
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
        with_pod_ip(variables, None)
    }

    fn with_pod_ip(variables: &[(&str, &str)], pod_ip: Option<&str>) -> Result<Options, String> {
        let variable = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, text)| text.to_string())
        };
        let loaded = load(&Flags::default(), &variable, None).unwrap();
        options(&loaded.settings, Keyring::default(), pod_ip)
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
    fn a_pod_ip_that_is_no_address_is_refused_where_it_matters() {
        for bind in ["auto", "0.0.0.0"] {
            let with = |text| with_pod_ip(&[("DUI_BIND", bind)], Some(text));
            let problem = with("$(POD_IP)").unwrap_err();
            assert!(problem.contains("$(POD_IP)") && problem.contains("status.podIP"));
            assert_eq!(with("10.0.0.7").unwrap().pod_ip, "10.0.0.7".parse().ok());
            assert_eq!(with("").unwrap().pod_ip, None);
        }
        assert_eq!(with_pod_ip(&[], Some("junk")).unwrap().pod_ip, None);
    }
}
