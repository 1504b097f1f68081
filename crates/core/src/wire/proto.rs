//! Proto: the fields of wire format v1, as they lie in a packet.
//!
//! Protocol Buffers encoding, so that an added field reads both ways: an old
//! node skips it, a new node sees its default. A number once used is never
//! given another meaning. What the fields mean is said at their typed twins
//! in the parent module.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Packet {
    /// First on the wire, by its number; read by hand before all else.
    #[prost(string, tag = "1")]
    pub(super) cluster: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) from: Vec<u8>,
    #[prost(fixed32, optional, tag = "3")]
    pub(super) digest: Option<u32>,
    #[prost(fixed64, optional, tag = "4")]
    pub(super) echo: Option<u64>,
    #[prost(fixed32, optional, tag = "5")]
    pub(super) ping: Option<u32>,
    #[prost(fixed32, optional, tag = "6")]
    pub(super) ack: Option<u32>,
    #[prost(fixed32, optional, tag = "7")]
    pub(super) nack: Option<u32>,
    #[prost(message, optional, tag = "8")]
    pub(super) relay: Option<Relay>,
    #[prost(fixed64, optional, tag = "9")]
    pub(super) challenge: Option<u64>,
    #[prost(uint32, tag = "10")]
    pub(super) greeting: u32,
    #[prost(bytes = "vec", tag = "11")]
    pub(super) seen: Vec<u8>,
    #[prost(message, repeated, tag = "12")]
    pub(super) rumors: Vec<Rumor>,
    #[prost(message, repeated, tag = "13")]
    pub(super) ids: Vec<RumorIds>,
    #[prost(message, repeated, tag = "14")]
    pub(super) pull: Vec<RumorIds>,
    #[prost(message, repeated, tag = "15")]
    pub(super) confirmed: Vec<RumorIds>,
    #[prost(message, repeated, tag = "16")]
    pub(super) member_ranges: Vec<Range>,
    #[prost(message, repeated, tag = "17")]
    pub(super) event_ranges: Vec<Range>,
    #[prost(bytes = "vec", repeated, tag = "18")]
    pub(super) want_members: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "19")]
    pub(super) want_events: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "20")]
    pub(super) members: Vec<MemberRecord>,
    #[prost(message, repeated, tag = "21")]
    pub(super) events: Vec<EventRecord>,
    #[prost(bytes = "vec", repeated, tag = "22")]
    pub(super) large_events: Vec<Vec<u8>>,
    #[prost(message, optional, tag = "23")]
    pub(super) confirm: Option<Confirm>,
    #[prost(message, optional, tag = "24")]
    pub(super) report: Option<Report>,
    #[prost(bytes = "vec", tag = "25")]
    pub(super) forgotten: Vec<u8>,
    #[prost(uint32, tag = "26")]
    pub(super) stream: u32,
    #[prost(message, repeated, tag = "40")]
    pub(super) entry_ranges: Vec<Range>,
    #[prost(bytes = "vec", repeated, tag = "41")]
    pub(super) want_entries: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "42")]
    pub(super) entries: Vec<EntryRecord>,
    #[prost(bytes = "vec", repeated, tag = "43")]
    pub(super) large_entries: Vec<Vec<u8>>,
    #[prost(message, optional, tag = "44")]
    pub(super) want_span: Option<Span>,
    #[prost(message, repeated, tag = "45")]
    pub(super) offers: Vec<Span>,
    #[prost(message, optional, tag = "46")]
    pub(super) given: Option<Given>,
    #[prost(message, optional, tag = "47")]
    pub(super) want_part: Option<PartOf>,
    #[prost(message, optional, tag = "48")]
    pub(super) part: Option<Part>,
    #[prost(uint64, optional, tag = "49")]
    pub(super) clock: Option<u64>,
    #[prost(bytes = "vec", repeated, tag = "50")]
    pub(super) stored: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "51")]
    pub(super) ask_stored: Vec<Vec<u8>>,
    #[prost(message, repeated, tag = "52")]
    pub(super) lost_contacts: Vec<Contact>,
    #[prost(message, optional, tag = "53")]
    pub(super) leader: Option<LeaderNews>,
    #[prost(message, optional, tag = "27")]
    pub(super) examine: Option<Examine>,
    #[prost(message, optional, tag = "28")]
    pub(super) examined: Option<Examined>,
    /// Means nothing: makes the packet as long as it is to be.
    #[prost(bytes = "vec", tag = "29")]
    pub(super) padding: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Examine {
    #[prost(fixed64, tag = "1")]
    pub(super) number: u64,
    #[prost(uint64, tag = "2")]
    pub(super) clock_ms: u64,
    #[prost(fixed64, tag = "3")]
    pub(super) cookie: u64,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) address: Vec<u8>,
    #[prost(uint32, tag = "5")]
    pub(super) way: u32,
    #[prost(uint32, tag = "6")]
    pub(super) wishes: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Examined {
    #[prost(fixed64, tag = "1")]
    pub(super) number: u64,
    #[prost(uint64, tag = "2")]
    pub(super) clock_ms: u64,
    #[prost(uint64, tag = "3")]
    pub(super) asked_ms: u64,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) address: Vec<u8>,
    #[prost(uint32, tag = "5")]
    pub(super) way: u32,
    #[prost(uint32, tag = "6")]
    pub(super) arrived: u32,
    #[prost(uint32, tag = "7")]
    pub(super) links: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Relay {
    #[prost(fixed32, tag = "1")]
    pub(super) seq: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) target: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) address: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Rumor {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) origin: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) run: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub(super) counter: u64,
    #[prost(message, optional, tag = "4")]
    pub(super) alive: Option<MemberInfo>,
    #[prost(message, optional, tag = "5")]
    pub(super) suspect: Option<Subjects>,
    #[prost(message, optional, tag = "6")]
    pub(super) failed: Option<Subjects>,
    #[prost(message, optional, tag = "7")]
    pub(super) left: Option<Subjects>,
    #[prost(message, optional, tag = "8")]
    pub(super) forget: Option<Subjects>,
    #[prost(message, optional, tag = "9")]
    pub(super) event: Option<EventRecord>,
    #[prost(message, optional, tag = "40")]
    pub(super) entries: Option<EntryNews>,
    #[prost(message, optional, tag = "41")]
    pub(super) leader: Option<LeaderNews>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LeaderNews {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) cluster_id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(super) revision: u64,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) leader: Vec<u8>,
    #[prost(uint64, tag = "4")]
    pub(super) term: u64,
    #[prost(uint64, tag = "5")]
    pub(super) elected_at: u64,
    #[prost(uint64, tag = "6")]
    pub(super) view: u64,
    #[prost(bytes = "vec", repeated, tag = "7")]
    pub(super) voters: Vec<Vec<u8>>,
    #[prost(bool, tag = "8")]
    pub(super) ephemeral: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EntryNews {
    #[prost(message, repeated, tag = "1")]
    pub(super) entries: Vec<EntryRecord>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(super) large: Vec<Vec<u8>>,
    #[prost(bool, tag = "3")]
    pub(super) confirm: bool,
}

/// With a value, unless it was deleted (then `value` is absent) or expired.
#[derive(Clone, PartialEq, Message)]
pub(super) struct EntryRecord {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(fixed64, tag = "2")]
    pub(super) timestamp: u64,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) origin: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "4")]
    pub(super) value: Option<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "5")]
    pub(super) content_type: Option<Vec<u8>>,
    #[prost(uint64, tag = "6")]
    pub(super) ttl_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) lo: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) hi: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Given {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) next: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PartOf {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) name: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) offset: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Part {
    #[prost(message, optional, tag = "1")]
    pub(super) of: Option<PartOf>,
    #[prost(uint32, tag = "2")]
    pub(super) total: u32,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) bytes: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Contact {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(super) at_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RumorIds {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) origin: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) run: Vec<u8>,
    #[prost(uint64, repeated, tag = "3")]
    pub(super) counters: Vec<u64>,
    #[prost(uint64, repeated, tag = "4")]
    pub(super) large: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MemberInfo {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) run: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub(super) incarnation: u64,
    #[prost(string, tag = "4")]
    pub(super) name: String,
    #[prost(uint32, tag = "5")]
    pub(super) role: u32,
    #[prost(bytes = "vec", tag = "6")]
    pub(super) address: Vec<u8>,
    #[prost(string, tag = "7")]
    pub(super) version: String,
    #[prost(fixed64, tag = "8")]
    pub(super) cookie: u64,
    #[prost(uint64, tag = "9")]
    pub(super) messages: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MemberRecord {
    #[prost(message, optional, tag = "1")]
    pub(super) info: Option<MemberInfo>,
    #[prost(uint32, tag = "2")]
    pub(super) state: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Subjects {
    #[prost(message, repeated, tag = "1")]
    pub(super) list: Vec<Subject>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Subject {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    pub(super) incarnation: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct EventRecord {
    #[prost(fixed64, tag = "1")]
    pub(super) timestamp: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) origin: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) payload: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Range {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) lo: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) hi: Vec<u8>,
    #[prost(message, optional, tag = "3")]
    pub(super) fingerprint: Option<Fingerprint>,
    /// 24 bytes a key, end to end.
    #[prost(bytes = "vec", tag = "4")]
    pub(super) keys: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Fingerprint {
    #[prost(uint64, tag = "1")]
    pub(super) count: u64,
    #[prost(fixed64, tag = "2")]
    pub(super) sum: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Confirm {
    #[prost(fixed32, tag = "1")]
    pub(super) seq: u32,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) target: Vec<u8>,
    #[prost(uint64, tag = "3")]
    pub(super) incarnation: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Report {
    #[prost(fixed32, tag = "1")]
    pub(super) seq: u32,
    #[prost(uint32, tag = "2")]
    pub(super) verdict: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Beacon {
    #[prost(string, tag = "1")]
    pub(super) cluster: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) address: Vec<u8>,
    #[prost(uint32, tag = "5")]
    pub(super) role: u32,
    #[prost(uint64, tag = "6")]
    pub(super) messages: u64,
    #[prost(fixed64, tag = "7")]
    pub(super) view: u64,
    #[prost(fixed64, optional, tag = "8")]
    pub(super) examination: Option<u64>,
    #[prost(fixed64, optional, tag = "9")]
    pub(super) examined: Option<u64>,
}
