//! Waiting for the store and for memory, never longer than was configured, and letting the breakers know.

use std::time::Duration;

use tokio::time::timeout;

use super::Cache;
use super::budget::Permit;
use super::carried::Carried;
use super::error::{ReadError, WriteError};
use crate::store::StoreError;

impl Cache {
    /// Waits for memory that a body needs to come in.
    pub(super) async fn floor(&self, bytes: usize) -> Result<Permit, WriteError> {
        let taken = timeout(self.settings.write_deadline, self.transfers.take(bytes)).await;
        taken.ok().flatten().ok_or(WriteError::Unavailable)
    }

    /// Waits for a write within its deadline, and lets the breaker know.
    pub(super) async fn writing<T>(&self, write: impl Future<Output = Result<T, StoreError>>) -> Result<T, WriteError> {
        match timeout(self.settings.write_deadline, write).await {
            Ok(outcome) => self.wrote(outcome),
            Err(_) => Err(self.late()),
        }
    }

    /// Waits for a write within its deadline. One that is late goes on, and `changes`, what it changes in the eyes of the
    /// memory, with it: until it has landed the memory does not take what it finds for the last word.
    pub(super) async fn changing<C: Send + 'static, T: Send + 'static>(
        &self,
        changes: C,
        write: impl Future<Output = T> + Send + 'static,
    ) -> Result<(C, T), WriteError> {
        self.carried(self.settings.write_deadline, changes, write).await.ok_or_else(|| self.late())
    }

    /// The same with another deadline, and without a word to the breaker; `None` when the write is late.
    pub(super) async fn carried<C: Send + 'static, T: Send + 'static>(
        &self,
        deadline: Duration,
        changes: C,
        write: impl Future<Output = T> + Send + 'static,
    ) -> Option<(C, T)> {
        let carried = Carried::new(async move {
            let outcome = write.await;
            (changes, outcome)
        });
        timeout(deadline, carried).await.ok()
    }

    fn late(&self) -> WriteError {
        self.writes.failed("write", "no answer in time");
        WriteError::Unavailable
    }

    /// Lets the breaker know what came of a write.
    pub(super) fn wrote<T>(&self, outcome: Result<T, StoreError>) -> Result<T, WriteError> {
        let told = match outcome {
            Ok(value) => Ok(value),
            // Somebody else was first: nothing is wrong with the store.
            Err(StoreError::Changed | StoreError::NotFound) => Err(WriteError::Changed),
            Err(StoreError::NoSpace) => Err(WriteError::NoSpace),
            Err(e) => {
                self.writes.failed("write", &e.to_string());
                return Err(WriteError::Unavailable);
            }
        };
        self.writes.succeeded();
        told
    }

    /// Waits for a read within its deadline, and lets the breaker know.
    pub(super) async fn reading<T>(&self, read: impl Future<Output = Result<T, StoreError>>) -> Result<T, ReadError> {
        self.reading_within(self.settings.read_deadline, read).await
    }

    pub(super) async fn reading_within<T>(
        &self,
        deadline: Duration,
        read: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, ReadError> {
        match timeout(deadline, read).await {
            Ok(Ok(value)) => {
                self.reads.succeeded();
                Ok(value)
            }
            Ok(Err(StoreError::NotFound)) => {
                self.reads.succeeded();
                Err(ReadError::Gone)
            }
            Ok(Err(StoreError::Short)) => {
                self.reads.succeeded();
                Err(ReadError::Corrupt)
            }
            Ok(Err(e)) => {
                self.reads.failed("read", &e.to_string());
                Err(ReadError::Unavailable)
            }
            Err(_) => {
                self.reads.failed("read", "no answer in time");
                Err(ReadError::Unavailable)
            }
        }
    }
}
