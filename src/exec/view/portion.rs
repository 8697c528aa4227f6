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
    least: usize,
}

impl PortionSize {
    /// Of a query in which a row belongs to so many windows, each of which it may change: a portion
    /// that is under way is not stopped.
    pub fn of(windows_per_row: i64) -> PortionSize {
        let windows = usize::try_from(windows_per_row).unwrap_or(1).max(1);
        let least = (limits::PORTION_WINDOWS / windows).clamp(1, limits::LEAST_PORTION_ROWS);
        PortionSize { rows: least, least }
    }

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
        self.rows = fitting.min(grown).clamp(self.least, limits::EPOCH_ROWS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_query_takes_few_rows_and_a_fast_one_many() {
        let mut size = PortionSize::of(1);
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
        assert_eq!(PortionSize::of(90_000).rows(usize::MAX), 1);
    }
}
