//! Connections: who is cut and who is not, how many there may be, and how a node leaves.

use std::time::{Duration, Instant};

use larder::app::Stop;
use tokio::io::AsyncWriteExt as _;

use crate::support::entry::noise;
use crate::support::http::basic;
use crate::support::{Connection, MIB, PATIENCE, TestNode, disk, eventually};

const SHORT: &str = "[server]\nheader_timeout = \"300ms\"\nidle_timeout = \"300ms\"\nkeep_alive = \"1s\"\n";

async fn cut(node: &TestNode, reason: &str) -> f64 {
    node.metric(&format!("larder_connections_cut_total{{reason=\"{reason}\"}}")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_is_cut() {
    let node = TestNode::with(SHORT).await;
    let mut silent = node.connect().await;
    assert!(silent.is_closed_within(PATIENCE).await);
    assert_eq!(cut(&node, "slow-head").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_comes_byte_by_byte_is_cut_also_on_a_connection_that_was_used() {
    let node = TestNode::with(SHORT).await;
    let mut used = node.connect().await;
    assert_eq!(used.ci("GET", "/cache/aa", b"").await.status, 404);
    for mut slow in [node.connect().await, used] {
        let until = Instant::now() + PATIENCE;
        slow.stream.write_all(b"GET /cache/aa HTTP/1.1\r\nX-Slow: ").await.unwrap();
        while slow.stream.write_all(b"x").await.is_ok() {
            assert!(Instant::now() < until, "a slow head is never cut");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
    assert_eq!(cut(&node, "slow-head").await, 2.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_whose_body_stalls_is_cut_and_leaves_nothing() {
    let node = TestNode::with(SHORT).await;
    let before = disk::files(node.data());
    for (declared, sent) in [(450, 0), (450, 200), (3 * MIB, MIB)] {
        let mut stalled = node.connect().await;
        stalled.head("PUT", "/cache/aa", &[("Authorization", &basic("ci", "pw"))], Some(declared)).await;
        stalled.stream.write_all(&noise(1, sent)).await.unwrap();
        assert!(stalled.is_closed_within(PATIENCE).await, "{sent} of {declared}");
    }
    assert_eq!(cut(&node, "stalled").await, 3.0);
    eventually("no file is left", async || disk::files(node.data()) == before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_that_moves_is_not_cut() {
    let node = TestNode::with(SHORT).await;
    let mut slow = node.connect().await;
    let body = noise(1, 20);
    slow.head("PUT", "/cache/aa", &[("Authorization", &basic("ci", "pw"))], Some(20)).await;
    for byte in body.chunks(1) {
        slow.stream.write_all(byte).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(slow.answer("PUT").await.status, 201, "it took three times the idle limit");
    assert_eq!(node.connect().await.ci("GET", "/cache/aa", b"").await.body, body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stops_reading_is_cut() {
    let node = TestNode::with(SHORT).await;
    assert_eq!(node.connect().await.ci("PUT", "/cache/aa", &noise(1, 32 * MIB)).await.status, 201);
    let mut stalled = node.connect().await;
    stalled.head("GET", "/cache/aa", &[("Authorization", &basic("ci", "pw"))], None).await;
    eventually("it is cut", async || cut(&node, "stalled").await == 1.0).await;
    assert!(stalled.try_answer("GET").await.is_none(), "it never gets a whole body");
    let transfers = "larder_memory_used_bytes{budget=\"transfers\"}";
    eventually("it gives its memory back", async || node.metric(transfers).await == 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_rest_longer_than_announced_but_not_forever() {
    let node = TestNode::with(SHORT).await;
    let mut connection = node.connect().await;
    let answer = connection.ci("GET", "/cache/aa", b"").await;
    assert_eq!(answer.header("keep-alive"), Some("timeout=1"));
    tokio::time::sleep(Duration::from_millis(1300)).await;
    assert_eq!(connection.ci("PUT", "/cache/aa", b"body").await.status, 201, "just after the time that was announced");
    assert!(connection.is_closed_within(PATIENCE).await);
    assert_eq!(cut(&node, "rested").await, 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_allowed_wait_until_one_leaves() {
    let node = TestNode::with("[server]\nmax_connections = 2").await;
    let (mut first, mut second) = (node.connect().await, node.connect().await);
    assert_eq!(first.ci("GET", "/cache/aa", b"").await.status, 404);
    assert_eq!(second.ci("GET", "/cache/aa", b"").await.status, 404);
    let mut third = node.connect().await;
    third.head("GET", "/cache/aa", &[("Authorization", &basic("ci", "pw"))], None).await;
    let answered = tokio::time::timeout(Duration::from_millis(300), third.answer("GET")).await;
    assert!(answered.is_err(), "the third one is served beside the two that are allowed");
    assert_eq!(first.ci("GET", "/cache/aa", b"").await.status, 404, "the others are not disturbed");
    drop(first);
    assert_eq!(third.answer("GET").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_says_so_first_and_finishes_what_it_began() {
    let mut node = TestNode::with("[server]\ndrain_accept = \"1500ms\"\ndrain_total = \"15s\"").await;
    let credentials = basic("ci", "pw");
    let mut in_flight = node.connect().await;
    in_flight.head("PUT", "/cache/aa", &[("Authorization", &credentials)], Some(200_000)).await;
    in_flight.stream.write_all(&noise(1, 100_000)).await.unwrap();
    let mut kept = node.connect().await;
    assert_eq!(kept.send("GET", "/readyz", &[], b"").await.status, 200);

    let left = Instant::now();
    node.tell(Stop::Leave);
    eventually("it is not ready", async || node.connect().await.send("GET", "/readyz", &[], b"").await.status == 503)
        .await;
    assert!(left.elapsed() < Duration::from_millis(1400), "at once, not at the end: {:?}", left.elapsed());
    let answer = kept.ci("PUT", "/cache/ab", b"late").await;
    assert_eq!((answer.status, answer.header("connection")), (201, Some("close")));
    assert!(kept.is_closed_within(PATIENCE).await);
    assert_eq!(node.connect().await.ci("GET", "/cache/ab", b"").await.status, 200, "new ones are still accepted");

    eventually("nobody listens", async || Connection::try_open(node.address).await.is_none()).await;
    in_flight.stream.write_all(&noise(1, 200_000)[100_000..]).await.unwrap();
    let answer = in_flight.answer("PUT").await;
    assert_eq!((answer.status, answer.header("connection")), (201, Some("close")));
    tokio::time::timeout(Duration::from_secs(10), node.ended()).await.expect("it ends with the last request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_ends_does_not_keep_a_leaving_node() {
    let mut node = TestNode::with("[server]\ndrain_accept = \"100ms\"\ndrain_total = \"1s\"").await;
    let mut endless = node.connect().await;
    endless.head("PUT", "/cache/aa", &[("Authorization", &basic("ci", "pw"))], Some(1000)).await;
    assert_eq!(node.connect().await.ci("GET", "/cache/aa", b"").await.status, 404);
    node.tell(Stop::Leave);
    tokio::time::timeout(Duration::from_secs(10), node.ended()).await.expect("it ends without the request");
    assert!(endless.is_closed_within(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_now_does_not_wait_for_connections_that_rest() {
    let mut node = TestNode::start().await;
    let mut resting = node.connect().await;
    assert_eq!(resting.ci("GET", "/cache/aa", b"").await.status, 404);
    let mut silent = node.connect().await;
    let begun = Instant::now();
    node.tell(Stop::Now);
    node.ended().await;
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert!(resting.is_closed_within(PATIENCE).await && silent.is_closed_within(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_is_closed_and_the_node_lives() {
    let node = TestNode::start().await;
    let long_header = format!("GET / HTTP/1.1\r\nX-Long: {}\r\n\r\n", "x".repeat(300_000));
    let long_path = format!("GET /cache/{} HTTP/1.1\r\n\r\n", "a".repeat(300_000));
    let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(5000));
    let garbage = noise(1, 1000);
    let cases: [(&str, &[u8]); 8] = [
        ("garbage", &garbage),
        ("words", b"hello, who is there?\r\n\r\n"),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        ("a giant header", long_header.as_bytes()),
        ("a giant path", long_path.as_bytes()),
        ("many headers", many_headers.as_bytes()),
        ("two lengths", b"PUT /cache/aa HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
    ];
    for (what, bytes) in cases {
        let mut connection = node.connect().await;
        let _ = connection.stream.write_all(bytes).await;
        // An answer may come first, never one that says yes.
        if let Ok(Some(answer)) = tokio::time::timeout(PATIENCE, connection.try_answer_head()).await {
            assert!((400..500).contains(&answer.status), "{what}: {}", answer.status);
        }
        let until = Instant::now() + PATIENCE;
        while !connection.is_closed_within(PATIENCE).await {
            assert!(Instant::now() < until, "{what} keeps its connection");
        }
        assert_eq!(node.connect().await.ci("GET", "/cache/aa", b"").await.status, 404, "after {what}");
    }
    assert_eq!(node.metric("larder_panics_total").await, 0.0);
}
