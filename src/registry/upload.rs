//! Bytes that come into an upload session, and the blob that they become.
//!
//! Every attempt to append writes a payload of its own and then commits with one compare-and-swap of the session's
//! record: of two attempts one wins, and a broken one leaves the session as it was. `PUT` closes the session, so that a
//! repeated `PUT` finds what to finish and a late `PATCH` nothing to revive. An attempt that lost removes its own payload
//! and no other.

use std::sync::Arc;

use bytes::Bytes;

use super::content::{Content, closed_digest, of_session};
use super::find::Patience;
use super::session::{Progress, SessionId, progress};
use super::{Registry, RegistryError, carry};
use crate::cache::{Place, Received, Record, Swap, Upload, WriteError};
use crate::clock;
use crate::model::digest::{Algorithm, Digest, Hasher};
use crate::model::facts::{Facts, SessionFacts, SessionState};
use crate::model::record::{Header, Payload, Writer};
use crate::model::repository::Repository;
use crate::model::sums::Sums;
use crate::store::{Durability, When};

/// Chunks of one upload that are kept apart; each costs some bytes in a record that is read as a whole.
const MOST_PAYLOADS: usize = 4096;

/// One request's bytes on their way into a session, or into a blob that needs none. Dropped before it is finished, it
/// leaves the session as it was.
pub struct Append {
    registry: Arc<Registry>,
    id: SessionId,
    repository: Repository,
    writer: Writer,
    /// The session's record as this request found it.
    base: Option<Arc<Record>>,
    closed: bool,
    upload: Upload,
    hasher: Hasher,
    /// Bytes of the session that were there before.
    offset: u64,
    new_bytes: u64,
}

impl Registry {
    /// Goes on with a session. `declared` is the length of what is to come, where the client told it; `digest` what the
    /// whole is to be, where this request is to finish it.
    ///
    /// # Errors
    /// [`RegistryError::OutOfOrder`] when `from` is not where the session ended.
    pub async fn append(
        self: &Arc<Self>,
        id: SessionId,
        repository: &Repository,
        writer: Writer,
        from: Option<u64>,
        declared: Option<u64>,
        digest: Option<&Digest>,
    ) -> Result<Append, RegistryError> {
        let (base, closed, mut hasher) = match self.progress(id).await? {
            Progress::Open { record, hasher } => (record, false, *hasher),
            // Only the same digest once more is of any use to a closed session.
            Progress::Closed(record) if digest.is_some() && digest == closed_digest(&record) => {
                (Some(record), true, Hasher::new(Algorithm::Sha256))
            }
            Progress::Closed(_) => return Err(RegistryError::UploadUnknown),
        };
        let offset = base.as_ref().map_or(0, |record| record.header.size);
        if from.is_some_and(|from| from != offset) && !closed {
            return Err(RegistryError::OutOfOrder(offset));
        }
        if offset.saturating_add(declared.unwrap_or(0)) > self.settings.max_blob {
            return Err(RegistryError::BlobTooLarge);
        }
        if let (0, Some(digest)) = (offset, digest) {
            // Everything is still to come: no other hash is needed than the one that is asked for.
            hasher = Hasher::new(digest.algorithm());
        }
        let place = match (&base, digest) {
            (None, Some(digest)) => Place::Beside(digest.blob()),
            _ => Place::At(id.payload(clock::ulid_at(self.cache.now()))),
        };
        // What the session carries in its record goes before what comes, into one record or one payload.
        let carried = match &base {
            Some(record) if record.header.payloads.is_empty() && record.header.size > 0 && !closed => {
                Some(self.cache.inline(record).await.map_err(of_session)?)
            }
            _ => None,
        };
        let carried_bytes = carried.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let declared = declared.map(|length| length.saturating_add(carried_bytes));
        let durability = self.settings.durability;
        let mut upload = self.cache.upload(place, declared, durability).await?;
        if let Some(bytes) = carried {
            upload.push(bytes).await?;
        }
        let (registry, repository) = (Arc::clone(self), repository.clone());
        Ok(Append { registry, id, repository, writer, base, closed, upload, hasher, offset, new_bytes: 0 })
    }

    /// Gives a session up.
    ///
    /// # Errors
    /// [`RegistryError::UploadUnknown`] when it is over already.
    pub async fn cancel(&self, id: SessionId) -> Result<(), RegistryError> {
        let facts = SessionFacts { state: SessionState::Cancelled, hash: String::new() };
        let header = Header::with_facts(0, Sums::default(), Facts::Session(facts));
        let mut patience = Patience::new(self.settings.hold_on);
        loop {
            let there = self.inspect(&id.key()).await?;
            if there.as_ref().is_some_and(|record| record.header.nonce == header.nonce) {
                return Ok(()); // ours, whose answer was lost
            }
            let Progress::Open { record, .. } = progress(there)? else { return Err(RegistryError::UploadUnknown) };
            let when = record.map_or(When::Absent, |record| When::Is(record.tag().clone()));
            match self.cache.swap(&id.key(), header.clone(), Vec::new(), when, Durability::Process).await {
                Ok(()) => return Ok(()),
                Err(WriteError::NoSpace) => return Err(RegistryError::NoSpace),
                Err(WriteError::Changed | WriteError::Unavailable) => patience.wait().await?,
            }
        }
    }
}

impl Append {
    fn size(&self) -> u64 {
        self.offset.saturating_add(self.new_bytes)
    }

    /// Bytes that came with this request.
    pub fn new_bytes(&self) -> u64 {
        self.new_bytes
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`RegistryError`]; nothing of this request will be kept.
    pub async fn push(&mut self, bytes: Bytes) -> Result<(), RegistryError> {
        self.new_bytes += bytes.len() as u64;
        if self.size() > self.registry.settings.max_blob {
            return Err(RegistryError::BlobTooLarge);
        }
        if self.closed {
            return Ok(()); // a repeated request: everything is there
        }
        self.hasher.update(&bytes);
        Ok(self.upload.push(bytes).await?)
    }

    /// Keeps what came, and gives how many bytes the session has now. Once begun it is carried to its end.
    ///
    /// # Errors
    /// [`RegistryError::OutOfOrder`] when another request was quicker.
    pub async fn keep(self) -> Result<u64, RegistryError> {
        if self.new_bytes == 0 {
            return Ok(self.offset);
        }
        carry(async move {
            let hash = self.hasher.save().unwrap_or_default();
            let (registry, id, base) = (Arc::clone(&self.registry), self.id, self.base.clone());
            let content = self.content().await?;
            let size = content.size;
            if content.payloads.len() > MOST_PAYLOADS {
                if let Some(own) = &content.own {
                    registry.cache.discard(own).await;
                }
                return Err(RegistryError::TooManyChunks(MOST_PAYLOADS));
            }
            let swap = content.session(id, base.as_ref(), SessionFacts { state: SessionState::Open, hash });
            registry.commit_session(id, base.as_ref(), swap, content.own, true).await?;
            Ok(size)
        })
        .await
    }

    /// Makes the blob, and lets it be read through the repository. Once begun it is carried to its end.
    ///
    /// # Errors
    /// [`RegistryError::DigestMismatch`]: the session stays as it was before this request.
    pub async fn complete(self, digest: Digest) -> Result<(), RegistryError> {
        carry(async move {
            let (registry, id, base) = (Arc::clone(&self.registry), self.id, self.base.clone());
            let (repository, writer) = (self.repository.clone(), self.writer.clone());
            let running = self.hasher.save().unwrap_or_default();
            if let (true, Some(session)) = (self.closed, &base) {
                registry.check_age(id)?;
                return registry.complete_again(&repository, &digest, session, writer).await;
            }
            let content = self.checked(&digest).await?;
            let closing = SessionFacts { state: SessionState::Closed(digest.clone()), hash: running };
            let mut steps = content.steps(&digest, &repository, &writer);
            // A session that names payloads is closed before the blob names them: the sweep looks for the owner of a
            // payload there. One that carries its bytes is closed behind the blob, and lets them go.
            let close_first = base.is_some() && !content.payloads.is_empty();
            // A record must not name payloads that the sweep may have taken for abandoned.
            registry.check_age(id)?;
            if close_first {
                steps.insert(0, content.session(id, base.as_ref(), closing));
            } else if base.is_some() {
                steps.push(Content::default().session(id, base.as_ref(), closing));
            }
            // All of it in one round is what nearly always holds; what is written last is synced, and what was before
            // it. Where it does not hold, one step after the other is looked at.
            let (done, outcome) = registry.cache.swap_in_order(steps.clone(), registry.settings.durability).await;
            let certain = match outcome {
                Ok(()) => return Ok(()),
                Err(e) => e != WriteError::Unavailable,
            };
            let mut steps = steps.into_iter();
            let content = match steps.next() {
                Some(session) if close_first && done == 0 => {
                    match registry.commit_session(id, base.as_ref(), session, content.own.clone(), certain).await {
                        Ok(()) => content,
                        // The same request once more was quicker: what it closed is what we have.
                        Err(lost) => registry.closed_by_another(id, &digest).await?.ok_or(lost)?,
                    }
                }
                _ => content,
            };
            registry.make_blob(&repository, &digest, content, writer, certain && done == 0 && base.is_none()).await?;
            if let (Some(closing), false) = (steps.nth(1), close_first) {
                // Should it fail, the session ends by its age.
                let Swap { key, header, body, when } = closing;
                let _ = registry.cache.swap(&key, header, body, when, Durability::Process).await;
            }
            Ok(())
        })
        .await
    }

    /// Everything that came, if it has this digest.
    async fn checked(self, digest: &Digest) -> Result<Content, RegistryError> {
        let registry = Arc::clone(&self.registry);
        let (id, hasher) = (self.id, self.hasher.clone());
        let content = self.content().await?;
        let computed = match hasher.finish() {
            same if same.algorithm() == digest.algorithm() => same,
            // Another algorithm than the one that ran along: everything is read once more.
            _ => registry.read_back(id, &content, digest.algorithm()).await?,
        };
        if computed == *digest {
            return Ok(content);
        }
        if let Some(own) = content.own {
            registry.cache.discard(&own).await;
        }
        Err(RegistryError::DigestMismatch(computed))
    }

    /// What the session has with this request's bytes.
    async fn content(self) -> Result<Content, RegistryError> {
        let (cache, id, now) = (Arc::clone(&self.registry.cache), self.id, self.registry.cache.now());
        let durability = self.registry.settings.durability;
        let before = self.base.as_ref().filter(|record| !record.header.payloads.is_empty());
        let Some(before) = before.map(|record| record.header.clone()) else {
            let Received { size, sums, inline, payload } = self.upload.finish().await?;
            let payloads = payload.iter().map(|key| Payload { key: key.clone(), size }).collect();
            return Ok(Content { sums, size, payloads, inline, own: payload });
        };
        let mut content = Content::of(&before);
        if self.new_bytes > 0 {
            // Behind payloads there is no room for anything but another one.
            let key = id.payload(clock::ulid_at(now));
            let received = self.upload.finish().await?.into_payload(&cache, key, durability).await?;
            content.sums = content.sums.join(&received.sums);
            content.size += received.size;
            content.payloads.extend(received.payload.clone().map(|key| Payload { key, size: received.size }));
            content.own = received.payload;
        }
        Ok(content)
    }
}
