//! Making a record that must not replace a live one: whoever is first wins, and everybody may rely on what is there.

use std::sync::Arc;

use bytes::Bytes;

use super::find::Patience;
use super::promise::Promise;
use super::{Registry, RegistryError};
use crate::cache::{Record, WriteError};
use crate::model::object::ObjectKey;
use crate::model::record::{Header, State};
use crate::model::repository::Repository;
use crate::model::sums::Sums;
use crate::store::{Durability, When};

/// Who made the record that is there now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Created {
    /// This call.
    Ours,
    /// Somebody else, for certain: what this call brought is named by nothing.
    Theirs,
    /// Perhaps this call: an answer was lost.
    Unclear,
}

/// Whether a live record is the one that this header makes: the same write, or one that names the same payloads.
fn is_same(header: &Header, there: &Header) -> bool {
    let named = !header.payloads.is_empty() && there.payloads == header.payloads;
    there.state == State::Live && (there.nonce == header.nonce || named)
}

const fn theirs(certain: bool) -> Created {
    if certain { Created::Theirs } else { Created::Unclear }
}

impl Registry {
    /// Makes sure that there is a live record under the key, this one or another that was there first, and vouches for
    /// it.
    ///
    /// A write that was refused may have been ours, its answer lost: what is there now decides. A live record is good
    /// whoever wrote it, because it says the same; then what we brought is superfluous, and the sweep's. A bad, dead or
    /// late one is replaced.
    ///
    /// # Errors
    /// [`RegistryError::NoSpace`]: nothing was written for certain; [`RegistryError::Unavailable`] when the store does not
    /// take it in time.
    pub(super) async fn create(
        self: &Arc<Self>,
        repository: &Repository,
        key: &ObjectKey,
        header: &Header,
        body: &[Bytes],
        durability: Durability,
    ) -> Result<Created, RegistryError> {
        let (mut when, mut certain) = (When::Absent, true);
        let mut patience = Patience::new(self.settings.hold_on);
        loop {
            match self.cache.swap(key, header.clone(), body.to_vec(), when, durability).await {
                Ok(()) => return Ok(Created::Ours),
                Err(WriteError::NoSpace) if certain => return Err(RegistryError::NoSpace),
                // An earlier write may still land: nobody may conclude that nothing names what this call brought.
                Err(WriteError::NoSpace) => return Err(RegistryError::Unavailable),
                Err(WriteError::Changed) => {}
                Err(WriteError::Unavailable) => {
                    certain = false;
                    patience.wait().await?;
                }
            }
            when = match self.inspect(key).await? {
                None => When::Absent,
                Some(there) if is_same(header, &there.header) => {
                    // Written by this very call, or by the round before it.
                    if durability == Durability::Synced {
                        self.cache.sync().await?;
                    }
                    return Ok(Created::Ours);
                }
                Some(there) if self.is_good(&there) => match self.promise(repository, &there).await? {
                    Promise::Given if durability == Durability::Synced => {
                        // Whoever wrote it may not have been told yet that it is safe.
                        self.cache.sync().await?;
                        return Ok(theirs(certain));
                    }
                    Promise::Given => return Ok(theirs(certain)),
                    Promise::Changed | Promise::Broken => When::Absent,
                },
                Some(there) => When::Is(there.tag().clone()),
            };
        }
    }

    /// Whether a record can be relied on.
    pub(super) fn is_good(&self, record: &Record) -> bool {
        record.header.state == State::Live && !self.is_late(record)
    }

    /// Takes a record away: it becomes a tombstone, which a later push replaces. False when there was none. On a full
    /// store, which has no room for a tombstone, it is removed.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`] when the store does not take it in time.
    pub(super) async fn bury(&self, key: &ObjectKey) -> Result<bool, RegistryError> {
        let mut tomb = Header::new(0, Sums::default());
        tomb.state = State::Dead;
        let mut patience = Patience::new(self.settings.hold_on);
        let buried = loop {
            let there = match self.inspect(key).await {
                Ok(Some(there)) if there.header.state == State::Live => there,
                // Ours, whose answer was lost.
                Ok(there) => break Ok(there.is_some_and(|there| there.header.nonce == tomb.nonce)),
                Err(e) => break Err(e),
            };
            let when = When::Is(there.tag().clone());
            let swapped = match self.cache.swap(key, tomb.clone(), Vec::new(), when, Durability::Process).await {
                Err(WriteError::NoSpace) => self.cache.remove_if(&there).await,
                swapped => swapped,
            };
            match swapped {
                Ok(()) => break Ok(true),
                Err(WriteError::Changed) => {}
                Err(WriteError::NoSpace) => break Err(RegistryError::NoSpace),
                Err(WriteError::Unavailable) => {
                    if let Err(e) = patience.wait().await {
                        break Err(e);
                    }
                }
            }
        };
        // Whatever came of it, and last: who looks after this sees it.
        self.cache.note_damage();
        buried
    }
}
