//! Blobs, read through a repository that they were pushed to or mounted into: a digest alone opens nothing.

use std::ops::Range;
use std::sync::Arc;

use super::promise::Promise;
use super::{Registry, RegistryError, carry};
use crate::cache::{Body, ReadError, Record};
use crate::model::digest::Digest;
use crate::model::facts::Facts;
use crate::model::record::{Header, Writer};
use crate::model::repository::Repository;
use crate::model::sums::Sums;

impl Registry {
    /// A blob of this repository. Whoever is told of it can read it for hours.
    ///
    /// # Errors
    /// [`RegistryError::BlobUnknown`], [`RegistryError::Unavailable`].
    pub async fn blob(
        self: &Arc<Self>,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Arc<Record>, RegistryError> {
        for _ in 0..8 {
            let Some((link, blob)) = self.linked(repository, digest).await? else {
                return Err(RegistryError::BlobUnknown);
            };
            // The blob last: its bytes are what the answer is about.
            if self.promise(repository, &link).await? == Promise::Given
                && self.promise(repository, &blob).await? == Promise::Given
                && self.promise(repository, &link).await? == Promise::Given
            {
                return Ok(blob);
            }
        }
        Err(RegistryError::Unavailable)
    }

    /// The records of a blob and of its link to this repository, if both are live.
    pub(super) async fn linked(
        &self,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<(Arc<Record>, Arc<Record>)>, RegistryError> {
        let (link, blob) = (repository.link(digest), digest.blob());
        let (link, blob) = futures_util::future::join(self.find(&link), self.find(&blob)).await;
        Ok(link?.zip(blob?))
    }

    /// Opens a part of a blob; `None` when its record was replaced meanwhile: it has to be looked up again.
    ///
    /// # Errors
    /// [`RegistryError::BlobUnknown`] also when its bytes are damaged; it is marked so, and the next push replaces it.
    pub async fn open_blob(
        self: &Arc<Self>,
        record: &Arc<Record>,
        range: Range<u64>,
    ) -> Result<Option<Body>, RegistryError> {
        match self.hold_on(|| self.cache.stream(record, range.clone())).await? {
            Ok(body) => Ok(Some(body)),
            Err(ReadError::Replaced) => Ok(None),
            Err(_) => Err(RegistryError::BlobUnknown),
        }
    }

    /// Makes a blob readable through `repository` that can be read through `from`.
    ///
    /// # Errors
    /// [`RegistryError::BlobUnknown`] when it cannot.
    pub async fn mount(
        self: &Arc<Self>,
        repository: &Repository,
        from: &Repository,
        digest: &Digest,
        writer: Writer,
    ) -> Result<(), RegistryError> {
        self.blob(from, digest).await?;
        self.link(repository, digest, writer).await?;
        // The look is repeated last: what was vouched for at first may be long ago.
        self.blob(repository, digest).await?;
        Ok(())
    }

    /// Where a blob was pushed first, if it can still be read there.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    pub async fn origin(self: &Arc<Self>, digest: &Digest) -> Result<Option<Repository>, RegistryError> {
        let Some(blob) = self.find(&digest.blob()).await? else { return Ok(None) };
        let Some(Facts::Blob(facts)) = blob.header.facts.as_deref() else { return Ok(None) };
        Ok(self.linked(&facts.origin, digest).await?.map(|_| facts.origin.clone()))
    }

    /// Whether a blob is stored at all, whoever may read it.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`].
    pub async fn is_stored(&self, digest: &Digest) -> Result<bool, RegistryError> {
        Ok(self.find(&digest.blob()).await?.is_some())
    }

    /// Makes a blob readable through a repository, once its record is there.
    pub(super) async fn link(
        self: &Arc<Self>,
        repository: &Repository,
        digest: &Digest,
        writer: Writer,
    ) -> Result<(), RegistryError> {
        let header = Header { writer, ..Header::new(0, Sums::default()) };
        self.create(repository, &repository.link(digest), &header, &[], self.settings.durability).await?;
        Ok(())
    }

    /// Takes a blob away from a repository. Manifests of the repository that name it are not served any more.
    ///
    /// # Errors
    /// [`RegistryError::BlobUnknown`] when it had none.
    pub async fn delete_blob(self: &Arc<Self>, repository: &Repository, digest: &Digest) -> Result<(), RegistryError> {
        let (registry, link) = (Arc::clone(self), repository.link(digest));
        let buried = carry(async move { registry.bury(&link).await }).await?;
        if buried { Ok(()) } else { Err(RegistryError::BlobUnknown) }
    }
}
