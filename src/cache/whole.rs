//! What has to be in memory as a whole: manifests and the small bodies of records, paid for before they are there.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Cache;
use super::budget::{FLOOR, Permit};
use super::error::{ReadError, WriteError};
use super::record::Record;
use crate::model::INLINE;

/// Between two looks whether there is memory.
const ROOM_PAUSE: Duration = Duration::from_millis(20);

impl Cache {
    /// Memory for the beginning of something that has to be in memory as a whole: at most a floor is waited for.
    ///
    /// # Errors
    /// [`WriteError::Unavailable`] when there is none within the write deadline.
    pub async fn reserve(&self, bytes: usize) -> Result<Permit, WriteError> {
        self.floor(bytes.min(FLOOR)).await
    }

    /// More of it, if it is free now: whoever holds some does not wait.
    pub fn reserve_more(&self, bytes: usize) -> Option<Permit> {
        self.transfers.try_take(bytes).or_else(|| self.hot.make_room(bytes))
    }

    /// The checked body of a record that carries it in itself, as a whole; what it takes in memory is paid for first.
    ///
    /// # Errors
    /// [`ReadError`]; what is damaged was marked so, and [`ReadError::Replaced`] asks to look again.
    pub async fn inline(self: &Arc<Self>, record: &Arc<Record>) -> Result<Bytes, ReadError> {
        if let Some(body) = record.body() {
            return Ok(body.clone());
        }
        let Some(first) = record.chunk(0) else { return Ok(Bytes::new()) };
        let kept = self.hot.chunk(first.id).filter(|chunk| chunk.len() as u64 == record.header.size);
        if let Some(chunk) = kept {
            return Ok(chunk);
        }
        if !self.reads.admits() {
            return Err(ReadError::Unavailable);
        }
        let size = usize::try_from(record.header.size).map_err(|_| ReadError::Corrupt)?;
        // What the hot memory pays for and is one chunk stays there.
        let (permit, keeps) = match self.hot.make_room(size) {
            Some(permit) => (permit, size as u64 <= INLINE),
            None => (self.room(size).await?, false),
        };
        let read = async {
            let reader = self.store.open(record.key()).await?;
            reader.fill(first.offset, vec![0; size]).await
        };
        let bytes = match self.reading(read).await {
            Ok(bytes) => bytes,
            Err(damage) => return Err(self.condemn(record, damage).await),
        };
        let holds = |(index, chunk): (usize, &[u8])| record.header.sums.holds(index, chunk);
        if !bytes.chunks(INLINE as usize).enumerate().all(holds) {
            return Err(self.condemn(record, ReadError::Corrupt).await);
        }
        let bytes = permit.guard(bytes);
        if keeps {
            self.hot.keep_chunk(first.id, bytes.clone());
        }
        Ok(bytes)
    }

    /// Memory for this many bytes, at most a floor of which is queued for: who waits for more would keep those behind
    /// waiting, too.
    async fn room(&self, bytes: usize) -> Result<Permit, ReadError> {
        if bytes <= FLOOR {
            return self.floor(bytes).await.map_err(|_| ReadError::Unavailable);
        }
        let until = Instant::now() + self.settings.lookup_deadline;
        loop {
            match self.transfers.try_take(bytes) {
                Some(permit) => return Ok(permit),
                None if Instant::now() >= until => return Err(ReadError::Unavailable),
                None => tokio::time::sleep(ROOM_PAUSE).await,
            }
        }
    }
}
