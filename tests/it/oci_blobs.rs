//! `/v2/<name>/blobs/<digest>`: blobs of every size, pushed in every way, read back whole and in parts.

use std::path::Path;

use larder::app::Stop;

use crate::support::entry::noise;
use crate::support::registry_client::{RegistryClient, WAYS, Way, sha256, sha512, told};
use crate::support::{Answer, MIB, PATIENCE, TestNode, disk};

const KIB_64: usize = 64 << 10;
const SIZES: [usize; 10] = [0, 1, KIB_64 - 1, KIB_64, KIB_64 + 1, MIB - 1, MIB, MIB + 1, 3 * MIB, 20 * MIB];

/// Different bytes for every size and way.
fn body(size: usize, way: Way) -> Vec<u8> {
    noise((size * 8 + way as usize) as u64, size)
}

fn blob(digest: &str) -> String {
    format!("blobs/{digest}")
}

/// Blobs by size and way, with their digests. Of what is empty or one byte long there are not enough for all ways: they
/// are pushed again.
async fn push_all(client: &mut RegistryClient) -> Vec<(String, Vec<u8>)> {
    let mut pushed = Vec::new();
    for size in SIZES {
        for way in WAYS {
            let bytes = body(size, way);
            pushed.push((client.push(way, &bytes).await, bytes));
        }
    }
    pushed
}

async fn are_whole(client: &mut RegistryClient, pushed: &[(String, Vec<u8>)]) {
    for (digest, bytes) in pushed {
        let head = client.head(&blob(digest)).await;
        let answer = client.get(&blob(digest)).await;
        for answer in [&head, &answer] {
            assert_eq!(answer.status, 200, "{} bytes", bytes.len());
            assert_eq!(answer.header("content-length"), Some(bytes.len().to_string().as_str()));
            assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
            assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
            assert_eq!(answer.header("content-encoding"), None);
        }
        assert!(answer.body == *bytes, "{} bytes came back as others", bytes.len());
    }
}

/// The files of payloads, with those of sessions apart.
fn payloads(data: &Path) -> (usize, usize) {
    let beside = disk::files(&data.join("blobs"));
    let beside = beside.iter().filter(|file| file.file_name().unwrap().to_str().unwrap().contains('.')).count();
    (beside, disk::files(&data.join("payloads")).len())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_size_comes_back_from_every_way_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let node = TestNode::over(dir.path(), "[memory]\nhot = \"32MiB\"\n[store]\nfsync = \"never\"").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let pushed = push_all(&mut client).await;
    are_whole(&mut client, &pushed).await;
    // Above 1 MiB: one file beside the blob where the digest was known from the start, else the session's. Pieces are
    // five at most, and what fits into the session's record together becomes one.
    let large = SIZES.iter().filter(|&&size| size > MIB).count();
    let (beside, of_sessions) = payloads(dir.path());
    assert_eq!(beside, 2 * large);
    assert!((3 * large..=7 * large).contains(&of_sessions), "{of_sessions}");
    assert!(disk::files(&dir.path().join("tmp")).is_empty());
    node.stop(Stop::Now).await;
    let node = TestNode::over(dir.path(), "").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    are_whole(&mut client, &pushed).await;
    assert_eq!(node.metric("larder_store_corrupt_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn pushing_the_same_bytes_again_is_fine_and_changes_nothing() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    for size in [0, 1, KIB_64 + 1, MIB, 3 * MIB] {
        let bytes = noise(7, size);
        let digest = client.push(Way::Patch, &bytes).await;
        let record = disk_record(node.data(), &digest);
        let before = std::fs::read(&record).unwrap();
        for way in WAYS {
            client.push(way, &bytes).await;
            let answer = client.get(&blob(&digest)).await;
            assert!(answer.status == 200 && answer.body == bytes, "{size} {way:?}");
        }
        assert!(std::fs::read(&record).unwrap() == before, "{size}: the first record stays");
    }
}

fn disk_record(data: &Path, digest: &str) -> std::path::PathBuf {
    let (algorithm, hex) = digest.split_once(':').unwrap();
    data.join("blobs").join(algorithm).join(&hex[..2]).join(hex)
}

#[tokio::test(flavor = "multi_thread")]
async fn sha512_is_taken_in_every_way() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    for size in [0, 1, MIB, 3 * MIB] {
        for way in WAYS {
            let bytes = body(size, way);
            let digest = sha512(&bytes);
            client.push_as(way, &digest, &bytes).await;
            let answer = client.get(&blob(&digest)).await;
            assert!(answer.status == 200 && answer.body == bytes, "{size} {way:?}");
            assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
            assert_eq!(client.status(&blob(&sha256(&bytes))).await, 404, "the other digest names nothing");
            let part = client.send("GET", &blob(&digest), &[("Range", "bytes=0-0")], b"").await;
            assert_eq!(part.status, if size == 0 { 416 } else { 206 });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_or_no_digest_is_told() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let absent = sha256(b"absent");
    assert_eq!(told(&client.get(&blob(&absent)).await), (404, "BLOB_UNKNOWN".into()));
    assert_eq!(client.head(&blob(&absent)).await.status, 404);
    for wrong in ["sha256:abc", &absent.to_uppercase(), "md5:d41d8cd98f00b204e9800998ecf8427e", "latest", "sha256:"] {
        assert_eq!(told(&client.get(&blob(wrong)).await), (400, "DIGEST_INVALID".into()), "{wrong}");
        let post = client.send("POST", &format!("blobs/uploads/?digest={wrong}"), &[], b"x").await;
        assert_eq!(told(&post), (400, "DIGEST_INVALID".into()), "{wrong}");
        let session = client.session().await;
        assert_eq!(told(&client.put(&session, wrong, b"x").await), (400, "DIGEST_INVALID".into()), "{wrong}");
    }
    let other = client.send("POST", &format!("blobs/uploads/?digest={absent}"), &[], b"other bytes").await;
    assert_eq!(told(&other), (400, "DIGEST_INVALID".into()));
    assert_eq!(client.status(&blob(&absent)).await, 404);
    assert!(disk::files(&node.data().join("blobs")).is_empty());
    for name in ["Team", "a//b", "a/../b", &"a".repeat(256)] {
        let answer = client.send("POST", &format!("/v2/{name}/blobs/uploads/"), &[], b"").await;
        assert_eq!(told(&answer), (400, "NAME_INVALID".into()), "{name}");
    }
    for (method, path) in [("PATCH", blob(&absent)), ("POST", blob(&absent)), ("GET", "blobs/uploads/".into())] {
        assert_eq!(told(&client.send(method, &path, &[], b"").await), (405, "UNSUPPORTED".into()), "{method} {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_above_the_limit_is_refused_whichever_way_it_comes_and_leaves_nothing() {
    let node = TestNode::with("[oci]\nmax_blob = \"1MiB\"").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    client.push(Way::Chunked, &noise(1, MIB)).await;
    let uploads = node.data().join("uploads");
    let mut before = disk::files(node.data());
    before.retain(|file| !file.starts_with(&uploads));
    let large = noise(2, MIB + 1);
    let digest = sha256(&large);
    let refused = (413, "SIZE_INVALID".to_owned());
    let post = client.send("POST", &format!("blobs/uploads/?digest={digest}"), &[], &large).await;
    assert_eq!(told(&post), refused);
    let session = client.session().await;
    assert_eq!(told(&client.put(&session, &digest, &large).await), refused);
    assert_eq!(told(&client.patch(&session, None, &large).await), refused);
    assert_eq!(told(&client.send_chunked("PATCH", &session, &[], &large, 50_000).await), refused);
    let in_pieces = client.session().await;
    assert_eq!(client.patch(&in_pieces, None, &large[..MIB / 2]).await.status, 202);
    assert_eq!(told(&client.patch(&in_pieces, None, &large[MIB / 2..]).await), refused);
    assert_eq!(told(&client.put(&in_pieces, &digest, &large[MIB / 2..]).await), refused);
    client.delete(&in_pieces).await;
    assert_eq!(client.status(&blob(&digest)).await, 404);
    let no_session = async || {
        let files = disk::files(node.data()).into_iter();
        files.filter(|file| !file.starts_with(&uploads)).eq(before.iter().cloned())
    };
    crate::support::eventually("nothing else than what sessions say is left", no_session).await;
}

/// The parts of a `multipart/byteranges` answer: first byte, last byte, bytes.
fn parts(answer: &Answer, size: usize) -> Vec<(usize, usize, Vec<u8>)> {
    let kind = answer.header("content-type").unwrap();
    let boundary = kind.strip_prefix("multipart/byteranges; boundary=").expect("a boundary");
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = answer.body.as_slice();
    let mut parts = Vec::new();
    loop {
        rest = rest.strip_prefix(delimiter.as_bytes()).expect("a delimiter");
        if rest == b"--\r\n" {
            return parts;
        }
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        let head = std::str::from_utf8(&rest[..end]).unwrap();
        assert!(head.contains("\r\nContent-Type: application/octet-stream"), "{head}");
        let range = head.lines().find_map(|line| line.strip_prefix("Content-Range: bytes ")).unwrap();
        let (range, of) = range.split_once('/').unwrap();
        assert_eq!(of, size.to_string());
        let (first, last) = range.split_once('-').unwrap();
        let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
        let body = &rest[end + 4..];
        parts.push((first, last, body[..=last - first].to_vec()));
        rest = &body[last - first + 1..];
    }
}

async fn ranges_are_right(client: &mut RegistryClient, digest: &str, bytes: &[u8]) {
    let size = bytes.len();
    let mut get = async |range: &str| client.send("GET", &blob(digest), &[("Range", range)], b"").await;
    let middle = size / 2;
    let mut wanted = vec![(0, 0), (0, size - 1), (size - 1, size - 1), (middle, size - 1), (1, middle)];
    // Across the borders of chunks.
    wanted.extend((MIB..size).step_by(MIB).map(|border| (border - 3, border + 2)));
    for (first, last) in wanted.into_iter().filter(|&(first, last)| first <= last && last < size) {
        let answer = get(&format!("bytes={first}-{last}")).await;
        assert_eq!(answer.status, 206, "{first}-{last} of {size}");
        assert_eq!(answer.header("content-range"), Some(format!("bytes {first}-{last}/{size}").as_str()));
        assert_eq!(answer.header("docker-content-digest"), Some(digest));
        assert!(answer.body == bytes[first..=last], "{first}-{last} of {size}");
    }
    for (range, from) in
        [(format!("bytes={middle}-"), middle), (format!("bytes={middle}-99999999999999999999"), middle)]
    {
        let answer = get(&range).await;
        assert!(answer.status == 206 && answer.body == bytes[from..], "{range} of {size}");
    }
    for suffix in [1, middle.max(1), size, size + 5] {
        let answer = get(&format!("bytes=-{suffix}")).await;
        assert!(answer.status == 206 && answer.body == bytes[size.saturating_sub(suffix)..], "-{suffix} of {size}");
    }
    for range in [format!("bytes={size}-"), format!("bytes={}-{}", size + 1, size + 9), "bytes=-0".into()] {
        let answer = get(&range).await;
        assert_eq!((answer.status, answer.body.len()), (416, 0), "{range}");
        assert_eq!(answer.header("content-range"), Some(format!("bytes */{size}").as_str()));
    }
    // What is not understood is left out of account.
    for range in ["bytes=", "bytes=a-b", "lines=1-2", "bytes=5", "bytes=--5"] {
        let answer = get(range).await;
        assert!(answer.status == 200 && answer.body == bytes, "{range}: {}", answer.status);
    }
    if size > 100 {
        let several = format!("bytes=0-9, {}-{},-7 ,{}-{}", middle - 20, middle + 19, size, size + 5);
        let answer = get(&several).await;
        assert_eq!(answer.status, 206);
        let ranges = [(0, 9), (middle - 20, middle + 19), (size - 7, size - 1)];
        let want = ranges.map(|(first, last)| (first, last, bytes[first..=last].to_vec()));
        assert!(parts(&answer, size) == want, "{several} of {size}");
        let too_much = get(&format!("bytes=0-{},0-{}", size - 1, size - 1)).await;
        assert!(too_much.status == 200 && too_much.body == bytes, "overlapping parts are the whole");
    }
    let etag = format!("\"{digest}\"");
    for (tag, status) in [(etag.as_str(), 206), ("\"other\"", 200), ("Wed, 21 Oct 2015 07:28:00 GMT", 200)] {
        let headers = [("Range", "bytes=0-0"), ("If-Range", tag)];
        let answer = client.send("GET", &blob(digest), &headers, b"").await;
        assert_eq!((answer.status, answer.body.len()), (status, if status == 206 { 1 } else { size }), "{tag}");
        assert_eq!(answer.header("etag"), Some(etag.as_str()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_read_from_hot_and_cold_blobs() {
    let dir = tempfile::tempdir().unwrap();
    let node = TestNode::over(dir.path(), "").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let mut pushed = Vec::new();
    for (size, way) in [
        (1, Way::Post),
        (KIB_64 + 1, Way::Put),
        (MIB, Way::Patch),
        (MIB + 1, Way::Put),
        (3 * MIB + 5, Way::Pieces),
        (7 * MIB, Way::Pieces),
    ] {
        let bytes = noise(size as u64, size);
        pushed.push((client.push(way, &bytes).await, bytes));
    }
    for (digest, bytes) in &pushed {
        ranges_are_right(&mut client, digest, bytes).await;
    }
    let empty = client.push(Way::Post, b"").await;
    for range in ["bytes=0-0", "bytes=0-", "bytes=-5"] {
        let answer = client.send("GET", &blob(&empty), &[("Range", range)], b"").await;
        assert_eq!((answer.status, answer.header("content-range")), (416, Some("bytes */0")), "{range}");
    }
    node.stop(Stop::Now).await;
    // Without room for what is read.
    let node = TestNode::over(dir.path(), "[memory]\nhot = \"1MiB\"\ntransfers = \"4MiB\"").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    for (digest, bytes) in &pushed {
        ranges_are_right(&mut client, digest, bytes).await;
        let answer = client.get(&blob(digest)).await;
        assert!(answer.status == 200 && answer.body == *bytes, "{}", bytes.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_of_parts_that_stall_hold_up_nobody() {
    let node = TestNode::with("[memory]\nhot = \"1MiB\"\ntransfers = \"4MiB\"").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let bytes = noise(1, 20 * MIB);
    let digest = client.push(Way::Put, &bytes).await;
    let mut stalled = Vec::new();
    // Their floors, and what the first of them earned beyond, leave some of the 4 MiB.
    for i in 0..24 {
        let mut reader = client.within("team/app").await;
        let ranges = format!("bytes={i}-{},{}-", i + 9, 4 * MIB);
        reader.begin("GET", &blob(&digest), &[("Range", &ranges)], None).await;
        stalled.push(reader);
    }
    for _ in 0..3 {
        let answer = client.send("GET", &blob(&digest), &[("Range", "bytes=5-15000000")], b"").await;
        assert!(answer.status == 206 && answer.body == bytes[5..=15_000_000]);
    }
    drop(stalled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_whose_link_is_there_already_keeps_what_was_pushed() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = noise(1, 2 * MIB);
    for way in WAYS {
        let node = TestNode::over(dir.path(), "").await;
        let mut client = RegistryClient::ci(&node, "team/app").await;
        let digest = client.push(way, &bytes).await;
        node.stop(Stop::Now).await;
        // As if the sweep had taken the blob, and the link or its tombstone were still there.
        for file in disk::files(&dir.path().join("blobs")) {
            std::fs::remove_file(file).unwrap();
        }
        let node = TestNode::over(dir.path(), "").await;
        let mut client = RegistryClient::ci(&node, "team/app").await;
        assert_eq!(client.status(&blob(&digest)).await, 404);
        client.push(way, &bytes).await;
        assert_eq!(client.status(&blob(&digest)).await, 200, "{way:?}: it was acknowledged");
        node.stop(Stop::Now).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_pushes_the_same_blob_at_once_is_told_the_truth() {
    let node = TestNode::with("[store]\nfsync = \"never\"").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    for i in 0..12 {
        let bytes = noise(i, 1_100_000);
        let digest = sha256(&bytes);
        let way = WAYS[i as usize % WAYS.len()];
        let mut clients = Vec::new();
        for _ in 0..8 {
            clients.push(client.within("team/app").await);
        }
        futures_util::future::join_all(clients.iter_mut().map(async |client| client.push(way, &bytes).await)).await;
        assert!(client.get(&blob(&digest)).await.body == bytes, "{way:?}: it was acknowledged");
    }
}
#[tokio::test(flavor = "multi_thread")]
async fn requests_for_many_parts_at_once_do_not_wait_for_each_other() {
    let node = TestNode::with("[memory]\nhot = \"1MiB\"\ntransfers = \"4MiB\"").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    client.push_image("v1", b"config", &[&noise(2, 60_000)]).await;
    client.status("manifests/v1").await;
    client.status(&blob(&sha256(&noise(2, 60_000)))).await;
    let size = 32 * MIB;
    let bytes = noise(1, size);
    let digest = client.push(Way::Put, &bytes).await;
    let ranges: Vec<_> = (0..30).map(|i| (i * MIB + 5, i * MIB + 14)).collect();
    let header: Vec<_> = ranges.iter().map(|(first, last)| format!("{first}-{last}")).collect();
    let header = format!("bytes={}", header.join(","));
    let want: Vec<_> = ranges.iter().map(|&(first, last)| (first, last, bytes[first..=last].to_vec())).collect();
    let begun = std::time::Instant::now();
    let reads = (0..8).map(|_| async {
        let mut client = RegistryClient::ci(&node, "team/app").await;
        let answer = client.send("GET", &blob(&digest), &[("Range", &header)], b"").await;
        assert_eq!(answer.status, 206);
        assert!(parts(&answer, size) == want);
    });
    futures_util::future::join_all(reads).await;
    assert!(begun.elapsed() < PATIENCE / 2, "nobody waits while holding: {:?}", begun.elapsed());
}
