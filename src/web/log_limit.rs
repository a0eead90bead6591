//! Log lines that could come by the thousand: the first of a kind, then one a minute with a count.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(60);

/// When each kind of line was last written.
#[derive(Debug, Default)]
pub struct LogLimit {
    last: Mutex<HashMap<&'static str, (Instant, u64)>>,
}

impl LogLimit {
    /// Whether a line of this kind may be written now; gives how many were left out since the last.
    pub fn admits(&self, kind: &'static str) -> Option<u64> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match last.get_mut(kind) {
            Some((since, left_out)) if now.duration_since(*since) < EVERY => {
                *left_out += 1;
                None
            }
            Some((since, left_out)) => {
                *since = now;
                Some(std::mem::take(left_out))
            }
            None => {
                last.insert(kind, (now, 0));
                Some(0)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_each_kind_is_written() {
        let limit = LogLimit::default();
        assert_eq!(limit.admits("a"), Some(0));
        assert_eq!(limit.admits("a"), None);
        assert_eq!(limit.admits("b"), Some(0));
    }
}
