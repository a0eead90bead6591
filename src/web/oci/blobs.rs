//! `blobs/<digest>`: pulling a blob or parts of it, and taking it out of a repository.

use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use bytes::Bytes;

use super::error::OciError;
use super::{CONTENT_DIGEST, access, value};
use crate::auth::Access;
use crate::cache::{self, Record};
use crate::model::digest::Digest;
use crate::model::range::Wanted;
use crate::model::repository::Repository;
use crate::registry::RegistryError;
use crate::web::caller::Caller;
use crate::web::send::{send, send_parts};
use crate::web::{Node, answer};

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const BYTES: HeaderValue = HeaderValue::from_static("bytes");
/// Separates the parts of an answer to several ranges. Where it ends in a blob by chance, the parts' lengths tell.
const BOUNDARY: &str = "larder-4f1f0a6c9be14d2a8a5e-part";

/// `GET` and `HEAD`: 1. who asks and may they, 2. the blob, 3. which part of it, 4. the answer.
pub async fn get(node: &Node, caller: &Caller, repository: &Repository, digest: &Digest) -> Response<Body> {
    if let Err(refusal) = access::admit(node, caller, repository, Access::Read).await {
        return refusal;
    }
    match try_get(node, caller, repository, digest).await {
        Ok(response) => response,
        Err(e) => OciError::from(e).into_response(),
    }
}

async fn try_get(
    node: &Node,
    caller: &Caller,
    repository: &Repository,
    digest: &Digest,
) -> Result<Response<Body>, RegistryError> {
    let registry = &node.parts.registry;
    // Replaced while it was opened: then another record stands there by now.
    for _ in 0..8 {
        let record = registry.blob(repository, digest).await?;
        let size = record.header.size;
        if *caller.method() == Method::HEAD {
            return Ok(whole(digest, size, Body::empty()));
        }
        if let Some(response) = open(node, caller, &record, digest).await? {
            return Ok(response);
        }
    }
    Err(RegistryError::Unavailable)
}

async fn open(
    node: &Node,
    caller: &Caller,
    record: &Arc<Record>,
    digest: &Digest,
) -> Result<Option<Response<Body>>, RegistryError> {
    let size = record.header.size;
    let part = async |range: Range<u64>| {
        node.handles.oci_out.inc_by(range.end - range.start);
        node.parts.registry.open_blob(record, range).await
    };
    let parts = match wanted(caller, digest, size) {
        Wanted::Whole => return Ok(part(0..size).await?.map(|body| whole(digest, size, send(body)))),
        Wanted::Outside => {
            let mut response = answer::empty(StatusCode::RANGE_NOT_SATISFIABLE);
            response.headers_mut().insert(header::CONTENT_RANGE, value(&format!("bytes */{size}")));
            return Ok(Some(response));
        }
        Wanted::Parts(parts) => parts,
    };
    let mut opened = Vec::new();
    for range in parts {
        // Only the first is opened before the answer: each takes memory, and nobody waits for more while holding some.
        let body = if opened.is_empty() {
            part(range.clone()).await?
        } else {
            node.handles.oci_out.inc_by(range.end - range.start);
            Some(node.parts.registry.cache().stream_later(record, range.clone()))
        };
        let Some(body) = body else { return Ok(None) };
        opened.push((range, body));
    }
    if opened.len() > 1 {
        return Ok(Some(several(digest, size, opened)));
    }
    Ok(opened.pop().map(|(range, body)| {
        let mut response = whole(digest, range.end - range.start, send(body));
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        response.headers_mut().insert(header::CONTENT_RANGE, value(&told(&range, size)));
        response
    }))
}

/// Which part is wanted. `If-Range` with anything but this very blob asks for all of it (RFC 9110, section 13.1.5).
fn wanted(caller: &Caller, digest: &Digest, size: u64) -> Wanted {
    match caller.header(&header::IF_RANGE) {
        Some(tag) if tag != entity_tag(digest) => Wanted::Whole,
        _ => Wanted::parse(caller.header(&header::RANGE), size),
    }
}

fn entity_tag(digest: &Digest) -> String {
    format!("\"{digest}\"")
}

fn told(range: &Range<u64>, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end - 1)
}

fn whole(digest: &Digest, length: u64, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, OCTETS);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(header::ACCEPT_RANGES, BYTES);
    headers.insert(header::ETAG, value(&entity_tag(digest)));
    headers.insert(CONTENT_DIGEST, value(digest.as_str()));
    response
}

/// Several ranges as `multipart/byteranges` (RFC 9110, section 14.6).
fn several(digest: &Digest, size: u64, parts: Vec<(Range<u64>, cache::Body)>) -> Response<Body> {
    let end = Bytes::from(format!("\r\n--{BOUNDARY}--\r\n"));
    let mut length = end.len() as u64;
    let parts: Vec<_> = parts
        .into_iter()
        .map(|(range, body)| {
            let head = format!(
                "\r\n--{BOUNDARY}\r\nContent-Type: application/octet-stream\r\nContent-Range: {}\r\n\r\n",
                told(&range, size)
            );
            length += head.len() as u64 + (range.end - range.start);
            (Bytes::from(head), body)
        })
        .collect();
    let mut response = whole(digest, length, send_parts(parts, end));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    let kind = value(&format!("multipart/byteranges; boundary={BOUNDARY}"));
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// `DELETE`: the blob cannot be read through this repository any more.
pub async fn delete(node: &Node, caller: &Caller, repository: &Repository, digest: &Digest) -> Response<Body> {
    let identity = match access::admit(node, caller, repository, Access::Admin).await {
        Ok(identity) => identity,
        Err(refusal) => return refusal,
    };
    match node.parts.registry.delete_blob(repository, digest).await {
        Ok(()) => {
            tracing::info!(%repository, %digest, user = identity.name(), "a blob was deleted");
            answer::empty(StatusCode::ACCEPTED)
        }
        Err(e) => OciError::from(e).into_response(),
    }
}
