//! How many rows a view takes in at a time: so many that a portion takes about
//! [`limits::PORTION_MS`].
//!
//! Between two portions a view can be stopped, and one that takes its history in parts makes what
//! it has come to visible. A query that takes a millisecond for a row must be able to stop as soon
//! as one that takes a million rows in a second.

use crate::limits;

/// The rows of a view's next portion.
#[derive(Debug, Clone, Copy)]
pub(super) struct PortionSize {
    rows: usize,
}

impl Default for PortionSize {
    fn default() -> Self {
        PortionSize { rows: limits::LEAST_PORTION_ROWS }
    }
}

impl PortionSize {
    /// How many rows to read, and no more than `most`.
    pub fn rows(self, most: usize) -> usize {
        self.rows.min(most)
    }

    /// A portion of so many rows took so long, milliseconds.
    pub fn took(&mut self, rows: usize, ms: i64) {
        if rows == 0 {
            return;
        }
        let ms = usize::try_from(ms).unwrap_or(0).max(1);
        let fitting = rows.saturating_mul(limits::PORTION_MS) / ms;
        // It begins small, grows by steps, since one portion may have been lucky, and shrinks at
        // once.
        let grown = self.rows.saturating_mul(4);
        self.rows = fitting.min(grown).clamp(limits::LEAST_PORTION_ROWS, limits::EPOCH_ROWS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_query_takes_few_rows_and_a_fast_one_many() {
        let mut size = PortionSize::default();
        assert_eq!(size.rows(usize::MAX), limits::LEAST_PORTION_ROWS);
        size.took(64, 64);
        assert_eq!(size.rows(usize::MAX), limits::LEAST_PORTION_ROWS);
        for _ in 0..20 {
            let rows = size.rows(usize::MAX);
            size.took(rows, (rows / 100_000) as i64);
        }
        assert_eq!(size.rows(usize::MAX), limits::EPOCH_ROWS);
        assert_eq!(size.rows(1_000), 1_000);
        size.took(0, 5);
        assert_eq!(size.rows(usize::MAX), limits::EPOCH_ROWS);
    }
}
