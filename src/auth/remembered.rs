//! Credentials that were good before, under a keyed hash.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use sha2::{Digest, Sha256};

use super::Identity;

/// There are few users; more credentials than this at once are somebody's game.
const MOST: usize = 1024;

/// When credentials were good, and whose they are, by their hash.
type Known = HashMap<[u8; 32], (Instant, Arc<Identity>)>;

/// Good credentials. Users do not change while a node runs, so these stay good; what is kept is a hash under a key that is
/// never shown, so that a memory dump holds no header.
pub struct Remembered {
    /// Short enough that a usual header and it are one block of the hash.
    key: [u8; 16],
    known: RwLock<Known>,
}

impl std::fmt::Debug for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remembered").finish_non_exhaustive()
    }
}

impl Remembered {
    pub fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 16];
        getrandom::fill(&mut key)?;
        Ok(Self { key, known: RwLock::default() })
    }

    /// Whose credentials these are, if they were good before.
    pub fn get(&self, credentials: &[u8]) -> Option<Arc<Identity>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(&self.hash(credentials)).map(|(_, identity)| Arc::clone(identity))
    }

    /// Remembers good credentials; the oldest make room.
    pub fn keep(&self, credentials: &[u8], identity: &Arc<Identity>) {
        let hash = self.hash(credentials);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST
            && let Some(oldest) = known.iter().min_by_key(|(_, (since, _))| *since).map(|(hash, _)| *hash)
        {
            known.remove(&oldest);
        }
        known.insert(hash, (Instant::now(), Arc::clone(identity)));
    }

    fn hash(&self, credentials: &[u8]) -> [u8; 32] {
        // The output is never shown, so that a plain prefix is as good as an HMAC, at half its price.
        Sha256::new().chain_update(self.key).chain_update(credentials).finalize().into()
    }
}
