//! Which source rows are late, decided before anything else is done with them.
//!
//! A row is late when every window it belongs to had closed by the watermark that the writes before
//! its own had reached: the writes to its own stream. Where windows are over several streams they
//! close by the one that is furthest behind, so a row may be late for a window that is still open;
//! but which rows are late is told by one log alone, however the streams are read beside each other,
//! and a row that is let in is never dropped further up. One min/max pass decides the common case, nothing late. A row of a HOP that
//! is late for its first windows only must not count in those: the batch is cut before it, and the
//! windows that its write found closed are closed first. So the answer is the same however rows
//! fall into epochs.
//!
//! Of sessions it is not told by a row's time alone whether its window has closed: their operator
//! decides. Here the batch is cut before the row likewise, so that the operator knows how far the
//! writes before it had come.
//!
//! A row whose windows would all end beyond the range of its type (the last hours of 2262, with
//! nanoseconds) is in none of them. It counts as late too, whatever the watermark: so it is seen in
//! `tidemill.late_rows` and not lost in silence.

use arrow::array::{Array, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{cast, filter_record_batch, max, min};
use arrow::datatypes::DataType;

use crate::error::{Error, Result};
use crate::time::{EventTime, Watermark, WindowSpec};

/// Which source rows are late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LatenessRule {
    /// The time column, as a position in the columns that are read.
    pub time: usize,
    /// The windows; None: an operator above decides ([`SessionWindows`](super::SessionWindows)), and
    /// is told how far the writes before a row had come.
    pub windows: Option<WindowSpec>,
    /// Allowed lateness in ticks.
    pub allowed: i64,
}

/// Source rows on their way into a pipeline.
#[derive(Debug, Clone)]
pub struct Input {
    /// The columns that the pipeline reads.
    pub batch: RecordBatch,
    /// What each row is late against.
    pub writes: Writes,
    /// The source's watermark after these rows.
    pub after: Watermark,
    /// Of a view's changes: which rows appear and which go; None: all appear.
    pub weights: Option<Int64Array>,
}

/// The writes of an [`Input`].
#[derive(Debug, Clone)]
pub enum Writes {
    /// Stretches of rows, each of one write: where it ends, and the watermark before it.
    Runs(Vec<(usize, Watermark)>),
    /// Each row is a write of its own (connectors): the watermark before the first, the delay, and
    /// the event times.
    Each {
        /// Before the first row.
        before: Watermark,
        /// Of the stream's WATERMARK clause, ticks.
        delay: i64,
        /// Event times in ticks; a null moves nothing.
        times: Int64Array,
    },
}

/// An input cut up by lateness.
#[derive(Debug)]
pub struct Split {
    /// To be taken in order.
    pub pieces: Vec<Piece>,
    /// Rows all of whose windows had closed.
    pub late: Option<RecordBatch>,
}

/// Rows that are not late, or not for all of their windows.
#[derive(Debug)]
pub struct Piece {
    /// Windows that this watermark closes are closed before these rows are taken.
    pub close_first: Option<Watermark>,
    /// The rows.
    pub rows: RecordBatch,
}

/// Cuts an input up.
pub fn split(input: &Input, rule: &LatenessRule) -> Result<Split> {
    let times = ticks(&input.batch, rule.time)?;
    let whole = || Split {
        pieces: vec![Piece { close_first: None, rows: input.batch.clone() }],
        late: None,
    };
    let Some(oldest) = min(&times) else {
        return Ok(whole());
    };
    let threshold = input.after.less(rule.allowed);
    if !closes(threshold, rule.first_end(oldest)) {
        return Ok(whole());
    }
    let marks = watermarks_before(input);
    let mut kept = vec![true; times.len()];
    let mut cuts: Vec<(usize, Watermark)> = Vec::new();
    for row in 0..times.len() {
        if times.is_null(row) {
            continue;
        }
        let mark = marks[row].less(rule.allowed);
        if !closes(mark, rule.first_end(times.value(row))) {
            continue;
        }
        if closes(mark, rule.last_end(times.value(row))) {
            kept[row] = false;
        } else if cuts.last().is_none_or(|(_, last)| *last < marks[row]) {
            cuts.push((row, marks[row]));
        }
    }
    let late: BooleanArray = kept.iter().map(|kept| Some(!kept)).collect();
    let late = filter_record_batch(&input.batch, &late)?;
    let mut pieces = Vec::new();
    let mut begin = 0;
    let mut close_first = None;
    for (row, mark) in cuts.into_iter().map(|(r, m)| (r, Some(m))).chain([(times.len(), None)]) {
        if row > begin {
            let keep = BooleanArray::from(kept[begin..row].to_vec());
            let rows = filter_record_batch(&input.batch.slice(begin, row - begin), &keep)?;
            pieces.push(Piece { close_first, rows });
        } else if let (Some(last), true) = (close_first, begin > 0) {
            pieces.push(Piece { close_first: Some(last), rows: input.batch.slice(0, 0) });
        }
        begin = row;
        close_first = mark;
    }
    Ok(Split { pieces, late: (late.num_rows() > 0).then_some(late) })
}

/// The greatest watermark that was reached up to the end of these rows and is no end of time: it
/// depends on the log alone, where [`Input::after`] may have gone to infinity in the same input or
/// in a later one.
pub fn finite_watermark(input: &Input) -> Watermark {
    if input.after != Watermark::INFINITY {
        return input.after;
    }
    match &input.writes {
        Writes::Runs(runs) => {
            let before = runs.iter().map(|(_, before)| *before);
            before.filter(|mark| *mark != Watermark::INFINITY).max().unwrap_or(Watermark::NONE)
        }
        Writes::Each { before, delay, times } => match max(times) {
            _ if *before == Watermark::INFINITY => Watermark::NONE,
            Some(greatest) => before.after(EventTime(greatest), *delay),
            None => *before,
        },
    }
}

/// Event times as ticks.
pub fn ticks(batch: &RecordBatch, column: usize) -> Result<Int64Array> {
    let ticks = cast(batch.column(column), &DataType::Int64)?;
    ticks
        .as_any()
        .downcast_ref::<Int64Array>()
        .cloned()
        .ok_or_else(|| Error::internal("event times that are not 64-bit"))
}

/// For each row the watermark that the writes before its own had reached.
fn watermarks_before(input: &Input) -> Vec<Watermark> {
    let rows = input.batch.num_rows();
    let mut marks = Vec::with_capacity(rows);
    match &input.writes {
        Writes::Runs(runs) => {
            for (end, before) in runs {
                marks.resize((*end).min(rows), *before);
            }
            marks.resize(rows, input.after);
        }
        Writes::Each { before, delay, times } => {
            let mut mark = *before;
            for row in 0..rows {
                marks.push(mark);
                if times.is_valid(row) {
                    mark = mark.after(EventTime(times.value(row)), *delay);
                }
            }
        }
    }
    marks
}

impl LatenessRule {
    /// Where the window of `at` that closes first ends. An operator that decides by itself is to know
    /// the watermark when a row is behind it.
    fn first_end(&self, at: i64) -> Option<i64> {
        match self.windows {
            Some(spec) => spec.windows(EventTime(at)).next().map(|window| window.end.0),
            None => Some(at.saturating_add(1)),
        }
    }

    /// Where the window of `at` that closes last ends; never, if that is not decided here.
    fn last_end(&self, at: i64) -> Option<i64> {
        match self.windows {
            Some(spec) => spec.last_window(EventTime(at)).map(|window| window.end.0),
            None => Some(i64::MAX),
        }
    }
}

fn closes(mark: Watermark, end: Option<i64>) -> bool {
    end.is_none_or(|end| mark.closes(EventTime(end)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::TimestampMicrosecondArray;
    use arrow::datatypes::{Field, Schema, TimeUnit};

    use super::*;

    fn input(times: &[i64], runs: &[(usize, i64)], after: i64) -> Input {
        let field = Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, None), true);
        let times = Arc::new(TimestampMicrosecondArray::from(times.to_vec()));
        Input {
            batch: RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![times]).unwrap(),
            writes: Writes::Runs(runs.iter().map(|(end, mark)| (*end, Watermark(*mark))).collect()),
            after: Watermark(after),
            weights: None,
        }
    }

    fn check(input: &Input, spec: WindowSpec, pieces: &[(Option<i64>, usize)], late: usize) {
        let split =
            split(input, &LatenessRule { time: 0, windows: Some(spec), allowed: 0 }).unwrap();
        let got: Vec<_> =
            split.pieces.iter().map(|p| (p.close_first.map(|w| w.0), p.rows.num_rows())).collect();
        assert_eq!(got, pieces);
        assert_eq!(split.late.map_or(0, |batch| batch.num_rows()), late);
    }

    #[test]
    fn rows_of_one_write_are_not_late_against_each_other() {
        check(
            &input(&[100, 1, 50], &[(3, i64::MIN)], 100),
            WindowSpec::tumble(10),
            &[(None, 3)],
            0,
        );
    }

    #[test]
    fn a_row_is_late_against_the_writes_before_its_own() {
        check(
            &input(&[100, 1, 99], &[(1, i64::MIN), (3, 100)], 100),
            WindowSpec::tumble(10),
            &[(None, 1)],
            2,
        );
    }

    #[test]
    fn a_row_that_is_late_for_some_windows_is_taken_after_those_have_closed() {
        let spec = WindowSpec::hop(5, 20);
        check(
            &input(&[100, 98], &[(1, i64::MIN), (2, 102)], 102),
            spec,
            &[(None, 1), (Some(102), 1)],
            0,
        );
    }
}
