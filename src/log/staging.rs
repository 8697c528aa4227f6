//! A stream's share of a group of commits: numbering, watermarks, and cutting its rows into blocks.

use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{concat_batches, max};
use arrow::datatypes::{
    DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};

use super::stream::StreamStats;
use super::transaction::{Append, JoinedBlock};
use super::{CommitNo, LogBlock, StreamSpec, Write};
use crate::error::{Error, Result, SqlState};
use crate::limits;
use crate::memory::rows::{batch_bytes, fitting_rows};
use crate::time::{EventTime, Watermark};

/// What a group of commits does to one stream.
pub(crate) struct Staged {
    pub(crate) spec: Arc<StreamSpec>,
    /// As it is after the group.
    pub(crate) state: StreamStats,
    pub(crate) is_created: bool,
    pub(crate) is_dropped: bool,
    pub(crate) time_ms: i64,
    first_new: u64,
    writes: Vec<StagedWrite>,
    /// Blocks that take the place of others.
    pub(crate) joined: Vec<JoinedBlock>,
}

struct StagedWrite {
    commit: CommitNo,
    rows: Vec<RecordBatch>,
    before: Watermark,
    after: Watermark,
}

impl Staged {
    pub(crate) fn of(spec: Arc<StreamSpec>, state: StreamStats) -> Staged {
        Staged {
            spec,
            first_new: state.next_offset,
            state,
            is_created: false,
            is_dropped: false,
            time_ms: i64::MIN,
            writes: Vec::new(),
            joined: Vec::new(),
        }
    }

    pub(crate) fn created(spec: StreamSpec) -> Staged {
        Staged { is_created: true, ..Staged::of(Arc::new(spec), StreamStats::NEW) }
    }

    /// Moves the first offset; false if it has been there already.
    pub(crate) fn forget(&mut self, first_offset: u64, bytes: u64) -> bool {
        if first_offset < self.state.first_offset || self.is_dropped || bytes > self.state.bytes {
            return false;
        }
        self.state.first_offset = first_offset;
        self.state.rows = self.state.next_offset - first_offset;
        self.state.bytes -= bytes;
        true
    }

    /// Puts one block in the place of several, if they are all still there.
    pub(crate) fn join(&mut self, block: JoinedBlock) {
        let new = block.value.len() as u64;
        if block.first_offset < self.state.first_offset || self.state.bytes < block.old_bytes {
            return;
        }
        self.state.bytes = self.state.bytes - block.old_bytes + new;
        self.joined.push(block);
    }

    /// Adds rows or an advance; those of one commit make one write.
    pub(crate) fn append(&mut self, commit: CommitNo, append: Append, time_ms: i64) -> Result<()> {
        if self.writes.last().is_none_or(|write| write.commit != commit) {
            let before = self.state.watermark;
            self.writes.push(StagedWrite { commit, rows: Vec::new(), before, after: before });
        }
        let Some(write) = self.writes.last_mut() else {
            return Err(Error::internal("a write that was begun is not there"));
        };
        match append {
            Append::Advance(watermark) => write.after = write.after.max(watermark),
            Append::Rows(rows) => {
                if let Some((column, delay)) = self.spec.watermark
                    && let Some(seen) = greatest(&rows, column)
                {
                    write.after = write.after.after(seen, delay);
                    self.state.last_event_time = self.state.last_event_time.max(Some(seen));
                }
                self.state.next_offset += rows.num_rows() as u64;
                self.state.rows += rows.num_rows() as u64;
                write.rows.push(rows);
            }
        }
        self.state.watermark = write.after;
        self.state.last_commit = commit;
        self.time_ms = self.time_ms.max(time_ms);
        self.state.last_write_ms = self.state.last_write_ms.max(Some(time_ms));
        Ok(())
    }

    /// The rows of all writes as blocks: small writes together, large ones cut.
    pub(crate) fn blocks(&mut self) -> Result<Vec<LogBlock>> {
        let mut builder = BlockBuilder::new(Arc::clone(&self.spec), self.first_new);
        for write in std::mem::take(&mut self.writes) {
            for rows in &write.rows {
                let mut start = 0;
                while start < rows.num_rows() {
                    let most = limits::BATCH_ROWS.min(rows.num_rows() - start);
                    let fitting = fitting_rows(rows, start, most, limits::BLOCK_BYTES).max(1);
                    builder.add(&write, rows.slice(start, fitting))?;
                    start += fitting;
                }
            }
            builder.end_write(&write);
        }
        builder.flush(None)?;
        Ok(builder.blocks)
    }
}

/// Collects pieces until they make a block.
struct BlockBuilder {
    spec: Arc<StreamSpec>,
    next_offset: u64,
    blocks: Vec<LogBlock>,
    pieces: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    writes: Vec<Write>,
    /// Whether rows of the write that is being added are among the pieces.
    has_part: bool,
}

impl BlockBuilder {
    fn new(spec: Arc<StreamSpec>, next_offset: u64) -> BlockBuilder {
        BlockBuilder {
            spec,
            next_offset,
            blocks: Vec::new(),
            pieces: Vec::new(),
            rows: 0,
            bytes: 0,
            writes: Vec::new(),
            has_part: false,
        }
    }

    fn add(&mut self, write: &StagedWrite, piece: RecordBatch) -> Result<()> {
        let (rows, bytes) = (piece.num_rows(), batch_bytes(&piece));
        // A large piece becomes a block as it is, so that its rows are not copied.
        let is_full =
            self.rows + rows > limits::BATCH_ROWS || self.bytes + bytes > limits::BLOCK_BYTES;
        if self.rows > 0 && (is_full || rows >= limits::BATCH_ROWS / 2) {
            self.flush(Some(write))?;
        }
        self.pieces.push(piece);
        self.rows += rows;
        self.bytes += bytes;
        self.has_part = true;
        Ok(())
    }

    fn end_write(&mut self, write: &StagedWrite) {
        self.has_part = false;
        self.push_write(write, write.after);
    }

    fn push_write(&mut self, write: &StagedWrite, after: Watermark) {
        self.writes.push(Write {
            commit: write.commit,
            end_row: self.rows,
            watermark_before: write.before,
            watermark_after: after,
        });
    }

    /// Makes a block; `open` is the write that goes on behind it.
    fn flush(&mut self, open: Option<&StagedWrite>) -> Result<()> {
        if let Some(write) = open
            && std::mem::take(&mut self.has_part)
        {
            self.push_write(write, write.before);
        }
        if self.writes.is_empty() {
            return Ok(());
        }
        let pieces = std::mem::take(&mut self.pieces);
        let joined = match &pieces[..] {
            [one] => one.clone(),
            many => concat_batches(&self.spec.schema, many)?,
        };
        let batch = with_schema(&self.spec, joined)?;
        self.rows = 0;
        self.bytes = 0;
        let block = LogBlock {
            first_offset: self.next_offset,
            batch,
            writes: std::mem::take(&mut self.writes).into(),
        };
        self.next_offset = block.end_offset();
        self.blocks.push(block);
        Ok(())
    }
}

/// The same columns under the stream's own schema (names, metadata).
fn with_schema(spec: &StreamSpec, batch: RecordBatch) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new(Arc::clone(&spec.schema), batch.columns().to_vec())?)
}

/// The greatest time in a timestamp column of any unit.
fn greatest(batch: &RecordBatch, column: usize) -> Option<EventTime> {
    let times = batch.column(column);
    let seen = match times.data_type() {
        DataType::Timestamp(TimeUnit::Second, _) => {
            max(times.as_primitive::<TimestampSecondType>())
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            max(times.as_primitive::<TimestampMillisecondType>())
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            max(times.as_primitive::<TimestampMicrosecondType>())
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            max(times.as_primitive::<TimestampNanosecondType>())
        }
        _ => None,
    };
    seen.map(EventTime)
}

/// Whether a stream can be made of this.
pub(crate) fn check_spec(spec: &StreamSpec) -> Result<()> {
    let Some((column, _)) = spec.watermark else { return Ok(()) };
    match spec.schema.fields().get(column).map(|field| field.data_type()) {
        Some(DataType::Timestamp(..)) => Ok(()),
        _ => Err(Error::new(SqlState::TypeMismatch, "the watermark column is not a timestamp")),
    }
}

/// Whether rows fit the stream.
pub(crate) fn check_rows(spec: &StreamSpec, rows: &RecordBatch) -> Result<()> {
    let fields = spec.schema.fields();
    if fields.len() != rows.num_columns() {
        return Err(Error::internal(format!(
            "rows of {} columns are written to a stream of {}",
            rows.num_columns(),
            fields.len()
        )));
    }
    for (field, column) in fields.iter().zip(rows.columns()) {
        if field.data_type() != column.data_type() {
            return Err(Error::internal(format!(
                "column \"{}\" is of type {}, the value written of type {}",
                field.name(),
                field.data_type(),
                column.data_type()
            )));
        }
        if !field.is_nullable() && column.null_count() > 0 {
            return Err(Error::new(
                SqlState::NotNull,
                format!("null value in column \"{}\" violates not-null constraint", field.name()),
            ));
        }
    }
    Ok(())
}
