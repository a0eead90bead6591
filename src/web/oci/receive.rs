//! Bodies on their way in: read frame by frame, and what their end means.

use std::ops::Range;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt;

use super::error::{Code, OciError};
use crate::registry::{Append, RegistryError};
use crate::web::{Node, answer};

/// Why a push came to nothing.
pub enum Stop {
    /// The client is told.
    Told(OciError),
    /// It broke off: nobody reads the answer.
    Broken,
}

impl From<OciError> for Stop {
    fn from(error: OciError) -> Self {
        Self::Told(error)
    }
}

impl From<RegistryError> for Stop {
    fn from(error: RegistryError) -> Self {
        Self::Told(error.into())
    }
}

/// The next bytes of a body; `None` at its end.
pub async fn next(body: &mut Body) -> Result<Option<Bytes>, Stop> {
    while let Some(frame) = body.frame().await {
        // Trailers carry nothing.
        if let Ok(data) = frame.map_err(|_| Stop::Broken)?.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Receives the bytes of a chunk or of a whole blob, as many as were declared and as the Content-Range says.
pub async fn receive(node: &Node, append: &mut Append, range: Option<Range<u64>>, body: &mut Body) -> Result<(), Stop> {
    let declared = body.size_hint().exact();
    while let Some(data) = next(body).await? {
        node.handles.oci_in.inc_by(data.len() as u64);
        append.push(data).await?;
    }
    let came = append.new_bytes();
    if declared.is_some_and(|declared| declared != came) {
        return Err(Stop::Broken);
    }
    if range.is_some_and(|range| range.end - range.start != came) {
        let message = format!("the Content-Range is not that of the {came} bytes that came");
        return Err(OciError::new(Code::SizeInvalid, message).into());
    }
    Ok(())
}

/// The answer to a push that came to nothing, after the rest of its body was read: a large body's early answer is lost.
pub async fn refuse(node: &Node, stop: Stop, body: Body) -> Response<Body> {
    match stop {
        Stop::Told(error) => answer::after_drain(node, body, error.into_response()).await,
        Stop::Broken => answer::closing(answer::empty(StatusCode::BAD_REQUEST)),
    }
}
