//! An embeddable dui node: the tokio shell around [`dui_core::Peer`]. (skeleton)
mod handle;
pub use dui_core as core;
pub use handle::{ApiError, EventStream, Handle, LeaveOutcome, NodeEvent, Sequenced, Status};
