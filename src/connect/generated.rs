//! What the sources whose rows are made have in common: row `n` is a function of `n` alone, so an offset
//! is the number of the next row; and how many there are by now follows from the clock.

use super::SourceOffset;
use crate::error::{Error, Result, SqlState};

/// Rows that arrive at a rate, from when their source was created.
#[derive(Clone, Copy)]
pub(super) struct RowArrivals {
    /// How many there will ever be.
    pub(super) all: Option<u64>,
    pub(super) per_second: u64,
    pub(super) created_at_ms: i64,
}

impl RowArrivals {
    /// How many have arrived by then, and whether these are all.
    pub(super) fn until(&self, now_ms: i64) -> (u64, bool) {
        let elapsed = now_ms.saturating_sub(self.created_at_ms).max(0) as u128;
        let arrived = elapsed * u128::from(self.per_second) / 1_000;
        let arrived = u64::try_from(arrived).unwrap_or(u64::MAX);
        match self.all {
            Some(all) => (arrived.min(all), arrived >= all),
            None => (arrived, false),
        }
    }
}

/// The number of the next row; an offset that nothing gave counts as the start.
pub(super) fn row(offset: &SourceOffset) -> u64 {
    // The start is empty.
    offset.to_string().parse().unwrap_or(0)
}

/// The row where a reader of this connector begins.
pub(super) fn first_row(connector: &str, offset: &SourceOffset) -> Result<u64> {
    if offset.is_start() {
        return Ok(0);
    }
    offset.to_string().parse().map_err(|_| {
        let what = format!("'{offset}' is no offset of a {connector} source");
        Error::new(SqlState::Corrupted, what)
    })
}

/// That of a row.
pub(super) fn offset(row: u64) -> SourceOffset {
    SourceOffset::from_bytes(row.to_string().into_bytes())
}

/// All rows of a source, by a new reader for each step: what it gives depends on the offset alone.
#[cfg(test)]
pub(super) fn read_all(
    source: &dyn super::Source,
    columns: Option<&[usize]>,
    step: usize,
) -> arrow::record_batch::RecordBatch {
    let (mut offset, mut batches) = (SourceOffset::default(), Vec::new());
    loop {
        let mut reader = source.reader(offset, columns).unwrap();
        let got = reader.read(i64::MAX, step).unwrap();
        offset = reader.offset();
        batches.push(got.batch);
        if got.ended {
            let schema = batches[0].schema();
            return arrow::compute::concat_batches(&schema, &batches).unwrap();
        }
    }
}
