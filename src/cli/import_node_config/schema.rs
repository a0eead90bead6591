//! The keys of build-cache-node's `config.yaml`, versions 4 and 5.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny};

// Keys that larder does not know land in `other`, for the report; null means "not set" there.
pub(super) type Other = BTreeMap<String, Option<IgnoredAny>>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NodeConfig {
    #[serde(rename = "version")]
    pub(super) _version: IgnoredAny,
    pub(super) cache: Option<Cache>,
    pub(super) ui_access: Option<UiAccess>,
    #[serde(flatten)]
    pub(super) other: Other,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cache {
    pub(super) access_control: Option<AccessControl>,
    pub(super) target_size: Option<TargetSize>,
    pub(super) free_space_buffer_size: Option<Whole>,
    pub(super) max_artifact_size: Option<Whole>,
    pub(super) max_entry_age_in_hours: Option<Whole>,
    #[serde(flatten)]
    pub(super) other: Other,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccessControl {
    pub(super) anonymous_level: Option<Level>,
    pub(super) users: Option<BTreeMap<String, Option<User>>>,
    #[serde(flatten)]
    pub(super) other: Other,
}

#[derive(Deserialize, Default)]
pub(super) struct User {
    pub(super) level: Option<Level>,
    pub(super) password: Option<String>,
    pub(super) note: Option<String>,
    #[serde(flatten)]
    pub(super) other: Other,
}

#[derive(Deserialize)]
pub(super) struct TargetSize {
    pub(super) r#type: Option<String>,
    pub(super) size: Option<Whole>,
}

#[derive(Deserialize)]
pub(super) struct UiAccess {
    pub(super) r#type: Option<String>,
    pub(super) username: Option<String>,
}

/// A number of MB or hours. Its own type only for the sake of a clear error.
#[derive(Clone, Copy)]
pub(super) struct Whole(pub(super) u32);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.trim().parse().map(Self).map_err(|_| D::Error::custom("this must be a whole number, without a unit"))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    None,
    Read,
    ReadWrite,
}

impl<'de> Deserialize<'de> for Level {
    // By hand, because older files write the levels in capitals.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.to_ascii_lowercase().as_str() {
            "none" => Ok(Self::None),
            "read" => Ok(Self::Read),
            "readwrite" => Ok(Self::ReadWrite),
            _ => Err(D::Error::custom("a level must be one of none, read, readwrite")),
        }
    }
}

impl Level {
    pub(super) fn node_name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::ReadWrite => "readwrite",
        }
    }

    pub(super) fn anonymous(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Read => "read",
            Self::ReadWrite => "read-write",
        }
    }

    pub(super) fn grants(self) -> &'static str {
        match self {
            Self::None => "[]",
            Self::Read => "[\"gradle:**=read\"]",
            Self::ReadWrite => "[\"gradle:**=read-write\"]",
        }
    }
}
