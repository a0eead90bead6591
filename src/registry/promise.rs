//! "It exists": the one place that gives this answer, and renews what it is about when it must.
//!
//! A record's last renewal is a lease: the sweep leaves it alone for `refresh` and some hours more. Whoever is told that
//! something exists relies on these hours, so a record is renewed before it is vouched for again when `refresh` and
//! `slack` are over, and beside the answer between the two. What this process knows of a renewal can only be too old, so
//! no other process has to be asked.

use std::sync::Arc;

use super::{Registry, RegistryError};
use crate::cache::{Record, WriteError};
use crate::model::facts::Facts;
use crate::model::repository::Repository;

/// However short `slack` is: a push may take this long.
const LEAST_SLACK_MS: u128 = 60_000;

/// What a promise came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// It holds from now on.
    Given,
    /// The record was changed meanwhile: look it up again.
    Changed,
    /// What it names is not all there any more.
    Broken,
}

/// When a record has to be renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Not yet.
    Fresh,
    /// It can be done beside the answer.
    Soon,
    /// Before the answer.
    Now,
}

impl Registry {
    pub(super) fn due(&self, record: &Record) -> Due {
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let age = self.cache.now().saturating_sub(record.renewed());
        let (refresh, slack) = (ms(self.settings.refresh), ms(self.settings.slack));
        match age {
            age if age < refresh => Due::Fresh,
            age if age < refresh.saturating_add(slack) => Due::Soon,
            _ => Due::Now,
        }
    }

    /// Whether a record is so old that a manifest which is renewed has to renew it, too.
    pub(super) fn is_older_than_slack(&self, record: &Record) -> bool {
        let age = self.cache.now().saturating_sub(record.renewed());
        u128::from(age) > self.settings.slack.as_millis()
    }

    /// Whether what was looked at then, in milliseconds since 1970, has to be looked at again.
    pub(super) fn is_long_ago(&self, then: u64) -> bool {
        u128::from(self.cache.now().saturating_sub(then)) > self.settings.slack.as_millis().max(LEAST_SLACK_MS)
    }

    /// Vouches for a record of this repository. To be asked last before the answer.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`]: it may exist, but nothing can be promised.
    pub(super) async fn promise(
        self: &Arc<Self>,
        repository: &Repository,
        record: &Arc<Record>,
    ) -> Result<Promise, RegistryError> {
        // The common case costs a comparison. A renewal that took long is looked at like any other.
        for _ in 0..3 {
            match self.due(record) {
                Due::Fresh => return Ok(Promise::Given),
                Due::Soon => {
                    let (registry, repository, record) = (Arc::clone(self), repository.clone(), Arc::clone(record));
                    // Whoever asks next tries again; the lease has hours left.
                    tokio::spawn(async move { registry.renew(&repository, &record).await });
                    return Ok(Promise::Given);
                }
                Due::Now => match self.renew(repository, record).await? {
                    Promise::Given => {}
                    other => return Ok(other),
                },
            }
        }
        Err(RegistryError::Unavailable)
    }

    /// Renews a record, a manifest with everything below it; one renewal for all who want it.
    pub(super) async fn renew(
        self: &Arc<Self>,
        repository: &Repository,
        record: &Arc<Record>,
    ) -> Result<Promise, RegistryError> {
        match record.header.facts.as_deref() {
            Some(Facts::Manifest(_)) => self.renew_manifest_once(repository, record).await,
            // A tag is never younger than its manifest.
            Some(Facts::Tag(facts)) => {
                let Some(manifest) = self.find(&repository.manifest(&facts.digest)).await? else {
                    return Ok(Promise::Broken);
                };
                if self.is_older_than_slack(&manifest) {
                    match self.renew_manifest_once(repository, &manifest).await? {
                        Promise::Given => {}
                        other => return Ok(other),
                    }
                }
                self.rewrite(record, None).await
            }
            _ => self.rewrite(record, None).await,
        }
    }

    /// One renewal of a manifest for all who want it.
    async fn renew_manifest_once(
        self: &Arc<Self>,
        repository: &Repository,
        record: &Arc<Record>,
    ) -> Result<Promise, RegistryError> {
        let begin = || {
            let (registry, repository, record) = (Arc::clone(self), repository.clone(), Arc::clone(record));
            async move { Box::pin(registry.renew_manifest(&repository, &record)).await }
        };
        let renewed = self.manifest_renewals.join(record.key(), begin).await;
        renewed.unwrap_or(Err(RegistryError::Unavailable))
    }

    /// Renews this one record.
    pub(super) async fn rewrite(
        self: &Arc<Self>,
        record: &Arc<Record>,
        held: Option<u64>,
    ) -> Result<Promise, RegistryError> {
        let begin = || {
            let (registry, record) = (Arc::clone(self), Arc::clone(record));
            async move {
                let outcome = registry.cache.renew(&record, held, registry.settings.durability).await;
                if outcome.is_ok() {
                    registry.renewed.inc();
                }
                outcome
            }
        };
        match self.renewals.join(record.key(), begin).await.unwrap_or(Err(WriteError::Unavailable)) {
            Ok(()) => Ok(Promise::Given),
            Err(WriteError::Changed) => {
                // Somebody else renewed or replaced it; memory does not know yet.
                self.cache.forget(record);
                Ok(Promise::Changed)
            }
            Err(error) => Err(error.into()),
        }
    }
}
