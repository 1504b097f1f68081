//! Memory: a disk for tests, which crashes, tears, fills up, rots, slows down,
//! and holds its syncs.
//!
//! It keeps what is seen apart from what is durable, as a kernel does. A test
//! lets it crash at every call in turn and throws [`dice`] for what is left:
//! whatever was acknowledged has to be among it.

use std::collections::BTreeMap;
use std::io::{self, Cursor};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::{Disk, DiskFile, Reader};

/// What a crash may tear a write into.
const SECTOR: usize = 512;

/// See the [module](self). Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Debug, Default)]
struct State {
    files: Vec<Contents>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    /// Names as they were after each change since they were synced.
    pending_names: Vec<BTreeMap<String, usize>>,
    calls: usize,
    /// Nothing works from this call on.
    crash_at: Option<usize>,
    /// Bytes that all files may have.
    room: Option<usize>,
    /// Syncs fail, and forget what they were to sync, as Linux does.
    fail_syncs: bool,
    hold_syncs: bool,
    /// A sync takes so long.
    sync_takes: Duration,
    /// A sync is being held.
    held: bool,
}

#[derive(Clone, Debug, Default)]
struct Contents {
    seen: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug)]
struct MemoryFile(Memory, usize);

impl State {
    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        match self.crash_at {
            Some(at) if self.calls > at => Err(io::Error::other("crashed")),
            _ => Ok(()),
        }
    }

    fn rename(&mut self, change: impl FnOnce(&mut BTreeMap<String, usize>)) -> io::Result<()> {
        self.call()?;
        change(&mut self.names);
        let after = self.names.clone();
        self.pending_names.push(after);
        Ok(())
    }

    fn index_of(&self, name: &str) -> io::Result<usize> {
        let index = self.names.get(name).copied();
        index.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used(&self) -> usize {
        let files = self.names.values();
        files.map(|index| self.files[*index].seen.len()).sum()
    }
}

/// What a poisoned lock says.
const POISONED: &str = "the test has failed elsewhere";

fn put(bytes: &mut Vec<u8>, offset: usize, write: &[u8]) {
    let end = offset + write.len();
    bytes.resize(bytes.len().max(end), 0);
    bytes[offset..end].copy_from_slice(write);
}

impl Memory {
    /// One on which nothing works after so many calls.
    pub fn crashing_at(call: usize) -> Self {
        let disk = Self::default();
        disk.state().crash_at = Some(call);
        disk
    }

    /// One that has this file.
    pub fn with_file(name: &str, bytes: &[u8]) -> Self {
        let disk = Self::default();
        let names = BTreeMap::from([(name.to_owned(), 0)]);
        let contents = Contents {
            seen: bytes.to_vec(),
            durable: bytes.to_vec(),
            pending: Vec::new(),
        };
        *disk.state() = State {
            files: vec![contents],
            durable_names: names.clone(),
            names,
            ..State::default()
        };
        disk
    }

    /// The disk as the next process finds it: names and sectors that were not
    /// synced may be there or not.
    pub fn after_crash(&self, mut chance: impl FnMut(usize) -> usize) -> Self {
        let before = self.state().clone();
        let kept = chance(before.pending_names.len() + 1);
        let names = match kept {
            0 => before.durable_names,
            kept => before.pending_names[kept - 1].clone(),
        };
        let mut files = before.files;
        for file in &mut files {
            let mut bytes = std::mem::take(&mut file.durable);
            for (offset, write) in std::mem::take(&mut file.pending) {
                for (index, sector) in write.chunks(SECTOR).enumerate() {
                    if chance(2) == 1 {
                        put(&mut bytes, offset + index * SECTOR, sector);
                    }
                }
            }
            file.seen.clone_from(&bytes);
            file.durable = bytes;
        }
        let disk = Self::default();
        *disk.state() = State {
            files,
            durable_names: names.clone(),
            names,
            ..State::default()
        };
        disk
    }

    /// How often it was called.
    pub fn calls(&self) -> usize {
        self.state().calls
    }

    /// Of all files, in order.
    pub fn names(&self) -> Vec<String> {
        self.state().names.keys().cloned().collect()
    }

    /// What is seen of the file.
    ///
    /// # Panics
    /// If there is none of this name.
    pub fn contents(&self, name: &str) -> Vec<u8> {
        let state = self.state();
        state.files[state.names[name]].seen.clone()
    }

    /// Lets the file rot: from now on this is seen of it.
    ///
    /// # Panics
    /// If there is none of this name.
    pub fn rot(&self, name: &str, rot: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let index = state.names[name];
        rot(&mut state.files[index].seen);
    }

    /// Bytes in all files.
    pub fn used(&self) -> usize {
        self.state().used()
    }

    /// How many there may be.
    pub fn room(&self, room: Option<usize>) {
        self.state().room = room;
    }

    /// Whether syncs of files fail, and forget what they were to sync.
    pub fn fail_syncs(&self, fail: bool) {
        self.state().fail_syncs = fail;
    }

    /// Syncs of files take so long from now on.
    pub fn slow_syncs(&self, sync_takes: Duration) {
        self.state().sync_takes = sync_takes;
    }

    /// From now on a sync of a file does not return.
    pub fn hold_syncs(&self) {
        self.state().hold_syncs = true;
    }

    /// Until one is held.
    pub fn wait_for_sync(&self) {
        let state = self.state();
        let waited = self.0.changed.wait_while(state, |state| !state.held);
        drop(waited.expect(POISONED));
    }

    /// Lets them return, those that are held and those to come.
    pub fn release_syncs(&self) {
        self.state().hold_syncs = false;
        self.0.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().expect(POISONED)
    }
}

impl Disk for Memory {
    fn list(&self) -> io::Result<Vec<String>> {
        self.state().call()?;
        Ok(self.names())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state();
        let index = state.files.len();
        state.files.push(Contents::default());
        state.rename(|names| {
            names.insert(name.into(), index);
        })?;
        Ok(Box::new(MemoryFile(self.clone(), index)))
    }

    fn read(&self, name: &str) -> io::Result<Reader> {
        let mut state = self.state();
        state.call()?;
        let index = state.index_of(name)?;
        Ok(Box::new(Cursor::new(state.files[index].seen.clone())))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.state();
        let index = state.index_of(from)?;
        state.rename(|names| {
            names.remove(from);
            names.insert(to.into(), index);
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.state();
        state.index_of(name)?;
        state.rename(|names| {
            names.remove(name);
        })
    }

    fn sync_names(&self) -> io::Result<()> {
        let mut state = self.state();
        state.call()?;
        state.durable_names = state.names.clone();
        state.pending_names.clear();
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.0.state();
        state.call()?;
        let offset = offset as usize;
        let length = state.files[self.1].seen.len();
        let grows = (offset + bytes.len()).saturating_sub(length);
        let left = state.room.map(|room| room.saturating_sub(state.used()));
        let fits = left.is_none_or(|left| grows <= left);
        // A disk that fills up takes what it can.
        let taken = match left {
            Some(left) if !fits => bytes.len() - grows + left,
            _ => bytes.len(),
        };
        let file = &mut state.files[self.1];
        put(&mut file.seen, offset, &bytes[..taken]);
        file.pending.push((offset, bytes[..taken].to_vec()));
        fits.then_some(())
            .ok_or_else(|| io::ErrorKind::StorageFull.into())
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        let mut state = self.0.state();
        state.call()?;
        let file = &mut state.files[self.1];
        file.seen.truncate(length as usize);
        file.durable.truncate(length as usize);
        file.pending.retain_mut(|(offset, write)| {
            write.truncate((length as usize).saturating_sub(*offset));
            !write.is_empty()
        });
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let sync_takes = self.0.state().sync_takes;
        thread::sleep(sync_takes);
        let mut state = self.0.state();
        state.call()?;
        while state.hold_syncs {
            state.held = true;
            self.0.0.changed.notify_all();
            state = self.0.0.changed.wait(state).expect(POISONED);
        }
        state.held = false;
        let fails = state.fail_syncs;
        let file = &mut state.files[self.1];
        for (offset, write) in std::mem::take(&mut file.pending) {
            if !fails {
                put(&mut file.durable, offset, &write);
            }
        }
        match fails {
            true => Err(io::Error::other("the disk lost it")),
            false => Ok(()),
        }
    }
}

/// Like dice, and the same ones for the same seed: a number below the one that
/// is asked for.
pub fn dice(seed: u64) -> impl FnMut(usize) -> usize {
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 33) as usize % below
    }
}
