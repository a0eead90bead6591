//! Locks by key: many keys share one, and readers can tell whether a write went on meanwhile without taking it.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::object::ObjectKey;

const STRIPES: usize = 1024;

/// The locks of a store's keys.
pub struct Stripes {
    stripes: Box<[Stripe]>,
    hasher: RandomState,
}

impl Default for Stripes {
    fn default() -> Self {
        Self { stripes: (0..STRIPES).map(|_| Stripe::default()).collect(), hasher: RandomState::new() }
    }
}

impl Stripes {
    /// The lock that guards a key.
    pub fn of(&self, key: &ObjectKey) -> &Stripe {
        let hash = self.hasher.hash_one(key.as_str());
        &self.stripes[usize::try_from(hash).unwrap_or(0) % STRIPES]
    }
}

/// One lock and the count of writes in place begun and ended under it: odd while one is under way.
#[derive(Default)]
pub struct Stripe {
    lock: Mutex<()>,
    sequence: AtomicU64,
}

/// The stripe's lock, held.
pub struct Held<'a> {
    stripe: &'a Stripe,
    _guard: MutexGuard<'a, ()>,
}

/// A write in place, under way until it is dropped.
pub struct Writing<'a>(&'a AtomicU64);

impl Stripe {
    /// Waits for the lock.
    pub fn lock(&self) -> Held<'_> {
        Held { stripe: self, _guard: self.lock.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// The count before a read without the lock; `None` while a write is under way.
    pub fn quiet(&self) -> Option<u64> {
        let now = self.sequence.load(Ordering::Acquire);
        now.is_multiple_of(2).then_some(now)
    }

    /// Whether no write in place began since [`Stripe::quiet`].
    pub fn unchanged_since(&self, before: u64) -> bool {
        fence(Ordering::SeqCst);
        self.sequence.load(Ordering::SeqCst) == before
    }
}

impl Held<'_> {
    /// Announces a write that readers could see half done.
    pub fn write_in_place(&self) -> Writing<'_> {
        self.stripe.sequence.fetch_add(1, Ordering::SeqCst);
        Writing(&self.stripe.sequence)
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}
