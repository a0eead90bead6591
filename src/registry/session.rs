//! Upload sessions: their ids, which the client carries and no node remembers, and their records.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ulid::Ulid;

use super::{Registry, RegistryError};
use crate::cache::Record;
use crate::clock;
use crate::model::digest::{Algorithm, Hasher};
use crate::model::facts::{Facts, SessionFacts, SessionState};
use crate::model::object::ObjectKey;
use crate::model::record::State;
use crate::model::repository::Repository;
use crate::model::seal::SEAL;

/// No request on a session that is older than this is accepted; what it left behind may be removed some hours later.
const LIFE_MS: u64 = 24 * 3600 * 1000;
/// A session that seems to come from the future was begun by a node whose clock is ahead.
const AHEAD_MS: u64 = 3600 * 1000;
const PURPOSE: &str = "upload";

/// A session of one repository and one user. It was begun by nothing but its id: `POST` stores nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId(Ulid);

/// A session as it is in the store.
#[derive(Debug)]
pub(super) enum Progress {
    /// Nothing came yet, or this much.
    Open {
        /// Its record, if there is one.
        record: Option<Arc<Record>>,
        /// The hash of what came.
        hasher: Box<Hasher>,
    },
    /// Everything came: the record names the payloads and the digest.
    Closed(Arc<Record>),
}

impl SessionId {
    /// Where its record lies.
    pub(super) fn key(self) -> ObjectKey {
        ObjectKey::from_parts(&["uploads", self.0.array_to_str(&mut [0; ulid::ULID_LEN])])
    }

    /// Where the payload of an attempt lies.
    pub(super) fn payload(self, attempt: Ulid) -> ObjectKey {
        let (mut own, mut of_attempt) = ([0; ulid::ULID_LEN], [0; ulid::ULID_LEN]);
        let parts = ["payloads", self.0.array_to_str(&mut own), attempt.array_to_str(&mut of_attempt)];
        ObjectKey::from_parts(&parts)
    }
}

impl Registry {
    /// A fresh session.
    pub fn begin(&self) -> SessionId {
        SessionId(clock::ulid_at(self.cache.now()))
    }

    /// A session's id as its client carries it.
    pub fn ticket(&self, id: SessionId, repository: &Repository, user: &str) -> String {
        let bytes = id.0.to_bytes();
        let seal = self.sealer.seal(PURPOSE, &[&bytes, repository.as_str().as_bytes(), user.as_bytes()]);
        URL_SAFE_NO_PAD.encode([bytes, seal].concat())
    }

    /// The session that a client carries the id of.
    ///
    /// # Errors
    /// [`RegistryError::UploadUnknown`] for one of another repository or user, or that is too old.
    pub fn session(&self, ticket: &str, repository: &Repository, user: &str) -> Result<SessionId, RegistryError> {
        let bytes = URL_SAFE_NO_PAD.decode(ticket).map_err(|_| RegistryError::UploadUnknown)?;
        let (id, seal) =
            bytes.split_at_checked(bytes.len().saturating_sub(SEAL)).ok_or(RegistryError::UploadUnknown)?;
        let id: [u8; 16] = id.try_into().map_err(|_| RegistryError::UploadUnknown)?;
        if !self.sealer.holds(PURPOSE, &[&id, repository.as_str().as_bytes(), user.as_bytes()], seal) {
            return Err(RegistryError::UploadUnknown);
        }
        let id = SessionId(Ulid::from_bytes(id));
        self.check_age(id)?;
        Ok(id)
    }

    /// To be asked again before every write: a request may take long.
    pub(super) fn check_age(&self, id: SessionId) -> Result<(), RegistryError> {
        let (now, begun) = (self.cache.now(), id.0.timestamp_ms());
        let good = now.saturating_sub(begun) < LIFE_MS && begun.saturating_sub(now) < AHEAD_MS;
        if good { Ok(()) } else { Err(RegistryError::UploadUnknown) }
    }

    /// How far a session is.
    pub(super) async fn progress(&self, id: SessionId) -> Result<Progress, RegistryError> {
        progress(self.inspect(&id.key()).await?)
    }

    /// How many bytes of an open session are kept.
    ///
    /// # Errors
    /// [`RegistryError::UploadUnknown`] when it is over.
    pub async fn offset(&self, id: SessionId) -> Result<u64, RegistryError> {
        match self.progress(id).await? {
            Progress::Open { record, .. } => Ok(record.map_or(0, |record| record.header.size)),
            Progress::Closed(_) => Err(RegistryError::UploadUnknown),
        }
    }
}

/// How far the session is that left this record, or none yet.
pub(super) fn progress(record: Option<Arc<Record>>) -> Result<Progress, RegistryError> {
    let Some(record) = record else {
        return Ok(Progress::Open { record: None, hasher: Box::new(Hasher::new(Algorithm::Sha256)) });
    };
    let facts = match record.header.facts.as_deref() {
        Some(Facts::Session(facts)) if record.header.state == State::Live => facts,
        // Damaged: the client begins another.
        _ => return Err(RegistryError::UploadUnknown),
    };
    match facts {
        SessionFacts { state: SessionState::Closed(_), .. } => Ok(Progress::Closed(record)),
        SessionFacts { state: SessionState::Cancelled, .. } => Err(RegistryError::UploadUnknown),
        SessionFacts { state: SessionState::Open, hash } => {
            let hasher = Hasher::restore(hash).ok_or(RegistryError::UploadUnknown)?;
            Ok(Progress::Open { record: Some(record), hasher: Box::new(hasher) })
        }
    }
}
