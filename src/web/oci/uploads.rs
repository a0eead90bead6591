//! `blobs/uploads/`: the four ways to push a blob, and mounts.
//!
//! `POST` with the digest and the bytes; `POST` then `PUT`; `POST`, `PATCH`, `PUT`; chunks with `Content-Range`
//! (distribution-spec, "Pushing Blobs"). kaniko sends one `PATCH` with everything, docker chunked, containerd and
//! BuildKit a single `PUT`.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;

use super::error::{Code, OciError};
use super::query::Query;
use super::receive::{Stop, receive, refuse};
use super::{CONTENT_DIGEST, access, value};
use crate::auth::{Access, Identity, Target};
use crate::model::digest::Digest;
use crate::model::range::content_range;
use crate::model::repository::Repository;
use crate::registry::{RegistryError, SessionId};
use crate::web::caller::Caller;
use crate::web::{Node, answer};

const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// How many repositories a mount that names no source is looked for in.
const MOST_SOURCES: usize = 1000;

/// `POST`: a session; or, with `digest`, the whole blob; or, with `mount`, a blob that is here already.
pub async fn post(node: &Arc<Node>, caller: &Caller, repository: &Repository, body: Body) -> Response<Body> {
    let (identity, mut body) = match access::admit_push(node, caller, repository, body).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal,
    };
    match try_post(node, caller, &identity, repository, &mut body).await {
        Ok(response) => answer::after_drain(node, body, response).await,
        Err(stop) => refuse(node, stop, body).await,
    }
}

async fn try_post(
    node: &Arc<Node>,
    caller: &Caller,
    identity: &Identity,
    repository: &Repository,
    body: &mut Body,
) -> Result<Response<Body>, Stop> {
    let query = Query::of(caller.uri());
    let registry = &node.parts.registry;
    if let Some(text) = query.get("mount") {
        let digest = Digest::parse(&text).ok_or_else(|| OciError::digest(&text))?;
        let from = query.get("from");
        if mount(node, caller, identity, repository, &digest, from.as_deref()).await? {
            node.parts.metrics.oci_mounts.inc();
            return Ok(created(repository, &digest));
        }
        // What cannot be mounted is uploaded (distribution-spec, "Mounting a blob from another repository").
    } else if let Some(text) = query.get("digest") {
        let digest = Digest::parse(&text).ok_or_else(|| OciError::digest(&text))?;
        let id = registry.begin();
        store(node, caller, identity, repository, id, &digest, None, body).await?;
        return Ok(created(repository, &digest));
    }
    let ticket = registry.ticket(registry.begin(), repository, identity.name());
    Ok(progress(StatusCode::ACCEPTED, repository, &ticket, 0))
}

async fn mount(
    node: &Arc<Node>,
    caller: &Caller,
    identity: &Identity,
    repository: &Repository,
    digest: &Digest,
    from: Option<&str>,
) -> Result<bool, Stop> {
    let registry = &node.parts.registry;
    let may_read = |source: &Repository| identity.may(Access::Read, Target::Oci(source.as_str()));
    let may_read_all = identity.may(Access::Read, Target::EveryRepository);
    if let Some(name) = from {
        let sources: Vec<_> = Repository::parse(name).into_iter().filter(may_read).collect();
        return mount_from(node, caller, identity, repository, digest, &sources).await;
    }
    // The likeliest sources first: here, and where it was pushed first.
    let near: Vec<_> = std::iter::once(repository.clone()).chain(registry.origin(digest).await?).collect();
    let near: Vec<_> = near.into_iter().filter(may_read).collect();
    if mount_from(node, caller, identity, repository, digest, &near).await? {
        return Ok(true);
    }
    // Only for those who may read everything: how long it takes tells others that a digest is stored.
    if !may_read_all || !registry.is_stored(digest).await? {
        return Ok(false);
    }
    let all = registry.repositories(None, MOST_SOURCES, |_| true).await?;
    let all: Vec<_> = all.names.iter().filter_map(|name| Repository::parse(name)).collect();
    mount_from(node, caller, identity, repository, digest, &all).await
}

/// Mounts out of the first of these repositories that has the blob.
async fn mount_from(
    node: &Arc<Node>,
    caller: &Caller,
    identity: &Identity,
    repository: &Repository,
    digest: &Digest,
    sources: &[Repository],
) -> Result<bool, Stop> {
    for source in sources {
        match node.parts.registry.mount(repository, source, digest, caller.writer(identity)).await {
            Ok(()) => return Ok(true),
            Err(RegistryError::BlobUnknown) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(false)
}

/// `PATCH`: the next bytes, or all of them.
pub async fn patch(
    node: &Arc<Node>,
    caller: &Caller,
    repository: &Repository,
    ticket: &str,
    body: Body,
) -> Response<Body> {
    let (identity, mut body) = match access::admit_push(node, caller, repository, body).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal,
    };
    let outcome = async {
        let id = node.parts.registry.session(ticket, repository, identity.name())?;
        let writer = caller.writer(&identity);
        let range = chunk(caller, &body)?;
        let from = range.as_ref().map(|range| range.start);
        let declared = body.size_hint().exact();
        let mut append = node.parts.registry.append(id, repository, writer, from, declared, None).await?;
        receive(node, &mut append, range, &mut body).await?;
        Ok(append.keep().await?)
    };
    match outcome.await {
        Ok(size) => progress(StatusCode::ACCEPTED, repository, ticket, size),
        Err(stop) => refuse_session(node, stop, repository, ticket, body).await,
    }
}

/// `PUT`: the last bytes, if any, and what the whole is to be.
pub async fn put(
    node: &Arc<Node>,
    caller: &Caller,
    repository: &Repository,
    ticket: &str,
    body: Body,
) -> Response<Body> {
    let (identity, mut body) = match access::admit_push(node, caller, repository, body).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal,
    };
    let outcome = async {
        let text = Query::of(caller.uri()).get("digest").unwrap_or_default();
        let digest = Digest::parse(&text).ok_or_else(|| OciError::digest(&text))?;
        let id = node.parts.registry.session(ticket, repository, identity.name())?;
        let range = chunk(caller, &body)?;
        store(node, caller, &identity, repository, id, &digest, range, &mut body).await?;
        Ok(digest)
    };
    match outcome.await {
        Ok(digest) => created(repository, &digest),
        Err(stop) => refuse_session(node, stop, repository, ticket, body).await,
    }
}

/// Receives what is left of a blob and makes it.
#[allow(clippy::too_many_arguments)] // what a request brings
async fn store(
    node: &Arc<Node>,
    caller: &Caller,
    identity: &Identity,
    repository: &Repository,
    id: SessionId,
    digest: &Digest,
    range: Option<std::ops::Range<u64>>,
    body: &mut Body,
) -> Result<(), Stop> {
    let (writer, declared) = (caller.writer(identity), body.size_hint().exact());
    let from = range.as_ref().map(|range| range.start);
    let mut append = node.parts.registry.append(id, repository, writer, from, declared, Some(digest)).await?;
    receive(node, &mut append, range, body).await?;
    append.complete(digest.clone()).await?;
    node.parts.metrics.oci_pushes.with_label_values(&["blob"]).inc();
    Ok(())
}

/// `GET`: how much came.
pub async fn get(node: &Node, caller: &Caller, repository: &Repository, ticket: &str) -> Response<Body> {
    let id = match session(node, caller, repository, ticket).await {
        Ok(id) => id,
        Err(refusal) => return refusal,
    };
    match node.parts.registry.offset(id).await {
        Ok(offset) => progress(StatusCode::NO_CONTENT, repository, ticket, offset),
        Err(e) => OciError::from(e).into_response(),
    }
}

/// `DELETE`: the client gives up. kaniko begins and cancels an upload to see whether it may push.
pub async fn delete(node: &Node, caller: &Caller, repository: &Repository, ticket: &str) -> Response<Body> {
    let id = match session(node, caller, repository, ticket).await {
        Ok(id) => id,
        Err(refusal) => return refusal,
    };
    match node.parts.registry.cancel(id).await {
        Ok(()) => answer::empty(StatusCode::NO_CONTENT),
        Err(e) => OciError::from(e).into_response(),
    }
}

/// The session that a request without a body is about.
async fn session(
    node: &Node,
    caller: &Caller,
    repository: &Repository,
    ticket: &str,
) -> Result<SessionId, Response<Body>> {
    let identity = access::admit(node, caller, repository, Access::Write).await?;
    let id = node.parts.registry.session(ticket, repository, identity.name());
    id.map_err(|e| OciError::from(e).into_response())
}

/// The part of the blob that a request says it brings; its length has to be the body's.
fn chunk(caller: &Caller, body: &Body) -> Result<Option<std::ops::Range<u64>>, OciError> {
    let Some(text) = caller.header(&header::CONTENT_RANGE) else { return Ok(None) };
    let range = content_range(text).ok_or_else(|| {
        let message = format!("`{}` is not a Content-Range; write FIRST-LAST", super::error::clip(text));
        OciError::new(Code::BlobUploadInvalid, message)
    })?;
    match body.size_hint().exact() {
        Some(length) if length != range.end - range.start => {
            let message = format!("the Content-Range has {} bytes and the body {length}", range.end - range.start);
            Err(OciError::new(Code::SizeInvalid, message))
        }
        _ => Ok(Some(range)),
    }
}

fn location(repository: &Repository, ticket: &str) -> HeaderValue {
    // Relative: the node does not know under which name its clients reach it.
    value(&format!("/v2/{repository}/blobs/uploads/{ticket}"))
}

/// Where a session is: docker wants all of these headers.
fn progress(status: StatusCode, repository: &Repository, ticket: &str, size: u64) -> Response<Body> {
    let mut response = answer::empty(status);
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, location(repository, ticket));
    headers.insert(header::RANGE, value(&format!("0-{}", size.saturating_sub(1))));
    headers.insert(UPLOAD_UUID, value(ticket));
    response
}

fn created(repository: &Repository, digest: &Digest) -> Response<Body> {
    let mut response = answer::empty(StatusCode::CREATED);
    response.headers_mut().insert(header::LOCATION, value(&format!("/v2/{repository}/blobs/{digest}")));
    response.headers_mut().insert(CONTENT_DIGEST, value(digest.as_str()));
    response
}

/// An error in a session. Who is out of order is told where to go on.
async fn refuse_session(node: &Node, stop: Stop, repository: &Repository, ticket: &str, body: Body) -> Response<Body> {
    let resume_at = match &stop {
        Stop::Told(error) => error.resume_at,
        Stop::Broken => None,
    };
    let mut response = refuse(node, stop, body).await;
    if let Some(size) = resume_at {
        let session = progress(response.status(), repository, ticket, size);
        for name in [header::LOCATION, header::RANGE, UPLOAD_UUID] {
            if let Some(value) = session.headers().get(&name) {
                response.headers_mut().insert(name, value.clone());
            }
        }
    }
    response
}
