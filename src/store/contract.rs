//! The contract that every backend keeps, run against each.

#![allow(clippy::disallowed_methods)]

use std::sync::Arc;

use bytes::Bytes;

use super::dir::DirStore;
use super::usage::{self, Usage};
use super::{Durability, MemoryStore, Store, StoreError, When, Write};
use crate::model::object::ObjectKey;
use crate::model::record::Header;
use crate::model::sums::Sums;

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).unwrap()
}

/// A record as it is stored: header and body.
fn record(body: &[u8]) -> Vec<Bytes> {
    let header = Header::new(body.len() as u64, Sums::of(body));
    vec![header.encode().into(), Bytes::copy_from_slice(body)]
}

async fn put(store: &dyn Store, at: &str, body: &[u8], when: When) -> Result<super::Stamp, StoreError> {
    store.write(&key(at), record(body), when, Durability::Process).await
}

async fn body(store: &dyn Store, at: &str) -> Vec<u8> {
    let fetched = store.read(&key(at), 1 << 20).await.unwrap();
    let (_, start) = Header::decode(&fetched.head).unwrap();
    fetched.head[start..].to_vec()
}

async fn contract(store: Arc<dyn Store>) {
    records(store.as_ref()).await;
    conditions(store.as_ref()).await;
    in_order(store.as_ref()).await;
    one_winner(Arc::clone(&store)).await;
    payloads(store.as_ref()).await;
    listing(store.as_ref()).await;
}

async fn records(store: &dyn Store) {
    let at = "gradle/contract/aa/aa1";
    assert!(matches!(store.read(&key(at), 10).await, Err(StoreError::NotFound)));
    let first = put(store, at, b"one", When::Always).await.unwrap();
    let read = store.read(&key(at), 1 << 20).await.unwrap();
    assert_eq!((read.tag, read.size), (first.tag.clone(), read.head.len() as u64));
    assert!(read.modified.abs_diff(first.modified) < 5_000);
    // The last writer wins, and its bytes are told apart even if they are the same.
    let second = put(store, at, b"one", When::Always).await.unwrap();
    assert_ne!(first.tag, second.tag);
    put(store, at, b"three, and longer", When::Always).await.unwrap();
    assert_eq!(body(store, at).await, b"three, and longer");
    // Less than the whole may be asked for.
    let head = store.read(&key(at), 10).await.unwrap();
    assert_eq!(head.head.len(), 10);
    assert!(head.size > 10);
    store.remove(&key(at), When::Always).await.unwrap();
    store.remove(&key(at), When::Always).await.unwrap();
    assert!(matches!(store.read(&key(at), 10).await, Err(StoreError::NotFound)));
    // Synced writes are the same to a reader.
    store.write(&key(at), record(b"synced"), When::Absent, Durability::Synced).await.unwrap();
    assert_eq!(body(store, at).await, b"synced");
}

async fn conditions(store: &dyn Store) {
    let at = "repos/contract/tag";
    let first = put(store, at, b"1", When::Absent).await.unwrap();
    assert!(matches!(put(store, at, b"2", When::Absent).await, Err(StoreError::Changed)));
    let second = put(store, at, b"2", When::Is(first.tag.clone())).await.unwrap();
    assert!(matches!(put(store, at, b"3", When::Is(first.tag.clone())).await, Err(StoreError::Changed)));
    assert_eq!(body(store, at).await, b"2");
    assert!(store.renew(&key(at), &first.tag).await.is_err());
    let renewed = store.renew(&key(at), &second.tag).await.unwrap();
    assert!(renewed.modified >= second.modified);
    assert_eq!(body(store, at).await, b"2");
    assert!(matches!(store.remove(&key(at), When::Is(first.tag.clone())).await, Err(StoreError::Changed)));
    store.remove(&key(at), When::Is(renewed.tag)).await.unwrap();
    let gone = When::Is(first.tag);
    assert!(matches!(store.remove(&key(at), gone.clone()).await, Err(StoreError::Changed)));
    assert!(put(store, at, b"4", gone).await.is_err());
}

async fn in_order(store: &dyn Store) {
    let write = |at: &str, body: &[u8], when| Write { key: key(at), parts: record(body), when };
    let both = vec![write("order/a", b"1", When::Absent), write("order/b", b"2", When::Absent)];
    let stamps = store.write_in_order(both, Durability::Synced).await;
    let read = store.read(&key("order/b"), 1 << 20).await.unwrap();
    assert_eq!(stamps.last().unwrap().as_ref().unwrap().tag, read.tag);
    let third = vec![
        write("order/a", b"3", When::Always),
        write("order/b", b"4", When::Absent),
        write("order/c", b"5", When::Absent),
    ];
    let outcomes = store.write_in_order(third, Durability::Process).await;
    assert!(matches!(outcomes.as_slice(), [Ok(_), Err(StoreError::Changed)]), "{outcomes:?}");
    assert_eq!((body(store, "order/a").await, body(store, "order/b").await), (b"3".to_vec(), b"2".to_vec()));
    assert!(matches!(store.read(&key("order/c"), 1).await, Err(StoreError::NotFound)));
}

/// Of many writers that race with one condition exactly one wins, and no reader sees anything but whole records.
async fn one_winner(store: Arc<dyn Store>) {
    for round in 0..8 {
        let at = format!("race/{round}");
        let tasks: Vec<_> = (0..16u8)
            .map(|i| {
                let (store, at) = (Arc::clone(&store), at.clone());
                tokio::spawn(async move { put(store.as_ref(), &at, &vec![i; 20_000], When::Absent).await.is_ok() })
            })
            .collect();
        let reader = {
            let (store, at) = (Arc::clone(&store), at.clone());
            tokio::spawn(async move {
                for _ in 0..50 {
                    if let Ok(fetched) = store.read(&key(&at), 1 << 20).await {
                        let (header, start) = Header::decode(&fetched.head).unwrap();
                        assert!(header.sums.holds(0, &fetched.head[start..]));
                    }
                    tokio::task::yield_now().await;
                }
            })
        };
        let mut winners = 0;
        for task in tasks {
            winners += usize::from(task.await.unwrap());
        }
        assert_eq!(winners, 1);
        reader.await.unwrap();
    }
}

async fn payloads(store: &dyn Store) {
    let at = key("gradle/contract/bb/bb1").beside(crate::clock::new_ulid());
    let bytes: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
    let mut writer = store.create(&at, Durability::Synced).await.unwrap();
    for piece in bytes.chunks(70_001) {
        writer.append(vec![Bytes::copy_from_slice(piece), Bytes::new()]).await.unwrap();
    }
    assert!(matches!(store.open(&at).await, Err(StoreError::NotFound)), "it appears only when it is finished");
    writer.finish().await.unwrap();

    let reader = store.open(&at).await.unwrap();
    assert_eq!(reader.size(), bytes.len() as u64);
    assert_eq!(reader.fill(1000, vec![0; 5000]).await.unwrap(), bytes[1000..6000]);
    assert!(matches!(reader.fill(299_999, vec![0; 2]).await, Err(StoreError::Short)));
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let check = {
        let seen = Arc::clone(&seen);
        Box::new(move |piece: &[u8]| {
            seen.lock().unwrap().extend_from_slice(piece);
            true
        })
    };
    assert!(reader.scan(5..299_000, check).await.unwrap());
    assert_eq!(*seen.lock().unwrap(), bytes[5..299_000]);
    assert!(!reader.scan(0..10, Box::new(|_| false)).await.unwrap());

    // What was opened stays readable when the payload is removed.
    store.remove(&at, When::Always).await.unwrap();
    assert_eq!(reader.fill(0, vec![0; 10]).await.unwrap(), bytes[..10]);

    // What is not finished leaves nothing.
    let mut dropped = store.create(&at, Durability::Synced).await.unwrap();
    dropped.append(vec![Bytes::from_static(b"x")]).await.unwrap();
    drop(dropped);
    assert!(matches!(store.open(&at).await, Err(StoreError::NotFound)));
}

async fn listing(store: &dyn Store) {
    let mut want = ["l/a/c", "l/a.b/x", "l/a-b", "l/a/b/d", "l/z", "l/ab"].map(str::to_owned).to_vec();
    for at in &want {
        put(store, at, b"x", When::Always).await.unwrap();
    }
    want.sort();
    for page in [1, 2, 100] {
        let (mut got, mut after) = (Vec::new(), None);
        loop {
            let listed = store.list("l/", after.as_ref(), page).await.unwrap();
            let Some(last) = listed.last() else { break };
            assert!(listed.len() <= page && listed.iter().all(|o| o.size > 0 && o.modified > 0));
            after = Some(last.key.clone());
            got.extend(listed.iter().map(|o| o.key.to_string()));
        }
        assert_eq!(got, want, "pages of {page}");
    }
    let part = store.list("l/a/", None, 100).await.unwrap();
    assert_eq!(part.iter().map(|o| o.key.as_str()).collect::<Vec<_>>(), ["l/a/b/d", "l/a/c"]);
    assert!(store.list("nothing/here", None, 10).await.unwrap().is_empty());
    assert_eq!(store.folders("l/", "", 10).await.unwrap(), ["a", "a.b"]);
    assert_eq!(store.folders("l/", "", 1).await.unwrap(), ["a"]);
    assert_eq!(store.folders("l/", "a", 10).await.unwrap(), ["a.b"]);
    assert_eq!(store.folders("l/a/", "", 10).await.unwrap(), ["b"]);
    assert!(store.folders("nothing/", "", 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract(Arc::new(MemoryStore::new(Arc::default()))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract(Arc::new(DirStore::open(dir.path(), Arc::default()).unwrap())).await;
}

#[tokio::test]
async fn a_directory_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let first = DirStore::open(dir.path(), Arc::default()).unwrap();
    let second = DirStore::open(dir.path(), Arc::default()).unwrap_err().to_string();
    assert!(second.contains("in use") && second.contains(&std::process::id().to_string()), "{second}");
    drop(first);
    // The lock goes with the last thread that holds the store.
    let third = (0..100).find_map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        DirStore::open(dir.path(), Arc::default()).ok()
    });
    assert!(third.is_some());
}

#[tokio::test]
async fn a_count_survives_its_process_and_is_walked_where_it_is_missing_or_old() {
    let dir = tempfile::tempdir().unwrap();
    let usage = Arc::new(Usage::default());
    let store = DirStore::open(dir.path(), Arc::clone(&usage)).unwrap();
    for i in 0..5 {
        put(&store, &format!("gradle/n/k{i}"), &[1; 100], When::Always).await.unwrap();
    }
    assert_eq!(usage.figures(), None, "nobody knows yet what was there before");
    usage::restore(&store, &usage).await.unwrap();
    assert_eq!(usage.figures().unwrap().objects, 5);
    put(&store, "gradle/n/k0", &[1; 200], When::Always).await.unwrap();
    store.remove(&key("gradle/n/k1"), When::Always).await.unwrap();
    let on_disk: u64 = store.list("", None, 100).await.unwrap().iter().map(|o| o.size).sum();
    assert_eq!((usage.figures().unwrap().objects, usage.figures().unwrap().bytes), (4, on_disk));

    // Ended cleanly: what was written down is believed.
    usage::save(&store, &usage, true).await.unwrap();
    put(&store, "gradle/n/unseen", b"x", When::Always).await.unwrap();
    let taken_up = Usage::default();
    usage::restore(&store, &taken_up).await.unwrap();
    assert_eq!(taken_up.figures().unwrap().objects, 4);

    // Killed after it was written down: counted again.
    usage::save(&store, &taken_up, false).await.unwrap();
    let walked = Usage::default();
    usage::restore(&store, &walked).await.unwrap();
    assert_eq!(walked.figures().unwrap().objects, 6, "five entries and the count itself");
}

#[tokio::test]
async fn leftovers_in_tmp_are_set_aside_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("tmp")).unwrap();
    std::fs::write(dir.path().join("tmp/left"), b"x").unwrap();
    let foreign = DirStore::open(dir.path(), Arc::default()).unwrap_err().to_string();
    assert!(foreign.contains("not larder's"), "{foreign}");
    assert!(dir.path().join("tmp/left").exists(), "somebody else's files stay");
    std::fs::create_dir(dir.path().join("system")).unwrap();
    std::fs::write(dir.path().join("system/format"), b"x").unwrap();
    let store = DirStore::open(dir.path(), Arc::default()).unwrap();
    assert!(!dir.path().join("tmp/left").exists());
    let tidy =
        || std::fs::read_dir(dir.path()).unwrap().all(|e| !e.unwrap().file_name().to_string_lossy().contains("old"));
    assert!((0..200).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(10));
        tidy()
    }));
    assert_eq!(store.list("", None, 10).await.unwrap().len(), 1);
}
