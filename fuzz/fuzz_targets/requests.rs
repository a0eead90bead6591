//! Whole requests against a node over memory: nothing panics, nothing is a 500, and every answer says how long it is.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::OnceLock;

use axum::http::{Method, Request};
use http_body_util::{BodyExt, Full};
use larder::app::App;
use larder::config::Config;
use larder::store::{Location, open};
use larder::web::Service;
use tokio::runtime::Runtime;

const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);
const METHODS: [Method; 6] = [Method::GET, Method::HEAD, Method::PUT, Method::POST, Method::PATCH, Method::DELETE];

struct Target {
    runtime: Runtime,
    service: Service,
}

fn target() -> &'static Target {
    static TARGET: OnceLock<Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let opened = runtime.block_on(open(&Location::Memory)).unwrap();
        let service = App::new(Config::default(), opened, |_| None).unwrap().service();
        Target { runtime, service }
    })
}

libfuzzer_sys::fuzz_target!(|input: (u8, &str, &str, &str, &[u8])| {
    let (method, path, name, value, body) = input;
    let method = METHODS[usize::from(method) % METHODS.len()].clone();
    let path = format!("/{}", path.trim_start_matches('/'));
    let request = Request::builder().method(method).uri(path).header(name, value);
    let Ok(request) = request.body(Full::new(body.to_vec().into())) else { return };
    let target = target();
    target.runtime.block_on(async {
        let answer = target.service.call(request, PEER).await;
        assert_ne!(answer.status().as_u16(), 500);
        answer.into_body().collect().await.unwrap();
    });
});
