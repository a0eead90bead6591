//! A body on its way out: chunks from memory where it has them, else pieces read for this one reader.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::Semaphore;
use xxhash_rust::xxh3::Xxh3;

use super::Cache;
use super::budget::{FLOOR, LARGEST_PIECE, Permit};
use super::chunks::Loaded;
use super::error::ReadError;
use super::record::{ChunkPlace, Record};
use super::verify::Readers;
use crate::store::Reader;

/// A reader that asks for the next piece within this time has drained the last one quickly, and earns a larger one.
const QUICK: Duration = Duration::from_millis(50);

/// Between two tries to read on.
const PAUSE: Duration = Duration::from_millis(250);

/// The rest of a body that was checked as a whole.
pub struct Pieces {
    cache: Arc<Cache>,
    record: Arc<Record>,
    readers: Readers,
    next_chunk: usize,
    partial: Option<Partial>,
    floor: Option<Floor>,
    piece: usize,
    last_given: Option<Instant>,
}

/// A chunk that is read piece by piece because memory had no room for it.
struct Partial {
    reader: Arc<dyn Reader>,
    place: ChunkPlace,
    done: usize,
    hash: Box<Xxh3>,
}

/// The 64 KiB that a stream paid for when it began to read for itself. One piece at a time may use them.
struct Floor {
    turn: Arc<Semaphore>,
    permit: Arc<Permit>,
}

impl Pieces {
    pub(super) fn new(cache: Arc<Cache>, record: Arc<Record>, readers: Readers) -> Self {
        Self { cache, record, readers, next_chunk: 0, partial: None, floor: None, piece: FLOOR, last_given: None }
    }

    /// The next bytes; `None` at the end. After an error the body cannot be finished: the connection has to be
    /// closed, so that the client does not take what it has for the whole.
    ///
    /// A store that has a hiccup in the middle of a body is asked again for a while: Gradle waits 30 s between two
    /// bytes, and switches its cache off when a body breaks off.
    pub async fn next(&mut self) -> Option<Result<Bytes, ReadError>> {
        let begun = Instant::now();
        loop {
            match self.try_next().await {
                Some(Err(ReadError::Unavailable)) if begun.elapsed() < self.cache.settings.read_deadline * 2 => {
                    tokio::time::sleep(PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn try_next(&mut self) -> Option<Result<Bytes, ReadError>> {
        if self.partial.is_none() {
            if self.next_chunk >= self.record.chunks() {
                return None;
            }
            match self.cache.chunk(&self.record, self.next_chunk).await {
                Ok(Loaded::Chunk(chunk)) => {
                    self.next_chunk += 1;
                    return Some(Ok(chunk));
                }
                Ok(Loaded::NoRoom) => {
                    if let Err(e) = self.begin_partial().await {
                        return Some(Err(e));
                    }
                }
                Err(e) => return Some(Err(e)),
            }
        }
        Some(self.next_piece().await)
    }

    async fn begin_partial(&mut self) -> Result<(), ReadError> {
        let place = self.record.chunk(self.next_chunk).ok_or(ReadError::Corrupt)?;
        if self.floor.is_none() {
            // Whoever waits here holds nothing.
            let permit = self.cache.floor(FLOOR).await.map_err(|_| ReadError::Unavailable)?;
            self.floor = Some(Floor { turn: Arc::new(Semaphore::new(1)), permit: Arc::new(permit) });
        }
        let opened = self.readers.iter().find(|(object, _)| *object == place.object);
        let reader = match opened {
            Some((_, reader)) => Arc::clone(reader),
            None => self.cache.reading(self.cache.store.open(&place.object)).await?,
        };
        self.partial = Some(Partial { reader, place, done: 0, hash: Box::new(Xxh3::new()) });
        Ok(())
    }

    async fn next_piece(&mut self) -> Result<Bytes, ReadError> {
        let (Some(partial), Some(floor)) = (&mut self.partial, &self.floor) else { return Err(ReadError::Unavailable) };
        let quick = self.last_given.is_some_and(|given| given.elapsed() < QUICK);
        self.piece = if quick { (self.piece * 2).min(LARGEST_PIECE) } else { FLOOR };
        let left = partial.place.len - partial.done;
        let wanted = self.piece.min(left);
        let extra = if wanted > FLOOR { self.cache.transfers.try_extra(wanted) } else { None };
        let (len, owner) = match extra {
            Some(permit) => (wanted, Owner::Extra(permit)),
            None => {
                // The last piece may still be on its way out of the floor.
                let turn = Arc::clone(&floor.turn).acquire_owned().await.map_err(|_| ReadError::Unavailable)?;
                (left.min(FLOOR), Owner::Floor(turn, Arc::clone(&floor.permit)))
            }
        };
        let offset = partial.place.offset + partial.done as u64;
        let bytes = self.cache.reading(partial.reader.fill(offset, vec![0; len])).await?;
        partial.hash.update(&bytes);
        partial.done += len;
        if partial.done == partial.place.len {
            // Checked as a whole before; checked again, so that a chunk that went bad since is not completed.
            if self.record.header.sums.get(self.next_chunk) != Some(partial.hash.digest()) {
                return Err(ReadError::Corrupt);
            }
            self.partial = None;
            self.next_chunk += 1;
        }
        self.last_given = Some(Instant::now());
        Ok(Bytes::from_owner(Piece { bytes, _owner: owner }))
    }
}

/// What a piece in memory is paid from.
#[allow(dead_code)] // held, not read
enum Owner {
    Extra(Permit),
    Floor(tokio::sync::OwnedSemaphorePermit, Arc<Permit>),
}

struct Piece {
    bytes: Vec<u8>,
    _owner: Owner,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
