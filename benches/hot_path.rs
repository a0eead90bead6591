//! The hot path without sockets: what a request costs from its parsed head to its answer. `cargo bench`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::net::SocketAddr;

use divan::Bencher;
use http_body_util::{BodyExt, Full};
use larder::app::App;
use larder::config::units::Size;
use larder::config::{Config, MemoryConfig, Secret, UserConfig};
use larder::store::{Location, open};
use larder::web::Service;
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
/// `gradle:pw`.
const CREDENTIALS: &str = "Basic Z3JhZGxlOnB3";

struct Bench {
    runtime: Runtime,
    service: Service,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let service = runtime.block_on(service(dir.path()));
        Self { runtime, service, _dir: dir }
    }

    fn send(&self, method: &str, key: &str, body: bytes::Bytes) -> u16 {
        self.request(method, &format!("/cache/{key}"), body)
    }

    fn request(&self, method: &str, path: &str, body: bytes::Bytes) -> u16 {
        let request = axum::http::Request::builder()
            .method(method)
            .uri(path)
            .header("Authorization", CREDENTIALS)
            .body(Full::new(body))
            .unwrap();
        self.runtime.block_on(async {
            let response = self.service.call(request, PEER).await;
            let status = response.status().as_u16();
            divan::black_box(response.into_body().collect().await.unwrap());
            status
        })
    }
}

async fn service(dir: &std::path::Path) -> Service {
    let memory = MemoryConfig { hot: Size::mib(256), transfers: Size::mib(64) };
    let mut config = Config { memory, ..Config::default() };
    config.auth.users.push(UserConfig {
        name: "gradle".into(),
        password: Some(Secret::new("pw")),
        grants: Some(vec!["gradle:**=read-write".into(), "oci:**=read-write".into()]),
        ..UserConfig::default()
    });
    let opened = open(&Location::Directory(dir.to_owned())).await.unwrap();
    App::new(config, opened, |_| None).unwrap().service()
}

#[divan::bench(args = [450, 4 << 10, 64 << 10, 1 << 20, 16 << 20])]
fn hit(bencher: Bencher<'_, '_>, size: usize) {
    let bench = Bench::new();
    assert_eq!(bench.send("PUT", "00ff", vec![7; size].into()), 201);
    assert_eq!(bench.send("GET", "00ff", bytes::Bytes::new()), 200);
    bencher.bench_local(|| bench.send("GET", "00ff", bytes::Bytes::new()));
}

#[divan::bench]
fn miss(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let mut n = 0u64;
    bencher.bench_local(|| {
        n += 1;
        assert_eq!(bench.send("GET", &format!("{n:032x}"), bytes::Bytes::new()), 404);
    });
}

#[divan::bench(args = [4 << 10, 1 << 20])]
fn store(bencher: Bencher<'_, '_>, size: usize) {
    let bench = Bench::new();
    let (body, mut n) = (bytes::Bytes::from(vec![7; size]), 0u64);
    bencher.bench_local(|| {
        n += 1;
        assert_eq!(bench.send("PUT", &format!("{n:032x}"), body.clone()), 201);
    });
}

const LAYER: &str = "sha256:6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";

/// A node with a tag `one` on a manifest that names a layer of one byte.
fn with_image() -> Bench {
    let bench = Bench::new();
    let pushed = bench.request("POST", &format!("/v2/a/b/blobs/uploads/?digest={LAYER}"), vec![0].into());
    let manifest = format!("{{\"schemaVersion\":2,\"layers\":[{{\"digest\":\"{LAYER}\",\"size\":1}}]}}");
    let tagged = bench.request("PUT", "/v2/a/b/manifests/one", manifest.into());
    assert_eq!((pushed, tagged), (201, 201));
    bench
}

#[divan::bench(args = ["manifests/one", "manifests/none", "blobs/LAYER"])]
fn pull(bencher: Bencher<'_, '_>, what: &str) {
    let bench = with_image();
    let path = format!("/v2/a/b/{}", what.replace("LAYER", LAYER));
    bencher.bench_local(|| bench.request("GET", &path, bytes::Bytes::new()));
}
