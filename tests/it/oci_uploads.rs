//! `/v2/<name>/blobs/uploads/`: what an upload session survives, and whom it obeys.

use std::path::PathBuf;

use larder::app::Stop;
use tokio::io::AsyncWriteExt as _;

use crate::support::entry::noise;
use crate::support::http::basic;
use crate::support::registry_client::{
    RegistryClient, Way, at, content_range, has_taken, location, range_of, sha256, sha512, told,
};
use crate::support::{Answer, MIB, TestNode, disk, eventually};

/// Sizes of pieces: in one buffer, in several, in a payload.
const PIECES: [usize; 3] = [1000, 500_000, 2 * MIB];
const LEAVE_SOON: &str = "[server]\ndrain_accept = \"0s\"\ndrain_total = \"300ms\"";

fn unknown() -> (u16, String) {
    (404, "BLOB_UPLOAD_UNKNOWN".into())
}

/// A session has this many bytes, and says so in every way.
async fn stands_at(client: &mut RegistryClient, session: &str, size: usize) {
    let status = client.get(session).await;
    assert_eq!((status.status, at(&status)), (204, range_of(size)));
    assert_eq!(location(&status), session);
}

fn is_out_of_order(answer: &Answer, session: &str, size: usize) {
    assert_eq!(told(answer), (416, "BLOB_UPLOAD_INVALID".into()));
    assert_eq!((at(answer), location(answer)), (range_of(size), session.to_owned()));
}

async fn is_pulled(client: &mut RegistryClient, bytes: &[u8]) {
    let answer = client.get(&format!("blobs/{}", sha256(bytes))).await;
    assert!(answer.status == 200 && answer.body == bytes, "{} of {} bytes", answer.status, bytes.len());
}

fn payloads(node: &TestNode) -> Vec<PathBuf> {
    let is_payload = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().contains('.');
    let beside = disk::files(&node.data().join("blobs")).into_iter().filter(is_payload);
    disk::files(&node.data().join("payloads")).into_iter().chain(beside).collect()
}

fn in_tmp(node: &TestNode) -> Vec<PathBuf> {
    disk::files(&node.data().join("tmp"))
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_out_of_order_are_told_where_to_go_on() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    for size in PIECES {
        let bytes = noise(1, 3 * size);
        let session = client.session().await;
        is_out_of_order(&client.patch(&session, Some(size), &bytes[size..2 * size]).await, &session, 0);
        stands_at(&mut client, &session, 0).await;
        assert!(has_taken(&client.patch(&session, Some(0), &bytes[..size]).await, size));
        for wrong in [0, size - 1, size + 1, 2 * size] {
            is_out_of_order(&client.patch(&session, Some(wrong), &bytes[..size]).await, &session, size);
            let range = content_range(wrong, size);
            let headers = [("Content-Range", range.as_str())];
            let chunked = client.send_chunked("PATCH", &session, &headers, &bytes[..size], 30_000).await;
            is_out_of_order(&chunked, &session, size);
            let put = format!("{session}?digest={}", sha256(&bytes));
            let put = client.send("PUT", &put, &headers, &bytes[..size]).await;
            is_out_of_order(&put, &session, size);
        }
        stands_at(&mut client, &session, size).await;
        assert!(has_taken(&client.patch(&session, Some(size), &bytes[size..2 * size]).await, 2 * size));
        let range = content_range(2 * size, size);
        let put = format!("{session}?digest={}", sha256(&bytes));
        let put = client.send("PUT", &put, &[("Content-Range", &range)], &bytes[2 * size..]).await;
        assert_eq!(put.status, 201, "{}", put.text());
        is_pulled(&mut client, &bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_range_that_lies_is_refused_and_nothing_is_kept() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    for size in PIECES {
        let bytes = noise(2, 2 * size);
        let session = client.session().await;
        assert!(has_taken(&client.patch(&session, None, &bytes[..size]).await, size));
        let before = payloads(&node);
        let put = format!("{session}?digest={}", sha256(&bytes));
        for length in [size - 1, size + 1, 1] {
            let range = content_range(size, length);
            let headers = [("Content-Range", range.as_str())];
            for answer in [
                client.send("PATCH", &session, &headers, &bytes[size..]).await,
                client.send_chunked("PATCH", &session, &headers, &bytes[size..], 50_000).await,
                client.send("PUT", &put, &headers, &bytes[size..]).await,
                client.send_chunked("PUT", &put, &headers, &bytes[size..], 50_000).await,
            ] {
                assert_eq!(told(&answer), (400, "SIZE_INVALID".into()), "{range} of {size}");
            }
        }
        for wrong in ["0-", "-5", "5-4", "a-b", "0..5", ""] {
            let answer = client.send("PATCH", &session, &[("Content-Range", wrong)], &bytes[size..]).await;
            assert_eq!(told(&answer), (400, "BLOB_UPLOAD_INVALID".into()), "{wrong:?}");
        }
        stands_at(&mut client, &session, size).await;
        eventually("nothing is kept", async || payloads(&node) == before && in_tmp(&node).is_empty()).await;
        // Some clients write it as HTTP has it in answers.
        let range = format!("bytes {}/{}", content_range(size, size), 2 * size);
        let answer = client.send("PATCH", &session, &[("Content-Range", &range)], &bytes[size..]).await;
        assert!(has_taken(&answer, 2 * size), "{}", answer.text());
        assert_eq!(client.put(&session, &sha256(&bytes), b"").await.status, 201);
        is_pulled(&mut client, &bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_was_given_up_is_over() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    for size in [0, 1000, 2 * MIB] {
        let bytes = noise(3, size);
        let session = client.session().await;
        if size > 0 {
            assert!(has_taken(&client.patch(&session, None, &bytes).await, size));
        }
        let gone = client.delete(&session).await;
        assert_eq!((gone.status, gone.body.len()), (204, 0));
        assert_eq!(told(&client.delete(&session).await), unknown());
        assert_eq!(told(&client.get(&session).await), unknown());
        assert_eq!(told(&client.patch(&session, None, b"more").await), unknown());
        assert_eq!(told(&client.put(&session, &sha256(&bytes), b"").await), unknown());
        assert_eq!(told(&client.put(&session, &sha256(b"x"), b"x").await), unknown());
        assert_eq!(client.status(&format!("blobs/{}", sha256(&bytes))).await, 404);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_obeys_its_user_in_its_repository_only() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let session = client.session().await;
    assert!(has_taken(&client.patch(&session, None, b"mine").await, 4));
    let elsewhere = session.replace("team/app", "team/other");
    let mut boss = RegistryClient::user(&node, "team/app", "boss").await;
    let mut reader = RegistryClient::user(&node, "team/app", "reader").await;
    let mut nobody = RegistryClient::of(node.address, "team/app", None).await;
    let ticket = session.rsplit('/').next().unwrap().to_owned();
    let mut tickets = vec![elsewhere];
    let cut = &ticket[..ticket.len() - 1];
    let other = format!("{}{}", if ticket.starts_with('A') { 'B' } else { 'A' }, &ticket[1..]);
    let (long, longer, upper) = ("A".repeat(4000), format!("{ticket}A"), ticket.to_uppercase());
    for garbage in ["x", "-", "%00", "..", &long, cut, &other, &longer, &upper] {
        tickets.push(format!("/v2/team/app/blobs/uploads/{garbage}"));
    }
    let put = format!("?digest={}", sha256(b"mine"));
    for (method, query) in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("PUT", put.as_str())] {
        let body: &[u8] = if method == "PATCH" { b"more" } else { b"" };
        for ticket in &tickets {
            let answer = client.send(method, &format!("{ticket}{query}"), &[], body).await;
            assert!((400..=404).contains(&answer.status), "{method} {ticket}: {}", answer.status);
            assert!(!answer.text().contains("panic"), "{}", answer.text());
        }
        let path = format!("{session}{query}");
        assert_eq!(told(&boss.send(method, &path, &[], body).await), unknown(), "{method}: not the admin's either");
        assert_eq!(told(&reader.send(method, &path, &[], body).await), (403, "DENIED".into()), "{method}");
        assert_eq!(told(&nobody.send(method, &path, &[], body).await), (401, "UNAUTHORIZED".into()), "{method}");
    }
    stands_at(&mut client, &session, 4).await;
    assert_eq!(client.put(&session, &sha256(b"mine"), b"").await.status, 201);
    is_pulled(&mut client, b"mine").await;
    assert_eq!(node.metric("larder_panics_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_after_a_restart_in_the_middle_of_a_chunk() {
    for size in PIECES {
        let dir = tempfile::tempdir().unwrap();
        let node = TestNode::over(dir.path(), LEAVE_SOON).await;
        let mut client = RegistryClient::ci(&node, "team/app").await;
        let bytes = noise(4, 3 * size);
        let session = client.session().await;
        assert!(has_taken(&client.patch(&session, Some(0), &bytes[..size]).await, size));
        let before = payloads(&node);
        client.begin("PATCH", &session, &[], Some(2 * size)).await;
        client.connection.stream.write_all(&bytes[size..3 * size - 1]).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        node.stop(Stop::Now).await;
        let node = TestNode::over(dir.path(), LEAVE_SOON).await;
        let mut client = RegistryClient::ci(&node, "team/app").await;
        stands_at(&mut client, &session, size).await;
        assert_eq!(payloads(&node), before);
        is_out_of_order(&client.patch(&session, Some(size + 1), &bytes[size..]).await, &session, size);
        assert!(has_taken(&client.patch(&session, Some(size), &bytes[size..2 * size]).await, 2 * size));
        node.stop(Stop::Now).await;
        let node = TestNode::over(dir.path(), "").await;
        let mut client = RegistryClient::ci(&node, "team/app").await;
        assert_eq!(client.put(&session, &sha256(&bytes), &bytes[2 * size..]).await.status, 201);
        is_pulled(&mut client, &bytes).await;
        node.stop(Stop::Now).await;
        let node = TestNode::over(dir.path(), "").await;
        let mut client = RegistryClient::ci(&node, "team/app").await;
        assert_eq!(client.put(&session, &sha256(&bytes), b"").await.status, 201, "repeated on another node");
        is_pulled(&mut client, &bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_leaves_the_session_as_it_was() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    for size in PIECES {
        let bytes = noise(5, 3 * size);
        let session = client.session().await;
        assert!(has_taken(&client.patch(&session, None, &bytes[..size]).await, size));
        let before = payloads(&node);
        let put = format!("{session}?digest={}", sha256(&bytes));
        let post = format!("blobs/uploads/?digest={}", sha256(&bytes));
        for (method, path) in [("PATCH", &session), ("PUT", &put), ("POST", &post)] {
            for is_chunked in [false, true] {
                let mut other = client.within("team/app").await;
                let (header, length): (&[(&str, &str)], _) =
                    if is_chunked { (&[("Transfer-Encoding", "chunked")], None) } else { (&[], Some(2 * size)) };
                other.begin(method, path, header, length).await;
                if is_chunked {
                    let chunk = format!("{:x}\r\n", 2 * size);
                    other.connection.stream.write_all(chunk.as_bytes()).await.unwrap();
                }
                other.connection.stream.write_all(&bytes[size..3 * size - 1]).await.unwrap();
            }
        }
        let nothing_open = async || in_tmp(&node).is_empty() && payloads(&node) == before;
        eventually("what was begun is removed", nothing_open).await;
        stands_at(&mut client, &session, size).await;
        assert_eq!(client.status(&format!("blobs/{}", sha256(&bytes))).await, 404);
        assert_eq!(client.put(&session, &sha256(&bytes), &bytes[size..]).await.status, 201);
        is_pulled(&mut client, &bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_chunks_at_once_one_is_taken_and_the_other_told_where_to_go_on() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    for (i, size) in PIECES.into_iter().enumerate() {
        for begun in [0, size] {
            let first = noise(begun as u64, begun);
            let session = client.session().await;
            if begun > 0 {
                assert!(has_taken(&client.patch(&session, None, &first).await, begun));
            }
            let before = payloads(&node).len();
            let rivals = [noise(10 + i as u64, size), noise(20 + i as u64, size)];
            let (mut one, mut two) = (client.within("team/app").await, client.within("team/app").await);
            let range = content_range(begun, size);
            for (client, bytes) in [(&mut one, &rivals[0]), (&mut two, &rivals[1])] {
                client.begin("PATCH", &session, &[("Content-Range", &range)], Some(size)).await;
                client.connection.stream.write_all(&bytes[..size - 1]).await.unwrap();
            }
            // Both are under way, most probably. Now both end.
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            one.connection.stream.write_all(&rivals[0][size - 1..]).await.unwrap();
            two.connection.stream.write_all(&rivals[1][size - 1..]).await.unwrap();
            let answers = [one.answer("PATCH").await, two.answer("PATCH").await];
            let winner = answers.iter().position(|answer| answer.status == 202).expect("one was taken");
            assert!(has_taken(&answers[winner], begun + size));
            is_out_of_order(&answers[1 - winner], &session, begun + size);
            let whole = [first, rivals[winner].clone()].concat();
            assert_eq!(client.put(&session, &sha256(&whole), b"").await.status, 201);
            is_pulled(&mut client, &whole).await;
            assert!(payloads(&node).len() <= before + 1, "the loser's payload is gone");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_upload_can_be_finished_again_and_nothing_else() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    for size in PIECES {
        for with_body in [false, true] {
            let bytes = noise(6 + u64::from(with_body), 2 * size);
            let session = client.session().await;
            let half = if with_body { size } else { 2 * size };
            assert!(has_taken(&client.patch(&session, None, &bytes[..half]).await, half));
            for body in [&bytes[half..], b"", &bytes[half..]] {
                let answer = client.put(&session, &sha256(&bytes), body).await;
                assert_eq!((answer.status, location(&answer)), (201, format!("/v2/team/app/blobs/{}", sha256(&bytes))));
            }
            assert_eq!(told(&client.patch(&session, None, b"more").await), unknown());
            assert_eq!(told(&client.patch(&session, Some(2 * size), b"more").await), unknown());
            assert_eq!(told(&client.put(&session, &sha256(b"more"), b"more").await), unknown());
            assert_eq!(told(&client.put(&session, &sha512(&bytes), b"").await), unknown());
            assert_eq!(told(&client.get(&session).await), unknown());
            assert_eq!(told(&client.delete(&session).await), unknown());
            is_pulled(&mut client, &bytes).await;
            // Deleted since: either it is made again, or the upload is over.
            let mut boss = RegistryClient::user(&node, "team/app", "boss").await;
            assert_eq!(boss.delete(&format!("blobs/{}", sha256(&bytes))).await.status, 202);
            match client.put(&session, &sha256(&bytes), b"").await {
                made if made.status == 201 => is_pulled(&mut client, &bytes).await,
                over => assert_eq!(told(&over), unknown()),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_digest_is_told_and_the_right_one_taken_afterwards() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    for size in PIECES {
        let bytes = noise(8, 2 * size);
        let session = client.session().await;
        assert!(has_taken(&client.patch(&session, None, &bytes[..size]).await, size));
        let before = payloads(&node);
        for wrong in [sha256(b"other"), sha512(b"other"), sha256(&bytes[..size])] {
            let answer = client.put(&session, &wrong, &bytes[size..]).await;
            assert_eq!(told(&answer), (400, "DIGEST_INVALID".into()));
            assert!(answer.text().contains(&sha256(&bytes)) || wrong.starts_with("sha512"), "{}", answer.text());
            assert_eq!(client.status(&format!("blobs/{wrong}")).await, 404);
            stands_at(&mut client, &session, size).await;
        }
        assert_eq!(payloads(&node), before, "an attempt that came to nothing leaves nothing");
        assert_eq!(told(&client.send("PUT", &session, &[], &bytes[size..]).await), (400, "DIGEST_INVALID".into()));
        stands_at(&mut client, &session, size).await;
        let digest = sha512(&bytes);
        assert_eq!(client.put(&session, &digest, &bytes[size..]).await.status, 201, "another algorithm is read back");
        let answer = client.get(&format!("blobs/{digest}")).await;
        assert!(answer.status == 200 && answer.body == bytes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_and_tiny_chunks_add_up() {
    let node = TestNode::with("[store]\nfsync = \"never\"").await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let session = client.session().await;
    assert!(has_taken(&client.patch(&session, None, b"").await, 0));
    assert_eq!(client.put(&session, &sha256(b""), b"").await.status, 201);
    is_pulled(&mut client, b"").await;
    // Over the border of what a session carries in its record, in pieces below and above it.
    let bytes = noise(9, 4 * MIB);
    let session = client.session().await;
    let (mut done, mut pieces) = (0, [1, 70_001, 333_333, 600_000, 1, 43_576, 2, 1_500_000].into_iter().cycle());
    while done < bytes.len() {
        let end = bytes.len().min(done + pieces.next().unwrap());
        let answer = if done % 2 == 0 {
            client.patch(&session, Some(done), &bytes[done..end]).await
        } else {
            client.send_chunked("PATCH", &session, &[], &bytes[done..end], 65_537).await
        };
        assert!(has_taken(&answer, end), "{done}..{end}: {answer:?}");
        assert!(has_taken(&client.patch(&session, None, b"").await, end), "an empty one changes nothing");
        done = end;
    }
    assert_eq!(client.put(&session, &sha256(&bytes), b"").await.status, 201);
    is_pulled(&mut client, &bytes).await;
    for border in (0..bytes.len()).step_by(333_333) {
        let range = format!("bytes={border}-{}", border + 700_000);
        let answer = client.send("GET", &format!("blobs/{}", sha256(&bytes)), &[("Range", &range)], b"").await;
        assert!(answer.status == 206 && answer.body == bytes[border..bytes.len().min(border + 700_001)], "{range}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_and_a_password_of_one_user_are_one_to_a_session() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    let token = client.get("/v2/token?service=larder").await;
    let token: serde_json::Value = serde_json::from_slice(&token.body).unwrap();
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    let mut other = RegistryClient::of(node.address, "team/app", Some(&bearer)).await;
    let session = client.session().await;
    assert!(has_taken(&other.patch(&session, None, b"bytes").await, 5));
    assert_eq!(client.put(&session, &sha256(b"bytes"), b"").await.status, 201);
    let mut wrong = RegistryClient::of(node.address, "team/app", Some(&basic("ci", "wrong"))).await;
    assert_eq!(told(&wrong.get(&session).await), (401, "UNAUTHORIZED".into()));
    client.push(Way::Post, b"the connection is good").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_finish_an_upload_at_once_are_both_told_that_it_is_there() {
    let node = TestNode::start().await;
    let mut client = RegistryClient::ci(&node, "team/app").await;
    for i in 0..20 {
        let bytes = noise(i, if i % 2 == 0 { 1000 } else { 2 * MIB });
        let session = client.session().await;
        client.patch(&session, None, &bytes).await;
        let (mut a, mut b) = (client.within("team/app").await, client.within("team/app").await);
        let digest = sha256(&bytes);
        let (x, y) = tokio::join!(a.put(&session, &digest, b""), b.put(&session, &digest, b""));
        assert_eq!((x.status, y.status), (201, 201), "{i} {} {}", x.text(), y.text());
        is_pulled(&mut client, &bytes).await;
    }
}
