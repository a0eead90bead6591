//! `/cache/<key>` and `/cache/<namespace>/<key>`: the Gradle build cache protocol.
//!
//! Gradle's reading of an answer (its `HttpBuildCacheService`): 200 with a body is a hit, 404 a miss, any 2xx to a
//! store success; everything else switches the remote cache off for the rest of the build. So a read is answered 200,
//! 404 or 401 and nothing else, and a store 2xx or 401 (`gradle.writes = "strict"` for those who prefer errors).

mod decline;
mod delete;
mod handles;
mod inspect;
mod read;
mod store;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::routing::MethodRouter;

pub use handles::Handles;

use super::{Node, answer};
use crate::model::entry::EntryName;

const PREFIX: &str = "/cache/";

/// The handlers by method. A panic is told as a miss, or as a store that was not kept.
pub fn routes(node: &Arc<Node>) -> MethodRouter<Arc<Node>> {
    let miss = || answer::empty(StatusCode::NOT_FOUND);
    let reads = axum::routing::get(read::get).head(read::head).layer(answer::catch_panic(Arc::clone(node), miss));
    let writes = axum::routing::put(store::put).layer(answer::catch_panic(Arc::clone(node), decline::after_panic));
    reads.merge(writes).delete(delete::delete).fallback(wrong_method)
}

/// The entry that a request names. No percent escape is ever valid in a name, so the path is taken as it stands.
fn entry<B>(request: &Request<B>) -> Option<EntryName<'_>> {
    EntryName::parse(request.uri().path().strip_prefix(PREFIX)?)
}

async fn wrong_method() -> Response<Body> {
    let response = answer::text(StatusCode::METHOD_NOT_ALLOWED, "A build cache takes GET, HEAD, PUT and DELETE.\n");
    answer::with(response, header::ALLOW, HeaderValue::from_static("GET, HEAD, PUT, DELETE"))
}
