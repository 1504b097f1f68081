//! Writer: one thread that makes changes durable, as many at once as wait.
//!
//! Whatever came while a frame was being synced is the next frame: the slower
//! the disk, the larger the frames, and nothing waits for much more than two
//! syncs. A thread of its own, because a sync blocks, and a manager has
//! heartbeats to answer meanwhile.
//!
//! When the file has outgrown what is live of it, everything that is held is
//! written to the next file, and the frames that wait are durable with it.

use std::io;
use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use dui_disk::{Appender, Disk, is_full};

use super::file::{self, Prepared};
use super::held::Held;
use super::log::{Frame, Shared};

/// Sealed frames are closed when they have this many bytes.
const SEALED_BYTES: usize = 1 << 20;

/// See the [module](self).
#[derive(Debug)]
pub(super) struct Writer {
    disk: Arc<dyn Disk>,
    /// Of the file.
    number: u64,
    file: Appender,
    /// Up to so many bytes it is not written anew.
    compact_bytes_min: u64,
    /// The same, after a try for which there was no room.
    compact_again: u64,
}

/// Why a frame is not durable.
type Failed = (&'static str, io::Error);

/// Writes a file that holds this and nothing else; it has no name yet.
pub(super) fn prepare(disk: &dyn Disk, number: u64, held: &Held) -> io::Result<Prepared> {
    let mut bodies = vec![Vec::new()];
    for change in held.changes() {
        let last = bodies.len() - 1;
        // Cut before, not behind: one change is always small enough.
        let mut bytes = Vec::new();
        change.encode(&mut bytes);
        if !bodies[last].is_empty() && bodies[last].len() + bytes.len() > SEALED_BYTES {
            bodies.push(bytes);
        } else {
            bodies[last].extend_from_slice(&bytes);
        }
    }
    Prepared::write(disk, number, &bodies)
}

impl Writer {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        number: u64,
        file: Appender,
        compact_bytes_min: u64,
    ) -> Self {
        Self {
            disk,
            number,
            file,
            compact_bytes_min,
            compact_again: 0,
        }
    }

    /// Works until the store is closed or has failed.
    pub(super) fn work(mut self, shared: &Shared) {
        let _guard = Guard(shared);
        loop {
            let end = self.file.end();
            let above = self.compact_bytes_min.max(self.compact_again);
            let mut work = shared.wait(|live| end > above && end > 2 * live);
            if let Some(held) = work.outgrown {
                match self.compact(&held) {
                    Ok(true) => {
                        for frame in mem::take(&mut work.frames) {
                            shared.note_written(frame.records, 0, None);
                            frame.complete(None);
                        }
                        shared.note_written(0, self.file.end(), None);
                    }
                    Ok(false) => self.compact_again = end + self.compact_bytes_min,
                    Err(failed) => return give_up(shared, work.frames, &failed),
                }
            }
            let mut frames = work.frames.into_iter();
            while let Some(frame) = frames.next() {
                if let Err(failed) = self.write(&frame, shared) {
                    let rest = [frame].into_iter().chain(frames);
                    return give_up(shared, rest, &failed);
                }
                frame.complete(None);
            }
            if work.last {
                self.file.cut();
                return;
            }
        }
    }

    /// Makes the frame durable.
    fn write(&mut self, frame: &Frame, shared: &Shared) -> Result<(), Failed> {
        if frame.body.is_empty() {
            return Ok(());
        }
        assert_eq!(
            self.file.unsynced(),
            0,
            "each frame is synced before the next: otherwise a crash tears more than the last"
        );
        self.file.make_room(file::AHEAD_BYTES);
        let before = self.file.end();
        if let Err(error) = self.file.write(&frame.body) {
            // It never reached the disk, so nothing is in doubt. Whoever needs
            // room here needs it elsewhere, too.
            if is_full(&error) {
                self.file.cut();
            }
            return Err(("writing failed", error));
        }
        let began = Instant::now();
        self.file.sync().map_err(|error| ("a sync failed", error))?;
        let bytes = self.file.end() - before;
        shared.note_written(frame.records, bytes, Some(began.elapsed()));
        Ok(())
    }

    /// Goes on in a new file that holds what is live, durable on return.
    /// `false` if there is no room for it: then everything is as before.
    fn compact(&mut self, held: &Held) -> Result<bool, Failed> {
        let what = "writing the log anew failed";
        let prepared = match prepare(&*self.disk, self.number + 1, held) {
            Ok(prepared) => prepared,
            Err(error) if is_full(&error) => return Ok(false),
            Err(error) => return Err((what, error)),
        };
        // Renamed or not, we do not know if this fails; either file is whole.
        let file = prepared.publish(&*self.disk).map_err(|e| (what, e))?;
        self.file = file;
        // Left for the next start if it cannot be removed now.
        let _ = self.disk.remove(&file::name_of(self.number));
        self.number += 1;
        Ok(true)
    }
}

fn give_up(shared: &Shared, frames: impl IntoIterator<Item = Frame>, failed: &Failed) {
    let (what, error) = failed;
    let failure = shared.fail(what, error);
    for frame in frames {
        frame.complete(Some(&failure));
    }
}

/// Tells everybody if the thread panics: nothing would ever be written.
struct Guard<'a>(&'a Shared);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let error = io::Error::other("a bug, reported above");
            self.0.fail("the writer panicked", &error);
        }
    }
}
