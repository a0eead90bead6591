//! Bytes that come into an upload session, and the blob that they become.
//!
//! Every attempt to append writes a payload of its own and then commits with one compare-and-swap of the session's
//! record: of two attempts one wins, and a broken one leaves the session as it was. `PUT` closes the session first, so
//! that a repeated `PUT` finds what to finish and a late `PATCH` nothing to revive. An attempt that lost removes its own
//! payload and no other.

use std::sync::Arc;

use bytes::Bytes;

use super::create::Created;
use super::find::Patience;
use super::session::{Progress, SessionId};
use super::{Registry, RegistryError, carry};
use crate::cache::{Body, Place, ReadError, Received, Record, Swap, Upload, WriteError};
use crate::clock;
use crate::model::digest::{Algorithm, Digest, Hasher};
use crate::model::facts::{BlobFacts, Facts, SessionFacts, SessionState};
use crate::model::object::ObjectKey;
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
    /// The payload that this request wrote.
    own: Option<ObjectKey>,
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
    /// Bytes of the whole so far.
    pub fn size(&self) -> u64 {
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
            let swap = content.session(id, base.as_ref(), SessionFacts { state: SessionState::Open, hash });
            registry.commit_session(id, base.as_ref(), swap, content.own).await?;
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
            let is_open = base.is_some() && !self.closed;
            let content = self.checked(&digest).await?;
            let mut steps = content.steps(&digest, &repository, &writer);
            let mut certain = true;
            let closing = SessionFacts { state: SessionState::Closed(digest.clone()), hash: running };
            if is_open {
                steps.insert(0, content.session(id, base.as_ref(), closing));
            }
            // All of it in one round is what nearly always holds; the link is written last, and its sync is the blob's,
            // too. Where it does not hold, one step after the other is looked at.
            if is_open {
                registry.check_age(id)?;
            }
            let (done, outcome) = registry.cache.swap_in_order(steps.clone(), registry.settings.durability).await;
            match outcome {
                Ok(()) => return Ok(()),
                Err(e) => certain &= e != WriteError::Unavailable,
            }
            let content = match steps.into_iter().next() {
                Some(session) if is_open && done == 0 => {
                    match registry.commit_session(id, base.as_ref(), session, content.own.clone()).await {
                        Ok(()) => content,
                        // The same request once more was quicker: what it closed is what we have.
                        Err(lost) => registry.closed_by_another(id, &digest).await?.ok_or(lost)?,
                    }
                }
                _ => content,
            };
            registry.make_blob(&repository, &digest, content, writer, certain && base.is_none()).await
        })
        .await
    }

    /// Everything that came, if it has this digest.
    async fn checked(self, digest: &Digest) -> Result<Content, RegistryError> {
        let registry = Arc::clone(&self.registry);
        if let (true, Some(record)) = (self.closed, &self.base) {
            return registry.content_of(record).await;
        }
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

impl Content {
    /// What a record says that keeps it in payloads.
    fn of(header: &Header) -> Self {
        let (sums, payloads) = (header.sums.clone(), header.payloads.clone());
        Self { sums, size: header.size, payloads, inline: Vec::new(), own: None }
    }

    /// The session's next record.
    fn session(&self, id: SessionId, base: Option<&Arc<Record>>, facts: SessionFacts) -> Swap {
        let mut header = Header::with_facts(self.size, self.sums.clone(), Facts::Session(facts));
        header.payloads.clone_from(&self.payloads);
        let when = base.map_or(When::Absent, |record| When::Is(record.tag().clone()));
        Swap { key: id.key(), header, body: self.inline.clone(), when }
    }

    /// The blob's record and its link.
    fn steps(&self, digest: &Digest, repository: &Repository, writer: &Writer) -> Vec<Swap> {
        let blob = Swap {
            key: digest.blob(),
            header: self.blob(repository, writer.clone()),
            body: self.inline.clone(),
            when: When::Absent,
        };
        let header = Header { writer: writer.clone(), ..Header::new(0, Sums::default()) };
        let link = Swap { key: repository.link(digest), header, body: Vec::new(), when: When::Absent };
        vec![blob, link]
    }

    fn blob(&self, repository: &Repository, writer: Writer) -> Header {
        let facts = Facts::Blob(BlobFacts { origin: repository.clone() });
        let mut header = Header { writer, ..Header::with_facts(self.size, self.sums.clone(), facts) };
        header.payloads.clone_from(&self.payloads);
        header
    }
}

impl Registry {
    /// Makes the blob's record and the link, whatever is there. `own` says that nothing but this request can name its
    /// payload: superfluous, it is removed.
    async fn make_blob(
        self: &Arc<Self>,
        repository: &Repository,
        digest: &Digest,
        content: Content,
        writer: Writer,
        own: bool,
    ) -> Result<(), RegistryError> {
        let header = content.blob(repository, writer.clone());
        let (key, durability) = (digest.blob(), Durability::Process);
        let created = self.create(repository, &key, &header, &content.inline, durability).await;
        if let (Ok(Created::Theirs) | Err(RegistryError::NoSpace), true, Some(payload)) = (&created, own, content.own) {
            self.cache.discard(&payload).await;
        }
        created?;
        self.link(repository, digest, writer).await
    }

    /// What a session holds that somebody else closed with this digest.
    async fn closed_by_another(
        self: &Arc<Self>,
        id: SessionId,
        digest: &Digest,
    ) -> Result<Option<Content>, RegistryError> {
        match self.progress(id).await {
            Ok(Progress::Closed(record)) if closed_digest(&record) == Some(digest) => {
                self.content_of(&record).await.map(Some)
            }
            Ok(_) | Err(RegistryError::UploadUnknown) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Swaps a session's record for the next one. `own` is the payload that this attempt wrote: removed when it lost.
    async fn commit_session(
        &self,
        id: SessionId,
        base: Option<&Arc<Record>>,
        swap: Swap,
        own: Option<ObjectKey>,
    ) -> Result<(), RegistryError> {
        let mut patience = Patience::new(self.settings.hold_on);
        let lost = loop {
            if let Err(e) = self.check_age(id) {
                break e;
            }
            let Swap { key, header, body, when } = swap.clone();
            match self.cache.swap(&key, header, body, when, Durability::Process).await {
                Ok(()) => return Ok(()),
                Err(WriteError::NoSpace) => break RegistryError::NoSpace,
                // The answer may be what was lost: what is there now decides.
                Err(WriteError::Changed | WriteError::Unavailable) => {}
            }
            // While the store does not say, the payload stays: the record may name it.
            let now = self.inspect(&id.key()).await?;
            let ours = now.as_ref().is_some_and(|record| match &own {
                Some(own) => record.header.payloads.iter().any(|payload| payload.key == *own),
                None => record.header.nonce == swap.header.nonce,
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
        let mut content = Content::of(header);
        if header.payloads.is_empty() && header.size > 0 {
            content.inline = self.cache.inline(record).await.map_err(of_session)?;
        }
        Ok(content)
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
