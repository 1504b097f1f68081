//! Reconciliation: two nodes find what differs between two sets without sending the sets.
//!
//! They compare fingerprints of a range of keys. Equal: nothing to do there.
//! Different: the range is cut into up to sixteen parts with as many keys
//! each, until few enough are left to name them; whoever sees the other's
//! names knows both what to send and what to ask for. Bytes follow the
//! difference, rounds the logarithm of the size:
//!
//! ```text
//! ann                                            bo
//! 1,000 keys in 16 parts, a fingerprint each  ─▶  one of them differs
//! one of those differs                       ◀─  that part, cut into 4
//! the 15 keys of that one by name            ─▶  sends 2 items, asks for 1
//! ```
//!
//! Nobody remembers anything between two messages, so that a lost one or a set
//! that changes meanwhile costs no more than the next try. Ranges of one
//! message ascend and are disjoint; what breaks that is ignored. So whatever a
//! message says, answering it takes one pass over the own set.
//!
//! Source: Meyer, "Range-Based Set Reconciliation" (arXiv:2212.13567). Sums of
//! hashes as fingerprints are its section V; a member could forge one, but
//! a member can also simply keep silent.

#[cfg(test)]
mod tests;
mod tree;

use std::cmp::Ordering;

pub use tree::Tree;

/// What is reconciled: compared byte by byte, 24 bytes for an id and a number.
pub type Key = [u8; 24];

/// Ranges of up to so many keys name them: 768 bytes, which fit a packet.
pub const KEYS_MAX: usize = 32;

/// Ranges with more keys than this are ignored. Above [`KEYS_MAX`] so that
/// other versions may choose otherwise.
pub const KEYS_TAKEN_MAX: usize = 128;

/// Ranges of one message beyond this are ignored.
pub const RANGES_MAX: usize = 64;

/// Keys that the other side is found to lack, in one message.
pub const MISSING_MAX: usize = 8_192;

/// A range is cut into so many parts at most.
pub const PARTS_MAX: usize = 16;

/// Keys that a part should have: half of what would be named, because the
/// other side's part may well have some more.
const PART_KEYS: usize = KEYS_MAX / 2;

/// The ends of the space of keys.
pub const LOWEST: Key = [0; 24];
/// See [`LOWEST`].
pub const HIGHEST: Key = [0xff; 24];

/// What a set of keys looks like from afar, in whatever order they came.
/// Kept up to date by [`add`](Self::add) and [`remove`](Self::remove).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Fingerprint {
    /// How many keys.
    pub count: u64,
    /// Sum of their hashes.
    pub sum: u64,
}

/// A range of keys, both ends included, and what its sender has in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// The lowest key that belongs to it.
    pub lo: Key,
    /// The highest.
    pub hi: Key,
    /// The sender's part.
    pub body: RangeBody,
}

/// What the sender of a range has in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RangeBody {
    /// Too many to name.
    Fingerprint(Fingerprint),
    /// All of them. Nothing is answered but what differs.
    Keys(Vec<Key>),
}

/// What follows from a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Ranges to send back, ascending; empty when nothing is left to find.
    /// At most [`PARTS_MAX`] for each one taken; to be split into as many
    /// messages as it takes.
    pub reply: Vec<Range>,
    /// Keys that we have and they lack: send the items. At most
    /// [`MISSING_MAX`], lest a newcomer's few words list a million.
    pub theirs_missing: Vec<Key>,
    /// Ranges in which they lack more than that.
    pub cut_off: Vec<(Key, Key)>,
    /// Keys that they have and we lack: ask for the items. At most
    /// [`KEYS_TAKEN_MAX`] for each range taken.
    pub ours_missing: Vec<Key>,
}

/// A set in key order. Ends of ranges are included.
pub trait Set {
    /// Fingerprint of the keys in a range.
    fn fingerprint(&self, lo: &Key, hi: &Key) -> Fingerprint;
    /// The key with `n` others of the range below it.
    fn nth(&self, lo: &Key, hi: &Key, n: usize) -> Option<Key>;
    /// The keys in a range, ascending.
    fn keys(&self, lo: &Key, hi: &Key) -> impl Iterator<Item = Key>;
    /// Whether a key is there.
    fn has(&self, key: &Key) -> bool {
        self.nth(key, key, 0).is_some()
    }
}

/// The first message: what we have in the whole space.
pub fn open(set: &(impl Set + ?Sized)) -> Vec<Range> {
    let ours = set.fingerprint(&LOWEST, &HIGHEST);
    let mut ranges = Vec::new();
    describe(set, &LOWEST, &HIGHEST, ours, &mut ranges);
    ranges
}

/// What to do about a message.
pub fn answer(set: &(impl Set + ?Sized), theirs: &[Range]) -> Answer {
    let mut answer = Answer::default();
    let mut below: Option<Key> = None;
    for range in theirs.iter().take(RANGES_MAX) {
        let ascends = below.is_none_or(|below| below < range.lo) && range.lo <= range.hi;
        if !ascends {
            continue;
        }
        below = Some(range.hi);
        match &range.body {
            RangeBody::Fingerprint(theirs) => compare(set, range, *theirs, &mut answer.reply),
            RangeBody::Keys(theirs) => difference(set, range, theirs, &mut answer),
        }
    }
    answer
}

/// Whose fingerprint differs is told more about our side.
fn compare(set: &(impl Set + ?Sized), range: &Range, theirs: Fingerprint, reply: &mut Vec<Range>) {
    let ours = set.fingerprint(&range.lo, &range.hi);
    if ours == theirs {
        return;
    }
    let they_can_name_theirs = theirs.count <= KEYS_MAX as u64;
    if they_can_name_theirs && ours.count > KEYS_MAX as u64 {
        // A newcomer holds three keys where we hold thousands: cutting our
        // thousands finds nothing that its three names do not tell at once.
        reply.push(Range {
            lo: range.lo,
            hi: range.hi,
            body: RangeBody::Fingerprint(ours),
        });
    } else {
        describe(set, &range.lo, &range.hi, ours, reply);
    }
}

/// Names the keys of a range if they are few, else cuts it into parts.
fn describe(
    set: &(impl Set + ?Sized),
    lo: &Key,
    hi: &Key,
    ours: Fingerprint,
    ranges: &mut Vec<Range>,
) {
    let count = usize::try_from(ours.count).unwrap_or(usize::MAX);
    if count <= KEYS_MAX {
        ranges.push(Range {
            lo: *lo,
            hi: *hi,
            body: RangeBody::Keys(set.keys(lo, hi).collect()),
        });
        return;
    }
    let parts = count.div_ceil(PART_KEYS).min(PARTS_MAX);
    // Every part but the first begins at a key of ours, and each holds fewer
    // than the whole: that is why it ends.
    let starts = (1..parts).filter_map(|i| set.nth(lo, hi, count * i / parts));
    let mut part_lo = *lo;
    for next in starts.map(Some).chain([None]) {
        let part_hi = next.map_or(*hi, predecessor);
        ranges.push(Range {
            lo: part_lo,
            hi: part_hi,
            body: RangeBody::Fingerprint(set.fingerprint(&part_lo, &part_hi)),
        });
        part_lo = next.unwrap_or(part_lo);
    }
}

/// Both sides' keys of one range are known: nothing is left to ask.
fn difference(set: &(impl Set + ?Sized), range: &Range, theirs: &[Key], answer: &mut Answer) {
    if theirs.len() > KEYS_TAKEN_MAX {
        return;
    }
    let mut theirs: Vec<Key> = theirs
        .iter()
        .copied()
        .filter(|key| (range.lo..=range.hi).contains(key))
        .collect();
    theirs.sort_unstable();
    theirs.dedup();

    let mut theirs = theirs.into_iter().peekable();
    let mut ours = set.keys(&range.lo, &range.hi).peekable();
    loop {
        let order = match (ours.peek(), theirs.peek()) {
            (Some(our), Some(their)) => our.cmp(their),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return,
        };
        if order.is_lt()
            && answer.theirs_missing.len() >= MISSING_MAX
            && let Some(next) = ours.peek()
        {
            answer.cut_off.push((*next, range.hi));
            // What they alone have is still asked for, as far as it is known.
            answer
                .ours_missing
                .extend(theirs.filter(|key| !set.has(key)));
            return;
        }
        if order.is_le() {
            let key = ours.next();
            answer.theirs_missing.extend(key.filter(|_| order.is_lt()));
        }
        if order.is_ge() {
            let key = theirs.next();
            answer.ours_missing.extend(key.filter(|_| order.is_gt()));
        }
    }
}

/// The highest key below this one; keys are numbers of 192 bits. Never asked
/// of the lowest: parts that begin at a key begin above their range's start.
fn predecessor(mut key: Key) -> Key {
    for byte in key.iter_mut().rev() {
        let borrow = *byte == 0;
        *byte = byte.wrapping_sub(1);
        if !borrow {
            break;
        }
    }
    key
}

impl Fingerprint {
    /// Fingerprint of these keys; each must be there once.
    pub fn of<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Self {
        let mut all = Self::default();
        for key in keys {
            all.add(key);
        }
        all
    }

    /// A key joins the set.
    pub fn add(&mut self, key: &Key) {
        self.count = self.count.wrapping_add(1);
        self.sum = self.sum.wrapping_add(hash(key));
    }

    /// Another set's keys, none of which is here, join it.
    fn join(&mut self, other: Self) {
        self.count = self.count.wrapping_add(other.count);
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// Keys that are here, and are another set's, leave it.
    fn part(&mut self, other: Self) {
        self.count = self.count.wrapping_sub(other.count);
        self.sum = self.sum.wrapping_sub(other.sum);
    }

    /// A key that was added leaves it.
    pub fn remove(&mut self, key: &Key) {
        self.count = self.count.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(hash(key));
    }
}

/// 64 bits that depend on every bit of the key: SplitMix64's finalizer over
/// its three words. Part of the wire format: nodes compare sums of it.
pub(crate) fn hash(key: &Key) -> u64 {
    key.chunks_exact(8).fold(0, |state: u64, word| {
        let word = word.iter().fold(0, |word, &b| word << 8 | u64::from(b));
        let mut z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    })
}

/// Sorted and without duplicates.
impl Set for [Key] {
    fn fingerprint(&self, lo: &Key, hi: &Key) -> Fingerprint {
        Fingerprint::of(within(self, lo, hi))
    }

    fn nth(&self, lo: &Key, hi: &Key, n: usize) -> Option<Key> {
        within(self, lo, hi).get(n).copied()
    }

    fn keys(&self, lo: &Key, hi: &Key) -> impl Iterator<Item = Key> {
        within(self, lo, hi).iter().copied()
    }
}

fn within<'a>(keys: &'a [Key], lo: &Key, hi: &Key) -> &'a [Key] {
    let start = keys.partition_point(|key| key < lo);
    let end = keys.partition_point(|key| key <= hi);
    &keys[start..end.max(start)]
}
