//! Tree: an ordered map that knows the fingerprint of any range of its keys.
//!
//! A B+-tree whose inner nodes keep count and sum of each child: the
//! fingerprint of a range is added up along its two edges, so that comparing
//! two sets of a million keys reads some hundreds of them. The map of the
//! standard library keeps no such sums, and adding up a range key by key
//! would read the whole set for each message.
//!
//! Nodes hold up to 64 items, and are about two thirds full in the long run:
//! a key costs 24 bytes and its value half as much again.

use super::{Fingerprint, Key, LOWEST, Set, predecessor};

/// Items of a node.
const CAP: usize = 64;
/// A node with fewer is joined to its neighbour, if that has room.
const FEW: usize = CAP / 4;
/// Items of a leaf that was filled in order: there is room for some more.
const FILL: usize = CAP * 3 / 4;

/// An ordered map that knows the fingerprint of any range of its keys.
#[derive(Debug)]
pub struct Tree<V> {
    root: Node<V>,
    print: Fingerprint,
}

#[derive(Debug)]
enum Node<V> {
    Leaf(Vec<(Key, V)>),
    Inner(Vec<Child<V>>),
}

#[derive(Debug)]
struct Child<V> {
    /// No key below it is in this child, or the one before it would be meant;
    /// the first child of a node takes what is lower still.
    lo: Key,
    print: Fingerprint,
    node: Node<V>,
}

/// One key becomes another: both, and the fingerprints of each alone.
type Change<'a> = (&'a Key, Key, Fingerprint, Fingerprint);

impl<V> Default for Tree<V> {
    fn default() -> Self {
        Self {
            root: Node::Leaf(Vec::new()),
            print: Fingerprint::default(),
        }
    }
}

impl<V> Tree<V> {
    /// A tree of these items, which ascend by key and are distinct.
    pub fn from_sorted(items: Vec<(Key, V)>) -> Self {
        assert!(
            items.is_sorted_by(|(one, _), (other, _)| one < other),
            "from_sorted is given what is sorted"
        );
        let mut level: Vec<Child<V>> = Vec::new();
        let mut leaf = Vec::new();
        for item in items {
            leaf.push(item);
            if leaf.len() == FILL {
                level.extend(Child::of(Node::Leaf(std::mem::take(&mut leaf))));
            }
        }
        level.extend(Child::of(Node::Leaf(leaf)));
        while level.len() > 1 {
            let mut above = Vec::new();
            let mut inner = Vec::new();
            for child in level {
                inner.push(child);
                if inner.len() == FILL {
                    above.extend(Child::of(Node::Inner(std::mem::take(&mut inner))));
                }
            }
            above.extend(Child::of(Node::Inner(inner)));
            level = above;
        }
        match level.pop() {
            Some(child) => Self {
                root: child.node,
                print: child.print,
            },
            None => Self::default(),
        }
    }

    // --- getters ---

    /// How many keys.
    pub fn len(&self) -> usize {
        self.print.count as usize
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.print.count == 0
    }

    /// Fingerprint of all keys.
    pub fn print(&self) -> Fingerprint {
        self.print
    }

    /// What a key stands for.
    pub fn get(&self, key: &Key) -> Option<&V> {
        let mut node = &self.root;
        loop {
            match node {
                Node::Inner(children) => node = &children[child_of(children, key)].node,
                Node::Leaf(items) => {
                    let place = place_of(items, |(own, _)| own, key).ok()?;
                    return Some(&items[place].1);
                }
            }
        }
    }

    /// The items of a range, both ends included, ascending.
    pub fn range<'a>(&'a self, lo: &Key, hi: &Key) -> impl Iterator<Item = (&'a Key, &'a V)> {
        let mut stack = Vec::new();
        let mut node = &self.root;
        loop {
            match node {
                Node::Inner(children) => {
                    let place = child_of(children, lo);
                    stack.push((node, place + 1));
                    node = &children[place].node;
                }
                Node::Leaf(items) => {
                    stack.push((node, items.partition_point(|(own, _)| own < lo)));
                    break;
                }
            }
        }
        let hi = *hi;
        Items { stack }.take_while(move |(key, _)| **key <= hi)
    }

    // --- changes ---

    /// Adds an item; what the key stood for before, if it was there.
    pub fn insert(&mut self, key: Key, value: V) -> Option<V> {
        let (before, split) = self.root.insert(key, value);
        if before.is_none() {
            self.print.add(&key);
        }
        if let Some(right) = split {
            let left = std::mem::replace(&mut self.root, Node::Inner(Vec::new()));
            let left = Child {
                lo: LOWEST,
                print: left.print(),
                node: left,
            };
            self.root = Node::Inner(vec![left, right]);
        }
        before
    }

    /// An item takes the place of another; what that was, if it was there.
    /// Nothing moves, if no other key lies between the two.
    pub fn replace(&mut self, before: &Key, key: Key, value: V) -> Option<V> {
        let change = (
            before,
            key,
            Fingerprint::of([before]),
            Fingerprint::of([&key]),
        );
        match self.root.replace(change, value) {
            Ok(old) => {
                self.print.part(change.2);
                self.print.join(change.3);
                Some(old)
            }
            Err(value) => {
                let old = self.remove(before);
                self.insert(key, value);
                old
            }
        }
    }

    /// Takes an item away.
    pub fn remove(&mut self, key: &Key) -> Option<V> {
        let before = self.root.remove(key)?;
        self.print.remove(key);
        if let Node::Inner(children) = &mut self.root
            && children.len() == 1
            && let Some(only) = children.pop()
        {
            self.root = only.node;
        }
        Some(before)
    }

    // --- helpers ---

    /// How many keys are below this one.
    fn rank(&self, key: &Key) -> u64 {
        if *key == LOWEST {
            return 0;
        }
        self.fingerprint(&LOWEST, &predecessor(*key)).count
    }
}

impl<V> Set for Tree<V> {
    fn fingerprint(&self, lo: &Key, hi: &Key) -> Fingerprint {
        let mut sum = Fingerprint::default();
        if lo <= hi {
            self.root.add_range(lo, hi, (false, false), &mut sum);
        }
        sum
    }

    fn nth(&self, lo: &Key, hi: &Key, n: usize) -> Option<Key> {
        let mut place = self.rank(lo).saturating_add(n as u64);
        let mut node = &self.root;
        loop {
            match node {
                Node::Inner(children) => {
                    let child = children.iter().find(|child| {
                        let here = place < child.print.count;
                        if !here {
                            place -= child.print.count;
                        }
                        here
                    });
                    node = &child?.node;
                }
                Node::Leaf(items) => {
                    let (key, _) = items.get(place as usize)?;
                    return (key <= hi).then_some(*key);
                }
            }
        }
    }

    fn keys(&self, lo: &Key, hi: &Key) -> impl Iterator<Item = Key> {
        self.range(lo, hi).map(|(key, _)| *key)
    }
}

/// Which child a key belongs to.
fn child_of<V>(children: &[Child<V>], key: &Key) -> usize {
    match place_of(children, |child| &child.lo, key) {
        Ok(place) => place,
        Err(after) => after.saturating_sub(1),
    }
}

/// Where a key is, or where it would have to be. Keys are hashes, so it is
/// nearly where its share of the span says: what lies far from there in
/// memory is not touched, as halving would do. Of keys that are none it is a
/// walk along one node.
fn place_of<T>(items: &[T], key_of: impl Fn(&T) -> &Key, key: &Key) -> Result<usize, usize> {
    let head = |key: &Key| {
        key.first_chunk()
            .map_or(0, |head| u64::from_be_bytes(*head))
    };
    let (Some(first), Some(last)) = (items.first(), items.last()) else {
        return Err(0);
    };
    let last_place = items.len() - 1;
    let lowest = head(key_of(first));
    // Without the lowest bits the product has room.
    let span = head(key_of(last)).saturating_sub(lowest) >> 6;
    let far = head(key).saturating_sub(lowest) >> 6;
    let guess = far.saturating_mul(last_place as u64) / span.max(1);
    let mut place = (guess as usize).min(last_place);
    let order = |place: usize| key_of(&items[place]).cmp(key);
    while place > 0 && order(place).is_gt() {
        place -= 1;
    }
    while place < items.len() && order(place).is_lt() {
        place += 1;
    }
    if place < items.len() && order(place).is_eq() {
        Ok(place)
    } else {
        Err(place)
    }
}

impl<V> Child<V> {
    /// `None` of an empty node.
    fn of(node: Node<V>) -> Option<Self> {
        let lo = match &node {
            Node::Leaf(items) => items.first()?.0,
            Node::Inner(children) => children.first()?.lo,
        };
        Some(Self {
            lo,
            print: node.print(),
            node,
        })
    }
}

impl<V> Node<V> {
    fn len(&self) -> usize {
        match self {
            Node::Leaf(items) => items.len(),
            Node::Inner(children) => children.len(),
        }
    }

    /// Added up from what it holds.
    fn print(&self) -> Fingerprint {
        let mut sum = Fingerprint::default();
        match self {
            Node::Leaf(items) => items.iter().for_each(|(key, _)| sum.add(key)),
            Node::Inner(children) => children.iter().for_each(|child| sum.join(child.print)),
        }
        sum
    }

    /// What the key stood for, and a right half if there was no room.
    fn insert(&mut self, key: Key, value: V) -> (Option<V>, Option<Child<V>>) {
        let before = match self {
            Node::Leaf(items) => match place_of(items, |(own, _)| own, &key) {
                Ok(place) => Some(std::mem::replace(&mut items[place].1, value)),
                Err(place) => {
                    if items.len() == items.capacity() {
                        items.reserve_exact((CAP - items.len()).min(1 + items.len()));
                    }
                    items.insert(place, (key, value));
                    None
                }
            },
            Node::Inner(children) => {
                let place = child_of(children, &key);
                let (before, split) = children[place].node.insert(key, value);
                if before.is_none() {
                    children[place].print.add(&key);
                }
                if let Some(right) = split {
                    children[place].print.part(right.print);
                    children.insert(place + 1, right);
                }
                before
            }
        };
        let right = (self.len() == CAP).then(|| match self {
            Node::Leaf(items) => Node::Leaf(items.split_off(CAP / 2)),
            Node::Inner(children) => Node::Inner(children.split_off(CAP / 2)),
        });
        (before, right.and_then(Child::of))
    }

    /// What an item was before, or the new one back, where the place of the
    /// one is not that of the other.
    fn replace(&mut self, change: Change<'_>, value: V) -> Result<V, V> {
        let (before, key, gone, come) = change;
        match self {
            Node::Leaf(items) => {
                let Ok(place) = place_of(items, |(own, _)| own, before) else {
                    return Err(value);
                };
                let after_others = place == 0 || items[place - 1].0 < key;
                let before_others = items.get(place + 1).is_none_or(|(next, _)| key < *next);
                if !after_others || !before_others {
                    return Err(value);
                }
                let (_, old) = std::mem::replace(&mut items[place], (key, value));
                Ok(old)
            }
            Node::Inner(children) => {
                let place = child_of(children, before);
                if child_of(children, &key) != place {
                    return Err(value);
                }
                let child = &mut children[place];
                let old = child.node.replace(change, value)?;
                child.print.part(gone);
                child.print.join(come);
                Ok(old)
            }
        }
    }

    fn remove(&mut self, key: &Key) -> Option<V> {
        match self {
            Node::Leaf(items) => {
                let place = place_of(items, |(own, _)| own, key).ok()?;
                Some(items.remove(place).1)
            }
            Node::Inner(children) => {
                let place = child_of(children, key);
                let before = children[place].node.remove(key)?;
                children[place].print.remove(key);
                if children[place].node.len() < FEW {
                    join_neighbours(children, place);
                }
                Some(before)
            }
        }
    }

    /// Adds up what lies in the range. `within`: whether all of this node is
    /// known to lie above `lo`, and below `hi`.
    fn add_range(&self, lo: &Key, hi: &Key, within: (bool, bool), sum: &mut Fingerprint) {
        match self {
            Node::Leaf(items) => {
                let start = items.partition_point(|(key, _)| key < lo);
                let end = items.partition_point(|(key, _)| key <= hi);
                items[start..end].iter().for_each(|(key, _)| sum.add(key));
            }
            Node::Inner(children) => {
                let first = if within.0 { 0 } else { child_of(children, lo) };
                let last = if within.1 {
                    children.len() - 1
                } else {
                    child_of(children, hi)
                };
                for (place, child) in children.iter().enumerate().take(last + 1).skip(first) {
                    let within = (within.0 || place > first, within.1 || place < last);
                    if within == (true, true) {
                        sum.join(child.print);
                    } else {
                        child.node.add_range(lo, hi, within, sum);
                    }
                }
            }
        }
    }
}

/// A child has few items left: they move to a neighbour that has room.
fn join_neighbours<V>(children: &mut Vec<Child<V>>, place: usize) {
    let left = place.saturating_sub(1);
    let Some(right) = children.get(left + 1) else {
        return; // the only one; the root drops it
    };
    if children[left].node.len() + right.node.len() >= CAP {
        return;
    }
    let right = children.remove(left + 1);
    children[left].print.join(right.print);
    match (&mut children[left].node, right.node) {
        (Node::Leaf(items), Node::Leaf(more)) => items.extend(more),
        (Node::Inner(own), Node::Inner(more)) => own.extend(more),
        _ => unreachable!("children of one node are of one height"),
    }
}

/// Walks the leaves from left to right.
struct Items<'a, V> {
    /// From the root down: a node, and its next place.
    stack: Vec<(&'a Node<V>, usize)>,
}

impl<'a, V> Iterator for Items<'a, V> {
    type Item = (&'a Key, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (node, place) = self.stack.last_mut()?;
            let (node, at) = (*node, *place);
            *place += 1;
            match node {
                Node::Leaf(items) => match items.get(at) {
                    Some((key, value)) => return Some((key, value)),
                    None => drop(self.stack.pop()),
                },
                Node::Inner(children) => match children.get(at) {
                    Some(child) => self.stack.push((&child.node, 0)),
                    None => drop(self.stack.pop()),
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::HIGHEST;
    use super::*;

    /// A key whose place is not the order in which keys were made.
    fn key(n: u64) -> Key {
        let mut key = [0; 24];
        key[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        key
    }

    fn judge(tree: &Tree<u64>, model: &BTreeMap<Key, u64>, lo: &Key, hi: &Key) {
        let (lo, hi) = (lo.min(hi), lo.max(hi));
        let expected: Vec<_> = model.range(*lo..=*hi).collect();
        let found: Vec<_> = tree.range(lo, hi).collect();
        assert_eq!(found, expected);
        let keys = expected.iter().map(|(key, _)| *key);
        assert_eq!(tree.fingerprint(lo, hi), Fingerprint::of(keys));
        for n in [0, 1, expected.len() / 2, expected.len()] {
            assert_eq!(tree.nth(lo, hi, n), expected.get(n).map(|(key, _)| **key));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn whatever_comes_and_goes_it_is_the_map_with_sums(
            steps in prop::collection::vec((0u64..3_000, 0u8..10), 1..4_000),
            fall in any::<bool>(),
            loaded in 0usize..3_000,
        ) {
            let mut model: BTreeMap<Key, u64> =
                (0..loaded as u64).map(|n| (key(n), n)).collect();
            let mut tree = Tree::from_sorted(model.clone().into_iter().collect());
            // First mostly growing, then mostly shrinking, or the other way round.
            let half = steps.len() / 2;
            for (place, (n, dice)) in steps.iter().enumerate() {
                let grows = if (place < half) == fall { *dice < 2 } else { *dice < 8 };
                if *dice % 3 == 0 && model.contains_key(&key(*n)) {
                    // Near, as the next write of an entry, or far away.
                    let mut to = if *dice < 5 { key(*n) } else { key(n + 1) };
                    to[23] = to[23].wrapping_add(*dice);
                    let old = model.remove(&key(*n));
                    model.insert(to, *n);
                    prop_assert_eq!(tree.replace(&key(*n), to, *n), old);
                } else if grows {
                    prop_assert_eq!(tree.insert(key(*n), *n), model.insert(key(*n), *n));
                } else {
                    prop_assert_eq!(tree.remove(&key(*n)), model.remove(&key(*n)));
                }
            }
            prop_assert_eq!(tree.len(), model.len());
            prop_assert_eq!(tree.print(), Fingerprint::of(model.keys()));
            judge(&tree, &model, &LOWEST, &HIGHEST);
            for (n, _) in steps.iter().take(20) {
                judge(&tree, &model, &key(*n), &key(n.wrapping_add(77)));
                prop_assert_eq!(tree.get(&key(*n)), model.get(&key(*n)));
            }
        }
    }

    #[test]
    fn keys_that_are_no_hashes_are_found_too() {
        let late = |n: u64| {
            let mut key = [7; 24];
            key[16..].copy_from_slice(&n.to_be_bytes());
            key
        };
        let mut tree = Tree::default();
        let mut model = BTreeMap::new();
        for n in (0..1_000).rev().chain(500..1_500) {
            assert_eq!(tree.insert(late(n), n), model.insert(late(n), n));
        }
        judge(&tree, &model, &late(3), &late(1_400));
        for n in 0..1_600 {
            assert_eq!(tree.get(&late(n)), model.get(&late(n)));
            assert_eq!(tree.get(&key(n)), None);
        }
    }

    #[test]
    fn a_tree_that_loses_everything_is_empty() {
        let mut tree = Tree::from_sorted(Vec::new());
        for n in 0..5_000 {
            assert_eq!(tree.insert(key(n), n), None);
        }
        for n in 0..5_000 {
            assert_eq!(tree.remove(&key(n)), Some(n));
        }
        assert!(tree.is_empty());
        assert_eq!(tree.print(), Fingerprint::default());
        assert_eq!(tree.range(&LOWEST, &HIGHEST).count(), 0);
    }
}
