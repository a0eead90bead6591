//! Payload files: read by position, written to `tmp/` and renamed.

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{DirStore, files};
use crate::model::object::ObjectKey;
use crate::store::{Check, Durability, PayloadWriter, Reader, StoreError};

/// How much a scan reads at once; it stays in the processor's cache while it is hashed.
const SCAN_PIECE: usize = 128 << 10;

/// How much of a payload that is to be synced may wait for it: the last sync must not take longer than a client waits.
const SYNC_EVERY: u64 = 64 << 20;

/// A file opened for reading.
#[derive(Debug)]
pub struct FileReader {
    fd: Arc<OwnedFd>,
    size: u64,
}

impl FileReader {
    pub fn new(fd: OwnedFd) -> Result<Self, StoreError> {
        let size = u64::try_from(rustix::fs::fstat(&fd)?.st_size).unwrap_or(0);
        Ok(Self { fd: Arc::new(fd), size })
    }
}

#[async_trait]
impl Reader for FileReader {
    fn size(&self) -> u64 {
        self.size
    }

    async fn fill(&self, offset: u64, mut buffer: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        if offset.saturating_add(buffer.len() as u64) > self.size {
            return Err(StoreError::Short);
        }
        if files::fill_cached(&self.fd, &mut buffer, offset)? {
            return Ok(buffer);
        }
        let fd = Arc::clone(&self.fd);
        blocking(move || {
            if files::read_at_most(&fd, &mut buffer, offset)? == buffer.len() {
                Ok(buffer)
            } else {
                Err(StoreError::Short)
            }
        })
        .await
    }

    async fn scan(&self, range: Range<u64>, mut check: Check) -> Result<bool, StoreError> {
        let fd = Arc::clone(&self.fd);
        blocking(move || {
            let mut scratch = vec![0; SCAN_PIECE];
            let mut at = range.start;
            while at < range.end {
                let want = usize::try_from(range.end - at).unwrap_or(SCAN_PIECE).min(SCAN_PIECE);
                if files::read_at_most(&fd, &mut scratch[..want], at)? < want {
                    return Err(StoreError::Short);
                }
                if !check(&scratch[..want]) {
                    return Ok(false);
                }
                at += want as u64;
            }
            Ok(true)
        })
        .await
    }
}

/// A payload on its way. Dropped before it is finished, it removes its file.
pub struct FileWriter {
    store: DirStore,
    key: ObjectKey,
    temporary: Option<String>,
    fd: Arc<OwnedFd>,
    written: u64,
    durability: Durability,
    synced: u64,
}

impl FileWriter {
    pub fn new(store: DirStore, key: ObjectKey, temporary: String, fd: OwnedFd, durability: Durability) -> Self {
        let fd = Arc::new(fd);
        Self { store, key, temporary: Some(temporary), fd, written: 0, durability, synced: 0 }
    }
}

#[async_trait]
impl PayloadWriter for FileWriter {
    async fn append(&mut self, parts: Vec<Bytes>) -> Result<(), StoreError> {
        let (fd, mut at) = (Arc::clone(&self.fd), self.written);
        let length: usize = parts.iter().map(Bytes::len).sum();
        let sync = self.durability == Durability::Synced && self.written + length as u64 - self.synced >= SYNC_EVERY;
        self.written = blocking(move || {
            files::write_all(&fd, &parts, &mut at)?;
            if sync {
                rustix::fs::fdatasync(&fd)?;
            }
            Ok(at)
        })
        .await?;
        if sync {
            self.synced = self.written;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        let (key, size) = (self.key.clone(), self.written);
        let Some(temporary) = self.temporary.clone() else { return Ok(()) };
        // The rest of it, and its name, are synced with the record that names it.
        self.store.blocking(move |inner| inner.publish(&temporary, &key, size)).await?;
        self.temporary = None;
        Ok(())
    }
}

impl Drop for FileWriter {
    fn drop(&mut self) {
        if let Some(temporary) = self.temporary.take() {
            let inner = Arc::clone(&self.store.inner);
            self.store.writers.run_detached(move || files::unlink(&inner.root, &temporary));
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(StoreError::Unavailable(format!("a file operation ended early: {e}"))))
}
