//! How full the store is, known without a walk: what the last owner wrote down, and what was counted since.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use serde::{Deserialize, Serialize};

use super::{Store, StoreError, When, system};
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
/// After a killed process the figures miss what was written since they were last saved; the next walk mends that.
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
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Takes up the count where the last owner left it; where nobody left any, walks the store. To be run beside the
/// traffic.
///
/// # Errors
/// The store's, when it cannot be read; the count then stays unknown.
pub async fn restore(store: &dyn Store, usage: &Usage) -> Result<(), StoreError> {
    if let Some(saved) = system::read::<Figures>(store, NAME).await? {
        usage.set_base(saved);
        return Ok(());
    }
    let counted_before = (usage.bytes.load(Ordering::Relaxed), usage.objects.load(Ordering::Relaxed));
    let mut walked = Figures::default();
    let mut after: Option<ObjectKey> = None;
    loop {
        let page = store.list("", after.as_ref(), PAGE).await?;
        let Some(last) = page.last() else { break };
        walked.bytes += page.iter().map(|o| o.size).sum::<u64>();
        walked.objects += page.len() as u64;
        after = Some(last.key.clone());
    }
    // The walk saw what was counted before it; what changed during it may be counted once too often or too rarely.
    usage.bytes.fetch_sub(counted_before.0, Ordering::Relaxed);
    usage.objects.fetch_sub(counted_before.1, Ordering::Relaxed);
    usage.set_base(walked);
    Ok(())
}

/// Writes the count down, if it is known and differs from `last`; gives what stands there now.
///
/// # Errors
/// The store's, when it cannot be written.
pub async fn save(store: &dyn Store, usage: &Arc<Usage>, last: Option<Figures>) -> Result<Option<Figures>, StoreError> {
    let now = usage.figures();
    match now {
        Some(figures) if now != last => {
            system::write(store, NAME, &figures, When::Always).await?;
            Ok(usage.figures())
        }
        _ => Ok(last),
    }
}
