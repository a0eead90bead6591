//! Which records there are, in four bytes each: a lookup of a key that nobody stored needs no disk.
//!
//! A first build misses for every task, each time on a new key, and the kernel remembers only names that were looked
//! up before. The filter is filled by a scan beside the traffic; until that is done, and beyond its limit of memory,
//! every lookup asks the directory. It never says "absent" of what is there: writes enter it before they are
//! acknowledged, and a removal takes out what its own key put in.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::model::object::ObjectKey;

const BUCKETS: usize = 1 << 14;
/// Fingerprints that are kept at most: 16 million entries, 64 MiB.
const MOST: usize = 16 << 20;

const FILLING: u8 = 0;
const COMPLETE: u8 = 1;
const GIVEN_UP: u8 = 2;

/// A multiset of fingerprints, by bucket.
pub struct Presence {
    buckets: Box<[Mutex<Vec<u32>>]>,
    state: AtomicU8,
    count: AtomicUsize,
    hasher: RandomState,
}

impl Default for Presence {
    fn default() -> Self {
        Self {
            buckets: (0..BUCKETS).map(|_| Mutex::default()).collect(),
            state: AtomicU8::new(FILLING),
            count: AtomicUsize::new(0),
            hasher: RandomState::new(),
        }
    }
}

impl Presence {
    /// Whether there is certainly nothing under the key.
    pub fn is_absent(&self, key: &ObjectKey) -> bool {
        if self.state.load(Ordering::Acquire) != COMPLETE {
            return false;
        }
        let (bucket, fingerprint) = self.place(key);
        !self.lock(bucket).contains(&fingerprint)
    }

    /// A key came to be. False when there is no room for more: the filter is of no use any longer.
    pub fn add(&self, key: &ObjectKey) -> bool {
        if self.state.load(Ordering::Acquire) == GIVEN_UP {
            return false;
        }
        if self.count.fetch_add(1, Ordering::Relaxed) >= MOST {
            self.give_up();
            return false;
        }
        let (bucket, fingerprint) = self.place(key);
        self.lock(bucket).push(fingerprint);
        true
    }

    /// A key that was there is written again. A scan that is under way may miss a name that is renamed over; once more
    /// does no harm.
    pub fn add_again(&self, key: &ObjectKey) {
        if self.state.load(Ordering::Acquire) == FILLING {
            self.add(key);
        }
    }

    /// A key that was there is gone. Before the scan is done it may not have been added yet, and what looks like it
    /// may be another's: it stays, and costs a look at the directory.
    pub fn remove(&self, key: &ObjectKey) {
        if self.state.load(Ordering::Acquire) != COMPLETE {
            return;
        }
        let (bucket, fingerprint) = self.place(key);
        let mut fingerprints = self.lock(bucket);
        if let Some(at) = fingerprints.iter().position(|&f| f == fingerprint) {
            fingerprints.swap_remove(at);
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Everything that was there at the start has been added.
    pub fn complete(&self) {
        let _ = self.state.compare_exchange(FILLING, COMPLETE, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// From now on every lookup asks the directory.
    pub fn give_up(&self) {
        self.state.store(GIVEN_UP, Ordering::Release);
        for bucket in &self.buckets {
            *bucket.lock().unwrap_or_else(PoisonError::into_inner) = Vec::new();
        }
    }

    fn place(&self, key: &ObjectKey) -> (usize, u32) {
        let hash = self.hasher.hash_one(key.as_str());
        let bucket = usize::try_from(hash >> 32).unwrap_or(0) % BUCKETS;
        (bucket, (hash & 0xffff_ffff) as u32)
    }

    fn lock(&self, bucket: usize) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.buckets[bucket].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(n: u16) -> ObjectKey {
        ObjectKey::parse(&format!("gradle/default/aa/{n}")).unwrap()
    }

    proptest! {
        /// Whatever happens before and during the scan, nothing that is there is called absent.
        #[test]
        fn what_is_there_is_never_called_absent(steps in prop::collection::vec((0u16..20, 0u8..3), 0..60), scan_at in 0usize..60) {
            let presence = Presence::default();
            let mut there: std::collections::BTreeSet<u16> = (0..5).collect();
            for (i, (n, step)) in steps.iter().enumerate() {
                if i == scan_at {
                    for n in &there {
                        presence.add(&key(*n));
                    }
                    presence.complete();
                }
                match step {
                    0 if there.insert(*n) => {
                        presence.add(&key(*n));
                    }
                    1 if there.remove(n) => presence.remove(&key(*n)),
                    _ => {}
                }
                prop_assert!(there.iter().all(|n| !presence.is_absent(&key(*n))));
            }
        }
    }

    #[test]
    fn a_complete_filter_knows_what_is_absent_and_one_that_gave_up_does_not() {
        let presence = Presence::default();
        presence.add(&key(1));
        assert!(!presence.is_absent(&key(2)));
        presence.complete();
        assert!(presence.is_absent(&key(2)) && !presence.is_absent(&key(1)));
        presence.remove(&key(1));
        assert!(presence.is_absent(&key(1)));
        presence.give_up();
        assert!(!presence.is_absent(&key(2)) && !presence.add(&key(3)));
    }
}
