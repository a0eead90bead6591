//! The version of a store's layout: written at first use, checked at every start.

use serde::{Deserialize, Serialize};

use super::{Durability, Store, StoreError, When, system};

/// The layout that this program writes and reads.
const FORMAT: u32 = 1;
const NAME: &str = "format";

#[derive(Debug, Serialize, Deserialize)]
struct Format {
    format: u32,
}

/// Makes sure that this program may use the store.
///
/// # Errors
/// One line that says what to do: the store was written by a newer larder, or cannot be read or written.
pub async fn check(store: &dyn Store) -> Result<(), String> {
    let failed = |e: StoreError| match e {
        StoreError::NoSpace => "the store has no space left, not even for its first record".to_owned(),
        e => format!("the store cannot be used: {e}"),
    };
    let found: Option<Format> = system::read(store, NAME).await.map_err(failed)?;
    match found {
        Some(Format { format: FORMAT }) => Ok(()),
        Some(Format { format }) => Err(format!(
            "the store has format {format} and this larder knows format {FORMAT}: use the version that wrote it, or an empty store"
        )),
        // Absent, or damaged: a store of the only format there is so far.
        None => write(store, FORMAT).await.map_err(failed),
    }
}

async fn write(store: &dyn Store, format: u32) -> Result<(), StoreError> {
    system::write(store, NAME, &Format { format }, When::Always, Durability::Synced).await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::MemoryStore;

    #[tokio::test]
    async fn a_newer_format_is_refused_with_advice() {
        let store = MemoryStore::new(Arc::default());
        check(&store).await.unwrap();
        check(&store).await.unwrap();
        write(&store, 9).await.unwrap();
        assert!(check(&store).await.unwrap_err().contains("format 9"));
    }
}
