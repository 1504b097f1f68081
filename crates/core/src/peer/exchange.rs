//! Exchange: two nodes whose entries differ find what, and give it to each other.
//!
//! One packet each way tells whether anything differs, and is all that it
//! takes where a few entries do. What needs more goes over a stream: who
//! opens it asks, one thing at a time (see [`Exchange`]), the other answers
//! from what it holds. A node searches with one peer at a time: a newcomer
//! that meets a hundred takes a million entries once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::outbox::Path;
use super::{Peer, StreamId};
use crate::clock::{Mono, Now};
use crate::entries::{Ask, Exchange};
use crate::entry::{Entry, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::id::NodeId;
use crate::reconcile::{self, Fingerprint, HIGHEST, KEYS_MAX, Key, LOWEST, RANGES_MAX, Range};
use crate::reconcile::{RangeBody, Set};
use crate::wire::{self, Contact, Given, NAME_BYTES, Packet, Part, PartOf, Purpose, Span};

/// Exchanges that this node has open.
const EXCHANGES_MAX: usize = 8;
/// Frames of one answer: 256 KiB, a few milliseconds' work.
const ANSWER_FRAMES: usize = 4;
/// Frames that are pushed: whoever wants more asks when it has room.
const PUSHED_FRAMES: usize = 1;
/// Packets of entries in answer to one packet.
const ANSWER_PACKETS: usize = 24;
/// Entries of one frame: a list has at most 1,024 items.
const FRAME_ENTRIES: usize = 1_000;
/// Bytes of a part of a large entry.
const PART_BYTES: usize = 60 * 1024;
/// No large entry's encoding is longer.
const ENCODING_MAX: usize = VALUE_BYTES_MAX + KEY_BYTES_MAX + 1_024;
/// Bytes that may wait to be durable before nothing more is asked for.
const UNSTORED_MAX: u64 = 16 << 20;
/// A reconciliation that was opened is not opened again within this time.
const OPEN_AGAIN: Duration = Duration::from_millis(800);
const OPENED_MAX: usize = 256;
/// Bytes that a contact takes in a list.
const CONTACT_BYTES: usize = 32;

/// All exchanges that this node has open.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    open: BTreeMap<StreamId, Exchange>,
    /// With whom a comparison was begun when, by either side.
    begun: BTreeMap<NodeId, (Mono, bool)>,
}

/// What one message may give, in packets or frames, and where it ended.
struct Load {
    packets: Vec<(Vec<Entry>, Vec<Key>)>,
    next: Option<Key>,
}

impl Exchanges {
    pub(super) fn deadline(&self) -> Option<Mono> {
        self.open.values().filter_map(Exchange::deadline).min()
    }

    /// The stream of one of them is gone.
    pub(super) fn ended(&mut self, stream: StreamId) {
        self.open.remove(&stream);
    }

    fn with(&mut self, peer: NodeId) -> Option<&mut Exchange> {
        self.open
            .values_mut()
            .find(|exchange| exchange.peer() == peer)
    }

    /// Whether another exchange is searching already.
    fn searches_elsewhere(&self, peer: NodeId) -> bool {
        let mut open = self.open.values();
        open.any(|exchange| exchange.peer() != peer && exchange.searches())
    }

    /// Who began to compare with this one just now; `true`: we did.
    fn begun(&self, now: Mono, with: NodeId) -> Option<bool> {
        let (at, by_us) = self.begun.get(&with)?;
        (now < *at + OPEN_AGAIN).then_some(*by_us)
    }

    fn begin(&mut self, now: Mono, with: NodeId, by_us: bool) {
        if self.begun.len() >= OPENED_MAX {
            self.begun.retain(|_, (at, _)| now < *at + OPEN_AGAIN);
        }
        if self.begun.len() < OPENED_MAX {
            self.begun.insert(with, (now, by_us));
        }
    }
}

impl Peer {
    // --- comparing ---

    /// Says what all our entries look like from afar.
    pub(super) fn open_exchange(&mut self, now: Now, with: NodeId) {
        let busy = self.exchanges.searches_elsewhere(with)
            || self.exchanges.begun(now.mono, with).is_some()
            || self.exchanges.with(with).is_some_and(|one| one.searches());
        if busy || !self.shares_with(now, with) {
            return;
        }
        self.exchanges.begin(now.mono, with, true);
        let mut packet = Packet::new(self.config.id);
        packet.entry_ranges.push(self.whole());
        packet.lost_contacts = self.contacts.lost(self.sober_ms(now));
        self.send_to(with, packet);
    }

    /// Everything about entries that a packet or frame says.
    pub(super) fn hear_exchange(&mut self, now: Now, path: Path, from: NodeId, packet: Packet) {
        let asks = !packet.entry_ranges.is_empty()
            || !packet.want_entries.is_empty()
            || packet.want_span.is_some()
            || packet.want_part.is_some();
        let gives = !packet.entries.is_empty()
            || !packet.large_entries.is_empty()
            || !packet.offers.is_empty()
            || packet.part.is_some()
            || packet.given.is_some();
        if !asks && !gives || self.leaving.is_some() || !self.membership.is_live(from) {
            return;
        }
        if let Path::Stream(stream, _) = path
            && let Some(exchange) = self.exchanges.open.get_mut(&stream)
        {
            exchange.heard(now.mono);
            self.use_stream(stream);
        }
        let (own, others): (Vec<Contact>, Vec<Contact>) = packet
            .lost_contacts
            .into_iter()
            .partition(|contact| contact.id == from);
        if let [Contact { at_ms, .. }] = own[..] {
            let now_ms = self.sober_ms(now);
            self.contacts.decided(now_ms, from, at_ms);
        }
        if !self.shares_with(now, from) {
            return;
        }
        for contact in others {
            self.contacts.inherit(contact);
        }
        self.in_contact(now, from);
        for entry in packet.entries {
            self.receive_entry(now, entry, None);
        }
        if let Some(part) = packet.part {
            self.take_part(now, path, &part);
        }
        self.hear_of(now, path, from, packet.large_entries, packet.offers);
        if !packet.entry_ranges.is_empty() {
            let opens = packet.given.is_none() && is_opening(&packet.entry_ranges);
            self.compare(now, path, from, &packet.entry_ranges, opens);
        }
        if !packet.want_entries.is_empty() {
            let names = packet.want_entries.iter().copied().collect();
            self.give_named(now, path, from, names, self.is_answering(path));
        }
        if let Some(span) = packet.want_span
            && self.is_answering(path)
        {
            let items = self.entries.by_name().range(&span.lo, &span.hi);
            let items = items.map(|(name, entry)| (*name, entry));
            let load = self.pack(path, items, ANSWER_FRAMES);
            self.give(now, path, from, load, true);
        }
        if let Some(of) = packet.want_part
            && self.is_answering(path)
        {
            self.give_parts(path, from, of);
        }
        if let (Some(given), Path::Stream(stream, _)) = (packet.given, path)
            && let Some(exchange) = self.exchanges.open.get_mut(&stream)
            && let Some(span) = exchange.given(given.next)
        {
            // It is ours now, too: whatever differs in there still is little.
            let range = self.describe(span);
            if let Some(exchange) = self.exchanges.open.get_mut(&stream) {
                exchange.compare([range]);
            }
        }
    }

    /// Asks what is to be asked now, on all exchanges.
    pub(super) fn tend_exchanges(&mut self, now: Now) {
        let late = |exchange: &Exchange| exchange.deadline().is_some_and(|at| at <= now.mono);
        let open = self.exchanges.open.iter();
        let late: Vec<StreamId> = open
            .filter(|(_, exchange)| late(exchange))
            .map(|(stream, _)| *stream)
            .collect();
        for stream in late {
            self.close(stream);
        }
        if self.writes.bytes() > UNSTORED_MAX || self.is_overfull() {
            return;
        }
        let streams: Vec<StreamId> = self.exchanges.open.keys().copied().collect();
        for stream in streams {
            let Some(exchange) = self.exchanges.open.get_mut(&stream) else {
                continue;
            };
            let peer = exchange.peer();
            if let Some(ask) = exchange.ask(now.mono)
                && let Some(path) = self.use_stream(stream)
            {
                let packet = self.question(ask);
                self.send(path, Some(peer), packet);
            }
        }
    }

    /// A peer offers, or names, what we may lack.
    fn hear_of(&mut self, now: Now, path: Path, from: NodeId, large: Vec<Key>, offers: Vec<Span>) {
        let on_exchange =
            matches!(path, Path::Stream(stream, _) if self.exchanges.open.contains_key(&stream));
        let lacking: Vec<Key> = large.into_iter().filter(|name| self.lacks(name)).collect();
        if !lacking.is_empty() {
            self.ask_for(now, from, |exchange| {
                // Too large for a frame, or only for a packet.
                if on_exchange {
                    exchange.want_large(lacking);
                } else {
                    exchange.want(lacking);
                }
            });
        }
        if !offers.is_empty() && !self.exchanges.searches_elsewhere(from) {
            self.ask_for(now, from, |exchange| {
                offers.into_iter().for_each(|span| exchange.want_span(span));
            });
        }
    }

    /// Ranges arrived: what to give, what to want, what to look at closer.
    fn compare(&mut self, now: Now, path: Path, from: NodeId, ranges: &[Range], opens: bool) {
        let asked_by_us =
            matches!(path, Path::Stream(stream, _) if self.exchanges.open.contains_key(&stream));
        // By packet, or by what stands in for packets.
        let by_packet = !asked_by_us && !self.is_answering(path);
        if by_packet && opens {
            // Both began at once: the lower id's question is answered.
            if self.exchanges.begun(now.mono, from) == Some(true) && self.config.id < from {
                return;
            }
            self.exchanges.begin(now.mono, from, false);
        }
        let elsewhere = self.exchanges.searches_elsewhere(from);
        // Where we have next to nothing and they have much, names would be
        // listed in vain: everything there is wanted.
        let (much, ranges): (Vec<&Range>, Vec<&Range>) =
            ranges.iter().partition(|range| self.lacks_most_of(range));
        let ranges: Vec<Range> = ranges.into_iter().cloned().collect();
        let much: Vec<Span> = much
            .into_iter()
            .map(|Range { lo, hi, .. }| Span { lo: *lo, hi: *hi })
            .collect();
        let answer = reconcile::answer(self.entries.by_name(), &ranges);
        let mut wanted: Vec<Key> = answer.ours_missing;
        wanted.retain(|name| self.lacks(name));

        if !much.is_empty() && !elsewhere {
            self.ask_for(now, from, |exchange| {
                much.into_iter().for_each(|span| exchange.want_span(span));
            });
        }
        let missing = answer.theirs_missing.into_iter().collect();
        self.give_named(now, path, from, missing, false);
        let offers = answer.cut_off.into_iter().map(|(lo, hi)| Span { lo, hi });
        let mut packet = Packet::new(self.config.id);
        packet.offers = offers.collect();
        let bytes: usize = answer.reply.iter().map(wire::range_len).sum();
        if asked_by_us || by_packet && bytes > self.room() {
            if asked_by_us || !elsewhere {
                self.ask_for(now, from, |exchange| {
                    exchange.compare(answer.reply);
                    exchange.want(wanted);
                });
            }
            if !packet.offers.is_empty() {
                self.send(path, Some(from), packet);
            }
            return;
        }
        if by_packet && wanted.len() > KEYS_MAX {
            let named = std::mem::take(&mut wanted);
            self.ask_for(now, from, |exchange| exchange.want(named));
        }
        self.answer_ranges(now, path, from, packet, answer.reply, wanted);
    }

    /// Ranges and wishes in as many messages as it takes; the last one ends
    /// the answer.
    fn answer_ranges(
        &mut self,
        now: Now,
        path: Path,
        to: NodeId,
        mut packet: Packet,
        reply: Vec<Range>,
        wanted: Vec<Key>,
    ) {
        for some in wanted.chunks(self.room_on(path) / NAME_BYTES) {
            let mut wish = Packet::new(self.config.id);
            wish.want_entries = some.to_vec();
            self.send(path, Some(to), wish);
        }
        packet.lost_contacts = self.contacts.lost(self.sober_ms(now));
        let mut used = packet.lost_contacts.len() * CONTACT_BYTES;
        for range in reply {
            let bytes = wire::range_len(&range);
            if used + bytes > self.room_on(path) || packet.entry_ranges.len() == RANGES_MAX {
                let full = std::mem::replace(&mut packet, Packet::new(self.config.id));
                self.send(path, Some(to), full);
                used = 0;
            }
            used += bytes;
            packet.entry_ranges.push(range);
        }
        let says = !packet.entry_ranges.is_empty() || !packet.offers.is_empty();
        if says || self.is_answering(path) {
            // By packet, too: all of one's own is said alike by who answers
            // and by who begins.
            packet.given = Some(Given { next: None });
            self.send(path, Some(to), packet);
        }
    }

    // --- giving ---

    /// Entries by name; what this message has no room for is named or offered.
    fn give_named(
        &mut self,
        now: Now,
        path: Path,
        to: NodeId,
        names: std::collections::BTreeSet<Key>,
        ends: bool,
    ) {
        let entries = &self.entries;
        let items = names
            .iter()
            .filter_map(|name| Some((*name, entries.named(name)?)));
        let frames_max = if ends { ANSWER_FRAMES } else { PUSHED_FRAMES };
        let mut load = self.pack(path, items, frames_max);
        let next = load.next.take_if(|_| !ends);
        if let Some(next) = next {
            let left_out: Vec<Key> = names.range(next..).copied().collect();
            let room = self.room_on(path) / NAME_BYTES;
            if left_out.len() <= room.min(FRAME_ENTRIES) {
                load.packets.push((Vec::new(), left_out));
            } else {
                let mut packet = Packet::new(self.config.id);
                let hi = left_out.last().copied().unwrap_or(next);
                packet.offers.push(Span { lo: next, hi });
                self.send(path, Some(to), packet);
            }
        }
        self.give(now, path, to, load, ends);
    }

    /// Packs what one answer on this path may give.
    fn pack<'a>(
        &self,
        path: Path,
        items: impl Iterator<Item = (Key, &'a Entry)>,
        frames_max: usize,
    ) -> Load {
        let room = self.room_on(path);
        let packets_max = match path {
            Path::Stream(..) => frames_max,
            Path::Packet(_) | Path::Multicast(_) => ANSWER_PACKETS,
        };
        let mut packets: Vec<(Vec<Entry>, Vec<Key>)> = Vec::new();
        let mut used = usize::MAX;
        let mut count = 0;
        for (name, entry) in items {
            let len = wire::entry_len(entry);
            let large = len > room;
            let len = if large { NAME_BYTES } else { len };
            if used.saturating_add(len) > room || count == FRAME_ENTRIES {
                if packets.len() == packets_max {
                    let next = Some(name);
                    return Load { packets, next };
                }
                packets.push((Vec::new(), Vec::new()));
                (used, count) = (0, 0);
            }
            used += len;
            count += 1;
            if let Some((entries, names)) = packets.last_mut() {
                if large {
                    names.push(name);
                } else {
                    entries.push(entry.clone());
                }
            }
        }
        Load {
            packets,
            next: None,
        }
    }

    fn give(&mut self, now: Now, path: Path, to: NodeId, load: Load, ends: bool) {
        for (entries, large) in load.packets {
            let mut packet = Packet::new(self.config.id);
            packet.entries = entries;
            packet.large_entries = large;
            self.send(path, Some(to), packet);
        }
        if ends {
            let mut packet = Packet::new(self.config.id);
            packet.given = Some(Given { next: load.next });
            packet.lost_contacts = self.contacts.lost(self.sober_ms(now));
            self.send(path, Some(to), packet);
        }
    }

    /// Parts of a large entry, from where it is asked for.
    fn give_parts(&mut self, path: Path, to: NodeId, from: PartOf) {
        let encoding = self.entries.named(&from.name).map(wire::encode_entry);
        let encoding = encoding.unwrap_or_default();
        let mut offset = from.offset as usize;
        for _ in 0..ANSWER_FRAMES {
            let Some(rest) = encoding.get(offset..).filter(|rest| !rest.is_empty()) else {
                break;
            };
            let bytes = rest[..rest.len().min(PART_BYTES)].to_vec();
            let mut packet = Packet::new(self.config.id);
            packet.part = Some(Part {
                of: PartOf {
                    name: from.name,
                    offset: offset as u32,
                },
                total: encoding.len() as u32,
                bytes,
            });
            offset += PART_BYTES;
            self.send(path, Some(to), packet);
        }
        let mut packet = Packet::new(self.config.id);
        packet.given = Some(Given { next: None });
        self.send(path, Some(to), packet);
    }

    fn take_part(&mut self, now: Now, path: Path, part: &Part) {
        let Path::Stream(stream, _) = path else {
            return;
        };
        let exchange = self.exchanges.open.get_mut(&stream);
        let whole = exchange.and_then(|exchange| exchange.take_part(part, ENCODING_MAX));
        if let Some(bytes) = whole
            && let Ok(entry) = wire::decode_entry(&bytes)
        {
            self.receive_entry(now, entry, None);
        }
    }

    // --- asking ---

    /// Adds to what a peer is to be asked for, opening an exchange if need be.
    pub(super) fn ask_for(&mut self, now: Now, peer: NodeId, add: impl FnOnce(&mut Exchange)) {
        if let Some(exchange) = self.exchanges.with(peer) {
            return add(exchange);
        }
        if self.exchanges.open.len() >= EXCHANGES_MAX {
            let mut open = self.exchanges.open.iter();
            let idle = open.find(|(_, exchange)| exchange.is_idle());
            let Some(idle) = idle.map(|(stream, _)| *stream) else {
                return; // found again by the next reconciliation
            };
            self.close(idle);
        }
        let Some(entry) = self.membership.table().get(peer) else {
            return;
        };
        let address = entry.info.address;
        let mut exchange = Exchange::with(peer);
        add(&mut exchange);
        let Some(ask) = exchange.ask(now.mono) else {
            return;
        };
        let mut packet = self.question(ask);
        packet.stream = Some(Purpose::Exchange);
        packet.lost_contacts = self.contacts.lost(self.sober_ms(now));
        if let Some(stream) = self.open_stream(address, Some(peer), packet) {
            self.exchanges.open.insert(stream, exchange);
        }
    }

    fn question(&self, ask: Ask) -> Packet {
        let mut packet = Packet::new(self.config.id);
        match ask {
            Ask::Compare(ranges) => packet.entry_ranges = ranges,
            Ask::Names(names) => packet.want_entries = names,
            Ask::Span(span) => packet.want_span = Some(span),
            Ask::Part(part) => packet.want_part = Some(part),
        }
        packet
    }

    // --- helpers ---

    /// Whether what goes out on this path answers somebody's exchange.
    fn is_answering(&self, path: Path) -> bool {
        matches!(path, Path::Stream(stream, _) if self.streams.is_theirs_for(stream, Purpose::Exchange))
    }

    fn whole(&self) -> Range {
        self.describe(Span {
            lo: LOWEST,
            hi: HIGHEST,
        })
    }

    fn describe(&self, Span { lo, hi }: Span) -> Range {
        let print = self.entries.by_name().fingerprint(&lo, &hi);
        let body = RangeBody::Fingerprint(print);
        Range { lo, hi, body }
    }

    fn lacks_most_of(&self, range: &Range) -> bool {
        let RangeBody::Fingerprint(Fingerprint { count, .. }) = range.body else {
            return false;
        };
        count > 4 * KEYS_MAX as u64
            && range.lo <= range.hi
            && self
                .entries
                .by_name()
                .fingerprint(&range.lo, &range.hi)
                .count
                <= KEYS_MAX as u64
    }
}

/// Whether a peer begins to compare, unless it answers.
fn is_opening(ranges: &[Range]) -> bool {
    let [Range { lo, hi, body }] = ranges else {
        return false;
    };
    (*lo, *hi) == (LOWEST, HIGHEST) && matches!(body, RangeBody::Fingerprint(_))
}
