//! Settings: what `dui run` can be told, each defined once.
//!
//! One table gives every setting its flag, `DUI_*` variable, TOML key, type,
//! default and help. Parser, file check, `--print-config` and
//! `docs/config.md` are made from it, so they cannot drift apart. Which
//! source wins (flag, variable, file, default) is decided in [`mod@load`].

mod file;
mod load;
mod print;
mod value;

use std::path::PathBuf;
use std::time::Duration;

use dui_node::PeerPlace;
use dui_node::core::{ClusterName, NodeName, Role};

#[cfg(test)]
pub(crate) use load::load;
pub(crate) use load::{Flags, Loaded, Source, load_for};
pub(crate) use print::{print, print_location};
pub(crate) use value::{
    Bound, Discovery, Expected, Life, LogFormat, LogLevel, PortNumber, SharedPort, Size, Tagged,
    Told, Voters,
};
use value::{Shape, Value};

/// One row of the table.
pub(crate) struct Setting {
    /// The flag without its dashes, and the key in a file.
    pub(crate) name: &'static str,
    /// What the help calls its value.
    placeholder: &'static str,
    /// In the form it is written in; empty: none.
    default: &'static str,
    /// One or more sentences.
    help: &'static str,
    shape: Shape,
    expected: &'static str,
    /// Whether a text is a value of it.
    check: fn(&str) -> Result<(), String>,
}

impl Setting {
    /// Its environment variable.
    fn variable(&self) -> String {
        format!("DUI_{}", self.name.to_uppercase().replace('-', "_"))
    }

    fn find(name: &str) -> Option<&'static Setting> {
        TABLE.iter().find(|setting| setting.name == name)
    }
}

/// A value and who set it.
#[derive(Clone, Debug)]
pub(crate) struct Sourced<T> {
    pub(crate) value: T,
    pub(crate) source: Source,
}

macro_rules! settings {
    ($($name:literal $field:ident: $type:ty = $default:literal, $placeholder:literal, $help:literal;)*) => {
        /// Every setting of `dui run`, parsed.
        #[derive(Clone, Debug)]
        pub(crate) struct Settings {
            $(pub(crate) $field: Sourced<$type>,)*
        }

        /// The one definition, in the order in which help and docs show it.
        pub(crate) const TABLE: &[Setting] = &[$(Setting {
            name: $name,
            placeholder: $placeholder,
            default: $default,
            help: $help,
            shape: <$type as Value>::SHAPE,
            expected: <$type as Value>::EXPECTED,
            check: |text| <$type as Value>::parse(text).map(drop),
        },)*];

        impl Settings {
            /// Parses what every source said; all that is wrong at once.
            fn parse(raw: &load::Raw) -> Result<Self, Vec<String>> {
                let mut problems = Vec::new();
                $(let $field = raw.parse::<$type>($name, &mut problems);)*
                match ($($field,)*) {
                    ($(Some($field),)*) if problems.is_empty() => Ok(Self { $($field,)* }),
                    _ => Err(problems),
                }
            }
        }
    };
}

settings! {
    "name" name: Option<NodeName> = "", "NAME",
        "Name of this node for people; without one a pioneer of computing lends theirs.";
    "role" role: Role = "manager", "ROLE",
        "manager: votes and may lead; worker: takes part in everything else.";
    "tag" tag: Tagged = "", "KEY=VALUE",
        "What this node says of itself beside its name, for `dui members` and the API; may be repeated or comma-separated. Kept as the shared entry dui/tags/ID.";
    "cluster" cluster: ClusterName = "dui", "NAME",
        "Nodes with the same cluster name and key find each other.";
    "bind" bind: Bound = "127.0.0.1", "ADDR",
        "IP address, interface name, or auto (what the rules of --advertise choose) for all sockets. An interface and auto are followed when their address changes. Beyond loopback it takes a key.";
    "advertise" advertise: Option<Told> = "", "ADDR",
        "What others are told where it differs from --bind: IP address, interface, or host name. With --bind auto or every address, and none said here, it is POD_IP, or the own address behind a dns: name, or the one that the kernel uses toward a known peer, or the only plausible one.";
    "client-port" client_port: PortNumber = "7777", "PORT",
        "TCP port of the HTTP API. On loopback a taken port that was not asked for moves to the next free one.";
    "peer-port" peer_port: PortNumber = "7781", "PORT",
        "UDP and TCP port for other nodes. Moves as the client port does.";
    "discovery-port" discovery_port: SharedPort = "7791", "PORT",
        "UDP port of beacons, shared by all nodes of a machine.";
    "health-port" health_port: PortNumber = "8888", "PORT",
        "TCP port of /healthz, /readyz, /startupz and /metrics. Moves as the client port does.";
    "discovery" discovery: Discovery = "multicast,broadcast", "LIST",
        "Ways to find other nodes, comma-separated, all used at once: multicast, broadcast, dns:NAME[:PORT], static:HOST[:PORT],…, file:PATH, or none.";
    "join" join: Vec<PeerPlace> = "", "HOST[:PORT]",
        "Addresses or names to find other nodes at, added to --discovery; may be repeated or comma-separated.";
    "data-dir" data_dir: Option<PathBuf> = "", "DIR",
        "Keeps id, incarnation, known peers and shared entries across restarts. Without one every start is a new node.";
    "expect" expect: Expected = "", "N",
        "How many managers found the cluster together, this one included: the same on all of them, 1 to 15, 3 is usual. Without it, on loopback the first manager founds alone; elsewhere nobody does, and there is no leader.";
    "ephemeral" ephemeral: bool = "false", "",
        "Allows managers without --data-dir to found with others beyond loopback: once a majority of them is gone at the same time, so is what they agreed on.";
    "voters-max" voters_max: Voters = "5", "N",
        "Most managers that vote, an odd number up to 15; the others stand by and take over.";
    "shared-memory" shared_memory: Size = "256MiB", "SIZE",
        "Memory that shared entries may take; more is refused. Every node holds all of them: give all the same.";
    "tombstone-life" tombstone_life: Life = "30d", "DURATION",
        "How long deletes of shared entries are remembered. Nodes out of contact for longer exchange none until an operator decides.";
    "clock-ahead-max" clock_ahead_max: Duration = "60s", "DURATION",
        "How far this node's clock may be ahead of its peers' before it refuses to write shared entries.";
    "key-file" key_file: Option<PathBuf> = "", "FILE",
        "Cluster keys, one base64 text a line; the first seals, all open. DUI_KEY may hold the key itself instead.";
    "insecure" insecure: bool = "false", "",
        "Allows to bind beyond loopback without a key: anybody on the network can read and join.";
    "leave-timeout" leave_timeout: Duration = "8s", "DURATION",
        "Longest wait for others to confirm a goodbye.";
    "drain" drain: Duration = "0s", "DURATION",
        "How long to go on serving, no longer ready, before leaving; 5s suits Kubernetes.";
    "log-format" log_format: LogFormat = "text", "FORMAT",
        "text for people, or json: one object a line. Logs go to stderr.";
    "log-level" log_level: LogLevel = "info", "LEVEL",
        "error, warn, info, debug or trace.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_setting() {
        for setting in TABLE {
            assert_eq!((setting.check)(setting.default), Ok(()), "{}", setting.name);
        }
    }

    #[test]
    fn flags_variables_and_keys_have_the_same_names() {
        let port = Setting::find("client-port").expect("it is in the table");
        assert_eq!(port.variable(), "DUI_CLIENT_PORT");
        assert!(TABLE.iter().all(|setting| !setting.name.contains('_')));
    }
}
