//! Decode: bytes to typed messages, refusing what no peer of ours would send.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use prost::Message;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use super::{BRIEF_ID_BYTES, ITEMS_MAX, MemberInfo, MemberRecord, Packet, Purpose, Relay, Report};
use super::{Beacon, Body, Confirm, EVENT_NAME_BYTES_MAX, EVENT_PAYLOAD_BYTES_MAX, Greeting};
use super::{Contact, EntryNews, Given, Part, PartOf, Span};
use super::{Examine, Examined, Way, Ways, Wishes};
use super::{Rumor, RumorId, RumorIds, Subject, VERSION_BYTES_MAX, Verdict, proto};
use crate::clock::Timestamp;
use crate::entry::{CONTENT_TYPE_BYTES_MAX, Entry, EntryKey, VALUE_BYTES_MAX, Version};
use crate::id::{ClusterName, Incarnation, MessageCounter, NAME_BYTES_MAX, NodeId, RunId};
use crate::reconcile::{Fingerprint, Key, Range, RangeBody};
use crate::types::{LeaderNews, MemberState, Role, UserEvent, VOTERS_MAX};

/// Why a packet was not understood. Nothing was acted on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It names another cluster.
    #[error("the packet is of cluster '{0}'")]
    OtherCluster(String),
    /// It is not Protocol Buffers, or does not begin with a cluster name.
    #[error("the packet is garbled")]
    Garbled,
    /// A field holds what no peer sends.
    #[error("the packet's {0} is out of bounds")]
    Bounds(&'static str),
}

use DecodeError::{Bounds, Garbled};

/// Fields of a packet or frame, list items counted one by one.
const FIELDS_MAX: usize = 2 * ITEMS_MAX;

impl Packet {
    /// Reads what lay inside the seal.
    ///
    /// # Errors
    /// See [`DecodeError`]. The cluster name is compared before anything else is parsed.
    pub fn decode(bytes: &[u8], cluster: &ClusterName) -> Result<Self, DecodeError> {
        compare_cluster(bytes, cluster)?;
        count_fields(bytes)?;
        let raw = proto::Packet::decode(bytes).map_err(|_| Garbled)?;
        let (from, brief) = sender(&raw.from)?;
        Ok(Self {
            from,
            brief,
            digest: raw.digest,
            echo: raw.echo,
            ping: raw.ping,
            ack: raw.ack,
            nack: raw.nack,
            relay: raw.relay.map(relay).transpose()?,
            challenge: raw.challenge,
            greeting: match raw.greeting {
                1 => Some(Greeting::Hello),
                2 => Some(Greeting::Welcome),
                _ => None,
            },
            seen: if raw.seen.is_empty() {
                None
            } else {
                Some(address(&raw.seen)?)
            },
            rumors: rumors(raw.rumors)?,
            ids: list(raw.ids, rumor_ids)?,
            pull: list(raw.pull, rumor_ids)?,
            confirmed: list(raw.confirmed, rumor_ids)?,
            member_ranges: list(raw.member_ranges, range)?,
            event_ranges: list(raw.event_ranges, range)?,
            want_members: list(raw.want_members, |bytes| key(&bytes))?,
            want_events: list(raw.want_events, |bytes| key(&bytes))?,
            members: list(raw.members, member_record)?,
            events: list(raw.events, event)?,
            large_events: list(raw.large_events, |bytes| key(&bytes))?,
            confirm: raw.confirm.map(confirm).transpose()?,
            report: raw.report.map(report).transpose()?,
            forgotten: if raw.forgotten.is_empty() {
                None
            } else {
                Some(node_id(&raw.forgotten)?)
            },
            stream: match raw.stream {
                1 => Some(Purpose::Ring),
                2 => Some(Purpose::Probe),
                3 => Some(Purpose::Bulk),
                4 => Some(Purpose::Goodbye),
                5 => Some(Purpose::Detour),
                6 => Some(Purpose::Exchange),
                7 => Some(Purpose::Examine),
                _ => None,
            },
            entry_ranges: list(raw.entry_ranges, range)?,
            want_entries: list(raw.want_entries, |bytes| key(&bytes))?,
            entries: list(raw.entries, entry)?,
            large_entries: list(raw.large_entries, |bytes| key(&bytes))?,
            want_span: raw.want_span.map(span).transpose()?,
            offers: list(raw.offers, span)?,
            given: raw.given.map(given).transpose()?,
            want_part: raw.want_part.map(part_of).transpose()?,
            part: raw.part.map(part).transpose()?,
            clock: raw.clock,
            stored: list(raw.stored, |bytes| key(&bytes))?,
            ask_stored: list(raw.ask_stored, |bytes| key(&bytes))?,
            lost_contacts: list(raw.lost_contacts, contact)?,
            leader: raw.leader.map(leader_news).transpose()?,
            examine: raw.examine.map(examine).transpose()?.flatten(),
            examined: raw.examined.map(examined).transpose()?.flatten(),
            padding: raw.padding.len(),
        })
    }
}

impl Beacon {
    /// Reads what lay inside the seal.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(bytes: &[u8], cluster: &ClusterName) -> Result<Self, DecodeError> {
        compare_cluster(bytes, cluster)?;
        let raw = proto::Beacon::decode(bytes).map_err(|_| Garbled)?;
        Ok(Self {
            id: node_id(&raw.id)?,
            name: raw.name.parse().map_err(|_| Bounds("node name"))?,
            address: address(&raw.address)?,
            role: role(raw.role),
            messages: MessageCounter(raw.messages),
            view: raw.view,
            examination: raw.examination,
            examined: raw.examined,
        })
    }
}

/// Field 1, length-delimited, is the first of every packet.
fn compare_cluster(bytes: &[u8], cluster: &ClusterName) -> Result<(), DecodeError> {
    const FIRST_FIELD: u8 = 1 << 3 | 2;
    let [FIRST_FIELD, len, rest @ ..] = bytes else {
        return Err(Garbled);
    };
    let name = rest.get(..usize::from(*len)).ok_or(Garbled)?;
    if name == cluster.as_str().as_bytes() {
        return Ok(());
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(Bounds("cluster name"));
    }
    let name = std::str::from_utf8(name).map_err(|_| Bounds("cluster name"))?;
    name.parse::<ClusterName>()
        .map_err(|_| Bounds("cluster name"))?;
    Err(DecodeError::OtherCluster(name.into()))
}

/// An empty item takes two bytes on the wire and hundreds in memory: a frame
/// of them is refused before it is unpacked.
fn count_fields(mut bytes: &[u8]) -> Result<(), DecodeError> {
    let mut fields = 0;
    while !bytes.is_empty() {
        fields += 1;
        if fields > FIELDS_MAX {
            return Err(Bounds("number of fields"));
        }
        let (tag, wire_type) = decode_key(&mut bytes).map_err(|_| Garbled)?;
        skip_field(wire_type, tag, &mut bytes, DecodeContext::default()).map_err(|_| Garbled)?;
    }
    Ok(())
}

fn list<Raw, Item>(
    raw: Vec<Raw>,
    item: impl FnMut(Raw) -> Result<Item, DecodeError>,
) -> Result<Vec<Item>, DecodeError> {
    if raw.len() > ITEMS_MAX {
        return Err(Bounds("list"));
    }
    raw.into_iter().map(item).collect()
}

fn node_id(bytes: &[u8]) -> Result<NodeId, DecodeError> {
    NodeId::from_slice(bytes).ok_or(Bounds("node id"))
}

/// The id of who speaks, and whether its second half was left out.
fn sender(bytes: &[u8]) -> Result<(NodeId, bool), DecodeError> {
    if let Ok(half) = <[u8; BRIEF_ID_BYTES]>::try_from(bytes) {
        return Ok((NodeId::from_prefix(u64::from_be_bytes(half)), true));
    }
    Ok((node_id(bytes)?, false))
}

fn run_id(bytes: &[u8]) -> Result<RunId, DecodeError> {
    RunId::from_slice(bytes).ok_or(Bounds("run"))
}

fn key(bytes: &[u8]) -> Result<Key, DecodeError> {
    bytes.try_into().map_err(|_| Bounds("key"))
}

fn address(bytes: &[u8]) -> Result<SocketAddr, DecodeError> {
    let (ip, port) = bytes.split_last_chunk::<2>().ok_or(Bounds("address"))?;
    let ip: IpAddr = if let Ok(v4) = <[u8; 4]>::try_from(ip) {
        v4.into()
    } else if let Ok(v6) = <[u8; 16]>::try_from(ip) {
        v6.into()
    } else {
        return Err(Bounds("address"));
    };
    let port = u16::from_be_bytes(*port);
    // Nobody can be reached there, and a packet to a group would reach everybody.
    if port == 0 || ip.is_unspecified() || ip.is_multicast() {
        return Err(Bounds("address"));
    }
    Ok(SocketAddr::new(ip, port))
}

/// An unknown role is one of a later version; it does not vote as far as we know.
fn role(raw: u32) -> Role {
    match raw {
        0 => Role::Manager,
        _ => Role::Worker,
    }
}

fn relay(raw: proto::Relay) -> Result<Relay, DecodeError> {
    Ok(Relay {
        seq: raw.seq,
        target: node_id(&raw.target)?,
        address: address(&raw.address)?,
    })
}

/// A rumor whose body is of a later version is skipped, not an error.
fn rumors(raw: Vec<proto::Rumor>) -> Result<Vec<Rumor>, DecodeError> {
    Ok(list(raw, rumor)?.into_iter().flatten().collect())
}

fn rumor(raw: proto::Rumor) -> Result<Option<Rumor>, DecodeError> {
    let id = RumorId {
        origin: node_id(&raw.origin)?,
        run: run_id(&raw.run)?,
        counter: MessageCounter(raw.counter),
    };
    let body = if let Some(info) = raw.alive {
        let info = member_info(info)?;
        // Only a member itself says that it is alive.
        if info.id != id.origin || info.run != id.run {
            return Err(Bounds("alive rumor"));
        }
        Body::Alive(info)
    } else if let Some(subjects) = raw.suspect {
        Body::Suspect(list(subjects.list, subject)?)
    } else if let Some(subjects) = raw.failed {
        Body::Failed(list(subjects.list, subject)?)
    } else if let Some(subjects) = raw.left {
        let left = single(subjects)?;
        if left.id != id.origin {
            return Err(Bounds("left rumor"));
        }
        Body::Left(left)
    } else if let Some(subjects) = raw.forget {
        Body::Forget(single(subjects)?)
    } else if let Some(raw) = raw.event {
        let event = event(raw)?;
        if event.origin != id.origin {
            return Err(Bounds("event rumor"));
        }
        Body::Event(event)
    } else if let Some(raw) = raw.entries {
        Body::Entries(entry_news(raw)?)
    } else if let Some(raw) = raw.leader {
        Body::Leader(leader_news(raw)?)
    } else {
        return Ok(None);
    };
    Ok(Some(Rumor { id, body }))
}

fn single(subjects: proto::Subjects) -> Result<Subject, DecodeError> {
    let [only] = <[proto::Subject; 1]>::try_from(subjects.list).map_err(|_| Bounds("subject"))?;
    subject(only)
}

fn subject(raw: proto::Subject) -> Result<Subject, DecodeError> {
    Ok(Subject {
        id: node_id(&raw.id)?,
        incarnation: Incarnation(raw.incarnation),
    })
}

fn rumor_ids(raw: proto::RumorIds) -> Result<RumorIds, DecodeError> {
    Ok(RumorIds {
        origin: node_id(&raw.origin)?,
        run: run_id(&raw.run)?,
        counters: list(raw.counters, |counter| Ok(MessageCounter(counter)))?,
        large: list(raw.large, |counter| Ok(MessageCounter(counter)))?,
    })
}

fn member_info(raw: proto::MemberInfo) -> Result<MemberInfo, DecodeError> {
    if raw.version.len() > VERSION_BYTES_MAX || raw.version.chars().any(char::is_control) {
        return Err(Bounds("version"));
    }
    Ok(MemberInfo {
        id: node_id(&raw.id)?,
        run: run_id(&raw.run)?,
        incarnation: Incarnation(raw.incarnation),
        name: raw.name.parse().map_err(|_| Bounds("node name"))?,
        role: role(raw.role),
        address: address(&raw.address)?,
        version: raw.version.into(),
        cookie: raw.cookie,
        messages: MessageCounter(raw.messages),
    })
}

fn member_record(raw: proto::MemberRecord) -> Result<MemberRecord, DecodeError> {
    Ok(MemberRecord {
        info: member_info(raw.info.ok_or(Bounds("member"))?)?,
        state: match raw.state {
            1 => MemberState::Alive,
            2 => MemberState::Suspect,
            3 => MemberState::Failed,
            4 => MemberState::Left,
            _ => return Err(Bounds("member state")),
        },
    })
}

fn event(raw: proto::EventRecord) -> Result<UserEvent, DecodeError> {
    if raw.payload.len() > EVENT_PAYLOAD_BYTES_MAX {
        return Err(Bounds("event payload"));
    }
    if !valid_event_name(&raw.name) {
        return Err(Bounds("event name"));
    }
    Ok(UserEvent {
        timestamp: Timestamp(raw.timestamp),
        origin: node_id(&raw.origin)?,
        name: raw.name,
        payload: raw.payload,
    })
}

/// A shared entry by itself, put together from its parts.
///
/// # Errors
/// See [`DecodeError`].
pub fn decode_entry(bytes: &[u8]) -> Result<Entry, DecodeError> {
    entry(proto::EntryRecord::decode(bytes).map_err(|_| Garbled)?)
}

fn entry(raw: proto::EntryRecord) -> Result<Entry, DecodeError> {
    let key = EntryKey::new(&raw.key).map_err(|_| Bounds("entry key"))?;
    let type_len = raw.content_type.as_ref().map_or(0, Vec::len);
    if type_len > CONTENT_TYPE_BYTES_MAX {
        return Err(Bounds("content type"));
    }
    let version = Version {
        timestamp: Timestamp(raw.timestamp),
        origin: node_id(&raw.origin)?,
    };
    let ttl = (raw.ttl_ms > 0).then(|| Duration::from_millis(raw.ttl_ms));
    let (key, content_type) = (key.as_str(), raw.content_type.as_deref());
    Ok(match raw.value {
        Some(value) if value.len() > VALUE_BYTES_MAX => return Err(Bounds("entry value")),
        Some(value) => Entry::value_of(key, version, &value, content_type, ttl),
        None if ttl.is_some() => Entry::value_of(key, version, &[], None, ttl).expired(),
        None => Entry::tombstone(key, version),
    })
}

fn entry_news(raw: proto::EntryNews) -> Result<EntryNews, DecodeError> {
    Ok(EntryNews {
        entries: list(raw.entries, entry)?,
        large: list(raw.large, |bytes| key(&bytes))?,
        confirm: raw.confirm,
    })
}

/// What leader news count, at most: what is added to it does not overflow.
const LEADER_NUMBER_MAX: u64 = 1 << 62;

fn leader_news(raw: proto::LeaderNews) -> Result<LeaderNews, DecodeError> {
    if raw.voters.len() > VOTERS_MAX {
        return Err(Bounds("number of voters"));
    }
    let voters = list(raw.voters, |bytes| node_id(&bytes))?;
    if !voters.is_sorted_by(|one, next| one < next) {
        return Err(Bounds("order of voters"));
    }
    let numbers = [raw.revision, raw.term, raw.elected_at, raw.view];
    if voters.is_empty() || numbers.iter().any(|number| *number > LEADER_NUMBER_MAX) {
        return Err(Bounds("numbers of leader news"));
    }
    let cluster_id = raw.cluster_id.try_into();
    Ok(LeaderNews {
        cluster_id: u128::from_be_bytes(cluster_id.map_err(|_| Bounds("cluster id"))?),
        revision: raw.revision,
        leader: node_id(&raw.leader)?,
        term: raw.term,
        elected_at: raw.elected_at,
        view: raw.view,
        voters,
        ephemeral: raw.ephemeral,
    })
}

fn span(raw: proto::Span) -> Result<Span, DecodeError> {
    Ok(Span {
        lo: key(&raw.lo)?,
        hi: key(&raw.hi)?,
    })
}

fn given(raw: proto::Given) -> Result<Given, DecodeError> {
    let next = (!raw.next.is_empty()).then(|| key(&raw.next));
    Ok(Given {
        next: next.transpose()?,
    })
}

fn part_of(raw: proto::PartOf) -> Result<PartOf, DecodeError> {
    Ok(PartOf {
        name: key(&raw.name)?,
        offset: raw.offset,
    })
}

fn part(raw: proto::Part) -> Result<Part, DecodeError> {
    Ok(Part {
        of: part_of(raw.of.ok_or(Bounds("part"))?)?,
        total: raw.total,
        bytes: raw.bytes,
    })
}

fn contact(raw: proto::Contact) -> Result<Contact, DecodeError> {
    Ok(Contact {
        id: node_id(&raw.id)?,
        at_ms: raw.at_ms,
    })
}

/// 1 to 128 bytes without control characters.
pub(crate) fn valid_event_name(name: &str) -> bool {
    (1..=EVENT_NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

fn range(raw: proto::Range) -> Result<Range, DecodeError> {
    let body = match raw.fingerprint {
        Some(print) => RangeBody::Fingerprint(Fingerprint {
            count: print.count,
            sum: print.sum,
        }),
        None => {
            let (keys, rest) = raw.keys.as_chunks::<24>();
            if !rest.is_empty() || keys.len() > ITEMS_MAX {
                return Err(Bounds("range keys"));
            }
            RangeBody::Keys(keys.to_vec())
        }
    };
    Ok(Range {
        lo: key(&raw.lo)?,
        hi: key(&raw.hi)?,
        body,
    })
}

fn confirm(raw: proto::Confirm) -> Result<Confirm, DecodeError> {
    Ok(Confirm {
        seq: raw.seq,
        subject: Subject {
            id: node_id(&raw.target)?,
            incarnation: Incarnation(raw.incarnation),
        },
    })
}

/// A way of a later version cannot be answered: as if it had not been asked.
fn examine(raw: proto::Examine) -> Result<Option<Examine>, DecodeError> {
    let Some(way) = way(raw.way) else {
        return Ok(None);
    };
    Ok(Some(Examine {
        number: raw.number,
        clock_ms: raw.clock_ms,
        cookie: raw.cookie,
        address: address(&raw.address)?,
        way,
        wishes: Wishes {
            packets: raw.wishes & 1 != 0,
            stream: raw.wishes & 2 != 0,
            beacon: raw.wishes & 4 != 0,
        },
    }))
}

fn examined(raw: proto::Examined) -> Result<Option<Examined>, DecodeError> {
    let Some(way) = way(raw.way) else {
        return Ok(None);
    };
    Ok(Some(Examined {
        number: raw.number,
        clock_ms: raw.clock_ms,
        asked_ms: raw.asked_ms,
        address: address(&raw.address)?,
        way,
        arrived: ways(raw.arrived),
        links: ways(raw.links),
    }))
}

fn way(raw: u32) -> Option<Way> {
    Way::ALL.get(raw as usize).copied()
}

/// Those that we know.
fn ways(raw: u32) -> Ways {
    let all: Ways = Way::ALL.into_iter().collect();
    Ways(raw & all.0)
}

fn report(raw: proto::Report) -> Result<Report, DecodeError> {
    Ok(Report {
        seq: raw.seq,
        verdict: match raw.verdict {
            1 => Verdict::Answered,
            2 => Verdict::Refused,
            3 => Verdict::StreamLost,
            _ => Verdict::Silent,
        },
    })
}
