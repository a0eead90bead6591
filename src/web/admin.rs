//! The admin API.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode};
use serde_json::json;

use super::caller::Caller;
use super::{Node, answer};
use crate::auth::{Access, Target};

/// `GET /api/v1/misses`: the last lookups that missed, the newest first.
pub async fn misses(State(node): State<Arc<Node>>, request: Request<Body>) -> Response<Body> {
    if let Err(refusal) = admin_only(&node, &Caller::of(request)).await {
        return refusal;
    }
    answer::json(StatusCode::OK, &json!({ "misses": node.misses.all() }))
}

/// Lets admins of everything pass.
async fn admin_only(node: &Node, caller: &Caller) -> Result<(), Response<Body>> {
    let identity = caller.identify(node).await?;
    if identity.may(Access::Admin, Target::Node) {
        Ok(())
    } else if identity.is_anonymous() {
        Err(caller.challenge(node))
    } else {
        let message = "this needs a user with an admin grant over everything, such as \"gradle:**=admin\"";
        Err(answer::api_error(StatusCode::FORBIDDEN, message))
    }
}
