//! `referrers/<digest>`: what refers to a manifest, as an index (distribution-spec, "Listing Referrers").

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, header};
use serde_json::json;

use super::error::OciError;
use super::query::Query;
use super::{access, value};
use crate::auth::Access;
use crate::model::digest::Digest;
use crate::model::repository::Repository;
use crate::web::Node;
use crate::web::caller::Caller;

const FILTERS_APPLIED: HeaderName = HeaderName::from_static("oci-filters-applied");
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Clients need not take an index of more than 4 MiB: behind this many bytes of descriptors a new page begins.
const PAGE_BYTES: usize = 2 << 20;

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
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": page.descriptors });
    let mut response = Response::new(Body::from(index.to_string()));
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
