//! Watching shared entries: the present, then every change, resumed without a gap.

use std::collections::BTreeMap;
use std::time::Duration;

use dui_client::{
    ChangeKind, Client, Follow, Operation, SharedChange, Watch, WatchEvent, WatchFilter,
    WriteOptions,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::town::{DEADLINE, Resident, next};

/// What a watcher holds: a value per key.
type Held = BTreeMap<String, Vec<u8>>;

fn apply(held: &mut Held, change: SharedChange) {
    let SharedChange { change, entry } = change;
    match change {
        ChangeKind::Put => held.insert(entry.key, entry.value.as_bytes().to_vec()),
        _ => held.remove(&entry.key),
    };
}

/// Everything up to `complete`, and its id.
async fn present(watch: &mut Watch) -> (Held, String) {
    let mut held = Held::new();
    assert!(matches!(next(watch).await.event, WatchEvent::Reset(_)));
    loop {
        let watched = next(watch).await;
        match watched.event {
            WatchEvent::SharedChanged(change) => apply(&mut held, change),
            WatchEvent::Complete => return (held, watched.id.unwrap()),
            other => panic!("{other:?}"),
        }
    }
}

async fn put(client: &Client, key: &str, value: &str) {
    client
        .put(key, value, &WriteOptions::default())
        .await
        .unwrap();
}

async fn fill(client: &Client, count: usize) {
    for chunk in (0..count).collect::<Vec<_>>().chunks(1_000) {
        let puts = chunk
            .iter()
            .map(|i| Operation::put(format!("many/{i:05}"), i.to_string()));
        let results = client
            .batch(puts.collect(), &WriteOptions::default())
            .await
            .unwrap();
        assert!(results.iter().all(|result| result.status == 201));
    }
}

#[tokio::test]
async fn the_present_comes_whole_and_then_each_change() {
    let ann = Resident::start("ann", &[]).await;
    fill(&ann.client, 2_500).await;
    put(&ann.client, "other", "x").await;
    let mut watch = ann
        .client
        .watch(&WatchFilter::shared("many/"), None)
        .await
        .unwrap();
    let (held, _) = present(&mut watch).await;
    assert_eq!(held.len(), 2_500);
    assert_eq!(held["many/01234"], b"1234");

    put(&ann.client, "other", "y").await;
    put(&ann.client, "many/new", "z").await;
    ann.client
        .delete("many/00000", &WriteOptions::default())
        .await
        .unwrap();
    let brief = WriteOptions::default().ttl(Duration::from_millis(30));
    ann.client.put("many/brief", "b", &brief).await.unwrap();
    for (kind, key, value) in [
        (ChangeKind::Put, "many/new", "z"),
        (ChangeKind::Deleted, "many/00000", ""),
        (ChangeKind::Put, "many/brief", "b"),
        (ChangeKind::Expired, "many/brief", ""),
    ] {
        let WatchEvent::SharedChanged(SharedChange { change, entry }) =
            next(&mut watch).await.event
        else {
            panic!("a change");
        };
        assert_eq!((change, &*entry.key), (kind, key));
        assert_eq!(entry.value.as_bytes(), value.as_bytes());
    }
}

#[tokio::test]
async fn changes_while_the_present_is_told_are_neither_lost_nor_undone() {
    let ann = Resident::start("ann", &[]).await;
    fill(&ann.client, 3_000).await;
    let mut watch = ann
        .client
        .watch(&WatchFilter::shared(""), None)
        .await
        .unwrap();
    let writer = ann.client.clone();
    let writing = tokio::spawn(async move {
        for round in 0..400_usize {
            let key = format!("many/{:05}", round * 37 % 3_000);
            if round % 3 == 0 {
                writer.delete(&key, &WriteOptions::default()).await.unwrap();
            } else {
                put(&writer, &key, &format!("round {round}")).await;
            }
        }
        put(&writer, "zzz", "last").await;
    });
    let mut held = Held::new();
    let mut versions: BTreeMap<String, String> = BTreeMap::new();
    let mut complete = false;
    while !complete || !held.contains_key("zzz") {
        match next(&mut watch).await.event {
            WatchEvent::SharedChanged(change) => {
                let version = change.entry.version.clone();
                let before = versions.insert(change.entry.key.clone(), version.clone());
                assert!(before.is_none_or(|before| before <= version), "{change:?}");
                apply(&mut held, change);
            }
            WatchEvent::Complete => complete = true,
            WatchEvent::Reset(_) => held.clear(),
            other => panic!("{other:?}"),
        }
    }
    writing.await.unwrap();
    assert_eq!(held, listed(&ann.client).await);
}

async fn listed(client: &Client) -> Held {
    let mut listed = Held::new();
    let mut entries = client.entries("");
    while let Some(entry) = entries.next().await.unwrap() {
        listed.insert(entry.key, entry.value.as_bytes().to_vec());
    }
    listed
}

#[tokio::test]
async fn a_watch_resumes_exactly_on_the_same_run_and_begins_anew_elsewhere() {
    let ann = Resident::start("ann", &[]).await;
    let filter = WatchFilter::shared("");
    put(&ann.client, "a", "1").await;
    let mut watch = ann.client.watch(&filter, None).await.unwrap();
    // Broken off before it was complete: it begins anew.
    let early = next(&mut watch).await.id.unwrap();
    let mut again = ann.client.watch(&filter, Some(&early)).await.unwrap();
    let (held, id) = present(&mut again).await;
    assert_eq!(held.len(), 1);
    drop((watch, again));

    put(&ann.client, "a", "2").await;
    put(&ann.client, "b", "3").await;
    let mut resumed = ann.client.watch(&filter, Some(&id)).await.unwrap();
    for value in ["2", "3"] {
        let WatchEvent::SharedChanged(change) = next(&mut resumed).await.event else {
            panic!("a change, and no reset");
        };
        assert_eq!(change.entry.value.as_bytes(), value.as_bytes());
    }
    let bo = Resident::start("bo", &[]).await;
    let mut elsewhere = bo.client.watch(&filter, Some(&id)).await.unwrap();
    assert_eq!(present(&mut elsewhere).await.0, Held::new());
}

#[tokio::test]
async fn who_reads_nothing_costs_little_and_later_learns_what_is() {
    let ann = Resident::start("ann", &[]).await;
    let address = ann
        .client
        .address()
        .trim_start_matches("http://")
        .to_owned();
    let mut stuck = TcpStream::connect(&address).await.unwrap();
    let request = format!("GET /v1/watch?shared HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stuck.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 16];
    stuck.read_exact(&mut first).await.unwrap();

    // Far more than is kept for anybody.
    for round in 0..200 {
        put(&ann.client, &format!("{}", round % 8), &"x".repeat(200_000)).await;
    }
    put(&ann.client, "last", "y").await;
    let mut text = String::new();
    let read = async {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let got = stuck.read(&mut buffer).await.unwrap();
            assert_ne!(got, 0, "the stream goes on");
            text.push_str(&String::from_utf8_lossy(&buffer[..got]));
            let tail = text.len().saturating_sub(got + 64);
            if text[tail..].contains("\"key\":\"last\"") {
                break;
            }
        }
    };
    timeout(DEADLINE, read).await.unwrap();
    assert!(
        text.matches("event: reset").count() >= 2,
        "what it missed was said to be missed"
    );
    assert!(
        text.len() < 40_000_000,
        "{} bytes were kept for it",
        text.len()
    );
}

/// Reads until all is known, and this key is among it.
async fn follow_until(follow: &mut Follow, held: &mut Held, resets: &mut usize, key: &str) {
    let mut complete = false;
    let reading = async {
        while !complete || !held.contains_key(key) {
            match follow.next().await {
                Ok(watched) => match watched.event {
                    WatchEvent::Reset(_) => {
                        held.clear();
                        *resets += 1;
                    }
                    WatchEvent::SharedChanged(change) => apply(held, change),
                    WatchEvent::Complete => complete = true,
                    _ => {}
                },
                Err(error) => panic!("{error}"),
            }
        }
    };
    timeout(DEADLINE, reading).await.unwrap();
}

#[tokio::test]
async fn a_client_of_two_nodes_goes_on_with_the_other_when_one_is_gone() {
    let ann = Resident::start("ann", &[]).await;
    let bo = Resident::start("bo", &[]).await;
    let both = Client::of(&[ann.client.address(), bo.client.address()]).unwrap();
    // Not one cluster: each is filled by hand, so that it shows who is asked.
    for node in [&ann, &bo] {
        put(&node.client, "common", "1").await;
    }
    let mut follow = both.follow(WatchFilter::shared(""));
    let (mut held, mut resets) = (Held::new(), 0);
    follow_until(&mut follow, &mut held, &mut resets, "common").await;
    assert_eq!(resets, 1);

    let (gone, left) = if both.address() == ann.client.address() {
        (ann, bo)
    } else {
        (bo, ann)
    };
    put(&left.client, "after", "2").await;
    gone.stop_serving().await;
    follow_until(&mut follow, &mut held, &mut resets, "after").await;
    assert_eq!(resets, 2);
    assert_eq!(held, listed(&left.client).await);
    // Reads and writes, too.
    put(&both, "through", "3").await;
    assert_eq!(both.address(), left.client.address());
    assert!(left.client.entry("through").await.unwrap().is_some());
}
