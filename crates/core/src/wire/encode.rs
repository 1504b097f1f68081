//! Encode: typed messages to bytes.

use std::net::{IpAddr, SocketAddr};

use prost::Message;

use super::{
    BRIEF_ID_BYTES, Beacon, Body, Contact, Greeting, MemberInfo, MemberRecord, Packet, PartOf,
    Purpose, Rumor, Span,
};
use super::{RumorIds, Subject, Verdict, proto};
use crate::entry::{Entry, Kind, Version};
use crate::id::ClusterName;
use crate::reconcile::{Key, Range, RangeBody};
use crate::types::{LeaderNews, MemberState, Role, UserEvent};

impl Packet {
    /// The bytes that go inside the seal.
    pub fn encode(&self, cluster: &ClusterName) -> Vec<u8> {
        self.proto(cluster).encode_to_vec()
    }

    fn proto(&self, cluster: &ClusterName) -> proto::Packet {
        proto::Packet {
            cluster: cluster.as_str().into(),
            from: if self.brief {
                self.from.to_bytes()[..BRIEF_ID_BYTES].into()
            } else {
                self.from.to_bytes().into()
            },
            digest: self.digest,
            echo: self.echo,
            ping: self.ping,
            ack: self.ack,
            nack: self.nack,
            relay: self.relay.map(|relay| proto::Relay {
                seq: relay.seq,
                target: relay.target.to_bytes().into(),
                address: address(relay.address),
            }),
            challenge: self.challenge,
            greeting: match self.greeting {
                None => 0,
                Some(Greeting::Hello) => 1,
                Some(Greeting::Welcome) => 2,
            },
            seen: self.seen.map(address).unwrap_or_default(),
            rumors: self.rumors.iter().map(rumor).collect(),
            ids: self.ids.iter().map(rumor_ids).collect(),
            pull: self.pull.iter().map(rumor_ids).collect(),
            confirmed: self.confirmed.iter().map(rumor_ids).collect(),
            member_ranges: self.member_ranges.iter().map(range).collect(),
            event_ranges: self.event_ranges.iter().map(range).collect(),
            want_members: keys(&self.want_members),
            want_events: keys(&self.want_events),
            members: self.members.iter().map(member_record).collect(),
            events: self.events.iter().map(event).collect(),
            large_events: keys(&self.large_events),
            confirm: self.confirm.map(|confirm| proto::Confirm {
                seq: confirm.seq,
                target: confirm.subject.id.to_bytes().into(),
                incarnation: confirm.subject.incarnation.0,
            }),
            report: self.report.map(|report| proto::Report {
                seq: report.seq,
                verdict: match report.verdict {
                    Verdict::Answered => 1,
                    Verdict::Refused => 2,
                    Verdict::StreamLost => 3,
                    Verdict::Silent => 4,
                },
            }),
            forgotten: self
                .forgotten
                .map(|id| id.to_bytes().into())
                .unwrap_or_default(),
            stream: match self.stream {
                None => 0,
                Some(Purpose::Ring) => 1,
                Some(Purpose::Probe) => 2,
                Some(Purpose::Bulk) => 3,
                Some(Purpose::Goodbye) => 4,
                Some(Purpose::Detour) => 5,
                Some(Purpose::Exchange) => 6,
                Some(Purpose::Examine) => 7,
            },
            entry_ranges: self.entry_ranges.iter().map(range).collect(),
            want_entries: keys(&self.want_entries),
            entries: self.entries.iter().map(entry).collect(),
            large_entries: keys(&self.large_entries),
            want_span: self.want_span.map(span),
            offers: self.offers.iter().copied().map(span).collect(),
            given: self.given.map(|given| proto::Given {
                next: given.next.map(Into::into).unwrap_or_default(),
            }),
            want_part: self.want_part.map(part_of),
            part: self.part.as_ref().map(|part| proto::Part {
                of: Some(part_of(part.of)),
                total: part.total,
                bytes: part.bytes.clone(),
            }),
            clock: self.clock,
            stored: keys(&self.stored),
            ask_stored: keys(&self.ask_stored),
            lost_contacts: self.lost_contacts.iter().map(contact).collect(),
            leader: self.leader.as_ref().map(leader_news),
            examine: self.examine.map(|examine| proto::Examine {
                number: examine.number,
                clock_ms: examine.clock_ms,
                cookie: examine.cookie,
                address: address(examine.address),
                way: examine.way as u32,
                wishes: u32::from(examine.wishes.packets)
                    | u32::from(examine.wishes.stream) << 1
                    | u32::from(examine.wishes.beacon) << 2,
            }),
            examined: self.examined.map(|examined| proto::Examined {
                number: examined.number,
                clock_ms: examined.clock_ms,
                asked_ms: examined.asked_ms,
                address: address(examined.address),
                way: examined.way as u32,
                arrived: examined.arrived.0,
                links: examined.links.0,
            }),
            padding: vec![0; self.padding],
        }
    }
}

impl Beacon {
    /// The bytes that go inside the seal.
    pub fn encode(&self, cluster: &ClusterName) -> Vec<u8> {
        proto::Beacon {
            cluster: cluster.as_str().into(),
            id: self.id.to_bytes().into(),
            name: self.name.as_str().into(),
            address: address(self.address),
            role: role(self.role),
            messages: self.messages.0,
            view: self.view,
            examination: self.examination,
            examined: self.examined,
        }
        .encode_to_vec()
    }
}

impl Rumor {
    /// Bytes it takes in a packet; of entries at most, as [`entry_len`] says.
    pub fn encoded_len(&self) -> usize {
        match &self.body {
            Body::Entries(news) => {
                let entries: usize = news.entries.iter().map(entry_len).sum();
                RUMOR_BYTES + entries + NAME_BYTES * news.large.len()
            }
            _ => in_list(rumor(self).encoded_len()),
        }
    }
}

impl MemberRecord {
    /// Bytes it takes in a packet.
    pub fn encoded_len(&self) -> usize {
        in_list(member_record(self).encoded_len())
    }
}

/// Bytes of a rumor of entries besides those, at most.
pub const RUMOR_BYTES: usize = 60;
/// Bytes that the name of an entry takes in a packet.
pub const NAME_BYTES: usize = 27;

/// Bytes a user event takes in a packet.
pub fn event_len(item: &UserEvent) -> usize {
    in_list(event(item).encoded_len())
}

/// Bytes a range takes in a packet.
pub fn range_len(item: &Range) -> usize {
    in_list(range(item).encoded_len())
}

/// Bytes a shared entry takes in a packet, at most.
pub fn entry_len(item: &Entry) -> usize {
    // Key and origin, timestamp, ttl, content type and value: with what
    // names them. Said without laying it out, because a joiner gets millions.
    let type_len = item.content_type().map_or(0, |bytes| bytes.len() + 3);
    in_list(item.key().len() + 3 + 18 + 9 + 11 + type_len + item.value().len() + 5)
}

/// A shared entry by itself: what the parts of a large one are cut from.
pub fn encode_entry(item: &Entry) -> Vec<u8> {
    entry(item).encode_to_vec()
}

/// A list item costs its field number (up to 2 bytes) and length (up to 3) on top.
fn in_list(len: usize) -> usize {
    len + 5
}

fn rumor(rumor: &Rumor) -> proto::Rumor {
    let mut out = proto::Rumor {
        origin: rumor.id.origin.to_bytes().into(),
        run: rumor.id.run.to_bytes().into(),
        counter: rumor.id.counter.0,
        ..proto::Rumor::default()
    };
    match &rumor.body {
        Body::Alive(info) => out.alive = Some(member_info(info)),
        Body::Suspect(list) => out.suspect = Some(subjects(list)),
        Body::Failed(list) => out.failed = Some(subjects(list)),
        Body::Left(subject) => out.left = Some(subjects(&[*subject])),
        Body::Forget(subject) => out.forget = Some(subjects(&[*subject])),
        Body::Event(item) => out.event = Some(event(item)),
        Body::Entries(news) => {
            out.entries = Some(proto::EntryNews {
                entries: news.entries.iter().map(entry).collect(),
                large: keys(&news.large),
                confirm: news.confirm,
            });
        }
        Body::Leader(news) => out.leader = Some(leader_news(news)),
    }
    out
}

fn leader_news(news: &LeaderNews) -> proto::LeaderNews {
    proto::LeaderNews {
        cluster_id: news.cluster_id.to_be_bytes().into(),
        revision: news.revision,
        leader: news.leader.to_bytes().into(),
        term: news.term,
        elected_at: news.elected_at,
        view: news.view,
        voters: news.voters.iter().map(|id| id.to_bytes().into()).collect(),
        ephemeral: news.ephemeral,
    }
}

fn rumor_ids(ids: &RumorIds) -> proto::RumorIds {
    proto::RumorIds {
        origin: ids.origin.to_bytes().into(),
        run: ids.run.to_bytes().into(),
        counters: ids.counters.iter().map(|counter| counter.0).collect(),
        large: ids.large.iter().map(|counter| counter.0).collect(),
    }
}

fn member_info(info: &MemberInfo) -> proto::MemberInfo {
    proto::MemberInfo {
        id: info.id.to_bytes().into(),
        run: info.run.to_bytes().into(),
        incarnation: info.incarnation.0,
        name: info.name.as_str().into(),
        role: role(info.role),
        address: address(info.address),
        version: info.version.as_ref().into(),
        cookie: info.cookie,
        messages: info.messages.0,
    }
}

fn member_record(record: &MemberRecord) -> proto::MemberRecord {
    proto::MemberRecord {
        info: Some(member_info(&record.info)),
        state: match record.state {
            MemberState::Alive => 1,
            MemberState::Suspect => 2,
            MemberState::Failed => 3,
            MemberState::Left => 4,
        },
    }
}

fn subjects(list: &[Subject]) -> proto::Subjects {
    let list = list
        .iter()
        .map(|subject| proto::Subject {
            id: subject.id.to_bytes().into(),
            incarnation: subject.incarnation.0,
        })
        .collect();
    proto::Subjects { list }
}

fn event(event: &UserEvent) -> proto::EventRecord {
    proto::EventRecord {
        timestamp: event.timestamp.0,
        origin: event.origin.to_bytes().into(),
        name: event.name.clone(),
        payload: event.payload.clone(),
    }
}

fn entry(entry: &Entry) -> proto::EntryRecord {
    let Version { timestamp, origin } = entry.version();
    proto::EntryRecord {
        key: entry.key().into(),
        timestamp: timestamp.0,
        origin: origin.to_bytes().into(),
        value: (entry.kind() == Kind::Value).then(|| entry.value().into()),
        content_type: entry.content_type().map(Into::into),
        ttl_ms: entry.ttl().map_or(0, |ttl| ttl.as_millis() as u64),
    }
}

fn span(span: Span) -> proto::Span {
    proto::Span {
        lo: span.lo.into(),
        hi: span.hi.into(),
    }
}

fn part_of(part: PartOf) -> proto::PartOf {
    proto::PartOf {
        name: part.name.into(),
        offset: part.offset,
    }
}

fn contact(contact: &Contact) -> proto::Contact {
    proto::Contact {
        id: contact.id.to_bytes().into(),
        at_ms: contact.at_ms,
    }
}

fn range(range: &Range) -> proto::Range {
    let (fingerprint, keys) = match &range.body {
        RangeBody::Fingerprint(print) => (
            Some(proto::Fingerprint {
                count: print.count,
                sum: print.sum,
            }),
            Vec::new(),
        ),
        RangeBody::Keys(keys) => (None, keys.concat()),
    };
    proto::Range {
        lo: range.lo.into(),
        hi: range.hi.into(),
        fingerprint,
        keys,
    }
}

fn keys(keys: &[Key]) -> Vec<Vec<u8>> {
    keys.iter().map(|key| key.to_vec()).collect()
}

fn role(role: Role) -> u32 {
    match role {
        Role::Manager => 0,
        Role::Worker => 1,
    }
}

/// 4 or 16 bytes of address, then 2 of port, big-endian.
fn address(address: SocketAddr) -> Vec<u8> {
    let mut bytes = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bytes.extend(address.port().to_be_bytes());
    bytes
}
