//! The hot path without sockets: what a request costs from its parsed head to its answer. `cargo bench`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::net::SocketAddr;
use std::sync::Arc;

use divan::Bencher;
use http_body_util::{BodyExt, Full};
use larder::auth::Auth;
use larder::cache::{Cache, Settings};
use larder::config::{Config, Secret, UserConfig};
use larder::metrics::Metrics;
use larder::store::{Durability, Location, open};
use larder::web::{Node, Parts, Service};
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
        let request = axum::http::Request::builder()
            .method(method)
            .uri(format!("/cache/{key}"))
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
    let mut config = Config::default();
    config.auth.users.push(UserConfig {
        name: "gradle".into(),
        password: Some(Secret::new("pw")),
        grants: Some(vec!["gradle:**=read-write".into()]),
        ..UserConfig::default()
    });
    let opened = open(&Location::Directory(dir.to_owned())).await.unwrap();
    let metrics = Arc::new(Metrics::new().unwrap());
    let settings = Settings {
        hot_bytes: 256 << 20,
        transfer_bytes: 64 << 20,
        lookup_deadline: config.store.lookup_deadline.0,
        read_deadline: config.store.read_deadline.0,
        write_deadline: config.store.write_deadline.0,
        durability: Durability::Process,
    };
    let parts = Parts {
        cache: Cache::new(opened.store, settings, Arc::clone(&metrics)),
        auth: Auth::new(&config.auth, config.anonymous(), |_| None).unwrap(),
        metrics,
        usage: opened.usage,
        gradle: config.gradle.clone(),
        max_drain: config.server.max_drain,
    };
    Service::new(Node::new(parts))
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
