//! Chunks of bodies: one read and one check for all who want the same one.

use std::sync::Arc;

use bytes::Bytes;

use super::Cache;
use super::error::ReadError;
use super::record::Record;

/// The outcome of loading a chunk.
#[derive(Debug, Clone)]
pub enum Loaded {
    /// Here it is, checked.
    Chunk(Bytes),
    /// Readers hold the memory: it has to be read piece by piece.
    NoRoom,
}

impl Cache {
    /// Chunk `index` of a record's body, from memory or by one flight to the store.
    pub(super) async fn chunk(self: &Arc<Self>, record: &Arc<Record>, index: usize) -> Result<Loaded, ReadError> {
        let place = record.chunk(index).ok_or(ReadError::Corrupt)?;
        let id = place.id;
        if let Some(chunk) = self.hot.chunk(id) {
            return Ok(Loaded::Chunk(chunk));
        }
        let (cache, record) = (Arc::clone(self), Arc::clone(record));
        let loaded = self.chunk_flights.join(&id, || async move {
            let Some(permit) = cache.hot.make_room(place.len) else { return Ok(Loaded::NoRoom) };
            let read = async {
                let reader = cache.store.open(&place.object).await?;
                reader.fill(place.offset, vec![0; place.len]).await
            };
            let bytes = cache.reading(read).await?;
            if !record.header.sums.holds(index, &bytes) {
                return Err(ReadError::Corrupt);
            }
            let chunk = permit.guard(bytes);
            cache.hot.keep_chunk(id, chunk.clone());
            Ok(Loaded::Chunk(chunk))
        });
        loaded.await.unwrap_or(Err(ReadError::Unavailable))
    }
}
