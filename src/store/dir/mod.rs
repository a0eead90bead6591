//! The directory store: a record is a file, a payload is a file, and one process owns them all.
//!
//! # Durability
//! A record that is new is created under its final name by one write; a reader that meets it half written is told by
//! the stripe's sequence, waits for the writer and reads again; what a killed process left half written fails its
//! check and reads as damaged. A record that replaces another is written to `tmp/` and renamed. Payloads are always
//! written to `tmp/` and renamed. [`Durability::Synced`] adds one `syncfs` for each batch of writes.
//!
//! # Lock order
//! A stripe's lock is held for one write of one key and nothing else is locked under it.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // the files of a directory are this module's purpose

mod files;
mod list;
mod owner;
mod payload;
mod presence;
mod stripes;
mod writers;

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{Mode, OFlags, RenameFlags};

pub use owner::OpenError;

use self::presence::Presence;
use self::stripes::Stripes;
use self::writers::Writers;
use super::usage::Usage;
use super::{
    Durability, Fetched, Listed, PayloadWriter, Reader, Space, Stamp, Store, StoreError, Tag, Traits, When, Write,
};
use crate::clock;
use crate::model::object::ObjectKey;
use crate::model::record::{Header, PEEK};

/// Enough for the header and the body of most records; the rest of a larger one is read when it is wanted.
const FIRST_READ: usize = 68 << 10;

/// A directory with everything in it. Cheap to clone.
#[derive(Clone)]
pub struct DirStore {
    inner: Arc<Inner>,
    writers: Arc<Writers>,
}

struct Inner {
    root: OwnedFd,
    stripes: Stripes,
    usage: Arc<Usage>,
    presence: Presence,
    _owner: owner::Owner,
}

impl std::fmt::Debug for DirStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DirStore").finish_non_exhaustive()
    }
}

impl DirStore {
    /// Opens or creates a directory and becomes its one owner. What it holds is counted in `usage`.
    ///
    /// # Errors
    /// [`OpenError`] names the directory and what to do.
    pub fn open(path: &Path, usage: Arc<Usage>) -> Result<Self, OpenError> {
        let (root, owner) = owner::take(path)?;
        let writers = Arc::new(Writers::start(&root).map_err(|e| OpenError::new(path, e))?);
        let (stripes, presence) = (Stripes::default(), Presence::default());
        let inner = Arc::new(Inner { root, stripes, usage, presence, _owner: owner });
        let scanned = Arc::downgrade(&inner);
        // Beside the traffic: until it is done, lookups ask the directory.
        let scan = move || list::scan(|| scanned.upgrade());
        std::thread::Builder::new().name("larder-scan".into()).spawn(scan).map_err(|e| OpenError::new(path, e))?;
        Ok(Self { inner, writers })
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.inner);
        tokio::task::spawn_blocking(move || work(&inner))
            .await
            .unwrap_or_else(|e| Err(StoreError::Unavailable(format!("a file operation ended early: {e}"))))
    }
}

#[async_trait]
impl Store for DirStore {
    fn traits(&self) -> Traits {
        Traits { sole_writer: true, keep_writes: false, first_read: FIRST_READ, renews_in_place: true }
    }

    fn now(&self) -> u64 {
        clock::unix_ms()
    }

    fn is_absent(&self, key: &ObjectKey) -> bool {
        self.inner.presence.is_absent(key)
    }

    async fn read(&self, key: &ObjectKey, limit: usize) -> Result<Fetched, StoreError> {
        if let Some(fetched) = self.inner.read_cached(key, limit)? {
            return Ok(fetched);
        }
        let key = key.clone();
        self.blocking(move |inner| inner.read(&key, limit)).await
    }

    async fn open(&self, key: &ObjectKey) -> Result<Arc<dyn Reader>, StoreError> {
        if let Some(fd) = files::open_cached(&self.inner.root, key.as_str())? {
            return Ok(Arc::new(payload::FileReader::new(fd)?));
        }
        let key = key.clone();
        self.blocking(move |inner| {
            let fd = files::open(&inner.root, key.as_str())?;
            Ok(Arc::new(payload::FileReader::new(fd)?) as Arc<dyn Reader>)
        })
        .await
    }

    async fn write(
        &self,
        key: &ObjectKey,
        parts: Vec<Bytes>,
        when: When,
        durability: Durability,
    ) -> Result<Stamp, StoreError> {
        let (inner, key) = (Arc::clone(&self.inner), key.clone());
        self.writers.run(durability, move || inner.write(&key, &parts, &when, durability)).await
    }

    async fn write_in_order(&self, writes: Vec<Write>, durability: Durability) -> Vec<Result<Stamp, StoreError>> {
        let inner = Arc::clone(&self.inner);
        let job = move || {
            let mut outcomes = Vec::new();
            for Write { key, parts, when } in writes {
                outcomes.push(inner.write(&key, &parts, &when, durability));
                if outcomes.last().is_some_and(Result::is_err) {
                    break;
                }
            }
            Ok(outcomes)
        };
        self.writers.run(durability, job).await.unwrap_or_else(|e| vec![Err(e)])
    }

    async fn renew(&self, key: &ObjectKey, tag: &Tag) -> Result<Stamp, StoreError> {
        let (inner, key, tag) = (Arc::clone(&self.inner), key.clone(), tag.clone());
        self.writers.run(Durability::Process, move || inner.renew(&key, &tag)).await
    }

    async fn remove(&self, key: &ObjectKey, when: When) -> Result<(), StoreError> {
        let (inner, key) = (Arc::clone(&self.inner), key.clone());
        self.writers.run(Durability::Process, move || inner.remove(&key, &when)).await
    }

    async fn create(&self, key: &ObjectKey, durability: Durability) -> Result<Box<dyn PayloadWriter>, StoreError> {
        let temporary = owner::temporary_name();
        let opened = {
            let temporary = temporary.clone();
            self.blocking(move |inner| Ok(files::create(&inner.root, &temporary)?)).await
        };
        // Cancelled between the two, an empty file stays in tmp/ until the next start.
        Ok(Box::new(payload::FileWriter::new(self.clone(), key.clone(), temporary, opened?, durability)))
    }

    async fn list(&self, prefix: &str, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let (prefix, after) = (prefix.to_owned(), after.cloned());
        self.blocking(move |inner| Ok(list::list(&inner.root, &prefix, after.as_ref(), limit)?)).await
    }

    async fn folders(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        let (prefix, after) = (prefix.trim_end_matches('/').to_owned(), after.to_owned());
        self.blocking(move |inner| Ok(list::folders(&inner.root, &prefix, &after, limit)?)).await
    }

    async fn sync(&self) -> Result<(), StoreError> {
        self.writers.run(Durability::Synced, || Ok(())).await
    }

    async fn space(&self) -> Result<Option<Space>, StoreError> {
        self.blocking(|inner| {
            let stat = rustix::fs::fstatvfs(&inner.root)?;
            Ok(Some(Space { free: stat.f_bavail.saturating_mul(stat.f_frsize) }))
        })
        .await
    }
}

impl Inner {
    /// Reads without waiting for a disk; `None` where that is not possible or a write of the same stripe is under way.
    fn read_cached(&self, key: &ObjectKey, limit: usize) -> Result<Option<Fetched>, StoreError> {
        let stripe = self.stripes.of(key);
        let Some(before) = stripe.quiet() else { return Ok(None) };
        let outcome = (|| {
            let Some(fd) = files::open_cached(&self.root, key.as_str())? else { return Ok(None) };
            let stat = rustix::fs::fstat(&fd)?;
            let Some(head) = files::read_head_cached(&fd, &stat, limit)? else { return Ok(None) };
            Ok(Some(fetched(head, &stat)))
        })();
        if stripe.unchanged_since(before) { outcome } else { Ok(None) }
    }

    fn read(&self, key: &ObjectKey, limit: usize) -> Result<Fetched, StoreError> {
        let read = || {
            let fd = files::open(&self.root, key.as_str())?;
            let stat = rustix::fs::fstat(&fd)?;
            Ok(fetched(files::read_head(&fd, &stat, limit)?, &stat))
        };
        let stripe = self.stripes.of(key);
        if let Some(before) = stripe.quiet() {
            let outcome = read();
            if stripe.unchanged_since(before) {
                return outcome;
            }
        }
        let _held = stripe.lock();
        read()
    }

    fn write(
        &self,
        key: &ObjectKey,
        parts: &[Bytes],
        when: &When,
        durability: Durability,
    ) -> Result<Stamp, StoreError> {
        let stripe = self.stripes.of(key);
        let held = stripe.lock();
        match when {
            When::Is(tag) => {
                let old = self.expect(key, tag)?;
                self.replace(key, parts, old, durability)?;
            }
            When::Absent | When::Always => {
                let created = {
                    let _writing = held.write_in_place();
                    files::write_new(&self.root, key.as_str(), parts)
                };
                match created {
                    Ok(()) => {
                        self.usage.added(len(parts));
                        self.presence.add(key);
                    }
                    Err(e) if e == rustix::io::Errno::EXIST && *when == When::Absent => {
                        return Err(StoreError::Changed);
                    }
                    Err(e) if e == rustix::io::Errno::EXIST => {
                        let old = files::stat(&self.root, key.as_str())?.st_size;
                        self.replace(key, parts, u64::try_from(old).unwrap_or(0), durability)?;
                    }
                    Err(e) => return Err(e.into()),
                }
            }
        }
        let nonce = parts.first().and_then(|header| Header::peek_nonce(header)).unwrap_or_default();
        Ok(Stamp { tag: Tag(nonce.to_owned()), modified: clock::unix_ms() })
    }

    fn replace(&self, key: &ObjectKey, parts: &[Bytes], old: u64, durability: Durability) -> Result<(), StoreError> {
        let temporary = owner::temporary_name();
        files::write_new(&self.root, &temporary, parts)?;
        if let Err(e) = files::replace(&self.root, &temporary, key.as_str(), durability) {
            files::unlink(&self.root, &temporary);
            return Err(e.into());
        }
        self.usage.replaced(old, len(parts));
        self.presence.add_again(key);
        Ok(())
    }

    fn renew(&self, key: &ObjectKey, tag: &Tag) -> Result<Stamp, StoreError> {
        let _held = self.stripes.of(key).lock();
        self.expect(key, tag)?;
        files::touch(&self.root, key.as_str())?;
        Ok(Stamp { tag: tag.clone(), modified: clock::unix_ms() })
    }

    fn remove(&self, key: &ObjectKey, when: &When) -> Result<(), StoreError> {
        let _held = self.stripes.of(key).lock();
        let size = match (when, files::stat(&self.root, key.as_str())) {
            (When::Absent, Ok(_)) => return Err(StoreError::Changed),
            (When::Is(tag), Ok(_)) => self.expect(key, tag)?,
            (When::Always, Ok(stat)) => u64::try_from(stat.st_size).unwrap_or(0),
            (When::Is(_), Err(rustix::io::Errno::NOENT)) => return Err(StoreError::Changed),
            (_, Err(rustix::io::Errno::NOENT)) => return Ok(()),
            (_, Err(e)) => return Err(e.into()),
        };
        rustix::fs::unlinkat(&self.root, key.as_str(), rustix::fs::AtFlags::empty())?;
        self.usage.removed(size);
        self.presence.remove(key);
        Ok(())
    }

    /// Puts a finished payload in its place.
    fn publish(&self, temporary: &str, key: &ObjectKey, size: u64) -> Result<(), StoreError> {
        let rename =
            || rustix::fs::renameat_with(&self.root, temporary, &self.root, key.as_str(), RenameFlags::empty());
        match rename() {
            Err(rustix::io::Errno::NOENT) => {
                files::make_parents(&self.root, key.as_str())?;
                rename()?;
            }
            outcome => outcome?,
        }
        self.usage.added(size);
        Ok(())
    }

    /// Checks under the stripe's lock that `tag` names what lies under the key; gives its size.
    fn expect(&self, key: &ObjectKey, tag: &Tag) -> Result<u64, StoreError> {
        let fd = match rustix::fs::openat(&self.root, key.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Err(rustix::io::Errno::NOENT) => return Err(StoreError::Changed),
            opened => opened?,
        };
        let stat = rustix::fs::fstat(&fd)?;
        let now = fetched(files::read_head(&fd, &stat, PEEK)?, &stat);
        if now.tag == *tag { Ok(now.size) } else { Err(StoreError::Changed) }
    }
}

fn len(parts: &[Bytes]) -> u64 {
    parts.iter().map(|part| part.len() as u64).sum()
}

/// A record's tag is its nonce. What has none is damaged or a payload: its size, time and inode tell its writes apart.
fn fetched(head: Bytes, stat: &rustix::fs::Stat) -> Fetched {
    let tag = Header::peek_nonce(&head).map_or_else(
        || format!("!{}-{}.{}-{}", stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ino),
        str::to_owned,
    );
    Fetched { size: u64::try_from(stat.st_size).unwrap_or(0), tag: Tag(tag), modified: files::modified_ms(stat), head }
}
