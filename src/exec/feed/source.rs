//! Follows a connector for one pipeline: by itself, or with the views that stand at the same place.
//!
//! Each record is a write of its own, and the watermark is computed here, from the records alone.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch};
use arrow::compute::max;

use super::super::position::{FeedBatch, FeedPosition, SourceProgress, watermark_of};
use super::shared::{Most, SharedReads, SourcePortion, Wish, read_portion};
use crate::catalog::RelationId;
use crate::connect::{Rejected, Source, SourceOffset, SourceReader};
use crate::error::{Error, Result};
use crate::limits;
use crate::operators::lateness::{Input, Writes, ticks};
use crate::plan::SourceScan;
use crate::time::{EventTime, Watermark};

/// A place in a connector's stream, and what it takes to read on from there.
pub struct SourceFeed {
    stream: RelationId,
    source: Arc<dyn Source>,
    /// Columns that the pipeline wants, and the time column if it is not among them.
    columns: Vec<usize>,
    /// How many of `columns` the pipeline wants.
    wanted: usize,
    /// The time column's place in `columns`, and the delay.
    time: Option<(usize, i64)>,
    offset: SourceOffset,
    /// Stands at `offset`; None while others read for us.
    reader: Option<Box<dyn SourceReader>>,
    watermark: Watermark,
    last_event: Option<i64>,
    ended: bool,
    /// Kept aside while passing over what was there; told with the next batch.
    passed: VecDeque<Rejected>,
}

impl SourceFeed {
    /// Opens a connector at a position; None: at its beginning.
    pub fn open(
        scan: &SourceScan,
        source: &Arc<dyn Source>,
        from: Option<&FeedPosition>,
    ) -> Result<SourceFeed> {
        let (offset, watermark, ended, last_event) = match from {
            None => (SourceOffset::default(), Watermark::NONE, false, None),
            Some(FeedPosition::Source { offset, watermark, ended, last_event }) => (
                SourceOffset::from_bytes(offset.clone()),
                Watermark(*watermark),
                *ended,
                *last_event,
            ),
            Some(
                FeedPosition::Log { .. } | FeedPosition::View { .. } | FeedPosition::Table { .. },
            ) => {
                return Err(Error::internal("a connector at another source's position"));
            }
        };
        let mut columns = scan.columns.clone();
        let wanted = columns.len();
        let time = watermark_of(&scan.relation).map(|(column, delay)| {
            let at = columns.iter().position(|known| *known == column).unwrap_or_else(|| {
                columns.push(column);
                columns.len() - 1
            });
            (at, delay)
        });
        let reader = Some(source.reader(offset.clone(), Some(&columns))?);
        let (stream, source) = (scan.relation.id, Arc::clone(source));
        Ok(SourceFeed {
            stream,
            source,
            columns,
            wanted,
            time,
            offset,
            reader,
            watermark,
            last_event,
            ended,
            passed: VecDeque::new(),
        })
    }

    /// Passes over what is there already. It counts for the watermark, and what is wrong with it is
    /// told: others may begin earlier, but what has been rejected of a stream is known once for
    /// all.
    pub fn skip_to_latest(&mut self, now_ms: i64) -> Result<()> {
        let mut drained = self.ended;
        while !drained {
            let read = self.read(now_ms, limits::EPOCH_ROWS, None)?;
            drained = read.drained;
            self.passed.extend(read.rejected);
            let surplus = self.passed.len().saturating_sub(limits::KEPT_ROWS);
            self.passed.drain(..surplus);
        }
        Ok(())
    }

    /// What is there, at most `max_rows`.
    pub fn read(
        &mut self,
        now_ms: i64,
        max_rows: usize,
        shared: Option<&mut SharedReads>,
    ) -> Result<FeedBatch> {
        let mut rejected: Vec<Rejected> = self.passed.drain(..).collect();
        if self.ended {
            return Ok(FeedBatch { rejected, ended: true, drained: true, ..FeedBatch::default() });
        }
        let together = match shared {
            Some(shared) => {
                shared.take(self.stream, &*self.source, &self.offset, now_ms, max_rows)?
            }
            None => None,
        };
        let portion = match together {
            Some(portion) => {
                self.reader = None;
                portion
            }
            None => Arc::new(self.read_alone(now_ms, max_rows)?),
        };
        self.ended = portion.ended;
        self.offset = portion.offset.clone();
        let places = self.places(&portion)?;
        let last = portion.batches.len().saturating_sub(1);
        let inputs = portion.batches.iter().enumerate();
        let inputs = inputs
            .map(|(at, batch)| self.input(&batch.project(&places)?, portion.ended && at == last))
            .collect::<Result<Vec<_>>>()?;
        rejected.extend(portion.rejected.iter().cloned());
        Ok(FeedBatch {
            inputs,
            rejected,
            drained: portion.drained,
            is_cut: false,
            ended: portion.ended,
        })
    }

    fn read_alone(&mut self, now_ms: i64, max_rows: usize) -> Result<SourcePortion> {
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.source.reader(self.offset.clone(), Some(&self.columns))?,
        };
        let most = Most { rows: max_rows, bytes: limits::SHARED_DECODE_BYTES };
        let portion = read_portion(&mut *reader, &self.columns, now_ms, most)?;
        self.reader = Some(reader);
        Ok(portion)
    }

    /// Where our columns are among the portion's.
    fn places(&self, portion: &SourcePortion) -> Result<Vec<usize>> {
        let place = |column: &usize| portion.columns.iter().position(|known| known == column);
        let places = self.columns.iter().map(place).collect::<Option<Vec<_>>>();
        places.ok_or_else(|| Error::internal("a column is missing from what was read together"))
    }

    fn input(&mut self, batch: &RecordBatch, is_end: bool) -> Result<Input> {
        let before = self.watermark;
        let (times, delay) = match self.time {
            None => (Int64Array::new_null(batch.num_rows()), 0),
            Some((column, delay)) => {
                let times = ticks(batch, column)?;
                if let Some(greatest) = max(&times) {
                    self.watermark = self.watermark.after(EventTime(greatest), delay);
                    self.last_event = self.last_event.max(Some(greatest));
                }
                (times, delay)
            }
        };
        if is_end {
            // All of a bounded input has been seen: its last windows close.
            self.watermark = Watermark::INFINITY;
        }
        Ok(Input {
            batch: batch.project(&(0..self.wanted).collect::<Vec<_>>())?,
            writes: Writes::Each { before, delay, times },
            after: self.watermark,
            weights: None,
        })
    }

    /// Where it stands, to be stored.
    pub fn position(&self) -> FeedPosition {
        FeedPosition::Source {
            offset: self.offset.as_bytes().to_vec(),
            watermark: self.watermark.0,
            ended: self.ended,
            last_event: self.last_event,
        }
    }

    /// How far it has come.
    pub fn progress(&self) -> SourceProgress {
        SourceProgress {
            records: self.source.records(&self.offset),
            watermark: self.watermark,
            last_event: self.last_event,
            ended: self.ended,
        }
    }

    /// What it would read next; None: nothing ever.
    pub fn wish(&self) -> Option<Wish> {
        (!self.ended).then(|| Wish {
            stream: self.stream,
            source: Arc::clone(&self.source),
            offset: self.offset.clone(),
            columns: self.columns.clone(),
        })
    }
}
