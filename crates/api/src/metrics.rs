//! Metrics: what was counted, in Prometheus' text format 0.0.4.
//!
//! Written by hand: a registry would be a second home for numbers that the
//! core keeps already, and global where several nodes share a process.

use std::fmt::{Display, Write};

use dui_node::core::{Counters, Member, MemberState, SelfInfo, SharedInfo};
use dui_node::{GroupInfo, LeaderState, Leadership};

pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const STATES: [MemberState; 4] = [
    MemberState::Alive,
    MemberState::Suspect,
    MemberState::Failed,
    MemberState::Left,
];

/// What a page is made of.
#[derive(Debug)]
pub(crate) struct Scraped {
    pub(crate) counters: Counters,
    pub(crate) members: Vec<Member>,
    pub(crate) this: SelfInfo,
    pub(crate) shared: SharedInfo,
    pub(crate) leadership: Leadership,
    /// Where this node has a part in it.
    pub(crate) group: Option<GroupInfo>,
    /// The newest view's number.
    pub(crate) view: Option<u64>,
    pub(crate) watchers: usize,
}

/// Everything there is to scrape.
pub(crate) fn text(scraped: &Scraped) -> String {
    let Scraped {
        counters,
        members,
        this,
        shared,
        watchers,
        ..
    } = scraped;
    let mut page = Page::default();
    let labels = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("cluster", this.cluster.as_str()),
        ("name", this.member.name.as_str()),
    ];
    page.family(
        "dui_build_info",
        "gauge",
        "The node and the version it runs.",
    );
    page.sample("dui_build_info", &labels, 1);
    page.family(
        "dui_members",
        "gauge",
        "Members by state, this node included.",
    );
    for state in STATES {
        let count = members
            .iter()
            .filter(|member| member.state == state)
            .count();
        page.sample("dui_members", &[("state", state.as_str())], count);
    }
    let awareness = "This node's own health: 0 is well, 8 is starved.";
    page.family("dui_awareness", "gauge", awareness);
    page.sample("dui_awareness", &[], this.awareness);
    page.family(
        "dui_leaving",
        "gauge",
        "1 from the first step of leaving on.",
    );
    page.sample("dui_leaving", &[], u8::from(this.leaving));
    page.family(
        "dui_watchers",
        "gauge",
        "Event streams open at the client port.",
    );
    page.sample("dui_watchers", &[], watchers);
    let held = [
        (
            "entries",
            "Shared entries that have a value.",
            shared.entries as u64,
        ),
        (
            "tombstones",
            "What deletes and expiries of shared entries have left.",
            shared.tombstones as u64,
        ),
        ("bytes", "Memory that shared entries take.", shared.bytes),
        ("bytes_max", "Memory that they may take.", shared.bytes_max),
        (
            "unstored",
            "Shared entries that wait to be durable.",
            shared.unstored as u64,
        ),
    ];
    for (name, help, count) in held {
        let name = format!("dui_shared_{name}");
        page.family(&name, "gauge", help);
        page.sample(&name, &[], count);
    }
    page.leader(scraped);
    if let Some(group) = &scraped.group {
        page.group(group);
    }
    for (name, help, count) in counters.list() {
        let name = format!("dui_{name}_total");
        page.family(&name, "counter", help);
        page.sample(&name, &[], count);
    }
    page.0
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn leader(&mut self, scraped: &Scraped) {
        let Scraped {
            leadership, this, ..
        } = scraped;
        let known = leadership.state == LeaderState::Led;
        let leader = leadership.leader.as_ref();
        let leads = leader.is_some_and(|leader| leader.id == this.member.id);
        let flags = [
            (
                "dui_leader_known",
                "1 while this node knows a leader.",
                known,
            ),
            ("dui_is_leader", "1 while this node leads.", leads),
        ];
        for (name, help, flag) in flags {
            self.one(name, "gauge", help, u8::from(flag));
        }
        if let Some(number) = scraped.view {
            let help = "The newest view of the members that the managers agreed on.";
            self.one("dui_view_number", "gauge", help, number);
        }
    }

    /// Of this node's part in the managers' group; `_total` since the process
    /// began.
    fn group(&mut self, group: &GroupInfo) {
        let GroupInfo { beat, store, .. } = group;
        let gauges = [
            ("term", "The newest term that is known.", beat.term),
            ("log_last", "The last record in the log.", beat.last),
            (
                "log_committed",
                "The last record known to be agreed on.",
                beat.committed,
            ),
            (
                "log_applied",
                "The last record that was applied here.",
                beat.applied,
            ),
        ];
        for (name, help, value) in gauges {
            self.one(&format!("dui_raft_{name}"), "gauge", help, value);
        }
        let counts = [
            (
                "appended_records",
                "Records of the log that were kept.",
                store.records_appended,
            ),
            (
                "appended_bytes",
                "Bytes written for them and all other changes.",
                store.appended_bytes,
            ),
            ("fsyncs", "Syncs of the log.", store.fsyncs),
        ];
        for (name, help, count) in counts {
            self.one(&format!("dui_raft_{name}_total"), "counter", help, count);
        }
        // In memory there are none.
        if store.fsyncs > 0 {
            let name = "dui_raft_fsync_seconds";
            let help = "How long syncs of the log took; the quantile is of the last 512.";
            self.family(name, "summary", help);
            let p99 = store.fsync_time_p99.as_secs_f64();
            self.sample(name, &[("quantile", "0.99")], p99);
            let sum = store.fsync_time_sum.as_secs_f64();
            self.sample(&format!("{name}_sum"), &[], sum);
            self.sample(&format!("{name}_count"), &[], store.fsyncs);
        }
    }

    /// A family of one sample.
    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    /// Begins a family of samples; it comes once, before its samples.
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        let help = help.replace('\\', r"\\").replace('\n', r"\n");
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let text = text
                .replace('\\', r"\\")
                .replace('"', "\\\"")
                .replace('\n', r"\n");
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{text}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::Duration;

    use dui_node::consensus::founding::ClusterId;
    use dui_node::consensus::group::Beat;
    use dui_node::consensus::store::StoreMetrics;

    use super::*;

    #[test]
    fn a_part_in_the_group_is_told_and_syncs_where_there_are_any() {
        let mut group = GroupInfo {
            cluster: ClusterId(1),
            beat: Beat {
                leader: None,
                leads: false,
                term: 3,
                voters: BTreeSet::new(),
                changing: false,
                learners: BTreeSet::new(),
                ephemeral: BTreeSet::new(),
                last: 12,
                committed: 11,
                applied: 10,
                matched: BTreeMap::new(),
                quorum_heard: None,
                stopped: None,
            },
            store: StoreMetrics::default(),
        };
        let text = |group: &GroupInfo| {
            let mut page = Page::default();
            page.group(group);
            page.0
        };
        let in_memory = text(&group);
        for line in [
            "dui_raft_term 3\n",
            "dui_raft_log_last 12\n",
            "dui_raft_log_applied 10\n",
        ] {
            assert!(in_memory.contains(line), "{in_memory}");
        }
        assert!(!in_memory.contains("fsync_seconds"), "{in_memory}");

        group.store.fsyncs = 2;
        group.store.fsync_time_sum = Duration::from_millis(30);
        group.store.fsync_time_p99 = Duration::from_millis(20);
        let durable = text(&group);
        let summary = "# TYPE dui_raft_fsync_seconds summary\n\
            dui_raft_fsync_seconds{quantile=\"0.99\"} 0.02\n\
            dui_raft_fsync_seconds_sum 0.03\n\
            dui_raft_fsync_seconds_count 2\n";
        assert!(durable.contains(summary), "{durable}");
    }

    #[test]
    fn a_family_reads_as_the_format_says() {
        let mut page = Page::default();
        page.family("dui_members", "gauge", "Members by state.");
        page.sample("dui_members", &[("state", "alive")], 3);
        page.sample("dui_members", &[("a", "x\"y\\z\n"), ("b", "")], 0);
        page.sample("dui_awareness", &[], 0);
        let expected = "# HELP dui_members Members by state.\n\
            # TYPE dui_members gauge\n\
            dui_members{state=\"alive\"} 3\n\
            dui_members{a=\"x\\\"y\\\\z\\n\",b=\"\"} 0\n\
            dui_awareness 0\n";
        assert_eq!(page.0, expected);
    }
}
