//! HTTP: the routes, the middleware in its order, and nothing that does not need a request to be explained.

mod admin;
mod answer;
mod caller;
mod gradle;
mod log_limit;
mod misses;
mod node;
mod oci;
mod probes;
mod send;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;

use axum::http::{Request, Response};
use axum::routing::{MethodRouter, get};
use http_body::Body as HttpBody;
use tower::ServiceExt;
use tower_http::catch_panic::CatchPanicLayer;

use self::caller::{Caller, Peer};

pub use axum::body::Body;
pub use node::{Node, Parts};

/// All of the node's HTTP, to be called by a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Service {
    node: Arc<Node>,
    router: Router,
}

impl Service {
    /// Routes for a node.
    pub fn new(node: Arc<Node>) -> Self {
        Self { router: router(Arc::clone(&node)), node }
    }

    /// Answers one request. What is below `/cache/` does not go through the router: it decides by the method alone,
    /// what is wrong there has to be told in Gradle's terms, and a router's boxes would cost as much as a hit itself.
    pub async fn call<B>(&self, mut request: Request<B>, peer: SocketAddr) -> Response<Body>
    where
        B: HttpBody<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if request.uri().path().starts_with(gradle::PREFIX) {
            let (caller, body) = Caller::new(request, peer.ip());
            return gradle::answer(&self.node, caller, body).await;
        }
        if oci::is_below(request.uri().path()) {
            let (caller, body) = Caller::new(request, peer.ip());
            return oci::answer(&self.node, caller, body).await;
        }
        request.extensions_mut().insert(Peer(peer));
        match self.router.clone().oneshot(request.map(Body::new)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Every other route.
fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/", page(get(status::page)))
        .route("/metrics", page(get(probes::metrics)))
        .route("/healthz", page(get(probes::healthz)))
        .route("/readyz", page(get(probes::readyz)))
        .route("/api/v1/misses", page(get(admin::misses)))
        .fallback(answer::no_such_page)
        .layer(CatchPanicLayer::custom(answer::OnPanic(Arc::clone(&node))))
        .with_state(node)
}

/// A route for people and monitors: other methods are told so.
fn page(route: MethodRouter<Arc<Node>>) -> MethodRouter<Arc<Node>> {
    route.fallback(answer::wrong_method)
}
