//! Pages and the admin API.

use crate::support::TestNode;
use crate::support::http::basic;
use crate::support::node::user;
use crate::support::registry_client::RegistryClient;

#[tokio::test(flavor = "multi_thread")]
async fn misses_are_for_admins() {
    let node = TestNode::start().await;
    let mut connection = node.connect().await;
    assert_eq!(connection.ci("GET", "/cache/team/0123abcd", b"").await.status, 404);
    assert_eq!(connection.send("GET", "/api/v1/misses", &[], b"").await.status, 401);
    assert_eq!(connection.ci("GET", "/api/v1/misses", b"").await.status, 403);
    let miss = &misses(&node).await[0];
    assert_eq!((&miss["namespace"], &miss["key"]), (&"team".into(), &"0123abcd".into()));
    assert_eq!((&miss["user"], &miss["reason"]), (&"ci".into(), &"absent".into()));
}

/// The last misses, as a user with an admin grant sees them.
async fn misses(node: &TestNode) -> Vec<serde_json::Value> {
    let boss = basic("boss", "pw");
    let answer = node.connect().await.send("GET", "/api/v1/misses", &[("Authorization", &boss)], b"").await;
    let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    json["misses"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_layer_was_not_used_is_told() {
    let strangers = user("stranger", &["gradle:**=read"]);
    let node = TestNode::with(&format!("[oci]\nkaniko_ttl = \"1ms\"\n{strangers}")).await;
    let mut client = RegistryClient::ci(&node, "team/cache").await;
    let (never, old, gone) = ("a".repeat(64), "b".repeat(64), "c".repeat(64));
    for tag in [&old, &gone, &"latest".to_owned()] {
        client.push_image(tag, b"config", &[]).await;
    }
    let boss = basic("boss", "pw");
    let path = format!("/v2/team/cache/manifests/{gone}");
    let deleted = node.connect().await.send("DELETE", &path, &[("Authorization", &boss)], b"").await;
    assert_eq!(deleted.status, 202);
    let by_stranger = basic("stranger", "pw");
    let path = format!("/v2/team/cache/manifests/{old}");
    let refused = node.connect().await.send("GET", &path, &[("Authorization", &by_stranger)], b"").await;
    assert_eq!(refused.status, 403);
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    for (tag, status) in [(&never, 404), (&gone, 404), (&old, 200), (&"latest".to_owned(), 200)] {
        assert_eq!(client.status(&format!("manifests/{tag}")).await, status);
    }
    let told = misses(&node).await;
    let of = |tag: &str| {
        let all = told.iter().filter(|miss| miss["reference"] == tag && miss["repository"] == "team/cache");
        all.map(|miss| (miss["user"].as_str().unwrap(), miss["reason"].as_str().unwrap())).collect::<Vec<_>>()
    };
    assert_eq!(of(&never), [("ci", "absent")]);
    assert_eq!(of(&gone), [("ci", "removed")]);
    assert_eq!(of(&old), [("ci", "probably-too-old-for-the-client"), ("stranger", "refused")]);
    assert_eq!(of("latest"), [], "not a layer of kaniko's: its age says nothing");
    let at = |tag: &str, name: &str| told.iter().find(|miss| miss["reference"] == tag).unwrap()[name].as_u64();
    assert!(at(&gone, "removed_at_ms").is_some() && at(&old, "created_at_ms").is_some());
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
