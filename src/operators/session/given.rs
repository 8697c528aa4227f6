//! The rows of sessions with their windows.

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, SchemaRef};

use super::super::assign::window_time;
use super::super::split::time_column;
use super::super::time_unit;
use super::open::OpenSession;
use crate::error::Result;
use crate::limits::BATCH_ROWS;
use crate::state::{Arrangement, Delta, Location};

/// What rows of sessions are given with.
pub(super) struct RowsInSessions<'a> {
    pub(super) rows: &'a Arrangement,
    pub(super) output: &'a SchemaRef,
    pub(super) time_type: &'a DataType,
    pub(super) width: usize,
    pub(super) gap: i64,
}

/// Rows that are taken back and rows that come, each with the session that they were or are in.
#[derive(Default)]
pub(super) struct GivenRows {
    gone: Vec<RowInSession>,
    come: Vec<RowInSession>,
}

struct RowInSession {
    number: u64,
    first: i64,
    last: i64,
}

impl GivenRows {
    pub(super) fn rows(&self) -> usize {
        self.gone.len() + self.come.len()
    }

    /// What has changed of a session that begins there since it was given.
    pub(super) fn add(&mut self, first: i64, session: &OpenSession) {
        let last = session.last;
        let at = self.come.len();
        for part in &session.given {
            if (part.first, part.last) == (first, last) {
                continue;
            }
            let row =
                |number: &u64| RowInSession { number: *number, first: part.first, last: part.last };
            self.gone.extend(part.rows.iter().map(row));
            self.come.extend(part.rows.iter().map(|n| RowInSession { number: *n, first, last }));
        }
        self.come.extend(session.new.iter().map(|n| RowInSession { number: *n, first, last }));
        self.come[at..].sort_unstable_by_key(|row| row.number);
    }

    /// Gives all of it: the rows of a session in the order in which they came.
    pub(super) fn give(self, shown: &RowsInSessions<'_>, out: &mut Vec<Delta>) -> Result<()> {
        for rows in self.gone.chunks(BATCH_ROWS) {
            let weights = Int64Array::from_value(-1, rows.len());
            out.push(Delta::new(shown.windowed(rows)?, weights));
        }
        for rows in self.come.chunks(BATCH_ROWS) {
            out.push(Delta::insert(shown.windowed(rows)?));
        }
        Ok(())
    }
}

impl RowsInSessions<'_> {
    fn windowed(&self, rows: &[RowInSession]) -> Result<RecordBatch> {
        let places: Vec<Location> = rows.iter().map(|row| Location::of(row.number)).collect();
        let mut columns = self.rows.fetch(&places)?.columns()[..self.width].to_vec();
        let unit = time_unit(self.time_type);
        let end = |row: &RowInSession| row.last.saturating_add(self.gap);
        let edges = [
            rows.iter().map(|row| row.first).collect(),
            rows.iter().map(end).collect(),
            rows.iter().map(|row| window_time(end(row), unit)).collect(),
        ];
        for ticks in edges {
            columns.push(time_column(ticks, self.time_type)?);
        }
        Ok(RecordBatch::try_new(std::sync::Arc::clone(self.output), columns)?)
    }
}
