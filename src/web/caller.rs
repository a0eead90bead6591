//! Who sends a request, from where, and under which id.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderName, Method, Request, Response, Uri, header};

use super::{Node, answer};
use crate::auth::{Identity, Refused};
use crate::clock;
use crate::model::record::Writer;

/// The header that carries a request's id, in answers that tell of trouble.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_CLIENT_TEXT: usize = 128;

/// The address a request came from, in the extensions of requests that go through the router.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// A request without its body.
#[derive(Debug)]
pub struct Caller {
    head: Parts,
    address: IpAddr,
}

impl Caller {
    /// Takes a request apart.
    pub fn new<B>(request: Request<B>, address: IpAddr) -> (Self, B) {
        let (head, body) = request.into_parts();
        (Self { head, address }, body)
    }

    /// Of a request that went through the router; its body is not wanted.
    pub fn of<B>(request: Request<B>) -> Self {
        let peer = request.extensions().get::<Peer>().copied();
        Self::new(request, peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.0.ip())).0
    }

    /// The request's method.
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    /// The request's path, as the client sent it.
    pub fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// The request's path and query.
    pub fn uri(&self) -> &Uri {
        &self.head.uri
    }

    /// A header's value, where it is plain text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.head.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Whether it came with credentials, good or not.
    pub fn has_credentials(&self) -> bool {
        self.head.headers.contains_key(header::AUTHORIZATION)
    }

    /// Who sent the request.
    pub async fn look_up(&self, node: &Node) -> Result<Arc<Identity>, Refused> {
        let credentials = self.head.headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        node.parts.auth.identify(credentials, self.address).await
    }

    /// Who sent the request, or the answer to credentials that are nobody's.
    pub async fn identify(&self, node: &Node) -> Result<Arc<Identity>, Response<Body>> {
        self.look_up(node).await.map_err(|_| {
            self.refuse(node, "credentials-wrong", "a client was refused: its name or password is not right")
        })
    }

    /// The answer to somebody without credentials who needs some.
    pub fn challenge(&self, node: &Node) -> Response<Body> {
        self.refuse(
            node,
            "credentials-missing",
            "a client was refused: it sent no password and nobody may do this without",
        )
    }

    fn refuse(&self, node: &Node, kind: &'static str, words: &str) -> Response<Body> {
        self.note_refusal(node, kind, words);
        answer::challenge()
    }

    /// Counts and logs a refusal. Names are not logged: people type passwords into them.
    pub fn note_refusal(&self, node: &Node, kind: &'static str, words: &str) {
        node.parts.metrics.auth_failures.inc();
        if let Some(left_out) = node.log_limit.admits(kind) {
            tracing::warn!(address = %self.address, request = self.request_id(), left_out, "{words}");
        }
    }

    /// What a record says of who wrote it.
    pub fn writer(&self, identity: &Identity) -> Writer {
        Writer {
            user: identity.name().to_owned(),
            address: self.address.to_string(),
            agent: self.text(&header::USER_AGENT),
        }
    }

    /// The request's id: the client's own, or a fresh one. Made only when something is to be told.
    pub fn request_id(&self) -> String {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let own = self.text(&REQUEST_ID);
        if !own.is_empty() && own.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
            return own;
        }
        format!("{:x}-{:x}", clock::unix_ms(), COUNT.fetch_add(1, Ordering::Relaxed))
    }

    /// A header that the client chooses, clipped and without anything that could break a log line.
    fn text(&self, name: &HeaderName) -> String {
        let value = self.head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        value.chars().filter(|c| !c.is_control()).take(MAX_CLIENT_TEXT).collect()
    }
}
