//! Bytes that come into an upload session, and the blob that they become.
//!
//! Every attempt to append writes a payload of its own and then commits with one compare-and-swap of the session's
//! record: of two attempts one wins, and a broken one leaves the session as it was. `PUT` closes the session first, so
//! that a repeated `PUT` finds what to finish and a late `PATCH` nothing to revive. An attempt that lost removes its own
//! payload and no other.

use std::sync::Arc;

use bytes::Bytes;

use super::find::Patience;
use super::session::{Progress, SessionId};
use super::{Registry, RegistryError, carry};
use crate::cache::{Body, Place, ReadError, Received, Record, Upload, WriteError};
use crate::clock;
use crate::model::digest::{Algorithm, Digest, Hasher};
use crate::model::facts::{BlobFacts, Facts, SessionFacts, SessionState};
use crate::model::record::{Header, Payload, Writer};
use crate::model::repository::Repository;
use crate::model::sums::Sums;
use crate::store::{Durability, When};

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

/// Everything that came, whichever way it is kept.
struct Content {
    sums: Sums,
    size: u64,
    payloads: Vec<Payload>,
    inline: Vec<Bytes>,
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
                self.cache.inline(record).await.map_err(of_session)?
            }
            _ => Vec::new(),
        };
        let carried_bytes: u64 = carried.iter().map(|part| part.len() as u64).sum();
        let declared = declared.map(|length| length.saturating_add(carried_bytes));
        let durability = self.settings.durability;
        let mut upload = self.cache.upload(place, declared, durability).await?;
        for part in carried {
            upload.push(part).await?;
        }
        let (registry, repository) = (Arc::clone(self), repository.clone());
        Ok(Append { registry, id, repository, writer, base, closed, upload, hasher, offset, new_bytes: 0 })
    }

    /// Gives a session up.
    ///
    /// # Errors
    /// [`RegistryError::UploadUnknown`] when it is over already.
    pub async fn cancel(&self, id: SessionId) -> Result<(), RegistryError> {
        let mut patience = Patience::new(self.settings.hold_on);
        loop {
            let Progress::Open { record, hasher } = self.progress(id).await? else {
                return Err(RegistryError::UploadUnknown);
            };
            let facts = SessionFacts { state: SessionState::Cancelled, hash: hasher.save().unwrap_or_default() };
            let header = Header::with_facts(0, Sums::default(), Facts::Session(facts));
            let when = record.map_or(When::Absent, |record| When::Is(record.tag().clone()));
            match self.cache.swap(&id.key(), header, Vec::new(), when, Durability::Process).await {
                Ok(_) => return Ok(()),
                Err(WriteError::NoSpace) => return Err(RegistryError::NoSpace),
                Err(WriteError::Changed | WriteError::Unavailable) => patience.wait().await?,
            }
        }
    }
}

fn closed_digest(record: &Record) -> Option<&Digest> {
    match record.header.facts.as_deref() {
        Some(Facts::Session(SessionFacts { state: SessionState::Closed(digest), .. })) => Some(digest),
        _ => None,
    }
}

impl Append {
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
            let (content, own) = self.content().await?;
            let size = content.size;
            let facts = SessionFacts { state: SessionState::Open, hash };
            registry.commit_session(id, base.as_ref(), facts, content, own).await?;
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
            let (registry, repository, writer) =
                (Arc::clone(&self.registry), self.repository.clone(), self.writer.clone());
            let content = self.close(&digest).await?;
            let facts = Facts::Blob(BlobFacts { origin: repository.clone() });
            let mut header = Header { writer: writer.clone(), ..Header::with_facts(content.size, content.sums, facts) };
            header.payloads = content.payloads;
            // The link is written last, and its sync is the blob's, too.
            registry.create(&repository, &digest.blob(), &header, &content.inline, Durability::Process).await?;
            registry.link(&repository, &digest, writer).await
        })
        .await
    }

    /// Checks the digest and closes the session, if there is one.
    async fn close(self, digest: &Digest) -> Result<Content, RegistryError> {
        let registry = Arc::clone(&self.registry);
        if let (true, Some(record)) = (self.closed, &self.base) {
            return registry.content_of(record).await;
        }
        let (id, base, hasher) = (self.id, self.base.clone(), self.hasher.clone());
        let running = hasher.save();
        let (content, own) = self.content().await?;
        let computed = match hasher.finish() {
            same if same.algorithm() == digest.algorithm() => same,
            // Another algorithm than the one that ran along: everything is read once more.
            _ => registry.read_back(id, &content, digest.algorithm()).await?,
        };
        if computed != *digest {
            if let Some(own) = own {
                registry.cache.discard(&own).await;
            }
            return Err(RegistryError::DigestMismatch(computed));
        }
        if base.is_some() {
            let facts = SessionFacts { state: SessionState::Closed(digest.clone()), hash: running.unwrap_or_default() };
            let copy = Content {
                sums: content.sums.clone(),
                size: content.size,
                payloads: content.payloads.clone(),
                inline: content.inline.clone(),
            };
            registry.commit_session(id, base.as_ref(), facts, copy, own).await?;
        }
        Ok(content)
    }

    /// What the session has with this request's bytes, and the payload that this request wrote.
    async fn content(self) -> Result<(Content, Option<crate::model::object::ObjectKey>), RegistryError> {
        let (cache, id, now) = (Arc::clone(&self.registry.cache), self.id, self.registry.cache.now());
        let durability = self.registry.settings.durability;
        let before = self.base.as_ref().filter(|record| !record.header.payloads.is_empty());
        let nothing_new = self.new_bytes == 0;
        let Some(before) = before.map(|record| record.header.clone()) else {
            let Received { size, sums, inline, payload } = self.upload.finish().await?;
            let payloads = payload.iter().map(|key| Payload { key: key.clone(), size }).collect();
            return Ok((Content { sums, size, payloads, inline }, payload));
        };
        let (mut payloads, mut sums, mut size, mut own) = (before.payloads, before.sums, before.size, None);
        if !nothing_new {
            // Behind payloads there is no room for anything but another one.
            let key = id.payload(clock::ulid_at(now));
            let received = self.upload.finish().await?.into_payload(&cache, key, durability).await?;
            payloads.extend(received.payload.iter().map(|key| Payload { key: key.clone(), size: received.size }));
            sums = sums.join(&received.sums);
            size += received.size;
            own = received.payload;
        }
        Ok((Content { sums, size, payloads, inline: Vec::new() }, own))
    }
}

impl Registry {
    /// Swaps a session's record for the next one. `own` is the payload that this attempt wrote: removed when it lost.
    async fn commit_session(
        &self,
        id: SessionId,
        base: Option<&Arc<Record>>,
        facts: SessionFacts,
        content: Content,
        own: Option<crate::model::object::ObjectKey>,
    ) -> Result<(), RegistryError> {
        let mut header = Header::with_facts(content.size, content.sums, Facts::Session(facts));
        header.payloads = content.payloads;
        let when = || base.map_or(When::Absent, |record| When::Is(record.tag().clone()));
        let mut patience = Patience::new(self.settings.hold_on);
        let lost = loop {
            if let Err(e) = self.check_age(id) {
                break e;
            }
            let swapped =
                self.cache.swap(&id.key(), header.clone(), content.inline.clone(), when(), Durability::Process).await;
            match swapped {
                Ok(_) => return Ok(()),
                Err(WriteError::NoSpace) => break RegistryError::NoSpace,
                // The answer may be what was lost: what is there now decides.
                Err(WriteError::Changed | WriteError::Unavailable) => {}
            }
            // While the store does not say, the payload stays: the record may name it.
            let now = self.inspect(&id.key()).await?;
            let ours = now.as_ref().is_some_and(|record| match &own {
                Some(own) => record.header.payloads.iter().any(|payload| payload.key == *own),
                None => record.header.nonce == header.nonce,
            });
            if ours {
                return Ok(());
            }
            let unchanged = now.as_ref().map(|record| record.tag()) == base.map(|record| record.tag());
            if !unchanged {
                break match self.offset(id).await {
                    Ok(offset) => RegistryError::OutOfOrder(offset),
                    Err(e) => e,
                };
            }
            patience.wait().await?;
        };
        if let Some(own) = own {
            self.cache.discard(&own).await;
        }
        Err(lost)
    }

    /// What a closed session's record holds.
    async fn content_of(self: &Arc<Self>, record: &Arc<Record>) -> Result<Content, RegistryError> {
        let header = &record.header;
        let inline = match header.payloads.is_empty() && header.size > 0 {
            true => self.cache.inline(record).await.map_err(of_session)?,
            false => Vec::new(),
        };
        Ok(Content { sums: header.sums.clone(), size: header.size, payloads: header.payloads.clone(), inline })
    }

    /// The digest of what came, by an algorithm that did not run along.
    async fn read_back(
        self: &Arc<Self>,
        id: SessionId,
        content: &Content,
        algorithm: Algorithm,
    ) -> Result<Digest, RegistryError> {
        let mut hasher = Hasher::new(algorithm);
        if content.payloads.is_empty() {
            content.inline.iter().for_each(|part| hasher.update(part));
            return Ok(hasher.finish());
        }
        let mut header = Header::new(content.size, content.sums.clone());
        header.payloads.clone_from(&content.payloads);
        let record = Arc::new(Record::unwritten(id.key(), header));
        match self.cache.stream(&record, 0..content.size).await.map_err(of_session)? {
            Body::Whole(bytes) => hasher.update(&bytes),
            Body::Stream(mut pieces) => {
                while let Some(piece) = pieces.next().await {
                    hasher.update(&piece.map_err(of_session)?);
                }
            }
        }
        Ok(hasher.finish())
    }
}

/// What a session kept cannot be read any more: the client has to begin another.
fn of_session(error: ReadError) -> RegistryError {
    match error {
        ReadError::Corrupt | ReadError::Gone => RegistryError::UploadUnknown,
        ReadError::Unavailable => RegistryError::Unavailable,
    }
}
