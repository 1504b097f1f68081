//! `dui why` and `dui watch`: what happened to a member, and what happens now.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use dui_client::{Member, UserEvent, View, WatchEvent, WatchFilter, Why, WhyEntry};
use serde_json::json;

use super::views::{self, Names};
use super::{client, entries, events, json as json_line, leader};
use crate::args::{WatchArgs, WhyArgs};
use crate::failure::Failure;
use crate::moment;
use crate::screen::Screen;
use crate::table::{Cell, GAP, Paint, Table, wrap};

/// Fewer columns for a reason break it into single words.
const DETAIL_COLUMNS_MIN: usize = 24;

/// Tells why a member is in its state.
pub(crate) async fn why(args: WhyArgs) -> Result<(), Failure> {
    let client = client(&args.ask)?;
    let why = client.why(&args.node).await?;
    let screen = Screen::stdout();
    if args.json {
        return Ok(screen.print(&json_line(&why)?)?);
    }
    let members = client.members(&[]).await?;
    let names = members.into_iter().map(|member| (member.id, member.name));
    let text = story(&why, &names.collect(), screen.columns(), screen.colour);
    Ok(screen.print(&text)?)
}

fn story(why: &Why, names: &BTreeMap<String, String>, columns: usize, colour: bool) -> String {
    let member = &why.member;
    let heading = format!(
        "{} is {} since {} (incarnation {}, {})",
        member.name, member.state, member.since, member.incarnation, member.address
    );
    let judge = match why.awareness {
        0 => "the asked node is well".to_owned(),
        ill => format!("the asked node is not well itself ({ill} of 8): it waits longer"),
    };
    let by = |entry: &'_ WhyEntry| match &entry.by {
        None => "this node".to_owned(),
        Some(id) => names.get(id).unwrap_or(id).clone(),
    };
    let beside = why.story.iter().map(|entry| {
        let cells = [moment::clock(&entry.at), &entry.what, &by(entry)];
        cells.map(|cell| cell.chars().count() + GAP).iter().sum()
    });
    // The reason is what was asked for: it is broken into lines, never cut.
    let room = columns
        .saturating_sub(beside.max().unwrap_or(0))
        .max(DETAIL_COLUMNS_MIN);
    let mut table = Table::new(&["AT", "WHAT", "BY", "DETAIL"]);
    for entry in &why.story {
        let mut first = [
            moment::clock(&entry.at).into(),
            entry.what.clone(),
            by(entry),
        ];
        for line in wrap(&entry.detail, room) {
            let mut cells: Vec<Cell> = first.map(Cell::from).into();
            cells.push(line.into());
            table.row(cells);
            first = Default::default();
        }
    }
    format!(
        "{}\n{judge}\n\n{}",
        Paint::Bold.on(&heading, colour),
        table.render(columns, colour)
    )
}

/// Shows every change until the node leaves or somebody interrupts.
pub(crate) async fn watch(args: WatchArgs) -> Result<(), Failure> {
    let client = client(&args.ask)?;
    let screen = Screen::stdout();
    let filter = args
        .shared
        .map_or_else(WatchFilter::all, WatchFilter::shared);
    let mut watch = client.watch(&filter, None).await?;
    let mut names = Names::default();
    while let Some(watched) = watch.next().await {
        let watched = watched?;
        learn(&mut names, &watched.event);
        let line = if args.json {
            json_object(watched.id.as_deref(), &watched.event)?
        } else {
            match &watched.event {
                // The members are not what was asked for.
                WatchEvent::Reset(_) if !filter.members => String::new(),
                event => for_people(event, &names),
            }
        };
        screen.print(&line)?;
    }
    Ok(())
}

/// Views name those who are gone by their ids alone.
fn learn(names: &mut Names, event: &WatchEvent) {
    match event {
        WatchEvent::Reset(list) => list
            .members
            .iter()
            .for_each(|each| names.learn_member(each)),
        WatchEvent::MemberAlive(member) => names.learn_member(member),
        WatchEvent::ViewChanged(view) => names.learn_view(view),
        _ => {}
    }
}

/// `{"id", "event", "data"}`: what the stream carries, one object a line.
fn json_object(id: Option<&str>, event: &WatchEvent) -> Result<String, Failure> {
    let (name, data) = match event {
        WatchEvent::Reset(list) => ("reset", json!(list)),
        WatchEvent::MemberAlive(member) => ("member_alive", json!(member)),
        WatchEvent::MemberSuspect(member) => ("member_suspect", json!(member)),
        WatchEvent::MemberFailed(member) => ("member_failed", json!(member)),
        WatchEvent::MemberLeft(member) => ("member_left", json!(member)),
        WatchEvent::MemberForgotten(forgotten) => ("member_forgotten", json!(forgotten)),
        WatchEvent::LeaderChanged(leader) => ("leader_changed", json!(leader)),
        WatchEvent::ViewChanged(view) => ("view_changed", json!(view)),
        WatchEvent::UserEvent(event) => ("user_event", json!(event)),
        WatchEvent::SharedChanged(change) => ("shared_changed", json!(change)),
        WatchEvent::Complete => ("complete", json!({})),
        WatchEvent::Leaving => ("leaving", json!({})),
        _ => return Ok(String::new()),
    };
    json_line(&json!({ "id": id, "event": name, "data": data }))
}

fn for_people(event: &WatchEvent, names: &Names) -> String {
    let member = |what: &str, member: &Member| {
        let clock = moment::clock(&member.since);
        format!("{clock}  {what:<9}  {}  {}\n", member.name, member.address)
    };
    match event {
        WatchEvent::Reset(list) => list
            .members
            .iter()
            .map(|each| member(each.state.as_str(), each))
            .collect(),
        WatchEvent::MemberAlive(who)
        | WatchEvent::MemberSuspect(who)
        | WatchEvent::MemberFailed(who)
        | WatchEvent::MemberLeft(who) => member(who.state.as_str(), who),
        WatchEvent::MemberForgotten(gone) => {
            format!(
                "{} ({})\n",
                member("forgotten", &gone.member).trim_end(),
                gone.reason
            )
        }
        WatchEvent::LeaderChanged(leader) => now(&leader::line(leader)),
        WatchEvent::ViewChanged(view) => {
            let change = views::change(view, names);
            let View {
                number, revision, ..
            } = view;
            now(&format!(
                "view       {number} (revision {revision})  {change}"
            ))
        }
        WatchEvent::UserEvent(event) => user_event(event),
        WatchEvent::SharedChanged(change) => entries::change(change),
        WatchEvent::Leaving => "the asked node is leaving; nothing follows\n".into(),
        _ => String::new(),
    }
}

/// What the managers agree on has no time of its own: that of reading it.
fn now(what: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = now.map_or(0, |now| now.as_millis() as u64);
    let stamp = dui_client::rfc3339(ms);
    format!("{}  {what}\n", moment::clock(&stamp))
}

fn user_event(event: &UserEvent) -> String {
    let payload = events::payload(event);
    let clock = moment::clock(&event.at);
    format!("{clock}  event      {}  {payload}\n", event.name)
        .trim_end()
        .to_owned()
        + "\n"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn why_bo() -> Why {
        serde_json::from_value(json!({
            "member": {"id": "b0", "name": "bo", "role": "worker", "address": "127.0.0.1:7782",
                "state": "failed", "incarnation": 7, "messages": 1, "version": "0.1.0",
                "tags": {}, "rtt_ms": null, "since": "2026-11-23T02:16:26.123Z"},
            "awareness": 2,
            "story": [
                {"at": "2026-11-23T02:16:25.000Z", "what": "accused", "by": "a1", "detail": "no ack"},
                {"at": "2026-11-23T02:16:26.000Z", "what": "failed", "by": null, "detail": ""}
            ]
        }))
        .unwrap()
    }

    #[test]
    fn a_story_names_accusers_and_the_judges_own_health() {
        let names = BTreeMap::from([("a1".to_owned(), "ann".to_owned())]);
        let text = story(&why_bo(), &names, 80, false);
        assert_eq!(
            text,
            "bo is failed since 2026-11-23T02:16:26.123Z (incarnation 7, 127.0.0.1:7782)\n\
             the asked node is not well itself (2 of 8): it waits longer\n\n\
             AT        WHAT     BY         DETAIL\n\
             02:16:25  accused  ann        no ack\n\
             02:16:26  failed   this node\n"
        );
    }

    #[test]
    fn a_long_reason_is_told_to_its_end() {
        let mut why = why_bo();
        why.story[1].detail = "refused this node and every witness that was asked".into();
        let text = story(&why, &BTreeMap::new(), 60, false);
        assert!(
            text.ends_with(
                "02:16:26  failed   this node  refused this node and every\n\
                 \u{20}                             witness that was asked\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn a_change_is_one_line_for_people_and_one_object_for_programs() {
        let event = WatchEvent::MemberFailed(why_bo().member);
        assert_eq!(
            for_people(&event, &Names::default()),
            "02:16:26  failed     bo  127.0.0.1:7782\n"
        );
        let line = json_object(Some("r-7"), &event).unwrap();
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["event"], "member_failed");
        assert_eq!(object["id"], "r-7");
        assert_eq!(object["data"]["name"], "bo");
    }

    #[test]
    fn a_view_names_who_is_gone_as_far_as_the_watch_has_heard_of_it() {
        let mut names = Names::default();
        let bo = why_bo().member;
        learn(&mut names, &WatchEvent::MemberAlive(bo.clone()));
        let view = View {
            cluster_id: "c1".into(),
            number: 3,
            revision: 12,
            joined: Vec::new(),
            left: Vec::new(),
            failed: vec![bo.id],
        };
        let event = WatchEvent::ViewChanged(view);
        let line = for_people(&event, &names);
        assert!(
            line.ends_with("  view       3 (revision 12)  -bo(failed)\n"),
            "{line}"
        );
        let line = json_object(Some("r-7"), &event).unwrap();
        assert!(line.contains("\"view_changed\""), "{line}");
    }
}
