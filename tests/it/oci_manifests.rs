//! `/v2/<name>/manifests/<reference>`: kept byte for byte, or refused with the reason.

use larder::app::Stop;
use serde_json::{Value, json};

use crate::support::entry::noise;
use crate::support::program::Program;
use crate::support::registry_client::{
    DOCKER, DOCKER_LIST, OCI, OCI_INDEX, RegistryClient, Way, codes, descriptor, image, index, location, sha256,
    sha512, told,
};
use crate::support::{MIB, TestNode, disk};

const ARTIFACT: &str = "application/vnd.oci.artifact.manifest.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// What is wrong, the media type and the bytes that are pushed, and status and code of the answer.
type Refused = (&'static str, &'static str, Vec<u8>, (u16, &'static str));

fn text(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

/// An OCI manifest of `config` that is this long.
fn of_length(config: &[u8], len: usize) -> Vec<u8> {
    let with = |filler: String| {
        text(
            &json!({ "schemaVersion": 2, "config": descriptor("c", config), "layers": [], "annotations": { "x": filler } }),
        )
    };
    let bytes = with("x".repeat(len - with(String::new()).len()));
    assert_eq!(bytes.len(), len);
    bytes
}

/// What is there for manifests to name: a configuration, two layers, and a little image of them.
struct Parts {
    config: Vec<u8>,
    layers: [Vec<u8>; 2],
    image: Vec<u8>,
}

async fn parts(client: &mut RegistryClient) -> Parts {
    let (config, layers) = (br#"{"architecture":"amd64"}"#.to_vec(), [noise(1, 450), noise(2, 2 * MIB)]);
    let image = client.push_image("parts", &config, &[&layers[0], &layers[1]]).await;
    Parts { config, layers, image }
}

fn shapes(parts: &Parts) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let Parts { config, layers, image } = parts;
    let (a, b) = (layers[0].as_slice(), layers[1].as_slice());
    let docker = |layer: &str, layers: &[&[u8]]| {
        let config = descriptor("application/vnd.docker.container.image.v1+json", config);
        let layers: Vec<_> = layers.iter().map(|bytes| descriptor(layer, bytes)).collect();
        text(&json!({ "schemaVersion": 2, "mediaType": DOCKER, "config": config, "layers": layers }))
    };
    let gzip = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    let foreign = |kind: &str| {
        let mut layer = descriptor(kind, b"lies elsewhere");
        layer["urls"] = json!(["https://example.org/layer"]);
        text(&json!({ "schemaVersion": 2, "config": descriptor("c", config), "layers": [layer, descriptor(LAYER, a)] }))
    };
    let odd = format!(
        "\n\t {{ \"layers\":[ ] ,\"\\u0063onfig\":{{\"size\" : {0},\r\n\"digest\":\"{1}\",\"mediaType\":\"c\",\"x\":[[{{}}]]}},\
         \"schemaVersion\":2,\"annotations\":{{\"a\":\"\u{fc}\\n\"}},\"z\":1.50e3,\"history\":null}}  \n\n",
        config.len(),
        sha256(config)
    );
    let platform = json!({ "architecture": "arm64", "os": "linux", "variant": "v8" });
    let mut of_platform = descriptor(OCI, image);
    of_platform["platform"] = platform;
    let list =
        json!({ "schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": [of_platform, descriptor(OCI, image)] });
    let blobs =
        [descriptor("application/vnd.buildkit.layer", a), descriptor("application/vnd.buildkit.config", config)];
    let artifact = json!({ "mediaType": ARTIFACT, "artifactType": "test/x", "blobs": [descriptor("b", a)] });
    let inner = index(&[image]);
    let deep = format!("{{\"layers\":[],\"x\":{}{}}}", "[".repeat(500_000), "]".repeat(500_000));
    vec![
        ("docker", DOCKER, docker(gzip, &[a, b])),
        ("docker-without-layers", DOCKER, docker(gzip, &[])),
        ("docker-with-zstd", DOCKER, docker("application/vnd.oci.image.layer.v1.tar+zstd", &[a, b, a])),
        ("docker-list", DOCKER_LIST, text(&list)),
        ("oci", OCI, image.clone()),
        (
            "oci-without-layers",
            OCI,
            text(&json!({ "schemaVersion": 2, "config": descriptor("c", config), "layers": [] })),
        ),
        ("oci-foreign", OCI, foreign("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip")),
        ("docker-foreign", OCI, foreign("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")),
        ("odd", OCI, odd.into_bytes()),
        ("index", OCI_INDEX, inner.clone()),
        ("index-of-index", OCI_INDEX, index(&[&inner, image])),
        ("index-of-nothing", OCI_INDEX, index(&[])),
        ("buildkit", OCI_INDEX, text(&json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": blobs }))),
        ("artifact", ARTIFACT, text(&artifact)),
        ("own-type", "application/x.own+json", text(&json!({ "config": descriptor("c", config) }))),
        ("deep", OCI, deep.into_bytes()),
        ("large", OCI, of_length(config, 39 * MIB / 10)),
        ("largest", OCI, of_length(config, 8 * MIB)),
    ]
}

async fn is_served(client: &mut RegistryClient, name: &str, media_type: &str, bytes: &[u8]) {
    let digest = sha256(bytes);
    for reference in [name, &digest] {
        let path = format!("manifests/{reference}");
        let (head, answer) = (client.head(&path).await, client.get(&path).await);
        for answer in [&head, &answer] {
            assert_eq!(answer.status, 200, "{name}");
            assert_eq!(answer.header("content-type"), Some(media_type), "{name}");
            assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()), "{name}");
            assert_eq!(answer.header("content-length"), Some(bytes.len().to_string().as_str()), "{name}");
        }
        assert!(answer.body == bytes, "{name} came back as other bytes");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_comes_back_byte_for_byte_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let node = TestNode::over(dir.path(), "").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let parts = parts(&mut client).await;
    let shapes = shapes(&parts);
    for (name, media_type, bytes) in &shapes {
        if *name == "index-of-index" {
            client.push_manifest("inner", OCI_INDEX, &index(&[&parts.image])).await;
        }
        client.push_manifest(name, media_type, bytes).await;
        is_served(&mut client, name, media_type, bytes).await;
    }
    let digest = sha512(&parts.image);
    assert_eq!(client.put_manifest(&digest, OCI, &parts.image).await.status, 201);
    node.stop(Stop::Now).await;
    let node = TestNode::over(dir.path(), "").await;
    let mut client = RegistryClient::user(&node, "team/app", "reader").await;
    for (name, media_type, bytes) in &shapes {
        is_served(&mut client, name, media_type, bytes).await;
    }
    let answer = client.get(&format!("manifests/{digest}")).await;
    assert!(answer.body == parts.image && answer.header("docker-content-digest") == Some(&digest));
    assert_eq!(node.metric("larder_store_corrupt_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_moves_and_may_change_its_media_type() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let parts = parts(&mut client).await;
    for (name, media_type, bytes) in shapes(&parts).iter().filter(|(name, ..)| !name.contains("index-of-index")) {
        assert_eq!(client.put_manifest("moving", media_type, bytes).await.status, 201, "{name}");
        is_served(&mut client, "moving", media_type, bytes).await;
    }
    // The same bytes, which say nothing of their type, as something else.
    let bytes = text(&json!({ "config": descriptor("c", &parts.config) }));
    for media_type in [OCI, DOCKER, OCI] {
        assert_eq!(client.put_manifest("moving", &format!("{media_type}; charset=utf-8"), &bytes).await.status, 201);
        is_served(&mut client, "moving", media_type, &bytes).await;
    }
    assert_eq!(client.send("PUT", "manifests/moving", &[], &parts.image).await.status, 201, "no Content-Type");
    is_served(&mut client, "moving", OCI, &parts.image).await;
    let chunked = client.send_chunked("PUT", "manifests/moving", &[("Content-Type", OCI)], &bytes, 100).await;
    assert_eq!(chunked.status, 201);
    is_served(&mut client, "moving", OCI, &bytes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_kept_is_refused_with_its_reason_and_leaves_nothing() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let Parts { config, layers, image: good } = parts(&mut client).await;
    let mut elsewhere = client.within("team/other").await;
    elsewhere.push_image("v1", b"elsewhere", &[b"a layer"]).await;
    let foreign_index = index(&[&image(b"elsewhere", &[b"a layer"])]);
    let sized = |size: i64| json!({ "digest": sha256(&layers[0]), "size": size, "mediaType": LAYER });
    let two_sizes = text(&json!({ "layers": [sized(450), sized(451)] }));
    let blob_unknown = (404, "MANIFEST_BLOB_UNKNOWN");
    let invalid = (400, "MANIFEST_INVALID");
    let deep = format!("{{\"layers\":[],\"annotations\":{{\"x\":{}{}}}}}", "[".repeat(5000), "]".repeat(5000));
    let cases: Vec<Refused> = vec![
        ("no such layer", OCI, image(&config, &[b"missing", &layers[0]]), blob_unknown),
        ("no such configuration", OCI, image(b"missing", &[]), blob_unknown),
        ("a blob of another repository", OCI, image(b"elsewhere", &[]), blob_unknown),
        ("a manifest of another repository", OCI_INDEX, foreign_index, blob_unknown),
        ("a manifest as a layer", OCI, image(&config, &[&good]), blob_unknown),
        ("a size too large", OCI, text(&json!({ "layers": [sized(451)] })), (400, "SIZE_INVALID")),
        ("a size too small", OCI, text(&json!({ "layers": [sized(0)] })), (400, "SIZE_INVALID")),
        ("a negative size", OCI, text(&json!({ "layers": [sized(-450)] })), invalid),
        ("two sizes", OCI, two_sizes, invalid),
        ("another type than it says", DOCKER, good.clone(), invalid),
        ("an index's type", OCI_INDEX, good.clone(), invalid),
        ("nothing", OCI, Vec::new(), invalid),
        ("no JSON", OCI, b"hello".to_vec(), invalid),
        ("half of it", OCI, good[..good.len() / 2].to_vec(), invalid),
        ("something behind it", OCI, [good.as_slice(), b"x"].concat(), invalid),
        ("a list", OCI, b"[]".to_vec(), invalid),
        ("no manifest", OCI, b"{}".to_vec(), invalid),
        ("no UTF-8", OCI, b"{\"layers\":[],\"x\":\"\xff\"}".to_vec(), invalid),
        ("a digest that is none", OCI, text(&json!({ "layers": [{ "digest": "sha256:1", "size": 1 }] })), invalid),
        ("a path as a digest", OCI, text(&json!({ "layers": [{ "digest": "../../x", "size": 1 }] })), invalid),
        ("two layers members", OCI, b"{\"layers\":[],\"layers\":[]}".to_vec(), invalid),
        ("very deep JSON", OCI, deep.into_bytes(), invalid),
        ("Docker's first schema", OCI, b"{\"schemaVersion\":1,\"fsLayers\":[],\"name\":\"x\"}".to_vec(), invalid),
    ];
    let before = disk::files(node.data());
    for (what, media_type, bytes, (status, code)) in &cases {
        for reference in ["refused".to_owned(), sha256(bytes)] {
            let answer = client.put_manifest(&reference, media_type, bytes).await;
            assert_eq!(told(&answer), (*status, (*code).to_owned()), "{what}: {}", answer.text());
            if reference == "refused" || bytes != &good {
                assert_eq!(client.status(&format!("manifests/{reference}")).await, 404, "{what}");
            }
        }
    }
    for wrong in [sha256(b"other"), sha512(b"other")] {
        assert_eq!(told(&client.put_manifest(&wrong, OCI, &good).await), (400, "DIGEST_INVALID".into()));
    }
    assert_eq!(disk::files(node.data()), before);
    let answer = client.put_manifest("x", OCI, &image(b"m1", &[b"m2", b"m3"])).await;
    for missing in [&b"m1"[..], b"m2", b"m3"] {
        assert!(answer.text().contains(&sha256(missing)), "what is missing is told: {}", answer.text());
    }
    // What is said goes on as it was.
    client.push_manifest("good", OCI, &good).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_deep_or_too_wide_or_reaches_too_far_is_refused() {
    let node = TestNode::with("[oci]\nmax_depth = 3\nmax_children = 4\nmax_reach = 12").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let config = b"config".as_slice();
    let layers: Vec<Vec<u8>> = (0..6).map(|i| noise(i, 100)).collect();
    for layer in &layers {
        client.push(Way::Put, layer).await;
    }
    let (a, b) = (layers[0].as_slice(), layers[1].as_slice());
    let leaf = client.push_image("leaf", config, &[a, b, &layers[2]]).await; // reaches 5 on one level
    let wide = image(config, &[a, b, &layers[2], &layers[3]]);
    assert_eq!(told(&client.put_manifest("wide", OCI, &wide).await), (400, "MANIFEST_INVALID".into()));
    // Named twice is one child.
    assert_eq!(client.put_manifest("same", OCI, &image(config, &[a, a, a, b, b, b, a])).await.status, 201);
    let two = index(&[&leaf]);
    client.push_manifest("two", OCI_INDEX, &two).await;
    let three = index(&[&two]);
    client.push_manifest("three", OCI_INDEX, &three).await;
    let four = client.put_manifest("four", OCI_INDEX, &index(&[&three])).await;
    assert_eq!(told(&four), (400, "MANIFEST_INVALID".into()));
    let other = client.push_image("other", config, &[b]).await; // 3 of them
    let same = image(config, &[a, a, a, b, b, b, a]); // 4 of them
    client.push_manifest("far", OCI_INDEX, &index(&[&leaf, &other])).await;
    let too_far = client.put_manifest("too-far", OCI_INDEX, &index(&[&leaf, &other, &same])).await;
    assert_eq!(told(&too_far), (400, "MANIFEST_INVALID".into()));
    for absent in ["wide", "four", "too-far"] {
        assert_eq!(client.status(&format!("manifests/{absent}")).await, 404, "{absent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_by_digest_sets_tags_beside() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let Parts { image, .. } = parts(&mut client).await;
    let digest = sha256(&image);
    let put = async |client: &mut RegistryClient, reference: &str, query: &str| {
        let path = format!("manifests/{reference}?{query}");
        client.send("PUT", &path, &[("Content-Type", OCI)], &image).await
    };
    let answer = put(&mut client, &digest, "tag=v1&tag=v1.2&x=y&tag=v1&tag=latest").await;
    assert_eq!(answer.status, 201);
    let told_tags: Vec<_> =
        answer.headers.iter().filter(|(name, _)| name == "oci-tag").map(|(_, v)| v.as_str()).collect();
    assert_eq!(told_tags, ["v1", "v1.2", "latest"]);
    for tag in ["v1", "v1.2", "latest"] {
        is_served(&mut client, tag, OCI, &image).await;
    }
    let many: String = (0..65).map(|i| format!("tag=t{i}&")).collect();
    for wrong in ["tag=", "tag=.x", "tag=a/b", "tag=good&tag=b%20ad", &many] {
        let answer = put(&mut client, &digest, wrong).await;
        assert_eq!(told(&answer), (400, "MANIFEST_INVALID".into()), "{wrong}");
    }
    for absent in ["good", "t0"] {
        assert_eq!(client.status(&format!("manifests/{absent}")).await, 404, "{absent}");
    }
    let by_tag = put(&mut client, "own", "tag=beside").await;
    assert_eq!((by_tag.status, by_tag.header("oci-tag")), (201, None));
    assert_eq!(client.status("manifests/beside").await, 404);
    for odd in [".x", "-x", &"a".repeat(129), "a%20b"] {
        let answer = client.get(&format!("manifests/{odd}")).await;
        assert_eq!(told(&answer), (404, "MANIFEST_UNKNOWN".into()), "{odd}");
        assert!((400..=405).contains(&client.put_manifest(odd, OCI, &image).await.status), "{odd}");
    }
    for wrong in ["sha256:abc", "sha256:", "md5:abc", "a:b"] {
        let answer = client.get(&format!("manifests/{wrong}")).await;
        assert_eq!(told(&answer), (400, "DIGEST_INVALID".into()), "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_far_too_large_is_refused_in_bounded_memory() {
    let dir = tempfile::tempdir().unwrap();
    let program = Program::start(&dir.path().join("data"), &dir.path().join("log"), &[]);
    let mut client = RegistryClient::of(program.address, "team/app", None).await;
    let Parts { config, image, .. } = parts(&mut client).await;
    client.push_manifest("largest", OCI, &of_length(&config, 8 * MIB)).await;
    let before = program.peak_memory();
    let huge = of_length(&config, 100 * MIB);
    let refused = (413, vec!["SIZE_INVALID".to_owned()]);
    let pushes = (0..4).map(|i| {
        let (address, huge, refused) = (program.address, &huge, &refused);
        async move {
            let mut client = RegistryClient::of(address, "team/app", None).await;
            let headers = [("Content-Type", OCI)];
            let answer = match i % 2 {
                0 => client.send("PUT", "manifests/huge", &headers, huge).await,
                _ => client.send_chunked("PUT", "manifests/huge", &headers, huge, 60_000).await,
            };
            assert_eq!((answer.status, codes(&answer.body)), *refused);
            assert_eq!(client.status("manifests/huge").await, 404, "the connection is good");
        }
    });
    futures_util::future::join_all(pushes).await;
    let grown = program.peak_memory() - before;
    assert!(grown < 100 * MIB, "{} MiB more for 400 MiB of manifests", grown / MIB);
    let largest = of_length(&config, 8 * MIB + 1);
    assert_eq!(told(&client.put_manifest("x", OCI, &largest).await), (413, "SIZE_INVALID".into()));
    let good = client.put_manifest("good", OCI, &image).await;
    assert_eq!(location(&good), format!("/v2/team/app/manifests/{}", sha256(&image)));
}
