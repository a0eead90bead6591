//! Lookups that hold on: a hiccup of the store is not told as "not found", nor at once as an error.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Registry, RegistryError};
use crate::cache::{Lookup, ReadError, Record};
use crate::model::object::ObjectKey;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A record that appears this long after its oldest payload was begun was written by a process that had been frozen:
/// the sweep may have taken its payloads for abandoned.
const LATE_MS: u64 = 30 * 3600 * 1000;

impl Registry {
    /// The live record under a key.
    pub(super) async fn find(&self, key: &ObjectKey) -> Result<Option<Arc<Record>>, RegistryError> {
        let mut patience = None;
        loop {
            match self.cache.lookup(key).await {
                Lookup::Live(record, _) => return Ok((!self.is_late(&record)).then_some(record)),
                Lookup::Absent(_) => return Ok(None),
                // There is something, and only a newer node can say what.
                Lookup::Newer => return Err(RegistryError::Unavailable),
                Lookup::Unavailable => {
                    patience.get_or_insert_with(|| Patience::new(self.settings.hold_on)).wait().await?;
                }
            }
        }
    }

    /// What is under a key in the store, whatever its state.
    pub(super) async fn inspect(&self, key: &ObjectKey) -> Result<Option<Arc<Record>>, RegistryError> {
        let found = self.hold_on(|| self.cache.inspect(key)).await?;
        // Removed between the two looks of a read.
        Ok(found.unwrap_or(None))
    }

    /// Asks the cache again while it cannot answer. What is left is an answer, or what is wrong with what is there.
    pub(super) async fn hold_on<T, F: Future<Output = Result<T, ReadError>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<Result<T, ReadError>, RegistryError> {
        let mut patience = Patience::new(self.settings.hold_on);
        loop {
            match ask().await {
                Err(ReadError::Unavailable) => patience.wait().await?,
                answer => return Ok(answer),
            }
        }
    }

    /// Whether a record came so late that it counts as dead. Where renewals leave the record as it is, only this process
    /// writes, and nothing comes late.
    pub(super) fn is_late(&self, record: &Record) -> bool {
        if record.header.payloads.is_empty() || record.header.born.is_some() || self.cache.renews_in_place() {
            return false;
        }
        let oldest = record.header.payloads.iter().filter_map(|payload| payload.key.payload_id()).min();
        oldest.is_some_and(|id| record.modified().saturating_sub(id.timestamp_ms()) > LATE_MS)
    }
}

/// Waits longer and longer, up to a limit.
pub(super) struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    pub fn new(limit: Duration) -> Self {
        Self { until: Instant::now() + limit, pause: FIRST_PAUSE }
    }

    /// # Errors
    /// [`RegistryError::Unavailable`] when it is at its end.
    pub async fn wait(&mut self) -> Result<(), RegistryError> {
        if Instant::now() >= self.until {
            return Err(RegistryError::Unavailable);
        }
        sleep(self.pause.min(self.until - Instant::now())).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}
