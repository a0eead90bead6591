//! What can go wrong in a store, named by what the caller does next.

use std::io;

/// A failed store operation.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing lies under the key.
    #[error("not found")]
    NotFound,
    /// The condition of a write did not hold: read back and decide.
    #[error("changed by another write")]
    Changed,
    /// The object ends before the bytes that were asked for: it is damaged.
    #[error("ends before its size")]
    Short,
    /// No room: decline the write, keep reading.
    #[error("no space left")]
    NoSpace,
    /// The store cannot answer now: try later, or answer without it.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::NotFound,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => Self::NoSpace,
            io::ErrorKind::UnexpectedEof => Self::Short,
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<rustix::io::Errno> for StoreError {
    fn from(error: rustix::io::Errno) -> Self {
        io::Error::from(error).into()
    }
}
