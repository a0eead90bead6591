//! The bounds of one walk through what a manifest names.
//!
//! Facts in a manifest's record tell its depth and reach as they were when it was pushed; a child that was a blob then
//! may be a manifest now, and a subject may be named below its own referrer. So every walk counts for itself.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::model::object::ObjectKey;

/// What is left of a walk's allowance. Shared by the branches of one walk.
#[derive(Debug)]
pub(super) struct Walk {
    inner: Mutex<Inner>,
    max_depth: u32,
}

#[derive(Debug)]
struct Inner {
    seen: HashSet<ObjectKey>,
    steps_left: u64,
}

/// What to do with a manifest that a walk comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Look at it.
    Go,
    /// This walk looked at it before, or does so now.
    Seen,
    /// The walk is too deep or too wide: what hangs below is not served.
    TooFar,
}

impl Walk {
    pub fn new(max_depth: u32, max_steps: u64) -> Self {
        Self { inner: Mutex::new(Inner { seen: HashSet::new(), steps_left: max_steps }), max_depth }
    }

    /// Enters a manifest at this depth, the first being 1.
    pub fn enter(&self, manifest: &ObjectKey, depth: u32) -> Step {
        if depth > self.max_depth {
            return Step::TooFar;
        }
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.seen.insert(manifest.clone()) { Step::Go } else { Step::Seen }
    }

    /// A manifest that was entered was replaced meanwhile: it may be entered again.
    pub fn leave(&self, manifest: &ObjectKey) {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).seen.remove(manifest);
    }

    /// Whether so many more things may be looked at.
    pub fn allows(&self, steps: usize) -> bool {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match inner.steps_left.checked_sub(steps as u64) {
            Some(left) => {
                inner.steps_left = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_ends() {
        let key = |text| ObjectKey::parse(text).unwrap();
        let walk = Walk::new(2, 3);
        assert_eq!(walk.enter(&key("a"), 1), Step::Go);
        assert_eq!(walk.enter(&key("a"), 2), Step::Seen);
        assert_eq!(walk.enter(&key("b"), 3), Step::TooFar);
        assert!(walk.allows(3) && !walk.allows(1));
    }
}
