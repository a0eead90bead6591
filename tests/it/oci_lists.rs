//! Lists: tags, repositories, and what refers to a manifest, a page at a time.

use serde_json::{Value, json};

use crate::support::node::user;
use crate::support::registry_client::{OCI, OCI_INDEX, RegistryClient, Way, descriptor, image, sha256, told};
use crate::support::{Answer, TestNode};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn body(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

fn names(answer: &Answer, member: &str) -> Vec<String> {
    body(answer)[member].as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Where the next page is, as RFC 8288 writes it.
fn next(answer: &Answer) -> Option<String> {
    let link = answer.header("link")?;
    let (path, rest) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
    assert_eq!(rest.trim_start_matches([';', ' ']), "rel=\"next\"", "{link}");
    assert!(path.starts_with("/v2/"), "{link}");
    Some(path.to_owned())
}

/// Follows the pages of a list to its end.
async fn pages(client: &mut RegistryClient, first: &str, member: &str) -> Vec<Vec<String>> {
    let (mut pages, mut path) = (Vec::new(), first.to_owned());
    loop {
        let answer = client.get(&path).await;
        pages.push(names(&answer, member));
        match next(&answer) {
            Some(path_of_next) => path = path_of_next,
            None => return pages,
        }
        assert!(pages.len() < 100, "it ends");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_listed_in_order_and_in_pages() {
    let node = TestNode::with("[oci]\nmax_page = 5").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    assert_eq!(told(&client.get("tags/list").await), (404, "NAME_UNKNOWN".into()));
    let manifest = client.push_image("v1", b"config", &[b"layer"]).await;
    let mut tags = vec!["v1", "latest", "V2", "_x", "0", "a.b-c", "v1.10", "v1.9", "z", "A", "aa", "a", "zz-top"];
    for tag in &tags[1..] {
        assert_eq!(client.put_manifest(tag, OCI, &manifest).await.status, 201);
    }
    client.put_manifest(&sha256(&manifest), OCI, &manifest).await;
    // A repository below has tags of its own.
    client.within("team/app/cache").await.push_image("below", b"config", &[]).await;
    tags.sort_unstable();
    for n in 1..=5 {
        let pages = pages(&mut client, &format!("tags/list?n={n}"), "tags").await;
        assert!(pages.iter().rev().skip(1).all(|page| page.len() == n) && pages.concat() == tags, "{n}: {pages:?}");
        assert!(pages.last().is_some_and(|page| !page.is_empty()), "no page is empty");
    }
    for all in ["tags/list", "tags/list?n=999999999", "tags/list?n=99999999999999999999999", "tags/list?n=6"] {
        let pages = pages(&mut client, all, "tags").await;
        assert!(pages.iter().all(|page| page.len() <= 5) && pages.concat() == tags, "{all}: {pages:?}");
    }
    let none = client.get("tags/list?n=0").await;
    assert_eq!((names(&none, "tags").len(), next(&none)), (0, None));
    assert_eq!(body(&none)["name"], "team/app");
    let after = |last: &str| tags.iter().filter(|tag| **tag > last).copied().collect::<Vec<_>>();
    for last in ["", "0", "a", "a.b-c", "v1", "v1.5", "nothing", "zz-top", "zzz", "-", "~", "a%20b"] {
        let pages = pages(&mut client, &format!("tags/list?n=4&last={last}"), "tags").await;
        assert_eq!(pages.concat(), after(&last.replace("%20", " ")), "after {last:?}");
    }
    for odd in ["/", "../x", "..", "%00", "%C3%BC"] {
        let answer = client.get(&format!("tags/list?last={odd}")).await;
        assert!(matches!(answer.status, 200 | 400), "{odd}: {}", answer.status);
    }
    for wrong in ["-1", "x", "", "1.5", "%2B1"] {
        let answer = client.get(&format!("tags/list?n={wrong}")).await;
        assert_eq!(told(&answer), (400, "PAGINATION_NUMBER_INVALID".into()), "{wrong:?}");
    }
    let mut boss = RegistryClient::user(&node, "team/app", "boss").await;
    assert_eq!(boss.delete("manifests/v1.9").await.status, 202);
    assert!(!pages(&mut client, "tags/list", "tags").await.concat().contains(&"v1.9".to_owned()));
    assert_eq!(boss.delete(&format!("manifests/{}", sha256(&manifest))).await.status, 202);
    assert_eq!(
        pages(&mut client, "tags/list", "tags").await,
        [Vec::<String>::new()],
        "a known repository without tags"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_shows_what_somebody_may_pull_from() {
    let users = [
        user("ci", &["oci:**=read-write"]),
        user("team", &["oci:a=read", "oci:a/*=read-write", "gradle:**=read"]),
        user("none", &["gradle:**=admin"]),
    ]
    .concat();
    let dir = tempfile::tempdir().unwrap();
    let node = TestNode::configured(dir.path(), &users).await;
    let mut client = RegistryClient::ci(&node, "x").await;
    assert_eq!(names(&client.get("/v2/_catalog").await, "repositories"), Vec::<String>::new());
    let all = ["a", "a-b", "a.b", "a/0", "a/b", "a/b/c", "a/z", "a0", "a_b", "b", "b/a", "zz/top"];
    for name in all {
        let mut client = client.within(name).await;
        client.push(Way::Post, b"config").await;
        client.put_manifest("v1", OCI, &image(b"config", &[])).await;
    }
    for n in [1, 2, 5, 12, 999_999_999] {
        let pages = pages(&mut client, &format!("/v2/_catalog?n={n}"), "repositories").await;
        let mut found = pages.concat();
        assert!(pages.iter().rev().skip(1).all(|page| page.len() == n), "{n}: {pages:?}");
        found.sort_unstable();
        assert_eq!(found, all, "{n}: every one once");
    }
    for (user, may) in [("team", vec!["a", "a/0", "a/b", "a/z"]), ("none", vec![])] {
        let mut client = RegistryClient::user(&node, "x", user).await;
        for n in [1, 3, 100] {
            let pages = pages(&mut client, &format!("/v2/_catalog?n={n}"), "repositories").await;
            let mut found = pages.concat();
            found.sort_unstable();
            assert_eq!(found, may, "{user} {n}");
        }
    }
    let none = client.get("/v2/_catalog?n=0").await;
    assert_eq!((names(&none, "repositories").len(), next(&none)), (0, None));
    assert_eq!(told(&client.get("/v2/_catalog?n=x").await), (400, "PAGINATION_NUMBER_INVALID".into()));
    let mut nobody = RegistryClient::of(node.address, "x", None).await;
    assert_eq!(told(&nobody.get("/v2/_catalog").await), (401, "UNAUTHORIZED".into()));
}

/// A manifest that refers to `subject`.
fn referrer(subject: &Value, kind: &str, note: &str) -> Vec<u8> {
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI, "artifactType": kind, "config": descriptor("c", b"config"), "layers": [],
        "subject": subject, "annotations": { "note": note, "org.example": "ü\n\"" },
    });
    serde_json::to_vec(&manifest).unwrap()
}

async fn referrers(client: &mut RegistryClient, subject: &str, query: &str) -> Vec<Value> {
    let answer = client.get(&format!("referrers/{subject}{query}")).await;
    let index = body(&answer);
    assert_eq!(answer.header("content-type"), Some(INDEX));
    assert_eq!((&index["schemaVersion"], &index["mediaType"]), (&json!(2), &json!(INDEX)));
    let filtered = answer.header("oci-filters-applied");
    assert_eq!(filtered, query.contains("artifactType=t").then_some("artifactType"));
    index["manifests"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_are_listed_filtered_and_gone_when_they_are() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let mut boss = RegistryClient::user(&node, "team/app", "boss").await;
    let subject = image(b"config", &[b"layer"]);
    let digest = sha256(&subject);
    let named = descriptor(OCI, &subject);
    assert_eq!(referrers(&mut client, &digest, "").await, Vec::<Value>::new(), "of nothing in an unknown repository");
    client.push(Way::Post, b"config").await;
    client.push(Way::Post, b"layer").await;
    // The subject is not there yet.
    let (sbom, signature) = (referrer(&named, "test/sbom", "1"), referrer(&named, "test/signature", "2"));
    let of_config = json!({ "config": descriptor("test/config", b"config"), "layers": [], "subject": named });
    let of_config = serde_json::to_vec(&of_config).unwrap();
    let list = json!({ "mediaType": OCI_INDEX, "manifests": [], "subject": named, "artifactType": "test/sbom" });
    let list = serde_json::to_vec(&list).unwrap();
    for (bytes, media_type) in [(&sbom, OCI), (&signature, OCI), (&of_config, OCI), (&list, OCI_INDEX)] {
        let answer = client.put_manifest(&sha256(bytes), media_type, bytes).await;
        assert_eq!((answer.status, answer.header("oci-subject")), (201, Some(digest.as_str())));
    }
    let listed = |bytes: &[u8], media_type: &str, kind: &str| {
        let mut descriptor = descriptor(media_type, bytes);
        descriptor["artifactType"] = json!(kind);
        if let Some(annotations) = serde_json::from_slice::<Value>(bytes).unwrap().get("annotations") {
            descriptor["annotations"] = annotations.clone();
        }
        descriptor
    };
    let by_digest = |mut all: Vec<Value>| {
        all.sort_by_key(|descriptor| descriptor["digest"].as_str().unwrap().to_owned());
        all
    };
    let (sbom_listed, list_listed) = (listed(&sbom, OCI, "test/sbom"), listed(&list, OCI_INDEX, "test/sbom"));
    let signature_listed = listed(&signature, OCI, "test/signature");
    let sboms = by_digest(vec![sbom_listed.clone(), list_listed.clone()]);
    let config_listed = listed(&of_config, OCI, "test/config");
    let all = by_digest([sboms.clone(), vec![signature_listed.clone(), config_listed.clone()]].concat());
    for _ in 0..2 {
        assert_eq!(referrers(&mut client, &digest, "").await, all);
        assert_eq!(referrers(&mut client, &digest, "?artifactType=test%2Fsbom").await, sboms);
        assert_eq!(
            referrers(&mut client, &digest, "?artifactType=test/config").await,
            std::slice::from_ref(&config_listed)
        );
        assert_eq!(referrers(&mut client, &digest, "?artifactType=test/none").await, Vec::<Value>::new());
        client.push_manifest("subject", OCI, &subject).await;
    }
    assert_eq!(referrers(&mut client.within("team/other").await, &digest, "").await, Vec::<Value>::new());
    assert_eq!(told(&client.get("referrers/sha256:abc").await), (400, "DIGEST_INVALID".into()));
    assert_eq!(boss.delete(&format!("manifests/{}", sha256(&signature))).await.status, 202);
    let left = by_digest([sboms.clone(), vec![config_listed.clone()]].concat());
    assert_eq!(referrers(&mut client, &digest, "").await, left, "at once");
    assert_eq!(boss.delete(&format!("manifests/{digest}")).await.status, 202);
    assert_eq!(referrers(&mut client, &digest, "").await, left, "also without the subject");
    assert_eq!(client.put_manifest("signed", OCI, &signature).await.status, 201, "over its tombstone");
    assert_eq!(referrers(&mut client, &digest, "").await, all);
    // What refers, and cannot be pulled any more, is not listed.
    assert_eq!(boss.delete(&format!("blobs/{}", sha256(b"config"))).await.status, 202);
    assert_eq!(referrers(&mut client, &digest, "").await, [list_listed]);
    client.push(Way::Put, b"config").await;
    assert_eq!(referrers(&mut client, &digest, "").await, all);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_referrers_come_in_pages_that_clients_can_take() {
    let node = TestNode::with("[store]\nfsync = \"never\"").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    client.push(Way::Post, b"config").await;
    let subject = descriptor(OCI, b"some subject");
    let digest = sha256(b"some subject");
    let mut want = Vec::new();
    for i in 0..12 {
        let kind = if i % 3 == 0 { "test/a b&c" } else { "test/other" };
        let bytes = referrer(&subject, kind, &"x".repeat(400_000 + i));
        assert_eq!(client.put_manifest(&sha256(&bytes), OCI, &bytes).await.status, 201);
        want.push((sha256(&bytes), kind));
    }
    want.sort_unstable();
    for (query, kind) in [("", ""), ("?artifactType=test/a%20b%26c", "test/a b&c")] {
        let (mut path, mut found, mut pages) = (format!("referrers/{digest}{query}"), Vec::new(), 0);
        loop {
            let answer = client.get(&path).await;
            assert!(answer.body.len() < 4 << 20, "{}", answer.body.len());
            let page = body(&answer)["manifests"].as_array().unwrap().clone();
            found.extend(page.iter().map(|descriptor| descriptor["digest"].as_str().unwrap().to_owned()));
            pages += 1;
            match next(&answer) {
                Some(next) => path = next,
                None => break,
            }
        }
        let want: Vec<_> = want.iter().filter(|(_, k)| kind.is_empty() || *k == kind).map(|(d, _)| d.clone()).collect();
        assert_eq!(found, want, "{query}");
        assert!(if kind.is_empty() { pages >= 3 } else { pages <= 2 }, "{pages}");
    }
}
