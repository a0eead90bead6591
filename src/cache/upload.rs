//! A body on its way in: in memory up to 1 MiB while there is room, else spooled into a payload as it arrives.

use std::sync::Arc;

use bytes::Bytes;

use super::Cache;
use super::budget::{FLOOR, Permit};
use super::error::WriteError;
use super::gather::Gather;
use super::record::SMALL;
use super::spool::Spool;
use crate::clock::new_ulid;
use crate::model::INLINE;
use crate::model::object::ObjectKey;
use crate::model::record::{Header, Payload};
use crate::model::sums::{Sums, SumsBuilder};
use crate::store::Durability;

/// Where the payload of a body goes that is too large for its record.
#[derive(Debug, Clone)]
pub enum Place {
    /// Beside the record with this key.
    Beside(ObjectKey),
    /// Under this key, which was never used before.
    At(ObjectKey),
}

/// A body that is being received. Dropped before it is finished, it leaves nothing.
pub struct Upload {
    cache: Arc<Cache>,
    place: Place,
    durability: Durability,
    state: State,
    size: u64,
}

enum State {
    /// A small body in one buffer.
    Small {
        buffer: Vec<u8>,
        permit: Permit,
    },
    /// A larger one in the buffers that it came in, for as long as it fits into what was paid for.
    Gathered {
        parts: Gather,
        sums: SumsBuilder,
        room: u64,
        permit: Permit,
        more: Option<Permit>,
    },
    Spooled(Spool),
    /// An error ended it.
    Failed,
}

/// A body that was received whole.
pub struct Received {
    /// Its length in bytes.
    pub size: u64,
    /// Its checksums.
    pub sums: Sums,
    /// The body, where it is to be written with its record. Carries what pays for it.
    pub inline: Vec<Bytes>,
    /// The payload that holds the body, where it was too large.
    pub payload: Option<ObjectKey>,
}

impl Received {
    /// A fresh header for a record with this body.
    pub fn header(&self) -> Header {
        let mut header = Header::new(self.size, self.sums.clone());
        header.payloads.extend(self.payload.clone().map(|key| Payload { key, size: self.size }));
        header
    }
}

impl Received {
    /// Writes a body that would go into its record into a payload after all.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn into_payload(
        mut self,
        cache: &Cache,
        key: ObjectKey,
        durability: Durability,
    ) -> Result<Self, WriteError> {
        if self.payload.is_none() {
            let mut writer = cache.writing(cache.store.create(&key, durability)).await?;
            cache.writing(writer.append(std::mem::take(&mut self.inline))).await?;
            cache.writing(writer.finish()).await?;
            self.payload = Some(key);
        }
        Ok(self)
    }
}

impl Cache {
    /// Begins to receive a body. `declared` is its length where the client told it.
    ///
    /// # Errors
    /// [`WriteError::Unavailable`] when there is no memory for it within the write deadline, or the store has
    /// failed repeatedly.
    pub async fn upload(
        self: &Arc<Self>,
        place: Place,
        declared: Option<u64>,
        durability: Durability,
    ) -> Result<Upload, WriteError> {
        // The trial is for whoever asks the store first; here nothing is asked yet.
        if !self.writes.would_admit() {
            return Err(WriteError::Unavailable);
        }
        let known = declared.and_then(|size| usize::try_from(size).ok());
        let state = match known {
            Some(size) if size <= SMALL => {
                State::Small { buffer: Vec::with_capacity(size), permit: self.floor(size).await? }
            }
            _ => {
                let whole = known.filter(|&size| size as u64 <= INLINE);
                let (room, permit) = match whole.and_then(|size| Some((size, self.transfers.try_extra(size)?))) {
                    Some(paid) => paid,
                    None => (FLOOR, self.floor(FLOOR).await?),
                };
                let (parts, sums) = (Gather::default(), SumsBuilder::default());
                State::Gathered { parts, sums, room: room as u64, permit, more: None }
            }
        };
        Ok(Upload { cache: Arc::clone(self), place, durability, state, size: 0 })
    }
}

impl Upload {
    /// Bytes received so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next bytes of the body.
    ///
    /// # Errors
    /// [`WriteError`]; nothing of the body will be kept.
    pub async fn push(&mut self, bytes: Bytes) -> Result<(), WriteError> {
        self.size += bytes.len() as u64;
        if let State::Gathered { room, more, .. } = &mut self.state
            && self.size > *room
            && self.size <= INLINE
            && more.is_none()
        {
            // Of unknown length, and longer than the floor: perhaps it still fits into its record.
            *more = self.cache.transfers.try_extra(INLINE as usize - FLOOR);
            *room = if more.is_some() { INLINE } else { *room };
        }
        match &mut self.state {
            State::Small { buffer, .. } if self.size <= buffer.capacity() as u64 => {
                buffer.extend_from_slice(&bytes);
                return Ok(());
            }
            State::Gathered { parts, sums, room, .. } if self.size <= *room => {
                sums.update(&bytes);
                parts.push(bytes);
                return Ok(());
            }
            State::Spooled(_) => {}
            State::Small { .. } | State::Gathered { .. } => self.spool().await?,
            State::Failed => return Err(WriteError::Unavailable),
        }
        let State::Spooled(spool) = &mut self.state else { return Err(WriteError::Unavailable) };
        spool.push(&self.cache, bytes).await
    }

    /// Goes on in a payload of the store: the body is too large for memory.
    async fn spool(&mut self) -> Result<(), WriteError> {
        let (pending, sums, paid) = match std::mem::replace(&mut self.state, State::Failed) {
            State::Gathered { parts, sums, permit, more, .. } => (parts, sums, (permit, more)),
            // More than was declared: HTTP does not let that happen.
            State::Small { .. } | State::Spooled(_) | State::Failed => return Err(WriteError::Unavailable),
        };
        let payload = match &self.place {
            Place::Beside(record) => record.beside(new_ulid()),
            Place::At(key) => key.clone(),
        };
        let spool = Spool::begin(&self.cache, payload, self.durability, pending, sums, paid).await?;
        self.state = State::Spooled(spool);
        Ok(())
    }

    /// Ends the body. Where it has a payload, that is in the store now, and nobody names it yet.
    ///
    /// # Errors
    /// [`WriteError`]; nothing of the body is kept.
    pub async fn finish(self) -> Result<Received, WriteError> {
        let Self { cache, state, size, .. } = self;
        match state {
            State::Small { buffer, permit } => {
                let sums = Sums::of(&buffer);
                Ok(Received { size, sums, inline: vec![permit.guard(buffer)], payload: None })
            }
            State::Gathered { mut parts, sums, permit, more, .. } => {
                let mut inline = parts.take();
                // A write that hangs keeps what it was given, and the permits with it.
                if let Some(first) = inline.first_mut() {
                    let mut guarded = permit.guard(std::mem::take(first));
                    if let Some(more) = more {
                        guarded = more.guard(guarded);
                    }
                    *first = guarded;
                }
                Ok(Received { size, sums: sums.finish(), inline, payload: None })
            }
            State::Spooled(spool) => {
                let (payload, sums) = spool.finish(&cache).await?;
                Ok(Received { size, sums, inline: Vec::new(), payload: Some(payload) })
            }
            State::Failed => Err(WriteError::Unavailable),
        }
    }
}
