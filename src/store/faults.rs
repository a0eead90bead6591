//! A store that misbehaves on purpose: a decorator for tests, between the cache and any backend.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Check, Durability, Fetched, Listed, PayloadWriter, Reader, Space, Stamp, Store, StoreError, Tag, Traits, When,
    Write,
};
use crate::model::object::ObjectKey;

/// What a kind of operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Fault {
    /// It works.
    None = 0,
    /// It fails at once as unavailable.
    Error = 1,
    /// It never answers.
    Hang = 2,
    /// It fails as if the disk were full.
    Full = 3,
}

impl Fault {
    fn from_u8(value: u8) -> Self {
        match value {
            1 => Self::Error,
            2 => Self::Hang,
            3 => Self::Full,
            _ => Self::None,
        }
    }
}

/// The switches of a [`FaultyStore`]; they may be turned while it is in use.
#[derive(Debug, Default)]
pub struct Switches {
    read: AtomicU8,
    write: AtomicU8,
}

impl Switches {
    /// What reads do from now on.
    pub fn set_read(&self, fault: Fault) {
        self.read.store(fault as u8, Ordering::SeqCst);
    }

    /// What writes do from now on.
    pub fn set_write(&self, fault: Fault) {
        self.write.store(fault as u8, Ordering::SeqCst);
    }

    async fn pass(switch: &AtomicU8) -> Result<(), StoreError> {
        match Fault::from_u8(switch.load(Ordering::SeqCst)) {
            Fault::None => Ok(()),
            Fault::Error => Err(StoreError::Unavailable("switched to fail".into())),
            Fault::Full => Err(StoreError::NoSpace),
            Fault::Hang => std::future::pending().await,
        }
    }
}

/// Any store behind [`Switches`].
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    switches: Arc<Switches>,
}

impl FaultyStore {
    /// Puts `switches` before a store.
    pub fn new(inner: Arc<dyn Store>, switches: Arc<Switches>) -> Self {
        Self { inner, switches }
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Store for FaultyStore {
    fn traits(&self) -> Traits {
        self.inner.traits()
    }

    fn now(&self) -> u64 {
        self.inner.now()
    }

    fn is_absent(&self, key: &ObjectKey) -> bool {
        self.inner.is_absent(key)
    }

    async fn read(&self, key: &ObjectKey, limit: usize) -> Result<Fetched, StoreError> {
        Switches::pass(&self.switches.read).await?;
        self.inner.read(key, limit).await
    }

    async fn open(&self, key: &ObjectKey) -> Result<Arc<dyn Reader>, StoreError> {
        Switches::pass(&self.switches.read).await?;
        let inner = self.inner.open(key).await?;
        Ok(Arc::new(FaultyReader { inner, switches: Arc::clone(&self.switches) }))
    }

    async fn write(
        &self,
        key: &ObjectKey,
        parts: Vec<Bytes>,
        when: When,
        durability: Durability,
    ) -> Result<Stamp, StoreError> {
        Switches::pass(&self.switches.write).await?;
        self.inner.write(key, parts, when, durability).await
    }

    async fn write_in_order(&self, writes: Vec<Write>, durability: Durability) -> Vec<Result<Stamp, StoreError>> {
        if let Err(e) = Switches::pass(&self.switches.write).await {
            return vec![Err(e)];
        }
        self.inner.write_in_order(writes, durability).await
    }

    async fn renew(&self, key: &ObjectKey, tag: &Tag) -> Result<Stamp, StoreError> {
        Switches::pass(&self.switches.write).await?;
        self.inner.renew(key, tag).await
    }

    async fn remove(&self, key: &ObjectKey, when: When) -> Result<(), StoreError> {
        Switches::pass(&self.switches.write).await?;
        self.inner.remove(key, when).await
    }

    async fn create(&self, key: &ObjectKey, durability: Durability) -> Result<Box<dyn PayloadWriter>, StoreError> {
        Switches::pass(&self.switches.write).await?;
        let inner = self.inner.create(key, durability).await?;
        Ok(Box::new(FaultyWriter { inner, switches: Arc::clone(&self.switches) }))
    }

    async fn list(&self, prefix: &str, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        Switches::pass(&self.switches.read).await?;
        self.inner.list(prefix, after, limit).await
    }

    async fn folders(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        Switches::pass(&self.switches.read).await?;
        self.inner.folders(prefix, after, limit).await
    }

    async fn sync(&self) -> Result<(), StoreError> {
        Switches::pass(&self.switches.write).await?;
        self.inner.sync().await
    }

    async fn space(&self) -> Result<Option<Space>, StoreError> {
        self.inner.space().await
    }
}

#[derive(Debug)]
struct FaultyReader {
    inner: Arc<dyn Reader>,
    switches: Arc<Switches>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Reader for FaultyReader {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    async fn fill(&self, offset: u64, buffer: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        Switches::pass(&self.switches.read).await?;
        self.inner.fill(offset, buffer).await
    }

    async fn scan(&self, range: Range<u64>, check: Check) -> Result<bool, StoreError> {
        Switches::pass(&self.switches.read).await?;
        self.inner.scan(range, check).await
    }
}

struct FaultyWriter {
    inner: Box<dyn PayloadWriter>,
    switches: Arc<Switches>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl PayloadWriter for FaultyWriter {
    async fn append(&mut self, parts: Vec<Bytes>) -> Result<(), StoreError> {
        Switches::pass(&self.switches.write).await?;
        self.inner.append(parts).await
    }

    async fn finish(self: Box<Self>) -> Result<(), StoreError> {
        Switches::pass(&self.switches.write).await?;
        self.inner.finish().await
    }
}
