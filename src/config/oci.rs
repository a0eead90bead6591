//! `[oci]`: the registry of images, layers and layer caches.

use serde::{Deserialize, Serialize};

use super::units::{Period, Size};

/// What is taken from pushes, and how long what was told holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OciConfig {
    /// The largest manifest that is taken.
    pub max_manifest: Size,
    /// The largest blob that is taken.
    pub max_blob: Size,
    /// Blobs and manifests that one manifest may name.
    pub max_children: usize,
    /// Levels of indexes and manifests.
    pub max_depth: u32,
    /// Everything that a manifest may name, all the way down.
    pub max_reach: u64,
    /// Names in one page of a list.
    pub max_page: usize,
    /// A blob or manifest that was not renewed for this long is renewed when somebody is told that it exists.
    pub refresh: Period,
    /// How much later that may happen, and how much older than a manifest what it names may be.
    pub slack: Period,
    /// How long a lookup is tried again while the store cannot answer, before the client is told to come back.
    pub hold_on: Period,
    /// How long a token of `/v2/token` is good.
    pub token_ttl: Period,
    /// What kaniko is started with as `--cache-ttl`: only for telling why it did not use a layer.
    pub kaniko_ttl: Period,
}

/// Registries take manifests of at least 4 MiB (distribution-spec, "Pushing manifests").
const LEAST_MANIFEST: Size = Size::mib(4);
const MOST_MANIFEST: Size = Size::mib(64);

impl Default for OciConfig {
    fn default() -> Self {
        Self {
            max_manifest: Size::mib(8),
            max_blob: Size::mib(64 << 10),
            max_children: 4096,
            max_depth: 8,
            max_reach: 20_000,
            max_page: 1000,
            refresh: Period::secs(24 * 3600),
            slack: Period::secs(3600),
            hold_on: Period::secs(5),
            token_ttl: Period::secs(3600),
            kaniko_ttl: Period::secs(336 * 3600),
        }
    }
}

impl OciConfig {
    pub(super) fn validate(&self) -> Result<(), String> {
        if !(LEAST_MANIFEST..=MOST_MANIFEST).contains(&self.max_manifest) {
            return Err(format!("oci.max_manifest: between {LEAST_MANIFEST} and {MOST_MANIFEST}"));
        }
        let counts = [
            ("max_blob", self.max_blob.0),
            ("max_children", self.max_children as u64),
            ("max_depth", u64::from(self.max_depth)),
            ("max_reach", self.max_reach),
            ("max_page", self.max_page as u64),
        ];
        if let Some((name, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(format!("oci.{name}: must be more than nothing"));
        }
        if self.max_children > 20_000 {
            return Err("oci.max_children: at most 20000".into());
        }
        if self.max_depth > 64 || self.max_page > 100_000 {
            return Err("oci: max_depth is at most 64, max_page at most 100000".into());
        }
        let times = [("refresh", self.refresh), ("token_ttl", self.token_ttl)];
        match times.iter().find(|(_, period)| period.0.is_zero()) {
            Some((name, _)) => Err(format!("oci.{name}: must be longer than nothing")),
            None => Ok(()),
        }
    }
}
