//! Disk: what survives a process, as the node's shell writes it.
//!
//! An urgent record is durable before anything that the core decided after
//! it; others wait until five seconds after the write before. A write that
//! fails is tried again after ten seconds, and the node goes on meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use dui_core::{Entry, Incarnation, Record};

use crate::queue::Ns;

const LAZY_INTERVAL: Duration = Duration::from_secs(5);
/// How long it takes to make shared entries durable.
pub(crate) const SYNC: Duration = Duration::from_millis(1);
const RETRY_INTERVAL: Duration = Duration::from_secs(10);

/// The data directory of one host, or none.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// Whether there is a data directory.
    pub kept: bool,
    /// Whether writes fail.
    pub full: bool,
    /// Shared entries.
    pub entries: BTreeMap<String, Entry>,
    durable: Option<Record>,
    pending: Option<Record>,
    not_before: Ns,
    failing: bool,
}

impl Disk {
    /// What a process that starts now finds.
    pub fn durable(&self) -> Option<&Record> {
        self.durable.as_ref()
    }

    /// Keeps a record; when to call [`Disk::retry`], if it has to wait.
    pub(crate) fn write(&mut self, now: Ns, record: Record) -> Option<Ns> {
        if !self.kept {
            return None;
        }
        let due = record.urgent || self.failing || now >= self.not_before;
        self.pending = Some(record);
        if due {
            self.retry(now)
        } else {
            Some(self.not_before)
        }
    }

    /// Writes what waits, if its time has come.
    pub(crate) fn retry(&mut self, now: Ns) -> Option<Ns> {
        self.pending.as_ref()?;
        self.failing = self.full;
        let wait = if self.full {
            RETRY_INTERVAL
        } else {
            self.durable = self.pending.take();
            LAZY_INTERVAL
        };
        self.not_before = now + wait.as_nanos() as Ns;
        self.full.then_some(self.not_before)
    }

    /// Whether a write is due that had to wait.
    pub(crate) fn is_due(&self, now: Ns) -> bool {
        self.pending.is_some() && now >= self.not_before
    }

    /// A process starts and writes down its incarnation; `false`: it cannot.
    pub(crate) fn open(&mut self, incarnation: Incarnation) -> bool {
        if self.kept && self.full {
            return false;
        }
        let mut record = self.durable.take().unwrap_or(Record {
            incarnation,
            known: Vec::new(),
            forgotten: Vec::new(),
            contacts: Vec::new(),
            urgent: true,
        });
        record.incarnation = incarnation;
        self.durable = self.kept.then_some(record);
        true
    }

    /// Makes entries durable; `false`: nothing of them is.
    pub(crate) fn store(&mut self, entries: Vec<Entry>, removed: &[Entry]) -> bool {
        if self.full && self.kept {
            return false;
        }
        if self.kept {
            for entry in removed {
                if self.entries.get(entry.key()) == Some(entry) {
                    self.entries.remove(entry.key());
                }
            }
            let keyed = entries.into_iter().map(|entry| (entry.key().into(), entry));
            self.entries.extend(keyed);
        }
        true
    }

    /// The process ends: in order it writes what waits, killed it does not.
    pub(crate) fn close(&mut self, now: Ns, in_order: bool) {
        if in_order {
            self.retry(now);
        }
        self.pending = None;
        self.failing = false;
        self.not_before = 0;
    }

    /// The data directory is gone.
    pub(crate) fn wipe(&mut self) {
        self.durable = None;
        self.pending = None;
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Ns = 1_000_000_000;

    fn record(incarnation: u64, urgent: bool) -> Record {
        Record {
            incarnation: Incarnation(incarnation),
            known: Vec::new(),
            forgotten: Vec::new(),
            contacts: Vec::new(),
            urgent,
        }
    }

    fn durable(disk: &Disk) -> Option<u64> {
        disk.durable().map(|record| record.incarnation.0)
    }

    #[test]
    fn what_is_urgent_is_durable_at_once_and_what_is_not_is_lost_in_a_crash() {
        let mut disk = Disk {
            kept: true,
            ..Disk::default()
        };
        assert!(disk.open(Incarnation(1)));
        assert_eq!(disk.write(SECOND, record(2, true)), None);
        assert_eq!(disk.write(2 * SECOND, record(3, false)), Some(6 * SECOND));
        assert_eq!(durable(&disk), Some(2));
        disk.close(3 * SECOND, false);
        assert_eq!(durable(&disk), Some(2));
    }

    #[test]
    fn a_full_disk_is_tried_again_and_lets_nobody_start() {
        let mut disk = Disk {
            kept: true,
            full: true,
            ..Disk::default()
        };
        assert!(!disk.open(Incarnation(1)));
        assert_eq!(disk.write(0, record(2, true)), Some(10 * SECOND));
        assert_eq!(durable(&disk), None);
        disk.full = false;
        assert!(disk.is_due(10 * SECOND));
        assert_eq!(disk.retry(10 * SECOND), None);
        assert_eq!(durable(&disk), Some(2));
    }
}
