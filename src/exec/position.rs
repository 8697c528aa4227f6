//! Where a query stands in its source, and what it gets from there at a time.

use arrow::datatypes::{DataType, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::catalog::{Kind, Relation};
use crate::connect::Rejected;
use crate::log::CommitNo;
use crate::operators::lateness::Input;
use crate::time::Watermark;

/// A place in a source that a feed can go on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedPosition {
    /// The next row of an embedded log.
    Log {
        /// Its offset.
        offset: u64,
    },
    /// A materialized view: its changes up to this epoch have been taken.
    View {
        /// The epoch.
        epoch: u64,
    },
    /// A static table: all of its version of this commit has been taken.
    Table {
        /// Its number.
        commit: u64,
    },
    /// Where a connector's reader stood, and the watermark it had brought.
    Source {
        /// Opaque.
        offset: Vec<u8>,
        /// In ticks.
        watermark: i64,
        /// A bounded input had been read to its end.
        ended: bool,
        /// The greatest event time, ticks.
        #[serde(default)]
        last_event: Option<i64>,
    },
}

/// Where a query begins that has not read anything yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the oldest row that is retained.
    Earliest,
    /// Behind what was there: `scan_startup = 'latest'`.
    Latest {
        /// Of an embedded log: behind this commit.
        after: CommitNo,
        /// Of a connector: behind what has arrived by then.
        now_ms: i64,
    },
}

/// How far a view has come in a connector's stream, for `tidemill.streams`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceProgress {
    /// Records read, those that are kept aside included.
    pub records: u64,
    /// The stream's watermark.
    pub watermark: Watermark,
    /// The greatest event time, ticks.
    pub last_event: Option<i64>,
    /// A bounded input has been read to its end.
    pub ended: bool,
}

/// What a feed gives when it is asked.
#[derive(Default)]
pub struct FeedBatch {
    /// The rows.
    pub inputs: Vec<Input>,
    /// Records of a connector that are kept aside.
    pub rejected: Vec<Rejected>,
    /// There was nothing more (up to the cut).
    pub drained: bool,
    /// It ends within a commit, whose rest belongs to the same epoch.
    pub is_cut: bool,
    /// There will never be more.
    pub ended: bool,
}

/// The unit of a stream's time column, and of its watermark.
pub fn time_unit(relation: &Relation) -> Option<TimeUnit> {
    let (column, _) = watermark_of(relation)?;
    match relation.schema().field(column).data_type() {
        DataType::Timestamp(unit, _) => Some(*unit),
        _ => None,
    }
}

/// The time column and delay of a stream.
pub fn watermark_of(relation: &Relation) -> Option<(usize, i64)> {
    match &relation.kind {
        Kind::Stream(stream) => {
            stream.watermark.as_ref().map(|watermark| (watermark.column, watermark.delay))
        }
        Kind::Table(_) | Kind::View { .. } | Kind::MaterializedView(_) | Kind::Sink(_) => None,
    }
}
