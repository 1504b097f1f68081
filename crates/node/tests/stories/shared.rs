//! Shared entries of a node: written, read, kept across restarts, refused when damaged.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dui_node::core::{Acks, Change, EntryKey, Event};
use dui_node::{Handle, Node, SharedWrite, StartError, StorageError, WriteFailure, WriteResult};

use crate::town::{Town, hears};

fn key(text: &str) -> EntryKey {
    EntryKey::new(text).unwrap()
}

fn put(name: &str, value: &[u8]) -> SharedWrite {
    SharedWrite::Put {
        key: key(name),
        value: value.to_vec(),
        content_type: None,
        ttl: None,
    }
}

async fn write(node: &Handle, write: SharedWrite) -> WriteResult {
    let timeout = Duration::from_secs(20);
    let results = node.write(vec![write], Acks::Here, timeout).await;
    results.unwrap().pop().unwrap()
}

async fn value(node: &Handle, key: &str) -> Option<Vec<u8>> {
    let found = node.entry(key.into()).await.unwrap();
    found.map(|found| found.entry.value().to_vec())
}

async fn node(dir: &Path) -> Node {
    let town = Town::new();
    Node::start(town.options_with_dir("ann", dir))
        .await
        .unwrap()
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let found = fs::read_dir(dir.join("entries")).unwrap();
    let mut files: Vec<_> = found.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_value_is_there_until_it_is_deleted_and_everybody_who_watches_hears_of_it() {
    let node = Town::new().start("ann").await;
    let ann = node.handle();
    let mut news = ann.subscribe(None).await.unwrap();
    let first = write(&ann, put("a/b", b"1")).await.unwrap();
    assert!(!first.existed);
    let second = write(&ann, put("a/b", b"2")).await.unwrap();
    assert!(second.existed && second.version > first.version);
    assert_eq!(value(&ann, "a/b").await.unwrap(), b"2");

    let delete = || SharedWrite::Delete { key: key("a/b") };
    assert!(write(&ann, delete()).await.unwrap().existed);
    assert_eq!(write(&ann, delete()).await, Err(WriteFailure::Unknown));
    assert_eq!(value(&ann, "a/b").await, None);

    let mut heard = Vec::new();
    while heard.len() < 3 {
        heard.push(
            hears(&mut news, |event| match event {
                Event::SharedChanged { change, .. } => Some(*change),
                _ => None,
            })
            .await,
        );
    }
    assert_eq!(heard, [Change::Put, Change::Put, Change::Deleted]);
}

#[tokio::test]
async fn an_answer_that_too_few_can_give_comes_when_the_time_is_over_and_the_write_stays() {
    let node = Town::new().start("ann").await;
    let ann = node.handle();
    let short = Duration::from_millis(100);
    let written = ann.write(vec![put("a", b"1")], Acks::Count(2), short).await;
    let failure = written.unwrap().pop().unwrap().unwrap_err();
    assert_eq!(failure, WriteFailure::Timeout { acked: 1 });
    assert_eq!(value(&ann, "a").await.unwrap(), b"1");
}

#[tokio::test]
async fn entries_outlive_the_process_and_so_do_their_deletes() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3_u8 {
        let node = node(dir.path()).await;
        let ann = node.handle();
        if round > 0 {
            assert_eq!(value(&ann, "kept").await, Some(vec![round - 1; 100]));
            assert_eq!(value(&ann, "deleted").await, None);
        }
        write(&ann, put("kept", &[round; 100])).await.unwrap();
        write(&ann, put("deleted", b"x")).await.unwrap();
        let delete = SharedWrite::Delete {
            key: key("deleted"),
        };
        write(&ann, delete).await.unwrap();
        node.stop().await;
    }
}

#[tokio::test]
async fn what_is_written_over_and_over_does_not_fill_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let node = self::node(dir.path()).await;
    let ann = node.handle();
    // 80 MiB of writes, of which 5 MiB stay.
    for round in 0..16_u8 {
        for name in ["a", "b", "c", "d", "e"] {
            write(&ann, put(name, &vec![round; 1 << 20])).await.unwrap();
        }
    }
    let bytes: u64 = files(dir.path())
        .iter()
        .map(|file| fs::metadata(file).map_or(0, |found| found.len()))
        .sum();
    assert!(bytes < 48 << 20, "{bytes} bytes in {:?}", files(dir.path()));
    node.stop().await;
    assert!(
        files(dir.path())
            .iter()
            .any(|file| file.to_string_lossy().contains("checkpoint-")),
        "{:?}",
        files(dir.path())
    );
    let node = self::node(dir.path()).await;
    for name in ["a", "b", "c", "d", "e"] {
        let value = value(&node.handle(), name).await.unwrap();
        assert!(value == vec![15; 1 << 20], "{name}");
    }
}

#[tokio::test]
async fn damage_is_named_and_nothing_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let node = self::node(dir.path()).await;
    for round in 0..20_u8 {
        write(&node.handle(), put("a", &[round; 100]))
            .await
            .unwrap();
    }
    node.stop().await;
    let file = &files(dir.path())[0];
    let mut bytes = fs::read(file).unwrap();
    bytes[700] ^= 4;
    fs::write(file, bytes).unwrap();

    let town = Town::new();
    let refused = Node::start(town.options_with_dir("ann", dir.path())).await;
    let error = refused.unwrap_err();
    let named = matches!(
        &error,
        StartError::Storage(StorageError::Entries { file: of, .. }) if of == file
    );
    assert!(named, "{error}");
    assert!(error.to_string().contains("at byte"), "{error}");

    // The remedy that it tells.
    fs::rename(dir.path().join("entries"), dir.path().join("aside")).unwrap();
    let node = self::node(dir.path()).await;
    assert_eq!(value(&node.handle(), "a").await, None);
}
