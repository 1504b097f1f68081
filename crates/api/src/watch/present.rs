//! The present: all entries of a watch, told between the changes.
//!
//! A million entries cannot be one event, nor may changes be missed while
//! they are told. So they come a page at a time, each after every change that
//! it includes already: whoever applies what comes, in its order, never goes
//! back, and at `complete` holds what the node holds.

use std::collections::VecDeque;

use dui_client::{ChangeKind, SharedChange};
use dui_node::core::Entry;

use crate::App;
use crate::ask::ask;
use crate::convert;

/// Entries read at once, and about how many of their bytes are kept until
/// the client has taken them.
const PAGE_ENTRIES: usize = 256;
const PAGE_BYTES: usize = 1 << 20;

/// How far the present was told.
#[derive(Debug, Default)]
pub(super) struct Present {
    after: Option<String>,
    page: VecDeque<Entry>,
    at_ms: u64,
    last: bool,
    /// The newest event that the page includes.
    pub(super) sequence: u64,
}

impl Present {
    /// Whether the next page has to be read first.
    pub(super) fn is_exhausted(&self) -> bool {
        self.page.is_empty() && !self.last
    }

    /// Reads the next page; `None` when the node does not answer.
    pub(super) async fn read(&mut self, app: &App, prefix: &str) -> Option<()> {
        let after = self.after.clone();
        let page = app.handle().page(prefix.into(), after, PAGE_ENTRIES);
        let page = ask(page).await.ok()?;
        let mut bytes = 0;
        let fits = page.entries.iter().take_while(|entry| {
            let fits = bytes < PAGE_BYTES;
            bytes += entry.as_bytes().len();
            fits
        });
        let taken = fits.count();
        self.last = taken == page.entries.len() && taken < PAGE_ENTRIES;
        self.page = page.entries.into();
        self.page.truncate(taken);
        self.at_ms = page.at_ms;
        self.sequence = page.sequence;
        if let Some(entry) = self.page.back() {
            self.after = Some(entry.key().into());
        }
        Some(())
    }

    /// The next entry of the page; `None` after the very last.
    pub(super) fn next(&mut self) -> Option<SharedChange> {
        let entry = self.page.pop_front()?;
        Some(SharedChange {
            change: ChangeKind::Put,
            entry: convert::entry(&entry, self.at_ms),
        })
    }
}
