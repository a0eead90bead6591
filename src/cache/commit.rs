//! Making a record appear with a body that was received, whatever was there before: the last writer wins.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::timeout;

use super::Cache;
use super::carried::Carried;
use super::error::WriteError;
use super::hot::Known;
use super::record::{Record, SMALL};
use super::upload::Upload;
use crate::model::metadata::Task;
use crate::model::object::ObjectKey;
use crate::model::record::Writer;
use crate::store::{Durability, When};

/// What goes into a record beside the body.
#[derive(Debug, Clone)]
pub struct Commit {
    /// Whether it is synced before it is acknowledged.
    pub durability: Durability,
    /// Who wrote it.
    pub writer: Writer,
    /// What METADATA told.
    pub task: Option<Task>,
}

impl Cache {
    /// Makes the record appear with this body, whole. Once begun it is carried to its end, also when the caller goes
    /// away: the client may have sent everything and be gone.
    ///
    /// Gives whether memory knew the key with other bytes.
    ///
    /// # Errors
    /// [`WriteError`]; the record is then what it was before, or, after [`WriteError::Unavailable`], perhaps this.
    pub async fn commit(self: &Arc<Self>, key: ObjectKey, upload: Upload, commit: Commit) -> Result<bool, WriteError> {
        let put = Carried::new(Arc::clone(self).put(key, upload, commit));
        // The steps have deadlines of their own; the client has one for all of them.
        timeout(self.settings.write_deadline, put).await.unwrap_or(Err(WriteError::Unavailable))
    }

    async fn put(self: Arc<Self>, key: ObjectKey, upload: Upload, commit: Commit) -> Result<bool, WriteError> {
        let received = upload.finish().await?;
        if !self.writes.admits() {
            return Err(WriteError::Unavailable);
        }
        let mut header = received.header();
        header.writer = commit.writer;
        header.task = commit.task;
        let differs = match self.hot.get(&key) {
            Some(Known::Live(old)) => old.header.size != header.size || old.header.sums != header.sums,
            _ => false,
        };
        let small = match received.inline.as_slice() {
            [only] if only.len() <= SMALL => Some(only.clone()),
            _ => None,
        };
        let encoded = Bytes::from(header.encode());
        let start = encoded.len() as u64;
        let parts = std::iter::once(encoded).chain(received.inline).collect();
        let (store, at) = (Arc::clone(&self.store), key.clone());
        let write = async move { store.write(&at, parts, When::Always, commit.durability).await };
        let (change, outcome) = self.changing(self.hot.change(&key), write).await?;
        match self.wrote(outcome) {
            Ok(stamp) if self.store.traits().keep_writes => {
                let room = |body: Bytes| Some(self.hot.make_room(body.len())?.guard(body.to_vec()));
                let record = Record::new(key, header, start, stamp.tag, stamp.modified, small.and_then(room));
                change.finish(Known::Live(Arc::new(record)));
                Ok(differs)
            }
            Ok(_) => {
                change.finish_unknown();
                Ok(differs)
            }
            Err(error) => {
                change.finish_unknown();
                // Only what certainly no record names is removed here; the rest is the sweep's.
                if let (WriteError::NoSpace, Some(payload)) = (error, received.payload) {
                    self.discard(&payload).await;
                }
                Err(error)
            }
        }
    }

    /// Removes a payload that no record names or will name. What cannot be removed is the sweep's.
    pub async fn discard(&self, payload: &ObjectKey) {
        let _ = timeout(self.settings.write_deadline, self.store.remove(payload, When::Always)).await;
    }
}
