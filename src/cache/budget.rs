//! Memory as a budget of bytes: a buffer carries its permit until the last reader drops it.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What every stream pays for when it is admitted, and the smallest piece it works with.
pub const FLOOR: usize = 64 << 10;

/// The largest piece of a body that one stream works with at a time.
pub const LARGEST_PIECE: usize = 512 << 10;

/// A number of bytes that may be in use at once.
///
/// Nobody waits while holding: a stream waits for its floor when it holds nothing, and for more it only tries.
#[derive(Debug, Clone)]
pub struct Budget {
    free: Arc<Semaphore>,
    limit: usize,
}

/// Bytes of a budget, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    _permit: OwnedSemaphorePermit,
}

impl Budget {
    /// A budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(limit)), limit }
    }

    /// Bytes in use now.
    pub fn used(&self) -> usize {
        self.limit.saturating_sub(self.free.available_permits())
    }

    /// Takes `bytes` if they are free now.
    pub fn try_take(&self, bytes: usize) -> Option<Permit> {
        let permit = Arc::clone(&self.free).try_acquire_many_owned(u32::try_from(bytes).ok()?).ok()?;
        Some(Permit { _permit: permit })
    }

    /// Takes `bytes` beyond a floor: only while half of the budget would stay free, so that floors are always to be
    /// had and one who does not read cannot hoard.
    pub fn try_extra(&self, bytes: usize) -> Option<Permit> {
        if self.used().saturating_add(bytes) > self.limit / 2 {
            return None;
        }
        self.try_take(bytes)
    }

    /// Waits for `bytes`, at most a [`FLOOR`] or a small body's length, holding nothing. Never more than the whole
    /// budget is asked for.
    pub async fn take(&self, bytes: usize) -> Option<Permit> {
        let bytes = u32::try_from(bytes.min(self.limit)).ok()?;
        // The semaphore is never closed.
        let permit = Arc::clone(&self.free).acquire_many_owned(bytes).await.ok()?;
        Some(Permit { _permit: permit })
    }
}

impl Permit {
    /// Ties this permit to a buffer: it is given back when the last slice of the buffer is dropped.
    pub fn guard(self, buffer: impl AsRef<[u8]> + Send + 'static) -> Bytes {
        Bytes::from_owner(Charged { buffer, _permit: self })
    }
}

struct Charged<B> {
    buffer: B,
    _permit: Permit,
}

impl<B: AsRef<[u8]>> AsRef<[u8]> for Charged<B> {
    fn as_ref(&self) -> &[u8] {
        self.buffer.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_keeps_the_permit_of_its_buffer() {
        let budget = Budget::new(100);
        let bytes = budget.try_take(60).unwrap().guard(vec![7; 60]);
        assert_eq!(budget.used(), 60);
        assert!(budget.try_take(41).is_none());
        let slice = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(budget.used(), 60);
        drop(slice);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn more_than_a_floor_is_taken_from_the_first_half_only() {
        let budget = Budget::new(100);
        let first = budget.try_extra(50).unwrap();
        assert!(budget.try_extra(1).is_none());
        assert!(budget.try_take(50).is_some());
        drop(first);
        assert!(budget.try_extra(10).is_some());
    }
}
