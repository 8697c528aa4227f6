//! WITH (retention = …): which rows of a view are behind the horizon.
//!
//! What is kept depends on the log alone: rows behind the horizon go, as they are stored, and what
//! an epoch has to say of them (a late row may still change their window) is left out. The end of
//! time, where a finished data set's last windows close, moves no horizon.
//!
//! The rows are known by the end of their window, so that a horizon which moves costs the rows that
//! go and not a reading of all of them.
//!
//! A view that reads a view goes by the watermark of that one: what has come there has come here in
//! the same epoch.

use std::collections::BTreeSet;

use arrow::array::{Array, BooleanArray, Int64Array};
use arrow::datatypes::{DataType, TimeUnit};

use crate::catalog::Relation;
use crate::error::{Error, Result, SqlState};
use crate::limits::BATCH_ROWS;
use crate::operators::lateness::ticks;
use crate::state::{Applied, Delta, Location, RowStore};
use crate::time::{ticks_of_micros, ticks_of_millis};

/// Which column, how long in ticks, and the rows that there are.
pub(super) struct Retention {
    column: usize,
    unit: TimeUnit,
    ticks: i64,
    /// (window_end in ticks, number of the row), of the rows as last committed.
    ends: BTreeSet<(i64, u64)>,
}

impl Retention {
    /// What a view's definition says of it, over the rows it has.
    pub(super) fn of(relation: &Relation, rows: &RowStore) -> Result<Option<Retention>> {
        let Some(def) = relation.running() else {
            return Err(Error::internal(format!("nothing runs for {}", relation.name)));
        };
        let Some(ms) = def.retention_ms else {
            return Ok(None);
        };
        let column = relation.column("window_end").ok_or_else(|| {
            Error::new(SqlState::BadArgument, "retention needs a column window_end in the view")
                .hint("Add window_end to the SELECT list.")
        })?;
        let unit = match relation.schema().field(column).data_type() {
            DataType::Timestamp(unit, _) => *unit,
            other => {
                return Err(Error::new(
                    SqlState::BadArgument,
                    format!("retention needs a timestamp window_end, not {other}"),
                ));
            }
        };
        let mut retention =
            Retention { column, unit, ticks: ticks_of_millis(ms, unit), ends: BTreeSet::new() };
        let mut from = 0;
        while let Some((piece, next)) = rows.piece(from, BATCH_ROWS)? {
            let ends = ticks(&piece.batch, column)?;
            let numbers = piece.numbers.values().iter().copied();
            retention
                .ends
                .extend(ends.iter().zip(numbers).filter_map(|(end, no)| Some((end?, no))));
            from = next;
        }
        Ok(Some(retention))
    }

    /// An epoch's change of the rows whose window_end is not older than the watermark (microseconds
    /// since 1970) by the retention, and the going of those of `rows` that have become older.
    pub(super) fn apply(
        &self,
        watermark: Option<i64>,
        deltas: Vec<Delta>,
        rows: &RowStore,
    ) -> Result<Vec<Delta>> {
        let Some(watermark) = watermark else { return Ok(deltas) };
        let horizon = ticks_of_micros(watermark, self.unit).saturating_sub(self.ticks);
        let mut kept = Vec::with_capacity(deltas.len());
        for delta in deltas {
            let delta = self.not_behind(delta, horizon)?;
            if !delta.is_empty() {
                kept.push(delta);
            }
        }
        let old: Vec<Location> =
            self.ends.range(..(horizon, 0)).map(|(_, number)| Location::of(*number)).collect();
        for old in old.chunks(BATCH_ROWS) {
            let weights = Some(Int64Array::from_value(-1, old.len()));
            kept.push(Delta { batch: rows.fetch(old)?, weights });
        }
        Ok(kept)
    }

    /// The rows are different now.
    pub(super) fn applied(&mut self, delta: &Delta, applied: &Applied) -> Result<()> {
        let ends = ticks(&delta.batch, self.column)?;
        for (row, number) in &applied.removed {
            if ends.is_valid(*row as usize) {
                self.ends.remove(&(ends.value(*row as usize), *number));
            }
        }
        for (row, number) in applied.added.iter().zip(applied.first..) {
            if ends.is_valid(*row as usize) {
                self.ends.insert((ends.value(*row as usize), number));
            }
        }
        Ok(())
    }

    /// About what it takes of memory: a leaf of a tree is half to wholly full.
    pub(super) fn bytes(&self) -> usize {
        self.ends.len() * size_of::<(i64, u64)>() * 3 / 2
    }

    /// The rows of a delta that are not behind the horizon; one without a window_end never is.
    fn not_behind(&self, delta: Delta, horizon: i64) -> Result<Delta> {
        let ends = ticks(&delta.batch, self.column)?;
        let chosen: BooleanArray =
            ends.iter().map(|end| Some(end.is_none_or(|end| end >= horizon))).collect();
        if chosen.true_count() == chosen.len() {
            return Ok(delta);
        }
        delta.filter(&chosen)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatch, TimestampMillisecondArray};
    use arrow::datatypes::{Field, Schema};
    use proptest::prelude::*;

    use super::*;

    fn delta(rows: &[(Option<i64>, i64)]) -> Delta {
        let ends: TimestampMillisecondArray = rows.iter().map(|(end, _)| *end).collect();
        let field = Field::new("window_end", ends.data_type().clone(), true);
        let columns = vec![Arc::new(ends) as ArrayRef];
        let batch = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), columns).unwrap();
        Delta { batch, weights: Some(rows.iter().map(|(_, weight)| *weight).collect()) }
    }

    fn ends(rows: &RowStore) -> Vec<Option<i64>> {
        let batches = rows.snapshot().batches().unwrap();
        let mut ends: Vec<_> = batches
            .iter()
            .flat_map(|batch| ticks(batch, 0).unwrap().iter().collect::<Vec<_>>())
            .collect();
        ends.sort();
        ends
    }

    proptest! {
        /// Whatever comes and goes, the rows are those that a look at each of them would leave.
        #[test]
        fn what_is_behind_the_horizon_goes(
            epochs in prop::collection::vec(
                (prop::collection::vec((prop::option::of(0..60_i64), any::<bool>()), 0..8), 0..9_i64),
                0..20,
            )
        ) {
            let schema = delta(&[]).batch.schema();
            let mut rows = RowStore::new(schema, &[]).unwrap();
            let mut retention = Retention {
                column: 0,
                unit: TimeUnit::Millisecond,
                ticks: 10,
                ends: BTreeSet::new(),
            };
            let (mut expected, mut watermark) = (Vec::<Option<i64>>::new(), 0);
            for (changes, ahead) in epochs {
                watermark += ahead;
                let horizon = watermark - 10;
                let mut change = Vec::new();
                for (end, is_gone) in changes {
                    match expected.iter().position(|there| *there == end) {
                        Some(at) if is_gone => {
                            expected.remove(at);
                            change.push((end, -1));
                        }
                        _ => {
                            expected.push(end);
                            change.push((end, 1));
                        }
                    }
                }
                expected.retain(|end| end.is_none_or(|end| end >= horizon));
                let deltas =
                    retention.apply(Some(watermark * 1_000), vec![delta(&change)], &rows).unwrap();
                for delta in deltas {
                    let applied = rows.apply(&delta).unwrap();
                    retention.applied(&delta, &applied).unwrap();
                }
                expected.sort();
                prop_assert_eq!(&ends(&rows), &expected);
                prop_assert_eq!(retention.ends.len(), expected.iter().flatten().count());
            }
        }
    }
}
