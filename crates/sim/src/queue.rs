//! Queue: what happens next, in the order of (time, when it was planned).
//!
//! The heap moves small keys; what they stand for stays where it is. Two
//! things at one time happen in the order in which they were planned, so the
//! order never depends on the heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::slab::Slab;

/// Time in ns since the world began.
pub(crate) type Ns = u64;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    at: Ns,
    serial: u64,
    item: u64,
}

/// Things to come.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Key>>,
    items: Slab<T>,
    serial: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            items: Slab::new(),
            serial: 0,
        }
    }

    pub(crate) fn push(&mut self, at: Ns, item: T) {
        self.serial += 1;
        let item = self.items.insert(item);
        let serial = self.serial;
        self.heap.push(Reverse(Key { at, serial, item }));
    }

    pub(crate) fn next_at(&self) -> Option<Ns> {
        self.heap.peek().map(|Reverse(key)| key.at)
    }

    pub(crate) fn pop(&mut self) -> Option<(Ns, T)> {
        let Reverse(key) = self.heap.pop()?;
        let item = self.items.remove(key.item);
        Some((key.at, item.expect("each key has its item")))
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_one_time_first_planned_is_first_done() {
        let mut queue = Queue::new();
        for (at, what) in [(5, "c"), (3, "a"), (5, "d"), (3, "b")] {
            queue.push(at, what);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [(3, "a"), (3, "b"), (5, "c"), (5, "d")]);
        assert_eq!((queue.len(), queue.next_at()), (0, None));
    }
}
