//! Batches cut by event time: which rows lie in which slice.
//!
//! The common case is decided by one pass for the least and the greatest time: all rows lie in one
//! slice, and nothing is copied. Otherwise runs of rows are found by comparing with the borders of
//! the slice at hand, and only a row outside of them costs a division.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayData, ArrayRef, BooleanArray, UInt32Array, make_array};
use arrow::buffer::Buffer;
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};
use crate::time::{EventTime, Slice, SliceSpec};

/// Some rows of a batch, in their order.
pub enum Rows {
    /// All of them.
    All,
    /// `start` and `len`: taken without copying.
    Range(usize, usize),
    /// These.
    List(Vec<u32>),
}

impl Rows {
    /// How many, of a batch with `all` rows.
    pub fn len(&self, all: usize) -> usize {
        match self {
            Rows::All => all,
            Rows::Range(_, len) => *len,
            Rows::List(rows) => rows.len(),
        }
    }

    /// These rows of the columns.
    pub fn of(&self, columns: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
        match self {
            Rows::All => Ok(columns.to_vec()),
            Rows::Range(start, len) => Ok(columns.iter().map(|c| c.slice(*start, *len)).collect()),
            Rows::List(rows) => {
                let rows = UInt32Array::from(rows.clone());
                columns.iter().map(|c| Ok(take(c, &rows, None)?)).collect()
            }
        }
    }

    /// Adds the rows from `row` on to a range or list; all rows have no others.
    fn push(&mut self, row: usize, len: usize) {
        let more = row as u32..(row + len) as u32;
        match self {
            Rows::All => {}
            Rows::Range(start, so_far) if *start + *so_far == row => *so_far += len,
            Rows::Range(start, so_far) => {
                let mut rows: Vec<u32> = (*start as u32..(*start + *so_far) as u32).collect();
                rows.extend(more);
                *self = Rows::List(rows);
            }
            Rows::List(rows) => rows.extend(more),
        }
    }
}

/// The rows that have an event time, and how many had none.
pub fn timed(batch: &RecordBatch, time: usize) -> Result<(RecordBatch, u64)> {
    let column = batch
        .columns()
        .get(time)
        .ok_or_else(|| Error::internal("a batch without its time column"))?;
    match column.nulls().filter(|n| n.null_count() > 0) {
        None => Ok((batch.clone(), 0)),
        Some(nulls) => {
            let keep = BooleanArray::new(nulls.inner().clone(), None);
            Ok((filter_record_batch(batch, &keep)?, nulls.null_count() as u64))
        }
    }
}

/// The event times of a timestamp column without NULLs.
pub fn times(column: &ArrayRef) -> Result<ArrayData> {
    match column.data_type() {
        DataType::Timestamp(_, _) => Ok(column.to_data()),
        other => Err(Error::internal(format!("event time in a column of type {other}"))),
    }
}

/// The ticks of [`times`].
pub fn ticks(data: &ArrayData) -> &[i64] {
    &data.buffer::<i64>(0)[..data.len()]
}

/// A column of the time's type from ticks.
pub fn time_column(ticks: Vec<i64>, data_type: &DataType) -> Result<ArrayRef> {
    let len = ticks.len();
    let data = ArrayData::builder(data_type.clone())
        .len(len)
        .add_buffer(Buffer::from_vec(ticks))
        .build()?;
    Ok(make_array(data))
}

/// The rows of each slice.
pub fn split(ticks: &[i64], slices: &SliceSpec) -> BTreeMap<Slice, Rows> {
    let mut parts = BTreeMap::new();
    let Some(&first) = ticks.first() else { return parts };
    // Two simple passes become vector instructions, one over pairs does not.
    let least = ticks.iter().fold(first, |a, &t| a.min(t));
    let greatest = ticks.iter().fold(first, |a, &t| a.max(t));
    let slice = slices.slice(EventTime(least));
    if greatest < slice.end.0 {
        parts.insert(slice, Rows::All);
        return parts;
    }
    let mut start = 0;
    while start < ticks.len() {
        let slice = slices.slice(EventTime(ticks[start]));
        let inside = |t: &i64| slice.start.0 <= *t && *t < slice.end.0;
        // A slice that is cut off at the end of time does not hold its last tick: never stand
        // still.
        let len = ticks[start..].iter().take_while(|t| inside(t)).count().max(1);
        parts.entry(slice).or_insert(Rows::Range(start, 0)).push(start, len);
        start += len;
    }
    parts
}
