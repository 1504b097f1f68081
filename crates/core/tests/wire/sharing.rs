//! What peers say about shared entries: examples, and anything at all.

use std::time::Duration;

use crate::messages::{ANN, ANNS_RUN, CY, Message, packet};
use dui_core::reconcile::{Fingerprint, HIGHEST, Key, LOWEST, Range, RangeBody};
use dui_core::wire::{
    self, Body, Contact, EntryNews, Given, Packet, Part, PartOf, Purpose, Rumor, RumorId, Span,
};
use dui_core::{Entry, MessageCounter, NodeId, Timestamp, Version};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

const WRITTEN: Timestamp = Timestamp(1_700_000_000_000 << 16 | 1);

fn value() -> Entry {
    let ttl = Some(Duration::from_secs(60));
    Entry::value_of(
        "colour/sky",
        version(),
        b"blue \xff",
        Some(b"text/plain"),
        ttl,
    )
}

fn version() -> Version {
    Version {
        timestamp: WRITTEN,
        origin: ANN,
    }
}

/// What is written down of them.
pub(crate) fn messages() -> Vec<Message> {
    let (name, tombstone) = (value().name(), Entry::tombstone("colour/sea", version()));
    let rumor = |body| Rumor {
        id: RumorId {
            origin: ANN,
            run: ANNS_RUN,
            counter: MessageCounter(5),
        },
        body: Body::Entries(body),
    };
    vec![
        packet(
            "rumor: entries",
            "Ann wrote one entry, deleted another, and waits to hear who holds that.",
            |p| {
                p.rumors = vec![rumor(EntryNews {
                    entries: vec![value(), tombstone],
                    large: Vec::new(),
                    confirm: true,
                })];
            },
        ),
        packet(
            "rumor: large entry",
            "Ann wrote an entry that takes a stream: ask for it by its name.",
            |p| {
                p.rumors = vec![rumor(EntryNews {
                    entries: Vec::new(),
                    large: vec![name],
                    confirm: false,
                })];
            },
        ),
        packet(
            "entry ranges",
            "All that ann holds, from afar; and since when she has lost cy.",
            |p| {
                let (count, sum) = (1_000_000, 0x5a5b_5c5d_5e5f_6061);
                p.entry_ranges = vec![Range {
                    lo: LOWEST,
                    hi: HIGHEST,
                    body: RangeBody::Fingerprint(Fingerprint { count, sum }),
                }];
                p.lost_contacts = vec![Contact {
                    id: CY,
                    at_ms: 1_700_000_000_000,
                }];
            },
        ),
        packet("want entries", "Ann lacks this one.", |p| {
            p.want_entries = vec![name];
            p.stream = Some(Purpose::Exchange);
        }),
        packet(
            "entries",
            "Here is one that has expired, and the name of one that takes parts.",
            |p| {
                p.entries = vec![value().expired()];
                p.large_entries = vec![name];
            },
        ),
        packet("want span", "Ann lacks nearly everything in here.", |p| {
            p.want_span = Some(Span {
                lo: LOWEST,
                hi: name,
            });
        }),
        packet("offers", "Bo lacks much in there.", |p| {
            p.offers = vec![Span {
                lo: name,
                hi: HIGHEST,
            }];
        }),
        packet("given", "That was it for now: ask on from here.", |p| {
            p.given = Some(Given { next: Some(name) });
        }),
        packet("given all", "That was it.", |p| {
            p.given = Some(Given { next: None });
        }),
        packet("want part", "Ann has 61,440 bytes of it.", |p| {
            let offset = 61_440;
            p.want_part = Some(PartOf { name, offset });
        }),
        packet("part", "Its last bytes.", |p| {
            let offset = 61_440;
            p.part = Some(Part {
                of: PartOf { name, offset },
                total: 61_443,
                bytes: b"end".into(),
            });
        }),
        packet("clock", "An ack that tells ann's wall clock.", |p| {
            p.ack = Some(8);
            p.clock = Some(1_700_000_000_000);
        }),
        packet(
            "stored",
            "Ann holds this write of bo's durably, and asks about one of hers.",
            |p| {
                p.stored = vec![name];
                p.ask_stored = vec![name];
            },
        ),
        packet("stream: exchange", "Ann asks, bo answers.", |p| {
            p.stream = Some(Purpose::Exchange);
        }),
    ]
}

proptest! {
    #[test]
    fn an_entry_is_no_longer_than_told(entry in any_entry()) {
        let empty = Packet::new(ANN).encode(&crate::messages::cluster()).len();
        let told = wire::entry_len(&entry);
        let mut alone = Packet::new(ANN);
        alone.entries.push(entry.clone());
        let bytes = alone.encode(&crate::messages::cluster()).len();
        prop_assert!(bytes <= empty + told);
        prop_assert!(empty + told <= bytes + 24, "nor much shorter: {told}");
        let parts = wire::encode_entry(&entry);
        prop_assert_eq!(wire::decode_entry(&parts), Ok(entry));
    }
}

/// A packet to which anything is added about entries.
pub(crate) fn any_sharing() -> impl Strategy<Value = Packet> {
    let names = || vec(any::<Key>(), 0..4);
    let span = || (any::<Key>(), any::<Key>()).prop_map(|(lo, hi)| Span { lo, hi });
    let part_of =
        || (any::<Key>(), any::<u32>()).prop_map(|(name, offset)| PartOf { name, offset });
    let part = (part_of(), any::<u32>(), vec(any::<u8>(), 0..40));
    let contact = (any::<u128>(), any::<u64>()).prop_map(|(id, at_ms)| Contact {
        id: NodeId(id),
        at_ms,
    });
    let given = of(any::<Key>()).prop_map(|next| Given { next });
    (
        (vec(any_entry(), 0..4), names(), names()),
        (of(span()), vec(span(), 0..3), of(given)),
        (of(part_of()), of(part)),
        (of(any::<u64>()), names(), names(), vec(contact, 0..3)),
    )
        .prop_map(|(entries, spans, parts, rest)| {
            let mut packet = Packet::new(ANN);
            (packet.entries, packet.want_entries, packet.large_entries) = entries;
            (packet.want_span, packet.offers, packet.given) = spans;
            packet.want_part = parts.0;
            packet.part = parts.1.map(|(of, total, bytes)| Part { of, total, bytes });
            (
                packet.clock,
                packet.stored,
                packet.ask_stored,
                packet.lost_contacts,
            ) = rest;
            packet
        })
}

pub(crate) fn any_news() -> impl Strategy<Value = EntryNews> {
    let parts = (
        vec(any_entry(), 0..4),
        vec(any::<Key>(), 0..4),
        any::<bool>(),
    );
    parts.prop_map(|(entries, large, confirm)| EntryNews {
        entries,
        large,
        confirm,
    })
}

fn any_entry() -> impl Strategy<Value = Entry> {
    let version = (any::<u64>(), any::<u128>()).prop_map(|(timestamp, origin)| Version {
        timestamp: Timestamp(timestamp),
        origin: NodeId(origin),
    });
    let ttl = || (1u64..u64::MAX).prop_map(Duration::from_millis);
    let written = (
        vec(any::<u8>(), 0..100),
        of(vec(any::<u8>(), 0..=254)),
        of(ttl()),
    );
    let left = prop_oneof![
        4 => written.prop_map(Some),
        1 => Just(None),
    ];
    let expired = any::<bool>();
    ("\\PC{1,60}", version, left, expired).prop_map(|(key, version, left, expired)| match left {
        None => Entry::tombstone(&key, version),
        Some((value, content_type, ttl)) => {
            let entry = Entry::value_of(&key, version, &value, content_type.as_deref(), ttl);
            if expired && ttl.is_some() {
                entry.expired()
            } else {
                entry
            }
        }
    })
}
