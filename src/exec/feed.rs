//! Brings a pipeline its source's rows: from an embedded log, or from a connector that can be read again.
//!
//! A feed stands at a position that can be stored and come back to. For an embedded log its portions end where commits end, so that
//! a write is never taken half, and with it go the watermarks that the log has stamped. For a connector each record is a write
//! of its own, and the watermark is computed here, from the records alone.

use std::sync::Arc;

use datafusion::arrow::array::Int64Array;
use datafusion::arrow::compute::max;
use serde::{Deserialize, Serialize};

use super::lateness::{Input, Writes, ticks};
use crate::catalog::{Kind, Relation};
use crate::connect::{Rejected, Source, SourceOffset, SourceReader};
use crate::error::{Error, Result};
use crate::limits;
use crate::log::{CommitNo, Journal, LogBlock, LogReader, Position, StreamId};
use crate::plan::SourceScan;
use crate::time::{EventTime, Watermark};

/// A place in a source that a feed can go on from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FeedPosition {
    /// The next row of an embedded log.
    Log {
        /// Its offset.
        offset: u64,
    },
    /// Where a connector's reader stood, and the watermark it had brought.
    Source {
        /// Opaque.
        offset: Vec<u8>,
        /// In ticks.
        watermark: i64,
        /// A bounded input had been read to its end.
        ended: bool,
    },
}

/// One portion.
#[derive(Default)]
pub struct Portion {
    /// The rows.
    pub inputs: Vec<Input>,
    /// Records of a connector that were no rows.
    pub rejected: Vec<Rejected>,
    /// There was nothing more (up to the cut).
    pub drained: bool,
    /// There will never be more.
    pub ended: bool,
}

/// Reads a source for one pipeline.
pub struct Feed {
    kind: FeedKind,
    columns: Vec<usize>,
}

enum FeedKind {
    Log(LogReader),
    Source(Box<SourceFeed>),
}

struct SourceFeed {
    reader: Box<dyn SourceReader>,
    /// The time column's place in the reader's batches, and the delay.
    time: Option<(usize, i64)>,
    /// How many of the reader's columns the pipeline wants; the time column may follow them.
    wanted: usize,
    watermark: Watermark,
    ended: bool,
}

impl Feed {
    /// Opens a stream at a position; None: at the beginning.
    pub fn open(
        scan: &SourceScan,
        journal: &Journal,
        source: Option<&Arc<dyn Source>>,
        from: Option<&FeedPosition>,
        from_latest: bool,
    ) -> Result<Feed> {
        let columns = scan.columns.clone();
        let kind = match source {
            None => {
                let position = match from {
                    Some(FeedPosition::Log { offset }) => Position::Offset(*offset),
                    Some(FeedPosition::Source { .. }) => return Err(Error::internal("a log at a connector's position")),
                    None if from_latest => Position::Latest,
                    None => Position::Earliest,
                };
                FeedKind::Log(journal.reader(StreamId(scan.relation.id.0), position)?)
            }
            Some(source) => FeedKind::Source(Box::new(SourceFeed::open(scan, source, from)?)),
        };
        Ok(Feed { kind, columns })
    }

    /// What there is up to the cut, about `max_rows` at the most (to the end of a commit).
    pub fn read(&mut self, upto: CommitNo, now_ms: i64, max_rows: usize) -> Result<Portion> {
        match &mut self.kind {
            FeedKind::Log(reader) => {
                let mut blocks = reader.read(upto, max_rows)?;
                let rows: usize = blocks.iter().map(|block| block.batch.num_rows()).sum();
                if let Some(last) = blocks.last().and_then(|block| block.writes.last()) {
                    // The rest of the commit in which the portion ended.
                    let commit = last.commit;
                    blocks.extend(reader.read(commit, usize::MAX)?);
                }
                let inputs = blocks.iter().map(|block| log_input(block, &self.columns)).collect::<Result<Vec<_>>>()?;
                let ended = inputs.last().is_some_and(|input| input.after == Watermark::INFINITY);
                Ok(Portion { inputs, rejected: Vec::new(), drained: rows < max_rows, ended })
            }
            FeedKind::Source(source) => source.read(now_ms, max_rows),
        }
    }

    /// Where it stands.
    pub fn position(&self) -> FeedPosition {
        match &self.kind {
            FeedKind::Log(reader) => FeedPosition::Log { offset: reader.position() },
            FeedKind::Source(source) => FeedPosition::Source {
                offset: source.reader.offset().as_bytes().to_vec(),
                watermark: source.watermark.0,
                ended: source.ended,
            },
        }
    }

    /// Whether new rows announce themselves by a commit; a connector has to be asked.
    pub fn is_log(&self) -> bool {
        matches!(self.kind, FeedKind::Log(_))
    }
}

fn log_input(block: &LogBlock, columns: &[usize]) -> Result<Input> {
    let after = block.writes.last().map_or(Watermark::NONE, |write| write.watermark_after);
    Ok(Input {
        batch: block.batch.project(columns)?,
        writes: Writes::Runs(block.writes.iter().map(|write| (write.end_row, write.watermark_before)).collect()),
        after,
    })
}

impl SourceFeed {
    fn open(scan: &SourceScan, source: &Arc<dyn Source>, from: Option<&FeedPosition>) -> Result<SourceFeed> {
        let (offset, watermark, ended) = match from {
            None => (SourceOffset::default(), Watermark::NONE, false),
            Some(FeedPosition::Source { offset, watermark, ended }) => {
                (SourceOffset::from_bytes(offset.clone()), Watermark(*watermark), *ended)
            }
            Some(FeedPosition::Log { .. }) => return Err(Error::internal("a connector at a log's position")),
        };
        let mut columns = scan.columns.clone();
        let wanted = columns.len();
        let time = match watermark_of(&scan.relation) {
            None => None,
            Some((column, delay)) => {
                let at = columns.iter().position(|known| *known == column).unwrap_or_else(|| {
                    columns.push(column);
                    columns.len() - 1
                });
                Some((at, delay))
            }
        };
        Ok(SourceFeed { reader: source.reader(offset, Some(&columns))?, time, wanted, watermark, ended })
    }

    fn read(&mut self, now_ms: i64, max_rows: usize) -> Result<Portion> {
        let mut portion = Portion { ended: self.ended, drained: true, ..Portion::default() };
        if self.ended {
            return Ok(portion);
        }
        let mut left = max_rows;
        loop {
            let read = self.reader.read(now_ms, left.min(limits::BATCH_ROWS * 8))?;
            let rows = read.batch.num_rows();
            let taken = rows + read.rejected.len();
            portion.rejected.extend(read.rejected);
            self.ended = read.ended;
            if rows > 0 || self.ended {
                portion.inputs.push(self.input(&read.batch)?);
            }
            left = left.saturating_sub(taken);
            portion.drained = taken == 0 || self.ended;
            portion.ended = self.ended;
            if portion.drained || left == 0 {
                return Ok(portion);
            }
        }
    }

    fn input(&mut self, batch: &datafusion::arrow::array::RecordBatch) -> Result<Input> {
        let before = self.watermark;
        let (times, delay) = match self.time {
            None => (Int64Array::new_null(batch.num_rows()), 0),
            Some((column, delay)) => {
                let times = ticks(batch, column)?;
                if let Some(greatest) = max(&times) {
                    self.watermark = self.watermark.after(EventTime(greatest), delay);
                }
                (times, delay)
            }
        };
        if self.ended {
            // All of a bounded input has been seen: its last windows close.
            self.watermark = Watermark::INFINITY;
        }
        debug_assert_eq!(times.len(), batch.num_rows());
        Ok(Input {
            batch: batch.project(&(0..self.wanted).collect::<Vec<_>>())?,
            writes: Writes::Each { before, delay, times },
            after: self.watermark,
        })
    }
}

/// The time column and delay of a stream.
pub fn watermark_of(relation: &Relation) -> Option<(usize, i64)> {
    match &relation.kind {
        Kind::Stream(stream) => stream.watermark.as_ref().map(|watermark| (watermark.column, watermark.delay)),
        _ => None,
    }
}
