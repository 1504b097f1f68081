//! What peers say about the managers' agreement: examples, bounds, and anything at all.

use crate::messages::{ANN, ANNS_RUN, BO, CY, Message, cluster, packet};
use dui_core::peer::VOTERS_MAX;
use dui_core::wire::{Body, DecodeError, Packet, Rumor, RumorId};
use dui_core::{LeaderNews, MessageCounter, NodeId};
use proptest::collection::btree_set;
use proptest::prelude::*;

fn news() -> LeaderNews {
    LeaderNews {
        cluster_id: u128::from_be_bytes([0xc1; 16]),
        revision: 1_000,
        leader: BO,
        term: 7,
        elected_at: 990,
        view: 3,
        voters: vec![ANN, BO, CY],
        ephemeral: true,
    }
}

/// What is written down of them.
pub(crate) fn messages() -> Vec<Message> {
    vec![
        packet(
            "rumor: leader",
            "Ann tells what the managers agreed on: bo leads, and three vote.",
            |p| {
                p.rumors = vec![Rumor {
                    id: RumorId {
                        origin: ANN,
                        run: ANNS_RUN,
                        counter: MessageCounter(6),
                    },
                    body: Body::Leader(news()),
                }];
            },
        ),
        packet(
            "leader",
            "The newest that ann knows of that, beside what she compares.",
            |p| {
                p.leader = Some(news());
            },
        ),
    ]
}

#[test]
fn voters_beyond_their_bound_are_refused() {
    let voters = |n: usize| (0..n as u128).map(NodeId).collect();
    assert_eq!(said(voters(VOTERS_MAX)), Ok(()));
    assert!(matches!(
        said(voters(VOTERS_MAX + 1)),
        Err(DecodeError::Bounds(_))
    ));
}

#[test]
fn voters_that_do_not_ascend_are_refused() {
    for voters in [vec![BO, ANN], vec![ANN, ANN]] {
        assert!(matches!(said(voters), Err(DecodeError::Bounds(_))));
    }
}

#[test]
fn ids_that_are_none_are_refused() {
    let mut packet = Packet::new(ANN);
    packet.leader = Some(news());
    let fine = packet.encode(&cluster());
    let places = |byte: u8| {
        let id = fine.windows(17).position(|bytes| bytes[1..] == [byte; 16]);
        id.unwrap()
    };
    // Of cluster, leader (before the voters) and the last voter one byte less each.
    for at in [places(0xc1), places(0xbb), places(0xcc)] {
        let mut bytes = fine.clone();
        bytes.remove(at + 16);
        bytes[at] -= 1;
        // The field around it is shorter, too.
        let head = [0xaa, 0x03];
        let length = fine.windows(2).position(|bytes| bytes == head).unwrap() + 2;
        bytes[length] -= 1;
        assert!(
            matches!(
                Packet::decode(&bytes, &cluster()),
                Err(DecodeError::Bounds(_))
            ),
            "at {at}"
        );
    }
}

/// Whether news of these voters are read, in a packet and as a rumor.
fn said(voters: Vec<NodeId>) -> Result<(), DecodeError> {
    let mut all = Vec::new();
    let news = LeaderNews { voters, ..news() };
    for message in messages() {
        let crate::messages::Said::Packet(mut packet) = message.said else {
            continue;
        };
        packet.leader = packet.leader.map(|_| news.clone());
        for rumor in &mut packet.rumors {
            rumor.body = Body::Leader(news.clone());
        }
        all.push(Packet::decode(&packet.encode(&cluster()), &cluster()).map(drop));
    }
    assert_eq!(all[0].is_ok(), all[1].is_ok());
    all.pop().unwrap()
}

pub(crate) fn any_leader_news() -> impl Strategy<Value = LeaderNews> {
    let ids = (any::<u128>(), any::<u128>());
    let numbers = any::<[u64; 4]>().prop_map(|numbers| numbers.map(|number| number >> 2));
    let voters = btree_set(any::<u128>(), 1..=VOTERS_MAX);
    (ids, numbers, voters).prop_map(|(ids, [revision, term, elected_at, view], voters)| {
        LeaderNews {
            cluster_id: ids.0,
            revision,
            leader: NodeId(ids.1),
            term,
            elected_at,
            view,
            voters: voters.into_iter().map(NodeId).collect(),
            ephemeral: view % 2 == 0,
        }
    })
}
