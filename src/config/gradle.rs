//! `[gradle]`: the Gradle build cache protocol.

use serde::{Deserialize, Serialize};

use super::units::Size;

/// What is taken from Gradle, and how it is told what is not.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GradleConfig {
    /// The largest entry that is kept.
    pub max_entry: Size,
    /// Whether a store that is not kept is an error to the client.
    pub writes: Writes,
    /// How closely a stored entry is looked at.
    pub inspect: Inspect,
}

/// The answer to a store that is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Writes {
    /// 200 with `X-Larder-Declined`: any error makes Gradle switch its cache off for the rest of the build.
    Lenient,
    /// 400, 403, 413, 503 or 507.
    Strict,
}

/// How closely a stored entry is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Inspect {
    /// Whether it begins as a gzip with METADATA; what does not is counted.
    Header,
    /// It is inflated whole; what does not hold is declined.
    Full,
}

impl Default for GradleConfig {
    fn default() -> Self {
        Self { max_entry: Size::mib(256), writes: Writes::Lenient, inspect: Inspect::Header }
    }
}

impl GradleConfig {
    pub(super) fn validate(&self) -> Result<(), String> {
        match self.max_entry.0 {
            0 => Err("gradle.max_entry: must be more than nothing".into()),
            n if n > 64 << 30 => Err("gradle.max_entry: at most 64GiB".into()),
            _ => Ok(()),
        }
    }
}
