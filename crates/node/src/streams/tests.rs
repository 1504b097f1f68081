//! Stories of streams: two sides, and what each is told when the other misbehaves.

#![allow(clippy::unwrap_used)]

use std::net::Ipv4Addr;

use dui_core::{ClusterName, Key, Keyring, NodeId};
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
        Self::secured("town", &[])
    }

    /// Of this cluster; the first key seals.
    fn secured(cluster: &str, keys: &[u8]) -> Self {
        let keys = keys.iter().map(|key| Key::from_slice(&[*key; 32]).unwrap());
        let keys = Keyring::new(keys.collect()).unwrap();
        let cluster: ClusterName = cluster.parse().unwrap();
        let door = Arc::new(Door::new(cluster.clone(), NodeId(1)));
        let security = Arc::new(Security::new(cluster, keys));
        let listener = crate::ports::bind_tcp(
            HERE,
            crate::Port {
                number: 0,
                asked: true,
            },
        )
        .unwrap();
        let (streams, events) = Streams::new(HERE, security, door);
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
    ann.streams.open(OURS, bo.address);
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
    ann.streams.open(OURS, deserted());
    assert_eq!(
        ann.next().await,
        StreamEvent::Ended(OURS, EndOfStream::Refused)
    );
}

#[tokio::test]
async fn a_stream_that_is_closed_delivers_what_was_sent_before() {
    let (mut ann, mut bo) = (Side::new(), Side::new());
    ann.streams.open(OURS, bo.address);
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
    ann.streams.open(OURS, bo.address);
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
    ann.streams.open(OURS, lazy.local_addr().unwrap());
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

/// What each of two sides was told when one opened a stream to the other.
async fn meet(ann: &mut Side, bo: &mut Side) -> (StreamEvent, StreamEvent) {
    ann.streams.open(OURS, bo.address);
    ann.streams.send(OURS, b"hello").unwrap();
    bo.accept().await;
    let bo_heard = bo.next().await;
    if let StreamEvent::Frame(stream, _) = bo_heard {
        bo.streams.send(stream, b"welcome").unwrap();
    }
    (ann.next().await, bo_heard)
}

fn refusal(event: StreamEvent) -> String {
    match event {
        StreamEvent::Refused(_, refusal, _) => refusal.to_string(),
        other => panic!("a stranger is refused, not {other:?}"),
    }
}

#[tokio::test]
async fn sealed_frames_of_every_size_arrive_whole_and_in_order() {
    let (mut ann, mut bo) = (Side::secured("town", &[7]), Side::secured("town", &[7]));
    ann.streams.open(OURS, bo.address);
    for size in [0, 1, FRAME_BYTES_MAX] {
        ann.streams.send(OURS, &vec![7; size]).unwrap();
    }
    let theirs = bo.accept().await;
    for size in [0, 1, FRAME_BYTES_MAX] {
        assert_eq!(bo.next().await, StreamEvent::Frame(theirs, vec![7; size]));
    }
}

#[tokio::test]
async fn with_overlapping_keyrings_two_sides_understand_each_other() {
    let (mut ann, mut bo) = (
        Side::secured("town", &[1, 2]),
        Side::secured("town", &[2, 1]),
    );
    let heard = meet(&mut ann, &mut bo).await;
    assert!(matches!(
        heard,
        (StreamEvent::Frame(..), StreamEvent::Frame(..))
    ));
}

#[tokio::test]
async fn another_key_is_refused_by_fingerprints_on_both_sides() {
    let (mut ann, mut bo) = (Side::secured("town", &[1]), Side::secured("town", &[2]));
    let print = |key: u8| {
        Key::from_slice(&[key; 32])
            .unwrap()
            .fingerprint()
            .to_string()
    };
    let before = crate::clock::wall_ms();
    let (ann_heard, bo_heard) = meet(&mut ann, &mut bo).await;
    let StreamEvent::Refused(_, _, Some(told)) = &ann_heard else {
        panic!("whoever is turned away is told by whom: {ann_heard:?}");
    };
    assert_eq!(told.key, Key::from_slice(&[2; 32]).unwrap().fingerprint());
    assert!(told.may_be_of(&"town".parse().unwrap()));
    assert!((before..before + 60_000).contains(&told.wall_ms));
    let (ann_says, bo_says) = (refusal(ann_heard), refusal(bo_heard));
    for says in [&ann_says, &bo_says] {
        assert!(
            says.contains(&print(1)) && says.contains(&print(2)),
            "{says}"
        );
    }
    assert_eq!(
        ann.next().await,
        StreamEvent::Ended(OURS, EndOfStream::Silent)
    );
    assert!(ann.streams.open.is_empty());
}

#[tokio::test]
async fn another_cluster_is_refused_by_name_on_both_sides() {
    let (mut ann, mut bo) = (Side::secured("blue", &[1]), Side::secured("green", &[1]));
    let (ann_heard, bo_heard) = meet(&mut ann, &mut bo).await;
    assert!(refusal(ann_heard).starts_with("cluster 'green'"));
    assert!(refusal(bo_heard).starts_with("cluster 'blue'"));
}

#[tokio::test]
async fn who_has_a_key_takes_nothing_in_clear() {
    let (mut ann, mut bo) = (Side::new(), Side::secured("town", &[1]));
    let (_, bo_heard) = meet(&mut ann, &mut bo).await;
    assert!(refusal(bo_heard).contains("is not sealed"));
}

/// Bytes of a handshake and a first frame, taken down by somebody in between.
#[tokio::test]
async fn a_recorded_stream_sent_again_says_nothing() {
    let (mut ann, mut bo) = (Side::secured("town", &[1]), Side::secured("town", &[1]));
    let between = tokio::net::TcpListener::bind((HERE, 0)).await.unwrap();
    ann.streams.open(OURS, between.local_addr().unwrap());
    ann.streams.send(OURS, b"ann is here").unwrap();
    let (mut from_ann, _) = between.accept().await.unwrap();
    let mut to_bo = TcpStream::connect(bo.address).await.unwrap();
    let theirs = bo.accept().await;
    let mut record = Vec::new();
    let mut buffer = [0; 1_024];
    let heard = loop {
        tokio::select! {
            read = from_ann.read(&mut buffer) => {
                let said = &buffer[..read.unwrap()];
                record.extend_from_slice(said);
                to_bo.write_all(said).await.unwrap();
            }
            () = async { to_bo.readable().await.unwrap() } => {
                let mut answer = [0; 1_024];
                if let Ok(read) = to_bo.try_read(&mut answer) {
                    from_ann.write_all(&answer[..read]).await.unwrap();
                }
            }
            event = bo.next() => break event,
        }
    };
    assert_eq!(heard, StreamEvent::Frame(theirs, b"ann is here".into()));
    assert!(
        !record.windows(11).any(|part| part == b"ann is here"),
        "in clear"
    );
    assert!(!record.windows(4).any(|part| part == b"town"), "in clear");

    let mut again = TcpStream::connect(bo.address).await.unwrap();
    let replayed = bo.accept().await;
    again.write_all(&record).await.unwrap();
    assert_eq!(
        bo.next().await,
        StreamEvent::Ended(replayed, EndOfStream::Broken)
    );
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_stops_in_the_middle_is_not_waited_for() {
    let mut bo = Side::secured("town", &[1]);
    let mut stalls = TcpStream::connect(bo.address).await.unwrap();
    let theirs = bo.accept().await;
    stalls.write_all(&[1, 0, 0]).await.unwrap();
    let begun = Instant::now();
    assert_eq!(
        bo.next().await,
        StreamEvent::Ended(theirs, EndOfStream::Silent)
    );
    assert!(begun.elapsed() < secure::HANDSHAKE_TIMEOUT + Duration::from_secs(1));
    assert!(bo.streams.open.is_empty());
}

#[tokio::test]
async fn noise_instead_of_a_handshake_ends_the_stream() {
    let mut bo = Side::secured("town", &[1]);
    let print = Key::from_slice(&[1; 32]).unwrap().fingerprint().0;
    let right_key = [&[1][..], &print, &[0, 64], &[0xee; 64]].concat();
    let long = [&[1][..], &print, &[0xff, 0xff], &[0xee; 300]].concat();
    for bytes in [vec![9; 80], vec![0xff; 3_000], right_key, long] {
        let mut liar = TcpStream::connect(bo.address).await.unwrap();
        let theirs = bo.accept().await;
        liar.write_all(&bytes).await.unwrap();
        let heard = loop {
            match bo.next().await {
                StreamEvent::Refused(..) => {}
                other => break other,
            }
        };
        assert_eq!(heard, StreamEvent::Ended(theirs, EndOfStream::Silent));
    }
}

/// 10,000 strangers with another key, and 10,000 that stop in the middle:
/// none is remembered, and a friend gets in beside them.
#[tokio::test]
async fn ten_thousand_strangers_leave_nothing_behind() {
    let mut bo = Side::secured("town", &[1]);
    let print = Key::from_slice(&[1; 32]).unwrap().fingerprint().0;
    let other_key = [&[1][..], &[9, 9, 9, 9], &[0, 4], b"noise"].concat();
    let stops = [&[1][..], &print, &[0]].concat();
    for n in 0..20_000 {
        let mut stranger = TcpStream::connect(bo.address).await.unwrap();
        let (socket, from) = bo.listener.accept().await;
        bo.streams.accept(socket, from);
        let bytes = if n % 2 == 0 { &other_key } else { &stops };
        // A stranger that was turned away may find its stream reset.
        let _ = stranger.write_all(bytes).await;
        drop(stranger);
        while let Ok(event) = bo.events.try_recv() {
            let _ = bo.streams.admit(event);
        }
        assert!(
            bo.streams.open.len() <= 300,
            "{} after {n}",
            bo.streams.open.len()
        );
        tokio::task::yield_now().await;
    }
    let mut ann = Side::secured("town", &[1]);
    let friend = async {
        loop {
            ann.streams.open(OURS, bo.address);
            ann.streams.send(OURS, b"hello").unwrap();
            let (socket, from) = bo.listener.accept().await;
            if bo.streams.accept(socket, from).is_none() {
                let _ = timeout(Duration::from_millis(50), bo.next()).await;
                continue;
            }
            loop {
                if let StreamEvent::Frame(_, frame) = bo.next().await {
                    return frame;
                }
            }
        }
    };
    assert_eq!(
        timeout(Duration::from_secs(20), friend).await.unwrap(),
        b"hello"
    );
    while bo.streams.open.len() > 1 {
        let _ = timeout(Duration::from_secs(20), bo.next()).await.unwrap();
    }
}
