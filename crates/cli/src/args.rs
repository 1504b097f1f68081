//! Arguments: what can be typed after `dui`.
//!
//! The settings of `dui run` are not listed here: they come from the table
//! in [`crate::settings`].

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use dui_client::MemberState;
use dui_node::core::ClusterName;

use crate::settings::Flags;

/// Turns processes into a cluster.
///
/// Start it twice on one machine and the two find each other; on a network
/// the same takes a key. Stop one and the others know at once, because it
/// said goodbye; kill one and they know a moment later.
#[derive(Debug, Parser)]
#[command(name = "dui", version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a node.
    Run(RunArgs),
    /// Starts a cluster on this machine to try things on, with a live view.
    Up(UpArgs),
    /// Lists the members.
    Members(MembersArgs),
    /// Tells why a member is in its state.
    Why(WhyArgs),
    /// Shows what happens, as it happens.
    Watch(WatchArgs),
    /// Publishes an event to every node.
    Event(EventArgs),
    /// Lists the events that are still kept.
    Events(EventsArgs),
    /// Makes the node leave its cluster; its process stays up until it is stopped.
    Leave(LeaveArgs),
    /// Removes a member for good; its id never comes back.
    Forget(ForgetArgs),
    /// Asks whether the node is well: exit 0 if it is, 1 if not.
    Health(HealthArgs),
    /// Tells why nodes do not find each other, and what to do: exit 0 if
    /// nothing is wrong, 1 if something is.
    ///
    /// Asks the node that runs here what gets through between it and its
    /// peers. Where none runs, examines this host as `dui run` with the same
    /// settings would find it, without becoming a member.
    Doctor(DoctorArgs),
    /// Cluster keys.
    Keys(KeysArgs),
    /// Prints a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Prints the manual page, or writes all of them.
    Man {
        /// Writes dui.1 and a page per command into this directory.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) flags: Flags,
    /// TOML file with settings; its keys are the flags without their dashes.
    #[arg(long, env = "DUI_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Shows what is in force and from where, and starts nothing.
    #[arg(long)]
    pub(crate) print_config: bool,
    /// Leaves when this process, the parent, is gone.
    #[arg(long, hide = true, value_name = "PID")]
    pub(crate) parent: Option<i32>,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=50))]
    pub(crate) nodes: u16,
    /// Cluster name; without one the cluster is its own and nobody else's.
    #[arg(long, value_name = "NAME")]
    pub(crate) cluster: Option<ClusterName>,
}

/// Which node to ask.
#[derive(Debug, Args)]
pub(crate) struct Ask {
    /// Address of the node's client port [default: http://127.0.0.1:7777].
    #[arg(long, env = "DUI_ADDR", value_name = "URL")]
    pub(crate) addr: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct MembersArgs {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Prints the API's JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Shows the list again at every change.
    #[arg(long)]
    pub(crate) watch: bool,
    /// Only members in these states: alive, suspect, failed, left.
    #[arg(long, value_name = "STATE", value_delimiter = ',')]
    pub(crate) state: Vec<MemberState>,
}

#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Name or id of a member.
    pub(crate) node: String,
    /// Prints the API's JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Prints one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EventArgs {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// What it is called, 1 to 128 bytes.
    pub(crate) name: String,
    /// At most 8 KiB; "-" reads it from stdin.
    #[arg(default_value = "", allow_hyphen_values = true)]
    pub(crate) payload: String,
    /// Prints the API's JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Only events of this name.
    pub(crate) name: Option<String>,
    /// Prints the API's JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Goes on with new events as they arrive.
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
pub(crate) struct LeaveArgs {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Returns when the node has left, not when it begins to.
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ForgetArgs {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Name or id of a member.
    pub(crate) node: String,
    /// Even if it is alive: it learns that and stops with exit code 78.
    #[arg(long)]
    pub(crate) force: bool,
    /// Prints the API's JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct HealthArgs {
    /// Address of the node's health port [default: http://127.0.0.1:8888].
    #[arg(long, env = "DUI_HEALTH_ADDR", value_name = "URL")]
    pub(crate) addr: Option<String>,
    /// Whether its main loop turns; this is the default.
    #[arg(long, conflicts_with = "ready")]
    pub(crate) live: bool,
    /// Whether it is not leaving and has seen a peer or waited for one.
    #[arg(long)]
    pub(crate) ready: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Prints the API's JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// TOML file with settings, as for `dui run`.
    #[arg(long, env = "DUI_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) flags: Flags,
}

#[derive(Debug, Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    pub(crate) command: KeysCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Makes a new cluster key: 32 random bytes in base64.
    Generate {
        /// Writes it to a new file that only its owner can read.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_wrong_flag_value_is_a_usage_error_that_names_the_flag() {
        let error = Cli::try_parse_from(["dui", "run", "--leave-timeout", "8"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let text = error.to_string();
        assert!(
            text.contains("--leave-timeout") && text.contains("8s"),
            "{text}"
        );
    }

    #[test]
    fn a_cluster_name_is_checked_before_any_node_is_started() {
        let error = Cli::try_parse_from(["dui", "up", "--cluster", "a b"]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("cluster name"), "{error}");
    }

    #[test]
    fn a_flag_without_its_value_is_refused_and_not_taken_for_no_flag() {
        // As in --data-dir "$DIR" with DIR unset: a node that forgets everything.
        for given in ["--data-dir", "--key-file", "--name", "--advertise"] {
            let error = Cli::try_parse_from(["dui", "run", given, ""]).unwrap_err();
            assert!(error.to_string().contains("leave the flag out"), "{error}");
        }
        assert!(Cli::try_parse_from(["dui", "run", "--join", ""]).is_ok());
    }

    #[test]
    fn a_switch_needs_no_value_and_takes_one() {
        for (given, valid) in [
            ("--insecure", true),
            ("--insecure=false", true),
            ("--insecure=x", false),
        ] {
            assert_eq!(
                Cli::try_parse_from(["dui", "run", given]).is_ok(),
                valid,
                "{given}"
            );
        }
    }
}
