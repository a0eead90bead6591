//! The one place that reads the wall clock, and the maker of time-ordered unique ids.
//!
//! A node's own clock only names things and measures durations; ages are judged by the store's time.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use ulid::Ulid;

/// Milliseconds since 1970 by this machine's clock.
#[allow(clippy::disallowed_methods)] // this is the place that clippy.toml points to
pub fn unix_ms() -> u64 {
    millis_since_epoch(SystemTime::now())
}

/// Milliseconds since 1970 of a file's time; 0 for what lies before.
pub fn millis_since_epoch(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// A fresh id with this machine's time.
pub fn new_ulid() -> Ulid {
    ulid_at(unix_ms())
}

/// A fresh id: 48 bits of time in milliseconds since 1970, then 80 bits that no other process and no other call shares.
///
/// The random part is drawn once per process and counted up, which costs an atomic instead of a system call.
pub fn ulid_at(ms: u64) -> Ulid {
    static BASE: OnceLock<u128> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let base = BASE.get_or_init(|| {
        let mut bytes = [0u8; 16];
        if getrandom::fill(&mut bytes).is_err() {
            // Without a random source, the address of a stack variable and the clock still tell processes apart.
            let local = &raw const bytes as u64;
            bytes[..8].copy_from_slice(&local.to_le_bytes());
            bytes[8..].copy_from_slice(&(unix_ms() ^ u64::from(std::process::id())).to_le_bytes());
        }
        u128::from_le_bytes(bytes)
    });
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Ulid::from_parts(ms, base.wrapping_add(u128::from(count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_carry_the_time() {
        let (a, b) = (new_ulid(), new_ulid());
        assert_ne!(a, b);
        assert!(unix_ms().abs_diff(a.timestamp_ms()) < 10_000);
    }
}
