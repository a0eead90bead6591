//! Tags: names that point to manifests, the last writer's.

use std::sync::Arc;

use super::find::Patience;
use super::{Registry, RegistryError};
use crate::cache::{Record, Swap, WriteError};
use crate::model::digest::Digest;
use crate::model::facts::{Facts, TagFacts};
use crate::model::object::ObjectKey;
use crate::model::record::{Header, Writer};
use crate::model::repository::{Repository, TagName};
use crate::model::sums::Sums;
use crate::store::When;

const PAGE: usize = 1000;

/// A page of names, and whether more follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// In order.
    pub names: Vec<String>,
    /// There are more after the last one.
    pub more: bool,
}

/// A tag that is to point to a manifest.
pub(super) fn tagged(repository: &Repository, tag: &TagName, digest: &Digest, writer: Writer) -> Swap {
    let facts = Facts::Tag(TagFacts { digest: digest.clone() });
    let header = Header { writer, ..Header::with_facts(0, Sums::default(), facts) };
    Swap { key: repository.tag(tag), header, body: Vec::new(), when: When::Always }
}

impl Registry {
    /// What a tag points to, with its record.
    pub(super) async fn tag(
        &self,
        repository: &Repository,
        tag: &TagName,
    ) -> Result<Option<(Arc<Record>, Digest)>, RegistryError> {
        let Some(record) = self.find(&repository.tag(tag)).await? else { return Ok(None) };
        let Some(Facts::Tag(TagFacts { digest })) = record.header.facts.as_deref() else { return Ok(None) };
        let digest = digest.clone();
        Ok(Some((record, digest)))
    }

    /// Writes records whatever was there, one after the other, and syncs the last and those before it: of those who write
    /// one at once any may be last, because all are good.
    pub(super) async fn put_in_order(&self, mut steps: Vec<Swap>) -> Result<(), RegistryError> {
        let mut patience = Patience::new(self.settings.hold_on);
        loop {
            let (done, outcome) = self.cache.swap_in_order(steps.clone(), self.settings.durability).await;
            match outcome {
                Ok(()) => return Ok(()),
                Err(WriteError::NoSpace) => return Err(RegistryError::NoSpace),
                Err(WriteError::Changed | WriteError::Unavailable) => patience.wait().await?,
            }
            steps.drain(..done);
        }
    }

    /// Removes a tag; the manifest stays.
    ///
    /// # Errors
    /// [`RegistryError::ManifestUnknown`] when there is none.
    pub async fn delete_tag(&self, repository: &Repository, tag: &TagName) -> Result<(), RegistryError> {
        for _ in 0..8 {
            let Some((record, _)) = self.tag(repository, tag).await? else {
                return Err(RegistryError::ManifestUnknown);
            };
            match self.cache.remove_if(&record).await {
                Ok(()) => {
                    self.removed.note(record.key(), self.cache.now());
                    return Ok(());
                }
                // Written again meanwhile: the tag that was asked for is the one there is now.
                Err(WriteError::Changed) => self.cache.forget(&record),
                Err(e) => return Err(e.into()),
            }
        }
        Err(RegistryError::Unavailable)
    }

    /// Up to `limit` tags of a repository after `last`, in lexical order.
    ///
    /// # Errors
    /// [`RegistryError::NameUnknown`] when there is no such repository.
    pub async fn tags(
        &self,
        repository: &Repository,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Names, RegistryError> {
        let prefix = repository.tags();
        // Any text may be where the client ended; what cannot be part of a key sorts nowhere.
        let after =
            last.filter(|text| !text.contains('/')).and_then(|text| ObjectKey::parse(&format!("{prefix}{text}")));
        let mut names = self.names(&prefix, after, limit.saturating_add(1)).await?;
        if names.is_empty() && last.is_none() && limit > 0 && !self.is_repository(repository).await? {
            return Err(RegistryError::NameUnknown);
        }
        let more = names.len() > limit;
        names.truncate(limit);
        Ok(Names { names, more: more && limit > 0 })
    }

    /// What follows `prefix` in the keys after `after`, up to `limit` of them.
    async fn names(
        &self,
        prefix: &str,
        mut after: Option<ObjectKey>,
        limit: usize,
    ) -> Result<Vec<String>, RegistryError> {
        let mut names = Vec::new();
        while names.len() < limit {
            let page = self.page(prefix, after.as_ref(), (limit - names.len()).min(PAGE)).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            names.extend(page.iter().filter_map(|key| key.as_str().strip_prefix(prefix)).map(str::to_owned));
        }
        Ok(names)
    }

    /// Removes the tags that point to a manifest which is not there any more.
    pub(super) async fn drop_tags_of(&self, repository: &Repository, digest: &Digest) -> Result<(), RegistryError> {
        let prefix = repository.tags();
        let mut after = None;
        loop {
            let page = self.page(&prefix, after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for key in &page {
                let Some(name) = key.as_str().strip_prefix(&prefix).and_then(TagName::parse) else { continue };
                let Some((record, target)) = self.tag(repository, &name).await? else { continue };
                if target != *digest {
                    continue;
                }
                // Pushed again meanwhile: what was tagged then stays.
                if self.find(&repository.manifest(digest)).await?.is_some() {
                    return Ok(());
                }
                if self.cache.remove_if(&record).await.is_ok() {
                    self.removed.note(record.key(), self.cache.now());
                }
            }
        }
    }

    /// Keys with this prefix.
    pub(super) async fn page(
        &self,
        prefix: &str,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Vec<ObjectKey>, RegistryError> {
        let listed = self.hold_on(|| self.cache.list(prefix, after, limit)).await?;
        Ok(listed.unwrap_or_default().into_iter().map(|object| object.key).collect())
    }
}
