//! Metrics: what was counted, in Prometheus' text format 0.0.4.
//!
//! Written by hand: a registry would be a second home for numbers that the
//! core keeps already, and global where several nodes share a process.

use std::fmt::{Display, Write};

use dui_node::core::{Counters, Member, MemberState, SelfInfo, SharedInfo};

pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const STATES: [MemberState; 4] = [
    MemberState::Alive,
    MemberState::Suspect,
    MemberState::Failed,
    MemberState::Left,
];

/// Everything there is to scrape.
pub(crate) fn text(
    counters: &Counters,
    members: &[Member],
    this: &SelfInfo,
    shared: &SharedInfo,
    watchers: usize,
) -> String {
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
    use super::*;

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
