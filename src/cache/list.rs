//! Listings of the store, past the memory.

use super::Cache;
use super::error::ReadError;
use crate::model::object::ObjectKey;
use crate::store::Listed;

impl Cache {
    /// Up to `limit` folders directly below `prefix`, in order, after `after`.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`].
    pub async fn folders(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>, ReadError> {
        if !self.reads.admits() {
            return Err(ReadError::Unavailable);
        }
        self.reading(self.store.folders(prefix, after, limit)).await
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
