//! `manifests/<reference>`: pulling, pushing and deleting manifests and tags.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use bytes::{Bytes, BytesMut};
use http_body::Body as _;

use super::error::{Code, OciError, clip};
use super::query::Query;
use super::receive::{Stop, next, refuse};
use super::{CONTENT_DIGEST, access, value};
use crate::auth::{Access, Identity};
use crate::model::repository::{Reference, Repository, TagName};
use crate::registry::{Pulled, Push, Pushed, RegistryError};
use crate::web::caller::Caller;
use crate::web::misses::{Reason, Wanted};
use crate::web::{Node, answer};

const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");
/// How much of a manifest is paid for at first.
const STEP: usize = 64 << 10;
/// A request may set this many tags at once.
const MOST_TAGS: usize = 64;

/// `GET` and `HEAD`: 1. who asks and may they, 2. the manifest, 3. the answer. `Accept` is not looked at: a registry
/// gives what was pushed.
pub async fn get(node: &Node, caller: &Caller, repository: &Repository, reference: &Reference) -> Response<Body> {
    let begun = Instant::now();
    let identity = match admit(node, caller, repository, reference).await {
        Ok(identity) => identity,
        Err(refusal) => return refusal,
    };
    let outcome = async {
        // Replaced between the two: then another record stands there by now.
        for _ in 0..8 {
            let pulled = node.parts.registry.pull(repository, reference).await?;
            if *caller.method() == Method::HEAD {
                return Ok((pulled, Body::empty()));
            }
            if let Some(bytes) = node.parts.registry.content(&pulled).await? {
                return Ok((pulled, Body::from(bytes)));
            }
        }
        Err(RegistryError::Unavailable)
    };
    match outcome.await {
        Ok((pulled, body)) => {
            node.handles.oci_hits.inc();
            node.handles.oci_hit.observe(begun.elapsed().as_secs_f64());
            note_age(node, &pulled, repository, reference, identity);
            found(&pulled, body)
        }
        Err(error) => {
            node.handles.oci_miss.observe(begun.elapsed().as_secs_f64());
            let reason = match &error {
                RegistryError::ManifestUnknown => {
                    node.handles.oci_misses.inc();
                    let removed = node.parts.registry.removed_at(repository, reference);
                    removed.map_or(Reason::Absent, Reason::Removed)
                }
                _ => {
                    node.parts.metrics.oci_unavailable.inc();
                    Reason::Unavailable
                }
            };
            miss(node, repository, reference, identity, reason);
            OciError::from(error).into_response()
        }
    }
}

/// `GET` and `HEAD` of what can be no tag: there is no such manifest.
pub async fn none(node: &Node, caller: &Caller, repository: &Repository) -> Response<Body> {
    match access::admit(node, caller, repository, Access::Read).await {
        Ok(_) => OciError::from(RegistryError::ManifestUnknown).into_response(),
        Err(refusal) => refusal,
    }
}

/// Like [`access::admit`], and a refusal is told as a miss, too: to kaniko it is one.
async fn admit(
    node: &Node,
    caller: &Caller,
    repository: &Repository,
    reference: &Reference,
) -> Result<Arc<Identity>, Response<Body>> {
    match access::admit(node, caller, repository, Access::Read).await {
        Err(refusal) if refusal.status() == StatusCode::FORBIDDEN => {
            if let Ok(identity) = caller.look_up(node).await {
                miss(node, repository, reference, identity, Reason::Refused);
            }
            Err(refusal)
        }
        outcome => outcome,
    }
}

/// kaniko counts a layer's age from when it was built, and takes one for missing that is older than its `--cache-ttl`.
fn note_age(node: &Node, pulled: &Pulled, repository: &Repository, reference: &Reference, identity: Arc<Identity>) {
    let Reference::Tag(tag) = reference else { return };
    let ttl = u64::try_from(node.parts.oci.kaniko_ttl.0.as_millis()).unwrap_or(u64::MAX);
    if let Some(tagged) = pulled.tagged
        && is_of_kaniko(tag.as_str())
        && node.parts.registry.cache().now().saturating_sub(tagged) > ttl
    {
        miss(node, repository, reference, identity, Reason::TooOld(tagged));
    }
}

fn miss(node: &Node, repository: &Repository, reference: &Reference, identity: Arc<Identity>, reason: Reason) {
    let name = match reference {
        Reference::Digest(digest) => digest.as_str(),
        Reference::Tag(tag) => tag.as_str(),
    };
    let (user, why) = (identity.name(), reason.as_str());
    tracing::debug!(%repository, reference = name, user, why, "a lookup missed");
    // kaniko itself says nothing, and the first miss of a stage ends all its lookups.
    if is_of_kaniko(name)
        && let Some(left_out) = node.log_limit.admits("kaniko-miss")
    {
        let words = "a layer of kaniko's was not found or not used; /api/v1/misses tells the last ones";
        tracing::info!(%repository, tag = name, user, why, left_out, "{words}");
    }
    node.misses.add(Wanted::Manifest { repository: repository.as_str(), reference: name }, identity, reason);
}

/// kaniko's tags are the SHA-256 of what goes into a step.
fn is_of_kaniko(tag: &str) -> bool {
    tag.len() == 64 && tag.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn found(pulled: &Pulled, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, value(pulled.media_type()));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(pulled.record.header.size));
    headers.insert(CONTENT_DIGEST, value(pulled.digest.as_str()));
    response
}

/// `PUT`: 1. who pushes and may they, 2. the tags, 3. the body, 4. the registry, 5. the answer.
pub async fn put(
    node: &Arc<Node>,
    caller: &Caller,
    repository: &Repository,
    reference: &Reference,
    body: Body,
) -> Response<Body> {
    let (identity, mut body) = match access::admit_push(node, caller, repository, body).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal,
    };
    let outcome = async {
        let tags = tags(caller, reference)?;
        let bytes = receive(node, &mut body).await?;
        let push = Push {
            repository: repository.clone(),
            reference: reference.clone(),
            tags: tags.clone(),
            content_type: caller.header(&header::CONTENT_TYPE).map(str::to_owned),
            bytes,
            writer: caller.writer(&identity),
        };
        let pushed = node.parts.registry.push(push).await?;
        Ok((pushed, tags))
    };
    match outcome.await {
        Ok((pushed, tags)) => {
            node.parts.metrics.oci_pushes.with_label_values(&["manifest"]).inc();
            created(repository, &pushed, &tags)
        }
        Err(stop) => refuse(node, stop, body).await,
    }
}

/// The tags that a push by digest sets beside (distribution-spec's main branch, "Pushing manifests": `?tag=`).
fn tags(caller: &Caller, reference: &Reference) -> Result<Vec<TagName>, OciError> {
    let Reference::Digest(_) = reference else { return Ok(Vec::new()) };
    let mut tags = Vec::new();
    for text in Query::of(caller.uri()).all("tag") {
        let wrong = || OciError::new(Code::ManifestInvalid, format!("`{}` is not a tag", clip(&text)));
        let tag = TagName::parse(&text).ok_or_else(wrong)?;
        if !tags.contains(&tag) {
            tags.push(tag);
        }
        if tags.len() > MOST_TAGS {
            return Err(OciError::new(Code::ManifestInvalid, format!("more than {MOST_TAGS} tags in one request")));
        }
    }
    Ok(tags)
}

/// The whole manifest: it is looked into before it is kept. What it takes in memory is paid for first.
async fn receive(node: &Node, body: &mut Body) -> Result<Bytes, Stop> {
    let limit = node.parts.oci.max_manifest;
    let too_large = || OciError::too_large("manifest", limit, "oci.max_manifest");
    let declared = body.size_hint().exact();
    if declared.is_some_and(|size| size > limit.0) {
        return Err(too_large().into());
    }
    let known = declared.and_then(|size| usize::try_from(size).ok());
    let first = node.parts.registry.cache().reserve(known.unwrap_or(STEP)).await.map_err(RegistryError::from)?;
    // What is beyond a floor is paid for as it comes: who sends slowly keeps nobody waiting.
    let (mut paid, mut permits) = (known.unwrap_or(STEP).min(STEP), vec![first]);
    let mut bytes = BytesMut::with_capacity(paid);
    while let Some(data) = next(body).await? {
        let size = bytes.len() + data.len();
        if size as u64 > limit.0 {
            return Err(too_large().into());
        }
        while size > paid {
            let step = STEP.max(paid).min(limit.as_usize() - paid).max(1);
            permits.push(node.parts.registry.cache().reserve_more(step).ok_or(RegistryError::Unavailable)?);
            paid += step;
            bytes.reserve(paid - bytes.len());
        }
        bytes.extend_from_slice(&data);
    }
    if declared.is_some_and(|declared| declared != bytes.len() as u64) {
        return Err(Stop::Broken);
    }
    let bytes = permits.into_iter().fold(bytes.freeze(), |bytes, permit| permit.guard(bytes));
    Ok(bytes)
}

fn created(repository: &Repository, pushed: &Pushed, tags: &[TagName]) -> Response<Body> {
    let mut response = answer::empty(StatusCode::CREATED);
    let headers = response.headers_mut();
    headers.insert(header::LOCATION, value(&format!("/v2/{repository}/manifests/{}", pushed.digest)));
    headers.insert(CONTENT_DIGEST, value(pushed.digest.as_str()));
    if let Some(subject) = &pushed.subject {
        headers.insert(SUBJECT, value(subject.as_str()));
    }
    for tag in tags {
        headers.append(TAG, value(tag.as_str()));
    }
    response
}

/// `DELETE`: of a tag, or of a manifest with the tags that point to it.
pub async fn delete(node: &Node, caller: &Caller, repository: &Repository, reference: &Reference) -> Response<Body> {
    let identity = match access::admit(node, caller, repository, Access::Admin).await {
        Ok(identity) => identity,
        Err(refusal) => return refusal,
    };
    let registry = &node.parts.registry;
    let (outcome, name) = match reference {
        Reference::Tag(tag) => (registry.delete_tag(repository, tag).await, tag.as_str()),
        Reference::Digest(digest) => (registry.delete_manifest(repository, digest).await, digest.as_str()),
    };
    match outcome {
        Ok(()) => {
            tracing::info!(%repository, reference = name, user = identity.name(), "a manifest was deleted");
            answer::empty(StatusCode::ACCEPTED)
        }
        Err(e) => OciError::from(e).into_response(),
    }
}
