//! What a stateful operator is to the executor.
//!
//! ```text
//!  tick    an epoch begins at this time      ─▶ what comes or goes by then
//!  push    rows of a port, as they come      ─▶ rows that it passes on at once
//!  close   a watermark closes something      ─▶ what that gives
//!  due     … where a plan has to answer      ─▶ what the plan is asked
//!  ask     the end of an epoch               ─▶ what the plan is asked    answer, part ─▶ rows
//!  settle  the end of an epoch               ─▶ what is only known as a whole
//! ```
//! Within a step of time all rows of a port come before its watermark moves. An operator neither
//! reads nor stores: its state are the tables that it names, and the executor writes, restores and
//! measures these. A plan of DataFusion's that an operator needs is run by the executor, which may
//! wait; the operator says what to ask and takes the answer.
//!
//! A new operator is one file here, a variant of [`Stateful`](crate::plan::Stateful) for what it is
//! planned as, and one line in the list that makes operators (`exec/operators.rs`). This is one that
//! lets each row through that is not the one before it:
//!
//! ```
//! use arrow::array::{BooleanArray, RecordBatch};
//! use arrow::compute::filter_record_batch;
//! use tidemill::error::Result;
//! use tidemill::operators::{Delta, Operator, PassedOn, rows_that_stay};
//!
//! struct WithoutRepeats {
//!     last: Option<RecordBatch>,
//! }
//!
//! impl Operator for WithoutRepeats {
//!     fn push(&mut self, _: usize, delta: &Delta) -> Result<PassedOn> {
//!         let batch = rows_that_stay(delta)?;
//!         let mut differs = Vec::new();
//!         for row in 0..batch.num_rows() {
//!             let row = batch.slice(row, 1);
//!             differs.push(Some(self.last.as_ref() != Some(&row)));
//!             self.last = Some(row);
//!         }
//!         let rows = filter_record_batch(batch, &BooleanArray::from(differs))?;
//!         Ok(Box::new(std::iter::once(Ok(Delta::insert(rows)))))
//!     }
//! }
//! ```

use arrow::array::RecordBatch;

use super::Closing;
use crate::error::{Error, Result};
use crate::state::{Delta, StateTable};
use crate::time::Watermark;

/// A stateful operator.
pub trait Operator: Send {
    /// Takes rows of a port; gives those that it passes on at once.
    fn push(&mut self, port: usize, delta: &Delta) -> Result<PassedOn>;

    /// It is to forget keys that no row has come for, for so many microseconds; whether it can.
    fn forget_after(&mut self, _: i64) -> bool {
        false
    }

    /// An epoch begins, microseconds since 1970, never before the one before it: gives what comes or
    /// goes by then, or a part of it.
    fn tick(&mut self, _: i64, _: &mut Vec<Delta>) -> Result<Closing> {
        Ok(Closing::Done)
    }

    /// When something next comes or goes without any row, microseconds since 1970.
    fn wakes(&self) -> Option<i64> {
        None
    }

    /// All that comes to it is complete up to this watermark: gives what that closes, or a part of
    /// it.
    fn close(&mut self, _: Watermark, _: &mut Vec<Delta>) -> Result<Closing> {
        Ok(Closing::Done)
    }

    /// The least watermark of its input that closes something.
    fn closes_next(&self) -> Option<Watermark> {
        None
    }

    /// How far the rows that it gives when their windows close are complete, if its input is complete
    /// up to `watermark` and all that this closes has been given: what is still to come has a later
    /// `window_time`.
    fn frontier(&self, watermark: Watermark) -> Watermark {
        watermark
    }

    /// What its plan is to be asked since its input is complete up to this watermark; called until
    /// there is nothing any more.
    fn due(&mut self, _: Watermark) -> Result<Option<Question>> {
        Ok(None)
    }

    /// What its plan is to be asked at the end of an epoch; called until there is nothing any more.
    fn ask(&mut self) -> Result<Option<Question>> {
        Ok(None)
    }

    /// Takes all of the answer to what was asked last.
    fn answer(&mut self, _: Vec<RecordBatch>) -> Result<Delta> {
        Err(Error::internal("an answer that nobody has asked for"))
    }

    /// Whether an answer is given to [`part`](Self::part) batch by batch, however long the rest is.
    fn answers_in_parts(&self) -> bool {
        false
    }

    /// Takes a part of the answer to what was asked last.
    fn part(&mut self, rows: RecordBatch) -> Result<Delta> {
        Ok(Delta::insert(rows))
    }

    /// The epoch ends, and what comes to each port is complete up to these watermarks: gives what is
    /// only known of the epoch as a whole, or a part of it.
    fn settle(&mut self, _: &[Watermark], _: &mut Vec<Delta>) -> Result<Closing> {
        Ok(Closing::Done)
    }

    /// Rows that it has found late since this was asked last, of operators that decide that.
    fn late(&mut self) -> Vec<RecordBatch> {
        Vec::new()
    }

    /// How many rows had no event time.
    fn rejected(&self) -> u64 {
        0
    }

    /// Its state.
    fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        Vec::new()
    }

    /// All of its state has been restored.
    fn state_restored(&mut self) -> Result<()> {
        Ok(())
    }

    /// Bytes and rows of its state; counted as they change.
    fn state_size(&self) -> (usize, usize) {
        (0, 0)
    }
}

/// Rows that an operator passes on as they come.
pub type PassedOn = Box<dyn Iterator<Item = Result<Delta>> + Send>;

/// Rows for a plan: the batches of each port.
pub type Question = Vec<Vec<RecordBatch>>;

/// Nothing is passed on.
pub(super) fn kept() -> PassedOn {
    Box::new(std::iter::empty())
}

/// The rows of a change that only adds some.
///
/// # Errors
/// Internal: one is taken back.
pub fn rows_that_stay(delta: &Delta) -> Result<&RecordBatch> {
    match &delta.weights {
        Some(weights) if weights.values().iter().any(|weight| *weight < 0) => {
            Err(Error::internal("a row is taken back from an operator that keeps none"))
        }
        _ => Ok(&delta.batch),
    }
}

/// The bytes and rows of some tables.
pub(super) fn size_of_tables<'a>(
    tables: impl IntoIterator<Item = &'a (dyn StateTable + 'a)>,
) -> (usize, usize) {
    let sizes = tables.into_iter().map(|table| (table.size(), table.rows()));
    sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1))
}
