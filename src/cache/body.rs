//! The body of a record, checked before any of it is given out.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::Cache;
use super::chunks::Loaded;
use super::error::ReadError;
use super::pieces::Pieces;
use super::record::Record;

/// Bytes to send.
pub enum Body {
    /// All of them.
    Whole(Bytes),
    /// Piece by piece.
    Stream(Box<Pieces>),
}

impl Cache {
    /// Opens a record's body. Every byte was checked when this returns; a body of several chunks that are not all in
    /// memory is read through first.
    ///
    /// # Errors
    /// [`ReadError`]; the record is then not to be served.
    pub(super) async fn body(self: &Arc<Self>, record: &Arc<Record>) -> Result<Body, ReadError> {
        if let Some(body) = record.body() {
            return Ok(Body::Whole(body.clone()));
        }
        let readers = match record.chunks() {
            0 => return Ok(Body::Whole(Bytes::new())),
            1 => {
                self.admit(record)?;
                if let Loaded::Chunk(chunk) = self.chunk(record, 0).await? {
                    return Ok(Body::Whole(chunk));
                }
                self.verify(record).await?
            }
            chunks => {
                if !(0..chunks).all(|index| self.has_chunk(record, index)) {
                    self.admit(record)?;
                    self.verify(record).await?
                } else {
                    Vec::new()
                }
            }
        };
        Ok(Body::Stream(Box::new(Pieces::checked(Arc::clone(self), Arc::clone(record), readers))))
    }

    /// Opens a part of a record's body, each chunk of which is checked before anything of it is given. Damage in the
    /// first chunk shows here, damage further on ends the body early.
    ///
    /// # Errors
    /// [`ReadError`]; what is damaged was marked so, and [`ReadError::Replaced`] asks to look again.
    pub async fn stream(self: &Arc<Self>, record: &Arc<Record>, range: Range<u64>) -> Result<Body, ReadError> {
        if let Some(body) = record.body() {
            let index = |n| usize::try_from(n).unwrap_or(usize::MAX);
            let (start, end) = (index(range.start).min(body.len()), index(range.end).min(body.len()));
            let whole = start == 0 && end == body.len();
            return Ok(Body::Whole(if whole { body.clone() } else { body.slice(start..end) }));
        }
        if range.is_empty() || record.chunks() == 0 {
            return Ok(Body::Whole(Bytes::new()));
        }
        let (first, skip) = record.locate(range.start);
        if !self.has_chunk(record, first) && !self.reads.admits() {
            return Err(ReadError::Unavailable);
        }
        let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut pieces = Pieces::of(Arc::clone(self), Arc::clone(record), range);
        match pieces.peek().await {
            Ok(Loaded::Chunk(chunk)) if skip.saturating_add(wanted) <= chunk.len() => {
                Ok(Body::Whole(chunk.slice(skip..skip + wanted)))
            }
            Ok(_) => Ok(Body::Stream(Box::new(pieces))),
            Err(damage) => Err(self.condemn(record, damage).await),
        }
    }

    /// A part of a body that is opened when it is its turn: nothing of it is checked or paid for yet.
    pub fn stream_later(self: &Arc<Self>, record: &Arc<Record>, range: Range<u64>) -> Body {
        Body::Stream(Box::new(Pieces::of(Arc::clone(self), Arc::clone(record), range)))
    }

    fn has_chunk(&self, record: &Record, index: usize) -> bool {
        record.chunk(index).is_some_and(|place| self.hot.chunk(place.id).is_some())
    }

    /// Says no while the store is left alone. A body that has begun to go out is not asked: it would break off.
    fn admit(&self, record: &Record) -> Result<(), ReadError> {
        let in_memory = record.chunks() == 1 && self.has_chunk(record, 0);
        if in_memory || self.reads.admits() { Ok(()) } else { Err(ReadError::Unavailable) }
    }
}
