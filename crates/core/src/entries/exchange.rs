//! Exchange: what one node still has to ask another, one thing at a time.
//!
//! The node that opened the stream asks, the other answers from what it holds
//! just then and remembers nothing: so whatever breaks is asked again, from
//! where it stood. One question is under way at a time and an answer has a
//! bound, so that neither side is ever sent more than it can take, and both
//! stay free for their probes.
//!
//! ```text
//! ranges that differ?  ─▶  ◀─ cut smaller, or by name     found, piece by piece
//! everything in here   ─▶  ◀─ 256 KiB of it, and where to go on
//! these, by name       ─▶  ◀─ 256 KiB of them, and where to go on
//! this, from byte n on ─▶  ◀─ 240 KiB of it
//! ```

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use crate::clock::Mono;
use crate::id::NodeId;
use crate::reconcile::{Key, RANGES_MAX, Range};
use crate::wire::{Part, PartOf, Span};

/// An answer that takes longer than this is not waited for.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Names asked for at once.
const ASK_NAMES: usize = 1_000;
/// What waits to be asked; more is found again by the next reconciliation.
const RANGES_WAIT_MAX: usize = 8_192;
const NAMES_WAIT_MAX: usize = 65_536;
const SPANS_WAIT_MAX: usize = 256;

/// What to ask now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Compare(Vec<Range>),
    Names(Vec<Key>),
    Span(Span),
    Part(PartOf),
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Exchange {
    peer: NodeId,
    ranges: VecDeque<Range>,
    spans: VecDeque<Span>,
    names: BTreeSet<Key>,
    large: BTreeSet<Key>,
    /// A large entry that has arrived up to here.
    part: Option<(Key, Vec<u8>)>,
    asked: Option<(Ask, Mono)>,
    /// Whether the last answer brought any part of it.
    progress: bool,
}

impl Exchange {
    pub(crate) fn with(peer: NodeId) -> Self {
        Self {
            peer,
            ranges: VecDeque::new(),
            spans: VecDeque::new(),
            names: BTreeSet::new(),
            large: BTreeSet::new(),
            part: None,
            asked: None,
            progress: false,
        }
    }

    // --- getters ---

    pub(crate) fn peer(&self) -> NodeId {
        self.peer
    }

    /// Whether it looks for differences, not just for what it knows by name.
    pub(crate) fn searches(&self) -> bool {
        let asks = matches!(self.asked, Some((Ask::Compare(_) | Ask::Span(_), _)));
        asks || !self.ranges.is_empty() || !self.spans.is_empty()
    }

    /// Whether there is nothing to do.
    pub(crate) fn is_idle(&self) -> bool {
        let named = self.names.is_empty() && self.large.is_empty() && self.part.is_none();
        self.asked.is_none() && named && !self.searches()
    }

    /// When to give up waiting.
    pub(crate) fn deadline(&self) -> Option<Mono> {
        self.asked.as_ref().map(|(_, at)| *at + ANSWER_MAX)
    }

    // --- what is to be asked ---

    pub(crate) fn compare(&mut self, ranges: impl IntoIterator<Item = Range>) {
        let room = RANGES_WAIT_MAX.saturating_sub(self.ranges.len());
        self.ranges.extend(ranges.into_iter().take(room));
    }

    pub(crate) fn want_span(&mut self, span: Span) {
        let known = self
            .spans
            .iter()
            .any(|own| own.lo <= span.lo && span.hi <= own.hi);
        if span.lo <= span.hi && !known && self.spans.len() < SPANS_WAIT_MAX {
            self.spans.push_back(span);
        }
    }

    pub(crate) fn want(&mut self, names: impl IntoIterator<Item = Key>) {
        let room = NAMES_WAIT_MAX.saturating_sub(self.names.len());
        self.names.extend(names.into_iter().take(room));
    }

    pub(crate) fn want_large(&mut self, names: impl IntoIterator<Item = Key>) {
        let room = NAMES_WAIT_MAX.saturating_sub(self.large.len());
        let under_way = self.part.as_ref().map(|(name, _)| *name);
        let names = names.into_iter().filter(|name| Some(*name) != under_way);
        self.large.extend(names.take(room));
    }

    /// The next question, unless one is under way. What is known by name
    /// comes first: looking for more of it would only make the lists longer.
    pub(crate) fn ask(&mut self, now: Mono) -> Option<Ask> {
        if self.asked.is_some() {
            return None;
        }
        if self.part.is_none() {
            self.part = self.large.pop_first().map(|name| (name, Vec::new()));
        }
        let ask = if let Some((name, bytes)) = &self.part {
            let (name, offset) = (*name, bytes.len() as u32);
            Ask::Part(PartOf { name, offset })
        } else if !self.names.is_empty() {
            let later = self.names.iter().nth(ASK_NAMES).copied();
            let rest = later.map(|later| self.names.split_off(&later));
            let now = std::mem::replace(&mut self.names, rest.unwrap_or_default());
            Ask::Names(now.into_iter().collect())
        } else if let Some(span) = self.spans.pop_front() {
            Ask::Span(span)
        } else if !self.ranges.is_empty() {
            let mut some: Vec<Range> = self
                .ranges
                .drain(..self.ranges.len().min(RANGES_MAX))
                .collect();
            // Messages list ranges in order.
            some.sort_by_key(|range| range.lo);
            Ask::Compare(some)
        } else {
            return None;
        };
        self.asked = Some((ask.clone(), now));
        self.progress = false;
        Some(ask)
    }

    // --- what is answered ---

    /// Something of the answer is here: more may take as long again.
    pub(crate) fn heard(&mut self, now: Mono) {
        if let Some((_, since)) = &mut self.asked {
            *since = now;
        }
    }

    /// A part arrived; the whole encoding, once it is complete.
    pub(crate) fn take_part(&mut self, part: &Part, total_max: usize) -> Option<Vec<u8>> {
        let (name, bytes) = self.part.as_mut()?;
        let total = part.total as usize;
        let fits = part.of.name == *name
            && part.of.offset as usize == bytes.len()
            && !part.bytes.is_empty()
            && bytes.len() + part.bytes.len() <= total
            && total <= total_max;
        if !fits {
            return None;
        }
        bytes.extend(&part.bytes);
        self.progress = true;
        if bytes.len() < total {
            return None;
        }
        self.part.take().map(|(_, bytes)| bytes)
    }

    /// The answer has ended, and would go on at `next`. The span that is now
    /// complete, if one is: it is worth a comparison.
    pub(crate) fn given(&mut self, next: Option<Key>) -> Option<Span> {
        let (ask, _) = self.asked.take()?;
        match ask {
            Ask::Span(span) => match next.filter(|next| span.lo < *next && *next <= span.hi) {
                Some(lo) => self.spans.push_front(Span { lo, ..span }),
                None => return Some(span),
            },
            Ask::Names(names) => {
                let next = next.filter(|next| names.first().is_some_and(|first| first < next));
                let rest = names
                    .into_iter()
                    .filter(|name| next.is_some_and(|next| next <= *name));
                self.names.extend(rest);
            }
            Ask::Part(_) if !self.progress => self.part = None,
            Ask::Part(_) | Ask::Compare(_) => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(n: u8) -> Key {
        [n; 24]
    }

    fn exchange() -> Exchange {
        Exchange::with(NodeId(1))
    }

    #[test]
    fn a_span_is_asked_for_from_where_the_answer_ended() {
        let mut exchange = exchange();
        let (lo, hi) = (name(0), name(9));
        exchange.want_span(Span { lo, hi });
        assert_eq!(exchange.ask(Mono::ZERO), Some(Ask::Span(Span { lo, hi })));
        assert_eq!(exchange.ask(Mono::ZERO), None, "one at a time");
        assert_eq!(exchange.given(Some(name(4))), None);
        let rest = Span { lo: name(4), hi };
        assert_eq!(exchange.ask(Mono::ZERO), Some(Ask::Span(rest)));
        // Who would lead us in circles has no more to give.
        assert_eq!(exchange.given(Some(name(4))), Some(rest));
        assert!(exchange.is_idle());
    }

    #[test]
    fn names_that_were_not_reached_are_asked_for_again_and_no_others() {
        let mut exchange = exchange();
        exchange.want((1..=5).map(name));
        let all = (1..=5).map(name).collect();
        assert_eq!(exchange.ask(Mono::ZERO), Some(Ask::Names(all)));
        exchange.given(Some(name(4)));
        let rest = vec![name(4), name(5)];
        assert_eq!(exchange.ask(Mono::ZERO), Some(Ask::Names(rest)));
        exchange.given(Some(name(4)));
        assert!(exchange.is_idle(), "the first of them never comes");
    }

    #[test]
    fn a_large_entry_comes_in_parts_that_fit_together() {
        let mut exchange = exchange();
        exchange.want_large([name(7)]);
        let part = |offset, bytes: &[u8]| Part {
            of: PartOf {
                name: name(7),
                offset,
            },
            total: 5,
            bytes: bytes.into(),
        };
        assert!(matches!(exchange.ask(Mono::ZERO), Some(Ask::Part(of)) if of.offset == 0));
        assert_eq!(exchange.take_part(&part(0, b"abc"), 9), None);
        assert_eq!(exchange.take_part(&part(0, b"abc"), 9), None, "again");
        assert_eq!(exchange.take_part(&part(3, b"def"), 9), None, "too long");
        exchange.given(None);
        assert!(matches!(exchange.ask(Mono::ZERO), Some(Ask::Part(of)) if of.offset == 3));
        assert_eq!(
            exchange.take_part(&part(3, b"de"), 9),
            Some(b"abcde".to_vec())
        );
        exchange.given(None);
        assert!(exchange.is_idle());
        // What does not come, or has grown too large, is not asked for for ever.
        exchange.want_large([name(7)]);
        exchange.ask(Mono::ZERO);
        assert_eq!(exchange.take_part(&part(0, b"abcde"), 4), None);
        exchange.given(None);
        assert!(exchange.is_idle());
    }
}
