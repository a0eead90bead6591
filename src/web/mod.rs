//! HTTP: the routes, the middleware in its order, and nothing that does not need a request to be explained.

mod admin;
mod answer;
mod caller;
mod gradle;
mod log_limit;
mod misses;
mod node;
mod probes;
mod status;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;

use axum::http::{Request, Response};
use axum::routing::{MethodRouter, get};
use http_body::Body as HttpBody;
use tower::ServiceExt;

pub use axum::body::Body;
pub use node::{Node, Parts};

/// The address a request came from, put into its extensions by [`Service::call`].
#[derive(Debug, Clone, Copy)]
struct Peer(SocketAddr);

/// All of the node's HTTP, to be called by a server. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Service {
    router: Router,
}

impl Service {
    /// Routes for a node.
    pub fn new(node: Arc<Node>) -> Self {
        Self { router: router(node) }
    }

    /// Answers one request.
    pub async fn call<B>(&self, mut request: Request<B>, peer: SocketAddr) -> Response<Body>
    where
        B: HttpBody<Data = bytes::Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        request.extensions_mut().insert(Peer(peer));
        match self.router.clone().oneshot(request.map(Body::new)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Every route. `/cache/` takes every method itself, because what is wrong there has to be told in Gradle's terms.
fn router(node: Arc<Node>) -> Router {
    let panicked = Arc::clone(&node);
    Router::new()
        .route("/cache/{*entry}", gradle::routes(&node))
        .route("/", page(get(status::page)))
        .route("/metrics", page(get(probes::metrics)))
        .route("/healthz", page(get(probes::healthz)))
        .route("/readyz", page(get(probes::readyz)))
        .route("/api/v1/misses", page(get(admin::misses)))
        .fallback(answer::no_such_page)
        .layer(answer::catch_panic(panicked, answer::internal_error))
        .with_state(node)
}

/// A route for people and monitors: other methods are told so.
fn page(route: MethodRouter<Arc<Node>>) -> MethodRouter<Arc<Node>> {
    route.fallback(answer::wrong_method)
}
