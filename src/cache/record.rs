//! A record as it is in memory: its header, where its body lies, and the body itself when it is small.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use ulid::Ulid;

use crate::model::INLINE;
use crate::model::facts::Facts;
use crate::model::object::ObjectKey;
use crate::model::record::Header;
use crate::store::Tag;

/// Bodies up to this size are kept with their record; larger ones as chunks.
pub const SMALL: usize = 64 << 10;

/// About what the registry's facts of a record take.
const FACTS: usize = 300;

/// A record; nearly always a live one.
#[derive(Debug)]
pub struct Record {
    key: ObjectKey,
    /// What the record says of itself.
    pub header: Header,
    /// Length of the header in the store: where an inline body begins.
    start: u64,
    tag: Tag,
    modified: u64,
    renewed: AtomicU64,
    vetted: AtomicU64,
    body: Option<Bytes>,
}

/// A chunk's name in memory: the id of the bytes it is cut from, which is never used twice, and its place in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChunkId(u128, u32);

impl ChunkId {
    /// Chunk `index` of a payload, or of the inline body of the record with this nonce.
    pub fn new(id: Ulid, index: u32) -> Self {
        Self(id.0, index)
    }
}

/// Where one chunk of a body lies.
#[derive(Debug, Clone)]
pub struct ChunkPlace {
    /// Its name in memory.
    pub id: ChunkId,
    /// The object that holds it.
    pub object: ObjectKey,
    /// Where in the object it begins.
    pub offset: u64,
    /// Its length.
    pub len: usize,
}

impl Record {
    /// A record with the length of its encoded header and, when it is small and was checked, its body.
    pub fn new(key: ObjectKey, header: Header, start: u64, tag: Tag, modified: u64, body: Option<Bytes>) -> Self {
        let (renewed, vetted) = (AtomicU64::new(modified), AtomicU64::new(u64::MAX));
        Self { key, header, start, tag, modified, renewed, vetted, body }
    }

    /// The same, with a promise that counts from when the manifest's children were looked at.
    pub fn counting_from_held(self) -> Self {
        if let Some(Facts::Manifest(facts)) = self.header.facts.as_deref() {
            self.renewed.fetch_min(facts.held, Ordering::Relaxed);
        }
        self
    }

    /// What would be read if a record with this header were there.
    pub fn unwritten(key: ObjectKey, header: Header) -> Self {
        Self::new(key, header, 0, Tag(String::new()), 0, None)
    }

    /// Its key.
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// Which write of the key it is.
    pub fn tag(&self) -> &Tag {
        &self.tag
    }

    /// When it was last written or renewed, by the store's clock, as it was when it was read.
    pub fn modified(&self) -> u64 {
        self.modified
    }

    /// What its promise counts from, as far as this process knows: the true renewal can only be later.
    pub fn renewed(&self) -> u64 {
        self.renewed.load(Ordering::Relaxed)
    }

    /// It was renewed, with a write that was sent at `sent` or later.
    pub fn set_renewed(&self, sent: u64) {
        self.renewed.fetch_max(sent, Ordering::Relaxed);
    }

    /// Whether what it names was looked at when the cache's [`super::Cache::damage`] was `damage`.
    pub fn is_vetted(&self, damage: u64) -> bool {
        self.vetted.load(Ordering::Relaxed) == damage
    }

    /// What it names was looked at, and is there.
    pub fn set_vetted(&self, damage: u64) {
        self.vetted.store(damage, Ordering::Relaxed);
    }

    /// The whole body, where it is small.
    pub fn body(&self) -> Option<&Bytes> {
        self.body.as_ref()
    }

    /// Says whether it was last renewed more than `age` before `now`, in milliseconds, and if so that the caller is
    /// the one to renew it.
    pub fn claim_renewal(&self, now: u64, age: u64) -> bool {
        let renewed = self.renewed.load(Ordering::Relaxed);
        now.saturating_sub(renewed) > age
            && self.renewed.compare_exchange(renewed, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// How many chunks the body has.
    pub fn chunks(&self) -> usize {
        self.header.sums.len()
    }

    /// Where chunk `index` lies; `None` past the end.
    pub fn chunk(&self, index: usize) -> Option<ChunkPlace> {
        let within = |object: &ObjectKey, id: Ulid, base: u64, size: u64, nth: usize| {
            let from = nth as u64 * INLINE;
            let len = usize::try_from(size.checked_sub(from)?.min(INLINE)).ok()?;
            (len > 0).then(|| ChunkPlace {
                id: ChunkId::new(id, u32::try_from(nth).unwrap_or(u32::MAX)),
                object: object.clone(),
                offset: base + from,
                len,
            })
        };
        if self.header.payloads.is_empty() {
            return within(&self.key, self.header.nonce.0, self.start, self.header.size, index);
        }
        let mut nth = index;
        for payload in &self.header.payloads {
            let chunks = usize::try_from(payload.size.div_ceil(INLINE)).unwrap_or(usize::MAX);
            if nth < chunks {
                return within(&payload.key, payload.key.payload_id()?, 0, payload.size, nth);
            }
            nth -= chunks;
        }
        None
    }

    /// The chunk in which this byte of the body lies, and how far into it.
    pub fn locate(&self, offset: u64) -> (usize, usize) {
        let index = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let (mut before, mut offset) = (0, offset);
        // Chunks begin anew with each payload.
        for payload in &self.header.payloads {
            if offset < payload.size {
                break;
            }
            before += payload.size.div_ceil(INLINE);
            offset -= payload.size;
        }
        (index(before + offset / INLINE), index(offset % INLINE))
    }

    /// Bytes that it holds in memory beside a fixed part.
    pub fn weight(&self) -> usize {
        let texts = &self.header.writer;
        self.body.as_ref().map_or(0, Bytes::len)
            + self.header.sums.len() * 8
            + self.header.payloads.iter().map(|p| p.key.as_str().len() + 64).sum::<usize>()
            + texts.user.len()
            + texts.address.len()
            + texts.agent.len()
            + self.header.task.as_ref().map_or(0, |task| task.path.len() + task.kind.len() + task.gradle.len())
            + self.header.facts.as_ref().map_or(0, |_| FACTS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::new_ulid;
    use crate::model::record::Payload;
    use crate::model::sums::Sums;

    #[test]
    fn chunks_of_several_payloads_are_found() {
        let key = ObjectKey::parse("blobs/sha256/aa/aabb").unwrap();
        let sizes = [INLINE + 5, 7, 2 * INLINE];
        let payloads: Vec<_> = sizes.iter().map(|&size| Payload { key: key.beside(new_ulid()), size }).collect();
        let total: u64 = sizes.iter().sum();
        let mut header = Header::new(total, Sums::of(&vec![0; 5 << 20]));
        header.payloads = payloads.clone();
        let record = Record::new(key, header, 300, Tag(String::new()), 0, None);
        let places: Vec<_> = (0..).map_while(|i| record.chunk(i)).collect();
        assert_eq!(places.iter().map(|p| p.len as u64).collect::<Vec<_>>(), [INLINE, 5, 7, INLINE, INLINE]);
        assert_eq!(places.iter().map(|p| p.offset).collect::<Vec<_>>(), [0, INLINE, 0, 0, INLINE]);
        assert_eq!(places[2].object, payloads[1].key);
        let at = [0, INLINE - 1, INLINE, INLINE + 4, INLINE + 5, INLINE + 12, 2 * INLINE + 12, total - 1];
        let located = [(0, 0), (0, 1048575), (1, 0), (1, 4), (2, 0), (3, 0), (4, 0), (4, 1048575)];
        assert_eq!(at.map(|offset| record.locate(offset)), located);
    }

    #[test]
    fn an_inline_body_begins_after_the_header() {
        let key = ObjectKey::parse("gradle/n/aa/aabb").unwrap();
        let record = Record::new(key.clone(), Header::new(10, Sums::of(&[0; 10])), 300, Tag(String::new()), 1000, None);
        let place = record.chunk(0).unwrap();
        assert_eq!((place.object, place.offset, place.len), (key, 300, 10));
        assert!(record.chunk(1).is_none());
        assert!(!record.claim_renewal(1500, 500));
        assert!(record.claim_renewal(1501, 500));
        assert!(!record.claim_renewal(1501, 500), "one renews for all");
    }
}
