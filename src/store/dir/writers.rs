//! A few threads that write small files: in batches, with one `syncfs` a batch where somebody asked for it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::store::{Durability, StoreError};

const MAX_BATCH: usize = 64;

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
            let (queue, root) = (Arc::clone(&queue), root.try_clone()?);
            std::thread::Builder::new()
                .name(format!("larder-write-{i}"))
                .spawn(move || while queue.run_batch(&root, threads) {})?;
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
        self.lock().jobs.push_back(job);
        self.filled.notify_one();
    }

    /// Takes a fair share of the queue and does it; false when the store is closed and nothing is left.
    fn run_batch(&self, root: &OwnedFd, threads: usize) -> bool {
        let batch: Vec<Job> = {
            let mut state = self.lock();
            while state.jobs.is_empty() {
                if state.closed {
                    return false;
                }
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let share = state.jobs.len().div_ceil(threads).min(MAX_BATCH);
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
            let synced = rustix::fs::syncfs(root).map_err(StoreError::from);
            for answer in waiting {
                answer(synced.as_ref().copied());
            }
        }
        true
    }
}
