//! What an upload brought: kept by its session, then made a blob.

use std::sync::Arc;

use bytes::Bytes;

use super::create::Created;
use super::find::Patience;
use super::session::{Progress, SessionId};
use super::{Registry, RegistryError};
use crate::cache::{Body, ReadError, Record, Swap, WriteError};
use crate::model::digest::{Algorithm, Digest, Hasher};
use crate::model::facts::{BlobFacts, Facts, SessionFacts, SessionState};
use crate::model::object::ObjectKey;
use crate::model::record::{Header, Payload, Writer};
use crate::model::repository::Repository;
use crate::model::sums::Sums;
use crate::store::{Durability, When};

/// Everything that came, whichever way it is kept.
#[derive(Default)]
pub(super) struct Content {
    /// Checksums of all of it.
    pub sums: Sums,
    /// Its length in bytes.
    pub size: u64,
    /// The payloads that hold it, in order.
    pub payloads: Vec<Payload>,
    /// The bytes themselves, where there are no payloads.
    pub inline: Vec<Bytes>,
    /// The payload that this request wrote.
    pub own: Option<ObjectKey>,
}

impl Content {
    /// What a record says that keeps it in payloads.
    pub(super) fn of(header: &Header) -> Self {
        let (sums, payloads) = (header.sums.clone(), header.payloads.clone());
        Self { sums, size: header.size, payloads, inline: Vec::new(), own: None }
    }

    /// The session's next record.
    pub(super) fn session(&self, id: SessionId, base: Option<&Arc<Record>>, facts: SessionFacts) -> Swap {
        let mut header = Header::with_facts(self.size, self.sums.clone(), Facts::Session(facts));
        header.payloads.clone_from(&self.payloads);
        let when = base.map_or(When::Absent, |record| When::Is(record.tag().clone()));
        Swap { key: id.key(), header, body: self.inline.clone(), when }
    }

    /// The blob's record and its link.
    pub(super) fn steps(&self, digest: &Digest, repository: &Repository, writer: &Writer) -> Vec<Swap> {
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
    pub(super) async fn make_blob(
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

    /// The same request once more, after one that closed the session: the creation runs again.
    pub(super) async fn complete_again(
        self: &Arc<Self>,
        repository: &Repository,
        digest: &Digest,
        session: &Arc<Record>,
        writer: Writer,
    ) -> Result<(), RegistryError> {
        let content = Content::of(&session.header);
        if content.payloads.is_empty() {
            // It was closed behind its blob. What was pushed and removed since is not there any more.
            return match self.blob(repository, digest).await {
                Ok(_) => Ok(()),
                Err(RegistryError::BlobUnknown) => Err(RegistryError::UploadUnknown),
                Err(e) => Err(e),
            };
        }
        self.make_blob(repository, digest, content, writer, false).await
    }

    /// What a session holds that somebody else closed with this digest.
    pub(super) async fn closed_by_another(
        self: &Arc<Self>,
        id: SessionId,
        digest: &Digest,
    ) -> Result<Option<Content>, RegistryError> {
        match self.progress(id).await {
            Ok(Progress::Closed(record)) if closed_digest(&record) == Some(digest) => {
                Ok(Some(Content::of(&record.header)))
            }
            Ok(_) | Err(RegistryError::UploadUnknown) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Swaps a session's record for the next one. `own` is the payload that this attempt wrote: removed when
    /// it lost for certain; `certain` says that no write that names it is under way.
    pub(super) async fn commit_session(
        &self,
        id: SessionId,
        base: Option<&Arc<Record>>,
        swap: Swap,
        own: Option<ObjectKey>,
        mut certain: bool,
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
                Err(WriteError::Changed) => {}
                Err(WriteError::Unavailable) => certain = false,
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
                // What was sent depends on a record that is not there any more: it does not land later.
                certain = true;
                break match self.offset(id).await {
                    Ok(offset) => RegistryError::OutOfOrder(offset),
                    Err(e) => e,
                };
            }
            patience.wait().await?;
        };
        if let (Some(own), true) = (own, certain) {
            self.cache.discard(&own).await;
        }
        Err(lost)
    }

    /// The digest of what came, by an algorithm that did not run along.
    pub(super) async fn read_back(
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
pub(super) fn of_session(error: ReadError) -> RegistryError {
    match error {
        ReadError::Corrupt | ReadError::Gone | ReadError::Replaced => RegistryError::UploadUnknown,
        ReadError::Unavailable => RegistryError::Unavailable,
    }
}

/// What a closed session's bytes are.
pub(super) fn closed_digest(record: &Record) -> Option<&Digest> {
    match record.header.facts.as_deref() {
        Some(Facts::Session(SessionFacts { state: SessionState::Closed(digest), .. })) => Some(digest),
        _ => None,
    }
}
