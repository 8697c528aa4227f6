//! Rows with numbers, so that what a query finds can be taken back to the rows it came from.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema};

use crate::error::Result;
use crate::limits;

/// The name of the column that numbers rows in our own queries; no column of a user's can have it.
pub(super) fn row_column() -> String {
    format!("{:-<width$}", "row", width = limits::NAME_BYTES + 1)
}

/// Rows with one more column of numbers.
pub(super) fn numbered(rows: &RecordBatch, numbers: UInt64Array) -> Result<RecordBatch> {
    let mut fields: Vec<_> = rows.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(row_column(), DataType::UInt64, false)));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(numbers));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
