//! `GET /v2/token`: a token for whoever shows credentials, and for those who have none where pulls are open.

use axum::body::Body;
use axum::http::{Response, StatusCode, header};
use serde_json::json;

use super::access;
use crate::web::caller::Caller;
use crate::web::{Node, answer};

/// The answer is the Token Authentication Specification's. `scope` is not looked at: a token says who asks, and what
/// they may do is decided with each request.
pub async fn get(node: &Node, caller: &Caller) -> Response<Body> {
    // A token is no password: it does not make another one.
    if caller.header(&header::AUTHORIZATION).is_some_and(|value| !value.to_ascii_lowercase().starts_with("basic ")) {
        return access::challenge(node, caller, None, "ask with a name and a password, or with nothing");
    }
    let identity = match access::identify(node, caller, None).await {
        Ok(identity) => identity,
        Err(refusal) => return refusal,
    };
    let good_for = node.parts.oci.token_ttl.0;
    let token = node.parts.auth.issue(&identity, good_for);
    let answer = json!({ "token": token, "access_token": token, "expires_in": good_for.as_secs() });
    answer::json(StatusCode::OK, &answer)
}
