//! The bounds of one walk through what a manifest names.
//!
//! Facts in a manifest's record tell its depth and reach as they were when it was pushed; a child that was a blob then
//! may be a manifest now, and a subject may be named below its own referrer. So every walk counts for itself.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::promise::Promise;
use crate::model::object::ObjectKey;

/// What is left of a walk's allowance. Shared by the branches of one walk.
#[derive(Debug)]
pub(super) struct Walk {
    inner: Mutex<Inner>,
    max_depth: u32,
}

#[derive(Debug, Default)]
struct Inner {
    seen: HashSet<ObjectKey>,
    renewed: Vec<ObjectKey>,
    steps_left: u64,
    went_too_far: bool,
}

impl Walk {
    pub fn new(max_depth: u32, max_steps: u64) -> Self {
        Self { inner: Mutex::new(Inner { steps_left: max_steps, ..Inner::default() }), max_depth }
    }

    /// Enters a manifest at this depth, the first being 1. What is known of it without a look: that this walk looked at it
    /// before, or does so now, or that it lies too deep to be served.
    pub fn enter(&self, manifest: &ObjectKey, depth: u32) -> Option<Promise> {
        let mut inner = self.lock();
        if depth > self.max_depth {
            inner.went_too_far = true;
            return Some(Promise::Broken);
        }
        (!inner.seen.insert(manifest.clone())).then_some(Promise::Given)
    }

    /// A manifest that was entered was replaced meanwhile: it may be entered again.
    pub fn leave(&self, manifest: &ObjectKey) {
        self.lock().seen.remove(manifest);
    }

    /// Whether so many more things may be looked at.
    pub fn allows(&self, steps: usize) -> bool {
        let mut inner = self.lock();
        match inner.steps_left.checked_sub(steps as u64) {
            Some(left) => {
                inner.steps_left = left;
                true
            }
            None => {
                inner.went_too_far = true;
                false
            }
        }
    }

    /// Whether there was more than may be looked at.
    pub fn went_too_far(&self) -> bool {
        self.lock().went_too_far
    }

    /// A manifest was renewed.
    pub fn note_renewed(&self, manifest: &ObjectKey) {
        self.lock().renewed.push(manifest.clone());
    }

    /// The manifests that were renewed.
    pub fn take_renewed(&self) -> Vec<ObjectKey> {
        std::mem::take(&mut self.lock().renewed)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_ends() {
        let key = |text| ObjectKey::parse(text).unwrap();
        let walk = Walk::new(2, 3);
        assert_eq!(walk.enter(&key("a"), 1), None);
        assert_eq!(walk.enter(&key("a"), 2), Some(Promise::Given));
        assert!(walk.allows(3) && !walk.went_too_far());
        assert_eq!(walk.enter(&key("b"), 3), Some(Promise::Broken));
        assert!(!walk.allows(1) && walk.went_too_far());
    }
}
