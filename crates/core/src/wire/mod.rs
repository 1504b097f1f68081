//! Wire: what peers say to one another, typed, bounded and versioned.
//!
//! A [`Packet`] is what lies inside the seal, on a socket or as a frame of a
//! stream; a [`Beacon`] is what lies inside it on the discovery sockets. The
//! cluster name is compared first, before anything else is parsed, so that a
//! stranger's packet costs one comparison. What decodes is valid: ids have
//! 16 bytes, names are names, every list has a bound.

mod decode;
mod encode;
mod examine;
mod proto;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::entry::Entry;
use crate::id::{ClusterName, Incarnation, MessageCounter, NodeId, NodeName, RunId};
use crate::reconcile::{Key, Range};
use crate::types::{LeaderNews, Role, UserEvent};

pub(crate) use decode::valid_event_name;
pub use decode::{DecodeError, decode_entry};
pub use encode::{NAME_BYTES, RUMOR_BYTES, encode_entry, entry_len, event_len, range_len};
pub use examine::{Examine, Examined, Way, Ways, Wishes};

/// Largest packet in bytes, seal included: passes every path MTU from 1,280 up.
pub const PACKET_BYTES_MAX: usize = 1_200;
/// Largest frame of a stream in bytes: sealed by the shell it is one Noise message.
pub const FRAME_BYTES_MAX: usize = 65_535 - 16;
/// Most items of one kind in a packet or frame.
pub const ITEMS_MAX: usize = 1_024;
/// Largest payload of a user event in bytes.
pub const EVENT_PAYLOAD_BYTES_MAX: usize = 8 * 1024;
/// Longest name of a user event in bytes.
pub const EVENT_NAME_BYTES_MAX: usize = 128;
/// Longest version text in bytes.
pub const VERSION_BYTES_MAX: usize = 32;

/// Everything one peer says to another at once. Absent parts cost no bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// Who speaks.
    pub from: NodeId,
    /// Only the first half of `from` is said, and the other half is zero here:
    /// enough among members, on what each of them says every second.
    pub brief: bool,
    /// Of the sender's view and event log, see [`digest`]: on probes and acks.
    pub digest: Option<u32>,
    /// The receiver's cookie: proves that this packet was made for its present run.
    pub echo: Option<u64>,
    /// A probe: its number is echoed by the ack; random, so that nobody else
    /// can guess it. Whoever has the address now answers, under its own id.
    pub ping: Option<u32>,
    /// Answers the ping of this number.
    pub ack: Option<u32>,
    /// The relay of this number had no answer from its target yet.
    pub nack: Option<u32>,
    /// Asks to probe somebody else (SWIM's ping-req).
    pub relay: Option<Relay>,
    /// The sender's cookie, to be echoed by who wants to be believed.
    pub challenge: Option<u64>,
    /// What the sender wants of a first contact.
    pub greeting: Option<Greeting>,
    /// The receiver's address as the sender sees it.
    pub seen: Option<SocketAddr>,
    /// Rumors in full.
    pub rumors: Vec<Rumor>,
    /// Digest: ids of rumors that the sender holds.
    pub ids: Vec<RumorIds>,
    /// Asks for rumors by id.
    pub pull: Vec<RumorIds>,
    /// Confirms that these rumors arrived (a leaver waits for it).
    pub confirmed: Vec<RumorIds>,
    /// Reconciliation of the member view.
    pub member_ranges: Vec<Range>,
    /// Reconciliation of the event log.
    pub event_ranges: Vec<Range>,
    /// Members the sender lacks.
    pub want_members: Vec<Key>,
    /// Events the sender lacks.
    pub want_events: Vec<Key>,
    /// Members as the sender sees them.
    pub members: Vec<MemberRecord>,
    /// Events that the receiver lacks.
    pub events: Vec<UserEvent>,
    /// Events that the receiver lacks and that need a stream.
    pub large_events: Vec<Key>,
    /// Asks whether somebody has crashed.
    pub confirm: Option<Confirm>,
    /// Answers a confirm.
    pub report: Option<Report>,
    /// This id was removed for good: bad news, if it is the receiver's.
    pub forgotten: Option<NodeId>,
    /// What the stream that carries this frame is for.
    pub stream: Option<Purpose>,
    /// Reconciliation of shared entries, by [name](Entry::name).
    pub entry_ranges: Vec<Range>,
    /// Entries the sender lacks.
    pub want_entries: Vec<Key>,
    /// Entries that the receiver lacks.
    pub entries: Vec<Entry>,
    /// Entries that the receiver lacks: too large for this packet, which
    /// takes a stream, or for this frame, which takes parts.
    pub large_entries: Vec<Key>,
    /// The sender wants everything in this range: it has next to nothing there.
    pub want_span: Option<Span>,
    /// The receiver lacks much in these ranges: it may want them.
    pub offers: Vec<Span>,
    /// Ends the answer to what was asked on an exchange.
    pub given: Option<Given>,
    /// Asks for a large entry from here on.
    pub want_part: Option<PartOf>,
    /// A part of a large entry.
    pub part: Option<Part>,
    /// The sender's wall clock, ms since the Unix epoch: now and then.
    pub clock: Option<u64>,
    /// Writes of the receiver that the sender holds durably.
    pub stored: Vec<Key>,
    /// Asks whether these writes are held durably.
    pub ask_stored: Vec<Key>,
    /// Whom the sender had no contact with for long, and when it had.
    pub lost_contacts: Vec<Contact>,
    /// What the managers agreed on, as far as the sender knows: where two
    /// begin to compare.
    pub leader: Option<LeaderNews>,
    /// Asks what gets through between the two.
    pub examine: Option<Examine>,
    /// Answers that.
    pub examined: Option<Examined>,
    /// Bytes added to make the packet longer: whether long ones get through.
    pub padding: usize,
}

impl Packet {
    /// A packet that says nothing yet.
    pub fn new(from: NodeId) -> Self {
        Self {
            from,
            brief: false,
            digest: None,
            echo: None,
            ping: None,
            ack: None,
            nack: None,
            relay: None,
            challenge: None,
            greeting: None,
            seen: None,
            rumors: Vec::new(),
            ids: Vec::new(),
            pull: Vec::new(),
            confirmed: Vec::new(),
            member_ranges: Vec::new(),
            event_ranges: Vec::new(),
            want_members: Vec::new(),
            want_events: Vec::new(),
            members: Vec::new(),
            events: Vec::new(),
            large_events: Vec::new(),
            confirm: None,
            report: None,
            forgotten: None,
            stream: None,
            entry_ranges: Vec::new(),
            want_entries: Vec::new(),
            entries: Vec::new(),
            large_entries: Vec::new(),
            want_span: None,
            offers: Vec::new(),
            given: None,
            want_part: None,
            part: None,
            clock: None,
            stored: Vec::new(),
            ask_stored: Vec::new(),
            lost_contacts: Vec::new(),
            leader: None,
            examine: None,
            examined: None,
            padding: 0,
        }
    }

    /// Fills the packet up to this many bytes inside the seal, or leaves it
    /// as it is if it has more.
    pub fn pad(&mut self, cluster: &ClusterName, bytes: usize) {
        /// Field number and length of the padding.
        const HEAD_BYTES: usize = 4;
        self.padding = 0;
        let missing = bytes.saturating_sub(self.encode(cluster).len());
        self.padding = missing.saturating_sub(HEAD_BYTES);
    }
}

/// Bytes of an id that a brief packet says.
const BRIEF_ID_BYTES: usize = 8;

/// What two peers compare instead of what they know: 32 bits of its
/// fingerprint, mixed with the number of the ping or ack that carries them
/// (0 for other packets). A difference that one probe fails to show, once in
/// 2^32, the next one shows.
pub fn digest(fingerprint: u64, seq: u32) -> u32 {
    // The finalizer of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
    let mut mixed = fingerprint ^ u64::from(seq).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) as u32
}

/// Asks to probe `target` on the sender's behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relay {
    /// The number the ack must carry.
    pub seq: u32,
    /// Who.
    pub target: NodeId,
    /// Where.
    pub address: SocketAddr,
}

/// What a first contact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    /// "Here I am, who else is there?"
    Hello,
    /// The answer to it: some members, and the digest to compare with.
    Welcome,
}

/// One fact being spread.
#[derive(Clone, Debug, PartialEq)]
pub struct Rumor {
    /// Its name.
    pub id: RumorId,
    /// What it says.
    pub body: Body,
}

/// Names a rumor. The counter starts anew with each run, so it alone names nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RumorId {
    /// Who said it first.
    pub origin: NodeId,
    /// In which process.
    pub run: RunId,
    /// As its how-many-eth.
    pub counter: MessageCounter,
}

/// What a rumor says.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// "I am here": only ever said by the member itself.
    Alive(MemberInfo),
    /// Members that did not answer the origin.
    Suspect(Vec<Subject>),
    /// Members that the origin holds dead.
    Failed(Vec<Subject>),
    /// "So Long and Thanks for All the Fish": said by the member itself.
    Left(Subject),
    /// An operator removes a member for good.
    Forget(Subject),
    /// A user event.
    Event(UserEvent),
    /// Shared entries that were written just now.
    Entries(EntryNews),
    /// What the managers agreed on: said by whoever learned it otherwise.
    Leader(LeaderNews),
}

/// Shared entries that were written just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryNews {
    /// In full.
    pub entries: Vec<Entry>,
    /// By name, because they need a stream: whoever passes this on has them.
    pub large: Vec<Key>,
    /// The origin waits to hear who holds them durably.
    pub confirm: bool,
}

/// A range of names, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The lowest.
    pub lo: Key,
    /// The highest.
    pub hi: Key,
}

/// Ends an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// There is more, from this name on: ask again.
    pub next: Option<Key>,
}

/// A place in the encoding of a large entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartOf {
    /// Which entry.
    pub name: Key,
    /// Bytes before this place.
    pub offset: u32,
}

/// A part of the [encoding](encode_entry) of a large entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it belongs.
    pub of: PartOf,
    /// Bytes of the whole encoding.
    pub total: u32,
    /// The part.
    pub bytes: Vec<u8>,
}

/// When there was contact with somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact {
    /// With whom.
    pub id: NodeId,
    /// When, ms of the hybrid clock.
    pub at_ms: u64,
}

/// A member in one of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    /// Who.
    pub id: NodeId,
    /// In which incarnation.
    pub incarnation: Incarnation,
}

/// Ids of rumors of one origin and run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RumorIds {
    /// Who said them first.
    pub origin: NodeId,
    /// In which process.
    pub run: RunId,
    /// Counters of rumors that fit a packet.
    pub counters: Vec<MessageCounter>,
    /// Counters of rumors that need a stream.
    pub large: Vec<MessageCounter>,
}

/// What a member says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// Who.
    pub id: NodeId,
    /// Which process.
    pub run: RunId,
    /// Orders what is said about the id.
    pub incarnation: Incarnation,
    /// A label for people.
    pub name: NodeName,
    /// Manager or worker.
    pub role: Role,
    /// Peer address.
    pub address: SocketAddr,
    /// dui version, at most 32 bytes.
    pub version: Arc<str>,
    /// What a first packet to it has to echo; 0 in clusters without a key.
    pub cookie: u64,
    /// Its message counter when this was said.
    pub messages: MessageCounter,
}

/// A member as the sender sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRecord {
    /// What it said about itself.
    pub info: MemberInfo,
    /// What the sender believes.
    pub state: crate::types::MemberState,
}

/// Asks to find out whether a member has crashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// The number the report must carry.
    pub seq: u32,
    /// In question.
    pub subject: Subject,
}

/// Answers a [`Confirm`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// As asked.
    pub seq: u32,
    /// What was found.
    pub verdict: Verdict,
}

/// What somebody found who was asked about a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It answered: no crash.
    Answered,
    /// Its address itself refused (port unreachable, TCP reset).
    Refused,
    /// The reporter's own stream to it ended and a direct probe had no answer.
    StreamLost,
    /// No answer, no other evidence: proves nothing.
    Silent,
}

/// What a stream is for: said in its first frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Idle; its end is evidence of a crash.
    Ring,
    /// One ping, one ack.
    Probe,
    /// Rumors and events too large for a packet.
    Bulk,
    /// "I am closing this in good health."
    Goodbye,
    /// What would go by packet, to a peer whom packets do not reach.
    Detour,
    /// Shared entries: the opener asks, one thing at a time.
    Exchange,
    /// Finding out what gets through.
    Examine,
}

/// "Here I am", by multicast or broadcast.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Beacon {
    /// Who.
    pub id: NodeId,
    /// A label for people.
    pub name: NodeName,
    /// Where to answer: the peer address, not the source of the beacon.
    pub address: SocketAddr,
    /// Manager or worker.
    pub role: Role,
    /// Its message counter.
    pub messages: MessageCounter,
    /// Fingerprint of its member view.
    pub view: u64,
    /// Sent by whoever examines under this number, to know who hears it.
    pub examination: Option<u64>,
    /// Sent because somebody who examines under this number asked for it.
    pub examined: Option<u64>,
}

/// The ordered key of a member in a reconciliation: id, then incarnation.
pub fn member_key(subject: Subject) -> Key {
    let mut key = [0; 24];
    key[..16].copy_from_slice(&subject.id.to_bytes());
    key[16..].copy_from_slice(&subject.incarnation.0.to_be_bytes());
    key
}

/// The member that a reconciliation key names.
pub fn member_of_key(key: &Key) -> Subject {
    let (id, incarnation) = key.split_at(16);
    Subject {
        id: NodeId::from_slice(id).expect("split at 16 leaves 16 bytes"),
        incarnation: Incarnation(u64::from_be_bytes(
            incarnation.try_into().expect("24 - 16 leaves 8 bytes"),
        )),
    }
}

/// The ordered key of an event in a reconciliation: timestamp, then origin.
pub fn event_key(timestamp: Timestamp, origin: NodeId) -> Key {
    let mut key = [0; 24];
    key[..8].copy_from_slice(&timestamp.0.to_be_bytes());
    key[8..].copy_from_slice(&origin.to_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::digest;

    /// Two fingerprints that one probe cannot tell apart, found by search.
    #[test]
    fn a_difference_that_one_probe_hides_the_next_one_shows() {
        let (one, other) = (1..)
            .scan(std::collections::BTreeMap::new(), |seen, print: u64| {
                let twin = seen.insert(digest(print, 7), print);
                Some((twin, print))
            })
            .find_map(|(twin, print)| Some((twin?, print)))
            .expect("among 2^17 some share 32 bits");
        assert_eq!(digest(one, 7), digest(other, 7));
        assert_ne!(digest(one, 8), digest(other, 8));
    }
}
