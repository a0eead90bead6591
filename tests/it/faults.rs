//! A store that misbehaves: lookups are misses, stores are declined, and nothing has to be restarted.

use std::time::{Duration, Instant};

use larder::app::{Stop, open_store};
use larder::config::{Sources, load};
use larder::store::faults::Fault;

use crate::support::entry::noise;
use crate::support::http::basic;
use crate::support::{MIB, PATIENCE, TestNode, eventually};

const SHORT: &str = "[store]\nlookup_deadline = \"200ms\"\nread_deadline = \"200ms\"\nwrite_deadline = \"200ms\"\n";
/// Far above the short deadlines, far below the defaults.
const SOON: Duration = Duration::from_millis(1500);
const BREAKER: &str = "larder_store_breaker_open{operation=\"reads\"}";
/// Failures in a row after which the store is left alone, and some.
const MANY: usize = 8;

/// A cold node over a directory with 20 small entries `a0`.. and 20 large ones `b0`...
async fn cold(dir: &std::path::Path, toml: &str) -> TestNode {
    let node = TestNode::over(dir, "").await;
    let mut connection = node.connect().await;
    for i in 0..20 {
        assert_eq!(connection.ci("PUT", &format!("/cache/aa{i}"), &noise(i, 450)).await.status, 201);
        assert_eq!(connection.ci("PUT", &format!("/cache/bb{i}"), &noise(i, 2 * MIB)).await.status, 201);
    }
    node.stop(Stop::Now).await;
    TestNode::over(dir, toml).await
}

#[tokio::test(flavor = "multi_thread")]
async fn lookups_are_misses_within_their_deadline_and_soon_at_once() {
    for fault in [Fault::Error, Fault::Hang] {
        let dir = tempfile::tempdir().unwrap();
        let node = cold(dir.path(), SHORT).await;
        let mut connection = node.connect().await;
        node.faults.set_read(fault);
        for i in 0..MANY {
            let begun = Instant::now();
            assert_eq!(connection.ci("GET", &format!("/cache/aa{i}"), b"").await.status, 404, "{fault:?}");
            assert!(begun.elapsed() < SOON, "{fault:?}: {:?}", begun.elapsed());
        }
        assert_eq!(node.metric(BREAKER).await, 1.0, "{fault:?}: the store is left alone");
        assert_eq!(node.metric("larder_gradle_lookup_failures_total").await, MANY as f64);
        node.faults.set_read(Fault::None);
        eventually("reads heal", async || connection.ci("GET", "/cache/aa0", b"").await.status == 200).await;
        for i in 0..20 {
            let answer = connection.ci("GET", &format!("/cache/aa{i}"), b"").await;
            assert!(answer.status == 200 && answer.body == noise(i, 450), "{fault:?}: aa{i} is there again");
        }
        assert_eq!(node.metric(BREAKER).await, 0.0);
        assert_eq!(node.metric("larder_store_corrupt_total").await, 0.0, "nothing was taken for damaged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_bodies_that_hang_are_misses_and_soon_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let node = cold(dir.path(), "[store]\nread_deadline = \"400ms\"").await;
    let mut connection = node.connect().await;
    // The records are known, their bodies are not.
    for i in 0..20 {
        assert_eq!(connection.ci("HEAD", &format!("/cache/bb{i}"), b"").await.status, 200);
    }
    node.faults.set_read(Fault::Hang);
    for i in 0..MANY {
        assert_eq!(connection.ci("GET", &format!("/cache/bb{i}"), b"").await.status, 404);
    }
    assert_eq!(node.metric(BREAKER).await, 1.0, "the store is left alone");
    let begun = Instant::now();
    for i in MANY..18 {
        assert_eq!(connection.ci("GET", &format!("/cache/bb{i}"), b"").await.status, 404);
    }
    // One of these ten may be the trial that waits; ten that wait would take four seconds.
    assert!(begun.elapsed() < Duration::from_secs(2), "the store is still waited for: {:?}", begun.elapsed());
    node.faults.set_read(Fault::None);
    eventually("reads heal", async || connection.ci("GET", "/cache/bb0", b"").await.status == 200).await;
    assert!(connection.ci("GET", "/cache/bb19", b"").await.body == noise(19, 2 * MIB));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hiccup_that_many_lookups_met_at_once_is_over_soon() {
    let dir = tempfile::tempdir().unwrap();
    let node = cold(dir.path(), SHORT).await;
    node.faults.set_read(Fault::Hang);
    let lookups: Vec<_> = (0..20)
        .map(|i| {
            let address = node.address;
            tokio::spawn(async move {
                let mut connection = crate::support::Connection::open(address).await;
                connection.ci("GET", &format!("/cache/aa{i}"), b"").await.status
            })
        })
        .collect();
    for lookup in lookups {
        assert_eq!(lookup.await.unwrap(), 404);
    }
    node.faults.set_read(Fault::None);
    let begun = Instant::now();
    let mut connection = node.connect().await;
    eventually("reads heal", async || connection.ci("GET", "/cache/aa0", b"").await.status == 200).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "one hiccup cost {:?} of misses", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_finished_never_ends_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let node = TestNode::over(dir.path(), "").await;
    node.connect().await.ci("PUT", "/cache/aa", &noise(1, 32 * MIB)).await;
    node.stop(Stop::Now).await;
    let node = TestNode::over(dir.path(), &format!("{SHORT}[memory]\nhot = \"4MiB\"")).await;
    for fault in [Fault::Error, Fault::Hang] {
        let hits = node.metric("larder_gradle_hits_total").await;
        let mut connection = node.connect().await;
        connection.head("GET", "/cache/aa", &[("Authorization", &basic("ci", "pw"))], None).await;
        // Most of the body is still in the store: so much does not fit into sockets.
        eventually("it is a hit", async || node.metric("larder_gradle_hits_total").await > hits).await;
        node.faults.set_read(fault);
        assert!(connection.try_answer("GET").await.is_none(), "{fault:?}: the body claims to be whole");
        node.faults.set_read(Fault::None);
        let mut again = node.connect().await;
        eventually("it is whole again", async || {
            let answer = again.ci("GET", "/cache/aa", b"").await;
            answer.status == 200 && answer.body == noise(1, 32 * MIB)
        })
        .await;
    }
    assert_eq!(node.metric("larder_store_corrupt_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_are_declined_within_their_deadline_and_taken_again_later() {
    for (fault, reason) in [(Fault::Error, "unavailable"), (Fault::Hang, "unavailable"), (Fault::Full, "no-space")] {
        let node = TestNode::with(SHORT).await;
        let mut connection = node.connect().await;
        node.faults.set_write(fault);
        for (i, size) in [450, 200_000, 3 * MIB].repeat(3).into_iter().enumerate() {
            let begun = Instant::now();
            let answer = connection.ci("PUT", &format!("/cache/aa{i}"), &noise(1, size)).await;
            assert_eq!((answer.status, answer.header("x-larder-declined")), (200, Some(reason)), "{fault:?} {size}");
            assert!(begun.elapsed() < SOON, "{fault:?} {size}: {:?}", begun.elapsed());
            assert_eq!(connection.ci("GET", &format!("/cache/aa{i}"), b"").await.status, 404, "{fault:?} {size}");
        }
        assert_eq!(node.metric(&format!("larder_gradle_declined_total{{reason=\"{reason}\"}}")).await, 9.0);
        node.faults.set_write(Fault::None);
        for (i, size) in [450, 200_000, 3 * MIB].into_iter().enumerate() {
            let path = format!("/cache/aa{i}");
            let stored = async || connection.ci("PUT", &path, &noise(2, size)).await.status == 201;
            eventually("writes heal", stored).await;
            assert!(connection.ci("GET", &path, b"").await.body == noise(2, size), "{fault:?} {size}");
        }
        eventually("no half body is left in tmp/", async || {
            crate::support::disk::files(&node.data().join("tmp")).is_empty()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_stays_there_when_a_store_over_it_is_declined() {
    let node = TestNode::with(SHORT).await;
    let mut connection = node.connect().await;
    for size in [450, 2 * MIB] {
        let path = format!("/cache/aa{size}");
        connection.ci("PUT", &path, &noise(1, size)).await;
        for fault in [Fault::Error, Fault::Full] {
            node.faults.set_write(fault);
            assert_eq!(connection.ci("PUT", &path, &noise(2, size)).await.status, 200);
            node.faults.set_write(Fault::None);
            assert!(connection.ci("GET", &path, b"").await.body == noise(1, size), "{fault:?} {size}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_memory_is_served_while_the_store_hangs() {
    let node = TestNode::with(SHORT).await;
    let mut connection = node.connect().await;
    let sizes = [450, 60_000, 500_000, 3 * MIB];
    for size in sizes {
        connection.ci("PUT", &format!("/cache/aa{size}"), &noise(1, size)).await;
        connection.ci("GET", &format!("/cache/aa{size}"), b"").await;
    }
    assert_eq!(connection.ci("GET", "/cache/abcd", b"").await.status, 404);
    node.faults.set_read(Fault::Hang);
    node.faults.set_write(Fault::Hang);
    let begun = Instant::now();
    for size in sizes.repeat(3) {
        let answer = connection.ci("GET", &format!("/cache/aa{size}"), b"").await;
        assert!(answer.status == 200 && answer.body == noise(1, size), "{size}");
    }
    assert_eq!(connection.ci("GET", "/cache/abcd", b"").await.status, 404);
    for page in ["/readyz", "/healthz", "/metrics", "/"] {
        assert_eq!(connection.send("GET", page, &[], b"").await.status, 200, "{page} does not ask the store");
    }
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
    assert_eq!(node.metric("larder_gradle_lookup_failures_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_from_a_store_that_hangs_ends_with_an_error() {
    let node = TestNode::with(SHORT).await;
    let mut connection = node.connect().await;
    connection.ci("PUT", "/cache/aa", b"body").await;
    let boss = basic("boss", "pw");
    for (read, write) in [(Fault::Hang, Fault::None), (Fault::None, Fault::Hang)] {
        node.faults.set_read(read);
        node.faults.set_write(write);
        connection.head("DELETE", "/cache/aa", &[("Authorization", &boss)], None).await;
        let answer = tokio::time::timeout(Duration::from_secs(5), connection.answer("DELETE")).await;
        assert_eq!(answer.expect("an answer within a multiple of the deadlines").status, 503);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_on_the_same_directory_is_told_who_holds_it() {
    let node = TestNode::start().await;
    let sources = Sources { data: Some(node.data().to_owned()), ..Sources::default() };
    let error = open_store(&load(&sources).unwrap().0).await.unwrap_err();
    assert!(error.contains(node.data().to_str().unwrap()), "{error}");
    assert!(error.contains(&format!("process {}", std::process::id())) && error.contains("--data"), "{error}");
    assert!(!error.contains('\n'), "{error}");
    assert_eq!(node.connect().await.ci("PUT", "/cache/aa", b"x").await.status, 201, "the first one is not disturbed");
}
