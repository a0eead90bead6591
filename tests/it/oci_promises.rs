//! What a manifest names is there, or the manifest is not: after deletions, after damage, and healed by a push.

use std::fs;
use std::path::{Path, PathBuf};

use larder::app::Stop;

use crate::support::disk::{self, flip, truncate};
use crate::support::entry::noise;
use crate::support::http::basic;
use crate::support::registry_client::{DOCKER, OCI, OCI_INDEX, RegistryClient, Way, image, index, sha256, told};
use crate::support::{MIB, TestNode};

const CONFIG: &[u8] = b"{\"architecture\":\"amd64\"}";

fn manifest_unknown() -> (u16, String) {
    (404, "MANIFEST_UNKNOWN".into())
}

fn of(digest: &str) -> (&str, &str) {
    digest.split_once(':').unwrap()
}

fn blob_record(data: &Path, bytes: &[u8]) -> PathBuf {
    let digest = sha256(bytes);
    let (algorithm, hex) = of(&digest);
    data.join("blobs").join(algorithm).join(&hex[..2]).join(hex)
}

fn of_repository(data: &Path, kind: &str, bytes: &[u8]) -> PathBuf {
    let digest = sha256(bytes);
    let (algorithm, hex) = of(&digest);
    data.join("repos/team/app").join(kind).join(algorithm).join(hex)
}

/// The one payload in a store.
fn payload(data: &Path) -> PathBuf {
    let mut payloads = disk::files(&data.join("payloads"));
    assert_eq!(payloads.len(), 1);
    payloads.pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_act_at_once_and_what_was_deleted_can_be_pushed_again() {
    let dir = tempfile::tempdir().unwrap();
    let node = TestNode::over(dir.path(), "").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let mut boss = RegistryClient::user(&node, "team/app", "boss").await;
    let layer = noise(1, 2 * MIB);
    let manifest = client.push_image("v1", CONFIG, &[&layer]).await;
    let list = index(&[&manifest]);
    client.push_manifest("list", OCI_INDEX, &list).await;
    client.put_manifest("v2", OCI, &manifest).await;
    let by_digest = format!("manifests/{}", sha256(&manifest));
    let all = ["manifests/v1", "manifests/v2", &by_digest, "manifests/list"];
    let statuses = async |client: &mut RegistryClient| {
        let mut statuses = Vec::new();
        for path in all {
            let (get, head) = (client.status(path).await, client.head(path).await.status);
            assert_eq!(get, head, "{path}");
            statuses.push(get);
        }
        statuses
    };
    for _ in 0..2 {
        assert_eq!(statuses(&mut client).await, [200; 4]);
        // A tag alone.
        assert_eq!(told(&client.delete("manifests/v2").await), (403, "DENIED".into()), "not for everybody");
        assert_eq!(boss.delete("manifests/v2").await.status, 202);
        assert_eq!(statuses(&mut client).await, [200, 404, 200, 200]);
        assert_eq!(told(&boss.delete("manifests/v2").await), manifest_unknown());
        client.put_manifest("v2", OCI, &manifest).await;
        // A manifest, with its tags and what it is part of.
        assert_eq!(boss.delete(&by_digest).await.status, 202);
        assert_eq!(statuses(&mut client).await, [404; 4]);
        assert_eq!(told(&client.get("manifests/v1").await), manifest_unknown());
        assert_eq!(told(&boss.delete(&by_digest).await), manifest_unknown());
        assert_eq!(told(&client.put_manifest("list", OCI_INDEX, &list).await).1, "MANIFEST_BLOB_UNKNOWN");
        client.push_manifest("v1", OCI, &manifest).await;
        assert_eq!(statuses(&mut client).await, [200, 404, 200, 200]);
        client.put_manifest("v2", OCI, &manifest).await;
        // A blob: manifests that name it are not served.
        let blob = format!("blobs/{}", sha256(&layer));
        assert_eq!(told(&client.delete(&blob).await), (403, "DENIED".into()));
        assert_eq!(boss.delete(&blob).await.status, 202);
        assert_eq!(told(&client.get(&blob).await), (404, "BLOB_UNKNOWN".into()));
        assert_eq!(told(&boss.delete(&blob).await), (404, "BLOB_UNKNOWN".into()));
        assert_eq!(statuses(&mut client).await, [404; 4]);
        assert_eq!(told(&client.put_manifest("v1", OCI, &manifest).await).1, "MANIFEST_BLOB_UNKNOWN");
        client.push(Way::Patch, &layer).await;
        assert_eq!(statuses(&mut client).await, [200; 4], "its push is enough");
    }
    boss.delete(&by_digest).await;
    node.stop(Stop::Now).await;
    let node = TestNode::over(dir.path(), "").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    assert_eq!(statuses(&mut client).await, [404; 4], "deleted is deleted");
    client.push_manifest("v1", OCI, &manifest).await;
    client.put_manifest("v2", OCI, &manifest).await;
    assert_eq!(statuses(&mut client).await, [200; 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_deleted_in_one_repository_stays_in_another() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let mut other = client.within("team/other").await;
    let mut boss = RegistryClient::user(&node, "team/app", "boss").await;
    for client in [&mut client, &mut other] {
        client.push_image("v1", CONFIG, &[b"layer"]).await;
    }
    assert_eq!(boss.delete(&format!("blobs/{}", sha256(b"layer"))).await.status, 202);
    assert_eq!(client.status("manifests/v1").await, 404);
    assert_eq!(other.status("manifests/v1").await, 200);
    assert_eq!(other.get(&format!("blobs/{}", sha256(b"layer"))).await.body, b"layer");
}

/// A push as kaniko does it: what is there already is not sent.
async fn push_what_is_missing(client: &mut RegistryClient, manifest: &[u8], layer: &[u8]) {
    for blob in [CONFIG, layer] {
        if client.head(&format!("blobs/{}", sha256(blob))).await.status == 404 {
            client.push(Way::Patch, blob).await;
        }
    }
    for reference in ["v1".to_owned(), sha256(manifest)] {
        if client.head(&format!("manifests/{reference}")).await.status == 404 {
            assert_eq!(client.put_manifest(&reference, DOCKER, manifest).await.status, 201);
        }
    }
}

/// Pushes an image with a layer of this size, damages a file while the node is down, and expects that what is damaged is
/// noticed, never served, and replaced by the next push.
async fn is_missed_and_healed(size: usize, what: &str, damage: impl Fn(&Path, &[u8], &[u8])) {
    let dir = tempfile::tempdir().unwrap();
    let node = TestNode::over(dir.path(), "").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let layer = noise(3, size);
    let manifest = String::from_utf8(image(CONFIG, &[&layer])).unwrap().replace(OCI, DOCKER).into_bytes();
    client.push(Way::Patch, CONFIG).await;
    client.push(Way::Patch, &layer).await;
    client.push_manifest("v1", DOCKER, &manifest).await;
    node.stop(Stop::Now).await;
    damage(dir.path(), &layer, &manifest);
    for restarted in [false, true] {
        let node = TestNode::over(dir.path(), "").await;
        let mut client = RegistryClient::ci(&node, "team/app").await;
        if !restarted {
            // A large layer's damage shows when it is read; a client that got its manifest before is cut off, never
            // served wrong bytes.
            let first = client.status("manifests/v1").await;
            assert!(matches!(first, 200 | 404), "{what} {size}: {first}");
            client.begin("GET", &format!("blobs/{}", sha256(&layer)), &[], None).await;
            match client.connection.try_answer("GET").await {
                Some(answer) if answer.status == 200 => assert!(answer.body == layer, "{what} {size}"),
                Some(answer) => assert_eq!(told(&answer), (404, "BLOB_UNKNOWN".into()), "{what} {size}"),
                None => assert!(size > MIB, "{what} {size}: cut off before the first byte"),
            }
            client = RegistryClient::ci(&node, "team/app").await;
        }
        for _ in 0..2 {
            assert_eq!(told(&client.get("manifests/v1").await), manifest_unknown(), "{what} {size} {restarted}");
        }
        if !restarted {
            assert_eq!(node.metric("larder_store_corrupt_total").await, 1.0, "{what} {size}");
            node.stop(Stop::Now).await;
            continue;
        }
        push_what_is_missing(&mut client, &manifest, &layer).await;
        let healed = async |client: &mut RegistryClient| {
            for path in ["manifests/v1".to_owned(), format!("manifests/{}", sha256(&manifest))] {
                let answer = client.get(&path).await;
                assert!(answer.status == 200 && answer.body == manifest, "{what} {size} {path}: {}", answer.status);
            }
            for blob in [CONFIG, &layer] {
                let answer = client.get(&format!("blobs/{}", sha256(blob))).await;
                assert!(answer.status == 200 && answer.body == blob, "{what} {size}: {}", answer.status);
            }
        };
        healed(&mut client).await;
        node.stop(Stop::Now).await;
        let node = TestNode::over(dir.path(), "").await;
        healed(&mut RegistryClient::ci(&node, "team/app").await).await;
        return;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_layer_is_missed_and_healed() {
    for size in [450, 500_000] {
        is_missed_and_healed(size, "body", |data, layer, _| flip(&blob_record(data, layer), -1)).await;
    }
    for size in [450, 500_000, 3 * MIB] {
        is_missed_and_healed(size, "header", |data, layer, _| flip(&blob_record(data, layer), 60)).await;
        is_missed_and_healed(size, "empty", |data, layer, _| truncate(&blob_record(data, layer), 0)).await;
    }
    for at in [0, MIB as i64 + 5, -1] {
        is_missed_and_healed(3 * MIB, "payload", |data, _, _| flip(&payload(data), at)).await;
    }
    is_missed_and_healed(3 * MIB, "short", |data, _, _| truncate(&payload(data), 2 * MIB as u64 + 1)).await;
    is_missed_and_healed(3 * MIB, "gone", |data, _, _| fs::remove_file(payload(data)).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_record_of_a_repository_is_missed_and_healed() {
    for at in [30, -2] {
        is_missed_and_healed(450, "link", |data, layer, _| flip(&of_repository(data, "_blobs", layer), at)).await;
        is_missed_and_healed(450, "manifest", |data, _, manifest| {
            flip(&of_repository(data, "_manifests", manifest), at)
        })
        .await;
        is_missed_and_healed(450, "tag", |data, _, _| flip(&data.join("repos/team/app/_tags/v1"), at)).await;
    }
    is_missed_and_healed(450, "configuration", |data, _, _| flip(&blob_record(data, CONFIG), -1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_below_an_index_is_found_in_every_repository_and_healed_by_one_push() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let layer = noise(4, 3 * MIB);
    let names = ["team/app", "team/other"];
    let mut list = Vec::new();
    for name in names {
        let mut client = client.within(name).await;
        for blob in [CONFIG, &layer] {
            let path = format!("blobs/uploads/?mount={}", sha256(blob));
            if client.send("POST", &path, &[], b"").await.status != 201 {
                client.push(Way::Patch, blob).await;
            }
        }
        let manifest = image(CONFIG, &[&layer]);
        client.push_manifest("image", OCI, &manifest).await;
        list = index(&[&manifest]);
        client.push_manifest("list", OCI_INDEX, &list).await;
    }
    flip(&payload(node.data()), MIB as i64);
    let statuses = async |client: &RegistryClient| {
        let mut statuses = Vec::new();
        for name in names {
            let mut client = client.within(name).await;
            for tag in ["image", "list"] {
                statuses.push(client.status(&format!("manifests/{tag}")).await);
            }
        }
        statuses
    };
    assert_eq!(statuses(&client).await, [200; 4], "nobody has looked yet");
    let answer = client.send("GET", &format!("blobs/{}", sha256(&layer)), &[("Range", "bytes=1048576-")], b"").await;
    assert_eq!(told(&answer), (404, "BLOB_UNKNOWN".into()), "found before an answer began");
    assert_eq!(statuses(&client).await, [404; 4]);
    assert_eq!(client.put_manifest("list", OCI_INDEX, &list).await.status, 404);
    client.push(Way::Chunked, &layer).await;
    assert_eq!(statuses(&client).await, [200; 4], "one blob for all");
    let mut reader = RegistryClient::of(node.address, "team/other", Some(&basic("reader", "pw"))).await;
    assert!(reader.get(&format!("blobs/{}", sha256(&layer))).await.body == layer);
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_in_the_first_chunk_is_told_also_without_room_in_memory() {
    let node = TestNode::with("[memory]\nhot = \"1MiB\"").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    client.push_image("x", b"config", &[&noise(1, 50_000)]).await;
    client.get("manifests/x").await;
    client.get(&format!("blobs/{}", sha256(&noise(1, 50_000)))).await;
    let digest = client.push(Way::Patch, &noise(4, 3 * MIB)).await;
    flip(&payload(node.data()), 5);
    let answer = client.get(&format!("blobs/{digest}")).await;
    assert_eq!(told(&answer), (404, "BLOB_UNKNOWN".into()), "found before an answer began");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_moves_while_its_manifest_is_deleted_stays() {
    let node = TestNode::with("[store]\nfsync = \"never\"").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let mut other = client.within("team/app").await;
    let mut boss = RegistryClient::user(&node, "team/app", "boss").await;
    client.push(Way::Post, b"config").await;
    let b = image(b"config", &[]);
    client.push_manifest("b", OCI, &b).await;
    let mut lost = 0;
    for i in 0..60u64 {
        let text = String::from_utf8(b.clone()).unwrap().replacen('{', &format!("{{\"n\": {i},"), 1);
        client.put_manifest("moving", OCI, text.as_bytes()).await;
        let gone = format!("manifests/{}", sha256(text.as_bytes()));
        let (deleted, pushed) = tokio::join!(boss.delete(&gone), async {
            tokio::time::sleep(std::time::Duration::from_micros(i * 40 % 2000)).await;
            other.put_manifest("moving", OCI, &b).await
        });
        assert_eq!((deleted.status, pushed.status), (202, 201));
        lost += usize::from(client.status("manifests/moving").await != 200);
    }
    assert_eq!(lost, 0, "acknowledged tags that are gone");
}
