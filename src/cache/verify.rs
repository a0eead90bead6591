//! Checking a whole body before the first byte of it is promised.

use std::sync::Arc;
use std::sync::Mutex;

use xxhash_rust::xxh3::Xxh3;

use super::Cache;
use super::error::ReadError;
use super::record::Record;
use crate::model::INLINE;

impl Cache {
    /// Reads the body through and checks every chunk, keeping none of it.
    ///
    /// A corrupt chunk in the middle of a long body would otherwise be found when the answer's head is sent, and a
    /// body that breaks off makes Gradle switch its cache off. From a file this costs a second read out of the page
    /// cache.
    pub(super) async fn verify(&self, record: &Arc<Record>) -> Result<(), ReadError> {
        let objects: Vec<_> = match record.header.payloads.as_slice() {
            [] => record.chunk(0).map(|place| (place.object, place.offset, record.header.size)).into_iter().collect(),
            payloads => payloads.iter().map(|p| (p.key.clone(), 0, p.size)).collect(),
        };
        let mut first = 0;
        for (object, offset, size) in objects {
            let checker = Arc::new(Mutex::new(Checker::new(Arc::clone(record), first, size)));
            let check = {
                let checker = Arc::clone(&checker);
                // Nothing else holds the lock; it only carries the checker through the blocking call.
                Box::new(move |piece: &[u8]| checker.lock().is_ok_and(|mut checker| checker.take(piece)))
            };
            let scan = async {
                let reader = self.store.open(&object).await?;
                reader.scan(offset..offset.saturating_add(size), check).await
            };
            if !self.reading(scan).await? {
                return Err(ReadError::Corrupt);
            }
            first += usize::try_from(size.div_ceil(INLINE)).unwrap_or(usize::MAX);
        }
        Ok(())
    }
}

/// Compares the chunks of one object with the record's sums as their bytes pass.
struct Checker {
    record: Arc<Record>,
    chunk: usize,
    left_of_object: u64,
    left_of_chunk: u64,
    hash: Box<Xxh3>,
}

impl Checker {
    fn new(record: Arc<Record>, chunk: usize, size: u64) -> Self {
        Self { record, chunk, left_of_object: size, left_of_chunk: size.min(INLINE), hash: Box::new(Xxh3::new()) }
    }

    fn take(&mut self, mut piece: &[u8]) -> bool {
        while !piece.is_empty() {
            let now = usize::try_from(self.left_of_chunk).unwrap_or(usize::MAX).min(piece.len());
            if now == 0 {
                return false; // more bytes than the record knows of
            }
            self.hash.update(&piece[..now]);
            self.left_of_chunk -= now as u64;
            self.left_of_object -= now as u64;
            piece = &piece[now..];
            if self.left_of_chunk == 0 {
                if self.record.header.sums.get(self.chunk) != Some(self.hash.digest()) {
                    return false;
                }
                self.hash.reset();
                self.chunk += 1;
                self.left_of_chunk = self.left_of_object.min(INLINE);
            }
        }
        true
    }
}
