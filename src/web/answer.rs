//! Answers that are the same everywhere.

use std::any::Any;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use http_body::Body as _;
use http_body_util::BodyExt;
use tower_http::catch_panic::ResponseForPanic;

use super::Node;

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// An answer without a body.
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if status != StatusCode::NO_CONTENT {
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    response
}

/// An answer in plain text.
pub fn text(status: StatusCode, text: impl Into<String>) -> Response<Body> {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8")),
        (header::CACHE_CONTROL, NO_STORE),
    ];
    (status, headers, text.into()).into_response()
}

/// An answer in JSON.
pub fn json(status: StatusCode, value: &serde_json::Value) -> Response<Body> {
    let headers =
        [(header::CONTENT_TYPE, HeaderValue::from_static("application/json")), (header::CACHE_CONTROL, NO_STORE)];
    (status, headers, format!("{value:#}\n")).into_response()
}

/// An error of the admin API: what happened, and what to do next.
pub fn api_error(status: StatusCode, message: &str) -> Response<Body> {
    json(status, &serde_json::json!({ "error": message }))
}

/// 401 with the challenge that clients without preemptive credentials wait for (RFC 7617, section 2).
pub fn challenge() -> Response<Body> {
    let mut response = empty(StatusCode::UNAUTHORIZED);
    let basic = HeaderValue::from_static("Basic realm=\"larder\", charset=\"UTF-8\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
    response
}

/// Adds a header.
pub fn with(mut response: Response<Body>, name: HeaderName, value: HeaderValue) -> Response<Body> {
    response.headers_mut().insert(name, value);
    response
}

/// Tells the client, and the server, that this connection ends here: the request's body was not read.
pub fn closing(response: Response<Body>) -> Response<Body> {
    with(response, header::CONNECTION, HeaderValue::from_static("close"))
}

/// Reads a body to its end and gives the answer; of a body beyond `server.max_drain` the connection is closed.
pub async fn after_drain(node: &Node, mut body: Body, response: Response<Body>) -> Response<Body> {
    let limit = node.parts.max_drain.0;
    if body.size_hint().lower() > limit {
        return closing(response);
    }
    let mut drained = 0u64;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return closing(response) };
        drained += frame.data_ref().map_or(0, |data| data.len() as u64);
        if drained > limit {
            return closing(response);
        }
    }
    response
}

/// Whatever has no route. A store that comes here was meant for the cache, and its build goes on without one.
pub async fn no_such_page(State(node): State<Arc<Node>>, request: Request<Body>) -> Response<Body> {
    let path: String = request.uri().path().chars().take(200).collect();
    if *request.method() == Method::PUT
        && let Some(left_out) = node.log_limit.admits("no-cache-there")
    {
        let path = path.escape_debug();
        tracing::warn!(%path, left_out, "a store went where no cache is: the URL in a client's settings has to end with /cache/");
    }
    let answer = text(
        StatusCode::NOT_FOUND,
        format!("There is nothing at {path}. The build cache is at /cache/, figures are at / and at /metrics.\n"),
    );
    after_drain(&node, request.into_body(), answer).await
}

pub async fn wrong_method(method: Method) -> Response<Body> {
    let answer = text(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not possible here; use GET.\n"));
    with(answer, header::ALLOW, HeaderValue::from_static("GET, HEAD"))
}

/// Answers for a handler that panicked.
#[derive(Clone)]
pub struct OnPanic(pub Arc<Node>);

impl ResponseForPanic for OnPanic {
    type ResponseBody = Body;

    fn response_for_panic(&mut self, cause: Box<dyn Any + Send + 'static>) -> Response<Body> {
        count_panic(&self.0, cause.as_ref());
        closing(text(StatusCode::INTERNAL_SERVER_ERROR, "larder made a mistake; its log says more.\n"))
    }
}

/// Counts and logs a panic, once.
pub fn count_panic(node: &Node, cause: &(dyn Any + Send)) {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("no message");
    node.parts.metrics.panics.inc();
    tracing::error!(panic = text, "a request's handler panicked; please report it");
}
