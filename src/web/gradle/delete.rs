//! `DELETE`, for admins: one entry, which somebody knows to be wrong.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{Request, Response, StatusCode};

use super::entry;
use super::read::shown;
use crate::auth::{Access, Target};
use crate::web::{Node, answer, caller};

/// 204 when it is gone, 404 when it was not there.
pub async fn delete(State(node): State<Arc<Node>>, request: Request<Body>) -> Response<Body> {
    let request = request.map(drop);
    let Ok(identity) = caller::identify(&node, &request).await else { return answer::challenge() };
    let Some(name) = entry(&request) else { return answer::empty(StatusCode::NOT_FOUND) };
    if !identity.may(Access::Admin, Target::Gradle(name.namespace())) {
        if identity.is_anonymous() {
            return answer::challenge();
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
