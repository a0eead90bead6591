//! Bodies on their way out of the cache into an answer.

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};

use crate::cache::{self, Pieces};

/// The body of an answer.
pub fn send(body: cache::Body) -> Body {
    match body {
        cache::Body::Whole(bytes) => Body::from(bytes),
        cache::Body::Stream(pieces) => Body::from_stream(stream::unfold(Some(pieces), next_piece)),
    }
}

/// Several parts of one body, each after some text; text goes behind the last, too.
pub fn send_parts(parts: Vec<(Bytes, cache::Body)>, end: Bytes) -> Body {
    let parts = parts.into_iter().map(|(text, part)| {
        let text = stream::iter([Ok(text)]);
        let part = match part {
            cache::Body::Whole(bytes) => stream::iter([Ok(bytes)]).left_stream(),
            cache::Body::Stream(pieces) => stream::unfold(Some(pieces), next_piece).right_stream(),
        };
        text.chain(part)
    });
    Body::from_stream(stream::iter(parts.collect::<Vec<_>>()).flatten().chain(stream::iter([Ok(end)])))
}

/// An error ends the stream, and with it the connection.
async fn next_piece(pieces: Option<Box<Pieces>>) -> Option<(Result<Bytes, cache::ReadError>, Option<Box<Pieces>>)> {
    let mut pieces = pieces?;
    match pieces.next().await? {
        Ok(piece) => Some((Ok(piece), Some(pieces))),
        Err(e) => {
            tracing::error!(error = %e, "a body could not be finished; the connection is closed");
            Some((Err(e), None))
        }
    }
}
