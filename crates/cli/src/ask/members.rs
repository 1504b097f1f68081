//! `dui members`: who is in the cluster, as the asked node sees it.

use std::time::Duration;

use dui_client::{Client, Member, MemberList, MemberState, WatchFilter};

use super::{client, json};
use crate::args::MembersArgs;
use crate::duration;
use crate::failure::Failure;
use crate::moment;
use crate::screen::Screen;
use crate::table::{Cell, Paint, Table};

/// Lists the members once, or again at every change.
pub(crate) async fn members(args: MembersArgs) -> Result<(), Failure> {
    let client = client(&args.ask)?;
    let mut screen = Screen::stdout();
    if !args.watch {
        return show(&client, &args, &mut screen).await;
    }
    let filter = WatchFilter {
        members: true,
        ..WatchFilter::default()
    };
    let mut watch = client.watch(&filter, None).await?;
    // Ages and round-trip times change without an event; only a terminal is
    // redrawn for them.
    let refresh = Duration::from_secs(if screen.terminal { 1 } else { 86_400 });
    loop {
        let change = tokio::time::timeout(refresh, watch.next()).await;
        match change {
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => return Err(error.into()),
            Ok(Some(Ok(_))) | Err(_) => show(&client, &args, &mut screen).await?,
        }
    }
}

async fn show(client: &Client, args: &MembersArgs, screen: &mut Screen) -> Result<(), Failure> {
    let members = client.members(&args.state).await?;
    if args.json {
        screen.print(&json(&MemberList { members })?)?;
    } else {
        let picture = table(&members, screen.columns(), screen.colour);
        screen.draw(&picture)?;
    }
    Ok(())
}

/// The members as people read them.
pub(crate) fn table(members: &[Member], columns: usize, colour: bool) -> String {
    let mut columns_shown = vec!["NAME", "ROLE", "ADDRESS", "STATE", "RTT", "SINCE"];
    let tagged = members.iter().any(|member| !member.tags.is_empty());
    if tagged {
        columns_shown.push("TAGS");
    }
    let mut table = Table::new(&columns_shown);
    for member in members {
        let mut row = vec![
            member.name.as_str().into(),
            member.role.as_str().into(),
            member.address.as_str().into(),
            Cell::painted(member.state.as_str(), paint(member.state)),
            member.rtt_ms.map_or_else(|| "-".into(), rtt).into(),
            moment::age(&member.since)
                .map_or_else(|| "-".into(), duration::short)
                .into(),
        ];
        if tagged {
            row.push(tags(member).into());
        }
        table.row(row);
    }
    table.render(columns, colour)
}

/// As `dui run --tag` takes them.
fn tags(member: &Member) -> String {
    let pairs = member.tags.iter();
    let pairs: Vec<String> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

fn paint(state: MemberState) -> Paint {
    match state {
        MemberState::Alive => Paint::Good,
        MemberState::Suspect => Paint::Doubtful,
        MemberState::Failed => Paint::Bad,
        _ => Paint::Dim,
    }
}

/// Two digits that matter: `0.21ms`, `3.4ms`, `120ms`.
fn rtt(ms: f64) -> String {
    match ms {
        ms if ms < 1.0 => format!("{ms:.2}ms"),
        ms if ms < 10.0 => format!("{ms:.1}ms"),
        ms => format!("{ms:.0}ms"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use dui_client::Role;

    use super::*;

    fn member(name: &str, address: &str) -> Member {
        Member {
            id: "7f3a".repeat(8),
            name: name.into(),
            role: Role::Manager,
            address: address.into(),
            state: MemberState::Suspect,
            incarnation: u64::MAX,
            messages: u64::MAX,
            version: "0.1.0".into(),
            tags: BTreeMap::new(),
            rtt_ms: Some(1234.5),
            since: "2000-01-01T00:00:00.000Z".into(),
        }
    }

    #[test]
    fn the_longest_names_and_addresses_fit_80_columns() {
        let v6 = "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535";
        let text = table(
            &[member(&"n".repeat(63), v6), member("ann", "127.0.0.1:7781")],
            80,
            false,
        );
        for line in text.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert!(
            text.contains('…') && text.contains("suspect") && text.contains("1234ms"),
            "{text}"
        );
    }

    #[test]
    fn usual_members_are_shown_whole() {
        let text = table(
            &[member("grace-hopper-7f3a", "127.100.100.100:65535")],
            80,
            false,
        );
        assert!(!text.contains('…'), "{text}");
    }

    #[test]
    fn tags_have_a_column_where_somebody_has_any() {
        let mut ann = member("ann", "127.0.0.1:7781");
        let bo = member("bo", "127.0.0.1:7782");
        assert!(!table(&[ann.clone(), bo.clone()], 80, false).contains("TAGS"));
        for (key, value) in [("rack", "a1"), ("zone", "b")] {
            ann.tags.insert(key.into(), value.into());
        }
        let text = table(&[ann.clone(), bo], 100, false);
        assert!(
            text.contains("TAGS") && text.contains("rack=a1,zone=b"),
            "{text}"
        );
        ann.tags.insert("x".into(), "y".repeat(1_024));
        for line in table(&[ann], 80, false).lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }

    #[test]
    fn states_are_coloured_only_where_colour_is_wanted() {
        let members = [member("ann", "127.0.0.1:7781")];
        assert!(table(&members, 80, true).contains("\x1b[33msuspect\x1b[0m"));
        assert!(!table(&members, 80, false).contains('\x1b'));
    }
}
