//! A few threads that write small files: in batches, with one `syncfs` a batch where somebody asked for it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags};
use tokio::sync::oneshot;

use crate::store::{Durability, StoreError};

const MAX_BATCH: usize = 32;
/// One thread does it all while it keeps up; another is woken for every so many jobs that wait.
const BACKLOG: usize = 8;

/// The threads; they end when the last handle is dropped and the queue is empty.
pub struct Writers {
    queue: Arc<Queue>,
    threads: usize,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    awake: usize,
    closed: bool,
}

struct Job {
    durability: Durability,
    /// Does the work and gives what answers the waiting task, once the batch is as durable as was asked for.
    work: Box<dyn FnOnce() -> Answer + Send>,
}

type Answer = Box<dyn FnOnce(Result<(), &StoreError>) + Send>;

impl Writers {
    /// Starts two to four threads, as the machine has cores.
    pub fn start(root: &OwnedFd) -> io::Result<Self> {
        let threads = std::thread::available_parallelism().map_or(2, |n| n.get().clamp(2, 4));
        let queue = Arc::new(Queue::default());
        for i in 0..threads {
            // Opened anew: the kernel tells an error of writing back once to each open directory.
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::openat(root, ".", flags, Mode::empty())?;
            let queue = Arc::clone(&queue);
            queue.lock().awake += 1;
            std::thread::Builder::new()
                .name(format!("larder-write-{i}"))
                .spawn(move || while queue.run_batch(&root) {})?;
        }
        Ok(Self { queue, threads })
    }

    /// Runs `work` on a writer thread and gives its outcome when it is as durable as asked for. Work that was given
    /// is done, also when nobody waits any more.
    pub async fn run<T: Send + 'static>(
        &self,
        durability: Durability,
        work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        // Others that are ready come first and bring their jobs, too: one batch of many costs fewer thread changes than many
        // of one (measured with 16 connections that store 4 KiB: 67 to 72 µs of processor time each instead of 75 to 80).
        tokio::task::yield_now().await;
        let (reply, outcome) = oneshot::channel();
        let work = Box::new(move || {
            let done = work();
            let answer: Answer = Box::new(move |synced| {
                let failed = |e: &StoreError| Err(StoreError::Unavailable(format!("syncing failed: {e}")));
                let _ = reply.send(synced.map_or_else(failed, |()| done));
            });
            answer
        });
        self.queue.push(Job { durability, work });
        outcome.await.unwrap_or_else(|_| Err(StoreError::Unavailable("a writer thread ended".into())))
    }

    /// Runs `work` some time, with nobody waiting.
    pub fn run_detached(&self, work: impl FnOnce() + Send + 'static) {
        let work = Box::new(move || {
            work();
            let nobody: Answer = Box::new(|_| {});
            nobody
        });
        self.queue.push(Job { durability: Durability::Process, work });
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        for _ in 0..self.threads {
            self.queue.filled.notify_one();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, job: Job) {
        let wake = {
            let mut state = self.lock();
            state.jobs.push_back(job);
            state.awake == 0 || state.jobs.len() >= BACKLOG * state.awake
        };
        // A thread that is awake looks at the queue before it rests.
        if wake {
            self.filled.notify_one();
        }
    }

    /// Counts this thread as asleep, and wakes another for what waits.
    fn step_aside(&self) {
        let waiting = {
            let mut state = self.lock();
            state.awake -= 1;
            !state.jobs.is_empty()
        };
        if waiting {
            self.filled.notify_one();
        }
    }

    /// Takes a fair share of the queue and does it; false when the store is closed and nothing is left.
    fn run_batch(&self, root: &OwnedFd) -> bool {
        let batch: Vec<Job> = {
            let mut state = self.lock();
            while state.jobs.is_empty() {
                if state.closed {
                    return false;
                }
                state.awake -= 1;
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.awake += 1;
            }
            let share = state.jobs.len().div_ceil(state.awake.max(1)).min(MAX_BATCH);
            state.jobs.drain(..share).collect()
        };
        let mut waiting = Vec::new();
        for job in batch {
            // A panic in one job must not end the thread: its waiter sees the dropped channel.
            let Ok(answer) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job.work)) else { continue };
            match job.durability {
                Durability::Process => answer(Ok(())),
                Durability::Synced => waiting.push(answer),
            }
        }
        if !waiting.is_empty() {
            // A sync may take long: it is somebody else's turn to keep up.
            self.step_aside();
            let synced = rustix::fs::syncfs(root).map_err(StoreError::from);
            self.lock().awake += 1;
            for answer in waiting {
                answer(synced.as_ref().copied());
            }
        }
        true
    }
}
