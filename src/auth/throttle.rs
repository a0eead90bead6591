//! Guessing is slow: a source that failed often waits its turn.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Refused;

/// Tries within [`WINDOW`] that were not good, after which a source is slowed down.
const FREE_TRIES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(60);
/// What each further try of a slowed source takes, one after the other.
const PAUSE: Duration = Duration::from_millis(250);
/// Tries of one source that may wait; more are refused at once.
const QUEUE: usize = 16;
const MOST_SOURCES: usize = 4096;

/// Tries by source address, counted when they begin, so that a burst is slowed down as well.
///
/// Builds share addresses: credentials that were good before never come here, nor does a good password that is not
/// hashed. Others that are good open after a wait of a few seconds, unless more than [`QUEUE`] tries wait already.
#[derive(Debug, Default)]
pub struct Throttle {
    sources: Mutex<HashMap<IpAddr, Source>>,
}

#[derive(Debug)]
struct Source {
    tries: u32,
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
    /// Counts a try, and waits for this source's turn, if it is slowed.
    pub async fn admit(&self, source: IpAddr) -> Result<Option<Turn>, Refused> {
        let Some((waiting, turn)) = self.count(source) else { return Ok(None) };
        let waiting = waiting.try_acquire_owned().map_err(|_| Refused)?;
        let turn = turn.acquire_owned().await.map_err(|_| Refused)?;
        tokio::time::sleep(PAUSE).await;
        Ok(Some(Turn { _waiting: waiting, _turn: turn }))
    }

    /// A try was good: it does not count.
    pub fn succeeded(&self, source: IpAddr) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(source) = sources.get_mut(&network(source)) {
            source.tries = source.tries.saturating_sub(1);
        }
    }

    /// Counts a try; gives the source's queue if it made too many.
    fn count(&self, source: IpAddr) -> Option<(Arc<Semaphore>, Arc<Semaphore>)> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if sources.len() >= MOST_SOURCES {
            sources.retain(|_, s| s.since.elapsed() < WINDOW);
        }
        // Beyond that many sources at once, all the others share one place.
        let place = if sources.len() < MOST_SOURCES { network(source) } else { EVERYBODY_ELSE };
        let source = sources.entry(place).or_insert_with(|| Source {
            tries: 0,
            since: Instant::now(),
            waiting: Arc::new(Semaphore::new(QUEUE)),
            turn: Arc::new(Semaphore::new(1)),
        });
        if source.since.elapsed() >= WINDOW {
            source.tries = 0;
        }
        source.tries = source.tries.saturating_add(1);
        source.since = Instant::now();
        (source.tries > FREE_TRIES).then(|| (Arc::clone(&source.waiting), Arc::clone(&source.turn)))
    }
}

const EVERYBODY_ELSE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What counts as one source: an IPv4 address, or an IPv6 network of 64 bits, which is what one client is given.
fn network(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_source_that_fails_often_waits_and_others_do_not() {
        let throttle = Throttle::default();
        let (bad, good) = (IpAddr::from(Ipv4Addr::new(10, 0, 0, 1)), IpAddr::from(Ipv4Addr::new(10, 0, 0, 2)));
        for _ in 0..FREE_TRIES {
            assert!(throttle.admit(bad).await.unwrap().is_none());
        }
        let before = Instant::now();
        assert!(throttle.admit(bad).await.unwrap().is_some());
        assert!(before.elapsed() >= PAUSE);
        for _ in 0..3 * FREE_TRIES {
            assert!(throttle.admit(good).await.unwrap().is_none());
            throttle.succeeded(good);
        }
    }

    #[tokio::test]
    async fn a_full_queue_refuses_at_once() {
        let throttle = Arc::new(Throttle::default());
        let bad = IpAddr::from(Ipv4Addr::new(10, 0, 0, 1));
        for _ in 0..FREE_TRIES {
            let _ = throttle.admit(bad).await;
        }
        let waiting: Vec<_> = (0..QUEUE)
            .map(|_| {
                let throttle = Arc::clone(&throttle);
                tokio::spawn(async move { throttle.admit(bad).await.is_ok() })
            })
            .collect();
        tokio::task::yield_now().await;
        assert!(throttle.admit(bad).await.is_err());
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    }
}
