//! Bounds for the functions that make arrays.
//!
//! What an array will take is not known to the byte before it is made; what is counted is not many
//! bytes less.

use arrow::array::{Array, ArrayRef, AsArray, ListArray};
use arrow::datatypes::DataType;
use datafusion::functions_nested::{repeat, resize};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF};

use super::flat::size_of_one;
use super::scalar::integers;
use super::text::{Budget, at, bounded, columns};
use crate::error::Result;

/// The fewest bytes that an element is counted for.
const ELEMENT: usize = 8;

pub(super) fn all() -> Vec<ScalarUDF> {
    vec![
        bounded(repeat::array_repeat_udf(), repeated),
        bounded(resize::array_resize_udf(), resized),
    ]
}

fn count(counts: &arrow::array::Int64Array, row: usize) -> usize {
    if counts.is_valid(row) { usize::try_from(counts.value(row)).unwrap_or(0) } else { 0 }
}

fn list(array: &ArrayRef) -> Option<&ListArray> {
    array.as_list_opt::<i32>()
}

/// `array_repeat(value, n)`.
fn repeated(args: &[ColumnarValue], rows: usize) -> Result<()> {
    let arrays = columns(args)?;
    let [values, counts] = arrays.as_slice() else { return Ok(()) };
    let counts = integers(counts)?;
    let size = size_of_one(values);
    let mut budget = Budget::default();
    for row in 0..rows {
        budget.add(size.saturating_mul(count(&counts, at(&counts, row))))?;
    }
    Ok(())
}

/// `array_resize(array, n [, value])`.
fn resized(args: &[ColumnarValue], rows: usize) -> Result<()> {
    let arrays = columns(args)?;
    let [array, counts, ..] = arrays.as_slice() else { return Ok(()) };
    let counts = integers(counts)?;
    let element = list(array).map_or(ELEMENT, |list| size_of_one(list.values()));
    let value = match arrays.get(2) {
        Some(value) if *value.data_type() != DataType::Null => size_of_one(value),
        _ => ELEMENT,
    };
    let mut budget = Budget::default();
    for row in 0..rows {
        budget.add(element.max(value).saturating_mul(count(&counts, at(&counts, row))))?;
    }
    Ok(())
}
