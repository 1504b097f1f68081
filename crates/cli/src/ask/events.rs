//! `dui event` and `dui events`: small messages to every node.

use dui_client::{EventFilter, EventList, Payload, UserEvent, WatchEvent, WatchFilter};

use super::{client, json, read};
use crate::args::{EventArgs, EventsArgs};
use crate::failure::Failure;
use crate::moment;
use crate::screen::Screen;
use crate::table::Table;

/// One more than the node takes, so that it is the node that refuses.
const PAYLOAD_BYTES_READ: u64 = 8 * 1024 + 1;

/// Publishes an event.
pub(crate) async fn event(args: EventArgs) -> Result<(), Failure> {
    let payload = match args.payload.as_str() {
        "-" => read(
            std::io::stdin(),
            PAYLOAD_BYTES_READ,
            "the payload from stdin",
        )?,
        text => text.into(),
    };
    let published = client(&args.ask)?.publish(&args.name, payload).await?;
    let screen = Screen::stdout();
    if args.json {
        return Ok(screen.print(&json(&published)?)?);
    }
    let UserEvent { at, name, .. } = published;
    Ok(screen.print(&format!("{name} published at {at}\n"))?)
}

/// Lists kept events, and with `--watch` goes on with new ones.
pub(crate) async fn events(args: EventsArgs) -> Result<(), Failure> {
    let client = client(&args.ask)?;
    let screen = Screen::stdout();
    // Watch first: what happens between the two answers is then not missed,
    // and what is in both is shown once.
    let mut watch = None;
    if args.watch {
        let events = args
            .name
            .clone()
            .map_or(EventFilter::All, EventFilter::Named);
        let filter = WatchFilter {
            members: false,
            events,
            ..WatchFilter::default()
        };
        watch = Some(client.watch(&filter, None).await?);
    }
    let events = client.events(args.name.as_deref()).await?;
    let mut shown = events
        .last()
        .map(|event| (event.timestamp, event.origin.clone()));
    if !args.json {
        screen.print(&table(&events, screen.columns(), screen.colour))?;
    } else if args.watch {
        for event in &events {
            screen.print(&json(event)?)?;
        }
    } else {
        screen.print(&json(&EventList { events })?)?;
    }
    while let Some(watch) = &mut watch {
        let Some(watched) = watch.next().await else {
            break;
        };
        let WatchEvent::UserEvent(event) = watched?.event else {
            continue;
        };
        let place = (event.timestamp, event.origin.clone());
        if shown.take_if(|shown| place <= *shown).is_some() {
            shown = Some(place);
            continue;
        }
        screen.print(&if args.json {
            json(&event)?
        } else {
            line(&event)
        })?;
    }
    Ok(())
}

fn table(events: &[UserEvent], columns: usize, colour: bool) -> String {
    let mut table = Table::new(&["AT", "NAME", "ORIGIN", "PAYLOAD"]);
    for event in events {
        table.row(vec![
            moment::clock(&event.at).into(),
            event.name.as_str().into(),
            origin(event).into(),
            payload(event).into(),
        ]);
    }
    table.render(columns, colour)
}

fn line(event: &UserEvent) -> String {
    let clock = moment::clock(&event.at);
    format!(
        "{clock}  {}  {}  {}\n",
        event.name,
        origin(event),
        payload(event)
    )
}

/// As many digits of the id as a default name shows.
fn origin(event: &UserEvent) -> &str {
    event.origin.get(..8).unwrap_or(&event.origin)
}

/// The payload on one line; bytes that are no text show as their number.
pub(super) fn payload(event: &UserEvent) -> String {
    match &event.payload {
        Payload::Text(text) => text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect(),
        Payload::Base64(bytes) => format!("({} bytes)", bytes.0.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, payload: &[u8]) -> UserEvent {
        UserEvent {
            timestamp: 1,
            at: "2026-11-23T02:16:26.123Z".into(),
            origin: "7f3a9c0d".repeat(4),
            name: name.into(),
            payload: payload.to_vec().into(),
        }
    }

    #[test]
    fn events_of_any_size_and_content_fit_80_columns() {
        let events = [
            event(&"n".repeat(128), &[b'x'; 8192]),
            event("deploy", b"v1\n\x1b[2J"),
            event("blob", &[0xff; 3]),
        ];
        let text = table(&events, 80, false);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(
            text.contains("(3 bytes)") && !text.contains('\x1b'),
            "{text}"
        );
        assert_eq!(text.lines().count(), 4);
    }
}
