//! Hot over cold: what is in memory is answered from there, everything else is fetched once for all who ask.

mod body;
mod breaker;
mod budget;
mod carried;
mod chunks;
mod commit;
mod deadlines;
mod error;
mod flight;
mod gather;
mod hot;
mod list;
mod lookup;
mod pieces;
mod record;
mod spool;
mod swap;
mod upload;
mod verify;
mod whole;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use body::Body;
use budget::Budget;
pub use carried::Carried;
pub use commit::Commit;
pub use error::{ReadError, WriteError};
pub use flight::Flights;
pub use lookup::{Found, Lookup, Tier};
pub use pieces::Pieces;
pub use record::Record;
pub use swap::Swap;
pub use upload::{Place, Received, Upload};

use self::breaker::Breaker;
use self::hot::Hot;
use crate::metrics::Metrics;
use crate::model::object::ObjectKey;
use crate::store::{Store, When};

/// The sizes and times of a cache.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Bytes of records and chunks kept in memory.
    pub hot_bytes: usize,
    /// Bytes of bodies on their way in or out that are not in the hot memory.
    pub transfer_bytes: usize,
    /// How long a lookup waits for the store.
    pub lookup_deadline: Duration,
    /// How long reading a part of a body may take.
    pub read_deadline: Duration,
    /// How long a write waits for the store.
    pub write_deadline: Duration,
}

/// A store with a memory before it. Shared by all requests.
#[derive(Debug)]
pub struct Cache {
    store: Arc<dyn Store>,
    hot: Arc<Hot>,
    transfers: Budget,
    reads: Breaker,
    writes: Breaker,
    records: Flights<(ObjectKey, hot::Seen), Lookup>,
    chunk_flights: Flights<record::ChunkId, Result<chunks::Loaded, ReadError>>,
    settings: Settings,
    metrics: Arc<Metrics>,
    damage: AtomicU64,
}

impl Cache {
    /// A cache over `store`, empty at first.
    pub fn new(store: Arc<dyn Store>, settings: Settings, metrics: Arc<Metrics>) -> Arc<Self> {
        let limit = |name, bytes: usize| {
            metrics.memory_limit_bytes.with_label_values(&[name]).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        };
        limit("hot", settings.hot_bytes);
        limit("transfers", settings.transfer_bytes);
        Arc::new(Self {
            hot: Arc::new(Hot::new(settings.hot_bytes)),
            transfers: Budget::new(settings.transfer_bytes),
            reads: Breaker::new("reads", Arc::clone(&metrics)),
            writes: Breaker::new("writes", Arc::clone(&metrics)),
            records: Flights::default(),
            chunk_flights: Flights::default(),
            store,
            settings,
            metrics,
            damage: AtomicU64::new(0),
        })
    }

    /// How often something that others may name was found damaged or was taken away. Who remembers that everything was
    /// there looks again when this has moved.
    pub fn damage(&self) -> u64 {
        self.damage.load(Ordering::SeqCst)
    }

    /// Something that others may name was taken away.
    pub fn note_damage(&self) {
        self.damage.fetch_add(1, Ordering::SeqCst);
    }

    /// Removes a record; `false` when there was none. Its payloads are left to the sweep, because somebody may be
    /// reading them.
    ///
    /// # Errors
    /// [`WriteError::Unavailable`] when the store does not do it in time.
    pub async fn remove(&self, key: &ObjectKey) -> Result<bool, WriteError> {
        let was_there = match self.reading_within(self.settings.lookup_deadline, self.store.read(key, 1)).await {
            Ok(_) | Err(ReadError::Corrupt | ReadError::Replaced) => true,
            Err(ReadError::Gone) => false,
            Err(ReadError::Unavailable) => return Err(WriteError::Unavailable),
        };
        let (store, gone) = (Arc::clone(&self.store), key.clone());
        let removal = async move { store.remove(&gone, When::Always).await };
        let (_change, removed) = self.changing(self.hot.change(key), removal).await?;
        self.wrote(removed).map(|()| was_there)
    }

    /// Copies what the memory knows of itself into the metrics.
    pub fn observe(&self) {
        let used = |name, budget: &Budget| {
            let used = i64::try_from(budget.used()).unwrap_or(i64::MAX);
            self.metrics.memory_used_bytes.with_label_values(&[name]).set(used);
        };
        used("hot", self.hot.budget());
        used("transfers", &self.transfers);
        let (records, chunks) = self.hot.items();
        let items = |kind, n: u64| self.metrics.memory_items.with_label_values(&[kind]).set(n.cast_signed());
        items("records", records);
        items("chunks", chunks);
    }
}
