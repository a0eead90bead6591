//! `tags/list` and `_catalog`: names, a page at a time.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use serde_json::json;

use super::error::{Code, OciError, clip};
use super::query::Query;
use super::{access, value};
use crate::auth::{Access, Target};
use crate::model::repository::Repository;
use crate::registry::Names;
use crate::web::caller::Caller;
use crate::web::{Node, answer};

/// `GET tags/list`, with `n` and `last` (distribution-spec, "Listing Tags").
pub async fn tags(node: &Node, caller: &Caller, repository: &Repository) -> Response<Body> {
    if let Err(refusal) = access::admit(node, caller, repository, Access::Read).await {
        return refusal;
    }
    let query = Query::of(caller.uri());
    let outcome = async {
        let limit = page(node, &query)?;
        let last = query.get("last");
        Ok((node.parts.registry.tags(repository, last.as_deref(), limit).await.map_err(OciError::from)?, limit))
    };
    match outcome.await {
        Ok((names, limit)) => {
            let body = json!({ "name": repository, "tags": names.names });
            listed(&format!("/v2/{repository}/tags/list"), &names, limit, &body)
        }
        Err(e) => OciError::into_response(e),
    }
}

/// `GET _catalog`: the repositories that the caller may pull from.
pub async fn catalog(node: &Node, caller: &Caller) -> Response<Body> {
    let identity = match access::identify(node, caller, None).await {
        Ok(identity) => identity,
        Err(refusal) => return refusal,
    };
    if identity.is_anonymous() && access::wants_login(node) && !identity.may(Access::Read, Target::EveryRepository) {
        return access::challenge(node, caller, None, "log in first");
    }
    let query = Query::of(caller.uri());
    let outcome = async {
        let limit = page(node, &query)?;
        let last = match query.get("last").filter(|text| !text.is_empty()) {
            Some(text) => Some(Repository::parse(&text).ok_or_else(|| OciError::name(&text))?),
            None => None,
        };
        let shows = |repository: &Repository| identity.may(Access::Read, Target::Oci(repository.as_str()));
        let names = node.parts.registry.repositories(last.as_ref(), limit, shows).await.map_err(OciError::from)?;
        Ok((names, limit))
    };
    match outcome.await {
        Ok((names, limit)) => listed("/v2/_catalog", &names, limit, &json!({ "repositories": names.names })),
        Err(e) => OciError::into_response(e),
    }
}

/// How many names are wanted, at most a page.
fn page(node: &Node, query: &Query<'_>) -> Result<usize, OciError> {
    let most = node.parts.oci.max_page;
    let Some(text) = query.get("n") else { return Ok(most) };
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits {
        return Err(OciError::new(
            Code::PaginationNumberInvalid,
            format!("`{}` is not a number of names", clip(&text)),
        ));
    }
    Ok(text.parse().unwrap_or(most).min(most))
}

fn listed(path: &str, names: &Names, limit: usize, body: &serde_json::Value) -> Response<Body> {
    let response = answer::json(StatusCode::OK, body);
    match names.names.last().filter(|_| names.more) {
        // RFC 8288; names need no escapes in a query.
        Some(last) => {
            let next = format!("<{path}?n={limit}&last={last}>; rel=\"next\"");
            answer::with(response, header::LINK, value(&next))
        }
        None => response,
    }
}
