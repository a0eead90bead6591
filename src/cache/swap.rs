//! Records whose writes depend on what is there: read past the memory, swapped on a condition, renewed.

use std::sync::Arc;

use bytes::Bytes;

use super::Cache;
use super::body::Body;
use super::budget::Permit;
use super::error::{ReadError, WriteError};
use super::hot::Known;
use super::record::{Record, SMALL};
use crate::model::facts::Facts;
use crate::model::object::ObjectKey;
use crate::model::record::{Header, HeaderError, MAX_HEADER, State};
use crate::model::sums::Sums;
use crate::store::{Durability, Listed, When};

impl Cache {
    /// The store's time, in milliseconds since 1970.
    pub fn now(&self) -> u64 {
        self.store.now()
    }

    /// Memory for something that has to be in memory as a whole, at most all that there is for bodies.
    ///
    /// # Errors
    /// [`WriteError::Unavailable`] when there is none within the write deadline.
    pub async fn reserve(&self, bytes: usize) -> Result<Permit, WriteError> {
        self.floor(bytes).await
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
            let record = Record::new(key.clone(), header, start as u64, fetched.tag, fetched.modified, None);
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
    ) -> Result<Arc<Record>, WriteError> {
        if !self.writes.admits() {
            return Err(WriteError::Unavailable);
        }
        let small = match body.as_slice() {
            [only] if only.len() <= SMALL => Some(only.clone()),
            _ => None,
        };
        let encoded = Bytes::from(header.encode());
        let start = encoded.len() as u64;
        let parts = std::iter::once(encoded).chain(body).collect();
        let change = self.hot.change(key);
        let stamp = match self.writing(self.store.write(key, parts, when, durability)).await {
            Ok(stamp) => stamp,
            Err(e) => {
                change.finish_unknown();
                return Err(e);
            }
        };
        let keep = self.store.traits().keep_writes && header.state == State::Live;
        let room = |body: Bytes| Some(self.hot.make_room(body.len())?.guard(body.to_vec()));
        let kept = small.filter(|_| keep).and_then(room);
        let record = Arc::new(Record::new(key.clone(), header, start, stamp.tag, stamp.modified, kept));
        if keep {
            change.finish(Known::Live(Arc::clone(&record)))
        } else {
            change.finish_unknown()
        }
        Ok(record)
    }

    /// Renews a live record, if it still is the one in the store. `held` replaces what a manifest says of when its
    /// children were looked at.
    ///
    /// # Errors
    /// [`WriteError::Changed`]: look it up again.
    pub async fn renew(self: &Arc<Self>, record: &Arc<Record>, held: Option<u64>) -> Result<(), WriteError> {
        let sent = self.store.now();
        if held.is_none() && self.store.traits().renews_in_place {
            self.writing(self.store.renew(record.key(), record.tag())).await?;
            record.set_renewed(sent);
            return Ok(());
        }
        let body = self.inline(record).await.map_err(|e| match e {
            ReadError::Corrupt | ReadError::Gone => WriteError::Changed,
            ReadError::Unavailable => WriteError::Unavailable,
        })?;
        let mut header = record.header.again();
        header.born = Some(header.born.unwrap_or_else(|| record.modified()));
        if let (Some(held), Some(Facts::Manifest(facts))) = (held, header.facts.as_deref_mut()) {
            facts.held = held;
        }
        let when = When::Is(record.tag().clone());
        self.swap(record.key(), header, body, when, Durability::Process).await?;
        record.set_renewed(held.unwrap_or(sent).min(sent));
        Ok(())
    }

    /// The checked body of a record that carries it in itself. What is in memory of it stays paid for.
    ///
    /// # Errors
    /// [`ReadError`]; what is damaged was marked so.
    pub async fn inline(self: &Arc<Self>, record: &Arc<Record>) -> Result<Vec<Bytes>, ReadError> {
        let mut pieces = match self.stream(record, 0..record.header.size).await? {
            Body::Whole(bytes) => return Ok(vec![bytes]),
            Body::Stream(pieces) => pieces,
        };
        let mut parts = Vec::new();
        while let Some(piece) = pieces.next().await {
            parts.push(piece?);
        }
        Ok(parts)
    }

    /// Up to about `limit` objects whose keys begin with `prefix` and follow `after`, in key order.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    pub async fn list(&self, prefix: &str, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<Listed>, ReadError> {
        if !self.reads.admits() {
            return Err(ReadError::Unavailable);
        }
        self.reading(self.store.list(prefix, after, limit)).await
    }
}
