//! A store that misbehaves under the registry: what it cannot say is never "not found", and what passes by itself is
//! answered so that clients try again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use larder::app::Stop;
use larder::store::faults::Fault;
use tokio::io::AsyncReadExt as _;

use crate::support::entry::noise;
use crate::support::registry_client::{OCI, RegistryClient, Way, has_taken, image, sha256, told};
use crate::support::{Answer, MIB, PATIENCE, TestNode, disk, eventually};

const SHORT: &str = "[store]\nlookup_deadline = \"200ms\"\nread_deadline = \"200ms\"\nwrite_deadline = \"200ms\"\n[oci]\nhold_on = \"300ms\"\n";
/// More than `hold_on` and some deadlines, less than the defaults.
const SOON: Duration = Duration::from_secs(3);
const CONFIG: &[u8] = b"{\"architecture\":\"amd64\"}";

/// What clients try again: the code alone decides for go-containerregistry, status and Retry-After for the others.
fn comes_back(answer: &Answer) -> bool {
    answer.status == 503
        && answer.header("retry-after").is_some()
        && (answer.body.is_empty() || told(answer).1 == "UNAVAILABLE")
}

/// A node that has read nothing yet, over a directory with an image of three layers under the tag `v1`.
async fn cold(dir: &std::path::Path, toml: &str) -> (TestNode, Vec<u8>) {
    let node = TestNode::over(dir, "").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let manifest = client.push_image("v1", CONFIG, &[&layer(0), &layer(1), &layer(2)]).await;
    node.stop(Stop::Now).await;
    (TestNode::over(dir, toml).await, manifest)
}

fn layer(n: u64) -> Vec<u8> {
    noise(n, [450, 300_000, 3 * MIB][n as usize])
}

fn blob(bytes: &[u8]) -> String {
    format!("blobs/{}", sha256(bytes))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_unavailable_and_never_unknown() {
    let unreadable = async |fault| {
        let dir = tempfile::tempdir().unwrap();
        let (node, manifest) = cold(dir.path(), SHORT).await;
        let mut client = RegistryClient::ci(&node, "team/app").await;
        let by_digest = format!("manifests/{}", sha256(&manifest));
        let mut paths = vec!["manifests/v1".to_owned(), by_digest.clone(), "tags/list".into(), "/v2/_catalog".into()];
        paths.extend([blob(CONFIG), blob(&layer(2)), format!("referrers/{}", sha256(&manifest))]);
        // Until the directory was looked through, nobody knows what is not there.
        eventually("what is absent is known", async || {
            node.faults.set_read(Fault::Error);
            let known = client.status("manifests/absent").await == 404;
            node.faults.set_read(Fault::None);
            known
        })
        .await;
        node.faults.set_read(fault);
        for path in &paths {
            for method in ["GET", "HEAD"] {
                let begun = Instant::now();
                let answer = client.send(method, path, &[], b"").await;
                assert!(comes_back(&answer), "{fault:?} {method} {path}: {} {}", answer.status, answer.text());
                let took = begun.elapsed();
                assert!((Duration::from_millis(290)..SOON).contains(&took), "{fault:?} {method} {path}: {took:?}");
            }
        }
        assert_eq!(told(&client.get(&blob(b"absent")).await), (404, "BLOB_UNKNOWN".into()), "this is known");
        assert!(node.metric("larder_oci_lookup_failures_total").await >= 4.0);
        node.faults.set_read(Fault::None);
        eventually("reads heal", async || client.status("manifests/v1").await == 200).await;
        for path in &paths {
            assert_eq!(client.status(path).await, 200, "{fault:?} {path}");
        }
        assert_eq!(node.metric("larder_store_corrupt_total").await, 0.0, "nothing was taken for damaged");
    };
    join_all([Fault::Error, Fault::Hang].map(unreadable)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hiccup_shorter_than_the_patience_is_not_noticed() {
    let hiccup = async |fault| {
        let dir = tempfile::tempdir().unwrap();
        let toml = SHORT.replace("300ms", "8s");
        let (node, manifest) = cold(dir.path(), &toml).await;
        node.faults.set_read(fault);
        node.faults.set_write(fault);
        let begun = Instant::now();
        let address = node.address;
        let pulls: Vec<_> = (0..12)
            .map(|i| {
                let manifest = manifest.clone();
                tokio::spawn(async move {
                    let credentials = crate::support::http::basic("ci", "pw");
                    let mut client = RegistryClient::of(address, "team/app", Some(&credentials)).await;
                    let answer = match i % 4 {
                        0 => client.get("manifests/v1").await,
                        1 => client.head("manifests/v1").await,
                        2 => client.get(&blob(&layer(i % 3))).await,
                        _ => client.put_manifest(&format!("t{i}"), OCI, &manifest).await,
                    };
                    assert!(matches!(answer.status, 200 | 201), "{i}: {} {}", answer.status, answer.text());
                    assert!(i % 4 != 0 || answer.body == manifest);
                    assert!(i % 4 != 2 || answer.body == layer(i % 3));
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(1500)).await;
        node.faults.set_read(Fault::None);
        node.faults.set_write(Fault::None);
        for pull in pulls {
            pull.await.unwrap();
        }
        assert!(begun.elapsed() < Duration::from_secs(8), "{fault:?}: {:?}", begun.elapsed());
    };
    join_all([Fault::Error, Fault::Hang].map(hiccup)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_is_told_so_that_clients_come_back_and_can_go_on() {
    let unwritable = async |(fault, size): (Fault, usize)| {
        let node = TestNode::with(SHORT).await;
        let mut client = RegistryClient::ci(&node, "team/app").await;
        let mut boss = RegistryClient::user(&node, "team/app", "boss").await;
        let manifest = client.push_image("v1", CONFIG, &[b"layer"]).await;
        let bytes = noise(size as u64, 2 * size);
        let (digest, half) = (sha256(&bytes), &bytes[..size]);
        let begun_session = client.session().await;
        assert!(has_taken(&client.patch(&begun_session, None, half).await, size));
        node.faults.set_write(fault);
        let fresh_session = client.session().await;
        let post = format!("blobs/uploads/?digest={digest}");
        let put = format!("{begun_session}?digest={digest}");
        for (method, path, body) in [
            ("PATCH", &fresh_session, half),
            ("PATCH", &begun_session, half),
            ("PUT", &put, &bytes[size..]),
            ("POST", &post, &bytes),
            ("DELETE", &begun_session, b""),
            ("PUT", &"manifests/new".to_owned(), &manifest),
            ("PUT", &format!("manifests/{}?tag=new", sha256(&manifest)), &manifest),
        ] {
            let begun = Instant::now();
            let answer = client.send(method, path, &[("Content-Type", OCI)], body).await;
            assert!(comes_back(&answer), "{fault:?} {method} {path}: {} {}", answer.status, answer.text());
            assert!(begun.elapsed() < SOON, "{fault:?} {method} {path}: {:?}", begun.elapsed());
        }
        for path in ["manifests/v1".to_owned(), blob(b"layer")] {
            let answer = boss.delete(&path).await;
            assert!(comes_back(&answer), "{fault:?} DELETE {path}: {} {}", answer.status, answer.text());
        }
        node.faults.set_write(Fault::None);
        let healed = async || client.put_manifest("new", OCI, &manifest).await.status == 201;
        eventually("writes heal", healed).await;
        // The very same requests again. What timed out may have happened after all.
        assert_eq!(client.put(&begun_session, &digest, &bytes[size..]).await.status, 201, "{fault:?} {size}");
        assert!(client.get(&blob(&bytes)).await.body == bytes, "{fault:?} {size}");
        assert!(has_taken(&client.patch(&fresh_session, None, half).await, size), "{fault:?} {size}");
        assert_eq!(client.status("manifests/v1").await, 200, "what could not be deleted is there");
        assert_eq!(boss.delete("manifests/new").await.status, 202);
        eventually("no half body is left", async || disk::files(&node.data().join("tmp")).is_empty()).await;
        assert_eq!(node.metric("larder_store_corrupt_total").await, 0.0);
    };
    let sizes = [1000, 500_000, 2 * MIB];
    let cases = [Fault::Error, Fault::Hang, Fault::Full].into_iter().flat_map(|fault| sizes.map(|size| (fault, size)));
    join_all(cases.map(unwritable)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_memory_is_pulled_while_the_store_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let (node, manifest) = cold(dir.path(), SHORT).await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let by_digest = format!("manifests/{}", sha256(&manifest));
    let wanted = [("manifests/v1".to_owned(), manifest.clone()), (by_digest, manifest.clone())];
    let layers = [0, 1, 2].map(|n| (blob(&layer(n)), layer(n)));
    let wanted: Vec<_> = wanted.into_iter().chain(layers).collect();
    for (path, bytes) in &wanted {
        assert!(client.get(path).await.body == *bytes, "{path}");
    }
    node.faults.set_read(Fault::Hang);
    node.faults.set_write(Fault::Hang);
    let begun = Instant::now();
    for (path, bytes) in wanted.iter().chain(&wanted) {
        let answer = client.get(path).await;
        assert!(answer.status == 200 && answer.body == *bytes, "{path}");
        assert_eq!(client.head(path).await.status, 200, "{path}");
        let part = client.send("GET", path, &[("Range", "bytes=5-9")], b"").await;
        assert!(path.starts_with("manifests") || part.body == bytes[5..10], "{path}");
    }
    assert_eq!(client.status("/v2/").await, 200);
    assert!(begun.elapsed() < PATIENCE / 4, "{:?}", begun.elapsed());
    assert_eq!(node.metric("larder_oci_lookup_failures_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_on_its_way_waits_for_a_store_that_hangs_a_while() {
    let node = TestNode::with("[memory]\nhot = \"1MiB\"\n[store]\nread_deadline = \"1s\"").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let bytes = noise(1, 30 * MIB);
    client.push(Way::Put, &bytes).await;
    for fault in [Fault::Hang, Fault::Error] {
        client.begin("GET", &blob(&bytes), &[], None).await;
        let head = client.connection.try_answer_head().await.unwrap();
        assert_eq!(head.status, 200);
        let mut first = vec![0; 100_000];
        client.connection.stream.read_exact(&mut first).await.unwrap();
        node.faults.set_read(fault);
        let heal = {
            let faults = Arc::clone(&node.faults);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(700)).await;
                faults.set_read(Fault::None);
            })
        };
        let mut rest = Vec::new();
        let mut piece = vec![0; 1 << 20];
        let mut left = bytes.len();
        // What came along with the head is not told by the client; the length of all has to be right.
        while let Ok(n) = tokio::time::timeout(PATIENCE, client.connection.stream.read(&mut piece)).await.unwrap() {
            rest.extend_from_slice(&piece[..n]);
            left = left.saturating_sub(n);
            if n == 0 || rest.ends_with(&bytes[bytes.len() - 1000..]) {
                break;
            }
        }
        heal.await.unwrap();
        assert!(bytes.ends_with(&rest) && rest.len() > 20 * MIB, "{fault:?}: {} bytes", rest.len());
        client = RegistryClient::ci(&node, "team/app").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_after_its_session_could_not_be_read() {
    let node = TestNode::with(SHORT).await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let bytes = noise(1, 3 * MIB);
    let session = client.session().await;
    assert!(has_taken(&client.patch(&session, None, &bytes[..MIB]).await, MIB));
    for fault in [Fault::Error, Fault::Hang] {
        node.faults.set_read(fault);
        for (method, query) in [("GET", String::new()), ("PATCH", String::new()), ("DELETE", String::new())] {
            let body: &[u8] = if method == "PATCH" { &bytes[MIB..] } else { b"" };
            let answer = client.send(method, &format!("{session}{query}"), &[], body).await;
            assert!(comes_back(&answer), "{fault:?} {method}: {} {}", answer.status, answer.text());
        }
        let put = client.put(&session, &sha256(&bytes), &bytes[MIB..]).await;
        assert!(comes_back(&put), "{fault:?}: {} {}", put.status, put.text());
        node.faults.set_read(Fault::None);
        eventually("reads heal", async || client.status(&session).await == 204).await;
    }
    assert_eq!(client.put(&session, &sha256(&bytes), &bytes[MIB..]).await.status, 201);
    assert!(client.get(&blob(&bytes)).await.body == bytes);
    let other = image(CONFIG, &[]);
    assert_eq!(told(&client.put_manifest("x", OCI, &other).await), (404, "MANIFEST_BLOB_UNKNOWN".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn pushes_of_small_layers_find_out_that_writes_work_again() {
    let node = TestNode::with("[oci]\nhold_on = \"300ms\"\n").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    node.faults.set_write(Fault::Error);
    let bytes = noise(1, 1000);
    for _ in 0..8 {
        let session = client.session().await;
        client.patch(&session, None, &bytes).await;
    }
    node.faults.set_write(Fault::None);
    let session = client.session().await;
    eventually("writes heal", async || client.patch(&session, None, &bytes).await.status == 202).await;
}
