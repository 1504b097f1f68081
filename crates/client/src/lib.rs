//! Rust client of a dui node's HTTP API, and the JSON types that server and client share.
//!
//! ```no_run
//! # async fn example() -> Result<(), dui_client::Error> {
//! let client = dui_client::Client::new("http://127.0.0.1:7777")?;
//! for member in client.members(&[]).await? {
//!     println!("{} {}", member.name, member.state);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The types are the contract: the server serializes exactly these, the
//! OpenAPI document at `/openapi.json` is generated from them, and so a
//! client in another language reads the same words. Fields are only ever
//! added; a client skips those it does not know.

mod binary;
mod client;
mod discovery;
mod doctor;
mod entry;
mod error;
mod follow;
mod health;
mod leader;
mod manager;
mod member;
mod path;
mod problem;
mod recover;
mod retry;
mod shared;
mod sse;
mod time;
mod user_event;
mod view;
mod watch;
mod watch_event;

pub use binary::{Binary, EntryValue, Payload};
pub use client::{Client, Probe, TIMEOUT};
pub use discovery::{Discovery, ProviderInfo, ProviderState};
pub use doctor::{Check, CheckState, Diagnosis, Finding};
pub use entry::{
    Batch, BatchResult, BatchResults, ChangeKind, Entry, EntryList, Operation, OperationKind,
    SharedChange, Written,
};
pub use error::Error;
pub use follow::Follow;
pub use health::Health;
pub use leader::{Leader, LeaderState};
pub use manager::{Manager, ManagerList, Part};
pub use member::{
    Forgotten, LeaveOutcome, Member, MemberList, MemberState, Role, SelfInfo, UnknownState, Why,
    WhyEntry,
};
pub use problem::{Code, Problem};
pub use recover::{Abandoned, GivenUp, Recovered, Refounded, SharedChoice, UnknownChoice};
pub use shared::{Ack, Entries, WriteOptions};
pub use time::{parse_duration, rfc3339};
pub use user_event::{EventList, UserEvent};
pub use view::{View, ViewList, ViewMember};
pub use watch::{EventFilter, Watch, WatchFilter, Watched};
pub use watch_event::WatchEvent;
