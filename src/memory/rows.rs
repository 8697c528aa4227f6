//! How many bytes rows take: of themselves, not of the buffers that they may be a slice of.

use arrow::array::{Array, ArrayRef, RecordBatch};

/// The bytes of an array's own values.
pub fn array_bytes(array: &ArrayRef) -> usize {
    array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size())
}

/// The bytes of a batch's own rows.
pub fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(array_bytes).sum()
}

/// How many rows from `start` on, at most `most`, have no more than so many bytes: found by
/// halving, so it may be fewer than would fit. 0: not even one.
pub fn fitting_rows(batch: &RecordBatch, start: usize, most: usize, bytes: usize) -> usize {
    let mut rows = most;
    while rows > 0 && batch_bytes(&batch.slice(start, rows)) > bytes {
        rows /= 2;
    }
    rows
}
