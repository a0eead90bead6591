//! What was removed lately, for people who ask why something is missing.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use crate::model::object::ObjectKey;

const KEPT: usize = 4096;

/// The last removals of this process.
#[derive(Debug, Default)]
pub(super) struct Removed {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    at: HashMap<ObjectKey, u64>,
    order: VecDeque<ObjectKey>,
}

impl Removed {
    /// Something was removed, at this time in milliseconds since 1970.
    pub fn note(&self, key: &ObjectKey, at: u64) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.at.insert(key.clone(), at).is_none() {
            inner.order.push_back(key.clone());
        }
        if inner.order.len() > KEPT
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.at.remove(&oldest);
        }
    }

    /// When it was removed, if it was lately.
    pub fn when(&self, key: &ObjectKey) -> Option<u64> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).at.get(key).copied()
    }
}
