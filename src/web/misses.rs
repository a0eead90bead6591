//! The last lookups that missed, for people who ask why.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::auth::Identity;
use crate::clock;

const KEPT: usize = 256;

/// One lookup that missed.
#[derive(Debug, Clone)]
pub struct Miss {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// The namespace.
    pub namespace: String,
    /// The key.
    pub key: String,
    /// Who asked.
    pub identity: Arc<Identity>,
    /// Why it missed.
    pub reason: Reason,
}

/// Why a lookup missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// No such entry is in the store.
    Absent,
    /// The user may not read this namespace.
    Refused,
    /// The store did not answer.
    Unavailable,
}

impl Reason {
    /// As it is told.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
        }
    }
}

/// A ring of the last misses.
#[derive(Debug, Default)]
pub struct Misses {
    ring: Mutex<VecDeque<Miss>>,
}

impl Misses {
    /// Adds one; the oldest leaves.
    pub fn add(&self, namespace: &str, key: &str, identity: Arc<Identity>, reason: Reason) {
        let mut ring = self.ring.lock().unwrap_or_else(PoisonError::into_inner);
        // The texts of the one that leaves are used again: a miss is as frequent as a hit.
        let mut miss = match ring.len() {
            KEPT.. => ring.pop_back(),
            _ => None,
        }
        .unwrap_or_else(|| Miss {
            at: 0,
            namespace: String::new(),
            key: String::new(),
            identity: Arc::clone(&identity),
            reason,
        });
        miss.at = clock::unix_ms();
        miss.namespace.clear();
        miss.namespace.push_str(namespace);
        miss.key.clear();
        miss.key.push_str(key);
        miss.identity = identity;
        miss.reason = reason;
        ring.push_front(miss);
    }

    /// All that are kept, the newest first.
    pub fn all(&self) -> Vec<Miss> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
