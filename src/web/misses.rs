//! The last lookups that missed, for people who ask why.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};

use crate::auth::Identity;
use crate::clock;

const KEPT: usize = 256;

/// What was looked for.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// A Gradle entry.
    Entry {
        /// Its namespace.
        namespace: &'a str,
        /// Its key.
        key: &'a str,
    },
    /// A manifest.
    Manifest {
        /// Its repository.
        repository: &'a str,
        /// A tag or a digest.
        reference: &'a str,
    },
}

/// Why a lookup missed, or will seem to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Nothing like it is in the store.
    Absent,
    /// It was removed, at this time in milliseconds since 1970.
    Removed(u64),
    /// The user may not read there.
    Refused,
    /// The store did not answer.
    Unavailable,
    /// It was served, and the client probably finds it too old: from this time, in milliseconds since 1970.
    TooOld(u64),
}

impl Reason {
    /// As it is told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Removed(_) => "removed",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::TooOld(_) => "probably-too-old-for-the-client",
        }
    }
}

/// One lookup that missed. The texts are used again when it leaves the ring: a miss is as frequent as a hit.
#[derive(Debug)]
struct Miss {
    at: u64,
    is_entry: bool,
    place: String,
    name: String,
    identity: Arc<Identity>,
    reason: Reason,
}

/// A ring of the last misses.
#[derive(Debug, Default)]
pub struct Misses {
    ring: Mutex<VecDeque<Miss>>,
}

impl Misses {
    /// Adds one; the oldest leaves.
    pub fn add(&self, wanted: Wanted<'_>, identity: Arc<Identity>, reason: Reason) {
        let (is_entry, place, name) = match wanted {
            Wanted::Entry { namespace, key } => (true, namespace, key),
            Wanted::Manifest { repository, reference } => (false, repository, reference),
        };
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = if ring.len() >= KEPT { ring.pop_back() } else { None };
        let (mut old_place, mut old_name) = oldest.map(|miss| (miss.place, miss.name)).unwrap_or_default();
        for (old, new) in [(&mut old_place, place), (&mut old_name, name)] {
            old.clear();
            old.push_str(new);
        }
        let at = clock::unix_ms();
        ring.push_front(Miss { at, is_entry, place: old_place, name: old_name, identity, reason });
    }

    /// All that are kept, the newest first.
    pub fn all(&self) -> Vec<Value> {
        let ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        ring.iter().map(Miss::tell).collect()
    }
}

impl Miss {
    fn tell(&self) -> Value {
        let (place, name) = if self.is_entry { ("namespace", "key") } else { ("repository", "reference") };
        let mut told = json!({
            "at_ms": self.at,
            place: self.place,
            name: self.name,
            "user": self.identity.name(),
            "reason": self.reason.as_str(),
        });
        match self.reason {
            Reason::Removed(at) => told["removed_at_ms"] = at.into(),
            Reason::TooOld(created) => told["created_at_ms"] = created.into(),
            Reason::Absent | Reason::Refused | Reason::Unavailable => {}
        }
        told
    }
}
