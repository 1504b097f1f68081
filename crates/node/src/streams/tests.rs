//! Stories of streams: two sides, and what each is told when the other misbehaves.

#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::*;

const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const OURS: StreamId = StreamId(2);

/// One node's streams, its listener and what it was told.
struct Side {
    streams: Streams,
    events: mpsc::Receiver<StreamEvent>,
    listener: Listener,
    address: SocketAddr,
}

impl Side {
    fn new() -> Self {
        let listener = crate::ports::bind_tcp(
            HERE,
            crate::Port {
                number: 0,
                asked: true,
            },
        )
        .unwrap();
        let (streams, events) = Streams::new(HERE, true);
        Self {
            streams,
            events,
            address: listener.local_addr().unwrap(),
            listener: Listener::new(listener).unwrap(),
        }
    }

    async fn accept(&mut self) -> StreamId {
        let (socket, from) = self.listener.accept().await;
        self.streams.accept(socket, from).unwrap()
    }

    async fn next(&mut self) -> StreamEvent {
        let event = timeout(Duration::from_secs(20), self.events.recv())
            .await
            .unwrap();
        self.streams.admit(event.unwrap()).unwrap()
    }
}

/// An address that nobody listens at.
fn deserted() -> SocketAddr {
    let port = crate::Port {
        number: 0,
        asked: true,
    };
    crate::ports::bind_tcp(HERE, port)
        .unwrap()
        .local_addr()
        .unwrap()
}

#[tokio::test]
async fn frames_arrive_whole_and_in_order_both_ways_at_once() {
    let (mut ann, mut bo) = (Side::new(), Side::new());
    ann.streams.open(OURS, bo.address).unwrap();
    // Sent before it is connected: they wait.
    for size in [0, 1, FRAME_BYTES_MAX] {
        ann.streams.send(OURS, &vec![7; size]).unwrap();
    }
    let theirs = bo.accept().await;
    assert_eq!(theirs, StreamId(1));
    for size in [FRAME_BYTES_MAX, 1, 0] {
        bo.streams.send(theirs, &vec![9; size]).unwrap();
    }
    for size in [0, 1, FRAME_BYTES_MAX] {
        assert_eq!(bo.next().await, StreamEvent::Frame(theirs, vec![7; size]));
    }
    for size in [FRAME_BYTES_MAX, 1, 0] {
        assert_eq!(ann.next().await, StreamEvent::Frame(OURS, vec![9; size]));
    }
}

#[tokio::test]
async fn a_deserted_port_refuses() {
    let mut ann = Side::new();
    ann.streams.open(OURS, deserted()).unwrap();
    assert_eq!(
        ann.next().await,
        StreamEvent::Ended(OURS, EndOfStream::Refused)
    );
}

#[tokio::test]
async fn a_stream_that_is_closed_delivers_what_was_sent_before() {
    let (mut ann, mut bo) = (Side::new(), Side::new());
    ann.streams.open(OURS, bo.address).unwrap();
    ann.streams.send(OURS, b"goodbye").unwrap();
    ann.streams.close(OURS);
    let theirs = bo.accept().await;
    assert_eq!(
        bo.next().await,
        StreamEvent::Frame(theirs, b"goodbye".into())
    );
    assert_eq!(
        bo.next().await,
        StreamEvent::Ended(theirs, EndOfStream::Closed)
    );
}

#[tokio::test]
async fn a_node_that_dies_ends_its_streams() {
    let (mut ann, mut bo) = (Side::new(), Side::new());
    ann.streams.open(OURS, bo.address).unwrap();
    ann.streams.send(OURS, b"here I am").unwrap();
    let theirs = bo.accept().await;
    assert!(matches!(bo.next().await, StreamEvent::Frame(..)));
    drop(ann);
    assert_eq!(
        bo.next().await,
        StreamEvent::Ended(theirs, EndOfStream::Closed)
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_says_nothing_is_not_kept() {
    let mut bo = Side::new();
    let _silent = TcpStream::connect(bo.address).await.unwrap();
    let theirs = bo.accept().await;
    assert_eq!(
        bo.next().await,
        StreamEvent::Ended(theirs, EndOfStream::Broken)
    );
}

#[tokio::test]
async fn a_huge_length_ends_the_stream() {
    let mut bo = Side::new();
    let mut liar = TcpStream::connect(bo.address).await.unwrap();
    let theirs = bo.accept().await;
    liar.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    assert_eq!(
        bo.next().await,
        StreamEvent::Ended(theirs, EndOfStream::Broken)
    );
}

#[tokio::test]
async fn a_frame_that_drips_is_cut_off_and_one_that_was_whole_stays_idle() {
    let mut bo = Side::new();
    let mut slow = TcpStream::connect(bo.address).await.unwrap();
    let theirs = bo.accept().await;
    slow.write_all(&[0, 0, 0, 1, 7]).await.unwrap();
    assert_eq!(bo.next().await, StreamEvent::Frame(theirs, vec![7]));

    // From here on time is virtual: an idle hour passes in no time.
    tokio::time::pause();
    let idle = timeout(Duration::from_secs(3_600), bo.events.recv()).await;
    assert!(idle.is_err(), "an idle stream stays: {idle:?}");

    slow.write_all(&[0, 0]).await.unwrap();
    let begun = Instant::now();
    assert_eq!(
        bo.next().await,
        StreamEvent::Ended(theirs, EndOfStream::Broken)
    );
    assert!(begun.elapsed() < connection::FRAME_TIMEOUT + Duration::from_secs(1));
    let mut nothing = [0; 1];
    assert!(matches!(slow.read(&mut nothing).await, Ok(0) | Err(_)));
}

#[tokio::test]
async fn a_peer_that_does_not_read_breaks_its_stream_alone() {
    let mut ann = Side::new();
    let lazy = tokio::net::TcpListener::bind((HERE, 0)).await.unwrap();
    ann.streams.open(OURS, lazy.local_addr().unwrap()).unwrap();
    let (_never_read, _) = lazy.accept().await.unwrap();
    let frame = vec![0; FRAME_BYTES_MAX];
    let broken = async {
        while ann.streams.send(OURS, &frame).is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), broken).await.unwrap();
    ann.streams
        .send(OURS, b"nobody there")
        .expect("a stream that is gone is ignored");
}

#[tokio::test]
async fn without_streams_none_is_opened() {
    let (mut streams, _events) = Streams::new(HERE, false);
    assert_eq!(streams.open(OURS, deserted()), Err(EndOfStream::Broken));
}
