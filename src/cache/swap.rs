//! Records whose writes depend on what is there: read past the memory, swapped on a condition, renewed.

use std::sync::Arc;

use bytes::Bytes;

use super::Cache;
use super::error::{ReadError, WriteError};
use super::hot::{Change, Known};
use super::record::{Record, SMALL};
use crate::model::facts::Facts;
use crate::model::object::ObjectKey;
use crate::model::record::{Header, HeaderError, MAX_HEADER, State};
use crate::model::sums::Sums;
use crate::store::{Durability, Stamp, When, Write};

impl Cache {
    /// The store's time, in milliseconds since 1970.
    pub fn now(&self) -> u64 {
        self.store.now()
    }

    /// Removes a record, if it still is the one in the store.
    ///
    /// # Errors
    /// [`WriteError::Changed`]: look it up again.
    pub async fn remove_if(&self, record: &Record) -> Result<(), WriteError> {
        if !self.writes.admits() {
            return Err(WriteError::Unavailable);
        }
        let (store, key, tag) = (Arc::clone(&self.store), record.key().clone(), record.tag().clone());
        let removal = async move { store.remove(&key, When::Is(tag)).await };
        let (_change, removed) = self.changing(self.hot.change(record.key()), removal).await?;
        self.wrote(removed)
    }

    /// Whether a renewal leaves the record as it is. Then this process is the only writer, too.
    pub fn renews_in_place(&self) -> bool {
        self.store.traits().renews_in_place
    }

    /// Drops what memory knows of a record's key, if it is still this record.
    pub fn forget(&self, record: &Arc<Record>) {
        self.hot.forget(record);
    }

    /// Ends when everything that was written before is synced.
    ///
    /// # Errors
    /// [`WriteError::Unavailable`] when that does not happen in time.
    pub async fn sync(&self) -> Result<(), WriteError> {
        self.writing(self.store.sync()).await
    }

    /// What lies under a key in the store now, whatever its state; `None` where nothing does. A damaged record is told
    /// as one with the state bad.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`], also for a record of a newer larder: nothing may be concluded.
    pub async fn inspect(&self, key: &ObjectKey) -> Result<Option<Arc<Record>>, ReadError> {
        if self.store.is_absent(key) {
            return Ok(None);
        }
        if !self.reads.admits() {
            return Err(ReadError::Unavailable);
        }
        let mut limit = self.store.traits().first_read;
        loop {
            let fetched = match self.reading_within(self.settings.lookup_deadline, self.store.read(key, limit)).await {
                Err(ReadError::Gone) => return Ok(None),
                fetched => fetched?,
            };
            let decoded = match Header::decode(&fetched.head) {
                Err(HeaderError::Incomplete) if fetched.size > limit as u64 && limit <= MAX_HEADER => {
                    limit = MAX_HEADER + 1;
                    continue;
                }
                Err(HeaderError::Newer(_)) => return Err(ReadError::Unavailable),
                decoded => decoded,
            };
            let (header, start) = decoded.unwrap_or_else(|_| {
                let mut bad = Header::new(0, Sums::default());
                bad.state = State::Bad;
                (bad, 0)
            });
            // A small body that came along is kept if it holds; one that does not shows when it is read.
            let body = usize::try_from(header.size).ok().filter(|&size| size > 0 && size <= SMALL);
            let body = body.filter(|_| header.payloads.is_empty());
            let body = body.and_then(|size| fetched.head.get(start..start + size));
            let body = body.filter(|body| header.sums.holds(0, body));
            let body = body.and_then(|body| Some(self.hot.make_room(body.len())?.guard(body.to_vec())));
            let record = self.record(key.clone(), header, start as u64, fetched.tag, fetched.modified, body);
            return Ok(Some(Arc::new(record)));
        }
    }

    /// Writes a record whole if `when` holds.
    ///
    /// # Errors
    /// [`WriteError::Changed`] and [`WriteError::Unavailable`]: it may have been written all the same, or by the very
    /// call whose answer was lost. Read back.
    pub async fn swap(
        &self,
        key: &ObjectKey,
        header: Header,
        body: Vec<Bytes>,
        when: When,
        durability: Durability,
    ) -> Result<(), WriteError> {
        if !self.writes.admits() {
            return Err(WriteError::Unavailable);
        }
        let swap = Swap { key: key.clone(), header, body, when };
        let (write, prepared) = self.prepare(swap);
        let Write { key, parts, when } = write;
        let store = Arc::clone(&self.store);
        let write = async move { store.write(&key, parts, when, durability).await };
        let (prepared, outcome) = self.changing(prepared, write).await?;
        prepared.finish(self, self.wrote(outcome))
    }

    /// Writes records one after the other, each if its `when` holds, and stops at the first that fails. Gives how many
    /// were written, and why the next was not.
    pub async fn swap_in_order(&self, swaps: Vec<Swap>, durability: Durability) -> (usize, Result<(), WriteError>) {
        if !self.writes.admits() {
            return (0, Err(WriteError::Unavailable));
        }
        let (writes, prepared): (Vec<_>, Vec<_>) = swaps.into_iter().map(|swap| self.prepare(swap)).unzip();
        let store = Arc::clone(&self.store);
        let all = async move { store.write_in_order(writes, durability).await };
        let (prepared, outcomes) = match self.changing(prepared, all).await {
            Ok(done) => done,
            // Any of them may have been written.
            Err(e) => return (0, Err(e)),
        };
        let mut outcomes = outcomes.into_iter();
        for (done, prepared) in prepared.into_iter().enumerate() {
            let outcome = match outcomes.next() {
                Some(outcome) => self.wrote(outcome),
                None => Err(WriteError::Unavailable),
            };
            if let Err(e) = prepared.finish(self, outcome) {
                return (done, Err(e));
            }
        }
        (usize::MAX, Ok(()))
    }

    fn prepare(&self, swap: Swap) -> (Write, Prepared) {
        let Swap { key, header, body, when } = swap;
        let kept = match body.as_slice() {
            [only] if only.len() <= SMALL && self.store.traits().keep_writes => Some(only.clone()),
            _ => None,
        };
        let encoded = Bytes::from(header.encode());
        let start = encoded.len() as u64;
        let parts = std::iter::once(encoded).chain(body).collect();
        let change = self.hot.change(&key);
        (Write { key, parts, when }, Prepared { change, header, start, kept, sent: self.store.now() })
    }

    /// Renews a live record, if it still is the one in the store. `held` replaces what a manifest says of when its
    /// children were looked at. Where the record is written anew, `durability` is that of what it replaces.
    ///
    /// # Errors
    /// [`WriteError::Changed`]: look it up again.
    pub async fn renew(
        self: &Arc<Self>,
        record: &Arc<Record>,
        held: Option<u64>,
        durability: Durability,
    ) -> Result<(), WriteError> {
        let sent = self.store.now();
        if !self.writes.admits() {
            return Err(WriteError::Unavailable);
        }
        if self.store.traits().renews_in_place {
            self.writing(self.store.renew(record.key(), record.tag())).await?;
            record.set_renewed(held.unwrap_or(sent).min(sent));
            return Ok(());
        }
        // Payloads are written once: only the record is written anew.
        let body = match record.header.payloads.is_empty() && record.header.size > 0 {
            true => vec![self.inline(record).await.map_err(|e| match e {
                ReadError::Corrupt | ReadError::Gone | ReadError::Replaced => WriteError::Changed,
                ReadError::Unavailable => WriteError::Unavailable,
            })?],
            false => Vec::new(),
        };
        let mut header = record.header.again();
        header.born = Some(header.born.unwrap_or_else(|| record.modified()));
        if let (Some(held), Some(Facts::Manifest(facts))) = (held, header.facts.as_deref_mut()) {
            facts.held = held;
        }
        let when = When::Is(record.tag().clone());
        self.swap(record.key(), header, body, when, durability).await?;
        record.set_renewed(held.unwrap_or(sent).min(sent));
        Ok(())
    }
}

/// One write of several.
#[derive(Debug, Clone)]
pub struct Swap {
    /// The record's key.
    pub key: ObjectKey,
    /// Its header.
    pub header: Header,
    /// Its body, where it carries it in itself.
    pub body: Vec<Bytes>,
    /// Its condition.
    pub when: When,
}

/// A write under way, in the eyes of the memory.
struct Prepared {
    change: Change,
    header: Header,
    start: u64,
    kept: Option<Bytes>,
    /// The store's time before the write: what it renews counts from here.
    sent: u64,
}

impl Prepared {
    fn finish(self, cache: &Cache, outcome: Result<Stamp, WriteError>) -> Result<(), WriteError> {
        let Self { change, header, start, kept, sent } = self;
        let stamp = match outcome {
            Ok(stamp) if cache.store.traits().keep_writes && header.state == State::Live => stamp,
            outcome => {
                change.finish_unknown();
                return outcome.map(drop);
            }
        };
        let body = kept.and_then(|body| Some(cache.hot.make_room(body.len())?.guard(body.to_vec())));
        let modified = stamp.modified.min(sent);
        let record = cache.record(change.key().clone(), header, start, stamp.tag, modified, body);
        change.finish(Known::Live(Arc::new(record)));
        Ok(())
    }
}
