//! After repeated failure the store is left alone for a while, and lookups are answered at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::Metrics;

const FAILURES_TO_OPEN: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Counts failures in a row, of reads or of writes. Open means: do not ask, except for one trial after each pause.
#[derive(Debug)]
pub struct Breaker {
    what: &'static str,
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct State {
    failures: u32,
    pause: Duration,
    open_until: Option<Instant>,
    /// Somebody was let through since the last pause began.
    trial: bool,
}

impl Breaker {
    pub fn new(what: &'static str, metrics: Arc<Metrics>) -> Self {
        Self {
            what,
            state: Mutex::new(State { failures: 0, pause: FIRST_PAUSE, open_until: None, trial: false }),
            metrics,
        }
    }

    /// Whether the store may be asked now. Who is let through an open breaker is the trial for everybody.
    pub fn admits(&self) -> bool {
        let mut state = self.lock();
        match state.open_until {
            None => true,
            Some(until) if Instant::now() >= until => {
                state.open_until = Some(Instant::now() + state.pause);
                state.trial = true;
                true
            }
            Some(_) => false,
        }
    }

    /// Whether [`Breaker::admits`] would let somebody through, without being the trial. For those who have something to
    /// do first that needs no store.
    pub fn would_admit(&self) -> bool {
        self.lock().open_until.is_none_or(|until| Instant::now() >= until)
    }

    /// The store answered.
    pub fn succeeded(&self) {
        let mut state = self.lock();
        if state.open_until.take().is_some() {
            self.metrics.breaker_open.with_label_values(&[self.what]).set(0);
            tracing::info!("the store's {} work again", self.what);
        }
        state.failures = 0;
        state.pause = FIRST_PAUSE;
        state.trial = false;
    }

    /// The store failed or did not answer in time.
    pub fn failed(&self, operation: &str, error: &str) {
        self.metrics.store_failures.with_label_values(&[operation]).inc();
        let mut state = self.lock();
        state.failures += 1;
        if state.failures < FAILURES_TO_OPEN {
            drop(state);
            tracing::warn!(operation, error, "the store failed; the request is answered without it");
            return;
        }
        if state.open_until.is_none() {
            self.metrics.breaker_open.with_label_values(&[self.what]).set(1);
            tracing::error!(
                operation,
                error,
                "the store's {} failed repeatedly: requests are answered without it until it works again",
                self.what
            );
        } else if state.trial {
            state.trial = false;
            state.pause = (state.pause * 2).min(LONGEST_PAUSE);
        } else {
            // It was sent before the breaker opened: one hiccup that many met at once is one hiccup.
            return;
        }
        state.open_until = Some(Instant::now() + state.pause);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_trial_through() {
        let breaker = Breaker::new("reads", Arc::new(Metrics::new().unwrap()));
        for _ in 0..FAILURES_TO_OPEN - 1 {
            breaker.failed("read", "x");
        }
        breaker.succeeded();
        for _ in 0..FAILURES_TO_OPEN {
            assert!(breaker.admits());
            breaker.failed("read", "x");
        }
        assert!(!breaker.admits());
        breaker.lock().open_until = Some(Instant::now());
        assert!(breaker.would_admit() && breaker.would_admit(), "looking is no trial");
        assert!(breaker.admits(), "the trial");
        assert!(!breaker.admits(), "only one");
        assert!(!breaker.would_admit());
        breaker.succeeded();
        assert!(breaker.admits());
    }

    #[test]
    fn a_hiccup_that_many_met_at_once_is_one_hiccup() {
        let breaker = Breaker::new("reads", Arc::new(Metrics::new().unwrap()));
        for _ in 0..100 {
            breaker.failed("read", "x");
        }
        assert_eq!(breaker.lock().pause, FIRST_PAUSE);
        breaker.lock().open_until = Some(Instant::now());
        assert!(breaker.admits());
        breaker.failed("read", "the trial");
        assert_eq!(breaker.lock().pause, FIRST_PAUSE * 2);
    }
}
