//! A store in memory, on object_store: for tests, and for a node that may forget everything (`memory://`).

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion,
};
use tokio::sync::Mutex;

use super::usage::Usage;
use super::{
    Check, Durability, Fetched, Listed, PayloadWriter, Reader, Space, Stamp, Store, StoreError, Tag, Traits, When,
    Write,
};
use crate::clock;
use crate::model::INLINE;
use crate::model::object::ObjectKey;

/// Objects in this process's memory, gone with it.
#[derive(Debug)]
pub struct MemoryStore {
    objects: Arc<InMemory>,
    usage: Arc<Usage>,
    /// InMemory cannot delete on a condition: writes and removals take turns.
    turn: Mutex<()>,
}

impl MemoryStore {
    /// An empty store. What it holds is counted in `usage`.
    pub fn new(usage: Arc<Usage>) -> Self {
        Self { objects: Arc::default(), usage, turn: Mutex::default() }
    }
}

fn path(key: &ObjectKey) -> Path {
    Path::from(key.as_str())
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        match error {
            Error::NotFound { .. } => Self::NotFound,
            Error::AlreadyExists { .. } | Error::Precondition { .. } => Self::Changed,
            other => Self::Unavailable(other.to_string()),
        }
    }
}

fn tag(e_tag: Option<String>) -> Tag {
    Tag(e_tag.unwrap_or_default())
}

fn millis(time: i64) -> u64 {
    u64::try_from(time).unwrap_or(0)
}

#[async_trait]
impl Store for MemoryStore {
    fn traits(&self) -> Traits {
        Traits { sole_writer: true, keep_writes: true, first_read: INLINE as usize, renews_in_place: false }
    }

    fn now(&self) -> u64 {
        clock::unix_ms()
    }

    fn is_absent(&self, _key: &ObjectKey) -> bool {
        false
    }

    async fn read(&self, key: &ObjectKey, limit: usize) -> Result<Fetched, StoreError> {
        let options = GetOptions { range: Some(GetRange::Bounded(0..limit as u64)), ..GetOptions::default() };
        let got = self.objects.get_opts(&path(key), options).await?;
        let meta = got.meta.clone();
        Ok(Fetched {
            head: got.bytes().await?,
            size: meta.size,
            tag: tag(meta.e_tag),
            modified: millis(meta.last_modified.timestamp_millis()),
        })
    }

    async fn open(&self, key: &ObjectKey) -> Result<Arc<dyn Reader>, StoreError> {
        // Bytes are shared with the store, and stay when the object is replaced.
        let bytes = self.objects.get(&path(key)).await?.bytes().await?;
        Ok(Arc::new(MemoryReader(bytes)))
    }

    async fn write(
        &self,
        key: &ObjectKey,
        parts: Vec<Bytes>,
        when: When,
        _durability: Durability,
    ) -> Result<Stamp, StoreError> {
        let _turn = self.turn.lock().await;
        let mode = match when {
            When::Always => PutMode::Overwrite,
            When::Absent => PutMode::Create,
            When::Is(tag) => PutMode::Update(UpdateVersion { e_tag: Some(tag.0), version: None }),
        };
        let options = PutOptions { mode, ..PutOptions::default() };
        let old = self.objects.head(&path(key)).await.ok().map(|meta| meta.size);
        let payload = PutPayload::from_iter(parts);
        let size = payload.content_length() as u64;
        let put = self.objects.put_opts(&path(key), payload, options).await?;
        match old {
            Some(old) => self.usage.replaced(old, size),
            None => self.usage.added(size),
        }
        Ok(Stamp { tag: tag(put.e_tag), modified: clock::unix_ms() })
    }

    async fn write_in_order(&self, writes: Vec<Write>, durability: Durability) -> Vec<Result<Stamp, StoreError>> {
        let mut outcomes = Vec::new();
        for Write { key, parts, when } in writes {
            outcomes.push(self.write(&key, parts, when, durability).await);
            if outcomes.last().is_some_and(Result::is_err) {
                break;
            }
        }
        outcomes
    }

    async fn renew(&self, key: &ObjectKey, tag: &Tag) -> Result<Stamp, StoreError> {
        let bytes = self.objects.get(&path(key)).await?.bytes().await?;
        self.write(key, vec![bytes], When::Is(tag.clone()), Durability::Process).await
    }

    async fn remove(&self, key: &ObjectKey, when: When) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let there = self.objects.head(&path(key)).await;
        match (when, there) {
            (When::Always, Err(Error::NotFound { .. })) => return Ok(()),
            (When::Always, Ok(meta)) => self.usage.removed(meta.size),
            (When::Is(wanted), Ok(meta)) if tag(meta.e_tag.clone()) == wanted => self.usage.removed(meta.size),
            (_, Ok(_) | Err(Error::NotFound { .. })) => return Err(StoreError::Changed),
            (_, Err(e)) => return Err(e.into()),
        }
        Ok(self.objects.delete(&path(key)).await?)
    }

    async fn create(&self, key: &ObjectKey, _durability: Durability) -> Result<Box<dyn PayloadWriter>, StoreError> {
        let (objects, usage) = (Arc::clone(&self.objects), Arc::clone(&self.usage));
        Ok(Box::new(MemoryWriter { objects, usage, key: key.clone(), parts: Vec::new() }))
    }

    async fn list(&self, prefix: &str, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let objects: Vec<_> = self.objects.list(None).try_collect().await?;
        let mut listed: Vec<Listed> = objects
            .into_iter()
            .filter_map(|meta| {
                let key = ObjectKey::parse(meta.location.as_ref())?;
                Some(Listed { key, size: meta.size, modified: millis(meta.last_modified.timestamp_millis()) })
            })
            .filter(|o| o.key.as_str().starts_with(prefix) && after.is_none_or(|after| o.key > *after))
            .collect();
        listed.sort_unstable_by(|a, b| a.key.cmp(&b.key));
        listed.truncate(limit);
        Ok(listed)
    }

    async fn folders(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let objects: Vec<_> = self.objects.list(None).try_collect().await?;
        let below = objects.iter().filter_map(|meta| meta.location.as_ref().strip_prefix(prefix)?.split_once('/'));
        let names: BTreeSet<&str> = below.map(|(name, _)| name).filter(|name| *name > after).collect();
        Ok(names.into_iter().take(limit).map(str::to_owned).collect())
    }

    async fn sync(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn space(&self) -> Result<Option<Space>, StoreError> {
        Ok(None)
    }
}

#[derive(Debug)]
struct MemoryReader(Bytes);

impl MemoryReader {
    fn slice(&self, range: Range<u64>) -> Result<&[u8], StoreError> {
        let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
        let (Ok(start), Ok(end)) = (start, end) else { return Err(StoreError::Short) };
        self.0.get(start..end).ok_or(StoreError::Short)
    }
}

#[async_trait]
impl Reader for MemoryReader {
    fn size(&self) -> u64 {
        self.0.len() as u64
    }

    async fn fill(&self, offset: u64, mut buffer: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let end = offset.saturating_add(buffer.len() as u64);
        buffer.copy_from_slice(self.slice(offset..end)?);
        Ok(buffer)
    }

    async fn scan(&self, range: Range<u64>, mut check: Check) -> Result<bool, StoreError> {
        Ok(check(self.slice(range)?))
    }
}

struct MemoryWriter {
    objects: Arc<InMemory>,
    usage: Arc<Usage>,
    key: ObjectKey,
    parts: Vec<Bytes>,
}

#[async_trait]
impl PayloadWriter for MemoryWriter {
    async fn append(&mut self, parts: Vec<Bytes>) -> Result<(), StoreError> {
        self.parts.extend(parts);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<(), StoreError> {
        self.usage.added(self.parts.iter().map(|part| part.len() as u64).sum());
        self.objects.put(&path(&self.key), PutPayload::from_iter(self.parts)).await?;
        Ok(())
    }
}
