//! Rows of a table that are no more, each with the time from which and up to which it was there: for
//! joins with the table as it was.
//!
//! They are kept for [`TableSpec::history_ms`](super::TableSpec), and without that for
//! [`limits::TABLE_HISTORY_MS`], then of no more than [`limits::TABLE_HISTORY_BYTES`], or a small share
//! of the memory: the oldest go first. Times are those of commits, microseconds since 1970, and never go back.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::error::Result;
use crate::limits;
use crate::memory::rows::batch_bytes;
use crate::store::codec::{ValueReader, ValueWriter};

/// Of a row that has always been there, as far as is known.
pub(super) const EVER: i64 = i64::MIN;

/// The time of the commit that is being put together.
pub(super) const UNSTAMPED: i64 = i64::MAX;

/// Rows that are no more.
#[derive(Debug, Clone)]
pub(super) struct PastRows {
    pub(super) batch: RecordBatch,
    /// From when each was there.
    pub(super) since: Arc<[i64]>,
    /// And up to when.
    pub(super) until: Arc<[i64]>,
}

/// How long they are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PastBound {
    ms: i64,
    bytes: usize,
}

/// Pieces of them, the oldest first.
pub(super) type Past = Vec<PastRows>;

impl PastBound {
    /// As the table says; without a word of it as long as usual, and not more than usual, which is
    /// less where there is little memory at all.
    pub(super) fn of(history_ms: Option<i64>, memory: usize) -> PastBound {
        match history_ms {
            Some(ms) => PastBound { ms, bytes: usize::MAX },
            None => {
                let bytes = limits::TABLE_HISTORY_BYTES.min(memory / limits::TABLE_HISTORY_SHARE);
                PastBound { ms: limits::TABLE_HISTORY_MS, bytes }
            }
        }
    }

    /// Whether anything is.
    pub(super) fn is_any(self) -> bool {
        self.ms > 0
    }

    /// Adds rows that have gone, and takes away what is too old.
    pub(super) fn push(self, past: &mut Past, gone: Vec<PastRows>, now: i64) -> Result<()> {
        past.extend(gone.into_iter().filter(|rows| !rows.since.is_empty()));
        merge(past)?;
        let oldest = now.saturating_sub(self.ms.saturating_mul(1_000));
        let is_old = |rows: &PastRows| rows.until.iter().max().is_none_or(|last| *last < oldest);
        let mut bytes: usize = past.iter().map(PastRows::bytes).sum();
        let mut gone = 0;
        while let Some(rows) = past.get(gone).filter(|rows| is_old(rows) || bytes > self.bytes) {
            bytes -= rows.bytes();
            gone += 1;
        }
        past.drain(..gone);
        Ok(())
    }
}

/// As in a binary counter: there are few pieces, and a row is copied seldom.
fn merge(past: &mut Past) -> Result<()> {
    while let [.., before, last] = &past[..] {
        let (rows, more) = (last.since.len(), before.since.len());
        if more > 2 * rows || more + rows > limits::TABLE_PAST_ROWS {
            break;
        }
        let schema = last.batch.schema();
        let merged = PastRows {
            batch: concat_batches(&schema, [&before.batch, &last.batch])?,
            since: before.since.iter().chain(last.since.iter()).copied().collect(),
            until: before.until.iter().chain(last.until.iter()).copied().collect(),
        };
        past.truncate(past.len() - 2);
        past.push(merged);
    }
    Ok(())
}

impl PastRows {
    /// The same, with the time of their commit.
    pub(super) fn stamped(self, at: i64) -> PastRows {
        PastRows { until: stamped(&self.until, at), ..self }
    }

    pub(super) fn bytes(&self) -> usize {
        batch_bytes(&self.batch) + 2 * size_of_val(&*self.since)
    }

    pub(super) fn write(&self, out: &mut ValueWriter) -> Result<()> {
        write_times(&self.since, out);
        write_times(&self.until, out);
        out.batch(&self.batch)
    }

    pub(super) fn read(value: &mut ValueReader, schema: &SchemaRef) -> Result<PastRows> {
        let (since, until) = (read_times(value)?, read_times(value)?);
        Ok(PastRows { since, until, batch: value.batch(schema, None)? })
    }
}

/// The times, with that of the commit where it is not known yet.
pub(super) fn stamped(times: &Arc<[i64]>, at: i64) -> Arc<[i64]> {
    if !times.contains(&UNSTAMPED) {
        return Arc::clone(times);
    }
    times.iter().map(|time| if *time == UNSTAMPED { at } else { *time }).collect()
}

/// Times as runs of equal ones: rows come by the thousand with one commit.
pub(super) fn write_times(times: &[i64], out: &mut ValueWriter) {
    let runs: Vec<&[i64]> = times.chunk_by(|one, next| one == next).collect();
    out.varint(runs.len() as u64);
    for run in runs {
        out.varint(run.len() as u64);
        out.i64(run[0]);
    }
}

pub(super) fn read_times(value: &mut ValueReader) -> Result<Arc<[i64]>> {
    let mut times = Vec::new();
    for _ in 0..value.varint()? {
        let rows = value.varint()? as usize;
        let time = value.i64()?;
        times.extend(std::iter::repeat_n(time, rows));
    }
    Ok(times.into())
}

/// The columns of a table's versions behind its own.
pub const VERSION_COLUMNS: [&str; 2] = ["__since", "__until"];

/// The columns of a table's versions: its own, and from when and up to when each is there,
/// microseconds since 1970.
pub fn versions_schema(columns: &Schema) -> SchemaRef {
    let times = VERSION_COLUMNS.map(|name| Arc::new(Field::new(name, DataType::Int64, false)));
    let fields: Vec<_> = columns.fields().iter().cloned().chain(times).collect();
    Arc::new(Schema::new(fields))
}

/// Rows with the times of each.
pub(super) fn versions(rows: RecordBatch, since: &[i64], until: &[i64]) -> Result<RecordBatch> {
    let micros = |times: &[i64]| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(times.iter().copied()))
    };
    let schema = versions_schema(&rows.schema());
    let columns = rows.columns().iter().cloned().chain([micros(since), micros(until)]).collect();
    Ok(RecordBatch::try_new(schema, columns)?)
}
