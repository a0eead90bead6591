//! `PUT`: the entry is taken whole or not at all, and the client hears success either way.

use std::time::Instant;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;

use super::decline::{Declined, Reason, decline};
use super::inspect::Inspector;
use super::read::shown;
use super::{PREFIX, entry};
use crate::auth::{Access, Identity, Target};
use crate::cache::{Commit, Place, WriteError};
use crate::config::units;
use crate::model::object::ObjectKey;
use crate::web::caller::Caller;
use crate::web::{Node, answer};

/// `PUT`: 1. who stores, 2. the name, the right and the declared size, 3. the body, 4. the commit, 5. the answer.
pub async fn put(node: &Node, caller: &Caller, mut body: Body) -> Response<Body> {
    let begun = Instant::now();
    let identity = match caller.identify(node).await {
        Ok(identity) => identity,
        Err(refusal) => return answer::after_drain(node, body, refusal).await,
    };
    if is_locked_out(&identity, caller) {
        return answer::after_drain(node, body, caller.challenge(node)).await;
    }
    let declared = body.size_hint().exact();
    let outcome = match check(node, &identity, caller, declared) {
        Ok(object) => receive(node, &identity, caller, object, &mut body).await,
        Err(reason) => Err(Stop::Declined(reason, declared.unwrap_or(0))),
    };
    node.handles.put.observe(begun.elapsed().as_secs_f64());
    match outcome {
        Ok(()) => answer::empty(StatusCode::CREATED),
        Err(Stop::Declined(reason, size)) => {
            let key = caller.path().strip_prefix(PREFIX).unwrap_or_default();
            let key = key.get(..200).unwrap_or(key);
            decline(node, Declined { reason, key, size, identity: &identity }, caller, body).await
        }
        // The client broke off, or declared another length than it sent: nobody reads this answer.
        Err(Stop::Broken) => answer::closing(answer::empty(StatusCode::BAD_REQUEST)),
    }
}

/// Why a store came to nothing.
enum Stop {
    /// It is not kept; this many bytes were seen or declared.
    Declined(Reason, u64),
    /// The body ended early.
    Broken,
}

/// Somebody without credentials who may not even read is asked for some.
fn is_locked_out(identity: &Identity, caller: &Caller) -> bool {
    let namespace = entry(caller).map_or("", |name| name.namespace());
    identity.is_anonymous() && !identity.may(Access::Read, Target::Gradle(namespace))
}

fn check(node: &Node, identity: &Identity, caller: &Caller, declared: Option<u64>) -> Result<ObjectKey, Reason> {
    let name = entry(caller).ok_or(Reason::BadKey)?;
    if !identity.may(Access::Write, Target::Gradle(name.namespace())) {
        return Err(Reason::ReadOnly);
    }
    if declared.is_some_and(|size| size > node.parts.gradle.max_entry.0) {
        return Err(Reason::TooLarge);
    }
    Ok(name.object())
}

async fn receive(
    node: &Node,
    identity: &Identity,
    caller: &Caller,
    object: ObjectKey,
    body: &mut Body,
) -> Result<(), Stop> {
    let declared = body.size_hint().exact();
    let not_kept = |error: WriteError, size: u64| {
        let reason = match error {
            WriteError::NoSpace => Reason::NoSpace,
            WriteError::Changed | WriteError::Unavailable => Reason::Unavailable,
        };
        Stop::Declined(reason, size)
    };
    let place = Place::Beside(object.clone());
    let mut upload = node
        .parts
        .cache
        .upload(place, declared, node.parts.durability)
        .await
        .map_err(|e| not_kept(e, declared.unwrap_or(0)))?;
    let mut inspector = Inspector::new(node.parts.gradle.inspect);
    while let Some(frame) = body.frame().await {
        // Trailers carry nothing of an entry.
        let Ok(data) = frame.map_err(|_| Stop::Broken)?.into_data() else { continue };
        if upload.size() + data.len() as u64 > node.parts.gradle.max_entry.0 {
            return Err(Stop::Declined(Reason::TooLarge, upload.size() + data.len() as u64));
        }
        inspector.see(&data);
        let size = upload.size();
        upload.push(data).await.map_err(|e| not_kept(e, size))?;
    }
    let size = upload.size();
    if declared.is_some_and(|declared| declared != size) {
        return Err(Stop::Broken);
    }
    let seen = inspector.finish();
    // No entry is empty, and newer versions of Gradle fail a build on an empty hit (gradle/gradle#14693).
    if !seen.holds || size == 0 {
        return Err(Stop::Declined(Reason::Corrupt, size));
    }
    if seen.task.is_none() {
        node.parts.metrics.unrecognised.inc();
    }
    let told = seen.task.as_ref().map_or_else(|| "an entry".to_owned(), |task| task.path.clone());
    let commit = Commit { durability: node.parts.durability, writer: caller.writer(identity), task: seen.task };
    let differs = node.parts.cache.commit(object, upload, commit).await.map_err(|e| not_kept(e, size))?;
    count(node, size, differs, &told, identity);
    Ok(())
}

fn count(node: &Node, size: u64, differs: bool, told: &str, identity: &Identity) {
    let metrics = &node.parts.metrics;
    metrics.stores.inc();
    metrics.entry_bytes.observe(size as f64);
    node.handles.bytes_in.inc_by(size);
    if differs {
        metrics.differing.inc();
        tracing::debug!("{told} was stored with other bytes than before: the task's outputs are not reproducible");
    }
    if node.handles.is_first_store() {
        tracing::info!("first store: {told}, {}, user {}", units::human_bytes(size), shown(identity));
    } else {
        tracing::debug!("store {told}, {}, user {}", units::human_bytes(size), shown(identity));
    }
}
