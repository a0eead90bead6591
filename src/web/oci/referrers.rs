//! `referrers/<digest>`: what refers to a manifest, as an index (distribution-spec, "Listing Referrers").

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, header};
use serde::Serialize;

use super::error::OciError;
use super::query::Query;
use super::{access, value};
use crate::auth::Access;
use crate::model::digest::Digest;
use crate::model::repository::Repository;
use crate::registry::{Descriptor, RegistryError};
use crate::web::Node;
use crate::web::caller::Caller;

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Clients need not take an index of more than 4 MiB: behind this many bytes of descriptors a new page begins.
const PAGE_BYTES: usize = 2 << 20;

/// What is not counted: as much as any other answer's head and body.
const SMALL: usize = 16 << 10;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u8,
    media_type: &'static str,
    manifests: &'a [Descriptor],
}

/// `GET`: an empty index where nothing refers to the subject, also where there is no such subject.
pub async fn get(node: &Node, caller: &Caller, repository: &Repository, subject: &Digest) -> Response<Body> {
    if let Err(refusal) = access::admit(node, caller, repository, Access::Read).await {
        return refusal;
    }
    let query = Query::of(caller.uri());
    let filter = query.get("artifactType").filter(|text| !text.is_empty());
    let outcome = async {
        let last = match query.get("last") {
            Some(text) => Some(Digest::parse(&text).ok_or_else(|| OciError::digest(&text))?),
            None => None,
        };
        let registry = &node.parts.registry;
        let page = registry.referrers(repository, subject, last.as_ref(), filter.as_deref(), PAGE_BYTES).await;
        page.map_err(OciError::from)
    };
    let page = match outcome.await {
        Ok(page) => page,
        Err(e) => return e.into_response(),
    };
    let index = Index { schema_version: 2, media_type: INDEX, manifests: &page.descriptors };
    // Serialising strings and numbers cannot fail.
    let index = serde_json::to_vec(&index).unwrap_or_default();
    let cache = node.parts.registry.cache();
    let paid = if index.len() <= SMALL { None } else { cache.reserve_more(index.len()) };
    let body = match paid {
        Some(permit) => Body::from(permit.guard(index)),
        None if index.len() <= SMALL => Body::from(index),
        None => return OciError::from(RegistryError::Unavailable).into_response(),
    };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(INDEX));
    if filter.is_some() {
        headers.insert(FILTERS_APPLIED, HeaderValue::from_static("artifactType"));
    }
    if let Some(next) = page.next {
        let mut pairs = form_urlencoded::Serializer::new(String::new());
        if let Some(filter) = &filter {
            pairs.append_pair("artifactType", filter);
        }
        pairs.append_pair("last", next.as_str());
        let link = format!("</v2/{repository}/referrers/{subject}?{}>; rel=\"next\"", pairs.finish());
        headers.insert(header::LINK, value(&link));
    }
    response
}
