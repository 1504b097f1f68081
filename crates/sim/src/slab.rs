//! Slab: things with short lives, found by number in constant time.
//!
//! A number is a slot and its generation: whoever holds the number of a thing
//! that is gone finds nothing, not what took its slot.

/// A slab.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    slots: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn insert(&mut self, item: T) -> u64 {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push((0, None));
            (self.slots.len() - 1) as u32
        });
        let (generation, place) = &mut self.slots[slot as usize];
        *place = Some(item);
        u64::from(*generation) << 32 | u64::from(slot)
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut T> {
        let (generation, place) = self.slots.get_mut(number as u32 as usize)?;
        place
            .as_mut()
            .filter(|_| u64::from(*generation) == number >> 32)
    }

    pub(crate) fn get(&self, number: u64) -> Option<&T> {
        let (generation, place) = self.slots.get(number as u32 as usize)?;
        place
            .as_ref()
            .filter(|_| u64::from(*generation) == number >> 32)
    }

    pub(crate) fn remove(&mut self, number: u64) -> Option<T> {
        let (generation, place) = self.slots.get_mut(number as u32 as usize)?;
        if u64::from(*generation) != number >> 32 {
            return None;
        }
        let item = place.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push(number as u32);
        Some(item)
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_something_gone_finds_nothing() {
        let mut slab = Slab::new();
        let ann = slab.insert("ann");
        assert_eq!(slab.remove(ann), Some("ann"));
        let bo = slab.insert("bo");
        assert_eq!(slab.get(ann), None);
        assert_eq!(slab.remove(ann), None);
        assert_eq!(slab.get_mut(bo), Some(&mut "bo"));
        assert_eq!(slab.len(), 1);
    }
}
