//! One check at a time for the same credentials: a fleet that starts at once with one password is one check.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

type Turns = Arc<Mutex<HashMap<Box<[u8]>, Arc<AsyncMutex<()>>>>>;

/// Credentials that are being checked.
#[derive(Default)]
pub struct Alone {
    turns: Turns,
}

impl std::fmt::Debug for Alone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Alone").finish_non_exhaustive()
    }
}

/// Held while credentials are checked.
pub struct Guard {
    turns: Turns,
    credentials: Box<[u8]>,
    held: Option<OwnedMutexGuard<()>>,
}

impl Alone {
    /// Waits until nobody else checks these credentials.
    pub async fn enter(&self, credentials: &[u8]) -> Guard {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(credentials.into()).or_default())
        };
        let held = Some(turn.lock_owned().await);
        Guard { turns: Arc::clone(&self.turns), credentials: credentials.into(), held }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        self.held = None;
        // Nobody waits: those who do hold a reference of their own.
        if turns.get(&self.credentials).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(&self.credentials);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_same_credentials_take_turns_and_leave_nothing() {
        let alone = Arc::new(Alone::default());
        let first = alone.enter(b"a").await;
        let other = alone.enter(b"b").await;
        let second = {
            let alone = Arc::clone(&alone);
            tokio::spawn(async move { drop(alone.enter(b"a").await) })
        };
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(first);
        second.await.unwrap();
        drop(other);
        assert!(alone.turns.lock().unwrap().is_empty());
    }
}
