//! Where bytes live: a small trait over a transactional key-value store with ordered keys.
//!
//! Everything durable goes through one call, [`Store::commit`]: a batch of puts and deletes that
//! becomes durable as a whole or not at all. That is what makes an epoch a transaction. Two stores
//! implement it: one on disk, one in memory for `--ephemeral` and for tests.

use bytes::Bytes;

use crate::error::{Error, Result, SqlState};
use crate::limits;

pub mod codec;
pub mod disk;
pub mod faulty;
mod ledger;
mod lsm;
mod marker;
pub mod memory;
mod opening;
mod repair;
mod scanjournal;
mod survey;
mod widened;

pub use disk::DiskStore;
pub use faulty::FaultyStore;
pub use memory::MemoryStore;
pub use opening::{DiskOptions, FreeSpace};

/// Ends the process after a failure that leaves unknown what is on disk: a failed fsync must never
/// be retried, because the kernel may have dropped the pages that it could not write (Rebello et
/// al., USENIX ATC 2020).
pub fn fatal(error: &Error) -> ! {
    eprintln!("tidemill: fatal: {error}");
    if let Some(detail) = error.detail_text() {
        eprintln!("tidemill: detail: {detail}");
    }
    eprintln!(
        "tidemill: the process ends here; start it again to recover every acknowledged write"
    );
    std::process::exit(1)
}

/// The key spaces of the store. Each has its own ordered keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(usize)]
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

impl Space {
    /// All of them, in the order of their numbers.
    pub const ALL: [Space; 5] =
        [Space::Meta, Space::Log, Space::Tables, Space::State, Space::Views];

    /// Its name on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Space::Meta => "meta",
            Space::Log => "log",
            Space::Tables => "tables",
            Space::State => "state",
            Space::Views => "views",
        }
    }
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

    /// How many bytes of keys and values there are to write.
    pub fn bytes(&self) -> usize {
        self.changes.iter().map(Change::bytes).sum()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// Whether there is more room after it than before: it deletes, and what it puts are counters
    /// and the like.
    pub fn frees_space(&self) -> bool {
        let mut small = 0;
        for change in &self.changes {
            match change {
                Change::Put(Space::Meta, key, value) => small += key.len() + value.len(),
                Change::Put(..) => return false,
                Change::Delete(..) => {}
            }
        }
        small <= limits::SMALL_PUTS_BYTES
            && self.changes.iter().any(|c| matches!(c, Change::Delete(..)))
    }
}

impl Change {
    /// Where it is.
    pub fn space(&self) -> Space {
        match self {
            Change::Put(space, ..) | Change::Delete(space, _) => *space,
        }
    }

    /// How many bytes of key and value it has.
    pub fn bytes(&self) -> usize {
        match self {
            Change::Put(_, key, value) => key.len() + value.len(),
            Change::Delete(_, key) => key.len(),
        }
    }
}

/// Refuses changes with a value that is larger than a store takes.
pub fn check_values(changes: &[Change], largest: usize) -> Result<()> {
    if changes.iter().all(|change| change.bytes() <= largest) {
        return Ok(());
    }
    Err(Error::new(SqlState::ProgramLimit, "a value is too large to be stored")
        .hint("Write it in several smaller statements."))
}

/// A key and its value.
pub type KeyValue = (Vec<u8>, Bytes);

/// Iterator over entries in key order.
pub type Entries<'a> = Box<dyn Iterator<Item = Result<KeyValue>> + 'a>;

/// Iterator over keys, in order.
pub type Keys<'a> = Box<dyn Iterator<Item = Result<Vec<u8>>> + 'a>;

/// A transactional key-value store with ordered keys. All calls block; never call them on the tokio
/// reactor.
pub trait Store: Send + Sync + 'static {
    /// The value of a key.
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>>;

    /// All entries with `from <= key < to`, in key order; `to` empty means: to the end of the
    /// space.
    fn scan(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Entries<'_>>;

    /// The keys of [`scan`](Self::scan) without their values, which a store may then leave on disk.
    fn keys(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Keys<'_>> {
        Ok(Box::new(self.scan(space, from, to)?.map(|entry| entry.map(|(key, _)| key))))
    }

    /// The greatest key with `from <= key < to`; `to` empty means: of the rest of the space.
    fn floor(&self, space: Space, from: &[u8], to: &[u8]) -> Result<Option<Vec<u8>>> {
        self.keys(space, from, to)?.last().transpose()
    }

    /// Makes the batch durable, whole or not at all; returns after the fsync. A failed fsync ends
    /// the process.
    fn commit(&self, batch: WriteBatch) -> Result<()>;

    /// The largest value that it takes, bytes; a batch with a larger one is refused whole.
    fn largest_value(&self) -> usize {
        limits::STORE_VALUE_BYTES
    }

    /// Bytes on disk (or in memory).
    fn bytes(&self) -> u64;

    /// Whether what has been lost is to be gone on without (`--accept-loss`).
    fn accepts_loss(&self) -> bool {
        false
    }

    /// The spaces that lack something that was acknowledged, because this start has accepted its
    /// loss.
    fn lost(&self) -> &[Space] {
        &[]
    }

    /// What depends on [`lost`](Self::lost) has been told, durably; the next start need not do it
    /// again.
    fn loss_is_settled(&self) {}

    /// What it holds in memory: what for, and bytes.
    fn memory(&self) -> Vec<(&'static str, u64)>;
}
