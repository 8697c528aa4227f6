//! Static tables: rows in memory in chunks, and on disk the history of their changes.
//!
//! A table is a list of immutable chunks with marks on deleted rows; a commit publishes a new
//! [`TableVersion`] that shares all it can with the one before, and readers only ever see such
//! versions. One [`TableWriter`] at a time holds the table's lock and works on its own list;
//! committing writes what it changed as one record under the commit's number (`record.rs`), rolling
//! back (or dropping it) undoes its changes of the key index.
//!
//! Small chunks are merged as in a binary counter, so that a table written row by row has few
//! chunks, and the whole is written anew as a base when the records after the last base have become
//! larger than it; a large table is written anew in parts, beside its writer (`image.rs`).
//!
//! Each row has the time of the commit that it came with, and rows that have gone are kept for a
//! while (`past.rs`), so that a row of a stream can be joined with the table as it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use datafusion::execution::memory_pool::MemoryReservation;
use parking_lot::RwLock;

use super::CommitNo;
use crate::clock::{self, Clock};
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::memory::{Accounts, MemoryPart};
use crate::store::{Space, Store};

mod changes;
mod chunk;
mod image;
mod index;
mod past;
#[cfg(test)]
mod past_tests;
mod record;
#[cfg(test)]
mod tests;
mod writer;

pub use changes::VersionChange;
pub use chunk::{RowId, TableVersion};
pub use past::{VERSION_COLUMNS, versions_schema};
pub use writer::{Mark, TableWriter};

use chunk::TableChunk;
use image::Image;
use index::KeyIndex;
use past::{Past, PastBound};

/// Which table; given once at CREATE and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId(pub u64);

/// What the storage of a table must know of it; the catalog keeps it.
#[derive(Debug, Clone)]
pub struct TableSpec {
    /// Its name, for error messages.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// What no two of its rows have in common.
    pub keys: Vec<UniqueKey>,
    /// How long rows that are no more are kept with the times at which they were there, milliseconds;
    /// None: as `past` says.
    pub history_ms: Option<i64>,
}

/// Columns of which no two rows have the same values, none of them NULL.
#[derive(Debug, Clone)]
pub struct UniqueKey {
    /// The name of the constraint.
    pub constraint: String,
    /// Their positions.
    pub columns: Vec<usize>,
}

/// A table: published versions for readers, a lock for one writer.
pub struct TableHandle {
    id: TableId,
    spec: TableSpec,
    current: RwLock<Arc<TableVersion>>,
    work: Arc<tokio::sync::Mutex<TableWork>>,
    accounts: Arc<Accounts>,
    kept: PastBound,
    /// What the rows and the index take.
    memory: MemoryReservation,
    /// How it is being written anew, if it is large.
    image: Arc<Image>,
    clock: Arc<dyn Clock>,
    /// The time of the last commit, microseconds since 1970.
    last_commit: AtomicI64,
    /// Only tests have other bounds.
    #[cfg(test)]
    whole_bytes: std::sync::atomic::AtomicUsize,
}

/// What only the writer needs, behind the table's lock.
struct TableWork {
    /// Of its keys, in their order.
    indexes: Vec<KeyIndex>,
    /// Keys of the table's records in the store, from the base on.
    records: Vec<Vec<u8>>,
    base_bytes: usize,
    change_bytes: usize,
}

/// The key of a table's record in the store.
fn key(table: TableId, commit: CommitNo) -> Vec<u8> {
    [table.0.to_be_bytes(), commit.0.to_be_bytes()].concat()
}

fn all_keys(table: TableId) -> (Vec<u8>, Vec<u8>) {
    (key(table, CommitNo(0)), key(table, CommitNo(u64::MAX)))
}

impl TableHandle {
    /// Reads a table's records and makes it ready; one without records is empty. Its rows are
    /// reserved in `accounts`, and commits have their times from `clock`.
    pub fn open(
        store: &dyn Store,
        id: TableId,
        spec: TableSpec,
        accounts: &Arc<Accounts>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<TableHandle>> {
        let indexes = spec.keys.iter().map(|key| KeyIndex::new(&spec, key));
        let mut work = TableWork {
            indexes: indexes.collect::<Result<_>>()?,
            records: Vec::new(),
            base_bytes: 0,
            change_bytes: 0,
        };
        let (from, to) = all_keys(id);
        let mut replayed = Replayed::new(&spec, accounts);
        let mut commit = CommitNo(0);
        for entry in store.scan(Space::Tables, &from, &to)? {
            let (key, value) = entry?;
            let is_part = image::is_part(&key);
            // Behind a record it is of an image that was not finished: only kept to be taken away.
            if is_part && work.records.iter().any(|record| !image::is_part(record)) {
                work.records.push(key);
                continue;
            }
            commit = parse_commit(&key)?;
            let bytes = value.len();
            let is_base = replayed.apply(&spec, value, is_part).map_err(|e| {
                e.context(format_args!(
                    "the change of table \"{}\" at commit {} is damaged",
                    spec.name, commit.0
                ))
            })?;
            if is_base {
                (work.base_bytes, work.change_bytes) = (bytes, 0);
            } else if is_part {
                work.base_bytes += bytes;
            } else {
                work.change_bytes += bytes;
            }
            work.records.push(key);
        }
        let Replayed { chunks, past, kept, last_commit } = replayed;
        for index in &mut work.indexes {
            index.rebuild(&chunks)?;
        }
        let index_bytes: usize = work.indexes.iter().map(KeyIndex::bytes).sum();
        let version = TableVersion::new(commit, Arc::clone(&spec.schema), chunks, Arc::new(past));
        let memory = accounts.reserve(MemoryPart::Tables);
        // What is there is there, also under a limit that is smaller than it was; what comes on top
        // is refused.
        memory.resize(version.bytes() + index_bytes);
        Ok(Arc::new(TableHandle {
            id,
            spec,
            current: RwLock::new(Arc::new(version)),
            work: Arc::new(tokio::sync::Mutex::new(work)),
            accounts: Arc::clone(accounts),
            kept,
            memory,
            image: Arc::default(),
            clock: Arc::clone(clock),
            last_commit: AtomicI64::new(last_commit),
            #[cfg(test)]
            whole_bytes: limits::TABLE_BASE_BYTES.into(),
        }))
    }

    /// The version published last.
    pub fn version(&self) -> Arc<TableVersion> {
        Arc::clone(&self.current.read())
    }

    /// Its number.
    pub fn id(&self) -> TableId {
        self.id
    }

    /// The time of a commit that is being made, microseconds since 1970: not before the last one's.
    /// What comes comes at the beginning of its millisecond, and what goes with what takes its place
    /// goes behind that: a row with just this time, which may have been written before, is to find
    /// the same whenever it is looked at.
    fn commit_micros(&self, replaces: bool) -> i64 {
        let now = self.clock.now_ms().saturating_mul(1_000).saturating_add(i64::from(replaces));
        self.last_commit.fetch_max(now, Ordering::AcqRel).max(now)
    }

    /// What it may take in the store to be written whole.
    fn whole_bytes(&self) -> usize {
        let bytes = limits::TABLE_BASE_BYTES;
        #[cfg(test)]
        let bytes = self.whole_bytes.load(std::sync::atomic::Ordering::Relaxed).min(bytes);
        bytes
    }

    /// How many bytes its rows and keys take.
    pub fn bytes(&self) -> usize {
        self.memory.size()
    }

    /// What it was opened with.
    pub fn spec(&self) -> &TableSpec {
        &self.spec
    }

    /// Waits for the table's lock. It is held until the writer is committed, rolled back or
    /// dropped.
    pub async fn lock(
        self: &Arc<Self>,
        clock: &dyn Clock,
        timeout: Duration,
    ) -> Result<TableWriter> {
        match clock::timeout(clock, timeout, Arc::clone(&self.work).lock_owned()).await {
            Some(work) => Ok(TableWriter::new(Arc::clone(self), work)),
            None => Err(Error::new(
                SqlState::LockNotAvailable,
                format!(
                    "could not obtain the lock on table \"{}\" within {timeout:?}",
                    self.spec.name
                ),
            )
            .hint("Another transaction is writing to this table; try again when it has ended.")),
        }
    }

    fn publish(&self, version: TableVersion, index_bytes: usize) {
        self.memory.resize(version.bytes() + index_bytes);
        *self.current.write() = Arc::new(version);
    }
}

fn parse_commit(key: &[u8]) -> Result<CommitNo> {
    let commit = key.get(8..16).and_then(|commit| commit.try_into().ok());
    commit
        .map(|commit| CommitNo(u64::from_be_bytes(commit)))
        .ok_or_else(|| crate::store::codec::corrupted("a key in the tables has the wrong length"))
}

/// A table as its records give it, one after the other.
struct Replayed {
    chunks: Vec<TableChunk>,
    past: Past,
    kept: PastBound,
    last_commit: i64,
}

impl Replayed {
    fn new(spec: &TableSpec, accounts: &Accounts) -> Replayed {
        let kept = PastBound::of(spec.history_ms, accounts.limit());
        Replayed { chunks: Vec::new(), past: Past::new(), kept, last_commit: i64::MIN }
    }

    /// Applies a record; true for a base.
    fn apply(&mut self, spec: &TableSpec, value: Bytes, is_part: bool) -> Result<bool> {
        let record = record::TableRecord::decode(value, &spec.schema)?;
        if record.is_base {
            self.past.clear();
        }
        self.last_commit = self.last_commit.max(record.at.unwrap_or(i64::MIN));
        let gone = record.apply(&spec.schema, &mut self.chunks, is_part)?;
        if self.kept.is_any() {
            self.kept.push(&mut self.past, gone, self.last_commit)?;
        }
        Ok(record.is_base)
    }
}
