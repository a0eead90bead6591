//! The cold tier: records and payloads as objects under keys, behind one small trait.
//!
//! A backend knows nothing of what a record means. It keeps bytes under keys, tells two writes of a key apart by a
//! [`Tag`], and swaps a record only when asked-for conditions hold. `contract` is the suite that each must pass.

pub mod dir;
mod error;
pub mod faults;
mod format;
mod memory;
mod open;
mod secret;
mod system;
pub mod usage;

#[cfg(test)]
mod contract;

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

pub use error::StoreError;
pub use memory::MemoryStore;
pub use open::{Location, Opened, open};

use crate::model::object::ObjectKey;

/// How a store tells two writes of one key apart. Opaque: only equality means anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(pub String);

/// The beginning of an object, and what the store knows of it.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The first bytes, as many as were asked for, or all if there are fewer.
    pub head: Bytes,
    /// Length of the whole object.
    pub size: u64,
    /// Which write of it this is.
    pub tag: Tag,
    /// Its last write or renewal by the store's clock, in milliseconds since 1970.
    pub modified: u64,
}

/// What a write left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Names this write in a later condition.
    pub tag: Tag,
    /// When, by the store's clock, in milliseconds since 1970.
    pub modified: u64,
}

/// The condition of a write or a removal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// Whatever is there: the last writer wins.
    Always,
    /// Only if there is nothing under the key.
    Absent,
    /// Only over the write that this tag names.
    Is(Tag),
}

/// One write of several.
#[derive(Debug, Clone)]
pub struct Write {
    /// The record's key.
    pub key: ObjectKey,
    /// Its bytes, in order.
    pub parts: Vec<Bytes>,
    /// Its condition.
    pub when: When,
}

/// Whether a write is acknowledged only when it would survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It survives the process, not the machine.
    Process,
    /// Synced before it is acknowledged.
    Synced,
}

/// One object of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its key.
    pub key: ObjectKey,
    /// Its length in bytes.
    pub size: u64,
    /// Its last write or renewal, in milliseconds since 1970.
    pub modified: u64,
}

/// What a backend can do and what may be relied on.
#[derive(Debug, Clone, Copy)]
pub struct Traits {
    /// Nobody else writes here: what this process knows to be absent is absent.
    pub sole_writer: bool,
    /// What was written is kept in memory at once, because reading it back would cost a request. Where reading is
    /// cheap the first read brings it in, and what nobody reads again pushes nothing out.
    pub keep_writes: bool,
    /// How many bytes to ask for when reading a record of unknown size: all of it where a request is dear, the
    /// beginning where it is cheap.
    pub first_read: usize,
    /// A renewal keeps the record's tag: nothing is written anew.
    pub renews_in_place: bool,
}

/// Room in the file system below a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that can still be written.
    pub free: u64,
}

/// A store of objects under keys. Every method may be called from any number of tasks at once.
///
/// Cancelling a call is safe: a write is either not begun or carried to its end.
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// What may be relied on.
    fn traits(&self) -> Traits;

    /// The store's own time, as well as it is known, in milliseconds since 1970. Ages are judged by it.
    fn now(&self) -> u64;

    /// Whether there is certainly no record under the key, as far as that is known without any input or output.
    fn is_absent(&self, key: &ObjectKey) -> bool;

    /// Reads the first `limit` bytes of an object.
    async fn read(&self, key: &ObjectKey, limit: usize) -> Result<Fetched, StoreError>;

    /// Opens an object to read parts of it. What was opened stays readable when it is removed or replaced.
    async fn open(&self, key: &ObjectKey) -> Result<Arc<dyn Reader>, StoreError>;

    /// Writes a whole record, `parts` in order, if `when` holds; it appears whole or not at all.
    /// [`StoreError::Changed`] says that the condition did not hold, perhaps by this very call's own doing.
    async fn write(
        &self,
        key: &ObjectKey,
        parts: Vec<Bytes>,
        when: When,
        durability: Durability,
    ) -> Result<Stamp, StoreError>;

    /// Writes records one after the other and stops at the first that fails: what one round of a push needs, for the
    /// price of one hand-over where a store has such. Gives what became of those that were tried. Only the last is as
    /// durable as `durability` says, and takes those before it along where the store syncs as a whole.
    async fn write_in_order(&self, writes: Vec<Write>, durability: Durability) -> Vec<Result<Stamp, StoreError>>;

    /// Renews a record: its `modified` becomes now, if it is still the write that `tag` names.
    async fn renew(&self, key: &ObjectKey, tag: &Tag) -> Result<Stamp, StoreError>;

    /// Removes an object. Nothing under the key is no error under [`When::Always`].
    async fn remove(&self, key: &ObjectKey, when: When) -> Result<(), StoreError>;

    /// Begins a payload, which appears whole under `key` when it is finished. Dropping the writer removes what it
    /// wrote. Of a payload that is to be [`Durability::Synced`] much is synced already when the record that names it
    /// is written; that record's own sync completes it.
    async fn create(&self, key: &ObjectKey, durability: Durability) -> Result<Box<dyn PayloadWriter>, StoreError>;

    /// Up to about `limit` objects whose keys begin with `prefix` and follow `after`, in key order. An empty answer
    /// ends the listing.
    async fn list(&self, prefix: &str, after: Option<&ObjectKey>, limit: usize) -> Result<Vec<Listed>, StoreError>;

    /// Up to `limit` names of what lies directly below `prefix`, which ends with a slash, and is not an object itself but
    /// has some below it; in order, after `after`. A folder may have become empty.
    async fn folders(&self, prefix: &str, after: &str, limit: usize) -> Result<Vec<String>, StoreError>;

    /// Ends when everything that was written before is as durable as [`Durability::Synced`] promises.
    async fn sync(&self) -> Result<(), StoreError>;

    /// Room left, where the store knows.
    async fn space(&self) -> Result<Option<Space>, StoreError>;
}

/// Looks at a piece of an object and says whether to go on.
pub type Check = Box<dyn FnMut(&[u8]) -> bool + Send>;

/// An object opened for reading.
#[async_trait]
pub trait Reader: Debug + Send + Sync + 'static {
    /// Its length in bytes.
    fn size(&self) -> u64;

    /// Fills `buffer` from `offset` on and gives it back; fewer bytes are an error ([`StoreError::Short`]).
    async fn fill(&self, offset: u64, buffer: Vec<u8>) -> Result<Vec<u8>, StoreError>;

    /// Calls `check` with the consecutive pieces of a range, of any size, keeping none of them. Ends early when
    /// `check` gives false, and gives what it gave last.
    async fn scan(&self, range: Range<u64>, check: Check) -> Result<bool, StoreError>;
}

/// A payload that is being written.
#[async_trait]
pub trait PayloadWriter: Send {
    /// Appends bytes.
    async fn append(&mut self, parts: Vec<Bytes>) -> Result<(), StoreError>;

    /// Makes the payload appear.
    async fn finish(self: Box<Self>) -> Result<(), StoreError>;
}
