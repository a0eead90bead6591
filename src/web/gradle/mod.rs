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

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use futures_util::FutureExt;
use http_body::Body as HttpBody;

pub use handles::Handles;

use super::caller::Caller;
use super::{Node, answer};
use crate::model::entry::EntryName;

/// Where the protocol lives.
pub const PREFIX: &str = "/cache/";

/// Answers a request below [`PREFIX`]. A panic is told as a miss, or as a store that was not kept.
pub async fn answer<B>(node: &Arc<Node>, caller: Caller, body: B) -> Response<Body>
where
    B: HttpBody<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let stores = *caller.method() == Method::PUT;
    let handler = async move {
        match *caller.method() {
            Method::GET => read::get(node, &caller).await,
            Method::PUT => store::put(node, &caller, Body::new(body)).await,
            Method::HEAD => read::head(node, &caller).await,
            Method::DELETE => delete::delete(node, &caller).await,
            _ => wrong_method(),
        }
    };
    match AssertUnwindSafe(handler).catch_unwind().await {
        Ok(response) => response,
        Err(cause) => {
            answer::count_panic(node, cause.as_ref());
            if stores { decline::after_panic() } else { answer::empty(StatusCode::NOT_FOUND) }
        }
    }
}

/// The entry that a request names. No percent escape is ever valid in a name, so the path is taken as it stands.
fn entry(caller: &Caller) -> Option<EntryName<'_>> {
    EntryName::parse(caller.path().strip_prefix(PREFIX)?)
}

fn wrong_method() -> Response<Body> {
    let response = answer::text(StatusCode::METHOD_NOT_ALLOWED, "A build cache takes GET, HEAD, PUT and DELETE.\n");
    answer::with(response, header::ALLOW, HeaderValue::from_static("GET, HEAD, PUT, DELETE"))
}
