//! What can go wrong with a body, on its way out and in.

/// Why a body cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It does not hold its checksums, or is cut short.
    #[error("damaged")]
    Corrupt,
    /// Its bytes are gone; perhaps the record was replaced meanwhile.
    #[error("gone")]
    Gone,
    /// Another write of the record went on meanwhile: look it up again.
    #[error("replaced meanwhile")]
    Replaced,
    /// The store cannot say now.
    #[error("unavailable")]
    Unavailable,
}

/// Why a body was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The store is full.
    #[error("no space left")]
    NoSpace,
    /// The condition of the write did not hold.
    #[error("changed by another write")]
    Changed,
    /// The store does not take it now, or not in time.
    #[error("unavailable")]
    Unavailable,
}
