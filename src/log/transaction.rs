//! What is committed together: rows of streams, puts and deletes, and what shall happen when it is
//! durable.

use std::fmt;

use arrow::array::RecordBatch;
use bytes::Bytes;

use super::{CommitNo, StreamId, StreamSpec};
use crate::error::Result;
use crate::memory::rows::batch_bytes;
use crate::store::WriteBatch;
use crate::time::Watermark;

/// What is appended to a stream.
#[derive(Debug, Clone)]
pub enum Append {
    /// Rows, in the stream's schema.
    Rows(RecordBatch),
    /// `advance_watermark`: the stream's watermark is at least this afterwards.
    Advance(Watermark),
}

/// Computes puts that depend on the commit number. Runs in the commit thread before the commit; an
/// error rejects the transaction. It must not change anything itself: the commit can still fail.
pub type WithCommit = Box<dyn FnOnce(CommitNo, &mut WriteBatch) -> Result<()> + Send>;

/// Publishes what has become durable. Runs in the commit thread, in commit order, before the
/// acknowledgement.
pub type OnCommit = Box<dyn FnOnce(CommitNo) + Send>;

/// Everything that becomes durable in one commit, or not at all.
#[derive(Default)]
pub struct Transaction {
    /// In order. All appends to one stream are one write: its rows are not late against each other.
    pub appends: Vec<(StreamId, Append)>,
    /// Puts and deletes for the store (catalog entries, state of views, …).
    pub puts: WriteBatch,
    /// See [`WithCommit`].
    pub with_commit: Vec<WithCommit>,
    /// See [`OnCommit`].
    pub on_commit: Vec<OnCommit>,
    /// The wall clock of the writer, ms since 1970; retention goes by it.
    pub time_ms: i64,
    pub(crate) changes: Vec<StreamChange>,
}

/// Streams that come, go or forget.
pub(crate) enum StreamChange {
    Create(StreamId, StreamSpec),
    Drop(StreamId),
    Forget { stream: StreamId, first_offset: u64, keys: Vec<Vec<u8>>, bytes: u64 },
    Join(StreamId, JoinedBlock),
}

/// A block that takes the place of several that follow each other; it has the key of the first.
pub(crate) struct JoinedBlock {
    pub(crate) first_offset: u64,
    /// Of the blocks that go, the first included.
    pub(crate) keys: Vec<Vec<u8>>,
    /// How many bytes these have.
    pub(crate) old_bytes: u64,
    pub(crate) value: Bytes,
}

impl Transaction {
    /// An empty transaction of a writer whose clock says `time_ms`.
    pub fn at(time_ms: i64) -> Transaction {
        Transaction { time_ms, ..Transaction::default() }
    }

    /// Appends rows to a stream; they must have its schema's types.
    pub fn append(&mut self, stream: StreamId, rows: RecordBatch) {
        self.appends.push((stream, Append::Rows(rows)));
    }

    /// Moves a stream's watermark.
    pub fn advance(&mut self, stream: StreamId, watermark: Watermark) {
        self.appends.push((stream, Append::Advance(watermark)));
    }

    /// Makes a stream, whose number must never have been used; this transaction may already append
    /// to it.
    pub fn create_stream(&mut self, stream: StreamId, spec: StreamSpec) {
        self.changes.push(StreamChange::Create(stream, spec));
    }

    /// Removes a stream and its rows.
    pub fn drop_stream(&mut self, stream: StreamId) {
        self.changes.push(StreamChange::Drop(stream));
    }

    /// Adds puts that depend on the commit number.
    pub fn with_commit(
        &mut self,
        f: impl FnOnce(CommitNo, &mut WriteBatch) -> Result<()> + Send + 'static,
    ) {
        self.with_commit.push(Box::new(f));
    }

    /// Adds what publishes this transaction.
    pub fn on_commit(&mut self, f: impl FnOnce(CommitNo) + Send + 'static) {
        self.on_commit.push(Box::new(f));
    }

    /// Whether there is nothing to commit.
    pub fn is_empty(&self) -> bool {
        self.appends.is_empty()
            && self.puts.is_empty()
            && self.with_commit.is_empty()
            && self.on_commit.is_empty()
            && self.changes.is_empty()
    }

    /// Whether it only takes things away (DROP, retention). On a full disk it may be written when
    /// others may not, so it does not share a batch with them.
    pub(crate) fn makes_room(&self) -> bool {
        let takes_away = |change: &StreamChange| !matches!(change, StreamChange::Create(..));
        self.appends.is_empty()
            && self.changes.iter().all(takes_away)
            && (!self.changes.is_empty() || self.puts.frees_space())
    }

    /// Roughly how many bytes it writes.
    pub(crate) fn bytes(&self) -> usize {
        let rows = self.appends.iter().map(|(_, append)| match append {
            Append::Rows(batch) => batch_bytes(batch),
            Append::Advance(_) => 64,
        });
        let joined = self.changes.iter().map(|change| match change {
            StreamChange::Join(_, joined) => joined.value.len(),
            StreamChange::Create(..) | StreamChange::Drop(_) | StreamChange::Forget { .. } => 0,
        });
        256 + self.puts.bytes() + rows.sum::<usize>() + joined.sum::<usize>()
    }
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("appends", &self.appends.len())
            .field("puts", &self.puts.changes.len())
            .finish_non_exhaustive()
    }
}
