//! Making a record appear with a body that was received, whatever was there before: the last writer wins.

use std::sync::Arc;

use tokio::time::timeout;

use super::Cache;
use super::carried::Carried;
use super::error::WriteError;
use super::hot::Known;
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
        let mut header = received.header();
        header.writer = commit.writer;
        header.task = commit.task;
        let differs = match self.hot.get(&key) {
            Some(Known::Live(old)) => old.header.size != header.size || old.header.sums != header.sums,
            _ => false,
        };
        match self.swap(&key, header, received.inline, When::Always, commit.durability).await {
            Ok(()) => Ok(differs),
            Err(error) => {
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
