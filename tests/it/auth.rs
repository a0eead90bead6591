//! Who may what, over the wire.

use std::net::SocketAddr;

use crate::support::http::basic;
use crate::support::node::user;
use crate::support::{Connection, TestNode};

async fn status(address: SocketAddr, user: Option<(&str, &str)>, method: &str, path: &str) -> (u16, Option<String>) {
    let credentials = user.map(|(name, password)| basic(name, password));
    let headers: Vec<(&str, &str)> = credentials.iter().map(|value| ("Authorization", value.as_str())).collect();
    let body: &[u8] = if method == "PUT" { b"body" } else { b"" };
    let answer = Connection::open(address).await.send(method, path, &headers, body).await;
    (answer.status, answer.header("x-larder-declined").map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread")]
async fn users_may_what_they_were_granted() {
    let node = TestNode::start().await;
    let at = |user, method| status(node.address, user, method, "/cache/00aa");
    let (ci, reader, boss) = (Some(("ci", "pw")), Some(("reader", "pw")), Some(("boss", "pw")));
    assert_eq!(at(ci, "PUT").await, (201, None));
    assert_eq!(at(ci, "GET").await.0, 200);
    assert_eq!(at(reader, "GET").await.0, 200);
    assert_eq!(at(reader, "PUT").await, (200, Some("read-only".into())));
    assert_eq!(at(reader, "DELETE").await.0, 403);
    assert_eq!(at(ci, "DELETE").await.0, 403);
    assert_eq!(at(boss, "DELETE").await.0, 204);
    assert_eq!(at(boss, "DELETE").await.0, 404);
    assert_eq!(at(ci, "GET").await.0, 404);
    for stranger in [None, Some(("ci", "wrong")), Some(("nobody", "pw"))] {
        for method in ["GET", "HEAD", "PUT", "DELETE"] {
            assert_eq!(at(stranger, method).await.0, 401, "{stranger:?} {method}");
        }
    }
    let challenged = node.connect().await.send("GET", "/cache/00aa", &[], b"").await;
    assert!(challenged.header("www-authenticate").unwrap().starts_with("Basic realm="));
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_levels_over_the_wire() {
    let dir = tempfile::tempdir().unwrap();
    let node = TestNode::over(dir.path(), "[auth]\nanonymous = \"read\"").await;
    let at = |user, method| status(node.address, user, method, "/cache/00aa");
    assert_eq!(at(None, "GET").await.0, 404);
    assert_eq!(at(None, "PUT").await, (200, Some("read-only".into())), "a build without a password must not be hurt");
    assert_eq!(at(Some(("ci", "pw")), "PUT").await, (201, None));
    assert_eq!(at(None, "GET").await.0, 200);
    assert_eq!(at(Some(("ci", "wrong")), "GET").await.0, 401, "a wrong password is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_without_a_grant_reads_as_empty() {
    let dir = tempfile::tempdir().unwrap();
    let users = user("a", &["gradle:team-a=read-write"]);
    let node = TestNode::configured(dir.path(), &users).await;
    let user = Some(("a", "pw"));
    assert_eq!(status(node.address, user, "PUT", "/cache/team-a/00aa").await, (201, None));
    assert_eq!(status(node.address, user, "GET", "/cache/team-a/00aa").await.0, 200);
    assert_eq!(status(node.address, user, "GET", "/cache/team-b/00aa").await.0, 404);
    assert_eq!(status(node.address, user, "PUT", "/cache/team-b/00aa").await, (200, Some("read-only".into())));
}
