//! `[store]`: the cold tier.

use serde::{Deserialize, Serialize};

use super::units::Period;

/// Where entries are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// `file:///directory`, a plain path, or `memory://`.
    pub url: String,
    /// What is synced to disk before it is acknowledged.
    pub fsync: Fsync,
    /// How long a lookup waits for the store before it is told as a miss.
    pub lookup_deadline: Period,
    /// How long reading one part of a body may take.
    pub read_deadline: Period,
    /// How long a write may take before the entry is declined. Gradle gives up at 30 s.
    pub write_deadline: Period,
    /// How often the count of what is stored is written down.
    pub usage_interval: Period,
}

/// When a write is synced before it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fsync {
    /// Never: a power cut may lose what was just written.
    Never,
    /// Images and layers are, Gradle entries are not: they can be built again.
    Oci,
    /// Everything is.
    Always,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            url: "file://./larder-data".into(),
            fsync: Fsync::Oci,
            lookup_deadline: Period::secs(2),
            read_deadline: Period::secs(10),
            write_deadline: Period::secs(20),
            usage_interval: Period::secs(60),
        }
    }
}

impl StoreConfig {
    pub(super) fn validate(&self) -> Result<(), String> {
        let times = [
            ("lookup_deadline", self.lookup_deadline),
            ("read_deadline", self.read_deadline),
            ("write_deadline", self.write_deadline),
            ("usage_interval", self.usage_interval),
        ];
        match times.iter().find(|(_, period)| period.0.is_zero()) {
            Some((name, _)) => Err(format!("store.{name}: must be longer than nothing")),
            None => Ok(()),
        }
    }
}
