//! `GET` and `HEAD`: 200 with a whole, checked body, or 404, or 401.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};

use super::entry;
use crate::auth::{Access, Identity, Target};
use crate::cache::{Found, Lookup, Tier};
use crate::model::entry::EntryName;
use crate::model::record::Header;
use crate::web::caller::Caller;
use crate::web::misses::{Reason, Wanted};
use crate::web::send::send;
use crate::web::status::human_seconds;
use crate::web::{Node, answer};

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// `GET`: 1. who asks, 2. the name and whether they may, 3. the record and its checked body, 4. the answer.
pub async fn get(node: &Node, caller: &Caller) -> Response<Body> {
    let begun = Instant::now();
    let (name, identity) = match admit(node, caller).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal,
    };
    match node.parts.cache.get(&name.object()).await {
        Found::Hit(record, body, tier) => {
            count_hit(node, &record.header, &identity);
            node.handles.hit(tier).observe(begun.elapsed().as_secs_f64());
            hit(&record.header, send(body))
        }
        Found::Miss(tier) => miss(node, name, identity, Reason::Absent, begun, tier),
        Found::Unavailable => miss(node, name, identity, Reason::Unavailable, begun, Tier::Cold),
    }
}

/// `HEAD`: like `GET` without the body; the body is not checked, because none is sent. No build sends it, so it
/// counts neither as a hit nor as a miss.
pub async fn head(node: &Node, caller: &Caller) -> Response<Body> {
    let (name, _) = match admit(node, caller).await {
        Ok(admitted) => admitted,
        Err(refusal) => return refusal,
    };
    match node.parts.cache.lookup(&name.object()).await {
        Lookup::Live(record, _) => hit(&record.header, Body::empty()),
        Lookup::Absent(_) | Lookup::Newer | Lookup::Unavailable => answer::empty(StatusCode::NOT_FOUND),
    }
}

/// The entry and who asks for it, or the answer to those who may not. What is no name is a miss; a namespace that a
/// user may not read is one, too, because any other answer would cost the build its cache.
async fn admit<'r>(node: &Node, caller: &'r Caller) -> Result<(EntryName<'r>, Arc<Identity>), Response<Body>> {
    let identity = caller.identify(node).await?;
    let Some(name) = entry(caller) else { return Err(answer::empty(StatusCode::NOT_FOUND)) };
    if identity.may(Access::Read, Target::Gradle(name.namespace())) {
        return Ok((name, identity));
    }
    if identity.is_anonymous() {
        return Err(caller.challenge(node));
    }
    Err(miss(node, name, identity, Reason::Refused, Instant::now(), Tier::Hot))
}

fn hit(header: &Header, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, OCTETS);
    // Always a length: a body that breaks off is then told from a whole one.
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(header.size));
    response
}

fn miss(
    node: &Node,
    name: EntryName<'_>,
    identity: Arc<Identity>,
    reason: Reason,
    begun: Instant,
    tier: Tier,
) -> Response<Body> {
    node.parts.metrics.misses.inc();
    if reason == Reason::Unavailable {
        node.parts.metrics.lookup_failures.inc();
    }
    node.misses.add(Wanted::Entry { namespace: name.namespace(), key: name.key() }, identity, reason);
    node.handles.miss(tier).observe(begun.elapsed().as_secs_f64());
    answer::empty(StatusCode::NOT_FOUND)
}

fn count_hit(node: &Node, header: &Header, identity: &Identity) {
    node.parts.metrics.hits.inc();
    node.handles.bytes_out.inc_by(header.size);
    let task = header.task.as_ref();
    let saved = task.map_or(0.0, |task| task.execution_ms as f64 / 1000.0);
    if saved > 0.0 {
        node.parts.metrics.saved_seconds.inc_by(saved);
    }
    let (path, user) = (task.map_or("an entry", |task| task.path.as_str()), shown(identity));
    if node.handles.is_first_hit() {
        tracing::info!("first hit: {path}, saved {}, user {user}", human_seconds(saved));
    } else {
        tracing::debug!("hit {path}, saved {}, user {user}", human_seconds(saved));
    }
}

/// A user's name as it is logged.
pub fn shown(identity: &Identity) -> &str {
    if identity.is_anonymous() { "anonymous" } else { identity.name() }
}
