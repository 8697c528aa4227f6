//! WITH (retention = …): which rows of a view are behind the horizon.
//!
//! What is kept depends on the log alone: rows behind the horizon go, as they are stored, and what
//! an epoch has to say of them (a late row may still change their window) is left out. The end of
//! time, where a finished data set's last windows close, moves no horizon.
//!
//! A view that reads a view goes by the watermark of that one: what has come there has come here in
//! the same epoch.

use datafusion::arrow::array::{BooleanArray, Int64Array, RecordBatch};
use datafusion::arrow::datatypes::{DataType, TimeUnit};

use crate::catalog::{Kind, Relation};
use crate::error::{Error, Result, SqlState};
use crate::operators::lateness::ticks;
use crate::state::Delta;
use crate::time::{ticks_of_micros, ticks_of_millis};

/// Which column, how long in ticks, and behind which window_end there are no rows any more.
pub(super) struct Retention {
    column: usize,
    unit: TimeUnit,
    ticks: i64,
    swept: i64,
}

impl Retention {
    /// What a view's definition says of it.
    pub(super) fn of(relation: &Relation) -> Result<Option<Retention>> {
        let Kind::MaterializedView(def) = &relation.kind else {
            return Err(Error::internal(format!("{} is no materialized view", relation.name)));
        };
        let Some(ms) = def.retention_ms else {
            return Ok(None);
        };
        let column = relation.column("window_end").ok_or_else(|| {
            Error::new(SqlState::BadArgument, "retention needs a column window_end in the view")
                .hint("Add window_end to the SELECT list.")
        })?;
        match relation.schema().field(column).data_type() {
            DataType::Timestamp(unit, _) => {
                let ticks = ticks_of_millis(ms, *unit);
                Ok(Some(Retention { column, unit: *unit, ticks, swept: i64::MIN }))
            }
            other => Err(Error::new(
                SqlState::BadArgument,
                format!("retention needs a timestamp window_end, not {other}"),
            )),
        }
    }

    /// An epoch's change of the rows whose window_end is not older than the watermark (microseconds
    /// since 1970) by the retention, and the going of the `rows` that have become older.
    pub(super) fn apply(
        &mut self,
        watermark: Option<i64>,
        deltas: Vec<Delta>,
        rows: impl FnOnce() -> Result<Vec<RecordBatch>>,
    ) -> Result<Vec<Delta>> {
        let Some(watermark) = watermark else { return Ok(deltas) };
        let horizon = ticks_of_micros(watermark, self.unit).saturating_sub(self.ticks);
        let mut kept = Vec::with_capacity(deltas.len());
        for delta in deltas {
            let delta = self.filtered(delta, |end| end >= horizon)?;
            if !delta.is_empty() {
                kept.push(delta);
            }
        }
        if horizon <= self.swept {
            return Ok(kept);
        }
        self.swept = horizon;
        for batch in rows()? {
            let weights = Int64Array::from_value(-1, batch.num_rows());
            let old =
                self.filtered(Delta { batch, weights: Some(weights) }, |end| end < horizon)?;
            if !old.is_empty() {
                kept.push(old);
            }
        }
        Ok(kept)
    }

    /// The rows of a delta whose window ends as wanted.
    fn filtered(&self, delta: Delta, wanted: impl Fn(i64) -> bool) -> Result<Delta> {
        let ends = ticks(&delta.batch, self.column)?;
        let chosen: BooleanArray = ends.iter().map(|end| Some(end.is_some_and(&wanted))).collect();
        if chosen.true_count() == chosen.len() {
            return Ok(delta);
        }
        delta.filter(&chosen)
    }
}
