//! Builds of Gradle 8 and 9 as they look on the wire: whatever happens to the node, none of them is hurt.

use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::app::Stop;
use larder::store::faults::Fault;

use crate::support::gradle_client::{GradleClient, Plan, Seen, build, unhurt, unhurt_build};
use crate::support::node::user;
use crate::support::{PATIENCE, TestNode, disk};

/// Deadlines of a node whose store is going to misbehave.
const SHORT: &str = "[store]\nlookup_deadline = \"200ms\"\nread_deadline = \"1s\"\nwrite_deadline = \"200ms\"\n";

fn client(node: &TestNode) -> GradleClient {
    GradleClient::new(node.address, "8.10")
}

fn counts(seen: &Seen) -> (usize, usize, usize) {
    (seen.hits, seen.misses, seen.stores)
}

/// Builds until everything is in the cache again: what is declined under a fault is stored by a later build.
async fn builds_until_all_hits(node: &TestNode, plan: &Arc<Plan>) {
    let until = Instant::now() + PATIENCE;
    while unhurt_build(node.address, plan).await.hits < plan.tasks.len() {
        assert!(Instant::now() < until, "the cache does not heal");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_fills_the_cache_and_the_next_takes_everything_from_it() {
    let dir = tempfile::tempdir().unwrap();
    let node = TestNode::over(dir.path(), "").await;
    let plan = Plan::mix(1, 200);
    let first = Arc::new(client(&node));
    assert_eq!(counts(&unhurt(&first, &plan).await), (0, 200, 200));
    assert!(first.seen().connections <= 20, "connections are kept alive: {:?}", first.seen());
    assert_eq!(counts(&unhurt_build(node.address, &plan).await), (200, 0, 0));
    node.stop(Stop::Now).await;
    let node = TestNode::over(dir.path(), "").await;
    let nine = Arc::new(GradleClient::new(node.address, "9.1.0"));
    assert_eq!(counts(&unhurt(&nine, &plan).await), (200, 0, 0), "cold, and with another Gradle");
    assert!(nine.seen().connections <= 20);
    assert_eq!(node.metric("larder_gradle_unrecognised_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_before_it_sends_is_never_kept_waiting() {
    let node = TestNode::with("[gradle]\nmax_entry = \"64KiB\"").await;
    let plan = Plan::mix(2, 60);
    for user in ["ci", "reader"] {
        let client = Arc::new(client(&node).of(user).that_asks());
        unhurt(&client, &plan).await;
        assert_eq!(client.seen().stalls, 0, "{user}: every 100 came before the three seconds were over");
        assert!(client.seen().connections <= 20, "{user}: no connection was lost");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_above_the_limit_are_missed_and_nothing_else() {
    let node = TestNode::with("[gradle]\nmax_entry = \"16KiB\"").await;
    let plan = Plan::mix(3, 60);
    let small = plan.tasks.iter().filter(|(_, entry)| entry.len() <= 16 << 10).count();
    assert!(small > 20 && small < 60);
    assert_eq!(counts(&unhurt_build(node.address, &plan).await), (0, 60, 60));
    assert_eq!(counts(&unhurt_build(node.address, &plan).await), (small, 60 - small, 60 - small));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_may_only_read_or_not_even_that_builds_on() {
    let node = TestNode::start().await;
    let plan = Plan::mix(4, 40);
    let reader = Arc::new(client(&node).of("reader"));
    assert_eq!(counts(&unhurt(&reader, &plan).await), (0, 40, 40));
    assert_eq!(counts(&unhurt_build(node.address, &plan).await).0, 0, "nothing of the reader was kept");
    assert_eq!(counts(&unhurt(&reader, &plan).await), (40, 0, 0));
    let dir = tempfile::tempdir().unwrap();
    let users = user("a", &["gradle:team-a=read-write"]);
    let node = TestNode::configured(dir.path(), &users).await;
    let stranger = Arc::new(client(&node).of("a").within("team-b/"));
    for _ in 0..2 {
        assert_eq!(counts(&unhurt(&stranger, &plan).await), (0, 40, 40));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_the_one_thing_that_is_told() {
    let node = TestNode::start().await;
    let stranger = Arc::new(client(&node).of("nobody"));
    let seen = build(&stranger, &Plan::mix(5, 5)).await;
    assert_eq!(seen.disabled.as_deref(), Some("401 to a lookup"), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_fail_or_hang_are_misses_until_they_work_again() {
    let plan = Plan::mix(6, 40);
    for fault in [Fault::Error, Fault::Hang] {
        let dir = tempfile::tempdir().unwrap();
        let node = TestNode::over(dir.path(), SHORT).await;
        unhurt_build(node.address, &plan).await;
        node.stop(Stop::Now).await;
        let node = TestNode::over(dir.path(), SHORT).await;
        node.faults.set_read(fault);
        let begun = Instant::now();
        assert!(unhurt_build(node.address, &plan).await.misses > 0, "{fault:?}");
        assert!(begun.elapsed() < PATIENCE, "{fault:?}");
        node.faults.set_read(Fault::None);
        builds_until_all_hits(&node, &plan).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_that_fail_or_hang_or_find_no_space_are_declined_until_they_work_again() {
    let plan = Plan::mix(7, 40);
    for fault in [Fault::Error, Fault::Hang, Fault::Full] {
        let node = TestNode::with(SHORT).await;
        node.faults.set_write(fault);
        assert_eq!(counts(&unhurt_build(node.address, &plan).await), (0, 40, 40), "{fault:?}");
        node.faults.set_write(Fault::None);
        builds_until_all_hits(&node, &plan).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_that_come_and_go_during_builds_are_not_noticed() {
    let node = Arc::new(TestNode::with(&format!("{SHORT}[memory]\nhot = \"1MiB\"\n")).await);
    let turning = {
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            for fault in [Fault::Hang, Fault::None, Fault::Error, Fault::None, Fault::Full, Fault::None].repeat(2) {
                node.faults.set_write(fault);
                tokio::time::sleep(Duration::from_millis(60)).await;
                node.faults.set_read(if fault == Fault::Full { Fault::Hang } else { fault });
                tokio::time::sleep(Duration::from_millis(60)).await;
            }
            node.faults.set_read(Fault::None);
        })
    };
    // Bodies that are sent in one piece: one that the store breaks off in the middle cannot be hidden.
    let plan = Plan::mix_of_small(8, 120);
    while !turning.is_finished() {
        unhurt_build(node.address, &plan).await;
    }
    turning.await.unwrap();
    builds_until_all_hits(&node, &plan).await;
    assert_eq!(node.metric("larder_store_corrupt_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_are_missed_and_stored_again() {
    let dir = tempfile::tempdir().unwrap();
    let plan = Plan::mix(9, 80);
    let node = TestNode::over(dir.path(), "").await;
    unhurt_build(node.address, &plan).await;
    node.stop(Stop::Now).await;
    for (i, (key, _)) in plan.tasks.iter().enumerate() {
        let record = disk::record(dir.path(), key);
        let body = disk::payloads(dir.path(), key).pop().unwrap_or_else(|| record.clone());
        match i % 8 {
            0 => disk::flip(&record, 20),
            1 => disk::flip(&body, -1),
            2 => disk::truncate(&body, std::fs::metadata(&body).unwrap().len() / 2),
            3 => disk::truncate(&record, 0),
            _ => {}
        }
    }
    let node = TestNode::over(dir.path(), "").await;
    assert_eq!(counts(&unhurt_build(node.address, &plan).await), (40, 40, 40));
    assert_eq!(node.metric("larder_store_corrupt_total").await, 40.0);
    assert_eq!(counts(&unhurt_build(node.address, &plan).await), (80, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_in_the_middle_of_a_build_serves_it_to_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let leaving = "[server]\ndrain_accept = \"3s\"\ndrain_total = \"20s\"\n";
    let mut node = TestNode::over(dir.path(), leaving).await;
    let (first, second) = (Plan::mix(10, 30), Plan::mix(11, 30));
    let client = Arc::new(client(&node));
    unhurt(&client, &first).await;
    node.tell(Stop::Leave);
    crate::support::eventually("it leaves", async || {
        node.connect().await.send("GET", "/readyz", &[], b"").await.status == 503
    })
    .await;
    assert_eq!(counts(&unhurt(&client, &second).await), (0, 30, 30), "connections were open, and asked to be closed");
    assert_eq!(counts(&unhurt(&client, &first).await), (30, 0, 0));
    node.ended().await;
    let node = TestNode::over(dir.path(), "").await;
    assert_eq!(counts(&unhurt_build(node.address, &second).await), (30, 0, 0), "the next node has all of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_rests_is_used_again_for_as_long_as_was_announced() {
    let node = TestNode::with("[server]\nkeep_alive = \"2s\"").await;
    let plan = Plan::mix(12, 30);
    let client = Arc::new(client(&node));
    unhurt(&client, &plan).await;
    let opened = client.seen().connections;
    tokio::time::sleep(Duration::from_millis(1000)).await;
    unhurt(&client, &plan).await;
    assert_eq!(client.seen().connections, opened, "after a rest shorter than announced");
    tokio::time::sleep(Duration::from_millis(2300)).await;
    unhurt(&client, &plan).await;
    assert!(client.seen().connections > opened, "after a longer one");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_rest_is_longer_than_gradles_three_minutes() {
    let node = TestNode::start().await;
    let answer = node.connect().await.ci("GET", "/cache/aa", b"").await;
    let seconds: u64 = answer.header("keep-alive").unwrap().strip_prefix("timeout=").unwrap().parse().unwrap();
    assert!(seconds > 180);
}
