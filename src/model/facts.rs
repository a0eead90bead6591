//! What the records of the registry say beside their bytes.

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::repository::Repository;

/// By the kind of record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Facts {
    /// Of a blob.
    Blob(BlobFacts),
    /// Of a manifest.
    Manifest(ManifestFacts),
    /// Of a tag.
    Tag(TagFacts),
    /// Of an upload session.
    Session(SessionFacts),
    /// Of a descriptor in a referrers list.
    Referrer(ReferrerFacts),
}

/// What is known of a blob.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobFacts {
    /// Where it was pushed first: a mount that names no source looks there.
    pub origin: Repository,
}

/// What is known of a manifest without reading it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestFacts {
    /// The media type it was pushed with.
    pub media_type: String,
    /// The store's time before the first of what it names was looked at, in milliseconds since 1970: its promise
    /// counts from here.
    pub held: u64,
    /// Levels of manifests below this one, itself included.
    pub depth: u32,
    /// Everything that it names, all the way down, itself included; what is named twice counts twice.
    pub reach: u64,
}

/// What a tag points to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagFacts {
    /// The manifest.
    pub digest: Digest,
}

/// How far an upload session is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionFacts {
    /// Open, or what closed it.
    pub state: SessionState,
    /// The state of the SHA-256 of everything so far.
    pub hash: String,
}

/// The state of an upload session. Closed ones are their own tombstones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SessionState {
    /// Takes more.
    Open,
    /// Its bytes are those of this digest.
    Closed(Digest),
    /// Given up by the client.
    Cancelled,
}

/// What a referrers list may be filtered by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferrerFacts {
    /// The artifact type of the manifest that refers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}
