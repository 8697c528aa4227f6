//! Sinks: where the changes of a query go.
//!
//! ```text
//!  epoch ─▶ outbox (in the epoch's commit) ─▶ publish ─▶ "published up to here" (a commit)
//! ```
//! What is published has been committed before, so nothing that goes out can be taken back by a
//! crash; and what was on its way out when a crash came goes out again, with the same first and last
//! epoch. A sink that writes the same thing under the same name then (a file) has each change once;
//! one that cannot (a terminal) has it at least once.

use arrow::record_batch::RecordBatch;

use crate::error::Result;

/// The connectors that can be named in CREATE SINK.
pub const SINK_CONNECTORS: [&str; 4] = ["blackhole", "stdout", "print", "file"];

/// Options of every sink; they are not the connector's business and it passes over them.
pub const SINK_OPTIONS: [&str; 6] =
    ["connector", "form", "allowed_lateness", "scan_startup", "state_ttl", "table_changes"];

/// Changes that go out together.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The first epoch whose changes are in it.
    pub first: u64,
    /// The last.
    pub last: u64,
    /// The rows in order, of the schema that the sink was opened with.
    pub batches: Vec<RecordBatch>,
}

impl Publication {
    /// How many rows go out.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }
}

/// Something outside that takes changes.
pub trait Sink: Send + Sync {
    /// Writes the changes, durably where there is such a thing. May block. After a failure, and
    /// after a crash, it is called again with a publication of the same epochs.
    ///
    /// # Errors
    /// Whatever keeps the other side from taking them; they are offered again later.
    fn publish(&self, publication: &Publication) -> Result<()>;

    /// How long changes are gathered before they go out, milliseconds.
    fn gathers_ms(&self) -> u64 {
        0
    }
}

/// Which sink it is: never again another one, though its name may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SinkIdentity {
    /// The id of its relation.
    pub id: u64,
    /// When it was made, milliseconds since 1970: a server without a data directory gives ids again.
    pub created_ms: i64,
}
