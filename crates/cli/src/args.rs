//! Arguments: what can be typed after `dui`.
//!
//! The settings of `dui run` are not listed here: they come from the table
//! in [`crate::settings`].

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Parser, Subcommand};
use clap_complete::Shell;
use dui_client::{Ack, MemberState, SharedChoice};
use dui_node::core::ClusterName;

use crate::duration;
use crate::settings::Flags;
use crate::sim::{Constant, Delay, Percent, Scheme};

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
    /// Tells who leads: exit 0 if somebody does, 1 if nobody.
    Leader(LeaderArgs),
    /// Lists the numbered views of the members, as the managers have agreed on them.
    Views(ViewsArgs),
    /// Lists the managers: who leads, votes or stands by.
    Managers(ManagersArgs),
    /// Tells why a member is in its state.
    Why(WhyArgs),
    /// Shows what happens, as it happens.
    Watch(WatchArgs),
    /// Publishes an event to every node.
    Event(EventArgs),
    /// Lists the events that are still kept.
    Events(EventsArgs),
    /// Gives a shared entry a value, on every node.
    Put(PutArgs),
    /// Prints the value of a shared entry, byte for byte.
    Get(GetArgs),
    /// Deletes a shared entry, on every node.
    Delete(DeleteArgs),
    /// Lists shared entries.
    List(ListArgs),
    /// Makes the node leave its cluster; its process stays up until it is stopped.
    Leave(LeaveArgs),
    /// Removes a member for good; its id never comes back.
    Forget(ForgetArgs),
    /// Decides what no node may decide by itself: after the loss of most of the
    /// managers, and after a parting of shared entries that was too long.
    Recover(RecoverArgs),
    /// Saves what the managers agreed on in a file; "-" prints it.
    Backup(BackupArgs),
    /// Founds a cluster with what was saved, on a manager that belongs to none.
    Restore(RestoreArgs),
    /// Asks whether the node is well: exit 0 if it is, 1 if not.
    Health(HealthArgs),
    /// Tries sizes and timings in a simulator: thousands of nodes in virtual time.
    Sim(SimArgs),
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
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct LeaderArgs {
    #[command(subcommand)]
    pub(crate) command: Option<LeaderCommand>,
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Prints the API's JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Shows who leads again at every change.
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LeaderCommand {
    /// Has a manager that votes lead, and waits until it does.
    Move(MoveArgs),
}

#[derive(Debug, Args)]
pub(crate) struct MoveArgs {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Name or id of the manager that is to lead.
    pub(crate) node: String,
    /// Prints the API's JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ViewsArgs {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Prints the API's JSON; with --watch one view a line.
    #[arg(long)]
    pub(crate) json: bool,
    /// Goes on with new views as the managers agree on them.
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct ManagersArgs {
    #[command(subcommand)]
    pub(crate) command: Option<ManagersCommand>,
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Prints the API's JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ManagersCommand {
    /// Lets a manager vote that was demoted, once a seat is free.
    Promote(SeatArgs),
    /// Has a manager stand by: another one votes in its place.
    Demote(SeatArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SeatArgs {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Name or id of the manager.
    pub(crate) node: String,
    /// Prints the API's JSON.
    #[arg(long)]
    pub(crate) json: bool,
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
    /// Watches shared entries instead: those whose keys begin with PREFIX, or all.
    #[arg(long, value_name = "PREFIX", num_args = 0..=1, default_missing_value = "")]
    pub(crate) shared: Option<String>,
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

/// How sure a write has to be.
#[derive(Debug, Args)]
pub(crate) struct Sure {
    /// Waits until so many members hold the write durably: a number, or all.
    #[arg(long, value_name = "N|all", value_parser = ack)]
    pub(crate) ack: Option<Ack>,
    /// Longest wait for them, at most 60s [default: 5s].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) timeout: Option<Duration>,
}

fn ack(text: &str) -> Result<Ack, String> {
    match text.parse() {
        _ if text == "all" => Ok(Ack::All),
        Ok(count @ 1..) => Ok(Ack::Members(count)),
        _ => Err("give a number from 1, or all".into()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).ok_or_else(|| "give a duration such as 500ms, 8s or 30d".into())
}

#[derive(Debug, Args)]
pub(crate) struct PutArgs {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// 1 to 1,024 bytes; may hold slashes.
    pub(crate) key: String,
    /// At most 1 MiB; "-" reads it from stdin.
    #[arg(allow_hyphen_values = true, required_unless_present = "file")]
    pub(crate) value: Option<String>,
    /// Reads the value from a file.
    #[arg(long, value_name = "FILE", conflicts_with = "value")]
    pub(crate) file: Option<PathBuf>,
    /// What the value is, such as application/json: kept and given back.
    #[arg(long, value_name = "TYPE")]
    pub(crate) content_type: Option<String>,
    /// The entry is gone after this time, such as 30s or 12h.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) ttl: Option<Duration>,
    #[command(flatten)]
    pub(crate) sure: Sure,
    /// Prints the API's JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct GetArgs {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Key of the entry.
    pub(crate) key: String,
    /// Prints the API's JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Key of the entry.
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) sure: Sure,
    /// Prints the API's JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Only keys that begin with this.
    #[arg(default_value = "")]
    pub(crate) prefix: String,
    /// At most so many.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// Prints one JSON object a line.
    #[arg(long)]
    pub(crate) json: bool,
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
    /// Whether it is not leaving, has seen a peer or waited for one, and knows
    /// a leader if it was started with --expect.
    #[arg(long)]
    pub(crate) ready: bool,
}

#[derive(Debug, Args)]
#[command(group(
    ArgGroup::new("what").required(true).args(["shared", "quorum", "reset", "abandon_founding"])
))]
pub(crate) struct RecoverArgs {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// keep: both sides' entries stay, and what one has deleted meanwhile may
    /// come back; say it on one node. discard: the node gives up what it holds
    /// and takes the other side's; say it on every node of one side.
    #[arg(long, value_name = "keep|discard")]
    pub(crate) shared: Option<SharedChoice>,
    /// Most of the managers that vote are lost for good: this one founds a new
    /// cluster alone, from what it has. Say it on one manager, the one that has
    /// come furthest; asks first.
    #[arg(long)]
    pub(crate) quorum: bool,
    /// With --quorum: although most of them are alive.
    #[arg(long, requires = "quorum", conflicts_with_all = ["shared", "reset", "abandon_founding"])]
    pub(crate) force: bool,
    /// This manager gives up what it promised, and is a new node once it is
    /// started again, which has to follow; asks first.
    #[arg(long)]
    pub(crate) reset: bool,
    /// This manager gives up the proposal to found that it holds, at once.
    #[arg(long)]
    pub(crate) abandon_founding: bool,
    /// Asks nothing.
    #[arg(long)]
    pub(crate) yes: bool,
    /// Prints the API's JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// Where to; "-" is stdout. A file that is there is replaced once the new
    /// one is whole.
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    pub(crate) ask: Ask,
    /// What `dui backup` wrote; "-" is stdin.
    pub(crate) file: PathBuf,
    /// Prints the API's JSON.
    #[arg(long)]
    pub(crate) json: bool,
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

/// What happens: all nodes start at once and join through the first, events
/// are published, nothing happens for a while, members are killed and leave
/// one after another, and newcomers join.
#[derive(Debug, Args)]
pub(crate) struct SimArgs {
    /// How many nodes start at once.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(2..=16_384))]
    pub(crate) nodes: u32,
    /// They know one another from the start: no boot, and thousands are up soon.
    #[arg(long)]
    pub(crate) acquainted: bool,
    /// Whose protocol: dui's, or a model of memberlist with its LAN defaults,
    /// of which only events and deaths are simulated.
    #[arg(long, value_enum, default_value_t = Scheme::Dui)]
    pub(crate) scheme: Scheme,
    /// Packets lost, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = Percent::default())]
    pub(crate) loss: Percent,
    /// One-way delay: one for all packets, or anything between two.
    #[arg(long, value_name = "TIME[..TIME]", default_value = "1ms")]
    pub(crate) latency: Delay,
    /// Events published, one after another.
    #[arg(long, default_value_t = 10)]
    pub(crate) events: u32,
    /// How long nothing happens.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = crate::sim::time)]
    pub(crate) idle: Duration,
    /// Members killed, one after another.
    #[arg(long, default_value_t = 1)]
    pub(crate) kill: u32,
    /// Members that leave, one after another.
    #[arg(long, default_value_t = 1)]
    pub(crate) leave: u32,
    /// Newcomers that join at once, at the end.
    #[arg(long, default_value_t = 1)]
    pub(crate) join: u32,
    /// Nodes whose machine is overloaded: they stop for 2 to 10 s, or starve,
    /// again and again. They are neither killed nor leave.
    #[arg(long, default_value_t = 0)]
    pub(crate) stalled: u32,
    /// Who is killed vanishes with its host: no ICMP, no end of a stream tells.
    #[arg(long)]
    pub(crate) no_evidence: bool,
    /// Packets are not sealed, as in a cluster without a key.
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Decides all chance: the same seed gives the same figures.
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Runs a node with other constants than it has; may be repeated. See docs/tuning.md.
    #[arg(long, value_name = "CONSTANT=VALUE", value_parser = crate::sim::constant)]
    pub(crate) set: Vec<Constant>,
    /// Writes the distributions as a plot.
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) out: Option<PathBuf>,
    /// Prints the figures as JSON.
    #[arg(long)]
    pub(crate) json: bool,
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
    fn a_put_takes_its_value_from_one_place() {
        for (given, valid) in [
            (&["put", "a", "1"][..], true),
            (&["put", "a", "-"], true),
            (&["put", "a", "--file", "x"], true),
            (&["put", "a", "-1", "--ack", "all", "--ttl", "30s"], true),
            (&["put", "a"], false),
            (&["put", "a", "1", "--file", "x"], false),
            (&["put", "a", "1", "--ack", "0"], false),
            (&["put", "a", "1", "--ttl", "30"], false),
        ] {
            let all = ["dui"].iter().chain(given);
            assert_eq!(Cli::try_parse_from(all).is_ok(), valid, "{given:?}");
        }
    }

    #[test]
    fn who_leads_and_who_votes_is_asked_and_said_with_one_command_each() {
        for (given, valid) in [
            (&["leader"][..], true),
            (&["leader", "--watch", "--json"], true),
            (&["leader", "move", "bo", "--json"], true),
            (&["leader", "move"], false),
            (&["leader", "--watch", "move", "bo"], false),
            (&["managers", "promote", "bo"], true),
            (&["managers", "demote"], false),
            (&["managers", "dismiss", "bo"], false),
        ] {
            let all = ["dui"].iter().chain(given);
            assert_eq!(Cli::try_parse_from(all).is_ok(), valid, "{given:?}");
        }
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
