//! What is counted. A metric is a struct field, its doc comment the HELP text; the registry is the node's own.

mod process;

use prometheus::core::Collector;
use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Makes the struct, its constructor and the registration from one list.
macro_rules! metrics {
    ($( $(#[doc = $help:literal])+ $field:ident : $kind:ident $args:tt => $name:literal, )*) => {
        /// Every metric of a node. Fields are resolved once; counting is an atomic addition.
        #[derive(Debug)]
        pub struct Metrics {
            registry: Registry,
            $( $(#[doc = $help])+ pub $field: $kind, )*
        }

        impl Metrics {
            /// Registers everything.
            ///
            /// # Errors
            /// Only if two metrics share a name, which the tests would show.
            pub fn new() -> prometheus::Result<Self> {
                let registry = Registry::new();
                $( let $field = metrics!(@make $kind $args, $name, concat!($($help),+).trim()); )*
                $( registry.register(Box::new($field.clone()))?; )*
                Ok(Self { registry, $($field),* })
            }
        }
    };
    (@make IntCounter (), $name:literal, $help:expr) => { IntCounter::new($name, $help)? };
    (@make IntGauge (), $name:literal, $help:expr) => { IntGauge::new($name, $help)? };
    (@make Counter (), $name:literal, $help:expr) => { Counter::new($name, $help)? };
    (@make IntCounterVec ($($label:literal),+), $name:literal, $help:expr) => {
        IntCounterVec::new(Opts::new($name, $help), &[$($label),+])?
    };
    (@make IntGaugeVec ($($label:literal),+), $name:literal, $help:expr) => {
        IntGaugeVec::new(Opts::new($name, $help), &[$($label),+])?
    };
    (@make Histogram ($buckets:expr), $name:literal, $help:expr) => {
        Histogram::with_opts(HistogramOpts::new($name, $help).buckets($buckets))?
    };
    (@make HistogramVec ($buckets:expr; $($label:literal),+), $name:literal, $help:expr) => {
        HistogramVec::new(HistogramOpts::new($name, $help).buckets($buckets), &[$($label),+])?
    };
}

use prometheus::{Counter, IntGaugeVec};

metrics! {
    /// Gradle lookups that were answered with an entry.
    hits: IntCounter () => "larder_gradle_hits_total",
    /// Gradle lookups that found nothing.
    misses: IntCounter () => "larder_gradle_misses_total",
    /// Gradle entries that were stored.
    stores: IntCounter () => "larder_gradle_stores_total",
    /// Gradle entries that were accepted from the client and not kept, by reason.
    declined: IntCounterVec ("reason") => "larder_gradle_declined_total",
    /// Gradle lookups that could not be answered from the store and were told as misses.
    lookup_failures: IntCounter () => "larder_gradle_lookup_failures_total",
    /// Gradle entries that did not begin as a gzip with METADATA and were stored all the same.
    unrecognised: IntCounter () => "larder_gradle_unrecognised_total",
    /// Stores of a key that was in memory with other bytes.
    differing: IntCounter () => "larder_gradle_differing_total",
    /// Execution time of the tasks whose outputs were hits, in seconds.
    saved_seconds: Counter () => "larder_saved_seconds_total",
    /// Bytes of Gradle entries, by direction as the client sees it.
    bytes: IntCounterVec ("direction") => "larder_gradle_bytes_total",
    /// Lookups of manifests, by what came of them.
    oci_lookups: IntCounterVec ("outcome") => "larder_oci_lookups_total",
    /// Lookups of manifests that the store did not answer in time; clients were asked to come back.
    oci_unavailable: IntCounter () => "larder_oci_lookup_failures_total",
    /// Blobs and manifests that were pushed.
    oci_pushes: IntCounterVec ("kind") => "larder_oci_pushes_total",
    /// Blobs that were mounted out of another repository.
    oci_mounts: IntCounter () => "larder_oci_mounts_total",
    /// Records whose lease was renewed because somebody was told that they exist.
    oci_renewals: IntCounter () => "larder_oci_renewals_total",
    /// Bytes of blobs, by direction as the client sees it.
    oci_bytes: IntCounterVec ("direction") => "larder_oci_bytes_total",
    /// Sizes of stored Gradle entries in bytes.
    entry_bytes: Histogram (size_buckets()) => "larder_gradle_entry_bytes",
    /// Time from a request's head to its answer's head, in seconds, by route and by the tier that answered.
    latency: HistogramVec (latency_buckets(); "route", "tier") => "larder_request_seconds",
    /// Records and payloads that failed their check and read as misses.
    corrupt: IntCounter () => "larder_store_corrupt_total",
    /// Lookups that met a record of a newer larder, which is left alone and reads as a miss.
    newer: IntCounter () => "larder_store_newer_total",
    /// Store operations that failed or took too long, by operation.
    store_failures: IntCounterVec ("operation") => "larder_store_failures_total",
    /// 1 while the store is not asked because it failed repeatedly, by kind of operation.
    breaker_open: IntGaugeVec ("operation") => "larder_store_breaker_open",
    /// Bytes in the store, as far as known.
    store_bytes: IntGauge () => "larder_store_bytes",
    /// Records and payloads in the store, as far as known.
    store_objects: IntGauge () => "larder_store_objects",
    /// Bytes free in the store's file system.
    store_free_bytes: IntGauge () => "larder_store_free_bytes",
    /// Bytes in use of each memory budget, with what readers still hold.
    memory_used_bytes: IntGaugeVec ("budget") => "larder_memory_used_bytes",
    /// Configured size of each memory budget.
    memory_limit_bytes: IntGaugeVec ("budget") => "larder_memory_limit_bytes",
    /// Things in memory: records, chunks.
    memory_items: IntGaugeVec ("kind") => "larder_memory_items",
    /// Open connections.
    connections: IntGauge () => "larder_connections",
    /// Times that server.max_connections were open and the next one had to wait.
    connections_full: IntCounter () => "larder_connections_full_total",
    /// Connections that were cut, by reason.
    cut: IntCounterVec ("reason") => "larder_connections_cut_total",
    /// Requests that were refused because their credentials were wrong or missing.
    auth_failures: IntCounter () => "larder_auth_failures_total",
    /// Requests whose handling panicked.
    panics: IntCounter () => "larder_panics_total",
    /// Resident memory of the process in bytes.
    process_resident_memory_bytes: IntGauge () => "process_resident_memory_bytes",
    /// Processor time of the process in seconds.
    process_cpu_seconds: Counter () => "process_cpu_seconds_total",
    /// Open file descriptors of the process.
    process_open_fds: IntGauge () => "process_open_fds",
    /// Start of the process in seconds since 1970.
    process_start_time_seconds: IntGauge () => "process_start_time_seconds",
}

fn latency_buckets() -> Vec<f64> {
    vec![0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0]
}

fn size_buckets() -> Vec<f64> {
    (0..10).map(|i| 256.0 * 4f64.powi(i)).collect()
}

impl Metrics {
    /// Everything in Prometheus' text format.
    pub fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a string fails only for a metric without values, which is left out.
        let _ = prometheus::TextEncoder::new().encode_utf8(&self.registry.gather(), &mut text);
        text
    }

    /// The values of a labelled counter that are not zero, by label.
    pub fn by_label(vec: &IntCounterVec) -> Vec<(String, u64)> {
        let families = vec.collect();
        let values = families.iter().flat_map(|family| family.get_metric());
        values
            .map(|m| {
                let label = m.get_label().first().map(|l| l.value().to_owned()).unwrap_or_default();
                (label, m.get_counter().get_value() as u64)
            })
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_values_are_rendered() {
        let metrics = Metrics::new().unwrap();
        metrics.hits.inc();
        metrics.declined.with_label_values(&["too-large"]).inc_by(2);
        let text = metrics.render();
        assert!(text.contains("larder_gradle_hits_total 1"), "{text}");
        assert!(text.contains("# HELP larder_gradle_hits_total Gradle lookups that were answered with an entry."));
        assert_eq!(Metrics::by_label(&metrics.declined), [("too-large".to_owned(), 2)]);
    }
}
