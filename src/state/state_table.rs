//! Named tables of keyed rows: what an operator keeps, as the executor sees it.
//!
//! The executor checkpoints, restores, sizes and (later) spills state through this trait alone; it
//! knows neither aggregates nor windows. A commit writes the rows that have changed since the last
//! one, and now and then a *piece*: some of the rows as they are, in turn. When the pieces have
//! gone once through the table, what was written before the first of them is not needed any more.
//! No call costs more than what has changed or than one piece, however large the table is.
//!
//! A piece is a range of slots (dense group ids), not a hash bucket: the ids are how states lie in
//! memory, so a range of them is a slice of each dense column, is found without hashing or walking,
//! and needs no second index that lanes would have to keep up. Ids differ after a restart; so a
//! sweep through the pieces is begun anew then, and the sweep before it stays until the new one is
//! complete (see `exec::folding`). Buckets are what would make a piece replace its predecessor
//! alone; that saves one copy of the state on disk and costs every touched key a hash and a place
//! in a list.
//!
//! Restoring takes everything in the order in which it was written; later rows override earlier
//! ones of their key, and a row says by itself whether its key has gone.

use arrow::record_batch::RecordBatch;

use crate::error::{Error, Result};
use crate::limits::{BATCH_ROWS, STATE_PART_BYTES, STATE_PIECE_BYTES};
use crate::memory::rows::batch_bytes;

/// A table of an operator's state.
pub trait StateTable: Send {
    /// What it is, for people.
    fn name(&self) -> &'static str;

    /// The rows changed since the last call, with those of keys that have gone, in parts; the first
    /// call returns everything, unless the table was restored.
    fn take_changed(&mut self) -> Result<Vec<RecordBatch>>;

    /// So many rows from the cursor on, which moves behind them; `None`: there are no more.
    fn piece(&mut self, cursor: &mut PieceCursor, rows: usize) -> Result<Option<RecordBatch>>;

    /// Takes in what [`take_changed`](Self::take_changed) or [`piece`](Self::piece) has given, in
    /// that order.
    fn restore_rows(&mut self, rows: &RecordBatch) -> Result<()>;

    /// Everything has been taken in.
    fn restored(&mut self) -> Result<()>;

    /// Bytes of memory held; counted, not walked.
    fn size(&self) -> usize;

    /// How many rows there are.
    fn rows(&self) -> usize;

    /// What [`size`](Self::size) and [`rows`](Self::rows) should be, of a table that counts them as
    /// it changes.
    #[cfg(test)]
    fn walked(&self) -> (usize, usize) {
        (self.size(), self.rows())
    }
}

/// How far a sweep through a table has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PieceCursor {
    /// The slice or window, in tables that have them: start and end.
    pub span: Option<(i64, i64)>,
    /// The slot or row number to go on with.
    pub next: u64,
    /// How far each state of that slot has been written, if it is too large for a piece.
    pub within: Vec<Portion>,
}

/// How far the state of a slot has been written that is written in portions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Portion {
    /// Not at all.
    #[default]
    Beginning,
    /// Up to this value or place, without it.
    From(Vec<u8>),
    /// To its end.
    End,
}

impl PieceCursor {
    /// The beginning of a slice or window.
    pub fn of(span: Option<(i64, i64)>) -> Self {
        PieceCursor { span, ..PieceCursor::default() }
    }

    /// The next slots below `bound` that are in use, at most `rows` of them.
    pub fn slots(&mut self, rows: usize, bound: usize, used: impl Fn(u32) -> bool) -> Vec<u32> {
        let mut slots = Vec::with_capacity(rows.min(bound));
        // Slots that are free count for the work, too, but an empty piece would be the end.
        while (self.next as usize) < bound && slots.len() < rows {
            let slot = self.next as u32;
            self.next += 1;
            if used(slot) {
                slots.push(slot);
            }
        }
        slots
    }
}

/// What is said of state that another version has stored in another form: it is not read as something
/// else.
pub fn of_another_form() -> Error {
    Error::unsupported("the stored state has another form than this version of the server gives it")
        .hint("Drop the view and create it again.")
}

/// How many rows a piece of a table of so many bytes has.
pub fn piece_rows(bytes: usize, rows: usize) -> usize {
    let row = (bytes / rows.max(1)).max(1);
    (STATE_PIECE_BYTES / row).clamp(1, BATCH_ROWS / 2)
}

/// The rows of a batch in parts, each far below what the store takes as a value: first row and
/// number of rows. A part begins only at a row that `begins` one.
pub fn part_ranges(batch: &RecordBatch, begins: impl Fn(usize) -> bool) -> Vec<(usize, usize)> {
    let bytes = batch_bytes(batch);
    let rows = batch.num_rows();
    if bytes <= STATE_PART_BYTES {
        return if rows == 0 { Vec::new() } else { vec![(0, rows)] };
    }
    let wanted = (rows * STATE_PART_BYTES / bytes).max(1);
    let (mut parts, mut from) = (Vec::new(), 0);
    while from < rows {
        let mut to = (from + wanted).min(rows);
        while to < rows && !begins(to) {
            to += 1;
        }
        parts.push((from, to - from));
        from = to;
    }
    parts
}

/// A batch of changed rows in such parts.
pub fn in_parts(batch: &RecordBatch) -> Vec<RecordBatch> {
    part_ranges(batch, |_| true).into_iter().map(|(from, rows)| batch.slice(from, rows)).collect()
}
