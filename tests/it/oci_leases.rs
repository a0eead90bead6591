//! "It exists" is a promise for hours: what is old is renewed before it is told, with everything that it names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use larder::store::faults::Fault;
use serde_json::json;

use crate::support::entry::noise;
use crate::support::registry_client::{OCI, OCI_INDEX, RegistryClient, Way, descriptor, index, sha256, told};
use crate::support::{MIB, TestNode, disk, eventually};

const RENEWALS: &str = "larder_oci_renewals_total";
const TINY: &str = "[oci]\nrefresh = \"700ms\"\nslack = \"100ms\"\nhold_on = \"300ms\"\n";
const OLD: Duration = Duration::from_millis(900);
const CONFIG: &[u8] = b"{\"architecture\":\"amd64\"}";

/// When each record of blobs and repositories was renewed last, by its path below the data directory.
fn renewed(data: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let files = ["blobs", "repos"].into_iter().flat_map(|part| disk::files(&data.join(part)));
    let time = |file: PathBuf| {
        let modified = fs::metadata(&file).unwrap().modified().unwrap();
        (file.strip_prefix(data).unwrap().to_owned(), modified)
    };
    files.map(time).collect()
}

/// What was renewed between two looks, shortened to the kind and the first of a digest's digits.
fn moved(before: &BTreeMap<PathBuf, SystemTime>, after: &BTreeMap<PathBuf, SystemTime>) -> Vec<PathBuf> {
    let newer = |path: &&PathBuf| after[*path] > before[*path];
    before.keys().filter(newer).cloned().collect()
}

fn blob(bytes: &[u8]) -> PathBuf {
    let digest = sha256(bytes);
    let hex = &digest["sha256:".len()..];
    ["blobs/sha256", &hex[..2], hex].iter().collect()
}

fn of_app(kind: &str, bytes: &[u8]) -> PathBuf {
    ["repos/team/app", kind, "sha256", &sha256(bytes)["sha256:".len()..]].iter().collect()
}

fn tag(name: &str) -> PathBuf {
    ["repos/team/app/_tags", name].iter().collect()
}

/// The records that an image consists of.
fn image_records(manifest: &[u8], blobs: &[&[u8]]) -> Vec<PathBuf> {
    let of_blobs = blobs.iter().flat_map(|bytes| [blob(bytes), of_app("_blobs", bytes)]);
    of_blobs.chain([of_app("_manifests", manifest)]).collect()
}

fn sorted(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort();
    paths
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_leases_are_left_alone() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let manifest = client.push_image("v1", CONFIG, &[&noise(1, 2 * MIB)]).await;
    let before = renewed(node.data());
    for path in ["manifests/v1".to_owned(), format!("manifests/{}", sha256(&manifest))] {
        assert_eq!(client.status(&path).await, 200);
        assert_eq!(client.head(&path).await.status, 200);
    }
    assert_eq!(client.status(&format!("blobs/{}", sha256(CONFIG))).await, 200);
    let mount = format!("blobs/uploads/?mount={}&from=team/app", sha256(CONFIG));
    assert_eq!(client.send("POST", &mount, &[], b"").await.status, 201);
    client.push(Way::Patch, CONFIG).await;
    assert_eq!(moved(&before, &renewed(node.data())), Vec::<PathBuf>::new());
    assert_eq!(node.metric(RENEWALS).await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_leases_are_renewed_before_the_answer_with_all_that_a_manifest_names() {
    let node = TestNode::with(TINY).await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let layer = noise(1, 2 * MIB);
    let manifest = client.push_image("v1", CONFIG, &[&layer]).await;
    let other = client.push_image("other", b"other", &[]).await;
    let list = index(&[&manifest, &other]);
    client.push_manifest("list", OCI_INDEX, &list).await;
    let image = image_records(&manifest, &[CONFIG, &layer]);
    let signature = json!({ "config": descriptor("c", b"other"), "layers": [], "subject": descriptor(OCI, &manifest) });
    let signature = serde_json::to_vec(&signature).unwrap();
    client.push_manifest("signature", OCI, &signature).await;
    let listing = of_app("_referrers", &manifest).join("sha256").join(&sha256(&signature)[7..]);
    let signed = [image_records(&signature, &[b"other"]), vec![listing]].concat();
    let everything = [image.clone(), image_records(&other, &[b"other"]), vec![of_app("_manifests", &list)]].concat();
    let old_now = async || {
        tokio::time::sleep(OLD).await;
        renewed(node.data())
    };
    // What refers to a manifest may be renewed beside the answer; everything else is before it.
    let are_renewed = async |before: &BTreeMap<PathBuf, SystemTime>, want: Vec<PathBuf>, what: &str| {
        let now = moved(before, &renewed(node.data()));
        let late: Vec<_> = want.iter().filter(|path| !now.contains(path)).collect();
        let more: Vec<_> = now.iter().filter(|path| !want.contains(path) && !signed.contains(path)).collect();
        assert_eq!((late, more), (vec![], vec![]), "{what}");
    };
    let are_signed = async |before: &BTreeMap<PathBuf, SystemTime>| {
        let now = async || moved(before, &renewed(node.data()));
        eventually("signatures go along", async || {
            let now = now().await;
            signed.iter().all(|path| now.contains(path))
        })
        .await;
    };
    let by_digest = format!("manifests/{}", sha256(&manifest));
    let before = old_now().await;
    assert_eq!(client.status("manifests/v1").await, 200);
    are_renewed(&before, [image.clone(), vec![tag("v1")]].concat(), "a tag").await;
    are_signed(&before).await;
    let before = old_now().await;
    assert_eq!(client.head(&by_digest).await.status, 200);
    are_renewed(&before, image.clone(), "a manifest by digest").await;
    are_signed(&before).await;
    let before = old_now().await;
    assert_eq!(client.head(&format!("blobs/{}", sha256(&layer))).await.status, 200);
    let link = sorted(vec![blob(&layer), of_app("_blobs", &layer)]);
    assert_eq!(moved(&before, &renewed(node.data())), link);
    let before = old_now().await;
    let renewals = node.metric(RENEWALS).await;
    assert_eq!(client.status("manifests/list").await, 200);
    let all = [everything, vec![tag("list")]].concat();
    are_renewed(&before, all.clone(), "everything below an index").await;
    are_signed(&before).await;
    let renewals = node.metric(RENEWALS).await - renewals;
    assert!((all.len()..all.len() + 7).contains(&(renewals as usize)), "about each once: {renewals}");
    // Pushes promise, too: of a manifest whose parts are old, of a blob that is there, by a mount.
    let before = old_now().await;
    assert_eq!(client.put_manifest("list", OCI_INDEX, &list).await.status, 201);
    are_renewed(&before, all.clone(), "a push of an index").await;
    let mount = format!("blobs/uploads/?mount={}&from=team/app", sha256(&layer));
    let again = format!("blobs/uploads/?digest={}", sha256(&layer));
    for (path, body) in [(mount, &b""[..]), (again, &layer)] {
        let before = old_now().await;
        assert_eq!(client.send("POST", &path, &[], body).await.status, 201);
        assert_eq!(moved(&before, &renewed(node.data())), link, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_a_little_old_is_renewed_beside_the_answer_and_what_cannot_be_is_not_promised() {
    let toml = "[oci]\nrefresh = \"700ms\"\nslack = \"1min\"\n[store]\nfsync = \"never\"\nwrite_deadline = \"250ms\"\n";
    let node = TestNode::with(toml).await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let manifest = client.push_image("v1", CONFIG, &[b"layer"]).await;
    tokio::time::sleep(OLD).await;
    let before = renewed(node.data());
    node.faults.set_write(Fault::Hang);
    assert_eq!(client.get("manifests/v1").await.body, manifest, "the answer does not wait");
    node.faults.set_write(Fault::None);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(client.get("manifests/v1").await.body, manifest);
    let want = sorted(vec![of_app("_manifests", &manifest), tag("v1")]);
    eventually("they are renewed", async || moved(&before, &renewed(node.data())) == want).await;

    let node = TestNode::with(&format!("{TINY}[store]\nfsync = \"never\"\nwrite_deadline = \"250ms\"\n")).await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let manifest = client.push_image("v1", CONFIG, &[b"layer"]).await;
    tokio::time::sleep(OLD).await;
    for fault in [Fault::Error, Fault::Hang, Fault::Full] {
        node.faults.set_write(fault);
        for path in ["manifests/v1".to_owned(), format!("blobs/{}", sha256(b"layer"))] {
            assert_eq!(told(&client.get(&path).await), (503, "UNAVAILABLE".into()), "{fault:?} {path}");
            assert_eq!(client.head(&path).await.status, 503, "{fault:?} {path}");
        }
    }
    node.faults.set_write(Fault::None);
    eventually("writes heal", async || client.status("manifests/v1").await == 200).await;
    assert_eq!(client.get("manifests/v1").await.body, manifest);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_at_once_renew_once_and_whoever_deletes_wins() {
    let node = TestNode::with(TINY).await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let manifest = client.push_image("v1", CONFIG, &[b"layer"]).await;
    tokio::time::sleep(OLD).await;
    let mut clients = Vec::new();
    for _ in 0..24 {
        clients.push(client.within("team/app").await);
    }
    let pulls = clients.iter_mut().map(async |client| client.status("manifests/v1").await);
    assert_eq!(futures_util::future::join_all(pulls).await, [200; 24]);
    // Configuration, layer, their links, the manifest, its tag; here and there one more of a race.
    let renewals = node.metric(RENEWALS).await;
    assert!((6.0..=24.0).contains(&renewals), "{renewals}");
    let mut boss = RegistryClient::user(&node, "team/app", "boss").await;
    for _ in 0..3 {
        tokio::time::sleep(OLD).await;
        let pulls = clients.iter_mut().map(async |client| client.status("manifests/v1").await);
        let by_digest = format!("manifests/{}", sha256(&manifest));
        let (statuses, deleted) = tokio::join!(futures_util::future::join_all(pulls), boss.delete(&by_digest));
        assert_eq!(deleted.status, 202);
        assert!(statuses.iter().all(|status| matches!(status, 200 | 404)), "{statuses:?}");
        assert_eq!(client.status("manifests/v1").await, 404, "a renewal brings nothing back");
        assert_eq!(client.status(&by_digest).await, 404, "a renewal brings nothing back");
        client.push_manifest("v1", OCI, &manifest).await;
    }
}
