//! Trace: everything that happened in a world, as a fingerprint or as text.
//!
//! The fingerprint covers each input and output of each process: when, whose,
//! what kind, and its bytes. Two runs with one seed have the same, whatever
//! the build. The text names for each wake-up what it was for.

use std::fmt::{self, Write};

use crate::queue::Ns;

/// Where lines of text go.
type Sink = Box<dyn FnMut(&str) + Send>;

/// What to keep of what happens.
#[derive(Default)]
pub struct Trace {
    hasher: Option<blake3::Hasher>,
    text: Option<Sink>,
    outputs: bool,
    line: String,
}

impl Trace {
    /// Nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// The fingerprint.
    pub fn hashed() -> Self {
        Self {
            hasher: Some(blake3::Hasher::new()),
            outputs: true,
            ..Self::default()
        }
    }

    /// The fingerprint of inputs alone, which costs half: outputs follow from them.
    pub fn inputs() -> Self {
        Self {
            outputs: false,
            ..Self::hashed()
        }
    }

    /// The fingerprint, and each line as it comes.
    pub fn text(sink: impl FnMut(&str) + Send + 'static) -> Self {
        Self {
            text: Some(Box::new(sink)),
            ..Self::hashed()
        }
    }

    /// The fingerprint so far, in hexadecimal digits.
    pub fn fingerprint(&self) -> Option<String> {
        let hasher = self.hasher.as_ref()?;
        Some(hasher.finalize().to_hex().to_string())
    }

    pub(crate) fn note(
        &mut self,
        at: Ns,
        who: &str,
        kind: &str,
        what: &dyn fmt::Debug,
        bytes: &[u8],
    ) {
        let Some(hasher) = &mut self.hasher else {
            return;
        };
        self.line.clear();
        // Writing to a string does not fail.
        let _ = write!(self.line, "{kind} {what:?}");
        hasher.update(&at.to_le_bytes());
        hasher.update(&(who.len() as u64).to_le_bytes());
        hasher.update(who.as_bytes());
        hasher.update(&(self.line.len() as u64).to_le_bytes());
        hasher.update(self.line.as_bytes());
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
        if let Some(sink) = &mut self.text {
            let size = if bytes.is_empty() {
                String::new()
            } else {
                format!(" {} bytes", bytes.len())
            };
            let (secs, nanos) = (at / 1_000_000_000, at % 1_000_000_000);
            sink(&format!("{secs}.{nanos:09} {who} {}{size}", self.line));
        }
    }

    pub(crate) fn covers_outputs(&self) -> bool {
        self.is_on() && self.outputs
    }

    pub(crate) fn is_on(&self) -> bool {
        self.hasher.is_some()
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}
