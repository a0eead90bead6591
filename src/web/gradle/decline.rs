//! Stores that are not kept: accepted from the client all the same, counted, and told to whoever reads the log.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};

use super::read::shown;
use crate::auth::Identity;
use crate::config::{Writes, units};
use crate::web::caller::{Caller, REQUEST_ID};
use crate::web::{Node, answer};

/// Names the reason in an answer.
pub const DECLINED: HeaderName = HeaderName::from_static("x-larder-declined");

/// Why an entry is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Not a key, or not a namespace.
    BadKey,
    /// Larger than `gradle.max_entry`.
    TooLarge,
    /// This user may only read.
    ReadOnly,
    /// The store is full.
    NoSpace,
    /// The store does not take it now.
    Unavailable,
    /// `gradle.inspect = "full"` found that it does not hold its own checks.
    Corrupt,
}

impl Reason {
    /// As it stands in the header, the counter and the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadKey => "bad-key",
            Self::TooLarge => "too-large",
            Self::ReadOnly => "read-only",
            Self::NoSpace => "no-space",
            Self::Unavailable => "unavailable",
            Self::Corrupt => "corrupt",
        }
    }

    /// The answer of `gradle.writes = "strict"`.
    const fn strict(self) -> StatusCode {
        match self {
            Self::BadKey | Self::Corrupt => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ReadOnly => StatusCode::FORBIDDEN,
            Self::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// What the operator may do about it.
    const fn advice(self) -> &'static str {
        match self {
            Self::BadKey => "look at the URL in the client's settings: it ends with /cache/ or /cache/<namespace>/",
            Self::TooLarge => "raise gradle.max_entry, or make the task's output smaller",
            Self::ReadOnly => "give the user a read-write grant, or set push = false in the build",
            Self::NoSpace => "make room in the store's file system",
            Self::Unavailable => "see the store's errors above",
            Self::Corrupt => "the entry was damaged on its way, or is not Gradle's",
        }
    }
}

/// A store that is not kept, with what is known of it.
pub struct Declined<'a> {
    /// Why.
    pub reason: Reason,
    /// The path's last part, as the client sent it.
    pub key: &'a str,
    /// Bytes, as far as known.
    pub size: u64,
    /// Who sent it.
    pub identity: &'a Identity,
}

/// Counts and logs a store that is not kept, reads what is left of its body, and answers.
///
/// An answer before the body was read is lost on a large one: the client sees a broken pipe, sends it again, and then
/// gives up.
pub async fn decline(node: &Node, declined: Declined<'_>, caller: &Caller, body: Body) -> Response<Body> {
    let reason = declined.reason.as_str();
    node.parts.metrics.declined.with_label_values(&[reason]).inc();
    let id = caller.request_id();
    if let Some(left_out) = node.log_limit.admits(reason) {
        tracing::warn!(
            reason,
            key = %declined.key.escape_debug(),
            size = %units::human_bytes(declined.size),
            limit = %node.parts.gradle.max_entry,
            user = shown(declined.identity),
            request = id,
            left_out,
            "a store was declined: {}",
            declined.reason.advice()
        );
    }
    let status = match node.parts.gradle.writes {
        Writes::Lenient => StatusCode::OK,
        Writes::Strict => declined.reason.strict(),
    };
    let response = answer::after_drain(node, body, answer::empty(status)).await;
    let response = answer::with(response, DECLINED, HeaderValue::from_static(reason));
    match HeaderValue::try_from(id) {
        Ok(id) => answer::with(response, REQUEST_ID, id),
        Err(_) => response,
    }
}

/// The answer to a store whose handler panicked. Its body is gone with the handler.
pub fn after_panic() -> Response<Body> {
    let response =
        answer::with(answer::empty(StatusCode::OK), DECLINED, HeaderValue::from_static(Reason::Unavailable.as_str()));
    answer::closing(response)
}
