//! The rows of windows themselves: `SELECT * FROM TUMBLE(…) EMIT ON WINDOW CLOSE`.
//!
//! Each row is kept once, in its slice, with the number of its arrival; a window gives out the rows of its slices in
//! order of arrival, and a slice is dropped with the last window that holds it.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array};
use datafusion::arrow::compute::{concat_batches, take_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema, SchemaRef};
use datafusion::arrow::record_batch::RecordBatch;

use super::split::{split, ticks, time_column, timed, times};
use super::{Closing, Delta, Partial, Windowing, time_type};
use crate::error::{Error, Result};
use crate::limits::BATCH_ROWS;
use crate::state::partial;
use crate::time::{EventTime, Slice, SliceSpec, WINDOW_COLUMNS, Watermark, Window};

/// Rows of one slice; the first column is the number of arrival, the rest the input's.
#[derive(Default)]
struct Kept {
    batches: Vec<RecordBatch>,
    /// How many of the batches a checkpoint has.
    written: usize,
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
        })
    }

    /// The columns of the output: the input's, then `window_start`, `window_end`.
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    /// How many rows had no event time.
    pub fn rejected(&self) -> u64 {
        self.rejected
    }

    /// Keeps rows. Those without a time, and those whose windows have all closed, are not kept.
    pub fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        let (batch, rejected) = timed(batch, self.windowing.time)?;
        self.rejected += rejected;
        let first = self.arrivals;
        self.arrivals += batch.num_rows() as i64;
        let mut columns: Vec<ArrayRef> = vec![Arc::new(Int64Array::from_iter_values(first..self.arrivals))];
        columns.extend(batch.columns().iter().cloned());
        let data = times(batch.column(self.windowing.time))?;
        for (slice, rows) in split(ticks(&data), &self.slices) {
            if self.is_open(&slice) {
                let rows = RecordBatch::try_new(Arc::clone(&self.kept), rows.of(&columns)?)?;
                self.open.entry(slice).or_default().batches.push(rows);
            }
        }
        Ok(())
    }

    fn is_open(&self, slice: &Slice) -> bool {
        self.windowing.spec.last_window(slice.start).is_some_and(|w| !self.passed.closes(w.end))
    }

    /// The watermark has come to here: the rows of each window it has passed, windows in order of their end, rows
    /// in order of arrival; a portion a call.
    pub fn close(&mut self, watermark: Watermark, out: &mut Vec<Delta>) -> Result<Closing> {
        let passed = watermark.less(self.windowing.lateness).max(self.passed);
        let mut count = 0;
        while let Some(oldest) = self.open.keys().next() {
            let last = self.emitted;
            let new = |w: &Window| !self.passed.closes(w.end) && last.is_none_or(|last| *w > last);
            // The oldest slice may have no window left while younger ones have: then it goes.
            let Some(window) = self.windowing.spec.windows(oldest.start).find(new) else {
                self.open.pop_first();
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
        self.open.retain(|slice, _| spec.last_window(slice.start).is_some_and(|w| !passed.closes(w.end)));
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

    /// The rows that came since the last call; `None` if there are none.
    pub fn dirty(&mut self) -> Result<Option<Partial>> {
        let new: Vec<RecordBatch> =
            self.open.values().flat_map(|kept| kept.batches[kept.written..].iter().cloned()).collect();
        self.open.values_mut().for_each(|kept| kept.written = kept.batches.len());
        if new.is_empty() { Ok(None) } else { Ok(Some(self.written(&new)?)) }
    }

    /// All rows that are kept.
    pub fn whole(&mut self) -> Result<Partial> {
        let all: Vec<RecordBatch> =
            self.open.values().flat_map(|kept| kept.batches.iter().cloned()).collect();
        self.written(&all)
    }

    fn written(&self, batches: &[RecordBatch]) -> Result<Partial> {
        partial(concat_batches(&self.kept, batches)?.columns().to_vec())
    }

    /// The buffer as it was when the last of these partials was taken, at this watermark. Partials may repeat rows.
    pub fn restore(
        input: SchemaRef,
        windowing: Windowing,
        watermark: Watermark,
        partials: impl IntoIterator<Item = Partial>,
    ) -> Result<Self> {
        let mut buffer = WindowBuffer::new(input, windowing)?;
        buffer.passed = watermark.less(buffer.windowing.lateness);
        for partial in partials {
            buffer.load(&partial)?;
        }
        buffer.open.values_mut().for_each(|kept| kept.written = kept.batches.len());
        Ok(buffer)
    }

    fn load(&mut self, partial: &Partial) -> Result<()> {
        let rows = RecordBatch::try_new(Arc::clone(&self.kept), partial.columns().to_vec())?;
        let Some(arrivals) = rows.column(0).as_primitive_opt::<Int64Type>().cloned() else {
            return Err(Error::internal("a partial of a window buffer without arrivals"));
        };
        // Rows that an earlier partial held already come before what is known.
        let known = self.arrivals;
        let new: Vec<u32> =
            (0..rows.num_rows() as u32).filter(|&i| arrivals.value(i as usize) >= known).collect();
        let rows = take_record_batch(&rows, &UInt32Array::from(new))?;
        self.arrivals = arrivals.values().iter().map(|a| a + 1).max().unwrap_or(0).max(known);
        let data = times(rows.column(self.windowing.time + 1))?;
        for (slice, part) in split(ticks(&data), &self.slices) {
            if self.is_open(&slice) {
                let part = RecordBatch::try_new(Arc::clone(&self.kept), part.of(rows.columns())?)?;
                self.open.entry(slice).or_default().batches.push(part);
            }
        }
        Ok(())
    }

    /// Takes in the rows of another lane, as if they had come now, in their order.
    pub fn merge_partial(&mut self, partial: &Partial) -> Result<()> {
        let sorted = datafusion::arrow::compute::sort_to_indices(partial.column(0), None, None)?;
        let rows = take_record_batch(partial, &sorted)?;
        let input = Schema::new(self.kept.fields()[1..].to_vec());
        self.push(&RecordBatch::try_new(Arc::new(input), rows.columns()[1..].to_vec())?)
    }

    /// Bytes of the rows kept; of buffers that are shared with others only the part that is theirs.
    pub fn state_bytes(&self) -> usize {
        let columns = self.open.values().flat_map(|kept| &kept.batches).flat_map(|b| b.columns());
        columns.map(|c| c.to_data().get_slice_memory_size().unwrap_or(0)).sum()
    }

    /// How many rows are kept.
    pub fn state_rows(&self) -> usize {
        self.open.values().flat_map(|kept| &kept.batches).map(|b| b.num_rows()).sum()
    }
}
