//! Who may pull, push and mount what, and what those are told who may not.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::support::entry::noise;
use crate::support::http::basic;
use crate::support::node::user;
use crate::support::program::Program;
use crate::support::registry_client::{OCI, RegistryClient, Way, image, location, sha256, told};
use crate::support::{Answer, MIB, TestNode};

fn users() -> String {
    [
        user("ci", &["oci:**=read-write"]),
        user("team", &["oci:team/*=read-write", "oci:base/**=read"]),
        user("gradle", &["gradle:**=admin"]),
        user("boss", &["oci:team/**=admin"]),
    ]
    .concat()
}

async fn node(anonymous: &str) -> (tempfile::TempDir, TestNode) {
    let dir = tempfile::tempdir().unwrap();
    let settings = "[store]\nfsync = \"never\"\n[oci]\ntoken_ttl = \"1s\"\n[auth]";
    let toml = format!("{settings}\nanonymous = \"{anonymous}\"\n{}", users());
    let node = TestNode::configured(dir.path(), &toml).await;
    (dir, node)
}

fn unauthorized() -> (u16, String) {
    (401, "UNAUTHORIZED".into())
}

fn denied() -> (u16, String) {
    (403, "DENIED".into())
}

fn challenge(answer: &Answer) -> &str {
    answer.header("www-authenticate").expect("a challenge")
}

/// Every request that there is, and what it needs.
const REQUESTS: [(&str, &str, &str); 15] = [
    ("GET", "manifests/v1", "pull"),
    ("HEAD", "manifests/v1", "pull"),
    ("GET", "manifests/.x", "pull"),
    ("GET", "blobs/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "pull"),
    ("HEAD", "blobs/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "pull"),
    ("GET", "tags/list", "pull"),
    ("GET", "referrers/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "pull"),
    ("POST", "blobs/uploads/", "pull,push"),
    ("GET", "blobs/uploads/x", "pull,push"),
    ("PATCH", "blobs/uploads/x", "pull,push"),
    ("PUT", "blobs/uploads/x", "pull,push"),
    ("DELETE", "blobs/uploads/x", "pull,push"),
    ("PUT", "manifests/v1", "pull,push"),
    ("DELETE", "manifests/v1", "pull,push,delete"),
    ("DELETE", "blobs/sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "pull,push,delete"),
];

#[tokio::test(flavor = "multi_thread")]
async fn without_anything_open_everybody_is_asked_for_a_password() {
    let (_dir, node) = node("none").await;
    let strangers = [None, Some(basic("nobody", "pw")), Some("Bearer x.y".to_owned())];
    for stranger in &strangers {
        let mut client = RegistryClient::of(node.address, "team/app", stranger.as_deref()).await;
        for (method, path, _) in REQUESTS.into_iter().chain([("GET", "/v2/", ""), ("GET", "/v2/_catalog", "")]) {
            let answer = client.send(method, path, &[], if method == "PATCH" { b"bytes" } else { b"" }).await;
            assert_eq!(answer.status, 401, "{stranger:?} {method} {path}");
            assert!(method == "HEAD" || told(&answer) == unauthorized(), "{method} {path}");
            assert_eq!(challenge(&answer), "Basic realm=\"larder\", charset=\"UTF-8\"");
        }
    }
    for (user, status) in [("ci", 404), ("team", 404), ("gradle", 403), ("boss", 404)] {
        let mut client = RegistryClient::user(&node, "team/app", user).await;
        let ping = client.get("/v2/").await;
        assert_eq!(
            (ping.status, ping.header("docker-distribution-api-version")),
            (200, Some("registry/2.0")),
            "{user}"
        );
        assert_eq!(client.status("manifests/v1").await, status, "{user}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_everybody_may_pull_those_who_push_are_sent_for_a_token() {
    let (_dir, node) = node("read").await;
    let manifest = RegistryClient::ci(&node, "team/app").await.push_image("v1", b"config", &[b"layer"]).await;
    let layer = format!("blobs/{}", sha256(b"layer"));
    let mut nobody = RegistryClient::of(node.address, "team/app", None).await;
    // The test client calls itself a client of the host `larder`.
    let bearer = "Bearer realm=\"http://larder/v2/token\",service=\"larder\"";
    let ping = nobody.get("/v2/").await;
    assert_eq!((told(&ping), challenge(&ping)), (unauthorized(), bearer));
    for (method, path, scope) in REQUESTS {
        let answer = nobody.send(method, path, &[], if method == "PATCH" { b"bytes" } else { b"" }).await;
        if scope == "pull" {
            assert!(answer.status == 200 || answer.status == 404, "{method} {path}: {}", answer.status);
        } else {
            assert_eq!(told(&answer), unauthorized(), "{method} {path}");
            assert_eq!(
                challenge(&answer),
                format!("{bearer},scope=\"repository:team/app:{scope}\""),
                "{method} {path}"
            );
        }
    }
    let behind_tls = nobody.send("GET", "/v2/", &[("X-Forwarded-Proto", "https")], b"").await;
    assert!(challenge(&behind_tls).starts_with("Bearer realm=\"https://larder/v2/token\""));
    // With and without a token of nobody's.
    assert_eq!(nobody.get("manifests/v1").await.body, manifest);
    let answer: Value = serde_json::from_slice(&nobody.get("/v2/token?service=larder&scope=x").await.body).unwrap();
    let token = answer["token"].as_str().unwrap().to_owned();
    assert_eq!((&answer["access_token"], &answer["expires_in"]), (&json!(token), &json!(1)));
    let mut tokened = RegistryClient::of(node.address, "team/app", Some(&format!("Bearer {token}"))).await;
    assert_eq!(tokened.status("/v2/").await, 200, "logged in as nobody");
    assert_eq!(tokened.get(&layer).await.body, b"layer");
    assert_eq!(told(&tokened.send("POST", "blobs/uploads/", &[], b"").await), unauthorized());
    // A user's token is the user.
    let mut team = RegistryClient::user(&node, "team/app", "team").await;
    let answer: Value = serde_json::from_slice(&team.get("/v2/token").await.body).unwrap();
    let token = answer["token"].as_str().unwrap().to_owned();
    let mut tokened = RegistryClient::of(node.address, "team/app", Some(&format!("bearer {token}"))).await;
    tokened.push(Way::Patch, b"pushed with a token").await;
    let mut base = tokened.within("base/image").await;
    assert_eq!(told(&base.send("POST", "blobs/uploads/", &[], b"").await), denied());
    assert_eq!(told(&tokened.delete("manifests/v1").await), denied());
    // Forged and expired ones are nobody's, not anonymous.
    let (claims, seal) = token.split_once('.').unwrap();
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    let forged = URL_SAFE_NO_PAD.encode(claims.replace("team", "boss"));
    let later = URL_SAFE_NO_PAD.encode(claims.replace("\"until\":", "\"until\":9"));
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    let own = URL_SAFE_NO_PAD.encode(&claims);
    for bad in [format!("{forged}.{seal}"), format!("{later}.{seal}"), format!("{own}.{seal}"), "x".into(), ".".into()]
    {
        let mut client = RegistryClient::of(node.address, "team/app", Some(&format!("Bearer {bad}"))).await;
        for path in ["/v2/", "manifests/v1", &layer, "/v2/token"] {
            let answer = client.get(path).await;
            assert_eq!(told(&answer), unauthorized(), "{bad} {path}");
            assert!(challenge(&answer).starts_with("Bearer realm="), "{bad} {path}");
        }
    }
    let mut wrong = RegistryClient::of(node.address, "team/app", Some(&basic("team", "wrong"))).await;
    assert_eq!(told(&wrong.get("/v2/token").await), unauthorized());
    assert_eq!(told(&wrong.get(&layer).await), unauthorized(), "a wrong password is not no password");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_everything_is_open_nobody_is_asked() {
    let (_dir, node) = node("read-write").await;
    let mut nobody = RegistryClient::of(node.address, "team/app", None).await;
    assert_eq!(nobody.status("/v2/").await, 200);
    let manifest = nobody.push_image("v1", b"config", &[b"layer"]).await;
    assert_eq!(nobody.get("manifests/v1").await.body, manifest);
    assert_eq!(nobody.delete("manifests/v1").await.status, 401, "but not deleting");
}

#[tokio::test(flavor = "multi_thread")]
async fn users_may_what_their_grants_say() {
    let (_dir, node) = node("none").await;
    let ci = RegistryClient::ci(&node, "x").await;
    for name in ["team/app", "team/app/cache", "base/jdk", "base/a/b", "teams/app", "team"] {
        ci.within(name).await.push_image("v1", b"config", &[b"layer"]).await;
    }
    for (user, name, may) in [
        ("team", "team/app", "rw"),
        ("team", "team/app/cache", ""),
        ("team", "team", ""),
        ("team", "teams/app", ""),
        ("team", "base/jdk", "r"),
        ("team", "base/a/b", "r"),
        ("team", "base", ""),
        ("boss", "team/app", "rwd"),
        ("boss", "team/app/cache", "rwd"),
        ("boss", "base/jdk", ""),
        ("ci", "teams/app", "rw"),
        ("gradle", "team/app", ""),
    ] {
        let mut client = RegistryClient::user(&node, name, user).await;
        for (method, path, scope) in REQUESTS {
            let letter = ["r", "w", "d"][scope.matches(',').count()];
            let answer = client.send(method, path, &[], b"").await;
            let was_refused = answer.status == 403;
            assert_eq!(was_refused, !may.contains(letter), "{user} {method} {name}/{path}: {}", answer.status);
            if was_refused && method != "HEAD" {
                assert_eq!(told(&answer), denied());
                assert!(answer.text().contains(&format!("oci:{name}=")), "it says what is needed: {}", answer.text());
                assert_eq!(answer.header("www-authenticate"), None);
            }
        }
        if may.contains('d') {
            ci.within(name).await.push_image("v1", b"config", &[b"layer"]).await;
        }
    }
    let mut reader = RegistryClient::user(&node, "base/jdk", "team").await;
    let large = noise(1, 5 * MIB);
    let put = format!("blobs/uploads/?digest={}", sha256(&large));
    assert_eq!(told(&reader.send("POST", &put, &[], &large).await), denied(), "told after its body was read");
    assert_eq!(told(&reader.send_chunked("PUT", "manifests/x", &[], &large, 50_000).await), denied());
    assert_eq!(reader.status("manifests/v1").await, 200, "on the same connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_alone_opens_nothing() {
    let (_dir, node) = node("none").await;
    let secret = noise(1, 100_000);
    let digest = sha256(&secret);
    let mut ci = RegistryClient::ci(&node, "private/app").await;
    let manifest = ci.push_image("v1", b"config", &[&secret]).await;
    let mut team = RegistryClient::user(&node, "team/app", "team").await;
    assert_eq!(told(&team.get(&format!("blobs/{digest}")).await), (404, "BLOB_UNKNOWN".into()));
    assert_eq!(team.head(&format!("blobs/{digest}")).await.status, 404);
    assert_eq!(told(&team.get(&format!("manifests/{}", sha256(&manifest))).await).0, 404);
    assert_eq!(told(&team.put_manifest("v1", OCI, &manifest).await), (404, "MANIFEST_BLOB_UNKNOWN".into()));
    // Neither do a mount, nor an upload that only claims to have the bytes.
    for query in
        [format!("mount={digest}&from=private/app"), format!("mount={digest}"), format!("mount={digest}&from=x")]
    {
        let answer = team.send("POST", &format!("blobs/uploads/?{query}"), &[], b"").await;
        assert_eq!((answer.status, location(&answer).contains("uploads")), (202, true), "{query}");
    }
    let session = team.session().await;
    assert_eq!(told(&team.put(&session, &digest, b"").await), (400, "DIGEST_INVALID".into()));
    assert_eq!(team.head(&format!("blobs/{digest}")).await.status, 404);
    // Whoever has the bytes may have them.
    team.push(Way::Patch, &secret).await;
    assert_eq!(team.get(&format!("blobs/{digest}")).await.body, secret);
    assert_eq!(ci.within("other").await.head(&format!("blobs/{digest}")).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn mounts_need_to_read_the_source_and_to_write_the_target() {
    let (_dir, node) = node("none").await;
    let bytes = noise(1, 2 * MIB);
    let digest = sha256(&bytes);
    let mut ci = RegistryClient::ci(&node, "base/jdk").await;
    ci.push(Way::Put, &bytes).await;
    for query in
        [format!("mount={digest}&from=base/jdk"), format!("from=base%2Fjdk&mount={}", digest.replace(':', "%3A"))]
    {
        let mut team = RegistryClient::user(&node, "team/app", "team").await;
        let answer = team.send("POST", &format!("blobs/uploads/?{query}"), &[], b"").await;
        assert_eq!((answer.status, location(&answer)), (201, format!("/v2/team/app/blobs/{digest}")), "{query}");
        assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
        assert!(team.get(&format!("blobs/{digest}")).await.body == bytes);
        // Without a source: wherever this user may read.
        let mut cache = RegistryClient::user(&node, "team/cache", "team").await;
        assert_eq!(cache.send("POST", &format!("blobs/uploads/?mount={digest}"), &[], b"").await.status, 201);
    }
    let mut boss = RegistryClient::user(&node, "team/other", "boss").await;
    let mount = |from: &str| format!("blobs/uploads/?mount={digest}&from={from}");
    assert_eq!(boss.send("POST", &mount("base/jdk"), &[], b"").await.status, 202, "may not read the source");
    assert_eq!(boss.send("POST", &mount("team/app"), &[], b"").await.status, 201, "may read this one");
    assert_eq!(boss.send("POST", &mount("no/such"), &[], b"").await.status, 202);
    assert_eq!(boss.send("POST", &mount("..%2Fx"), &[], b"").await.status, 202);
    let wrong = boss.send("POST", "blobs/uploads/?mount=sha256:abc&from=team/app", &[], b"").await;
    assert_eq!(told(&wrong), (400, "DIGEST_INVALID".into()));
    let mut into_base = RegistryClient::user(&node, "base/other", "team").await;
    assert_eq!(told(&into_base.send("POST", &mount("base/jdk"), &[], b"").await), denied());
    let mut nobody = RegistryClient::of(node.address, "team/app", None).await;
    assert_eq!(told(&nobody.send("POST", &mount("base/jdk"), &[], b"").await), unauthorized());
    // A blob that its source has no more cannot be mounted out of it, and stays where it was mounted.
    let mut boss = RegistryClient::user(&node, "team/app", "boss").await;
    assert_eq!(boss.delete(&format!("blobs/{digest}")).await.status, 202);
    let mut new = RegistryClient::user(&node, "team/new", "boss").await;
    assert_eq!(new.send("POST", &mount("team/app"), &[], b"").await.status, 202);
    assert_eq!(new.within("team/other").await.head(&format!("blobs/{digest}")).await.status, 200);
    assert_eq!(node.metric("larder_oci_mounts_total").await, 5.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_password_of_a_ci_system_opens_both_halves_and_is_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let secret = "s3cr3t-of-the-ci";
    let environment = [("BUILD_CACHE_PASSWORD", secret), ("LARDER_LOG_LEVEL", "trace")];
    let program = Program::start(&dir.path().join("data"), &log, &environment);
    let credentials = basic("gradle", secret);
    let mut client = RegistryClient::of(program.address, "team/app", Some(&credentials)).await;
    let manifest = client.push_image("v1", &image(b"x", &[]), &[b"layer"]).await;
    assert_eq!(client.get("manifests/v1").await.body, manifest);
    assert_eq!(client.send("PUT", "/cache/aa00", &[], b"an entry").await.status, 201);
    assert_eq!(client.get("/cache/aa00").await.body, b"an entry");
    let mut seen = String::new();
    let mut nobody = RegistryClient::of(program.address, "team/app", None).await;
    let mut wrong = RegistryClient::of(program.address, "team/app", Some(&basic("gradle", "wr0ng-password"))).await;
    for client in [&mut client, &mut nobody, &mut wrong] {
        for path in
            ["/v2/", "/v2/token", "/v2/_catalog", "manifests/v1", "manifests/none", "tags/list", "/", "/metrics"]
        {
            let answer = client.get(path).await;
            seen.push_str(&format!("{:?}{}", answer.headers, String::from_utf8_lossy(&answer.body)));
        }
    }
    let denied = client.delete("manifests/v1").await;
    assert_eq!(told(&denied), (403, "DENIED".into()), "read and write, no more");
    seen.push_str(&denied.text());
    seen.push_str(&fs::read_to_string(&log).unwrap());
    let encoded = credentials.strip_prefix("Basic ").unwrap();
    for hidden in [secret, encoded, "wr0ng-password"] {
        assert!(!seen.contains(hidden), "{hidden} was shown");
    }
    for file in crate::support::disk::files(&dir.path().join("data")) {
        let bytes = fs::read(&file).unwrap();
        assert!(!bytes.windows(secret.len()).any(|window| window == secret.as_bytes()), "{}", file.display());
    }
}
