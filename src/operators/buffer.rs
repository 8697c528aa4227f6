//! The rows of windows themselves: `SELECT * FROM TUMBLE(…) EMIT ON WINDOW CLOSE`.
//!
//! Each row is kept once, in its slice, with the number of its arrival; a window gives out the rows
//! of its slices in order of arrival, and a slice is dropped with the last window that holds it.
//! Small batches of a slice are joined as they come, so that many small writes cost no more than
//! few large ones, and a row is copied a number of times that grows with the logarithm of a batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::compute::{concat_batches, interleave_record_batch, take_record_batch};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::operator::{Operator, PassedOn, kept, rows_that_stay, size_of_tables};
use super::split::{split, ticks, time_column, timed, times};
use super::{Closing, Delta, Partial, Windowing, time_type, time_unit};
use crate::error::{Error, Result};
use crate::limits::BATCH_ROWS;
use crate::memory::rows::batch_bytes;
use crate::state::{PieceCursor, StateTable, in_parts, partial};
use crate::time::{EventTime, Slice, SliceSpec, WINDOW_COLUMNS, Watermark, Window};

/// Rows of one slice in order of arrival; the first column is the number of arrival, the rest the
/// input's.
#[derive(Default)]
struct Kept {
    batches: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Kept {
    /// Adds rows that came after all others. Of a batch that shares its memory with others that go
    /// away sooner only the rows are kept.
    fn push(&mut self, schema: &SchemaRef, rows: RecordBatch) -> Result<()> {
        let own: usize = batch_bytes(&rows);
        let rows = if own * 2 < rows.get_array_memory_size() {
            let all = UInt32Array::from_iter_values(0..rows.num_rows() as u32);
            take_record_batch(&rows, &all)?
        } else {
            rows
        };
        self.rows += rows.num_rows();
        self.bytes += rows.get_array_memory_size();
        self.batches.push(rows);
        self.join(schema)
    }

    /// Joins the last batches while the last is at least half as large as the one before.
    fn join(&mut self, schema: &SchemaRef) -> Result<()> {
        let Some(mut first) = self.batches.len().checked_sub(1) else { return Ok(()) };
        let mut rows = self.batches[first].num_rows();
        while first > 0 {
            let before = self.batches[first - 1].num_rows();
            if rows * 2 < before || rows + before > BATCH_ROWS {
                break;
            }
            (first, rows) = (first - 1, rows + before);
        }
        if first + 1 == self.batches.len() {
            return Ok(());
        }
        let joined = concat_batches(schema, &self.batches[first..])?;
        let old: usize =
            self.batches.drain(first..).map(|batch| batch.get_array_memory_size()).sum();
        self.bytes = self.bytes + joined.get_array_memory_size() - old;
        self.batches.push(joined);
        Ok(())
    }

    /// The rows that arrived with this number or later.
    fn since(&self, arrival: u64) -> impl Iterator<Item = RecordBatch> + '_ {
        self.batches.iter().filter_map(move |batch| {
            let arrivals = batch.column(0).as_primitive::<Int64Type>().values();
            let known = arrivals.partition_point(|number| (*number as u64) < arrival);
            (known < arrivals.len()).then(|| batch.slice(known, arrivals.len() - known))
        })
    }
}

/// Keeps rows until their windows close.
pub struct WindowBuffer {
    windowing: Windowing,
    output: SchemaRef,
    kept: SchemaRef,
    time_type: DataType,
    slices: SliceSpec,
    open: BTreeMap<Slice, Kept>,
    passed: Watermark,
    /// The last window given out, while others that the same watermark closes are still to come.
    emitted: Option<Window>,
    arrivals: i64,
    rejected: u64,
    /// Rows that a checkpoint does not have, once there are checkpoints.
    unwritten: Vec<RecordBatch>,
    track: bool,
    /// What has been read back and is not in its slices yet.
    restoring: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl WindowBuffer {
    /// An empty buffer for input of these columns.
    pub fn new(input: SchemaRef, windowing: Windowing) -> Result<Self> {
        let time_type = time_type(&input, windowing.time)?;
        let mut fields: Vec<FieldRef> = input.fields().iter().cloned().collect();
        let mut kept: Vec<FieldRef> = vec![Arc::new(Field::new("arrival", DataType::Int64, false))];
        kept.extend(fields.iter().cloned());
        for name in &WINDOW_COLUMNS[..2] {
            fields.push(Arc::new(Field::new(*name, time_type.clone(), false)));
        }
        Ok(WindowBuffer {
            slices: SliceSpec::of(&windowing.spec),
            windowing,
            output: Arc::new(Schema::new(fields)),
            kept: Arc::new(Schema::new(kept)),
            time_type,
            open: BTreeMap::new(),
            passed: Watermark::NONE,
            emitted: None,
            arrivals: 0,
            rejected: 0,
            unwritten: Vec::new(),
            track: false,
            restoring: Vec::new(),
            rows: 0,
            bytes: 0,
        })
    }

    /// The columns of the output: the input's, then `window_start`, `window_end`.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    /// Keeps rows. Those without a time, and those whose windows have all closed, are not kept.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let (batch, rejected) = timed(batch, self.windowing.time)?;
        self.rejected += rejected;
        let first = self.arrivals;
        self.arrivals += batch.num_rows() as i64;
        let mut columns: Vec<ArrayRef> =
            vec![Arc::new(Int64Array::from_iter_values(first..self.arrivals))];
        columns.extend(batch.columns().iter().cloned());
        self.keep(&RecordBatch::try_new(Arc::clone(&self.kept), columns)?)
    }

    /// Keeps numbered rows in their slices.
    fn keep(&mut self, batch: &RecordBatch) -> Result<()> {
        let data = times(batch.column(self.windowing.time + 1))?;
        for (slice, rows) in split(ticks(&data), &self.slices) {
            if !self.is_open(&slice) {
                continue;
            }
            let rows = RecordBatch::try_new(Arc::clone(&self.kept), rows.of(batch.columns())?)?;
            if self.track {
                self.unwritten.push(rows.clone());
            }
            let kept = self.open.entry(slice).or_default();
            let before = (kept.rows, kept.bytes);
            kept.push(&self.kept, rows)?;
            self.rows = self.rows + kept.rows - before.0;
            self.bytes = self.bytes + kept.bytes - before.1;
        }
        Ok(())
    }

    fn drop_slice(&mut self, slice: &Slice) {
        if let Some(kept) = self.open.remove(slice) {
            self.rows -= kept.rows;
            self.bytes -= kept.bytes;
        }
    }

    fn is_open(&self, slice: &Slice) -> bool {
        self.windowing.spec.last_window(slice.start).is_some_and(|w| !self.passed.closes(w.end))
    }

    /// The watermark has come to here: the rows of each window it has passed, windows in order of
    /// their end, rows in order of arrival; a portion a call.
    pub fn close(&mut self, watermark: Watermark, out: &mut Vec<Delta>) -> Result<Closing> {
        let passed = watermark.less(self.windowing.lateness).max(self.passed);
        let mut count = 0;
        while let Some(oldest) = self.open.keys().next().copied() {
            let last = self.emitted;
            let new = |w: &Window| !self.passed.closes(w.end) && last.is_none_or(|last| *w > last);
            // The oldest slice may have no window left while younger ones have: then it goes.
            let Some(window) = self.windowing.spec.windows(oldest.start).find(new) else {
                self.drop_slice(&oldest);
                continue;
            };
            if !passed.closes(window.end) {
                break;
            }
            if count >= BATCH_ROWS {
                return Ok(Closing::More);
            }
            count += self.emit(&window, out)?;
            self.emitted = Some(window);
        }
        self.passed = passed;
        self.emitted = None;
        let spec = self.windowing.spec;
        let is_passed =
            |slice: &Slice| spec.last_window(slice.start).is_none_or(|w| passed.closes(w.end));
        // The last window of a slice ends no sooner than that of an older one.
        while let Some(oldest) = self.open.keys().next().copied().filter(is_passed) {
            self.drop_slice(&oldest);
        }
        Ok(Closing::Done)
    }

    /// How many rows the window has.
    fn emit(&self, window: &Window, out: &mut Vec<Delta>) -> Result<usize> {
        let from = Slice { start: window.start, end: EventTime(i64::MIN) };
        let inside = self.open.range(from..).take_while(|(slice, _)| slice.end <= window.end);
        let batches: Vec<&RecordBatch> = inside.flat_map(|(_, kept)| &kept.batches).collect();
        let all = concat_batches(&self.kept, batches)?;
        let arrivals = all.column(0).as_primitive::<Int64Type>().values();
        let mut order: Vec<u32> = (0..all.num_rows() as u32).collect();
        order.sort_unstable_by_key(|&i| arrivals[i as usize]);
        for order in order.chunks(BATCH_ROWS) {
            let rows = take_record_batch(&all, &UInt32Array::from(order.to_vec()))?;
            let mut columns = rows.columns()[1..].to_vec();
            columns.push(time_column(vec![window.start.0; order.len()], &self.time_type)?);
            columns.push(time_column(vec![window.end.0; order.len()], &self.time_type)?);
            out.push(Delta::insert(RecordBatch::try_new(Arc::clone(&self.output), columns)?));
        }
        Ok(all.num_rows())
    }

    /// All rows that are kept.
    pub fn whole(&self) -> Result<Partial> {
        self.written(self.open.values().flat_map(|kept| &kept.batches))
    }

    fn written<'a>(&self, batches: impl IntoIterator<Item = &'a RecordBatch>) -> Result<Partial> {
        partial(concat_batches(&self.kept, batches)?.columns().to_vec())
    }

    /// An empty buffer that has come to this watermark.
    pub fn at(input: SchemaRef, windowing: Windowing, watermark: Watermark) -> Result<Self> {
        let mut buffer = WindowBuffer::new(input, windowing)?;
        buffer.passed = watermark.less(buffer.windowing.lateness);
        Ok(buffer)
    }
}

impl Operator for WindowBuffer {
    fn push(&mut self, _: usize, delta: &Delta) -> Result<PassedOn> {
        self.push(rows_that_stay(delta)?)?;
        Ok(kept())
    }

    fn close(&mut self, watermark: Watermark, out: &mut Vec<Delta>) -> Result<Closing> {
        self.close(watermark, out)
    }

    fn closes_next(&self) -> Option<Watermark> {
        let oldest = self.open.keys().next()?;
        let mut windows = self.windowing.spec.windows(oldest.start);
        self.windowing.closing(windows.find(|window| !self.passed.closes(window.end))?.end)
    }

    fn frontier(&self, watermark: Watermark) -> Watermark {
        self.windowing.frontier(time_unit(&self.time_type), watermark)
    }

    fn rejected(&self) -> u64 {
        self.rejected
    }

    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        vec![self]
    }

    fn state_size(&self) -> (usize, usize) {
        size_of_tables([self as &dyn StateTable])
    }
}

impl StateTable for WindowBuffer {
    fn name(&self) -> &'static str {
        "rows of windows"
    }

    fn take_changed(&mut self) -> Result<Vec<Partial>> {
        if !std::mem::replace(&mut self.track, true) {
            return Ok(in_parts(&self.whole()?));
        }
        let new = std::mem::take(&mut self.unwritten);
        if new.is_empty() { Ok(Vec::new()) } else { Ok(in_parts(&self.written(&new)?)) }
    }

    fn piece(&mut self, cursor: &mut PieceCursor, wanted: usize) -> Result<Option<Partial>> {
        let (mut parts, mut count) = (Vec::new(), 0);
        let (start, end) = cursor.span.unwrap_or((i64::MIN, i64::MIN));
        let from = Slice { start: EventTime(start), end: EventTime(end) };
        for (slice, kept) in self.open.range(from..) {
            if *slice != from {
                *cursor = PieceCursor::of(Some((slice.start.0, slice.end.0)));
            }
            for rows in kept.since(cursor.next) {
                let rows = rows.slice(0, rows.num_rows().min(wanted - count));
                let arrivals = rows.column(0).as_primitive::<Int64Type>().values();
                cursor.next = arrivals.last().map_or(cursor.next, |last| *last as u64 + 1);
                count += rows.num_rows();
                parts.push(rows);
                if count == wanted {
                    return self.written(&parts).map(Some);
                }
            }
        }
        if parts.is_empty() { Ok(None) } else { self.written(&parts).map(Some) }
    }

    fn restore_rows(&mut self, rows: &Partial) -> Result<()> {
        let rows = RecordBatch::try_new(Arc::clone(&self.kept), rows.columns().to_vec())?;
        if rows.column(0).as_primitive_opt::<Int64Type>().is_none() {
            return Err(Error::internal("a partial of a window buffer without arrivals"));
        }
        self.restoring.push(rows);
        Ok(())
    }

    /// Every row once, in order of arrival.
    fn restored(&mut self) -> Result<()> {
        let parts = std::mem::take(&mut self.restoring);
        let mut places: Vec<(i64, usize, usize)> = Vec::new();
        for (part, rows) in parts.iter().enumerate() {
            let arrivals = rows.column(0).as_primitive::<Int64Type>().values();
            places.extend(arrivals.iter().enumerate().map(|(row, arrival)| (*arrival, part, row)));
        }
        places.sort_unstable();
        places.dedup_by_key(|place| place.0);
        self.arrivals = places.last().map_or(0, |place| place.0 + 1);
        let parts: Vec<&RecordBatch> = parts.iter().collect();
        self.track = false;
        for places in places.chunks(BATCH_ROWS) {
            let places: Vec<(usize, usize)> =
                places.iter().map(|place| (place.1, place.2)).collect();
            self.keep(&interleave_record_batch(&parts, &places)?)?;
        }
        self.track = true;
        Ok(())
    }

    fn size(&self) -> usize {
        self.bytes
    }

    fn rows(&self) -> usize {
        self.rows
    }

    #[cfg(test)]
    fn walked(&self) -> (usize, usize) {
        let batches = || self.open.values().flat_map(|kept| &kept.batches);
        (
            batches().map(RecordBatch::get_array_memory_size).sum(),
            batches().map(RecordBatch::num_rows).sum(),
        )
    }
}
