//! A body that is too large for memory, on its way into a payload: one piece is written while the next is gathered.

use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::Cache;
use super::budget::{FLOOR, LARGEST_PIECE, Permit};
use super::error::WriteError;
use super::gather::Gather;
use crate::model::object::ObjectKey;
use crate::model::sums::{Sums, SumsBuilder};
use crate::store::{Durability, PayloadWriter};

/// A payload that is being written. Dropped before it is finished, it leaves nothing.
pub struct Spool {
    writer: Writer,
    payload: ObjectKey,
    sums: SumsBuilder,
    pending: Gather,
    /// How much is gathered before it is written: the floor, or more while memory allows.
    piece: usize,
    /// Pays for what is gathered beyond the floor.
    extra: Option<Permit>,
    _floor: Permit,
}

enum Writer {
    Idle(Box<dyn PayloadWriter>),
    /// A piece is on its way.
    Busy(JoinHandle<Result<Box<dyn PayloadWriter>, WriteError>>),
    Failed,
}

impl Spool {
    /// Begins a payload with what was gathered so far, and what pays for it: the floor, and more where it was more.
    pub(super) async fn begin(
        cache: &Arc<Cache>,
        payload: ObjectKey,
        durability: Durability,
        pending: Gather,
        sums: SumsBuilder,
        paid: (Permit, Option<Permit>),
    ) -> Result<Self, WriteError> {
        if !cache.writes.admits() {
            return Err(WriteError::Unavailable);
        }
        let writer = Writer::Idle(cache.writing(cache.store.create(&payload, durability)).await?);
        let mut spool = Self { writer, payload, sums, pending, piece: FLOOR, extra: paid.1, _floor: paid.0 };
        spool.flush(cache).await?;
        Ok(spool)
    }

    /// Takes the next bytes.
    pub(super) async fn push(&mut self, cache: &Arc<Cache>, bytes: Bytes) -> Result<(), WriteError> {
        self.sums.update(&bytes);
        self.pending.push(bytes);
        if self.pending.bytes() >= self.piece { self.flush(cache).await } else { Ok(()) }
    }

    /// Makes the payload appear; gives its key and its sums.
    pub(super) async fn finish(mut self, cache: &Arc<Cache>) -> Result<(ObjectKey, Sums), WriteError> {
        self.flush(cache).await?;
        let writer = self.idle().await?;
        cache.writing(writer.finish()).await?;
        Ok((self.payload, self.sums.finish()))
    }

    /// Hands what was gathered to the writer, and looks how much may be gathered next: while the piece is written if
    /// memory allows, else afterwards.
    async fn flush(&mut self, cache: &Arc<Cache>) -> Result<(), WriteError> {
        let mut writer = self.idle().await?;
        let (parts, paid) = (self.pending.take(), self.extra.take());
        self.writer = Writer::Busy(tokio::spawn({
            let cache = Arc::clone(cache);
            async move {
                if !parts.is_empty() {
                    cache.writing(writer.append(parts)).await?;
                }
                drop(paid);
                Ok(writer)
            }
        }));
        self.extra = cache.transfers.try_extra(LARGEST_PIECE);
        if self.extra.is_none() {
            // The floor pays for one piece at a time.
            let writer = self.idle().await?;
            self.writer = Writer::Idle(writer);
            self.extra = cache.transfers.try_extra(LARGEST_PIECE - FLOOR);
        }
        self.piece = if self.extra.is_some() { LARGEST_PIECE } else { FLOOR };
        Ok(())
    }

    async fn idle(&mut self) -> Result<Box<dyn PayloadWriter>, WriteError> {
        match std::mem::replace(&mut self.writer, Writer::Failed) {
            Writer::Idle(writer) => Ok(writer),
            Writer::Busy(writing) => writing.await.unwrap_or(Err(WriteError::Unavailable)),
            Writer::Failed => Err(WriteError::Unavailable),
        }
    }
}
