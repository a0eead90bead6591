//! What every handler works with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::gradle::Handles;
use super::log_limit::LogLimit;
use super::misses::Misses;
use crate::auth::Auth;
use crate::cache::Cache;
use crate::config::{GradleConfig, OciConfig, units};
use crate::metrics::Metrics;
use crate::registry::Registry;
use crate::store::Durability;
use crate::store::usage::Usage;

/// The parts that a node is made of.
#[derive(Debug)]
pub struct Parts {
    /// Memory and store.
    pub cache: Arc<Cache>,
    /// Users.
    pub auth: Auth,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Whether Gradle entries are synced before they are acknowledged.
    pub durability: Durability,
    /// How full the store is.
    pub usage: Arc<Usage>,
    /// Repositories.
    pub registry: Arc<Registry>,
    /// What is taken from pushes.
    pub oci: OciConfig,
    /// What is taken from Gradle.
    pub gradle: GradleConfig,
    /// How much of a refused body is read.
    pub max_drain: units::Size,
}

/// A running node, shared by all requests.
#[derive(Debug)]
pub struct Node {
    pub(super) parts: Parts,
    pub(super) handles: Handles,
    pub(super) misses: Misses,
    pub(super) log_limit: LogLimit,
    pub(super) started: Instant,
    ready: AtomicBool,
}

impl Node {
    /// A node that reports to be ready.
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new(Self {
            handles: Handles::new(&parts.metrics),
            misses: Misses::default(),
            log_limit: LogLimit::default(),
            started: Instant::now(),
            ready: AtomicBool::new(true),
            parts,
        })
    }

    /// From now on `/readyz` says no: the node is going.
    pub fn set_unready(&self) {
        self.ready.store(false, Ordering::SeqCst);
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::SeqCst)
    }
}
