//! `/v2/`: the OCI distribution protocol (distribution-spec 1.1.1 and its main branch), as kaniko, buildah, BuildKit,
//! docker and containerd speak it.
//!
//! What a client does with an error decides what it is told: kaniko ends a stage's lookups at one miss, and builds fail
//! on one missing layer. So "not found" is only said of what is known not to be there; what the store cannot say is a
//! 503 in the form that clients try again.

mod access;
mod blobs;
mod error;
mod lists;
mod manifests;
mod query;
mod receive;
mod referrers;
mod route;
mod token;
mod uploads;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use futures_util::FutureExt;
use http_body::Body as HttpBody;

use self::error::{Code, OciError};
use self::route::{Endpoint, Route};
use super::caller::Caller;
use super::{Node, answer};

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// Whether a path belongs to the protocol.
pub fn is_below(path: &str) -> bool {
    path.strip_prefix("/v2").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Answers a request below `/v2/`.
pub async fn answer<B>(node: &Arc<Node>, caller: Caller, body: B) -> Response<Body>
where
    B: HttpBody<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match AssertUnwindSafe(dispatch(node, &caller, body)).catch_unwind().await {
        Ok(response) => response,
        Err(cause) => {
            answer::count_panic(node, cause.as_ref());
            answer::closing(OciError::new(Code::Unknown, "larder made a mistake; its log says more").into_response())
        }
    }
}

async fn dispatch<B>(node: &Arc<Node>, caller: &Caller, body: B) -> Response<Body>
where
    B: HttpBody<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let route = match Route::parse(caller.path().strip_prefix("/v2").unwrap_or_default()) {
        Ok(route) => route,
        Err(e) => return answer::after_drain(node, Body::new(body), e.into_response()).await,
    };
    let reads = matches!(*caller.method(), Method::GET | Method::HEAD);
    match (caller.method(), route) {
        (_, Route::Ping) if reads => ping(node, caller).await,
        (_, Route::Token) if reads => token::get(node, caller).await,
        (_, Route::Catalog) if reads => lists::catalog(node, caller).await,
        (_, Route::In(repository, Endpoint::Tags)) if reads => lists::tags(node, caller, &repository).await,
        (_, Route::In(repository, Endpoint::Referrers(subject))) if reads => {
            referrers::get(node, caller, &repository, &subject).await
        }
        (_, Route::In(repository, Endpoint::Manifest(reference))) if reads => {
            manifests::get(node, caller, &repository, &reference).await
        }
        (_, Route::In(repository, Endpoint::NoManifest)) if reads => manifests::none(node, caller, &repository).await,
        (&Method::DELETE, Route::In(repository, Endpoint::Manifest(reference))) => {
            manifests::delete(node, caller, &repository, &reference).await
        }
        (&Method::PUT, Route::In(repository, Endpoint::Manifest(reference))) => {
            manifests::put(node, caller, &repository, &reference, Body::new(body)).await
        }
        (_, Route::In(repository, Endpoint::Blob(digest))) if reads => {
            blobs::get(node, caller, &repository, &digest).await
        }
        (&Method::DELETE, Route::In(repository, Endpoint::Blob(digest))) => {
            blobs::delete(node, caller, &repository, &digest).await
        }
        (&Method::POST, Route::In(repository, Endpoint::Uploads)) => {
            uploads::post(node, caller, &repository, Body::new(body)).await
        }
        (&Method::PATCH, Route::In(repository, Endpoint::Upload(ticket))) => {
            uploads::patch(node, caller, &repository, &ticket, Body::new(body)).await
        }
        (&Method::PUT, Route::In(repository, Endpoint::Upload(ticket))) => {
            uploads::put(node, caller, &repository, &ticket, Body::new(body)).await
        }
        (_, Route::In(repository, Endpoint::Upload(ticket))) if reads => {
            uploads::get(node, caller, &repository, &ticket).await
        }
        (&Method::DELETE, Route::In(repository, Endpoint::Upload(ticket))) => {
            uploads::delete(node, caller, &repository, &ticket).await
        }
        (&Method::PUT | &Method::DELETE, Route::In(_, Endpoint::NoManifest)) => {
            let refusal = OciError::new(Code::ManifestInvalid, "this is neither a tag nor a digest");
            answer::after_drain(node, Body::new(body), refusal.into_response()).await
        }
        (method, route) => {
            let refusal = OciError::new(Code::Unsupported, format!("{method} is not possible here")).into_response();
            let refusal = answer::with(refusal, header::ALLOW, HeaderValue::from_static(route.methods()));
            answer::after_drain(node, Body::new(body), refusal).await
        }
    }
}

/// `GET /v2/`: whether the protocol is spoken here, and whether credentials are wanted.
async fn ping(node: &Node, caller: &Caller) -> Response<Body> {
    let identity = match access::identify(node, caller, None).await {
        Ok(identity) => identity,
        Err(refusal) => return refusal,
    };
    if identity.is_anonymous() && !caller.has_credentials() && access::wants_login(node) {
        return access::challenge(node, caller, None, "log in first");
    }
    let response = answer::json(StatusCode::OK, &serde_json::json!({}));
    answer::with(response, API_VERSION, HeaderValue::from_static("registry/2.0"))
}

/// A header of text that is known to be one.
fn value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}
