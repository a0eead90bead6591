//! What the node talks about: names, keys, records. No I/O, no async, no HTTP; parsed once, never misspelt inside.

pub mod digest;
pub mod entry;
pub mod facts;
pub mod manifest;
pub mod metadata;
pub mod object;
pub mod properties;
pub mod range;
pub mod record;
pub mod repository;
pub mod seal;
pub mod sums;

/// The largest body that a record carries in itself; larger bytes are payloads of their own. Also the size of the
/// pieces that are checked and kept in memory one by one.
pub const INLINE: u64 = 1 << 20;
