//! Memory is bounded by configuration: whoever reads quickly gets whole bodies, whoever stalls holds up nobody.

use std::sync::Arc;

use crate::support::entry::noise;
use crate::support::http::basic;
use crate::support::{MIB, TestNode, eventually};

const SMALL: &str = "[memory]\nhot = \"8MiB\"\ntransfers = \"8MiB\"";
const TRANSFERS: &str = "larder_memory_used_bytes{budget=\"transfers\"}";
const BODY: usize = 5 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn readers_get_whole_bodies_beside_as_many_that_stall() {
    let node = Arc::new(TestNode::with(SMALL).await);
    for i in 0..8 {
        assert_eq!(node.connect().await.ci("PUT", &format!("/cache/aa{i}"), &noise(i, BODY)).await.status, 201);
    }
    let mut stalled = Vec::new();
    for i in 0..20 {
        let mut connection = node.connect().await;
        connection.head("GET", &format!("/cache/aa{}", i % 8), &[("Authorization", &basic("ci", "pw"))], None).await;
        assert_eq!(connection.try_answer_head().await.unwrap().status, 200);
        stalled.push(connection);
    }
    let readers: Vec<_> = (0..20)
        .map(|i| {
            let node = Arc::clone(&node);
            tokio::spawn(async move {
                let answer = node.connect().await.ci("GET", &format!("/cache/aa{}", i % 8), b"").await;
                assert_eq!(answer.status, 200);
                assert!(answer.body == noise(i % 8, BODY), "entry {} came back with other bytes", i % 8);
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    for budget in ["hot", "transfers"] {
        let used = node.metric(&format!("larder_memory_used_bytes{{budget=\"{budget}\"}}")).await;
        assert!(used <= (8 * MIB) as f64, "{budget}: {used}");
    }
    drop(stalled);
    eventually("what was lent is given back", async || node.metric(TRANSFERS).await == 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_large_stores_at_once_are_all_answered() {
    let node = Arc::new(TestNode::with(SMALL).await);
    let writers: Vec<_> = (0..40)
        .map(|i| {
            let node = Arc::clone(&node);
            tokio::spawn(async move {
                let answer = node.connect().await.ci("PUT", &format!("/cache/aa{i}"), &noise(i, BODY)).await;
                assert!((200..300).contains(&answer.status), "{}", answer.status);
                answer.header("x-larder-declined").is_none()
            })
        })
        .collect();
    let mut kept = 0;
    for (i, writer) in (0..).zip(writers) {
        let was_kept = writer.await.unwrap();
        let answer = node.connect().await.ci("GET", &format!("/cache/aa{i}"), b"").await;
        assert_eq!(answer.status == 200, was_kept, "an entry is there exactly when it was not declined");
        assert!(!was_kept || answer.body == noise(i, BODY), "entry {i} came back with other bytes");
        kept += usize::from(was_kept);
    }
    assert!(kept > 0);
    assert_eq!(node.metric("larder_gradle_stores_total").await, kept as f64);
    eventually("what was lent is given back", async || node.metric(TRANSFERS).await == 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stores_that_stall_hold_up_nobody() {
    let node = TestNode::with(SMALL).await;
    let mut stalled = Vec::new();
    for i in 0..60 {
        let mut connection = node.connect().await;
        let path = format!("/cache/bb{i}");
        connection.head("PUT", &path, &[("Authorization", &basic("ci", "pw"))], Some(BODY)).await;
        tokio::io::AsyncWriteExt::write_all(&mut connection.stream, &noise(i, MIB)).await.unwrap();
        stalled.push(connection);
    }
    let mut connection = node.connect().await;
    for (i, size) in [450, 70_000, MIB, BODY].into_iter().enumerate() {
        let path = format!("/cache/aa{i}");
        assert_eq!(connection.ci("PUT", &path, &noise(9, size)).await.status, 201, "{size}");
        assert!(connection.ci("GET", &path, b"").await.body == noise(9, size), "{size}");
    }
    assert!(node.metric(TRANSFERS).await <= (8 * MIB) as f64);
    drop((stalled, connection));
    eventually("what was lent is given back", async || node.metric(TRANSFERS).await == 0.0).await;
}
