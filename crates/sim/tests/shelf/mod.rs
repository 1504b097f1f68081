//! Shelf: words for stories about shared entries.

#![allow(dead_code, clippy::unwrap_used, unreachable_pub)] // each test file uses a part of it

use dui_core::{Acks, Change, EntryKey, Event, PendingWrite, SharedInfo, Write};
use dui_sim::{Host, Town};

pub fn key(key: &str) -> EntryKey {
    EntryKey::new(key).unwrap()
}

pub fn put(town: &mut Town, name: &str, on: &str, value: &str) -> PendingWrite {
    put_with(town, name, on, value, Acks::Here)
}

pub fn put_with(town: &mut Town, name: &str, on: &str, value: &str, acks: Acks) -> PendingWrite {
    let key = key(name);
    town.with(on, |peer, now| {
        let write = Write::put(&key, value.as_bytes());
        peer.write(now, write, acks).unwrap()
    })
}

pub fn delete(town: &mut Town, name: &str, on: &str) -> Option<PendingWrite> {
    let key = key(name);
    town.with(on, |peer, now| peer.delete(now, &key, Acks::Here).unwrap())
}

/// Many small entries at once.
pub fn fill(town: &mut Town, on: &str, entries: usize, value_bytes: usize) {
    let keys: Vec<EntryKey> = (0..entries)
        .map(|n| key(&format!("filled/{n:08}")))
        .collect();
    let value = vec![b'v'; value_bytes];
    let writes = keys.iter().map(|key| (Write::put(key, &value), Acks::Here));
    for result in town.with(on, |peer, now| peer.write_all(now, writes)) {
        result.unwrap();
    }
}

/// What `on` reads.
pub fn get(town: &mut Town, name: &str, on: &str) -> Option<String> {
    town.with(on, |peer, now| {
        let entry = peer.entry(now, name)?;
        Some(String::from_utf8(entry.value().to_vec()).unwrap())
    })
}

/// What `on` reads, between two things that happen.
pub fn read(town: &Town, on: &str, name: &str) -> Option<String> {
    let entry = town
        .peer(on)
        .entry(town.resident(on).now(town.now()), name)?;
    Some(String::from_utf8(entry.value().to_vec()).unwrap())
}

pub fn shared(town: &Town, on: &str) -> SharedInfo {
    town.peer(on).shared(town.resident(on).now(town.now()))
}

/// Whether all of these hold the same entries.
pub fn equal(town: &Town, names: &[&str]) -> bool {
    let state = |name: &&str| {
        let shared = shared(town, name);
        (shared.fingerprint, shared.entries, shared.tombstones)
    };
    let mut states = names.iter().map(state);
    let first = states.next();
    states.all(|state| Some(state) == first)
}

pub fn changes(town: &Town, on: &str) -> Vec<(Change, String)> {
    let told = town.events(on).iter();
    told.filter_map(|(_, event)| match event {
        Event::SharedChanged { change, entry } => Some((*change, entry.key().to_owned())),
        _ => None,
    })
    .collect()
}

/// How a write went: whether there was a value before, and how many hold it.
pub fn written(
    town: &Town,
    on: &str,
    write: PendingWrite,
) -> Option<Result<(bool, usize), String>> {
    let place = town.place(on);
    let mut deeds = town.world.deeds.iter();
    let deed = deeds.find(|deed| deed.place == place && deed.ticket == write.ticket)?;
    Some(match &deed.result {
        Ok(written) => Ok((written.existed, written.acked)),
        Err(lost) => Err(lost.reason.clone()),
    })
}

pub fn host<'a>(town: &'a mut Town, name: &str) -> &'a mut Host {
    let place = town.place(name);
    town.world.host_mut(place)
}
