//! The memory: records by frequency of use, chunks by recency, and one budget of bytes under both.
//!
//! Two caches, because an admission policy that is right for many small records never admits a chunk of a large body.
//! Their capacities leave an eighth of the budget to what readers still hold of evicted bytes.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

use super::budget::{Budget, Permit};
use super::record::{ChunkId, Record};
use crate::model::object::ObjectKey;

const GENERATIONS: usize = 1024;
/// What an entry costs beside its key and body, measured: moka's node, the header, the allocations.
const ENTRY_OVERHEAD: usize = 700;
const ABSENT_OVERHEAD: usize = 250;

/// What is known of a key.
#[derive(Debug, Clone)]
pub enum Known {
    /// This record.
    Live(Arc<Record>),
    /// There is nothing to serve.
    Absent,
}

/// Records and chunks in memory.
#[derive(Debug)]
pub struct Hot {
    records: Cache<ObjectKey, Known>,
    chunks: Cache<ChunkId, Bytes>,
    budget: Budget,
    /// Counts the changes of keys, many keys a counter: what was read before a change does not enter after it.
    generations: Box<[AtomicU64]>,
    hasher: RandomState,
}

/// The state of a key before it was read from the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Seen(u64);

/// A change of a key that is under way. Dropped without an outcome, it leaves nothing known.
#[derive(Debug)]
pub struct Change {
    hot: Arc<Hot>,
    key: ObjectKey,
    /// The key's generation while this is the only change under way.
    mine: u64,
    done: bool,
}

impl Hot {
    /// A memory of `bytes` in all.
    pub fn new(bytes: usize) -> Self {
        let share = |eighths: u64| bytes as u64 / 8 * eighths;
        let weigh = |key: &ObjectKey, known: &Known| {
            let bytes = key.as_str().len()
                + match known {
                    Known::Live(record) => ENTRY_OVERHEAD + record.weight(),
                    Known::Absent => ABSENT_OVERHEAD,
                };
            u32::try_from(bytes).unwrap_or(u32::MAX)
        };
        Self {
            records: Cache::builder().max_capacity(share(3)).initial_capacity(1024).weigher(weigh).build(),
            chunks: Cache::builder()
                .max_capacity(share(4))
                .initial_capacity(64)
                .weigher(|_, chunk: &Bytes| u32::try_from(chunk.len()).unwrap_or(u32::MAX))
                .eviction_policy(EvictionPolicy::lru())
                .build(),
            budget: Budget::new(bytes),
            generations: (0..GENERATIONS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
        }
    }

    /// The bytes in memory, with those that readers still hold.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// How many records and chunks there are.
    pub fn items(&self) -> (u64, u64) {
        self.records.run_pending_tasks();
        self.chunks.run_pending_tasks();
        (self.records.entry_count(), self.chunks.entry_count())
    }

    /// What is known of a key.
    pub fn get(&self, key: &ObjectKey) -> Option<Known> {
        self.records.get(key)
    }

    /// Takes bytes of the budget, after evicting what is over capacity; `None` when readers hold too much.
    pub fn make_room(&self, bytes: usize) -> Option<Permit> {
        self.budget.try_take(bytes).or_else(|| {
            self.records.run_pending_tasks();
            self.chunks.run_pending_tasks();
            self.budget.try_take(bytes)
        })
    }

    /// To be asked before a key is read from the store.
    pub fn seen(&self, key: &ObjectKey) -> Seen {
        Seen(self.generation(key).load(Ordering::SeqCst))
    }

    /// Remembers what was read, unless the key changed since.
    pub fn learn(&self, key: &ObjectKey, known: Known, seen: Seen) {
        if self.seen(key).0 != seen.0 {
            return;
        }
        self.records.insert(key.clone(), known);
        // A change that began in between may have finished before this insertion.
        if self.seen(key).0 != seen.0 {
            self.records.invalidate(key);
        }
    }

    /// Drops what is known of a key, if it is still this record.
    pub fn forget(&self, record: &Arc<Record>) {
        if let Some(Known::Live(known)) = self.records.get(record.key())
            && known.tag() == record.tag()
        {
            self.records.invalidate(record.key());
        }
    }

    /// Begins a change of a key.
    pub fn change(self: &Arc<Self>, key: &ObjectKey) -> Change {
        let mine = self.generation(key).fetch_add(1, Ordering::SeqCst) + 1;
        Change { hot: Arc::clone(self), key: key.clone(), mine, done: false }
    }

    /// A chunk that is in memory.
    pub fn chunk(&self, id: ChunkId) -> Option<Bytes> {
        self.chunks.get(&id)
    }

    /// Keeps a chunk, and evicts others at once: a megabyte is too much to be late with.
    pub fn keep_chunk(&self, id: ChunkId, chunk: Bytes) {
        self.chunks.insert(id, chunk);
        self.chunks.run_pending_tasks();
    }

    fn generation(&self, key: &ObjectKey) -> &AtomicU64 {
        let hash = self.hasher.hash_one(key.as_str());
        &self.generations[usize::try_from(hash).unwrap_or(0) % GENERATIONS]
    }
}

impl Change {
    /// The key that changes.
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// The key's state is known, unless another change of it went on meanwhile: then the store knows which was last.
    pub fn finish(mut self, known: Known) {
        let generation = self.hot.generation(&self.key);
        let after = self.mine + 1;
        if generation.compare_exchange(self.mine, after, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return; // dropped as unknown
        }
        self.done = true;
        self.hot.learn(&self.key, known, Seen(after));
    }

    /// The key's state is not known: the store will tell.
    pub fn finish_unknown(self) {
        drop(self);
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        if !self.done {
            self.hot.generation(&self.key).fetch_add(1, Ordering::SeqCst);
            self.hot.records.invalidate(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> ObjectKey {
        ObjectKey::parse(text).unwrap()
    }

    #[test]
    fn what_was_read_before_a_change_does_not_enter_after_it() {
        let hot = Arc::new(Hot::new(8 << 20));
        let k = key("gradle/default/aa/aa");
        let seen = hot.seen(&k);
        hot.change(&k).finish_unknown();
        hot.learn(&k, Known::Absent, seen);
        assert!(hot.get(&k).is_none());
        hot.learn(&k, Known::Absent, hot.seen(&k));
        assert!(matches!(hot.get(&k), Some(Known::Absent)));
        drop(hot.change(&k));
        assert!(hot.get(&k).is_none(), "an abandoned change leaves nothing known");
    }

    #[test]
    fn of_two_changes_at_once_none_enters() {
        let hot = Arc::new(Hot::new(8 << 20));
        let k = key("gradle/default/aa/aa");
        let first = hot.change(&k);
        hot.change(&k).finish_unknown();
        first.finish(Known::Absent);
        assert!(hot.get(&k).is_none());
        hot.change(&k).finish(Known::Absent);
        assert!(hot.get(&k).is_some());
    }

    #[test]
    fn chunks_stay_within_their_share_while_readers_hold_the_budget() {
        let hot = Arc::new(Hot::new(8 << 20));
        let mut held = Vec::new();
        for i in 0..20 {
            let Some(permit) = hot.make_room(1 << 20) else { break };
            let chunk = permit.guard(vec![0; 1 << 20]);
            hot.keep_chunk(ChunkId::new(crate::clock::new_ulid(), i), chunk.clone());
            held.push(chunk);
        }
        assert_eq!(held.len(), 8, "the whole budget and no more");
        assert!(hot.items().1 <= 4);
        held.clear();
        assert!(hot.budget().used() <= 4 << 20);
        assert!(hot.make_room(1 << 20).is_some());
    }
}
