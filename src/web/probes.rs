//! For monitors: alive, ready, figures. None of them asks the store: a hiccup there must not empty the Service.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Response, StatusCode, header};

use super::{Node, answer};

/// `GET /healthz`: the process answers.
pub async fn healthz() -> Response<Body> {
    answer::text(StatusCode::OK, "ok\n")
}

/// `GET /readyz`: the node wants traffic.
pub async fn readyz(State(node): State<Arc<Node>>) -> Response<Body> {
    if node.is_ready() {
        answer::text(StatusCode::OK, "ready\n")
    } else {
        answer::text(StatusCode::SERVICE_UNAVAILABLE, "shutting down\n")
    }
}

/// `GET /metrics`, in Prometheus' text format.
pub async fn metrics(State(node): State<Arc<Node>>) -> Response<Body> {
    node.parts.cache.observe();
    node.parts.metrics.observe_process();
    let answer = answer::text(StatusCode::OK, node.parts.metrics.render());
    answer::with(answer, header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"))
}
