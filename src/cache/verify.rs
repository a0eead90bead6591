//! Checking a whole body before the first byte of it is promised.

use std::sync::Arc;
use std::sync::Mutex;

use xxhash_rust::xxh3::Xxh3;

use super::Cache;
use super::error::ReadError;
use super::record::Record;
use crate::model::INLINE;
use crate::model::object::ObjectKey;
use crate::store::{Check, Reader};

/// Objects that are open, by their keys.
pub type Readers = Vec<(ObjectKey, Arc<dyn Reader>)>;

const SPAN: u64 = 16 << 20;

impl Cache {
    /// Reads the body through and checks every chunk, keeping none of it.
    ///
    /// A corrupt chunk in the middle of a long body would otherwise be found when the answer's head is sent, and a
    /// body that breaks off makes Gradle switch its cache off. From a file this costs a second read out of the page
    /// cache.
    ///
    /// Gives the objects that it opened: what is sent afterwards comes from the very bytes that were checked, also
    /// when the record is replaced meanwhile.
    pub(super) async fn verify(&self, record: &Arc<Record>) -> Result<Readers, ReadError> {
        let mut readers = Vec::new();
        let objects: Vec<_> = match record.header.payloads.as_slice() {
            [] => record.chunk(0).map(|place| (place.object, place.offset, record.header.size)).into_iter().collect(),
            payloads => payloads.iter().map(|p| (p.key.clone(), 0, p.size)).collect(),
        };
        let mut first = 0;
        for (object, offset, size) in objects {
            let checker = Arc::new(Mutex::new(Checker::new(Arc::clone(record), first, size)));
            let reader = self.reading(self.store.open(&object)).await?;
            let end = offset.saturating_add(size);
            // Each span has a deadline of its own, so that a large body on a slow disk is not taken for a failure.
            let mut at = offset;
            while at < end {
                let next = end.min(at + SPAN);
                if !self.reading(reader.scan(at..next, check(&checker))).await? {
                    return Err(ReadError::Corrupt);
                }
                at = next;
            }
            first += usize::try_from(size.div_ceil(INLINE)).unwrap_or(usize::MAX);
            readers.push((object, reader));
        }
        Ok(readers)
    }
}

/// Nothing else holds the lock; it only carries the checker through the blocking calls.
fn check(checker: &Arc<Mutex<Checker>>) -> Check {
    let checker = Arc::clone(checker);
    Box::new(move |piece: &[u8]| checker.lock().is_ok_and(|mut checker| checker.take(piece)))
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
