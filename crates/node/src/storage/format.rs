//! Format of the state file: a line that says version and checksum, then JSON.
//!
//! The checksum covers the bytes as they are, so a reader needs to understand
//! nothing before it trusts them, and a newer version is told apart from
//! damage. Unknown JSON fields are skipped: an older dui reads what a newer
//! one wrote as long as the version stays.

use dui_core::{Incarnation, Known, NodeId};
use serde::{Deserialize, Serialize};

use super::State;

/// The newest version that we read, and the one that we write.
pub(super) const VERSION: u32 = 1;

const MAGIC: &str = "dui-node";

/// Why bytes are no state.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FormatError {
    /// Written by a newer dui.
    Newer { found: u32 },
    /// Truncated, garbled or no state file at all.
    Damaged(String),
}

#[derive(Serialize, Deserialize)]
struct Body {
    id: String,
    incarnation: u64,
    /// Since managers found: that there has to be a record of it.
    #[serde(default)]
    founding: bool,
    known: Vec<KnownLine>,
    forgotten: Vec<String>,
    /// Since shared entries: when they were exchanged with whom.
    #[serde(default)]
    contacts: Vec<ContactLine>,
}

#[derive(Serialize, Deserialize)]
struct ContactLine {
    id: String,
    at_ms: u64,
}

#[derive(Serialize, Deserialize)]
struct KnownLine {
    id: String,
    address: String,
}

pub(super) fn encode(state: &State) -> Vec<u8> {
    let body = Body {
        id: state.id.to_string(),
        incarnation: state.incarnation.0,
        founding: state.founding,
        known: state
            .known
            .iter()
            .map(|known| KnownLine {
                id: known.id.to_string(),
                address: known.address.to_string(),
            })
            .collect(),
        forgotten: state.forgotten.iter().map(NodeId::to_string).collect(),
        contacts: state
            .contacts
            .iter()
            .map(|(id, at_ms)| ContactLine {
                id: id.to_string(),
                at_ms: *at_ms,
            })
            .collect(),
    };
    let json = serde_json::to_string(&body).expect("strings and numbers are always JSON");
    let checksum = blake3::hash(json.as_bytes());
    format!("{MAGIC} {VERSION} {checksum}\n{json}").into_bytes()
}

pub(super) fn decode(bytes: &[u8]) -> Result<State, FormatError> {
    let text = std::str::from_utf8(bytes).map_err(|_| damaged("not text"))?;
    let (header, json) = text.split_once('\n').ok_or_else(|| damaged("no header"))?;
    let mut words = header.split(' ');
    if words.next() != Some(MAGIC) {
        return Err(damaged("not a state file of dui"));
    }
    let version: u32 = parse(words.next().unwrap_or_default(), "version")?;
    if version > VERSION {
        return Err(FormatError::Newer { found: version });
    }
    if version == 0 {
        return Err(damaged("versions begin at 1"));
    }
    if words.next() != Some(blake3::hash(json.as_bytes()).to_hex().as_str()) {
        return Err(damaged("its checksum does not fit"));
    }
    let body: Body =
        serde_json::from_str(json).map_err(|error| FormatError::Damaged(error.to_string()))?;
    let known = |line: KnownLine| {
        Ok(Known {
            id: parse(&line.id, "peer id")?,
            address: parse(&line.address, "peer address")?,
        })
    };
    Ok(State {
        id: parse(&body.id, "id")?,
        incarnation: Incarnation(body.incarnation),
        founding: body.founding,
        known: body
            .known
            .into_iter()
            .map(known)
            .collect::<Result<_, _>>()?,
        forgotten: body
            .forgotten
            .iter()
            .map(|id| parse(id, "forgotten id"))
            .collect::<Result<_, _>>()?,
        contacts: body
            .contacts
            .iter()
            .map(|line| Ok((parse(&line.id, "contact id")?, line.at_ms)))
            .collect::<Result<_, _>>()?,
    })
}

fn parse<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, FormatError> {
    text.parse()
        .map_err(|_| FormatError::Damaged(format!("{what} '{}'", text.escape_debug())))
}

fn damaged(what: &str) -> FormatError {
    FormatError::Damaged(what.into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn state() -> State {
        State {
            id: NodeId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
            incarnation: Incarnation(u64::MAX),
            founding: true,
            known: vec![Known {
                id: NodeId(1),
                address: "[fd00::7]:7781".parse().unwrap(),
            }],
            forgotten: vec![NodeId(u128::MAX)],
            contacts: vec![(NodeId(5), 1_790_000_000_000)],
        }
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(decode(&encode(&state())), Ok(state()));
    }

    #[test]
    fn no_flipped_bit_goes_unnoticed() {
        let good = encode(&state());
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(decode(&bad).is_err(), "bit {bit} of byte {at}");
            }
        }
    }

    #[test]
    fn no_truncation_goes_unnoticed() {
        let good = encode(&state());
        for length in 0..good.len() {
            let damaged = decode(&good[..length]);
            assert!(
                matches!(damaged, Err(FormatError::Damaged(_))),
                "{length} bytes"
            );
        }
    }

    #[test]
    fn fields_of_later_days_are_skipped() {
        let json = format!(
            r#"{{"id":"{}","incarnation":3,"known":[],"forgotten":[],"mood":"fine"}}"#,
            NodeId(7)
        );
        let bytes = format!("dui-node 1 {}\n{json}", blake3::hash(json.as_bytes()));
        assert_eq!(
            decode(bytes.as_bytes()).unwrap().incarnation,
            Incarnation(3)
        );
    }
}
