//! A stateful operator of a pipeline, whichever it is.

use std::sync::Arc;

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::{cast, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};

use crate::error::{Error, Result};
use crate::operators::assign::{expand, window_time};
use crate::operators::lateness::ticks;
use crate::operators::{
    Closing, InnerJoin, PerKey, RunningAggregate, WindowAggregate, WindowBuffer, Windowing,
};
use crate::plan::{PerKeyPlan, Pipeline, Stateful};
use crate::state::{Delta, StateTable};
use crate::time::{EventTime, WINDOW_COLUMNS, Watermark, ticks_of_millis};

/// A stateful operator.
pub(super) enum Operator {
    Window(Box<WindowAggregate>, Vec<usize>),
    Running(Box<RunningAggregate>, Vec<usize>),
    Buffer(Box<WindowBuffer>),
    /// Keeps nothing but how far windows have closed.
    Assign(Windowing, Watermark),
    /// Keeps nothing; its columns.
    Union(SchemaRef),
    PerKey(Box<PerKey>),
    Join(Box<InnerJoin>),
}

impl Operator {
    /// The operator of the step at this place, without state, at this watermark.
    pub(super) fn at(pipeline: &Pipeline, at: usize, watermark: Watermark) -> Result<Operator> {
        let input = |port| Arc::clone(pipeline.step_input(at, port).inner());
        let port = |plan: &PerKeyPlan, port: usize| {
            (input(port), pipeline.retracts_into(at, port), plan.ports[port])
        };
        Ok(match &pipeline.steps[at].operator {
            Stateful::Aggregate { spec, output } if spec.window.is_some() => {
                let operator = WindowAggregate::at(spec.clone(), watermark)?;
                Operator::Window(Box::new(operator), output.clone())
            }
            Stateful::Aggregate { spec, output } => {
                Operator::Running(Box::new(RunningAggregate::new(spec.clone())?), output.clone())
            }
            Stateful::Assign { windowing } => Operator::Assign(windowing.clone(), watermark),
            Stateful::Buffer { windowing } => {
                let buffer = WindowBuffer::at(input(0), windowing.clone(), watermark)?;
                Operator::Buffer(Box::new(buffer))
            }
            Stateful::Union { schema } => Operator::Union(Arc::clone(schema.inner())),
            Stateful::Join(plan) => {
                let output = plan.plan.schema().as_arrow();
                let sides = [0, 1].map(|side| port(plan, side));
                Operator::Join(Box::new(InnerJoin::new(sides, output, plan.key)?))
            }
            Stateful::PerKey(plan) => {
                let ports: Vec<_> = (0..plan.ports.len()).map(|at| port(plan, at)).collect();
                let output = Arc::clone(plan.plan.schema().inner());
                let until = plan.closes.map(|closes| closes.until);
                Operator::PerKey(Box::new(PerKey::new(&ports, output, plan.key, until)?))
            }
        })
    }

    /// Its state.
    pub(super) fn tables(&mut self) -> Vec<&mut dyn StateTable> {
        match self {
            Operator::Assign(..) | Operator::Union(_) => Vec::new(),
            Operator::Window(operator, _) => vec![operator.as_mut()],
            Operator::Running(operator, _) => vec![operator.as_mut()],
            Operator::Buffer(operator) => vec![operator.as_mut()],
            Operator::PerKey(operator) => operator.tables(),
            Operator::Join(operator) => operator.tables(),
        }
    }

    /// Its state has been restored.
    pub(super) fn restored(&mut self) -> Result<()> {
        match self {
            Operator::PerKey(operator) => operator.restored(),
            Operator::Window(..)
            | Operator::Running(..)
            | Operator::Buffer(_)
            | Operator::Assign(..)
            | Operator::Union(_)
            | Operator::Join(_) => Ok(()),
        }
    }

    /// Closes what this watermark closes, or a part of it.
    pub(super) fn close(&mut self, watermark: Watermark, out: &mut Vec<Delta>) -> Result<Closing> {
        match self {
            Operator::Window(operator, _) => operator.close(watermark, out),
            Operator::Buffer(operator) => operator.close(watermark, out),
            Operator::Assign(_, passed) => {
                *passed = watermark.max(*passed);
                Ok(Closing::Done)
            }
            // What has closed per key is asked for.
            Operator::Running(..)
            | Operator::Union(_)
            | Operator::PerKey(_)
            | Operator::Join(_) => Ok(Closing::Done),
        }
    }

    /// How far the rows that it gives out are complete, if they are given out when their windows
    /// close: what is still to come has a later `window_time`. `watermark` is how far its input is,
    /// and everything that this closes has been given out.
    pub(super) fn frontier(&self, watermark: Watermark) -> Watermark {
        match self {
            Operator::Window(operator, _) => {
                frontier(operator.windowing(), operator.unit(), watermark)
            }
            Operator::Buffer(operator) => {
                frontier(operator.windowing(), operator.unit(), watermark)
            }
            Operator::Running(..)
            | Operator::Assign(..)
            | Operator::Union(_)
            | Operator::PerKey(_)
            | Operator::Join(_) => watermark,
        }
    }

    /// What an epoch has changed in results that are kept up to date.
    pub(super) fn changes(&mut self) -> Result<Option<Delta>> {
        match self {
            Operator::Window(operator, _) => operator.changes().map(Some),
            Operator::Running(operator, _) => operator.changes().map(Some),
            Operator::Join(operator) => operator.changes().map(Some),
            Operator::Buffer(_)
            | Operator::Assign(..)
            | Operator::Union(_)
            | Operator::PerKey(_) => Ok(None),
        }
    }

    /// How many rows had no event time.
    pub(super) fn rejected(&self) -> u64 {
        match self {
            Operator::Window(operator, _) => operator.rejected(),
            Operator::Buffer(operator) => operator.rejected(),
            Operator::Running(..)
            | Operator::Assign(..)
            | Operator::Union(_)
            | Operator::PerKey(_)
            | Operator::Join(_) => 0,
        }
    }

    /// The operator's columns in the order that the fragment above expects.
    pub(super) fn picked(&self, delta: Delta) -> Result<Delta> {
        let batch = match self {
            Operator::Window(_, output) if output.contains(&delta.batch.num_columns()) => {
                with_window_time(&delta.batch, 1)?.project(output)?
            }
            Operator::Window(_, output) | Operator::Running(_, output) => {
                delta.batch.project(output)?
            }
            Operator::Buffer(_) => with_window_time(&delta.batch, delta.batch.num_columns() - 1)?,
            Operator::Assign(..) | Operator::Union(_) => delta.batch,
            Operator::PerKey(operator) => first(&delta.batch, operator.answer_columns())?,
            Operator::Join(operator) => first(&delta.batch, operator.answer_columns())?,
        };
        Ok(Delta { batch, weights: delta.weights })
    }

    /// Bytes and rows of its state.
    pub(super) fn size(&self) -> (usize, usize) {
        match self {
            Operator::Assign(..) | Operator::Union(_) => (0, 0),
            Operator::PerKey(operator) => operator.size(),
            Operator::Join(operator) => operator.size(),
            Operator::Window(operator, _) => (operator.size(), operator.rows()),
            Operator::Running(operator, _) => (operator.size(), operator.rows()),
            Operator::Buffer(operator) => (operator.size(), operator.rows()),
        }
    }
}

/// So many of the columns.
fn first(batch: &RecordBatch, columns: usize) -> Result<RecordBatch> {
    Ok(batch.project(&(0..columns).collect::<Vec<_>>())?)
}

fn frontier(windowing: &Windowing, unit: TimeUnit, watermark: Watermark) -> Watermark {
    let passed = watermark.less(windowing.lateness);
    if passed == Watermark::NONE || passed == Watermark::INFINITY {
        return passed;
    }
    // The next window to close: it may have begun long ago.
    let open = windowing.spec.windows(EventTime(passed.0)).find(|w| !passed.closes(w.end));
    let end = open.map_or(passed, |window| Watermark(window.end.0));
    end.less(ticks_of_millis(1, unit).max(1))
}

/// The rows once per window that is still open, in portions.
pub(super) fn assigned(
    batch: &RecordBatch,
    windowing: &Windowing,
    passed: Watermark,
) -> Result<impl Iterator<Item = Result<Delta>> + Send + use<>> {
    let passed = passed.less(windowing.lateness);
    let end = batch.num_columns() + 1;
    Ok(expand(batch, windowing.time, &windowing.spec)?.map(move |expanded| {
        let expanded = expanded?;
        let ends = ticks(&expanded, end)?;
        let open = ends.iter().map(|end| end.map(|end| !passed.closes(EventTime(end)))).collect();
        Ok(Delta::insert(filter_record_batch(&expanded, &open)?))
    }))
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
