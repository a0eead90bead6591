//! Metrics of the hot path, resolved once, and what is told in words only once.

use std::sync::atomic::{AtomicBool, Ordering};

use prometheus::{Histogram, IntCounter};

use crate::cache::Tier;
use crate::metrics::Metrics;

/// Labelled metrics that every request touches.
#[derive(Debug)]
pub struct Handles {
    /// Latency of a hit out of memory.
    pub get_hot: Histogram,
    /// Latency of a hit out of the store.
    pub get_cold: Histogram,
    /// Latency of a miss that memory knew of.
    pub miss_hot: Histogram,
    /// Latency of a miss that the store was asked for.
    pub miss_cold: Histogram,
    /// Latency of a store, from its head to its answer.
    pub put: Histogram,
    /// Bytes that went to clients.
    pub bytes_out: IntCounter,
    /// Bytes that came from clients.
    pub bytes_in: IntCounter,
    /// Manifests that were found.
    pub oci_hits: IntCounter,
    /// Manifests that were not.
    pub oci_misses: IntCounter,
    /// Latency of a manifest that was found.
    pub oci_hit: Histogram,
    /// Latency of one that was not.
    pub oci_miss: Histogram,
    /// Bytes of blobs that went to clients.
    pub oci_out: IntCounter,
    /// Bytes of blobs that came from clients.
    pub oci_in: IntCounter,
    first_hit: AtomicBool,
    first_store: AtomicBool,
}

impl Handles {
    /// Resolves the labels.
    pub fn new(metrics: &Metrics) -> Self {
        let latency = |route, tier| metrics.latency.with_label_values(&[route, tier]);
        Self {
            get_hot: latency("gradle-hit", "memory"),
            get_cold: latency("gradle-hit", "store"),
            miss_hot: latency("gradle-miss", "memory"),
            miss_cold: latency("gradle-miss", "store"),
            put: latency("gradle-store", "store"),
            bytes_out: metrics.bytes.with_label_values(&["out"]),
            bytes_in: metrics.bytes.with_label_values(&["in"]),
            oci_hits: metrics.oci_lookups.with_label_values(&["hit"]),
            oci_misses: metrics.oci_lookups.with_label_values(&["miss"]),
            oci_hit: latency("oci-manifest-hit", "any"),
            oci_miss: latency("oci-manifest-miss", "any"),
            oci_out: metrics.oci_bytes.with_label_values(&["out"]),
            oci_in: metrics.oci_bytes.with_label_values(&["in"]),
            first_hit: AtomicBool::new(true),
            first_store: AtomicBool::new(true),
        }
    }

    /// Where the latency of a hit goes.
    pub fn hit(&self, tier: Tier) -> &Histogram {
        match tier {
            Tier::Hot => &self.get_hot,
            Tier::Cold => &self.get_cold,
        }
    }

    /// Where the latency of a miss goes.
    pub fn miss(&self, tier: Tier) -> &Histogram {
        match tier {
            Tier::Hot => &self.miss_hot,
            Tier::Cold => &self.miss_cold,
        }
    }

    /// True for the first hit of a start.
    pub fn is_first_hit(&self) -> bool {
        self.first_hit.load(Ordering::Relaxed) && self.first_hit.swap(false, Ordering::Relaxed)
    }

    /// True for the first store of a start.
    pub fn is_first_store(&self) -> bool {
        self.first_store.load(Ordering::Relaxed) && self.first_store.swap(false, Ordering::Relaxed)
    }
}
