//! Format: what a record of the log says about entries.
//!
//! A record is a list of changes, each a byte that says which, the length of
//! an entry as four bytes, little-endian, and the entry as the core lays it
//! out. A removal names the write that is gone as if it were a tombstone.

use std::collections::HashMap;

use dui_core::Entry;

use super::log::END_OF_CHECKPOINT;

const KEPT: u8 = 1;
const REMOVED: u8 = 2;

const _: () = assert!(END_OF_CHECKPOINT[0] != KEPT && END_OF_CHECKPOINT[0] != REMOVED);

/// Adds an entry to a record.
pub(crate) fn keep(record: &mut Vec<u8>, entry: &Entry) {
    push(record, KEPT, entry);
}

/// Adds the removal of this very write to a record.
pub(crate) fn remove(record: &mut Vec<u8>, entry: &Entry) {
    let name = Entry::tombstone(entry.key(), entry.version());
    push(record, REMOVED, &name);
}

fn push(record: &mut Vec<u8>, change: u8, entry: &Entry) {
    let bytes = entry.as_bytes();
    record.push(change);
    record.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    record.extend_from_slice(bytes);
}

/// Collects what all records amount to.
#[derive(Debug, Default)]
pub(crate) struct Loader {
    /// Everything that was kept, in order, older writes of a key included: the
    /// core sorts that out faster than a map here could.
    entries: Vec<Entry>,
    /// By name, how many entries there were when it was removed. Rare.
    removed: HashMap<[u8; 24], usize>,
}

impl Loader {
    /// Takes a record.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn take(&mut self, record: &[u8]) -> Result<(), &'static str> {
        let mut rest = record;
        while let Some((change, after)) = rest.split_first() {
            let (length, after) = after.split_first_chunk().ok_or("a length is cut short")?;
            let length = u32::from_le_bytes(*length) as usize;
            let (bytes, after) = after
                .split_at_checked(length)
                .ok_or("an entry is cut short")?;
            let entry =
                Entry::from_bytes(bytes).map_err(|_| "an entry that this dui cannot read")?;
            match *change {
                KEPT => self.entries.push(entry),
                REMOVED => drop(self.removed.insert(entry.name(), self.entries.len())),
                _ => return Err("a change that this dui does not know"),
            }
            rest = after;
        }
        Ok(())
    }

    /// What is there in the end.
    pub(crate) fn finish(self) -> Vec<Entry> {
        let Self {
            mut entries,
            removed,
        } = self;
        if !removed.is_empty() {
            let mut index = 0;
            entries.retain(|entry| {
                index += 1;
                let gone = removed.get(&entry.name());
                gone.is_none_or(|until| index > *until)
            });
        }
        entries
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use dui_core::{NodeId, Timestamp, Version};

    use super::*;

    fn entry(key: &str, at: u64) -> Entry {
        let version = Version {
            timestamp: Timestamp(at),
            origin: NodeId(1),
        };
        Entry::value_of(key, version, b"value", None, None)
    }

    #[test]
    fn a_removal_takes_this_write_away_and_no_other() {
        let mut record = Vec::new();
        keep(&mut record, &entry("a", 1));
        keep(&mut record, &entry("b", 1));
        remove(&mut record, &entry("a", 1));
        remove(&mut record, &entry("b", 2));
        let mut loader = Loader::default();
        loader.take(&record).unwrap();
        // A side that still had it gave it back.
        let mut later = Vec::new();
        keep(&mut later, &entry("a", 1));
        loader.take(&later).unwrap();
        assert_eq!(loader.finish(), [entry("b", 1), entry("a", 1)]);
    }

    #[test]
    fn what_is_no_record_is_refused() {
        let mut record = Vec::new();
        keep(&mut record, &entry("a", 1));
        for length in 1..record.len() {
            Loader::default().take(&record[..length]).unwrap_err();
        }
        let mut strange = record.clone();
        strange[0] = 9;
        Loader::default().take(&strange).unwrap_err();
        let mut strange = record;
        strange[5] = 99;
        Loader::default().take(&strange).unwrap_err();
    }
}
