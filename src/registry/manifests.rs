//! Manifests: kept byte for byte, taken when everything that they name is there, served while it is.

use std::sync::Arc;

use bytes::Bytes;

use super::promise::Promise;
use super::referrers::{Descriptor, referrer};
use super::tags::tagged;
use super::{Registry, RegistryError, carry};
use crate::cache::{ReadError, Record, Swap};
use crate::model::INLINE;
use crate::model::digest::{Algorithm, Digest};
use crate::model::facts::{Facts, ManifestFacts};
use crate::model::manifest::{MOST_DESCRIPTORS, Manifest};
use crate::model::object::ObjectKey;
use crate::model::record::{Header, Writer};
use crate::model::repository::{Reference, Repository, TagName};
use crate::model::sums::Sums;
use crate::store::When;

/// The media type of what says neither in its head nor in its body what it is.
const UNNAMED: &str = "application/vnd.oci.image.manifest.v1+json";

/// The longest annotations that are listed with a subject's referrers.
const MOST_ANNOTATIONS: usize = 1 << 20;

/// A manifest that was found.
#[derive(Debug)]
pub struct Pulled {
    /// Its content.
    pub digest: Digest,
    /// Its record.
    pub record: Arc<Record>,
    /// When its tag was written, in milliseconds since 1970, where it was asked for by tag.
    pub tagged: Option<u64>,
}

impl Pulled {
    /// The media type that it was pushed with.
    pub fn media_type(&self) -> &str {
        match self.record.header.facts.as_deref() {
            Some(Facts::Manifest(facts)) => &facts.media_type,
            _ => UNNAMED,
        }
    }
}

/// A manifest that a client pushes.
#[derive(Debug)]
pub struct Push {
    /// Where to.
    pub repository: Repository,
    /// Under which name.
    pub reference: Reference,
    /// Tags that it gets beside.
    pub tags: Vec<TagName>,
    /// What the client says it is.
    pub content_type: Option<String>,
    /// The manifest.
    pub bytes: Bytes,
    /// Who pushes.
    pub writer: Writer,
}

/// A manifest that was taken.
#[derive(Debug)]
pub struct Pushed {
    /// Its content.
    pub digest: Digest,
    /// What it refers to.
    pub subject: Option<Digest>,
}

impl Registry {
    /// The manifest that a reference names, by way of its tag if it is one. Whoever is told of it can read it and all
    /// that it names for hours.
    ///
    /// # Errors
    /// [`RegistryError::ManifestUnknown`] also when something that it names is damaged or gone.
    pub async fn pull(
        self: &Arc<Self>,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Pulled, RegistryError> {
        let tag = match reference {
            Reference::Digest(digest) => {
                let record = self.manifest(repository, digest).await?;
                return Ok(Pulled { digest: digest.clone(), record, tagged: None });
            }
            Reference::Tag(tag) => tag,
        };
        for _ in 0..8 {
            let Some((tagged, digest)) = self.tag(repository, tag).await? else {
                return Err(RegistryError::ManifestUnknown);
            };
            let record = self.manifest(repository, &digest).await?;
            if self.promise(repository, &tagged).await? == Promise::Given
                && self.promise(repository, &record).await? == Promise::Given
            {
                return Ok(Pulled { digest, record, tagged: Some(tagged.header.created) });
            }
        }
        Err(RegistryError::Unavailable)
    }

    /// A manifest by its content, whole and vouched for.
    pub(super) async fn manifest(
        self: &Arc<Self>,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Arc<Record>, RegistryError> {
        for _ in 0..8 {
            let record = self.find(&repository.manifest(digest)).await?.ok_or(RegistryError::ManifestUnknown)?;
            match self.is_whole(repository, &record).await? {
                Promise::Given => {}
                Promise::Changed => continue,
                Promise::Broken => {
                    let what = "a manifest is not served: something that it names is gone or damaged; push it again";
                    tracing::debug!(%repository, %digest, "{what}");
                    return Err(RegistryError::ManifestUnknown);
                }
            }
            match self.promise(repository, &record).await? {
                Promise::Given => return Ok(record),
                Promise::Changed => {}
                Promise::Broken => return Err(RegistryError::ManifestUnknown),
            }
        }
        Err(RegistryError::Unavailable)
    }

    /// The bytes of a manifest; `None` when its record was replaced meanwhile: it has to be pulled again.
    ///
    /// # Errors
    /// [`RegistryError::ManifestUnknown`] when they are damaged.
    pub async fn content(self: &Arc<Self>, pulled: &Pulled) -> Result<Option<Bytes>, RegistryError> {
        match self.hold_on(|| self.cache.inline(&pulled.record)).await? {
            Ok(bytes) => Ok(Some(bytes)),
            Err(ReadError::Replaced) => Ok(None),
            Err(_) => Err(RegistryError::ManifestUnknown),
        }
    }

    /// Takes a manifest: 1. its shape, 2. its digest, 3. everything that it names is there and renewed, 4. its record,
    /// 5. its place among the referrers of its subject, 6. its tags.
    ///
    /// # Errors
    /// [`RegistryError`], before anything was written; after [`RegistryError::Unavailable`] it may be there without its
    /// tags.
    pub async fn push(self: &Arc<Self>, push: Push) -> Result<Pushed, RegistryError> {
        let registry = Arc::clone(self);
        // Once begun it is carried to its end.
        carry(async move { registry.take(&push).await }).await
    }

    async fn take(self: &Arc<Self>, push: &Push) -> Result<Pushed, RegistryError> {
        let Push { repository, reference, tags, content_type, bytes, writer } = push;
        let manifest = Manifest::parse(bytes, self.settings.max_children)
            .map_err(|e| RegistryError::ManifestInvalid(e.to_string()))?;
        let media_type = media_type(content_type.as_deref(), &manifest)?;
        let digest = match reference {
            Reference::Tag(_) => Digest::of(Algorithm::Sha256, bytes),
            Reference::Digest(wanted) => {
                let found = Digest::of(wanted.algorithm(), bytes);
                if found != *wanted {
                    return Err(RegistryError::DigestMismatch(found));
                }
                found
            }
        };
        if manifest.subject.is_some()
            && manifest.annotations.as_ref().is_some_and(|text| text.get().len() > MOST_ANNOTATIONS)
        {
            return Err(RegistryError::ManifestInvalid(format!(
                "annotations of a manifest that has a subject stand in a list with others: at most {MOST_ANNOTATIONS} bytes"
            )));
        }
        // Before the first of them is looked at.
        let held = self.cache.now();
        let (depth, reach) = self.admit_children(repository, &manifest).await?;
        let facts = ManifestFacts { media_type: media_type.clone(), held, depth, reach };
        let size = bytes.len() as u64;
        let header =
            Header { writer: writer.clone(), ..Header::with_facts(size, Sums::of(bytes), Facts::Manifest(facts)) };
        let subject = manifest.subject;
        let named = tags.iter().chain(match reference {
            Reference::Tag(tag) => Some(tag),
            Reference::Digest(_) => None,
        });
        let named: Vec<_> = named.collect();
        // A process that was frozen since then begins anew.
        if self.is_long_ago(held) {
            return Err(RegistryError::Unavailable);
        }
        let (key, when) = (repository.manifest(&digest), When::Always);
        let mut steps = vec![Swap { key, header, body: chunks(bytes), when }];
        if let Some(subject) = &subject {
            let (artifact_type, annotations) = (manifest.artifact_type, manifest.annotations);
            let descriptor = Descriptor { media_type, digest: digest.clone(), size, artifact_type, annotations };
            steps.push(referrer(repository, subject, &descriptor, writer.clone()));
        }
        steps.extend(named.iter().map(|tag| tagged(repository, tag, &digest, writer.clone())));
        self.put_in_order(steps).await?;
        self.renew_referrers_of(repository, vec![repository.manifest(&digest)]);
        // Repeated last: should it have taken very long, the client tries again, and everything is looked at anew.
        if self.is_long_ago(held) {
            return Err(RegistryError::Unavailable);
        }
        Ok(Pushed { digest, subject })
    }

    /// Looks at everything that a new manifest names, and renews it; gives its depth and its reach.
    async fn admit_children(
        self: &Arc<Self>,
        repository: &Repository,
        manifest: &Manifest,
    ) -> Result<(u32, u64), RegistryError> {
        let Some(found) = self.children(repository, &manifest.children).await? else { return Err(self.too_much()) };
        let (mut missing, mut depth, mut reach) = (Vec::new(), 1, 1u64);
        for (child, present) in manifest.children.iter().zip(found) {
            let Some(present) = present else {
                missing.push(child.digest.clone());
                continue;
            };
            if present.size != child.size {
                return Err(RegistryError::SizeInvalid(format!(
                    "{} has {} bytes, and the manifest says {}",
                    child.digest, present.size, child.size
                )));
            }
            depth = depth.max(present.depth.saturating_add(1));
            reach = reach.saturating_add(present.reach);
        }
        if !missing.is_empty() {
            return Err(RegistryError::ManifestBlobUnknown(missing));
        }
        if depth > self.settings.max_depth || reach > self.settings.max_reach {
            return Err(self.too_much());
        }
        Ok((depth, reach))
    }

    fn too_much(&self) -> RegistryError {
        RegistryError::ManifestInvalid(format!(
            "at most {} things on {} levels may be named in all (oci.max_reach, oci.max_depth)",
            self.settings.max_reach, self.settings.max_depth
        ))
    }

    /// Removes a manifest, and the tags that point to it. A repeated call finishes what one before it left undone.
    ///
    /// # Errors
    /// [`RegistryError::ManifestUnknown`] when there is none.
    pub async fn delete_manifest(
        self: &Arc<Self>,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<(), RegistryError> {
        let (registry, repository, digest) = (Arc::clone(self), repository.clone(), digest.clone());
        carry(async move {
            let key = repository.manifest(&digest);
            let subject = registry.subject_of(&key).await?;
            let was_there = registry.bury(&key).await?;
            registry.removed.note(&key, registry.cache.now());
            if let Some(subject) = subject
                && let Some(referrer) = registry.find(&repository.referrer(&subject, &digest)).await?
                && registry.find(&key).await?.is_none()
            {
                // Changed: pushed again meanwhile.
                let _ = registry.cache.remove_if(&referrer).await;
            }
            registry.drop_tags_of(&repository, &digest).await?;
            if was_there { Ok(()) } else { Err(RegistryError::ManifestUnknown) }
        })
        .await
    }

    /// What the manifest under a key refers to, as far as that can be read.
    async fn subject_of(self: &Arc<Self>, key: &ObjectKey) -> Result<Option<Digest>, RegistryError> {
        let Some(record) = self.find(key).await? else { return Ok(None) };
        let Ok(bytes) = self.cache.inline(&record).await else { return Ok(None) };
        Ok(Manifest::parse(&bytes, MOST_DESCRIPTORS).ok().and_then(|manifest| manifest.subject))
    }

    /// When something that a reference named was removed, in milliseconds since 1970, if it was lately and here.
    pub fn removed_at(&self, repository: &Repository, reference: &Reference) -> Option<u64> {
        self.removed.when(&match reference {
            Reference::Tag(tag) => repository.tag(tag),
            Reference::Digest(digest) => repository.manifest(digest),
        })
    }
}

/// A manifest of several MiB is written in the pieces that its checksums are of.
fn chunks(bytes: &Bytes) -> Vec<Bytes> {
    let step = INLINE as usize;
    (0..bytes.len()).step_by(step).map(|at| bytes.slice(at..bytes.len().min(at + step))).collect()
}

/// What a manifest is served as: what it says of itself, which has to agree with what its client says.
fn media_type(content_type: Option<&str>, manifest: &Manifest) -> Result<String, RegistryError> {
    let told = content_type.and_then(|text| text.split(';').next()).map(str::trim).filter(|text| !text.is_empty());
    let spoken = |text: &str| text.len() <= 255 && text.bytes().all(|b| b.is_ascii_graphic());
    if let Some(odd) = told.into_iter().chain(manifest.media_type.as_deref()).find(|text| !spoken(text)) {
        let odd: String = odd.chars().take(80).flat_map(char::escape_debug).collect();
        return Err(RegistryError::ManifestInvalid(format!("`{odd}` is not a media type")));
    }
    match (told, manifest.media_type.as_deref()) {
        (Some(told), Some(own)) if !told.eq_ignore_ascii_case(own) => Err(RegistryError::ManifestInvalid(format!(
            "the Content-Type is `{}`, and the manifest calls itself `{}`",
            told.escape_debug(),
            own.escape_debug()
        ))),
        (Some(told), _) => Ok(told.to_owned()),
        (None, own) => Ok(own.unwrap_or(UNNAMED).to_owned()),
    }
}
