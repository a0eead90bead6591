//! Referrers: manifests that name a subject, as descriptors under it.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::below::digest_of;
use super::promise::Promise;
use super::{Registry, RegistryError};
use crate::cache::Swap;
use crate::model::digest::Digest;
use crate::model::facts::{Facts, ReferrerFacts};
use crate::model::object::ObjectKey;
use crate::model::record::{Header, Writer};
use crate::model::repository::Repository;
use crate::model::sums::Sums;
use crate::store::When;

const PAGE: usize = 256;
const AT_ONCE: usize = 4;
/// Descriptors that one request looks at.
const MOST_LOOKS: usize = 2048;

/// A descriptor in a referrers list (image-spec, descriptor.md).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The manifest's media type.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Its own artifact type, or its configuration's media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Its annotations, an object of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Box<RawValue>>,
}

/// A page of a referrers list.
#[derive(Debug)]
pub struct Referrers {
    /// In the order of their digests.
    pub descriptors: Vec<Descriptor>,
    /// Where the next page begins, if there is one.
    pub next: Option<Digest>,
}

/// A descriptor that is to stand in the list of its subject.
pub(super) fn referrer(repository: &Repository, subject: &Digest, descriptor: &Descriptor, writer: Writer) -> Swap {
    // Serialising strings and numbers cannot fail; an empty descriptor would be passed over.
    let body = bytes::Bytes::from(serde_json::to_vec(descriptor).unwrap_or_default());
    let facts = Facts::Referrer(ReferrerFacts { artifact_type: descriptor.artifact_type.clone() });
    let header = Header { writer, ..Header::with_facts(body.len() as u64, Sums::of(&body), facts) };
    Swap { key: repository.referrer(subject, &descriptor.digest), header, body: vec![body], when: When::Always }
}

impl Registry {
    /// The manifests that refer to `subject`, after `last`, about `limit_bytes` of descriptors at a time; only those of
    /// an artifact type where one is given. That the subject is there is not necessary.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    pub async fn referrers(
        self: &Arc<Self>,
        repository: &Repository,
        subject: &Digest,
        last: Option<&Digest>,
        artifact_type: Option<&str>,
        limit_bytes: usize,
    ) -> Result<Referrers, RegistryError> {
        let prefix = repository.referrers(subject);
        let mut after = last.map(|digest| repository.referrer(subject, digest));
        let (mut descriptors, mut bytes, mut looked_at) = (Vec::new(), 0, 0);
        loop {
            let page = self.page(&prefix, after.as_ref(), PAGE).await?;
            let Some(end) = page.last() else { return Ok(Referrers { descriptors, next: None }) };
            if looked_at >= MOST_LOOKS {
                // A page may be empty: who asks for a rare type goes through the list in steps.
                return Ok(Referrers { descriptors, next: after.as_ref().and_then(digest_of) });
            }
            looked_at += page.len();
            after = Some(end.clone());
            let looks: Vec<_> = page
                .into_iter()
                .map(|key| {
                    let (registry, repository) = (Arc::clone(self), repository.clone());
                    async move { registry.referrer(&repository, &key, artifact_type).await }
                })
                .collect();
            let mut looks = stream::iter(looks).buffered(AT_ONCE);
            while let Some(found) = looks.try_next().await? {
                let Some((descriptor, size)) = found else { continue };
                bytes += size;
                let digest = descriptor.digest.clone();
                descriptors.push(descriptor);
                if bytes >= limit_bytes {
                    return Ok(Referrers { descriptors, next: Some(digest) });
                }
            }
        }
    }

    /// A descriptor under its key and its length, if it is of the wanted type and the manifest is there.
    async fn referrer(
        self: &Arc<Self>,
        repository: &Repository,
        key: &ObjectKey,
        wanted: Option<&str>,
    ) -> Result<Option<(Descriptor, usize)>, RegistryError> {
        let Some(record) = self.find(key).await? else { return Ok(None) };
        let artifact_type = match record.header.facts.as_deref() {
            Some(Facts::Referrer(facts)) => facts.artifact_type.as_deref(),
            _ => return Ok(None),
        };
        if wanted.is_some() && wanted != artifact_type {
            return Ok(None);
        }
        let bytes = match self.cache.inline(&record).await {
            Ok(bytes) => bytes,
            Err(crate::cache::ReadError::Unavailable) => return Err(RegistryError::Unavailable),
            Err(_) => return Ok(None),
        };
        let Ok(descriptor) = serde_json::from_slice::<Descriptor>(&bytes) else { return Ok(None) };
        match self.manifest(repository, &descriptor.digest).await {
            Ok(_) if self.promise(repository, &record).await? == Promise::Given => Ok(Some((descriptor, bytes.len()))),
            // Renewed or removed by somebody else meanwhile; its manifest is vouched for.
            Ok(_) => Ok(self.find(key).await?.map(|_| (descriptor, bytes.len()))),
            Err(RegistryError::ManifestUnknown) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Renews what refers to a manifest that is being renewed: with an image go its signatures.
    pub(super) async fn renew_referrers(
        self: &Arc<Self>,
        repository: &Repository,
        subject: &Digest,
    ) -> Result<(), RegistryError> {
        let prefix = repository.referrers(subject);
        let mut after = None;
        loop {
            let page = self.page(&prefix, after.as_ref(), PAGE).await?;
            let Some(end) = page.last() else { return Ok(()) };
            after = Some(end.clone());
            for key in &page {
                let Some(record) = self.find(key).await? else { continue };
                let Some(digest) = digest_of(key) else { continue };
                if let Some(manifest) = self.find(&repository.manifest(&digest)).await?
                    && self.is_older_than_slack(&manifest)
                    && self.renew_alone(repository, &manifest).await? == Promise::Broken
                {
                    continue;
                }
                if self.is_older_than_slack(&record) {
                    self.rewrite(&record, None).await?;
                }
            }
        }
    }
}
