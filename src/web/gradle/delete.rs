//! `DELETE`, for admins: one entry, which somebody knows to be wrong.

use axum::body::Body;
use axum::http::{Response, StatusCode};

use super::entry;
use super::read::shown;
use crate::auth::{Access, Target};
use crate::web::caller::Caller;
use crate::web::{Node, answer};

/// 204 when it is gone, 404 when it was not there.
pub async fn delete(node: &Node, caller: &Caller) -> Response<Body> {
    let identity = match caller.identify(node).await {
        Ok(identity) => identity,
        Err(refusal) => return refusal,
    };
    let Some(name) = entry(caller) else { return answer::empty(StatusCode::NOT_FOUND) };
    if !identity.may(Access::Admin, Target::Gradle(name.namespace())) {
        if identity.is_anonymous() {
            return caller.challenge(node);
        }
        return answer::api_error(StatusCode::FORBIDDEN, "deleting needs an admin grant, such as \"gradle:**=admin\"");
    }
    match node.parts.cache.remove(&name.object()).await {
        Ok(true) => {
            tracing::info!(
                key = name.key(),
                namespace = name.namespace(),
                user = shown(&identity),
                "an entry was deleted"
            );
            answer::empty(StatusCode::NO_CONTENT)
        }
        Ok(false) => answer::api_error(StatusCode::NOT_FOUND, "there is no such entry"),
        Err(e) => {
            tracing::error!(error = %e, "an entry could not be deleted");
            answer::api_error(StatusCode::SERVICE_UNAVAILABLE, "the store cannot delete it now; try again")
        }
    }
}
