//! kaniko's layer cache, replayed byte by byte: hits, misses and pushes, and what it tries again.

use std::time::Duration;

use futures_util::future::join_all;
use larder::app::Stop;
use larder::store::faults::Fault;

use crate::support::entry::noise;
use crate::support::kaniko::{Framing, Kaniko, Step, is_tried_again};
use crate::support::node::user;
use crate::support::registry_client::{DOCKER, RegistryClient, Way, sha256};
use crate::support::{Answer, MIB, TestNode};

/// The steps of a build, with and without files, small and large.
fn steps(build: u64) -> Vec<Step> {
    [Some(450), None, Some(300_000), Some(5 * MIB)]
        .into_iter()
        .enumerate()
        .map(|(i, size)| Step::new(&format!("step {build} {i}"), size.map(|size| noise(build * 10 + i as u64, size))))
        .collect()
}

/// A build: looks every step up until one misses, pulls what hit, pushes the rest. Gives the hits.
async fn build(kaniko: &Kaniko, steps: &[Step]) -> usize {
    kaniko.may_push().await.expect("it may push");
    let mut hits = 0;
    while hits < steps.len() && kaniko.lookup(&steps[hits]).await {
        hits += 1;
    }
    for layer in steps[..hits].iter().filter_map(|step| step.layer.as_ref()) {
        for _ in 0..3 {
            kaniko.pull(layer).await.expect("what hit can be pulled");
        }
    }
    let pushes = steps[hits..].iter().map(|step| kaniko.push(step));
    for pushed in join_all(pushes).await {
        pushed.expect("pushed");
    }
    hits
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_misses_pushes_and_then_hits_whoever_may_pull() {
    let users = user("ci", &["oci:team/**=read-write"]);
    for (anonymous, framing) in
        [("none", Framing::Chunked), ("read", Framing::Length), ("read-write", Framing::Chunked)]
    {
        let dir = tempfile::tempdir().unwrap();
        let toml = format!("[auth]\nanonymous = \"{anonymous}\"\n{users}");
        let node = TestNode::configured(dir.path(), &toml).await;
        let kaniko = Kaniko::new(node.address, framing);
        let steps = steps(1);
        assert_eq!(build(&kaniko, &steps).await, 0, "{anonymous} {framing:?}");
        assert_eq!(build(&kaniko, &steps).await, 4, "{anonymous} {framing:?}");
        node.stop(Stop::Now).await;
        let node = TestNode::configured(dir.path(), &toml).await;
        let other = if framing == Framing::Chunked { Framing::Length } else { Framing::Chunked };
        let kaniko = Kaniko::new(node.address, other);
        assert_eq!(build(&kaniko, &steps).await, 4, "{anonymous}: after a restart");
        // From the third step on another build.
        let changed = [&steps[..2], &self::steps(2)[2..]].concat();
        assert_eq!(build(&kaniko, &changed).await, 2, "{anonymous}");
        assert_eq!(build(&kaniko, &changed).await, 4, "{anonymous}");
        assert_eq!(build(&kaniko, &steps).await, 4, "{anonymous}: the first build's steps are still there");
        assert_eq!(node.metric("larder_panics_total").await, 0.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_builds_at_once_push_the_same_steps() {
    let node = TestNode::start().await;
    let builds: Vec<_> = (0..8)
        .map(|i| {
            let framing = if i % 2 == 0 { Framing::Chunked } else { Framing::Length };
            let kaniko = Kaniko::new(node.address, framing);
            tokio::spawn(async move { build(&kaniko, &steps(3)).await })
        })
        .collect();
    for build in builds {
        build.await.unwrap();
    }
    assert_eq!(build(&Kaniko::new(node.address, Framing::Length), &steps(3)).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_push_is_told_before_the_build() {
    let node = TestNode::start().await;
    let kaniko = Kaniko::new(node.address, Framing::Length);
    build(&kaniko, &steps(4)).await;
    let reader = Kaniko { user: "reader", ..kaniko.clone() };
    let refused = reader.may_push().await.unwrap_err();
    assert_eq!((refused.status, refused.codes.as_slice()), (403, &["DENIED".to_owned()][..]), "{}", refused.request);
    assert!(!refused.passes());
    assert!(reader.lookup(&steps(4)[0]).await, "it may look");
    let stranger = Kaniko { user: "stranger", ..kaniko };
    assert!(!stranger.lookup(&steps(4)[0]).await, "a wrong password is a miss");
    assert_eq!(stranger.may_push().await.unwrap_err().status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_a_hiccup_costs_no_step() {
    let dir = tempfile::tempdir().unwrap();
    let node = TestNode::over(dir.path(), "").await;
    build(&Kaniko::new(node.address, Framing::Length), &steps(5)).await;
    node.stop(Stop::Now).await;
    for fault in [Fault::Error, Fault::Hang] {
        // What hangs never answers: it is asked again after the deadline.
        let node = TestNode::over(dir.path(), "[store]\nlookup_deadline = \"1s\"\nwrite_deadline = \"1s\"").await;
        let kaniko = Kaniko::new(node.address, Framing::Length);
        let build_number = if fault == Fault::Error { 6 } else { 7 };
        node.faults.set_read(fault);
        node.faults.set_write(fault);
        let faults = std::sync::Arc::clone(&node.faults);
        let heal = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(1200)).await;
            faults.set_read(Fault::None);
            faults.set_write(Fault::None);
        });
        let (old, new) = (steps(5), steps(build_number));
        let (hits, pushed) = tokio::join!(
            async {
                let lookups = old.iter().map(|step| kaniko.lookup(step));
                join_all(lookups).await
            },
            kaniko.push(&new[0])
        );
        assert_eq!(hits, [true; 4], "{fault:?}: no lookup missed");
        pushed.unwrap_or_else(|refused| panic!("{fault:?}: {refused:?}"));
        heal.await.unwrap();
        assert!(kaniko.lookup(&new[0]).await, "{fault:?}");
        node.stop(Stop::Now).await;
    }
}

#[test]
fn the_table_of_what_is_tried_again() {
    let json = |code: &str| format!("{{\"errors\":[{{\"code\":\"{code}\"}}]}}").into_bytes();
    for status in [408, 500, 502, 503, 504] {
        assert!(is_tried_again(status, b""));
        for code in ["UNKNOWN", "UNAVAILABLE", "TOOMANYREQUESTS", "BLOB_UPLOAD_INVALID"] {
            assert!(is_tried_again(status, &json(code)), "{status} {code}");
        }
        assert!(!is_tried_again(status, &json("DENIED")), "{status}");
        assert!(!is_tried_again(status, b"<html>"), "{status}");
    }
    for status in [200, 400, 401, 403, 404, 413, 429] {
        assert!(!is_tried_again(status, b""), "{status}");
    }
}

/// Every request of kaniko's, on a session that has its bytes where there is one.
async fn every_request(client: &mut RegistryClient, session: &str, step: &Step) -> Vec<(String, Answer)> {
    let layer = step.layer.as_deref().unwrap();
    let tag = format!("manifests/{}", step.tag);
    let blob = format!("blobs/{}", sha256(layer));
    let put = format!("{session}?digest={}", sha256(layer));
    let mut answers = Vec::new();
    for (method, path, body) in [
        ("GET", "/v2/", None),
        ("GET", tag.as_str(), None),
        ("HEAD", &tag, None),
        ("GET", &blob, None),
        ("HEAD", &blob, None),
        ("POST", "blobs/uploads/", None),
        ("PATCH", session, Some(layer)),
        ("PUT", &put, None),
        ("PUT", &tag, Some(&*step.manifest())),
        ("DELETE", session, None),
    ] {
        let answer = client.send(method, path, &[("Content-Type", DOCKER)], body.unwrap_or_default()).await;
        answers.push((format!("{method} {path}"), answer));
    }
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn what_passes_by_itself_is_tried_again_and_what_is_final_is_not() {
    let short = "[store]\nlookup_deadline = \"100ms\"\nread_deadline = \"100ms\"\nwrite_deadline = \"100ms\"\n\
                 [oci]\nhold_on = \"150ms\"\nmax_blob = \"1MiB\"";
    let faulty = async |(read, write): (Fault, Fault)| {
        let dir = tempfile::tempdir().unwrap();
        let node = TestNode::over(dir.path(), "").await;
        let step = Step::new("cached", Some(noise(1, 100_000)));
        let mut client = RegistryClient::ci(&node, "team/cache").await;
        for blob in [step.layer.as_ref().unwrap(), &step.config] {
            client.push(Way::Patch, blob).await;
        }
        client.push_manifest(&step.tag, DOCKER, &step.manifest()).await;
        let session = client.session().await;
        client.patch(&session, None, step.layer.as_ref().unwrap()).await;
        node.stop(Stop::Now).await;
        let node = TestNode::over(dir.path(), short).await;
        let mut client = RegistryClient::ci(&node, "team/cache").await;
        node.faults.set_read(read);
        node.faults.set_write(write);
        let mut failed = 0;
        for (request, answer) in every_request(&mut client, &session, &step).await {
            if !(200..300).contains(&answer.status) {
                failed += 1;
                let again = is_tried_again(answer.status, &answer.body);
                assert!(again, "{read:?} {write:?} {request}: {} {}", answer.status, answer.text());
            }
        }
        assert!(failed >= 3, "{read:?} {write:?}: {failed}");
    };
    let faults = [
        (Fault::Error, Fault::None),
        (Fault::Hang, Fault::None),
        (Fault::None, Fault::Error),
        (Fault::None, Fault::Hang),
        (Fault::None, Fault::Full),
        (Fault::Error, Fault::Full),
        (Fault::Hang, Fault::Hang),
    ];
    join_all(faults.map(faulty)).await;
    let node = TestNode::with(short).await;
    let mut client = RegistryClient::ci(&node, "team/cache").await;
    let mut finals = Vec::new();
    let step = Step::new("never pushed", Some(noise(2, 1000)));
    let session = client.session().await;
    client.delete(&session).await;
    finals.extend(every_request(&mut client, &session, &step).await);
    for user in ["reader", "stranger"] {
        let mut client = RegistryClient::user(&node, "team/cache", user).await;
        finals.extend(every_request(&mut client, &session, &step).await);
    }
    let session = client.session().await;
    finals.push(("digest".into(), client.put(&session, &sha256(b"other"), b"bytes").await));
    finals.push(("no digest".into(), client.put(&session, "x", b"bytes").await));
    finals.push(("large".into(), client.patch(&session, None, &noise(1, 2 * MIB)).await));
    finals.push(("no JSON".into(), client.put_manifest("x", DOCKER, b"{").await));
    finals.push(("a name".into(), client.send("POST", "/v2/Team/blobs/uploads/", &[], b"").await));
    finals.push(("a method".into(), client.send("POST", "manifests/x", &[], b"").await));
    let mut refused = 0;
    for (request, answer) in finals {
        assert!(answer.status < 500, "{request}: {}", answer.status);
        assert!(!is_tried_again(answer.status, &answer.body), "{request}: {} {}", answer.status, answer.text());
        refused += usize::from(answer.status >= 400);
    }
    assert!(refused > 20, "{refused}");
}
