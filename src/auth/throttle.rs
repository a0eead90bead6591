//! Guessing is slow: a source that failed often waits its turn.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Refused;

/// Failures within [`WINDOW`] after which a source is slowed down.
const FREE_FAILURES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// What each further try of a slowed source takes, one after the other.
const PAUSE: Duration = Duration::from_millis(250);
/// Tries of one source that may wait; more are refused at once.
const QUEUE: usize = 16;
const MOST_SOURCES: usize = 4096;

/// Failures by source address. Builds share addresses: credentials that were good before do not come here, and others
/// that are good still open after a wait of a few seconds, unless more than [`QUEUE`] tries wait already.
#[derive(Debug, Default)]
pub struct Throttle {
    sources: Mutex<HashMap<IpAddr, Source>>,
}

#[derive(Debug)]
struct Source {
    failures: u32,
    since: Instant,
    waiting: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

/// Held while a slowed source's credentials are checked.
#[derive(Debug)]
pub struct Turn {
    _waiting: OwnedSemaphorePermit,
    _turn: OwnedSemaphorePermit,
}

impl Throttle {
    /// Waits for this source's turn, if it is slowed.
    pub async fn wait(&self, source: IpAddr) -> Result<Option<Turn>, Refused> {
        let (waiting, turn) = {
            let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
            match sources.get(&source) {
                Some(s) if s.failures >= FREE_FAILURES && s.since.elapsed() < WINDOW => {
                    (Arc::clone(&s.waiting), Arc::clone(&s.turn))
                }
                _ => return Ok(None),
            }
        };
        let waiting = waiting.try_acquire_owned().map_err(|_| Refused)?;
        let turn = turn.acquire_owned().await.map_err(|_| Refused)?;
        tokio::time::sleep(PAUSE).await;
        Ok(Some(Turn { _waiting: waiting, _turn: turn }))
    }

    /// Counts a failure.
    pub fn failed(&self, source: IpAddr) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= MOST_SOURCES {
            sources.retain(|_, s| s.since.elapsed() < WINDOW);
            if sources.len() >= MOST_SOURCES {
                return;
            }
        }
        let source = sources.entry(source).or_insert_with(|| Source {
            failures: 0,
            since: Instant::now(),
            waiting: Arc::new(Semaphore::new(QUEUE)),
            turn: Arc::new(Semaphore::new(1)),
        });
        if source.since.elapsed() >= WINDOW {
            source.failures = 0;
        }
        source.failures += 1;
        source.since = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn a_source_that_fails_often_waits_and_others_do_not() {
        let throttle = Throttle::default();
        let (bad, good) = (IpAddr::from(Ipv4Addr::new(10, 0, 0, 1)), IpAddr::from(Ipv4Addr::new(10, 0, 0, 2)));
        for _ in 0..FREE_FAILURES {
            assert!(throttle.wait(bad).await.unwrap().is_none());
            throttle.failed(bad);
        }
        let before = Instant::now();
        assert!(throttle.wait(bad).await.unwrap().is_some());
        assert!(before.elapsed() >= PAUSE);
        assert!(throttle.wait(good).await.unwrap().is_none());
    }
}
