//! A body on its way in: in memory up to 1 MiB while there is room, else spooled into a payload as it arrives.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::timeout;

use super::Cache;
use super::budget::{FLOOR, LARGEST_PIECE, Permit};
use super::error::WriteError;
use super::gather::Gather;
use super::hot::Known;
use super::record::{Record, SMALL};
use crate::clock::new_ulid;
use crate::model::INLINE;
use crate::model::metadata::Task;
use crate::model::object::ObjectKey;
use crate::model::record::{Header, Payload, Writer};
use crate::model::sums::{Sums, SumsBuilder};
use crate::store::{PayloadWriter, When};

/// What goes into a record beside the body.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// Who wrote it.
    pub writer: Writer,
    /// What METADATA told.
    pub task: Option<Task>,
}

/// A body that is being received. Dropped before it is committed, it leaves nothing.
pub struct Upload {
    cache: Arc<Cache>,
    key: ObjectKey,
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
    },
    Spooled(Spool),
    /// An error ended it.
    Failed,
}

struct Spool {
    writer: Box<dyn PayloadWriter>,
    payload: ObjectKey,
    sums: SumsBuilder,
    pending: Gather,
    /// How much is gathered before it is written: the floor, or more while memory allows.
    piece: usize,
    extra: Option<Permit>,
    _floor: Permit,
}

impl Cache {
    /// Begins to receive the body of a record. `declared` is its length where the client told it.
    ///
    /// # Errors
    /// [`WriteError::Unavailable`] when there is no memory for it within the write deadline, or the store has
    /// failed repeatedly.
    pub async fn upload(self: &Arc<Self>, key: ObjectKey, declared: Option<u64>) -> Result<Upload, WriteError> {
        if !self.writes.admits() {
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
                State::Gathered { parts: Gather::default(), sums: SumsBuilder::default(), room: room as u64, permit }
            }
        };
        Ok(Upload { cache: Arc::clone(self), key, state, size: 0 })
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
        spool.sums.update(&bytes);
        spool.pending.push(bytes);
        if spool.pending.bytes() >= spool.piece {
            spool.flush(&self.cache).await?;
        }
        Ok(())
    }

    /// Goes on in a payload of the store: the body is too large for memory.
    async fn spool(&mut self) -> Result<(), WriteError> {
        let payload = self.key.beside(new_ulid());
        let writer = self.cache.writing(self.cache.store.create(&payload)).await?;
        let (pending, sums, permit) = match std::mem::replace(&mut self.state, State::Failed) {
            State::Gathered { parts, sums, permit, .. } => (parts, sums, permit),
            // More than was declared: HTTP does not let that happen.
            State::Small { .. } | State::Spooled(_) | State::Failed => return Err(WriteError::Unavailable),
        };
        let mut spool = Spool { writer, payload, sums, pending, piece: FLOOR, extra: None, _floor: permit };
        spool.flush(&self.cache).await?;
        self.state = State::Spooled(spool);
        Ok(())
    }

    /// Makes the record appear with this body, whole. Once begun it is carried to its end, also when the caller goes
    /// away: the client may have sent everything and be gone.
    ///
    /// Gives whether memory knew the key with other bytes.
    ///
    /// # Errors
    /// [`WriteError`]; the record is then what it was before, or, after [`WriteError::Unavailable`], perhaps this.
    pub async fn commit(self, commit: Commit) -> Result<bool, WriteError> {
        let deadline = self.cache.settings.write_deadline;
        let task = tokio::spawn(self.finish(commit));
        // The steps have deadlines of their own; the client has one for all of them.
        timeout(deadline, task)
            .await
            .map_or(Err(WriteError::Unavailable), |done| done.unwrap_or(Err(WriteError::Unavailable)))
    }

    async fn finish(self, commit: Commit) -> Result<bool, WriteError> {
        let Self { cache, key, state, size } = self;
        let durability = cache.settings.durability;
        let mut small = None;
        let (mut header, body, payload) = match state {
            State::Small { buffer, permit } => {
                let header = Header::new(size, Sums::of(&buffer));
                let body = permit.guard(buffer);
                small = Some(body.clone());
                (header, vec![body], None)
            }
            State::Gathered { mut parts, sums, permit, .. } => {
                let mut parts = parts.take();
                // A write that hangs keeps what it was given, and the permit with it.
                if let Some(first) = parts.first_mut() {
                    *first = permit.guard(std::mem::take(first));
                }
                (Header::new(size, sums.finish()), parts, None)
            }
            State::Spooled(mut spool) => {
                spool.flush(&cache).await?;
                cache.writing(spool.writer.finish(durability)).await?;
                let mut header = Header::new(size, spool.sums.finish());
                header.payloads.push(Payload { key: spool.payload.clone(), size });
                (header, Vec::new(), Some(spool.payload))
            }
            State::Failed => return Err(WriteError::Unavailable),
        };
        header.writer = commit.writer;
        header.task = commit.task;
        let differs = match cache.hot.get(&key) {
            Some(Known::Live(old)) => old.header.size != size || old.header.sums != header.sums,
            _ => false,
        };
        let encoded = Bytes::from(header.encode());
        let start = encoded.len() as u64;
        let parts = std::iter::once(encoded).chain(body).collect();
        let change = cache.hot.change(&key);
        match cache.writing(cache.store.write(&key, parts, When::Always, durability)).await {
            Ok(stamp) if cache.store.traits().keep_writes => {
                let room = |body: Bytes| Some(cache.hot.make_room(body.len())?.guard(body.to_vec()));
                let record = Record::new(key, header, start, stamp.tag, stamp.modified, small.and_then(room));
                change.finish(Known::Live(Arc::new(record)));
                Ok(differs)
            }
            Ok(_) => {
                change.finish_unknown();
                Ok(differs)
            }
            Err(error) => {
                change.finish_unknown();
                // Only what certainly no record names is removed here; the rest is the sweep's.
                if let (WriteError::NoSpace, Some(payload)) = (error, payload) {
                    let _ = cache.store.remove(&payload, When::Always).await;
                }
                Err(error)
            }
        }
    }
}

impl Spool {
    /// Writes what was gathered, and looks how much may be gathered next.
    async fn flush(&mut self, cache: &Cache) -> Result<(), WriteError> {
        if self.pending.bytes() > 0 {
            cache.writing(self.writer.append(self.pending.take())).await?;
        }
        self.extra = None;
        self.extra = cache.transfers.try_extra(LARGEST_PIECE - FLOOR);
        self.piece = if self.extra.is_some() { LARGEST_PIECE } else { FLOOR };
        Ok(())
    }
}
