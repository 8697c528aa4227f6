//! Where bytes live: a small trait over a transactional key-value store with ordered keys.
//!
//! Everything durable goes through one call, [`Store::commit`]: a batch of puts and deletes that becomes durable as a
//! whole or not at all. That is what makes an epoch a transaction. Two stores implement it: one on disk, one in memory for `--ephemeral` and for tests.

use bytes::Bytes;

use crate::error::Result;

/// The key spaces of the store. Each has its own ordered keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Space {
    /// Format version, catalog entries, counters: small, read at start.
    Meta,
    /// Blocks of embedded logs, keyed by stream and first offset. Large values.
    Log,
    /// Rows of static tables: bases and changes.
    Tables,
    /// Operator state of queries: bases and changes.
    State,
    /// Contents of views: bases and changes.
    Views,
}

/// Puts and deletes that become durable together.
#[derive(Debug, Default, Clone)]
pub struct WriteBatch {
    /// In order; a later change of a key wins.
    pub changes: Vec<Change>,
}

/// One change of a [`WriteBatch`].
#[derive(Debug, Clone)]
pub enum Change {
    /// Sets a key.
    Put(Space, Vec<u8>, Bytes),
    /// Removes a key, if it is there.
    Delete(Space, Vec<u8>),
}

impl WriteBatch {
    /// Sets a key.
    pub fn put(&mut self, space: Space, key: impl Into<Vec<u8>>, value: impl Into<Bytes>) {
        self.changes.push(Change::Put(space, key.into(), value.into()));
    }

    /// Removes a key, if it is there.
    pub fn delete(&mut self, space: Space, key: impl Into<Vec<u8>>) {
        self.changes.push(Change::Delete(space, key.into()));
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// A key and its value.
pub type Entry = (Vec<u8>, Bytes);

/// Iterator over entries in key order.
pub type Entries<'a> = Box<dyn Iterator<Item = Result<Entry>> + 'a>;

/// A transactional key-value store with ordered keys. All calls block; never call them on the tokio reactor.
pub trait Store: Send + Sync + 'static {
    /// The value of a key.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>>;

    /// All entries with `from <= key < to`, in key order; `to` empty means: to the end of the space.
    fn scan(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Entries<'_>>;

    /// Makes the batch durable, whole or not at all; returns after the fsync. A failed fsync ends the process.
    fn commit(&self, batch: WriteBatch) -> Result<()>;

    /// Bytes on disk (or in memory).
    fn bytes(&self) -> u64;
}
