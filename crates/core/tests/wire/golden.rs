//! Golden: wire format v1 byte by byte, as nodes out there speak it.
//!
//! `../golden/v1.txt` holds every message, field by field, in clear and sealed,
//! with a sentence on what it says. Review a change of it as a change of the
//! protocol: nodes of the last release send and read what stood there before.
//! A new message is added with `DUI_BLESS=1 cargo test -p dui-core --test wire`.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fmt::Write;
use std::path::PathBuf;

use crate::messages::{Message, Said, cluster, messages, named};
use dui_core::seal::{Channel, Seal};
use dui_core::wire::{Beacon, Packet};
use dui_core::{Key, Keyring};

const HEAD: &str = "\
Wire format v1: every message as it lies in a datagram, a beacon or a frame.

Numbers are fields of the Protocol Buffers encoding in src/wire/proto.rs; the
line `clear` is version 1 and no key. `sealed` is the same body sealed with the
key 6b6b…6b (32 bytes) as the first of its salt 000102…0f: version, key
fingerprint, salt and counter, then ciphertext and tag (src/seal/mod.rs).
";

#[test]
fn the_encoding_of_every_message_is_what_was_written_down() {
    let now = render();
    if std::env::var_os("DUI_BLESS").is_some() {
        std::fs::write(golden_path(), &now).unwrap();
    }
    let then = std::fs::read_to_string(golden_path()).unwrap();
    for (line, (now, then)) in now.lines().zip(then.lines()).enumerate() {
        assert_eq!(
            now,
            then,
            "golden/v1.txt:{}: the encoding changed; nodes of the last release \
             would not understand it. If it only grew, see the head of tests/wire/golden.rs",
            line + 1
        );
    }
    assert_eq!(now.lines().count(), then.lines().count());
}

#[test]
fn what_was_written_down_is_still_understood() {
    let written = read();
    for message in messages() {
        let Written { clear, sealed } = &written[message.name];
        assert_eq!(open(&mut seal(&[]), &message.said, clear), message.said);
        // Another run opens it: its own salt would be refused as a reflection.
        let mut receiver = Seal::new(keyring(&[0x6b]), &mut Counting(100));
        assert_eq!(open(&mut receiver, &message.said, sealed), message.said);
    }
}

#[test]
fn every_field_of_v1_is_written_down() {
    let (mut packet, mut beacon) = (BTreeSet::new(), BTreeSet::new());
    for message in messages() {
        let body = message.said.encode();
        let numbers = fields(&body).into_iter().map(|(number, _)| number);
        match message.said {
            Said::Packet(_) => packet.extend(numbers),
            Said::Beacon(_) => beacon.extend(numbers),
        }
    }
    // From 40 on: shared entries, then what managers agreed on.
    assert_eq!(packet, (1..=29).chain(40..=53).collect());
    assert_eq!(beacon, (1..=9).collect());
}

/// What the next version adds, this one skips: N talks to N-1.
#[test]
fn fields_of_a_later_version_are_skipped() {
    for message in messages() {
        let mut body = message.said.encode();
        body.extend(number_field(900, 1));
        body.extend(bytes_field(901, b"whatever it may be"));
        body.extend(bytes_field(901, b"and again"));
        body.extend([tag(902, 5), vec![1, 2, 3, 4]].concat());
        body.extend([tag(903, 1), vec![1, 2, 3, 4, 5, 6, 7, 8]].concat());
        assert_eq!(message.said.decode(&body), message.said, "{}", message.name);
    }
}

#[test]
fn a_rumor_of_a_later_kind_is_skipped_and_its_neighbours_are_read() {
    let Said::Packet(known) = named("rumor: alive") else {
        panic!("a rumor travels in a packet");
    };
    let unheard_of = [
        bytes_field(1, &[0xbb; 16]),
        bytes_field(2, &[0xb0; 16]),
        number_field(3, 9),
        bytes_field(90, b"a body that v1 does not know"),
    ];
    let body = [
        known.encode(&cluster()),
        bytes_field(12, &unheard_of.concat()),
    ];
    assert_eq!(Packet::decode(&body.concat(), &cluster()), Ok(known));
}

#[test]
fn choices_of_a_later_version_read_as_no_choice() {
    let Said::Packet(ping) = named("ping") else {
        panic!("a ping travels in a packet");
    };
    let mut body = ping.encode(&cluster());
    for field in [10, 26] {
        body.extend(number_field(field, 77));
    }
    assert_eq!(Packet::decode(&body, &cluster()), Ok(ping));
}

impl Said {
    fn encode(&self) -> Vec<u8> {
        match self {
            Said::Packet(packet) => packet.encode(&cluster()),
            Said::Beacon(beacon) => beacon.encode(&cluster()),
        }
    }

    /// These bytes, read as a message of the same kind.
    fn decode(&self, body: &[u8]) -> Self {
        match self {
            Said::Packet(_) => Said::Packet(Packet::decode(body, &cluster()).unwrap()),
            Said::Beacon(_) => Said::Beacon(Beacon::decode(body, &cluster()).unwrap()),
        }
    }

    fn channel(&self) -> Channel {
        match self {
            Said::Packet(_) => Channel::Packet,
            Said::Beacon(_) => Channel::Beacon,
        }
    }
}

fn open(receiver: &mut Seal, said: &Said, bytes: &[u8]) -> Said {
    said.decode(&receiver.open(said.channel(), bytes).unwrap().plain)
}

fn keyring(keys: &[u8]) -> Keyring {
    let keys = keys.iter().map(|&n| Key::from_slice(&[n; 32]).unwrap());
    Keyring::new(keys.collect()).unwrap()
}

fn seal(keys: &[u8]) -> Seal {
    Seal::new(keyring(keys), &mut Counting(0))
}

/// Randomness that a reader recognizes: 00 01 02 …
struct Counting(u8);

impl rand_core::TryRng for Counting {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        rand_core::utils::next_word_via_fill(self)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        rand_core::utils::next_word_via_fill(self)
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for byte in bytes {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
        Ok(())
    }
}

fn golden_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1.txt")
}

fn render() -> String {
    let mut text = HEAD.to_string();
    for Message { name, story, said } in messages() {
        let body = said.encode();
        let clear = seal(&[]).seal(said.channel(), &body, &mut Counting(0));
        let sealed = seal(&[0x6b]).seal(said.channel(), &body, &mut Counting(0));
        let kind = match said {
            Said::Packet(_) => "datagram",
            Said::Beacon(_) => "beacon",
        };
        writeln!(text, "\n## {name} ({kind})\n{story}\n").unwrap();
        line(&mut text, "clear", &clear[..clear.len() - body.len()]);
        for (number, bytes) in fields(&body) {
            line(&mut text, &number.to_string(), bytes);
        }
        let (header, ciphertext) = sealed.split_at(22);
        line(&mut text, "sealed", header);
        line(&mut text, "", ciphertext);
    }
    text
}

/// At most 32 bytes a row.
fn line(text: &mut String, label: &str, bytes: &[u8]) {
    for (row, bytes) in bytes.chunks(32).enumerate() {
        let label = if row == 0 { label } else { "" };
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "{label:>6} {hex}").unwrap();
    }
}

struct Written {
    clear: Vec<u8>,
    sealed: Vec<u8>,
}

/// Takes the bytes out of what [`render`] wrote.
fn read() -> BTreeMap<String, Written> {
    let text = std::fs::read_to_string(golden_path()).unwrap();
    let mut all = BTreeMap::new();
    for section in text.split("\n## ").skip(1) {
        let (title, rest) = section.split_once(" (").unwrap();
        let (_story, bytes) = rest.split_once("\n\n").unwrap();
        let (clear, sealed) = bytes.split_once("sealed").unwrap();
        let clear = clear.trim_start().strip_prefix("clear").unwrap();
        let written = Written {
            clear: unhex(clear),
            sealed: unhex(sealed),
        };
        all.insert(title.to_string(), written);
    }
    all
}

/// The last word of each line.
fn unhex(text: &str) -> Vec<u8> {
    let rows = text.lines().filter_map(|line| line.split(' ').next_back());
    let digits: String = rows.collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

/// The fields of a Protocol Buffers message, each with its number.
fn fields(mut body: &[u8]) -> Vec<(u64, &[u8])> {
    let mut fields = Vec::new();
    while !body.is_empty() {
        let mut rest = body;
        let key = take_varint(&mut rest);
        let value_bytes = match key & 7 {
            0 => {
                take_varint(&mut rest);
                0
            }
            1 => 8,
            2 => take_varint(&mut rest) as usize,
            5 => 4,
            other => panic!("wire type {other} is not of our time"),
        };
        let (field, left) = body.split_at(body.len() - rest.len() + value_bytes);
        fields.push((key >> 3, field));
        body = left;
    }
    fields
}

fn take_varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (&byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

fn tag(number: u64, wire_type: u64) -> Vec<u8> {
    varint(number << 3 | wire_type)
}

fn number_field(number: u64, value: u64) -> Vec<u8> {
    [tag(number, 0), varint(value)].concat()
}

fn bytes_field(number: u64, value: &[u8]) -> Vec<u8> {
    [tag(number, 2), varint(value.len() as u64), value.to_vec()].concat()
}
