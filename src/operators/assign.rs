//! The windows of each row, at once: for queries over finite input, and for those whose rows do not
//! wait for their windows to close.
//!
//! The output repeats each row once per window that holds it, in order of input and then of window
//! ends, with `window_start`, `window_end` and `window_time` appended. It can be many times larger
//! than the input, so it comes in batches of bounded size.

use std::sync::Arc;

use arrow::array::{Array, ArrayData, ArrayRef, UInt32Array};
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use arrow::record_batch::RecordBatch;

use super::operator::{Operator, PassedOn, rows_that_stay};
use super::split::{ticks, time_column, times};
use super::{Closing, Windowing, lateness, time_type, time_unit};
use crate::error::Result;
use crate::limits::BATCH_ROWS;
use crate::state::Delta;
use crate::time::{EventTime, WINDOW_COLUMNS, Watermark, WindowSpec, Windows};

/// How many batches' worth of rows one batch of the output may have.
const EXPANSION: usize = 4;

/// The columns that [`expand`] gives for this input.
pub fn expanded(input: &SchemaRef, time: usize) -> Result<SchemaRef> {
    let data_type = time_type(input, time)?;
    let mut fields: Vec<FieldRef> = input.fields().iter().cloned().collect();
    for name in WINDOW_COLUMNS {
        fields.push(Arc::new(Field::new(name, data_type.clone(), false)));
    }
    Ok(Arc::new(Schema::new(fields)))
}

/// The last millisecond before `end` (of a column in seconds: the last second).
pub fn window_time(end: i64, unit: TimeUnit) -> i64 {
    let step = match unit {
        TimeUnit::Second | TimeUnit::Millisecond => 1,
        TimeUnit::Microsecond => 1_000,
        TimeUnit::Nanosecond => 1_000_000,
    };
    end.saturating_sub(step)
}

/// Iterator over the expanded batches; made by [`expand`].
pub struct Expanded {
    batch: RecordBatch,
    schema: SchemaRef,
    data_type: DataType,
    times: ArrayData,
    spec: WindowSpec,
    row: usize,
    /// The windows of the row at hand that are still to come.
    windows: Option<Windows>,
    /// How many rows have no event time and so no window.
    pub rejected: u64,
}

/// The rows of `batch` once per window. Rows without an event time are in no window; they are
/// counted in [`Expanded::rejected`].
pub fn expand(batch: &RecordBatch, time: usize, spec: &WindowSpec) -> Result<Expanded> {
    let schema = expanded(&batch.schema(), time)?;
    let column = batch.column(time);
    Ok(Expanded {
        data_type: column.data_type().clone(),
        times: times(column)?,
        rejected: column.null_count() as u64,
        batch: batch.clone(),
        schema,
        spec: *spec,
        row: 0,
        windows: None,
    })
}

impl Expanded {
    fn batch(&self, rows: Vec<u32>, starts: Vec<i64>, ends: Vec<i64>) -> Result<RecordBatch> {
        let unit = time_unit(&self.data_type);
        let rows = UInt32Array::from(rows);
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.schema.fields().len());
        for column in self.batch.columns() {
            columns.push(take(column, &rows, None)?);
        }
        let last = ends.iter().map(|&end| window_time(end, unit)).collect();
        for ticks in [starts, ends, last] {
            columns.push(time_column(ticks, &self.data_type)?);
        }
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

impl Iterator for Expanded {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let limit = BATCH_ROWS * EXPANSION;
        let (mut rows, mut starts, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        let all = ticks(&self.times);
        while self.row < all.len() && rows.len() < limit {
            if self.times.is_null(self.row) {
                self.row += 1;
                continue;
            }
            let spec = self.spec;
            let windows =
                self.windows.get_or_insert_with(|| spec.windows(EventTime(all[self.row])));
            for window in windows.take(limit - rows.len()) {
                rows.push(self.row as u32);
                starts.push(window.start.0);
                ends.push(window.end.0);
            }
            if rows.len() < limit {
                self.windows = None;
                self.row += 1;
            }
        }
        if rows.is_empty() { None } else { Some(self.batch(rows, starts, ends)) }
    }
}

/// Gives each row once for each of its windows that are still open, as it comes. It keeps nothing
/// but how far windows have closed.
pub struct Assign {
    windowing: Windowing,
    passed: Watermark,
}

impl Assign {
    /// At this watermark.
    pub fn at(windowing: Windowing, watermark: Watermark) -> Assign {
        Assign { windowing, passed: watermark }
    }
}

impl Operator for Assign {
    fn push(&mut self, _: usize, delta: &Delta) -> Result<PassedOn> {
        let batch = rows_that_stay(delta)?;
        let passed = self.passed.less(self.windowing.lateness);
        let end = batch.num_columns() + 1;
        let expanded = expand(batch, self.windowing.time, &self.windowing.spec)?;
        Ok(Box::new(expanded.map(move |expanded| {
            let expanded = expanded?;
            let ends = lateness::ticks(&expanded, end)?;
            let open =
                ends.iter().map(|end| end.map(|end| !passed.closes(EventTime(end)))).collect();
            Ok(Delta::insert(filter_record_batch(&expanded, &open)?))
        })))
    }

    fn close(&mut self, watermark: Watermark, _: &mut Vec<Delta>) -> Result<Closing> {
        self.passed = watermark.max(self.passed);
        Ok(Closing::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{AsArray, Int64Array, TimestampMicrosecondArray};
    use arrow::datatypes::TimestampMicrosecondType;

    #[test]
    fn every_row_comes_once_per_window_in_batches_of_bounded_size() {
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![
            Some(-1_000_000),
            None,
            Some(7_000_000),
        ]));
        let values: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let batch = RecordBatch::try_from_iter([("ts", times), ("v", values)]).unwrap();
        let size = 100_000_000;
        let spec = WindowSpec::hop(1_000, size);
        let expanded = expand(&batch, 0, &spec).unwrap();
        assert_eq!(expanded.rejected, 1);
        let mut total = 0;
        for batch in expanded {
            let batch = batch.unwrap();
            assert!(batch.num_rows() <= BATCH_ROWS * EXPANSION);
            total += batch.num_rows();
            let [at, start, end, last] = [0, 2, 3, 4].map(|c| {
                batch.column(c).as_primitive::<TimestampMicrosecondType>().values().clone()
            });
            for i in 0..batch.num_rows() {
                assert!(start[i] <= at[i] && at[i] < end[i] && end[i] - start[i] == size);
                assert_eq!(last[i], end[i] - 1_000);
            }
        }
        assert_eq!(total, 200_000);
    }
}
