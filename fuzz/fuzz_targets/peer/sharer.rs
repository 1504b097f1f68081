//! Sharer: the lies of a liar about shared entries.

use std::time::Duration;

use dui_core::reconcile::{Fingerprint, HIGHEST, Key, LOWEST, Range, RangeBody};
use dui_core::wire::{
    self, Body, Contact, EntryNews, Given, ITEMS_MAX, Packet, Part, PartOf, Rumor, Span,
};
use dui_core::{Entry, Timestamp, Version};
use libfuzzer_sys::arbitrary::{self, Arbitrary};

use crate::liar::{Id, Number, rumor};
use crate::story::WALL_MS;

/// One thing that a packet says about entries. Few keys, so that they meet.
#[derive(Arbitrary, Debug)]
pub(crate) enum Share {
    News {
        by: Id,
        counter: Number,
        entries: Vec<Item>,
        large: Vec<Name>,
        confirm: bool,
    },
    Items(Vec<Item>),
    /// Everything, or a part of it.
    Ranges(Vec<Stretch>),
    Want(Vec<Name>),
    Large(Vec<Name>),
    WantSpan(Stretch),
    Offers(Vec<Stretch>),
    Given(Option<Name>),
    WantPart {
        name: Name,
        offset: u32,
    },
    /// Of an entry, in as many parts as it likes.
    Part {
        of: Item,
        start: u16,
        end: u16,
        total: Option<u32>,
    },
    Clock(Number),
    Stored(Vec<Name>),
    AskStored(Vec<Name>),
    Lost {
        whom: Id,
        at: Number,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) struct Item {
    key: u8,
    at: Number,
    origin: Id,
    /// 0: a tombstone.
    value_bytes: u16,
    ttl_ms: u16,
}

/// Of an entry, or of none.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub(crate) enum Name {
    Of(Item),
    Any(u8),
}

#[derive(Arbitrary, Debug)]
pub(crate) struct Stretch {
    /// `None`: the whole space.
    ends: Option<(Name, Name)>,
    print: Option<(u32, u64)>,
    names: Vec<Name>,
}

impl Share {
    pub(crate) fn add_to(self, packet: &mut Packet) {
        match self {
            Share::News {
                by,
                counter,
                entries,
                large,
                confirm,
            } => {
                let news = EntryNews {
                    entries: items(entries),
                    large: names(large),
                    confirm,
                };
                let rumor: Rumor = rumor(by, counter, Body::Entries(news));
                packet.rumors.push(rumor);
            }
            Share::Items(entries) => packet.entries.extend(items(entries)),
            Share::Ranges(ranges) => {
                packet
                    .entry_ranges
                    .extend(ranges.into_iter().map(Stretch::build));
            }
            Share::Want(list) => packet.want_entries.extend(names(list)),
            Share::Large(list) => packet.large_entries.extend(names(list)),
            Share::WantSpan(span) => packet.want_span = Some(span.span()),
            Share::Offers(spans) => {
                packet.offers.extend(spans.iter().map(Stretch::span));
            }
            Share::Given(next) => {
                let next = next.map(Name::build);
                packet.given = Some(Given { next });
            }
            Share::WantPart { name, offset } => {
                let name = name.build();
                packet.want_part = Some(PartOf { name, offset });
            }
            Share::Part {
                of,
                start,
                end,
                total,
            } => {
                let entry = of.build();
                let encoding = wire::encode_entry(&entry);
                let end = usize::from(end).min(encoding.len());
                let start = usize::from(start).min(end);
                packet.part = Some(Part {
                    of: PartOf {
                        name: entry.name(),
                        offset: start as u32,
                    },
                    total: total.unwrap_or(encoding.len() as u32),
                    bytes: encoding[start..end].to_vec(),
                });
            }
            Share::Clock(at) => packet.clock = Some(at.get()),
            Share::Stored(list) => packet.stored.extend(names(list)),
            Share::AskStored(list) => packet.ask_stored.extend(names(list)),
            Share::Lost { whom, at } => {
                let at_ms = at.get();
                packet.lost_contacts.push(Contact {
                    id: whom.id(),
                    at_ms,
                });
            }
        }
    }
}

impl Item {
    fn build(self) -> Entry {
        let ms = match self.at {
            Number::Now(_) => self.at.get(),
            Number::Small(n) => WALL_MS - u64::from(n),
            Number::Any(n) => n >> 16,
        };
        let version = Version {
            timestamp: Timestamp::from_ms(ms),
            origin: self.origin.id(),
        };
        let key = format!("k{}", self.key % 32);
        if self.value_bytes == 0 {
            return Entry::tombstone(&key, version);
        }
        let ttl = u64::from(self.ttl_ms);
        let ttl = (ttl > 0).then(|| Duration::from_millis(ttl));
        let value = vec![b'l'; usize::from(self.value_bytes)];
        Entry::value_of(&key, version, &value, None, ttl)
    }
}

impl Name {
    fn build(self) -> Key {
        match self {
            Name::Of(item) => item.build().name(),
            Name::Any(n) => [n; 24],
        }
    }
}

impl Stretch {
    fn span(&self) -> Span {
        let (lo, hi) = self
            .ends
            .map_or((LOWEST, HIGHEST), |(lo, hi)| (lo.build(), hi.build()));
        Span { lo, hi }
    }

    fn build(self) -> Range {
        let Span { lo, hi } = self.span();
        let body = match self.print {
            Some((count, sum)) => RangeBody::Fingerprint(Fingerprint {
                count: count.into(),
                sum,
            }),
            None => RangeBody::Keys(names(self.names)),
        };
        Range { lo, hi, body }
    }
}

fn items(list: Vec<Item>) -> Vec<Entry> {
    let some = list.into_iter().take(ITEMS_MAX);
    some.map(Item::build).collect()
}

fn names(list: Vec<Name>) -> Vec<Key> {
    list.into_iter().map(Name::build).collect()
}
