//! Stores that are looked into, and stores that are declined.

use crate::support::entry::{entry, noise};
use crate::support::http::basic;
use crate::support::{Answer, MIB, TestNode, disk};
use larder::app::Stop;
use larder::store::faults::Fault;

fn told(answer: &Answer) -> (u16, Option<&str>) {
    (answer.status, answer.header("x-larder-declined"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_above_the_limit_is_read_to_its_end_and_declined() {
    let node = TestNode::with("[gradle]\nmax_entry = \"1MiB\"").await;
    let before = disk::files(node.data());
    let mut connection = node.connect().await;
    let body = noise(1, 3 * MIB);
    assert_eq!(told(&connection.ci("PUT", "/cache/aa", &body).await), (200, Some("too-large")));
    assert_eq!(connection.ci("GET", "/cache/aa", b"").await.status, 404, "the connection is still good");
    assert_eq!(told(&connection.ci_chunked("/cache/aa", &body, 100_000).await), (200, Some("too-large")));
    assert_eq!(connection.ci("GET", "/cache/aa", b"").await.status, 404, "the connection is still good");
    assert_eq!(node.metric("larder_gradle_declined_total{reason=\"too-large\"}").await, 2.0);
    crate::support::eventually("no file is left", async || disk::files(node.data()) == before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_just_the_limit_is_kept() {
    let node = TestNode::with("[gradle]\nmax_entry = \"100000\"").await;
    let mut connection = node.connect().await;
    for (size, expected) in [(100_000, (201, None)), (100_001, (200, Some("too-large")))] {
        assert_eq!(told(&connection.ci("PUT", "/cache/aa", &noise(1, size)).await), expected, "{size}");
        assert_eq!(told(&connection.ci_chunked("/cache/ab", &noise(1, size), 9000).await), expected, "{size} chunked");
    }
    assert_eq!(connection.ci("GET", "/cache/aa", b"").await.body.len(), 100_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_too_large_to_drain_is_refused_before_it_is_sent() {
    let node = TestNode::with("[server]\nmax_drain = \"1MiB\"\n[gradle]\nmax_entry = \"1MiB\"").await;
    let mut connection = node.connect().await;
    let credentials = basic("ci", "pw");
    let headers = [("Authorization", credentials.as_str()), ("Expect", "100-continue")];
    connection.head("PUT", "/cache/aa", &headers, Some(8 * MIB)).await;
    let answer = connection.answer("PUT").await;
    assert_eq!(told(&answer), (200, Some("too-large")));
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(connection.is_closed_within(crate::support::PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_writes_tell_errors_with_their_reason() {
    let toml = "[gradle]\nwrites = \"strict\"\nmax_entry = \"1MiB\"\ninspect = \"full\"";
    let node = TestNode::with(toml).await;
    let mut connection = node.connect().await;
    let good = entry(":a", 1, b"out");
    assert_eq!(told(&connection.ci("PUT", "/cache/aa", &good).await), (201, None));
    assert_eq!(told(&connection.ci("PUT", "/cache/AA", &good).await), (400, Some("bad-key")));
    assert_eq!(told(&connection.ci("PUT", "/cache/aa", b"no gzip").await), (400, Some("corrupt")));
    let reader = basic("reader", "pw");
    let answer = connection.send("PUT", "/cache/aa", &[("Authorization", &reader)], &good).await;
    assert_eq!(told(&answer), (403, Some("read-only")));
    assert_eq!(told(&connection.ci("PUT", "/cache/aa", &noise(1, 2 * MIB)).await), (413, Some("too-large")));
    let chunked = connection.ci_chunked("/cache/aa", &entry(":a", 1, &noise(1, 2 * MIB)), 70_000).await;
    assert_eq!(told(&chunked), (413, Some("too-large")));
    node.faults.set_write(Fault::Error);
    assert_eq!(told(&connection.ci("PUT", "/cache/aa", &good).await), (503, Some("unavailable")));
    node.faults.set_write(Fault::Full);
    assert_eq!(told(&connection.ci("PUT", "/cache/aa", &good).await), (507, Some("no-space")));
    node.faults.set_write(Fault::None);
    assert_eq!(told(&connection.ci("PUT", "/cache/aa", &good).await), (201, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hit_saves_the_time_that_metadata_tells_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let saved = "larder_saved_seconds_total";
    let node = TestNode::over(dir.path(), "").await;
    let mut connection = node.connect().await;
    connection.ci("PUT", "/cache/aa", &entry(":app:compileJava", 3200, b"out")).await;
    connection.ci("PUT", "/cache/ab", &entry(":app:test", 60_000, &noise(1, 2 * MIB))).await;
    assert_eq!(node.metric(saved).await, 0.0, "a store saves nothing");
    connection.ci("HEAD", "/cache/aa", b"").await;
    assert_eq!(node.metric(saved).await, 0.0, "neither does a look");
    connection.ci("GET", "/cache/aa", b"").await;
    assert!((node.metric(saved).await - 3.2).abs() < 1e-9);
    connection.ci("GET", "/cache/ab", b"").await;
    assert!((node.metric(saved).await - 63.2).abs() < 1e-9);
    node.stop(Stop::Now).await;
    let node = TestNode::over(dir.path(), "").await;
    node.connect().await.ci("GET", "/cache/ab", b"").await;
    assert!((node.metric(saved).await - 60.0).abs() < 1e-9, "the record keeps it");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_gradles_is_kept_and_counted() {
    let node = TestNode::start().await;
    let mut connection = node.connect().await;
    let unrecognised = "larder_gradle_unrecognised_total";
    connection.ci("PUT", "/cache/aa", &entry(":a", 1, &noise(1, 100_000))).await;
    assert_eq!(node.metric(unrecognised).await, 0.0);
    for (i, body) in [&b"plain text"[..], &noise(1, 200_000), &[0x1f, 0x8b, 8]].into_iter().enumerate() {
        assert_eq!(told(&connection.ci("PUT", "/cache/ab", body).await), (201, None));
        assert_eq!(connection.ci("GET", "/cache/ab", b"").await.body, body);
        assert_eq!(node.metric(unrecognised).await, (i + 1) as f64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_entry_is_declined_because_an_empty_hit_fails_a_build() {
    let node = TestNode::start().await;
    let mut connection = node.connect().await;
    assert_eq!(told(&connection.ci("PUT", "/cache/ab", b"").await), (200, Some("corrupt")));
    assert_eq!(connection.ci("GET", "/cache/ab", b"").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn full_inspection_declines_what_does_not_hold_and_takes_what_does() {
    let node = TestNode::with("[gradle]\ninspect = \"full\"").await;
    let mut connection = node.connect().await;
    for outputs in [0, 5000, 3 * MIB] {
        let whole = entry(":a", 1, &noise(1, outputs));
        let mut flipped = whole.clone();
        flipped[whole.len() - 6] ^= 1;
        let mut torn = whole.clone();
        torn[whole.len() / 2] ^= 0x55;
        let longer = [whole.as_slice(), b"x"].concat();
        for (what, bad) in
            [("checksum", &flipped[..]), ("middle", &torn), ("cut", &whole[..whole.len() - 1]), ("tail", &longer)]
        {
            let path = format!("/cache/aa{outputs}");
            assert_eq!(told(&connection.ci("PUT", &path, bad).await), (200, Some("corrupt")), "{what} of {outputs}");
            let chunked = connection.ci_chunked(&path, bad, 30_000).await;
            assert_eq!(told(&chunked), (200, Some("corrupt")), "{what} of {outputs}, chunked");
            assert_eq!(connection.ci("GET", &path, b"").await.status, 404);
        }
        let path = format!("/cache/ab{outputs}");
        assert_eq!(told(&connection.ci("PUT", &path, &whole).await), (201, None));
        assert!(connection.ci("GET", &path, b"").await.body == whole);
    }
    assert_eq!(node.metric("larder_gradle_declined_total{reason=\"corrupt\"}").await, 24.0);
}
