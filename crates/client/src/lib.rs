//! Rust client of a dui node's HTTP API, and the JSON types that server and client share.
//!
//! The types are the contract: the server serializes exactly these, the
//! OpenAPI document at `/openapi.json` is generated from them, and so a
//! client in another language reads the same words. Fields are only ever
//! added; a client skips those it does not know.

mod discovery;
mod member;
mod problem;
mod time;
mod user_event;
mod watch_event;

pub use discovery::{Discovery, ProviderInfo};
pub use member::{
    Forgotten, LeaveOutcome, Member, MemberList, MemberState, Role, SelfInfo, UnknownState, Why,
    WhyEntry,
};
pub use problem::{Code, Problem};
pub use time::rfc3339;
pub use user_event::{Binary, EventList, Payload, UserEvent};
pub use watch_event::WatchEvent;
