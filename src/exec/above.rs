//! What stands above an operator of a pipeline: a fragment that takes the operator's changes to the
//! next one, or to the query's.
//!
//! Rows that are taken back go through the same plan as rows that come. Where a static table is
//! joined, which may have changed since, they are not computed again but kept ([`EmittedRows`]).

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Int64Array, IntervalMonthDayNanoBuilder, RecordBatch, RecordBatchOptions,
};
use arrow::compute::{CastOptions, cast_with_options, concat_batches, filter_record_batch, take};
use arrow::datatypes::{
    DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit, Schema, SchemaRef, TimeUnit,
};
use datafusion::execution::context::SessionState;

use super::map::{Fragment, Tables};
use crate::error::{Error, Result, SqlState};
use crate::operators::emitted::EmittedRows;
use crate::plan::{FragmentPlan, OperatorPlan, Stateful, carry};
use crate::state::Delta;
use crate::time::ticks_per_second;

/// The fragment above the operator.
pub(super) struct Above {
    pub(super) fragment: Fragment,
    pub(super) emitted: Option<EmittedRows>,
    carries: bool,
}

impl Above {
    /// Plans the fragment of a step, whose rows have these columns in the end.
    pub(super) async fn new(
        step: &OperatorPlan,
        schema: SchemaRef,
        state: &Arc<SessionState>,
        tables: &dyn Tables,
    ) -> Result<Above> {
        let spec = &step.above;
        let carries = step.retracts;
        let emitted =
            if carries && spec.has_tables { Some(Self::emitted(step, schema)?) } else { None };
        let spec = if carries { numbered_plan(spec)? } else { spec.clone() };
        let fragment = Fragment::new(&spec, tables.resolve(&spec.plan)?, Arc::clone(state)).await?;
        Ok(Above { fragment, emitted, carries })
    }

    /// The group columns are what identifies a row; they are at the front of the aggregate's
    /// output.
    fn emitted(step: &OperatorPlan, schema: SchemaRef) -> Result<EmittedRows> {
        let Stateful::Aggregate { spec, output } = &step.operator else {
            return Err(Error::internal("emitted rows without an aggregate"));
        };
        let groups = output.len() - spec.aggregates.len();
        EmittedRows::new(step.above.input.as_arrow(), groups, schema)
    }

    /// From the operator's output on.
    pub(super) async fn run(&mut self, delta: Delta) -> Result<Delta> {
        let Delta { batch, weights } = delta;
        let input_schema: &Schema = self.fragment.spec().input.as_arrow();
        if !self.carries {
            let batch = with_schema(&batch, &Arc::new(input_schema.clone()))?;
            let output = self.fragment.run(vec![batch]).await?;
            return concat(&self.fragment.schema(), output, weights);
        }
        let numbered = with_row_numbers(&batch, &Arc::new(input_schema.clone()))?;
        if let Some(emitted) = &mut self.emitted {
            // Rows taken back come from what was emitted, so only the added ones go through the
            // plan.
            let numbered = match &weights {
                Some(weights) => {
                    let added =
                        weights.iter().map(|weight| weight.map(|weight| weight > 0)).collect();
                    filter_record_batch(&numbered, &added)?
                }
                None => numbered,
            };
            let output = self.fragment.run(vec![numbered]).await?;
            return emitted.apply(&Delta { batch, weights }, &output);
        }
        let output = self.fragment.run(vec![numbered]).await?;
        let whole = concat(&self.fragment.schema(), output, None)?.batch;
        let last = whole.num_columns() - 1;
        let weights = match weights {
            Some(weights) => {
                Some(take(&weights, whole.column(last), None)?.as_primitive::<Int64Type>().clone())
            }
            None => None,
        };
        Ok(Delta { batch: whole.project(&(0..last).collect::<Vec<_>>())?, weights })
    }
}

/// The fragment with the number of the row carried through.
pub(super) fn numbered_plan(spec: &FragmentPlan) -> Result<FragmentPlan> {
    Ok(FragmentPlan {
        plan: carry::with_row(&spec.plan, &spec.input)?,
        input: carry::input_with_row(&spec.input)?,
        ..spec.clone()
    })
}

/// The batch and, as its last column, the number of each row.
pub(super) fn with_row_numbers(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(Int64Array::from_iter_values(0..batch.num_rows() as i64)));
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn concat(
    schema: &SchemaRef,
    batches: Vec<RecordBatch>,
    weights: Option<Int64Array>,
) -> Result<Delta> {
    Ok(Delta { batch: concat_batches(schema, &batches)?, weights })
}

/// What lies between two timestamps as an interval: whole days and the rest (PostgreSQL manual, 9.9:
/// subtraction of timestamps).
fn days_and_time(column: &ArrayRef, unit: TimeUnit) -> Result<ArrayRef> {
    let ticks = cast_with_options(column, &DataType::Int64, &CastOptions::default())?;
    let (second, mut interval) = (ticks_per_second(unit), IntervalMonthDayNanoBuilder::new());
    for ticks in ticks.as_primitive::<Int64Type>() {
        interval.append_option(match ticks {
            None => None,
            Some(ticks) => {
                let day = second * 86_400;
                let days = i32::try_from(ticks / day)
                    .map_err(|_| Error::new(SqlState::OutOfRange, "interval out of range"))?;
                let nanos = ticks % day * (1_000_000_000 / second);
                Some(IntervalMonthDayNanoType::make_value(0, days, nanos))
            }
        });
    }
    Ok(Arc::new(interval.finish()))
}

/// The same columns under another schema. A relation has the types that SQL can name: DataFusion's
/// other representations of them (LargeUtf8 for text, Duration for an interval) are brought to
/// those here.
pub(super) fn with_schema(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch.clone());
    }
    let columns = batch.columns().iter().zip(schema.fields());
    let columns = columns
        .map(|(column, field)| {
            if column.data_type() == field.data_type() {
                return Ok(Arc::clone(column));
            }
            if let (DataType::Duration(unit), DataType::Interval(IntervalUnit::MonthDayNano)) =
                (column.data_type(), field.data_type())
            {
                return days_and_time(column, *unit);
            }
            // A value that does not fit must not become NULL on the way.
            let strict = CastOptions { safe: false, ..CastOptions::default() };
            Ok(cast_with_options(column, field.data_type(), &strict)?)
        })
        .collect::<Result<Vec<ArrayRef>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}
