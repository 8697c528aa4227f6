//! The stateful operators: what DataFusion lacks for queries that never end.
//!
//! Each takes batches of fixed columns (a DataFusion fragment below has evaluated all expressions)
//! and gives [`Delta`]s. They are pure: the same input gives the same output however it is split
//! into batches, and nothing here waits or reads a clock: one that depends on the time is told it.
//!
//! | file | idea |
//! |---|---|
//! | [`operator`] | [`Operator`]: what each is to the executor, and how one is added |
//! | [`lateness`] | which rows are late, decided before anything else |
//! | `split` | which rows of a batch lie in which slice |
//! | `window` | [`WindowAggregate`]: GROUP BY a window of TUMBLE, HOP or CUMULATE |
//! | `running` | [`RunningAggregate`]: GROUP BY without a window |
//! | `buffer` | [`WindowBuffer`]: the rows of windows, without an aggregate, until they close |
//! | [`assign`] | [`assign::expand`]: the windows of each row, at once |
//! | `session` | [`SessionWindows`]: rows that follow each other within a gap |
//! | `untouched` | keys that no row has come for in a while |
//! | `union` | [`Union`]: UNION ALL |
//! | [`append_join`] | [`AppendJoin`]: joins of rows that stay, which forget by time |
//! | [`join`] | [`InnerJoin`]: what comes or goes on one side, joined with what is there on the other |
//! | `temporal` | [`TemporalFilter`]: rows while a condition on the time holds |
//! | [`top`] | [`Top`]: the first rows of each key in an order |
//! | [`over`] | [`OverEventTime`]: OVER in the order of event time, each row answered once |
//! | [`per_key`] | [`PerKey`]: any plan over the rows of each key that an epoch has touched |
//! | [`emitted`] | the rows that a query has put out, where they cannot be computed again |

pub mod append_join;
pub mod assign;
mod buffer;
pub mod emitted;
pub mod join;
pub mod lateness;
pub mod operator;
pub mod over;
pub mod per_key;
mod running;
mod session;
mod split;
mod temporal;
pub mod top;
mod union;
mod untouched;
mod window;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion::common::ScalarValue;
use std::sync::Arc;

pub use crate::state::{AggregateCall, Delta, Trigger};

pub use append_join::{AppendJoin, JoinBounds, JoinSpec};
pub use assign::Assign;
pub use buffer::WindowBuffer;
pub use join::InnerJoin;
pub use operator::{Operator, PassedOn, Question, rows_that_stay};
pub use over::{FrameReach, OverEventTime, OverSpec};
pub use per_key::PerKey;
pub use running::RunningAggregate;
pub use session::{SessionSpec, SessionWindows};
pub use temporal::{TemporalFilter, TemporalSpec, TimedCondition};
pub use top::{RankColumn, Top, TopSpec};
pub use union::Union;
pub use window::WindowAggregate;

use crate::error::{Error, Result};
use crate::time::{EventTime, WINDOW_COLUMNS, Watermark, WindowSpec, ticks_of_millis};

/// What is written at a checkpoint: states by (slice, keys), see DESIGN.md idea 4.
pub type Partial = arrow::record_batch::RecordBatch;

/// Whether a watermark has closed everything that it closes. The results of many windows, each of
/// many groups, may be more than memory holds, so they are given out in portions of at least
/// [`limits::BATCH_ROWS`](crate::limits::BATCH_ROWS) rows.
#[must_use = "windows are still to be closed by this watermark"]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    /// Rows may come again.
    Done,
    /// To be called again with the same watermark before any row comes.
    More,
}

/// A grouped aggregate, windowed or not.
#[derive(Debug, Clone)]
pub struct AggregateSpec {
    /// The columns of the input.
    pub input: SchemaRef,
    /// Which of them are the group's keys; none means one global group.
    pub keys: Vec<usize>,
    /// Groups that are there from the start and stay without rows: the values of their keys. The
    /// global group is there in any case.
    pub standing: Vec<Vec<ScalarValue>>,
    /// What to compute.
    pub aggregates: Vec<AggregateCall>,
    /// By which windows; `None` is a running aggregate.
    pub window: Option<Windowing>,
}

/// By which windows to group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Windowing {
    /// The windows.
    pub spec: WindowSpec,
    /// The column with the event time; its type is a timestamp.
    pub time: usize,
    /// When to give out results.
    pub trigger: Trigger,
    /// How long windows stay open behind the watermark, in ticks.
    pub lateness: i64,
}

impl Windowing {
    /// The watermark by which a window that ends there closes.
    fn closing(&self, end: EventTime) -> Option<Watermark> {
        let closes = self.lateness != Watermark::NEVER;
        closes.then(|| Watermark(end.0.saturating_add(self.lateness)))
    }

    /// How far the rows of closed windows are complete when everything that this watermark closes has
    /// been given out: a millisecond before the end of the next window to come. `unit` is that of the
    /// time column.
    pub fn frontier(&self, unit: TimeUnit, watermark: Watermark) -> Watermark {
        let passed = watermark.less(self.lateness);
        if passed == Watermark::NONE || passed == Watermark::INFINITY {
            return passed;
        }
        // The next window to close: it may have begun long ago.
        let open = self.spec.windows(EventTime(passed.0)).find(|w| !passed.closes(w.end));
        let end = open.map_or(passed, |window| Watermark(window.end.0));
        end.less(ticks_of_millis(1, unit).max(1))
    }
}

impl AggregateSpec {
    /// The columns of the output: for windows `window_start`, `window_end`; then keys; then
    /// results.
    pub fn output(&self) -> Result<SchemaRef> {
        let column = |i: usize| match self.input.fields().get(i) {
            Some(field) => Ok(Arc::clone(field)),
            None => Err(Error::internal(format!("there is no column {i}"))),
        };
        let mut fields: Vec<FieldRef> = Vec::new();
        if let Some(window) = &self.window {
            let time = time_type(&self.input, window.time)?;
            let bounds = &WINDOW_COLUMNS[..2];
            fields
                .extend(bounds.iter().map(|name| Arc::new(Field::new(*name, time.clone(), false))));
        }
        for &key in &self.keys {
            fields.push(column(key)?);
        }
        fields.extend(self.aggregates.iter().map(|call| {
            let field = call.expr.field();
            Arc::new(field.as_ref().clone().with_name(call.expr.name()).with_nullable(true))
        }));
        Ok(Arc::new(Schema::new(fields)))
    }
}

/// The type of a time column.
fn time_type(input: &SchemaRef, column: usize) -> Result<DataType> {
    match input.fields().get(column).map(|f| f.data_type()) {
        Some(found @ DataType::Timestamp(_, _)) => Ok(found.clone()),
        Some(other) => Err(Error::internal(format!("windows over a column of type {other}"))),
        None => Err(Error::internal(format!("there is no time column {column}"))),
    }
}

/// The unit of a time column's type.
fn time_unit(data_type: &DataType) -> TimeUnit {
    match data_type {
        DataType::Timestamp(unit, _) => *unit,
        _ => TimeUnit::Microsecond,
    }
}

#[cfg(test)]
mod temporal_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod top_tests;
