//! Who sends a request, from where, and under which id.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, Request, header};

use super::{Node, Peer};
use crate::auth::{Identity, Refused};
use crate::clock;
use crate::model::record::Writer;

/// The header that carries a request's id, in answers that tell of trouble.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_CLIENT_TEXT: usize = 128;

/// The address a request came from.
pub fn address<B>(request: &Request<B>) -> IpAddr {
    request.extensions().get::<Peer>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip())
}

/// Who sent a request. A refusal is counted here.
pub async fn identify<B>(node: &Node, request: &Request<B>) -> Result<Arc<Identity>, Refused> {
    let credentials = request.headers().get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let identity = node.parts.auth.identify(credentials, address(request)).await;
    if identity.is_err() {
        node.parts.metrics.auth_failures.inc();
    }
    identity
}

/// What a record says of who wrote it.
pub fn writer<B>(identity: &Identity, request: &Request<B>) -> Writer {
    Writer {
        user: identity.name().to_owned(),
        address: address(request).to_string(),
        agent: text(request.headers(), &header::USER_AGENT),
    }
}

/// The request's id: the client's own, or a fresh one. Made only when something is to be told.
pub fn request_id(headers: &HeaderMap) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let own = text(headers, &REQUEST_ID);
    if !own.is_empty() && own.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return own;
    }
    format!("{:x}-{:x}", clock::unix_ms(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A header that the client chooses, clipped and without anything that could break a log line.
fn text(headers: &HeaderMap, name: &HeaderName) -> String {
    let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.chars().filter(|c| !c.is_control()).take(MAX_CLIENT_TEXT).collect()
}
