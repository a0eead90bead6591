//! The registry: repositories, blobs, manifests, tags, referrers and upload sessions as records of the store.
//!
//! It speaks of the distribution-spec's things in the store's terms and knows nothing of HTTP. What must hold:
//!
//! - What a manifest names was there before it, and is renewed before it (`below`).
//! - Whoever is told that something exists can read it for hours: every such answer goes through `promise`.
//! - What the store cannot say is never told as "not found": lookups hold on (`find`), then say so.
//! - Upload sessions belong to no process (`session`, `upload`).

mod below;
mod blobs;
mod catalog;
mod content;
mod create;
mod error;
mod find;
mod manifests;
mod promise;
mod referrers;
mod removed;
mod session;
mod tags;
mod upload;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

pub use error::RegistryError;
pub use manifests::{Pulled, Push, Pushed};
pub use referrers::{Descriptor, Referrers};
pub use session::SessionId;
pub use tags::Names;
pub use upload::Append;

use self::promise::Promise;
use self::removed::Removed;
use crate::cache::{Cache, Carried, Flights, WriteError};
use crate::model::object::ObjectKey;
use crate::model::seal::Sealer;
use crate::store::Durability;

/// The limits and times of a registry.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A promise older than this is renewed when it is given again.
    pub refresh: Duration,
    /// How much later a renewal may come, and how much older than a manifest what it names may be.
    pub slack: Duration,
    /// How long a lookup is tried again while the store cannot answer.
    pub hold_on: Duration,
    /// The largest blob, in bytes.
    pub max_blob: u64,
    /// Blobs and manifests that one manifest may name.
    pub max_children: usize,
    /// Levels of manifests.
    pub max_depth: u32,
    /// Everything that a manifest may name, all the way down.
    pub max_reach: u64,
    /// Whether pushes are synced before they are acknowledged.
    pub durability: Durability,
}

/// Repositories over a cache. Shared by all requests.
#[derive(Debug)]
pub struct Registry {
    cache: Arc<Cache>,
    settings: Settings,
    sealer: Sealer,
    /// Renewals under way, each for all who wait for it.
    renewals: Flights<ObjectKey, Result<(), WriteError>>,
    manifest_renewals: Flights<ObjectKey, Result<Promise, RegistryError>>,
    removed: Removed,
    /// One at a time: a walk through all repositories reads many folders.
    walks: Semaphore,
    renewed: prometheus::IntCounter,
}

impl Registry {
    /// A registry over `cache`, which signs with `secret`; `renewed` counts renewals.
    pub fn new(cache: Arc<Cache>, settings: Settings, secret: &[u8; 32], renewed: prometheus::IntCounter) -> Arc<Self> {
        Arc::new(Self {
            cache,
            settings,
            sealer: Sealer::new(secret),
            renewals: Flights::default(),
            manifest_renewals: Flights::default(),
            removed: Removed::default(),
            walks: Semaphore::new(1),
            renewed,
        })
    }

    /// The cache below.
    pub fn cache(&self) -> &Arc<Cache> {
        &self.cache
    }
}

/// Carries work to its end, also when the client goes away: it may have sent everything and be gone.
async fn carry<T: Send + 'static>(
    work: impl Future<Output = Result<T, RegistryError>> + Send + 'static,
) -> Result<T, RegistryError> {
    Carried::new(work).await
}
