//! larder's own small records, `system/<name>`: a header like every record's, and JSON.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Durability, Stamp, Store, StoreError, When};
use crate::model::INLINE;
use crate::model::object::ObjectKey;
use crate::model::record::{Header, HeaderError};
use crate::model::sums::Sums;

/// Reads a system record; `None` where there is none, or a damaged one.
pub async fn read<T: DeserializeOwned>(store: &dyn Store, name: &str) -> Result<Option<T>, StoreError> {
    let fetched = match store.read(&ObjectKey::system(name), INLINE as usize).await {
        Err(StoreError::NotFound) => return Ok(None),
        fetched => fetched?,
    };
    let (header, start) = match Header::decode(&fetched.head) {
        Ok(decoded) => decoded,
        Err(HeaderError::Newer(v)) => {
            return Err(StoreError::Unavailable(format!("system/{name} was written by a newer larder (format {v})")));
        }
        Err(_) => return Ok(None),
    };
    let body = &fetched.head[start..];
    if !header.sums.holds(0, body) {
        return Ok(None);
    }
    Ok(serde_json::from_slice(body).ok())
}

/// Writes a system record.
pub async fn write<T: Serialize>(
    store: &dyn Store,
    name: &str,
    value: &T,
    when: When,
    durability: Durability,
) -> Result<Stamp, StoreError> {
    let body = serde_json::to_vec(value).map_err(|e| StoreError::Unavailable(e.to_string()))?;
    let header = Header::new(body.len() as u64, Sums::of(&body));
    let parts = vec![Bytes::from(header.encode()), Bytes::from(body)];
    store.write(&ObjectKey::system(name), parts, when, durability).await
}
