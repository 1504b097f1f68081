//! State: how each provider is doing, for whoever asks why nobody is found.

use std::sync::{Arc, Mutex, PoisonError};

/// One provider as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderState {
    /// `multicast`, `broadcast`, `static`, `dns` or `file`.
    pub name: &'static str,
    /// What it looks at: a group, names, a path.
    pub detail: String,
    /// What keeps it from working, and what to do; `None`: nothing does.
    pub error: Option<String>,
    /// Whether it had its first go: before that, no error says nothing.
    pub tried: bool,
}

/// Where providers write their state and handles read it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Board(Arc<Mutex<Vec<ProviderState>>>);

impl Board {
    /// Every provider that was asked for, in the order of asking.
    pub(crate) fn read(&self) -> Vec<ProviderState> {
        self.lines().clone()
    }

    /// Adds a provider.
    pub(super) fn add(&self, name: &'static str, detail: String) -> Line {
        let mut lines = self.lines();
        lines.push(ProviderState {
            name,
            detail,
            error: None,
            tried: false,
        });
        Line {
            board: self.clone(),
            place: lines.len() - 1,
        }
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, Vec<ProviderState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A provider's own line; what changes is logged once.
#[derive(Debug)]
pub(super) struct Line {
    board: Board,
    place: usize,
}

impl Line {
    /// It works, as far as it can tell.
    pub(super) fn works(&self) {
        let mut lines = self.board.lines();
        let line = &mut lines[self.place];
        line.tried = true;
        if line.error.take().is_some() {
            tracing::info!(
                target: "dui", event = "provider_available", provider = line.name,
                detail = line.detail,
            );
        }
    }

    /// It looks elsewhere from now on.
    pub(super) fn looks_at(&self, detail: String) {
        self.board.lines()[self.place].detail = detail;
    }

    /// It does not, and why; the others go on.
    pub(super) fn fails(&self, error: String) {
        let mut lines = self.board.lines();
        let line = &mut lines[self.place];
        line.tried = true;
        if line.error.as_ref() != Some(&error) {
            tracing::warn!(
                target: "dui", event = "provider_unavailable", provider = line.name,
                detail = line.detail, error,
                remedy = "mend that, or name a peer with --join; the other providers go on",
            );
            line.error = Some(error);
        }
    }
}
