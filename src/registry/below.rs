//! What a manifest names, all the way down: whether it is there, and its renewal before the manifest's own.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::promise::Promise;
use super::walk::Walk;
use super::{Registry, RegistryError};
use crate::cache::{ReadError, Record};
use crate::model::digest::Digest;
use crate::model::facts::Facts;
use crate::model::manifest::{Child, Kind, MOST_DESCRIPTORS, Manifest};
use crate::model::object::ObjectKey;
use crate::model::repository::Repository;

/// Children that are looked at side by side.
const AT_ONCE: usize = 8;

/// What is to be done with what a manifest names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Below {
    /// It is looked at.
    Look,
    /// It is renewed where it is older than `slack`.
    Renew,
}

/// A child that is there.
#[derive(Debug, Clone)]
pub(super) struct Present {
    /// Its length in bytes.
    pub size: u64,
    /// Levels of manifests from it on, 0 for a blob.
    pub depth: u32,
    /// Everything from it on, itself included.
    pub reach: u64,
}

impl Registry {
    fn walk(&self) -> Walk {
        Walk::new(self.settings.max_depth, self.settings.max_reach)
    }

    /// Whether everything that a manifest names is there, itself not asked. Remembered until something is found damaged
    /// or is taken away.
    pub(super) async fn is_whole(
        self: &Arc<Self>,
        repository: &Repository,
        record: &Arc<Record>,
    ) -> Result<Promise, RegistryError> {
        if record.is_vetted(self.cache.damage()) {
            return Ok(Promise::Given);
        }
        self.is_whole_in(&Arc::new(self.walk()), 1, repository, record).await
    }

    async fn is_whole_in(
        self: &Arc<Self>,
        walk: &Arc<Walk>,
        depth: u32,
        repository: &Repository,
        record: &Arc<Record>,
    ) -> Result<Promise, RegistryError> {
        let damage = self.cache.damage();
        if record.is_vetted(damage) {
            return Ok(Promise::Given);
        }
        if let Some(known) = walk.enter(record.key(), depth) {
            return Ok(known);
        }
        let whole = Box::pin(self.look_below(walk, depth, repository, record, Below::Look)).await?;
        if whole == Promise::Changed {
            walk.leave(record.key());
        }
        // What was seen before in this walk may still turn out broken; the first one tells for all of them.
        if whole == Promise::Given && depth == 1 {
            record.set_vetted(damage);
        }
        Ok(whole)
    }

    /// Renews what a manifest names, then the manifest, and beside the answer what refers to it.
    pub(super) async fn renew_manifest(
        self: &Arc<Self>,
        repository: &Repository,
        record: &Arc<Record>,
    ) -> Result<Promise, RegistryError> {
        let walk = Arc::new(self.walk());
        let promise = self.renew_in(&walk, 1, repository, record).await?;
        self.renew_referrers_of(repository, walk.take_renewed());
        Ok(promise)
    }

    /// Renews what refers to these manifests, beside the answer: with images go their signatures.
    pub(super) fn renew_referrers_of(self: &Arc<Self>, repository: &Repository, manifests: Vec<ObjectKey>) {
        if manifests.is_empty() {
            return;
        }
        let (registry, repository) = (Arc::clone(self), repository.clone());
        // Should it fail, the next renewal tries again: hours are left.
        tokio::spawn(async move {
            for digest in manifests.iter().filter_map(digest_of) {
                // One that fails keeps no other from it.
                let _ = registry.renew_referrers(&repository, &digest).await;
            }
        });
    }

    /// Like [`Registry::renew_manifest`], without what refers to it.
    pub(super) async fn renew_alone(
        self: &Arc<Self>,
        repository: &Repository,
        record: &Arc<Record>,
    ) -> Result<Promise, RegistryError> {
        self.renew_in(&Arc::new(self.walk()), 1, repository, record).await
    }

    async fn renew_in(
        self: &Arc<Self>,
        walk: &Arc<Walk>,
        depth: u32,
        repository: &Repository,
        record: &Arc<Record>,
    ) -> Result<Promise, RegistryError> {
        if let Some(known) = walk.enter(record.key(), depth) {
            return Ok(known);
        }
        // Before the first of them is looked at: a process that is frozen in between promises nothing younger.
        let held = self.cache.now();
        match Box::pin(self.look_below(walk, depth, repository, record, Below::Renew)).await? {
            Promise::Given => {}
            other => {
                walk.leave(record.key());
                return Ok(other);
            }
        }
        // Everything below is young enough now, in whichever manifest it hangs; this one perhaps is, too.
        if depth > 1 && !self.is_older_than_slack(record) {
            return Ok(Promise::Given);
        }
        // A process that was frozen since then begins anew.
        if self.is_long_ago(held) {
            return Err(RegistryError::Unavailable);
        }
        let promise = self.rewrite(record, Some(held)).await?;
        if promise == Promise::Given {
            walk.note_renewed(record.key());
        }
        Ok(promise)
    }

    async fn look_below(
        self: &Arc<Self>,
        walk: &Arc<Walk>,
        depth: u32,
        repository: &Repository,
        record: &Arc<Record>,
        what: Below,
    ) -> Result<Promise, RegistryError> {
        let children = match self.cache.inline(record).await {
            // It was taken once, perhaps under larger limits.
            Ok(bytes) => match Manifest::parse(&bytes, MOST_DESCRIPTORS) {
                Ok(manifest) => manifest.children,
                Err(_) => return Ok(Promise::Broken),
            },
            Err(ReadError::Unavailable) => return Err(RegistryError::Unavailable),
            Err(ReadError::Replaced) => return Ok(Promise::Changed),
            Err(ReadError::Corrupt | ReadError::Gone) => return Ok(Promise::Broken),
        };
        if !walk.allows(children.len()) {
            return Ok(Promise::Broken);
        }
        let found = self.children_in(walk, depth, repository, &children, what).await?;
        Ok(if found.iter().all(Option::is_some) { Promise::Given } else { Promise::Broken })
    }

    /// What is there of the children of a manifest that is being pushed, in their order, each renewed; `None` when there
    /// is more below them than is taken.
    pub(super) async fn children(
        self: &Arc<Self>,
        repository: &Repository,
        children: &[Child],
    ) -> Result<Option<Vec<Option<Present>>>, RegistryError> {
        let walk = Arc::new(self.walk());
        let found = self.children_in(&walk, 1, repository, children, Below::Renew).await?;
        self.renew_referrers_of(repository, walk.take_renewed());
        Ok((!walk.went_too_far()).then_some(found))
    }

    async fn children_in(
        self: &Arc<Self>,
        walk: &Arc<Walk>,
        depth: u32,
        repository: &Repository,
        children: &[Child],
        what: Below,
    ) -> Result<Vec<Option<Present>>, RegistryError> {
        let looks = children.iter().map(|child| {
            let (registry, walk, repository) = (Arc::clone(self), Arc::clone(walk), repository.clone());
            let child = child.clone();
            async move { registry.child(&walk, depth, &repository, &child, what).await }
        });
        let looks: Vec<_> = looks.collect();
        // Whatever two manifests share is renewed before either of them: one after the other.
        let shared = what == Below::Renew && children.iter().any(|child| child.kind == Kind::Manifest);
        stream::iter(looks).buffered(if shared { 1 } else { AT_ONCE }).try_collect().await
    }

    async fn child(
        self: &Arc<Self>,
        walk: &Arc<Walk>,
        depth: u32,
        repository: &Repository,
        child: &Child,
        what: Below,
    ) -> Result<Option<Present>, RegistryError> {
        if child.kind == Kind::Manifest
            && let Some(present) = self.child_manifest(walk, depth + 1, repository, &child.digest, what).await?
        {
            return Ok(Some(present));
        }
        // Replaced or renewed by somebody else meanwhile: what is there now?
        for _ in 0..8 {
            let Some((link, blob)) = self.linked(repository, &child.digest).await? else { return Ok(None) };
            let mut changed = false;
            if what == Below::Renew {
                for record in [&blob, &link] {
                    changed |= self.is_older_than_slack(record) && self.rewrite(record, None).await? != Promise::Given;
                }
            }
            if !changed {
                return Ok(Some(Present { size: blob.header.size, depth: 0, reach: 1 }));
            }
        }
        Err(RegistryError::Unavailable)
    }

    async fn child_manifest(
        self: &Arc<Self>,
        walk: &Arc<Walk>,
        depth: u32,
        repository: &Repository,
        digest: &Digest,
        what: Below,
    ) -> Result<Option<Present>, RegistryError> {
        for _ in 0..8 {
            let Some(record) = self.find(&repository.manifest(digest)).await? else { return Ok(None) };
            // A young manifest is not written anew, but what hangs below it may be older than it.
            let outcome = match what {
                Below::Renew => Box::pin(self.renew_in(walk, depth, repository, &record)).await?,
                Below::Look => self.is_whole_in(walk, depth, repository, &record).await?,
            };
            match outcome {
                Promise::Given => {
                    let Some(Facts::Manifest(facts)) = record.header.facts.as_deref() else { return Ok(None) };
                    let (depth, reach) = (facts.depth, facts.reach);
                    return Ok(Some(Present { size: record.header.size, depth, reach }));
                }
                Promise::Changed => {}
                Promise::Broken => return Ok(None),
            }
        }
        Err(RegistryError::Unavailable)
    }
}

/// The digest that a key ends in.
pub(super) fn digest_of(key: &ObjectKey) -> Option<Digest> {
    let mut parts = key.as_str().rsplit('/');
    let (hex, algorithm) = (parts.next()?, parts.next()?);
    Digest::parse(&format!("{algorithm}:{hex}"))
}
