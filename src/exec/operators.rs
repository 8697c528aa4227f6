//! The operators that there are: the list that makes them, and what is done with the columns of what
//! they give.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::above::with_schema;
use crate::error::{Error, Result};
use crate::operators::assign::window_time;
use crate::operators::lateness::ticks;
use crate::operators::{
    AppendJoin, Assign, InnerJoin, Operator, OverEventTime, PerKey, RunningAggregate,
    SessionWindows, TemporalFilter, Top, Union, WindowAggregate, WindowBuffer,
};
use crate::plan::{PerKeyPlan, Pipeline, Stateful};
use crate::time::{WINDOW_COLUMNS, Watermark};

/// The operator of the step at this place, without state, at this watermark; and the columns of
/// what it gives.
pub(super) fn operator_at(
    pipeline: &Pipeline,
    at: usize,
    watermark: Watermark,
) -> Result<(Box<dyn Operator>, Columns)> {
    let input = |port| Arc::clone(pipeline.step_input(at, port).inner());
    let port = |plan: &PerKeyPlan, port: usize| {
        (input(port), pipeline.retracts_into(at, port), plan.ports[port])
    };
    Ok(match &pipeline.steps[at].operator {
        Stateful::Aggregate { spec, output } if spec.window.is_some() => {
            let operator = WindowAggregate::at(spec.clone(), watermark)?;
            let width = operator.schema().fields().len();
            let end = output.contains(&width).then_some(1);
            (Box::new(operator), Columns { end, picked: Some(output.clone()), schema: None })
        }
        Stateful::Aggregate { spec, output } => {
            let operator = RunningAggregate::new(spec.clone())?;
            (Box::new(operator), Columns { picked: Some(output.clone()), ..Columns::default() })
        }
        Stateful::Assign { windowing } => {
            (Box::new(Assign::at(windowing.clone(), watermark)), Columns::default())
        }
        Stateful::Buffer { windowing } => {
            let operator = WindowBuffer::at(input(0), windowing.clone(), watermark)?;
            let end = operator.schema().fields().len().checked_sub(1);
            (Box::new(operator), Columns { end, ..Columns::default() })
        }
        Stateful::Session { spec } => {
            let operator = SessionWindows::at(&input(0), spec.clone(), watermark)?;
            (Box::new(operator), Columns::default())
        }
        Stateful::Union { schema } => {
            let schema = Some(Arc::clone(schema.inner()));
            (Box::new(Union), Columns { schema, ..Columns::default() })
        }
        Stateful::Join(plan) => {
            let output = plan.plan.schema().as_arrow();
            let sides = [0, 1].map(|side| port(plan, side));
            (Box::new(InnerJoin::new(sides, output, plan.key)?), Columns::before_key(plan))
        }
        Stateful::AppendJoin { asked, spec, output } => {
            let sides = [0, 1].map(|side| (input(side), asked.ports[side]));
            (Box::new(AppendJoin::new(*spec, sides, output, asked.key)?), Columns::default())
        }
        Stateful::Over { spec, .. } => {
            let operator = OverEventTime::at(&input(0), *spec, watermark)?;
            (Box::new(operator), Columns::default())
        }
        Stateful::Top(spec) => {
            (Box::new(Top::new(spec.as_ref().clone(), &input(0))?), Columns::default())
        }
        Stateful::Temporal(spec) => {
            (Box::new(TemporalFilter::new(&input(0), spec.clone())?), Columns::default())
        }
        Stateful::PerKey(plan) => {
            let ports: Vec<_> = (0..plan.ports.len()).map(|at| port(plan, at)).collect();
            let output = Arc::clone(plan.plan.schema().inner());
            let until = plan.closes.map(|closes| closes.until);
            (Box::new(PerKey::new(&ports, output, plan.key, until)?), Columns::before_key(plan))
        }
    })
}

/// How an operator's columns become those that the fragment above it expects.
#[derive(Default)]
pub(super) struct Columns {
    /// Where `window_end` is, if `window_time` is to be put behind all columns.
    end: Option<usize>,
    /// Which of them, in which order; None: all.
    picked: Option<Vec<usize>>,
    /// Under which names and types; None: its own.
    schema: Option<SchemaRef>,
}

impl Columns {
    /// Those of an answer; behind them is its key.
    fn before_key(plan: &PerKeyPlan) -> Columns {
        let columns = plan.plan.schema().fields().len() - plan.key;
        Columns { picked: Some((0..columns).collect()), ..Columns::default() }
    }

    /// What the operator has given, with the columns that are expected.
    pub(super) fn of(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let mut batch = batch;
        if let Some(end) = self.end {
            batch = with_window_time(&batch, end)?;
        }
        if let Some(picked) = &self.picked {
            batch = batch.project(picked)?;
        }
        match &self.schema {
            Some(schema) => with_schema(&batch, schema),
            None => Ok(batch),
        }
    }
}

/// Appends window_time to rows whose window_end is column `end`.
fn with_window_time(batch: &RecordBatch, end: usize) -> Result<RecordBatch> {
    let time_type = batch.column(end).data_type().clone();
    let DataType::Timestamp(unit, _) = &time_type else {
        return Err(Error::internal("windows over something that is no timestamp"));
    };
    let times = ticks(batch, end)?.unary::<_, Int64Type>(|end| window_time(end, *unit));
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(WINDOW_COLUMNS[2], time_type.clone(), false)));
    let mut columns = batch.columns().to_vec();
    columns.push(cast(&times, &time_type)?);
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}
