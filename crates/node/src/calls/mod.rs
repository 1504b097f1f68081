//! Calls: questions among nodes that one packet cannot carry, with an answer each.
//!
//! A connection is a stream as all others, made private the same way. Its
//! first frame begins with a zero byte, with which no packet begins, and says
//! who calls whom; a node that is not the one meant closes it. Then each side
//! sends frames:
//!
//! ```text
//!   hello   0 · version 1 · cluster name, caller's id, id of who is called
//!   call    number 4 · last 1 · bytes     (several frames, if it is long)
//!   answer  number 4 · last 1 · bytes     (in any order)
//! ```
//!
//! So the id of who answers is beyond doubt, whatever lives at an address now.

mod client;
mod server;

use std::collections::HashMap;
use std::time::Duration;

use dui_core::{ClusterName, NodeId};
use prost::Message;

pub(crate) use client::Calls;
pub(crate) use server::{Door, Service, is_hello};

/// The longest call, and the longest answer.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// What all calls of a node that are being answered may be long together.
const CALLED_BYTES_MAX: usize = 128 << 20;
/// A connection over which nothing goes is closed by who opened it.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Calls of one connection at a time.
const OPEN_MAX: usize = 64;
/// A number and whether it is the last.
const HEAD_BYTES: usize = 5;
const PART_BYTES_MAX: usize = dui_core::wire::FRAME_BYTES_MAX - HEAD_BYTES;

const MARK: u8 = 0;
const VERSION: u8 = 1;

/// What the first frame says.
#[derive(Clone, PartialEq, Message)]
struct Hello {
    #[prost(string, tag = "1")]
    cluster: String,
    #[prost(bytes = "vec", tag = "2")]
    from: Vec<u8>,
    #[prost(bytes = "vec", tag = "3")]
    to: Vec<u8>,
}

fn hello(cluster: &ClusterName, from: NodeId, to: NodeId) -> Vec<u8> {
    let mut frame = vec![MARK, VERSION];
    let hello = Hello {
        cluster: cluster.as_str().into(),
        from: from.to_bytes().into(),
        to: to.to_bytes().into(),
    };
    frame.extend(hello.encode_to_vec());
    frame
}

/// Who calls, if this is the first frame of a call to `me` in this cluster.
fn caller(frame: &[u8], cluster: &ClusterName, me: NodeId) -> Option<NodeId> {
    let body = frame.strip_prefix(&[MARK, VERSION])?;
    let hello = Hello::decode(body).ok()?;
    let meant = hello.cluster == cluster.as_str() && NodeId::from_slice(&hello.to) == Some(me);
    NodeId::from_slice(&hello.from).filter(|_| meant)
}

/// The frames of a message.
fn parts(number: u32, message: &[u8]) -> Vec<Vec<u8>> {
    let frame = |last: bool, part: &[u8]| {
        let mut frame = Vec::with_capacity(HEAD_BYTES + part.len());
        frame.extend(number.to_be_bytes());
        frame.push(last.into());
        frame.extend(part);
        frame
    };
    if message.is_empty() {
        return vec![frame(true, &[])];
    }
    let count = message.len().div_ceil(PART_BYTES_MAX);
    let all = message.chunks(PART_BYTES_MAX).enumerate();
    all.map(|(index, part)| frame(index + 1 == count, part))
        .collect()
}

/// Puts messages together again.
#[derive(Debug, Default)]
struct Assembly {
    open: HashMap<u32, Vec<u8>>,
    bytes: usize,
}

/// What the other side sent is no part of a message, or too much.
#[derive(Debug, PartialEq, Eq)]
struct Nonsense;

impl Assembly {
    /// Takes a frame; a message once it is whole.
    fn take(&mut self, frame: &[u8]) -> Result<Option<(u32, Vec<u8>)>, Nonsense> {
        let (head, part) = frame.split_first_chunk::<HEAD_BYTES>().ok_or(Nonsense)?;
        let [number @ .., last] = *head;
        let number = u32::from_be_bytes(number);
        if !self.open.contains_key(&number) && self.open.len() >= OPEN_MAX {
            return Err(Nonsense);
        }
        self.bytes += part.len();
        if self.bytes > MESSAGE_BYTES_MAX {
            return Err(Nonsense);
        }
        let message = self.open.entry(number).or_default();
        message.extend(part);
        if last == 0 {
            return Ok(None);
        }
        let message = self.open.remove(&number).unwrap_or_default();
        self.bytes -= message.len();
        Ok(Some((number, message)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const ANN: NodeId = NodeId(1);
    const BO: NodeId = NodeId(2);

    #[test]
    fn a_message_of_any_length_comes_together_again() {
        for length in [0, 1, PART_BYTES_MAX, PART_BYTES_MAX + 1, 300_000] {
            let message: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let mut assembly = Assembly::default();
            let mut whole = None;
            for frame in parts(7, &message) {
                assert_eq!(whole, None, "the last frame is the last");
                whole = assembly.take(&frame).unwrap();
            }
            assert_eq!(whole, Some((7, message)));
            assert_eq!((assembly.bytes, assembly.open.len()), (0, 0));
        }
    }

    #[test]
    fn two_messages_may_come_in_turns() {
        let (one, other) = (vec![1; 150_000], vec![2; 150_000]);
        let mut assembly = Assembly::default();
        let mut whole = Vec::new();
        for (a, b) in parts(1, &one).iter().zip(&parts(2, &other)) {
            whole.extend(assembly.take(a).unwrap());
            whole.extend(assembly.take(b).unwrap());
        }
        assert_eq!(whole, [(1, one), (2, other)]);
    }

    #[test]
    fn what_never_ends_and_what_is_too_short_is_refused() {
        let mut assembly = Assembly::default();
        assert_eq!(assembly.take(&[1, 2, 3]), Err(Nonsense));
        for number in 0..OPEN_MAX as u32 {
            let begun = [&number.to_be_bytes()[..], &[0, 9]].concat();
            assert_eq!(assembly.take(&begun), Ok(None));
        }
        assert_eq!(assembly.take(&[255, 0, 0, 0, 0, 9]), Err(Nonsense));
        let mut assembly = Assembly::default();
        let part = [&[0; HEAD_BYTES][..], &[0; PART_BYTES_MAX]].concat();
        let taken = (0..2_000).map(|_| assembly.take(&part));
        assert!(taken.into_iter().any(|taken| taken == Err(Nonsense)));
    }

    #[test]
    fn a_caller_is_heard_by_who_is_meant_alone() {
        let green: ClusterName = "green".parse().unwrap();
        let blue: ClusterName = "blue".parse().unwrap();
        let frame = hello(&green, ANN, BO);
        assert!(is_hello(&frame));
        assert_eq!(caller(&frame, &green, BO), Some(ANN));
        assert_eq!(caller(&frame, &green, ANN), None);
        assert_eq!(caller(&frame, &blue, BO), None);
        assert_eq!(caller(&frame[..9], &green, BO), None);
    }
}
