//! Whatever arrives at the sockets, the node goes on and its members stay.

use std::net::UdpSocket;

use crate::town::{PATIENCE, Town, sees};
use dui_node::core::MemberState;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Bytes that are noise, but the same noise each time.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

#[tokio::test]
async fn noise_on_every_socket_is_counted_and_changes_nothing() {
    let town = Town::new();
    let [ann, bo] = town.of(["ann", "bo"]).await;
    let before = ann.handle().counters().await.unwrap();
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    for length in [0, 1, 3, 20, 100, 1_200, 1_500, 1_501, 9_000] {
        for seed in 0..8 {
            let packet = noise(seed, length);
            stranger.send_to(&packet, ann.peer_address()).unwrap();
        }
        // Asking between the bursts keeps the receive buffer from overflowing.
        ann.handle().counters().await.unwrap();
    }
    for seed in 0..8 {
        let mut stream = TcpStream::connect(ann.peer_address()).await.unwrap();
        // It may be cut off in the middle of our noise.
        let _ = stream.write_all(&noise(seed, 100_000)).await;
        let mut rest = Vec::new();
        let _ = timeout(PATIENCE, stream.read_to_end(&mut rest))
            .await
            .unwrap();
    }
    let after = ann.handle().counters().await.unwrap();
    let dropped = |c: dui_node::core::Counters| c.dropped_malformed + c.dropped_version;
    assert!(dropped(after) > dropped(before), "{after:?}");
    sees(&ann.handle(), "bo", MemberState::Alive).await;
    sees(&bo.handle(), "ann", MemberState::Alive).await;
    assert_eq!(ann.handle().members().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_crowd_of_silent_connections_is_sent_away_and_the_node_answers() {
    let town = Town::new();
    let [ann, _bo] = town.of(["ann", "bo"]).await;
    let mut crowd = Vec::new();
    for _ in 0..300 {
        crowd.push(TcpStream::connect(ann.peer_address()).await.unwrap());
    }
    for silent in &mut crowd {
        let mut nothing = [0; 1];
        let ended = timeout(PATIENCE, silent.read(&mut nothing)).await.unwrap();
        assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    }
    sees(&ann.handle(), "bo", MemberState::Alive).await;
}
