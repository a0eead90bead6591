//! A body on its way out: chunks from memory where it has them, else pieces read for this one reader.

use std::ops::Range;
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

/// A body, or a part of it, from its first byte that was not given yet.
pub struct Pieces {
    cache: Arc<Cache>,
    record: Arc<Record>,
    readers: Readers,
    /// The body was checked as a whole: what does not come out of memory is read once.
    checked: bool,
    next_chunk: usize,
    /// Bytes of the next chunk that are not wanted.
    skip: usize,
    /// Bytes that are still wanted.
    left: u64,
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
    begin: usize,
    end: usize,
    hash: Box<Xxh3>,
}

/// The 64 KiB that a stream paid for when it began to read for itself. One piece at a time may use them.
struct Floor {
    turn: Arc<Semaphore>,
    permit: Arc<Permit>,
}

impl Pieces {
    /// The whole body of a record, which was checked through `readers` if it is not all in memory.
    pub(super) fn checked(cache: Arc<Cache>, record: Arc<Record>, readers: Readers) -> Self {
        let all = 0..record.header.size;
        Self { readers, checked: true, ..Self::of(cache, record, all) }
    }

    /// A part of a body, each chunk of which is checked before anything of it is given.
    pub(super) fn of(cache: Arc<Cache>, record: Arc<Record>, range: Range<u64>) -> Self {
        let (next_chunk, skip) = record.locate(range.start);
        Self {
            cache,
            record,
            readers: Vec::new(),
            checked: false,
            next_chunk,
            skip,
            left: range.end.saturating_sub(range.start),
            partial: None,
            floor: None,
            piece: FLOOR,
            last_given: None,
        }
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
                Some(Err(damage)) if damage != ReadError::Unavailable => {
                    // Whoever asks next is told of a miss.
                    return Some(Err(self.cache.condemn(&self.record, damage).await));
                }
                outcome => return outcome,
            }
        }
    }

    /// Checks what comes first, so that most damage shows before an answer has begun.
    pub(super) async fn peek(&mut self) -> Result<Loaded, ReadError> {
        let loaded = self.cache.chunk(&self.record, self.next_chunk).await?;
        if let Loaded::NoRoom = loaded {
            self.begin_partial().await?;
        }
        Ok(loaded)
    }

    async fn try_next(&mut self) -> Option<Result<Bytes, ReadError>> {
        if self.partial.is_none() {
            if self.left == 0 {
                return None;
            }
            match self.cache.chunk(&self.record, self.next_chunk).await {
                Ok(Loaded::Chunk(chunk)) => {
                    let skip = std::mem::take(&mut self.skip).min(chunk.len());
                    let end = usize::try_from(self.left).unwrap_or(usize::MAX).saturating_add(skip).min(chunk.len());
                    self.left -= (end - skip) as u64;
                    self.next_chunk += 1;
                    let wanted = skip..end;
                    return Some(Ok(if wanted.len() == chunk.len() { chunk } else { chunk.slice(wanted) }));
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
        let skip = std::mem::take(&mut self.skip).min(place.len);
        let end = usize::try_from(self.left).unwrap_or(usize::MAX).saturating_add(skip).min(place.len);
        if !self.checked {
            let sum = self.record.header.sums.get(self.next_chunk);
            let range = place.offset..place.offset + place.len as u64;
            let (mut hash, mut seen, len) = (Xxh3::new(), 0, place.len);
            let check = move |piece: &[u8]| {
                hash.update(piece);
                seen += piece.len();
                seen < len || sum == Some(hash.digest())
            };
            if !self.cache.reading(reader.scan(range, Box::new(check))).await? {
                return Err(ReadError::Corrupt);
            }
        }
        self.partial = Some(Partial { reader, place, done: skip, begin: skip, end, hash: Box::new(Xxh3::new()) });
        Ok(())
    }

    async fn next_piece(&mut self) -> Result<Bytes, ReadError> {
        let (Some(partial), Some(floor)) = (&mut self.partial, &self.floor) else { return Err(ReadError::Unavailable) };
        let quick = self.last_given.is_some_and(|given| given.elapsed() < QUICK);
        self.piece = if quick { (self.piece * 2).min(LARGEST_PIECE) } else { FLOOR };
        let left = partial.end - partial.done;
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
        self.left = self.left.saturating_sub(len as u64);
        if partial.done == partial.end {
            // Checked before; checked again, so that a chunk that went bad since is not completed.
            let whole = partial.begin == 0 && partial.end == partial.place.len;
            if whole && self.record.header.sums.get(self.next_chunk) != Some(partial.hash.digest()) {
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
