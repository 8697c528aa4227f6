//! The embedded log: every row of a stream, in order, addressed by its offset; and the one thread
//! that commits.
//!
//! A write is acknowledged when the commit that holds it is on disk. All commits of the server
//! (rows, tables' changes, catalog entries, epochs) go through one queue to one thread, which takes
//! what is there, writes it as one batch of the store, syncs once, and publishes and acknowledges
//! in order (group commit). Commit numbers grow by one per transaction, over all streams and
//! tables: a commit number says how far *everything* is read, which is what a cut is.
//!
//! Each block of a log is a RecordBatch with, per write, its commit number and the watermark that
//! the writes before it had reached. Lateness is so a fact of the log: whoever reads it, in
//! whatever portions, comes to the same late rows.
//!
//! | file | idea |
//! |---|---|
//! | [`block`] | a block of a log as it is stored, and its key |
//! | [`stream`] | what is known of each stream: its spec, its figures |
//! | `tail`, `tails` | the newest blocks of a stream in memory; those of all streams under one budget |
//! | `fold`, `joining` | which small blocks become one; how they do in the store |
//! | [`transaction`] | what is committed together |
//! | `untimed` | rows without an event time, kept to be looked at |
//! | `staging` | a stream's share of a group of commits: numbers, watermarks, blocks |
//! | `shared` | what the commit thread and the readers share |
//! | `commit` | the commit thread |
//! | [`reader`] | a stream in portions up to a commit |
//! | [`journal`] | the door: commits go in, readers come out |
//! | [`table`] | static tables: versions for readers, a lock for one writer |

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use crate::time::Watermark;

pub mod block;
mod commit;
mod fold;
mod joining;
#[cfg(test)]
mod joining_tests;
pub mod journal;
pub mod reader;
mod shared;
mod staging;
pub mod stream;
pub mod table;
mod tail;
mod tails;
#[cfg(test)]
mod tests;
pub mod transaction;
mod untimed;

pub(crate) use block::parse_key as parse_block_key;
pub use journal::Journal;
pub use reader::{LogReader, Position};
pub use stream::StreamStats;
pub use table::{TableHandle, TableId, TableSpec, TableVersion, TableWriter};
pub use tails::TailStats;
pub use transaction::{Append, Transaction};
pub use untimed::UntimedRow;

/// Which stream; given once at CREATE and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub u64);

/// The number of a committed transaction: 1 for the first one of a data directory. 0: nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct CommitNo(pub u64);

/// What the log must know of a stream.
#[derive(Debug, Clone)]
pub struct StreamSpec {
    /// The stored columns.
    pub schema: SchemaRef,
    /// The event-time column and how far rows may be out of order, in its ticks.
    pub watermark: Option<(usize, i64)>,
    /// Rows may be forgotten when their commit is older than this many milliseconds.
    pub retention_ms: Option<i64>,
    /// The oldest rows may be forgotten when the stream is larger than this.
    pub retention_bytes: Option<u64>,
}

/// One stretch of a log as a reader gets it: rows of one or several writes.
#[derive(Debug, Clone)]
pub struct LogBlock {
    /// The offset of the first row (rows are numbered from 0, per stream).
    pub first_offset: u64,
    /// The rows of all the writes, in order; may have none.
    pub batch: RecordBatch,
    /// The writes in order; never empty.
    pub writes: Arc<[Write]>,
}

/// One write (an INSERT, a COPY, a transaction's share of this stream, or an `advance_watermark`)
/// in a [`LogBlock`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Write {
    /// Its commit.
    pub commit: CommitNo,
    /// Its rows end (exclusively) at this row of the block's batch; they begin where the write
    /// before ended.
    pub end_row: usize,
    /// What the writes before it had brought the stream's watermark to. Its own rows are late
    /// against this.
    pub watermark_before: Watermark,
    /// What the stream's watermark is after it.
    pub watermark_after: Watermark,
}
