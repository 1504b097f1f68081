//! `dui put`, `get`, `delete` and `list`: shared entries, which every node holds.

use std::fs::File;
use std::time::Duration;

use dui_client::{Ack, ChangeKind, Entry, EntryValue, SharedChange, WriteOptions, Written};

use super::{client, json, read};
use crate::args::{DeleteArgs, GetArgs, ListArgs, PutArgs, Sure};
use crate::duration;
use crate::failure::Failure;
use crate::moment;
use crate::screen::Screen;
use crate::table::Table;

/// One more than the node takes, so that it is the node that refuses.
const VALUE_BYTES_READ: u64 = (1 << 20) + 1;

/// Writes a value.
pub(crate) async fn put(args: PutArgs) -> Result<(), Failure> {
    let value = match (&args.file, args.value) {
        (Some(path), _) => {
            let what = path.display().to_string();
            let file = File::open(path);
            let file =
                file.map_err(|error| Failure::failed(format!("cannot open {what}: {error}")))?;
            read(file, VALUE_BYTES_READ, &what)?
        }
        (None, Some(text)) if text != "-" => text.into(),
        (None, _) => read(std::io::stdin(), VALUE_BYTES_READ, "the value from stdin")?,
    };
    let mut options = sure(&args.sure);
    if let Some(ttl) = args.ttl {
        options = options.ttl(ttl);
    }
    if let Some(content_type) = args.content_type {
        options = options.content_type(content_type);
    }
    let written = client(&args.ask)?.put(&args.key, value, &options).await?;
    report(&written, args.json, "put")
}

/// Prints a value.
pub(crate) async fn get(args: GetArgs) -> Result<(), Failure> {
    let entry = client(&args.ask)?.entry(&args.key).await?;
    let entry = entry.ok_or_else(|| unknown(&args.key))?;
    let screen = Screen::stdout();
    if args.json {
        return Ok(screen.print(&json(&entry)?)?);
    }
    screen.write(entry.value.as_bytes())?;
    if screen.terminal && !entry.value.as_bytes().ends_with(b"\n") {
        // For people the prompt begins a line; programs get the bytes alone.
        screen.print("\n")?;
    }
    Ok(())
}

/// Takes a value away.
pub(crate) async fn delete(args: DeleteArgs) -> Result<(), Failure> {
    let deleted = client(&args.ask)?
        .delete(&args.key, &sure(&args.sure))
        .await?;
    report(
        &deleted.ok_or_else(|| unknown(&args.key))?,
        args.json,
        "deleted",
    )
}

/// Lists entries, page by page.
pub(crate) async fn list(args: ListArgs) -> Result<(), Failure> {
    let mut entries = client(&args.ask)?.entries(&args.prefix);
    let screen = Screen::stdout();
    let limit = args.limit.unwrap_or(usize::MAX);
    let mut table = Table::new(&["KEY", "VALUE", "BYTES", "TTL", "AT", "BY"]);
    for _ in 0..limit {
        let Some(entry) = entries.next().await? else {
            break;
        };
        if args.json {
            screen.print(&json(&entry)?)?;
        } else {
            table.row(row(&entry));
        }
    }
    if !args.json {
        screen.print(&table.render(screen.columns(), screen.colour))?;
    }
    Ok(())
}

fn row(entry: &Entry) -> Vec<crate::table::Cell> {
    let ttl = entry.ttl_ms.map(Duration::from_millis);
    vec![
        entry.key.as_str().into(),
        shown(&entry.value).into(),
        entry.value.as_bytes().len().to_string().into(),
        ttl.map_or("-".into(), duration::short).into(),
        moment::clock(&entry.at).into(),
        entry.updated_by.get(..8).unwrap_or("-").into(),
    ]
}

/// A change on one line.
pub(super) fn change(change: &SharedChange) -> String {
    let SharedChange { change, entry } = change;
    let harmless = |c: char| if c.is_control() { ' ' } else { c };
    let key: String = entry.key.chars().map(harmless).collect();
    let clock = moment::clock(&entry.at);
    match change {
        ChangeKind::Put => {
            let value: String = shown(&entry.value).chars().map(harmless).collect();
            format!("{clock}  put        {key}  {value}\n")
        }
        ChangeKind::Deleted => format!("{clock}  deleted    {key}\n"),
        _ => format!("{clock}  expired    {key}\n"),
    }
}

/// The beginning of a value, on one line.
fn shown(value: &EntryValue) -> String {
    const CHARS_MAX: usize = 40;
    match value {
        EntryValue::Text(text) => {
            let mut shown: String = text.chars().take(CHARS_MAX).collect();
            if shown.len() < text.len() {
                shown.push('…');
            }
            shown
        }
        EntryValue::Base64(_) => "(binary)".into(),
    }
}

fn sure(sure: &Sure) -> WriteOptions {
    let options = WriteOptions::default().ack(sure.ack.unwrap_or(Ack::Node));
    match sure.timeout {
        Some(timeout) => options.timeout(timeout),
        None => options,
    }
}

fn report(written: &Written, as_json: bool, what: &str) -> Result<(), Failure> {
    let screen = Screen::stdout();
    if as_json {
        return Ok(screen.print(&json(written)?)?);
    }
    let Written { key, at, acked, .. } = written;
    let held = match acked {
        0 | 1 => String::new(),
        _ => format!(", held by {acked}"),
    };
    Ok(screen.print(&format!("{key} {what} at {at}{held}\n"))?)
}

fn unknown(key: &str) -> Failure {
    Failure::failed(format!(
        "there is no shared entry '{key}': \"dui list\" shows them"
    ))
}
