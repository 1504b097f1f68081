//! Ask: the commands that talk to a running node over its API.
//!
//! Each is a question, an answer as a table for people, and the API's own
//! JSON for programs.

mod acts;
mod entries;
mod events;
mod leader;
mod managers;
mod members;
mod recover;
mod stories;
mod views;

use std::io::Read;

use dui_client::Client;
use serde::Serialize;

use crate::args::Ask;
use crate::failure::Failure;

pub(crate) use acts::{forget, health, leave};
pub(crate) use entries::{delete, get, list, put};
pub(crate) use events::{event, events};
pub(crate) use leader::leader;
pub(crate) use managers::managers;
pub(crate) use members::{members, table};
pub(crate) use recover::{backup, recover, restore};
pub(crate) use stories::{watch, why};
pub(crate) use views::views;

/// A client of the node that is meant.
pub(crate) fn client(ask: &Ask) -> Result<Client, Failure> {
    Ok(Client::new(&address(
        ask.addr.as_deref(),
        "DUI_CLIENT_PORT",
        7777,
    ))?)
}

/// The given address, or this machine's node: in a container whose node got
/// its port by variable, that variable says where to ask.
fn address(given: Option<&str>, port_variable: &str, default: u16) -> String {
    let port = std::env::var(port_variable)
        .ok()
        .and_then(|port| port.parse::<u16>().ok())
        .unwrap_or(default);
    match given {
        Some(address) if !address.is_empty() => address.into(),
        _ => format!("http://127.0.0.1:{port}"),
    }
}

/// At most so many bytes of `from`.
fn read(from: impl Read, bytes_max: u64, what: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    from.take(bytes_max)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::failed(format!("cannot read {what}: {error}")))?;
    Ok(bytes)
}

/// One line of JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, Failure> {
    serde_json::to_string(value)
        .map(|text| text + "\n")
        .map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))
}
