//! Files that were damaged while the node was down: never served, told as misses, repaired by the next store.

use std::fs;
use std::path::Path;

use larder::app::Stop;

use crate::support::disk::{self, flip, truncate};
use crate::support::entry::noise;
use crate::support::{MIB, TestNode, eventually};

/// Stores an entry of this size, damages its files while the node is down, and expects one damaged record, a miss for
/// as long as nobody stores the entry again, and the new entry afterwards.
async fn is_missed_and_repaired(size: usize, damage: impl Fn(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let node = TestNode::over(dir.path(), "").await;
    let mut connection = node.connect().await;
    for path in ["/cache/0123", "/cache/4567"] {
        assert_eq!(connection.ci("PUT", path, &noise(1, size)).await.status, 201);
    }
    node.stop(Stop::Now).await;
    damage(dir.path());
    let node = TestNode::over(dir.path(), "").await;
    let mut connection = node.connect().await;
    for _ in 0..3 {
        assert_eq!(connection.ci("GET", "/cache/0123", b"").await.status, 404, "and the connection stays usable");
    }
    assert_eq!(node.metric("larder_store_corrupt_total").await, 1.0);
    assert!(connection.ci("GET", "/cache/4567", b"").await.body == noise(1, size), "its neighbour is served");
    node.stop(Stop::Now).await;
    let node = TestNode::over(dir.path(), "").await;
    let mut connection = node.connect().await;
    assert_eq!(connection.ci("GET", "/cache/0123", b"").await.status, 404, "still after another start");
    assert_eq!(connection.ci("PUT", "/cache/0123", &noise(2, size)).await.status, 201);
    assert!(connection.ci("GET", "/cache/0123", b"").await.body == noise(2, size));
    node.stop(Stop::Now).await;
    let node = TestNode::over(dir.path(), "").await;
    assert!(node.connect().await.ci("GET", "/cache/0123", b"").await.body == noise(2, size));
}

fn record(data: &Path) -> std::path::PathBuf {
    disk::record(data, "0123")
}

/// The one payload of the entry.
fn payload(data: &Path) -> std::path::PathBuf {
    let mut payloads = disk::payloads(data, "0123");
    assert_eq!(payloads.len(), 1);
    payloads.pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_header() {
    for at in [0, 12, 40, 200] {
        is_missed_and_repaired(450, |data| flip(&record(data), at)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_an_inline_body() {
    for size in [450, 65_536, 65_537, MIB] {
        is_missed_and_repaired(size, |data| flip(&record(data), -1)).await;
    }
    is_missed_and_repaired(MIB, |data| flip(&record(data), -(MIB as i64))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_the_first_or_last_chunk_of_a_payload() {
    for at in [0, 3 * MIB as i64, -1] {
        is_missed_and_repaired(5 * MIB, |data| flip(&payload(data), at)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_the_header_before_a_payload() {
    is_missed_and_repaired(2 * MIB, |data| flip(&record(data), 100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_record() {
    is_missed_and_repaired(450, |data| truncate(&record(data), 0)).await;
    is_missed_and_repaired(2 * MIB, |data| truncate(&record(data), 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_record_that_a_killed_node_left_under_its_name() {
    for size in [450, 50_000, MIB] {
        let half = |data: &Path| truncate(&record(data), fs::metadata(record(data)).unwrap().len() / 2);
        is_missed_and_repaired(size, half).await;
    }
    is_missed_and_repaired(450, |data| truncate(&record(data), 100)).await;
    is_missed_and_repaired(450, |data| truncate(&record(data), fs::metadata(record(data)).unwrap().len() - 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_with_bytes_behind_its_end() {
    for size in [450, 500_000, 2 * MIB] {
        let longer =
            |data: &Path| fs::write(record(data), [fs::read(record(data)).unwrap(), vec![0]].concat()).unwrap();
        is_missed_and_repaired(size, longer).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_payload() {
    for len in [0, 1, 3 * MIB, 5 * MIB - 1] {
        is_missed_and_repaired(5 * MIB, |data| truncate(&payload(data), len as u64)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_payload() {
    is_missed_and_repaired(2 * MIB, |data| fs::remove_file(payload(data)).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_other_bytes_altogether() {
    is_missed_and_repaired(450, |data| fs::write(record(data), noise(9, 100_000)).unwrap()).await;
    is_missed_and_repaired(450, |data| fs::write(record(data), "{\"v\":1}\n").unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_under_a_running_node_is_noticed_when_the_file_is_read() {
    let node = TestNode::with("[memory]\nhot = \"8MiB\"").await;
    let mut connection = node.connect().await;
    connection.ci("PUT", "/cache/0123", &noise(1, 5 * MIB)).await;
    flip(&payload(node.data()), 2 * MIB as i64);
    assert_eq!(connection.ci("GET", "/cache/0123", b"").await.status, 404);
    assert_eq!(node.metric("larder_store_corrupt_total").await, 1.0);
    connection.ci("PUT", "/cache/0123", &noise(2, 5 * MIB)).await;
    assert!(connection.ci("GET", "/cache/0123", b"").await.body == noise(2, 5 * MIB));
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_in_the_directory_for_temporary_files_vanish() {
    let dir = tempfile::tempdir().unwrap();
    TestNode::over(dir.path(), "").await.stop(Stop::Now).await;
    let leftover = dir.path().join("tmp/01ARZ3NDEKTSV4RRFFQ69G5FAV");
    fs::write(&leftover, noise(1, 100_000)).unwrap();
    fs::create_dir_all(dir.path().join("tmp.old.17")).unwrap();
    fs::write(dir.path().join("tmp.old.17/x"), "x").unwrap();
    let node = TestNode::over(dir.path(), "").await;
    assert!(!leftover.exists(), "set aside before the first request");
    assert_eq!(node.connect().await.ci("PUT", "/cache/0123", &noise(1, 2 * MIB)).await.status, 201);
    eventually("what was set aside is removed", async || {
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        !names.into_iter().any(|name| name.to_str().unwrap().starts_with("tmp.old."))
    })
    .await;
}
