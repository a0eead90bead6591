//! What is under a key: from memory, or by one flight to the store.

use std::sync::Arc;

use bytes::Bytes;

use tokio::time::timeout;

use super::Cache;
use super::body::Body;
use super::error::ReadError;
use super::hot::{Known, Seen};
use super::record::{Record, SMALL};
use crate::clock;
use crate::model::object::ObjectKey;
use crate::model::record::{Header, HeaderError, MAX_HEADER, State};
use crate::model::sums::Sums;
use crate::store::{Durability, Fetched, StoreError, Tag, When};

/// Gradle entries that were not renewed for this long are renewed when they are used, in milliseconds.
const RENEW_AFTER_MS: u64 = 24 * 3600 * 1000;

/// How often a record may be replaced while its body is opened, before that is told as a miss.
const MOST_REPLACEMENTS: usize = 16;

/// Which tier answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Memory.
    Hot,
    /// The store.
    Cold,
}

/// The outcome of a lookup.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// This record is there.
    Live(Arc<Record>, Tier),
    /// Nothing to serve is there.
    Absent(Tier),
    /// A record of a newer larder, which is left alone.
    Newer,
    /// The store cannot say now.
    Unavailable,
}

/// A record with its body, or why there is none.
pub enum Found {
    /// The record, its body checked.
    Hit(Arc<Record>, Body, Tier),
    /// Nothing to serve.
    Miss(Tier),
    /// The store cannot say now.
    Unavailable,
}

impl Cache {
    /// What is under a key.
    pub async fn lookup(self: &Arc<Self>, key: &ObjectKey) -> Lookup {
        match self.hot.get(key) {
            Some(Known::Live(record)) => return Lookup::Live(record, Tier::Hot),
            Some(Known::Absent) => return Lookup::Absent(Tier::Hot),
            None if self.store.is_absent(key) => return Lookup::Absent(Tier::Hot),
            None => {}
        }
        // A flight that began before the key was changed is not joined: it may bring what was there before.
        let seen = self.hot.seen(key);
        let flight = || {
            let (cache, key) = (Arc::clone(self), key.clone());
            async move {
                if !cache.reads.admits() {
                    return Lookup::Unavailable;
                }
                cache.fetch(&key, seen).await
            }
        };
        self.records.join(&(key.clone(), seen), flight).await.unwrap_or(Lookup::Unavailable)
    }

    /// A record and its body. What fails its check is marked bad and reads as a miss.
    pub async fn get(self: &Arc<Self>, key: &ObjectKey) -> Found {
        for _ in 0..MOST_REPLACEMENTS {
            let (record, tier) = match self.lookup(key).await {
                Lookup::Live(record, tier) => (record, tier),
                Lookup::Absent(tier) => return Found::Miss(tier),
                Lookup::Newer => return Found::Miss(Tier::Cold),
                Lookup::Unavailable => return Found::Unavailable,
            };
            match self.body(&record).await {
                Ok(body) => {
                    self.renew_if_due(&record);
                    return Found::Hit(record, body, tier);
                }
                Err(ReadError::Unavailable) => return Found::Unavailable,
                Err(damage) => match self.condemn(&record, damage).await {
                    ReadError::Replaced => {}
                    ReadError::Unavailable => return Found::Unavailable,
                    ReadError::Corrupt | ReadError::Gone => return Found::Miss(Tier::Cold),
                },
            }
        }
        Found::Miss(Tier::Cold)
    }

    /// Says what damage that was found in a record means: that it was replaced while it was read, or that it is bad, and
    /// marked so.
    pub(super) async fn condemn(self: &Arc<Self>, record: &Arc<Record>, damage: ReadError) -> ReadError {
        if matches!(damage, ReadError::Unavailable | ReadError::Replaced) {
            return damage;
        }
        self.hot.forget(record);
        // The store decides, not memory: a write of it may be under way.
        match self.inspect(record.key()).await {
            Ok(Some(again))
                if again.tag() == record.tag()
                    && self.mark_bad(record.key(), record.tag(), &damage.to_string()).await =>
            {
                damage
            }
            // Replaced or removed: whoever looks again finds out.
            Ok(_) => ReadError::Replaced,
            Err(_) => ReadError::Unavailable,
        }
    }

    /// Reads a record from the store and remembers it.
    async fn fetch(&self, key: &ObjectKey, seen: Seen) -> Lookup {
        for _ in 0..MOST_REPLACEMENTS {
            if let Some(found) = self.fetch_once(key, seen).await {
                return found;
            }
        }
        Lookup::Unavailable
    }

    /// `None` when what seemed damaged was replaced meanwhile.
    async fn fetch_once(&self, key: &ObjectKey, seen: Seen) -> Option<Lookup> {
        let limit = self.store.traits().first_read;
        let deadline = self.settings.lookup_deadline;
        let mut read = self.reading_within(deadline, self.store.read(key, limit)).await;
        let mut decoded = read.as_ref().ok().map(|fetched| Header::decode(&fetched.head));
        if let (Ok(fetched), Some(Err(HeaderError::Incomplete))) = (&read, &decoded)
            && fetched.size > limit as u64
        {
            // The sums of a very large body do not fit into the first read.
            read = self.reading_within(deadline, self.store.read(key, MAX_HEADER + 1)).await;
            decoded = read.as_ref().ok().map(|fetched| Header::decode(&fetched.head));
        }
        let fetched = match read {
            Ok(fetched) => fetched,
            Err(ReadError::Gone) => return Some(self.absent(key, seen)),
            Err(ReadError::Corrupt | ReadError::Replaced | ReadError::Unavailable) => return Some(Lookup::Unavailable),
        };
        let found = match decoded {
            Some(Ok((header, _))) if header.state != State::Live => self.absent(key, seen),
            Some(Ok((header, start))) => match self.accept(key, header, start, &fetched).await {
                Ok(record) => {
                    let record = Arc::new(record);
                    self.hot.learn(key, Known::Live(Arc::clone(&record)), seen);
                    Lookup::Live(record, Tier::Cold)
                }
                Err(ReadError::Unavailable) => Lookup::Unavailable,
                Err(damage) if self.mark_bad(key, &fetched.tag, &damage.to_string()).await => {
                    Lookup::Absent(Tier::Cold)
                }
                Err(_) => return None,
            },
            Some(Err(HeaderError::Newer(version))) => {
                self.metrics.newer.inc();
                tracing::debug!(%key, version, "a record of a newer larder is left alone");
                Lookup::Newer
            }
            Some(Err(damage)) if self.mark_bad(key, &fetched.tag, &damage.to_string()).await => {
                Lookup::Absent(Tier::Cold)
            }
            Some(Err(_)) => return None,
            None => Lookup::Unavailable,
        };
        Some(found)
    }

    /// Checks what can be checked of a record with what was read, and keeps a small body.
    async fn accept(
        &self,
        key: &ObjectKey,
        header: Header,
        start: usize,
        fetched: &Fetched,
    ) -> Result<Record, ReadError> {
        let mut body = None;
        if header.payloads.is_empty() {
            if fetched.size != start as u64 + header.size {
                return Err(ReadError::Corrupt);
            }
            let size = usize::try_from(header.size).unwrap_or(usize::MAX);
            if size <= SMALL
                && let Some(bytes) = fetched.head.get(start..start + size)
            {
                if size > 0 && !header.sums.holds(0, bytes) {
                    return Err(ReadError::Corrupt);
                }
                // What readers hold is paid for; a body that the hot budget has no room for is paid from the other.
                let permit = match self.hot.make_room(size) {
                    Some(permit) => Some(permit),
                    None => timeout(self.settings.lookup_deadline, self.transfers.take(size)).await.ok().flatten(),
                };
                body = Some(permit.ok_or(ReadError::Unavailable)?.guard(bytes.to_vec()));
            }
        } else if fetched.size != start as u64 {
            return Err(ReadError::Corrupt);
        }
        Ok(self.record(key.clone(), header, start as u64, fetched.tag.clone(), fetched.modified, body))
    }

    /// A record of this store, with what its promise counts from.
    pub(super) fn record(
        &self,
        key: ObjectKey,
        header: Header,
        start: u64,
        tag: Tag,
        modified: u64,
        body: Option<Bytes>,
    ) -> Record {
        let record = Record::new(key, header, start, tag, modified, body);
        // Where a renewal leaves the record as it is, `held` is that of the first write, and one process does all.
        if self.store.traits().renews_in_place { record } else { record.counting_from_held() }
    }

    fn absent(&self, key: &ObjectKey, seen: Seen) -> Lookup {
        // On a shared store another node may write the key at any moment.
        if self.store.traits().sole_writer {
            self.hot.learn(key, Known::Absent, seen);
        }
        Lookup::Absent(Tier::Cold)
    }

    /// Puts a mark in a damaged record's place, so that reads miss until the next store replaces it. False when the record
    /// was replaced meanwhile: then nothing is wrong with it.
    pub(super) async fn mark_bad(&self, key: &ObjectKey, tag: &Tag, damage: &str) -> bool {
        let mut header = Header::new(0, Sums::default());
        header.state = State::Bad;
        let (store, at, when) = (Arc::clone(&self.store), key.clone(), When::Is(tag.clone()));
        let parts = vec![Bytes::from(header.encode())];
        let mark = async move { store.write(&at, parts, when, Durability::Process).await };
        match self.carried(self.settings.lookup_deadline, self.hot.change(key), mark).await {
            Some((change, Ok(_))) => change.finish(Known::Absent),
            Some((_, Err(StoreError::Changed))) => return false,
            // It is found again after a restart; until then memory knows better than the store.
            Some((change, Err(_))) if self.store.traits().sole_writer => change.finish(Known::Absent),
            // Should it land later, it drops what memory knows then.
            Some((_, Err(_))) | None => {}
        }
        self.metrics.corrupt.inc();
        tracing::error!(%key, damage, "a damaged record reads as a miss from now on; the next store of it replaces it");
        // Last: who looks after this sees the mark.
        self.note_damage();
        true
    }

    /// Renews a record that was not renewed for a day, after its answer.
    fn renew_if_due(self: &Arc<Self>, record: &Arc<Record>) {
        if record.claim_renewal(clock::unix_ms(), RENEW_AFTER_MS) {
            let (cache, record) = (Arc::clone(self), Arc::clone(record));
            tokio::spawn(async move {
                match cache.store.renew(record.key(), record.tag()).await {
                    // On a directory the tag stays; elsewhere a renewal is a new write.
                    Ok(stamp) if stamp.tag == *record.tag() => {}
                    Ok(_) | Err(StoreError::Changed | StoreError::NotFound) => cache.hot.forget(&record),
                    // It stays as old as it is; whoever uses it next tries again.
                    Err(e) => tracing::debug!(key = %record.key(), error = %e, "a record could not be renewed"),
                }
            });
        }
    }
}
