//! Cuts connections that do nothing: slow heads, stalled bodies, and those that rest longer than was announced.
//!
//! The hot path only counts bytes; a tick every few seconds compares the counts.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use super::Limits;

/// What a connection does, counted by its socket and its requests. Only the connection's own task writes, so a load and
/// a store do for an addition.
#[derive(Debug, Default)]
pub struct Activity {
    read: AtomicU64,
    written: AtomicU64,
    /// Requests begun and ended; they differ while one is under way.
    begun: AtomicU64,
    ended: AtomicU64,
    /// What was read when the last request ended: more means that a head is on its way.
    read_at_end: AtomicU64,
    /// The peer takes no more bytes for now.
    write_blocked: AtomicBool,
}

/// A request under way; it ends when its answer's body is dropped.
#[derive(Debug)]
pub struct OpenRequest(Arc<Activity>);

impl Activity {
    /// A request begins.
    pub fn begin(self: &Arc<Self>) -> OpenRequest {
        add(&self.begun, 1);
        OpenRequest(Arc::clone(self))
    }

    /// Bytes came in.
    pub fn has_read(&self, bytes: usize) {
        add(&self.read, bytes as u64);
    }

    /// Bytes went out, or could not.
    pub fn has_written(&self, outcome: &Poll<io::Result<usize>>) {
        match outcome {
            Poll::Ready(Ok(bytes)) => {
                add(&self.written, *bytes as u64);
                if self.write_blocked.load(Ordering::Relaxed) {
                    self.write_blocked.store(false, Ordering::Relaxed);
                }
            }
            Poll::Ready(Err(_)) => {}
            Poll::Pending => self.write_blocked.store(true, Ordering::Relaxed),
        }
    }
}

fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        self.0.read_at_end.store(self.0.read.load(Ordering::Relaxed), Ordering::Relaxed);
        add(&self.0.ended, 1);
    }
}

/// Why a connection was cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The head of a request, or the first byte of a connection, did not come.
    SlowHead,
    /// Nothing moved while a request was under way.
    Stalled,
    /// It rested longer than was announced.
    Rested,
}

impl Cut {
    /// As it stands in the counter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SlowHead => "slow-head",
            Self::Stalled => "stalled",
            Self::Rested => "rested",
        }
    }
}

/// Compares what moved from one tick to the next.
pub struct Watchdog<'a> {
    activity: &'a Activity,
    limits: &'a Limits,
    moved: (u64, u64),
    still_since: Instant,
    head_since: Option<Instant>,
}

impl<'a> Watchdog<'a> {
    pub fn new(activity: &'a Activity, limits: &'a Limits) -> Self {
        Self { activity, limits, moved: (0, 0), still_since: Instant::now(), head_since: Some(Instant::now()) }
    }

    /// Ends when the connection has to.
    pub async fn run(mut self) -> Cut {
        let limits = self.limits;
        let shortest = limits.header_timeout.min(limits.idle_timeout).min(limits.keep_alive);
        let tick = (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(5));
        loop {
            tokio::time::sleep(tick).await;
            if let Some(cut) = self.look(Instant::now()) {
                return cut;
            }
        }
    }

    fn look(&mut self, now: Instant) -> Option<Cut> {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let activity = self.activity;
        let (read, begun) = (of(&activity.read), of(&activity.begun));
        let moved = (read, of(&activity.written));
        if moved != self.moved {
            self.moved = moved;
            self.still_since = now;
        }
        let still = now.duration_since(self.still_since);
        if begun != of(&activity.ended) || activity.write_blocked.load(Ordering::Relaxed) {
            self.head_since = None;
            return (still >= self.limits.idle_timeout).then_some(Cut::Stalled);
        }
        if begun == 0 || read > of(&activity.read_at_end) {
            let since = *self.head_since.get_or_insert(now);
            return (now.duration_since(since) >= self.limits.header_timeout).then_some(Cut::SlowHead);
        }
        self.head_since = None;
        // A little longer than announced, so that a client that keeps to the announcement never meets a closed
        // connection.
        let rest = self.limits.keep_alive + self.limits.keep_alive / 10 + Duration::from_secs(1);
        (still >= rest).then_some(Cut::Rested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn limits() -> Limits {
        Limits { max_connections: 1, header_timeout: S(15), idle_timeout: S(60), keep_alive: S(300) }
    }

    /// Looks every second and gives the second of the cut.
    fn cut_after(activity: &Activity, each: impl Fn(u64)) -> (u64, Cut) {
        let limits = limits();
        let mut watchdog = Watchdog::new(activity, &limits);
        let start = Instant::now();
        (1..1000)
            .find_map(|second| {
                each(second);
                watchdog.look(start + S(second)).map(|cut| (second, cut))
            })
            .unwrap()
    }

    #[test]
    fn a_silent_connection_and_a_slow_head_are_cut() {
        let silent = Activity::default();
        let (second, cut) = cut_after(&silent, |_| {});
        assert!((15..=16).contains(&second) && cut == Cut::SlowHead);
        let slow = Activity::default();
        let (second, cut) = cut_after(&slow, |_| slow.has_read(1));
        assert!((15..=16).contains(&second) && cut == Cut::SlowHead, "a byte a second is still a slow head");
    }

    #[test]
    fn a_stalled_body_is_cut_and_a_slow_one_is_not() {
        let stalled = Arc::new(Activity::default());
        let open = stalled.begin();
        let (second, cut) = cut_after(&stalled, |_| {});
        assert!((60..=61).contains(&second) && cut == Cut::Stalled);
        drop(open);

        let slow = Arc::new(Activity::default());
        let open = slow.begin();
        let moves = |second| {
            if second < 500 {
                slow.has_written(&Poll::Ready(Ok(1)));
            }
        };
        assert!(cut_after(&slow, moves).0 > 500);
        drop(open);
    }

    #[test]
    fn a_peer_that_takes_no_bytes_is_stalled_also_when_the_answer_is_complete() {
        let activity = Arc::new(Activity::default());
        activity.has_read(100);
        drop(activity.begin());
        activity.has_written(&Poll::Pending);
        assert_eq!(cut_after(&activity, |_| {}).1, Cut::Stalled);
    }

    #[test]
    fn a_resting_connection_outlives_what_was_announced() {
        let activity = Arc::new(Activity::default());
        activity.has_read(100);
        drop(activity.begin());
        let (second, cut) = cut_after(&activity, |_| {});
        assert!(second > 300 && cut == Cut::Rested);
    }
}
