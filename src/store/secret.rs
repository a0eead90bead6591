//! The store's secret: made once, known to every node over the store, shown to nobody.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::{Deserialize, Serialize};

use super::{Durability, Store, StoreError, When, system};

const NAME: &str = "secret";

#[derive(Serialize, Deserialize)]
struct Saved {
    key: String,
}

/// The secret, which is made where there is none.
///
/// # Errors
/// One line that says what to do.
pub async fn load(store: &dyn Store) -> Result<[u8; 32], String> {
    for _ in 0..3 {
        if let Some(saved) = system::read::<Saved>(store, NAME).await.map_err(|e| failed(&e))? {
            let key = STANDARD_NO_PAD.decode(saved.key).ok().and_then(|bytes| bytes.try_into().ok());
            return key.ok_or_else(|| "the store's system/secret is damaged: remove it, and a new one is made".into());
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| format!("no random numbers from the system: {e}"))?;
        let saved = Saved { key: STANDARD_NO_PAD.encode(key) };
        match system::write(store, NAME, &saved, When::Absent, Durability::Synced).await {
            Ok(_) => return Ok(key),
            // Another node was first, or what is there is damaged: read it again.
            Err(StoreError::Changed) => {}
            // A full store must not keep a node from serving what is there.
            Err(StoreError::NoSpace) => {
                tracing::warn!("there is no space for the store's secret: tokens and uploads end with this process");
                return Ok(key);
            }
            Err(e) => return Err(failed(&e)),
        }
    }
    Err("the store's system/secret cannot be read: remove it, and a new one is made".into())
}

fn failed(e: &StoreError) -> String {
    format!("the store's secret cannot be read or made: {e}")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::store::MemoryStore;

    #[tokio::test]
    async fn it_is_made_once() {
        let store = MemoryStore::new(Arc::default());
        let first = load(&store).await.unwrap();
        assert_eq!(load(&store).await.unwrap(), first);
        assert_ne!(first, [0; 32]);
    }
}
