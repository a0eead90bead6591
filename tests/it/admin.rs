//! Pages and the admin API.

use crate::support::TestNode;
use crate::support::http::basic;

#[tokio::test(flavor = "multi_thread")]
async fn misses_are_for_admins() {
    let node = TestNode::start().await;
    let mut connection = node.connect().await;
    assert_eq!(connection.ci("GET", "/cache/team/0123abcd", b"").await.status, 404);
    assert_eq!(connection.send("GET", "/api/v1/misses", &[], b"").await.status, 401);
    assert_eq!(connection.ci("GET", "/api/v1/misses", b"").await.status, 403);
    let boss = basic("boss", "pw");
    let answer = connection.send("GET", "/api/v1/misses", &[("Authorization", &boss)], b"").await;
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let miss = &json["misses"][0];
    assert_eq!((&miss["namespace"], &miss["key"]), (&"team".into(), &"0123abcd".into()));
    assert_eq!((&miss["user"], &miss["reason"]), (&"ci".into(), &"absent".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_answer_without_a_password_and_tell_no_names() {
    let node = TestNode::start().await;
    let mut connection = node.connect().await;
    connection.ci("PUT", "/cache/secretteam/00ff", b"x").await;
    for page in ["/", "/metrics", "/healthz", "/readyz"] {
        let answer = connection.send("GET", page, &[], b"").await;
        assert_eq!(answer.status, 200, "{page}");
        assert!(!answer.text().contains("secretteam") && !answer.text().contains("00ff"), "{page}");
        assert_eq!(connection.send("HEAD", page, &[], b"").await.status, 200, "{page}");
        assert_eq!(connection.send("POST", page, &[], b"").await.status, 405, "{page}");
    }
    assert!(connection.send("GET", "/", &[], b"").await.text().lines().all(|line| line.len() <= 80));
    let nowhere = connection.send("GET", "/nowhere", &[], b"").await;
    assert_eq!(nowhere.status, 404);
    assert!(nowhere.text().contains("/cache/"));
}
