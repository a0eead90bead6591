//! How full the store is, known without a walk: what the last owner wrote down, and what was counted since.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use serde::{Deserialize, Serialize};

use super::{Durability, Store, StoreError, When, system};
use crate::model::object::ObjectKey;

const NAME: &str = "usage";
const PAGE: usize = 1000;

/// Bytes and objects in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Figures {
    /// Bytes of all objects, headers included.
    pub bytes: u64,
    /// Objects: records and payloads.
    pub objects: u64,
}

/// A running count, shared by whatever writes to the store.
///
/// After a killed process the figures miss what was written since they were last saved, until the next start has walked
/// the store.
#[derive(Debug, Default)]
pub struct Usage {
    bytes: AtomicI64,
    objects: AtomicI64,
    known: AtomicBool,
}

impl Usage {
    /// An object was written under a new key.
    pub fn added(&self, bytes: u64) {
        self.bytes.fetch_add(signed(bytes), Ordering::Relaxed);
        self.objects.fetch_add(1, Ordering::Relaxed);
    }

    /// An object of `old` bytes was replaced by one of `new` bytes.
    pub fn replaced(&self, old: u64, new: u64) {
        self.bytes.fetch_add(signed(new) - signed(old), Ordering::Relaxed);
    }

    /// An object was removed.
    pub fn removed(&self, bytes: u64) {
        self.bytes.fetch_sub(signed(bytes), Ordering::Relaxed);
        self.objects.fetch_sub(1, Ordering::Relaxed);
    }

    /// The count; `None` until a base for it is known.
    pub fn figures(&self) -> Option<Figures> {
        self.known.load(Ordering::Acquire).then(|| Figures {
            bytes: u64::try_from(self.bytes.load(Ordering::Relaxed)).unwrap_or(0),
            objects: u64::try_from(self.objects.load(Ordering::Relaxed)).unwrap_or(0),
        })
    }

    /// Adds what was there before counting began.
    fn set_base(&self, base: Figures) {
        self.bytes.fetch_add(signed(base.bytes), Ordering::Relaxed);
        self.objects.fetch_add(signed(base.objects), Ordering::Relaxed);
        self.known.store(true, Ordering::Release);
    }

    /// Sets what a walk found. What changed during the walk may be counted once too often or too rarely.
    fn set(&self, walked: Figures) {
        self.bytes.store(signed(walked.bytes), Ordering::Relaxed);
        self.objects.store(signed(walked.objects), Ordering::Relaxed);
        self.known.store(true, Ordering::Release);
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// What stands in the store.
#[derive(Debug, Serialize, Deserialize)]
struct Saved {
    #[serde(flatten)]
    figures: Figures,
    /// Written by a node that was ending: nothing was stored since.
    #[serde(default)]
    clean: bool,
}

/// Takes up the count where the last owner left it; where nobody left any, or was killed since, walks the store. To be
/// run beside the traffic.
///
/// # Errors
/// The store's, when it cannot be read; the count is then what is known so far.
pub async fn restore(store: &dyn Store, usage: &Usage) -> Result<(), StoreError> {
    let saved = match usage.figures() {
        // Tried before: only the walk is missing.
        Some(_) => None,
        None => system::read::<Saved>(store, NAME).await?,
    };
    if let Some(saved) = saved {
        usage.set_base(saved.figures);
        if saved.clean {
            return Ok(());
        }
    }
    let mut walked = Figures::default();
    let mut after: Option<ObjectKey> = None;
    loop {
        let page = store.list("", after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        walked.bytes += page.iter().map(|o| o.size).sum::<u64>();
        walked.objects += page.len() as u64;
        after = Some(last.key.clone());
    }
    usage.set(walked);
    Ok(())
}

/// Writes the count down, if it is known; `clean` says that nothing will be stored any more.
///
/// # Errors
/// The store's, when it cannot be written.
pub async fn save(store: &dyn Store, usage: &Usage, clean: bool) -> Result<(), StoreError> {
    let Some(figures) = usage.figures() else { return Ok(()) };
    // Worth no sync: after a power cut it is counted again.
    system::write(store, NAME, &Saved { figures, clean }, When::Always, Durability::Process).await.map(drop)
}
