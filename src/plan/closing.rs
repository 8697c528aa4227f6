//! When windows close: over a source by its watermark, over windows that have closed by how far these
//! have come.

use std::sync::Arc;

use arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use datafusion::common::{DFSchemaRef, ScalarValue};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};

use super::calls::{Inputs, PlannedCall};
use super::origin::{Origin, trace};
use super::pipeline::{Frontier, Stateful};
use super::stage::{ClosedWindows, CutOptions, Edge, EventTimeColumn, Open, watermark_column};
use super::window::WindowNode;
use crate::catalog::{Emission, Relation};
use crate::error::{Error, Result};
use crate::operators::lateness::LatenessRule;
use crate::operators::{AggregateSpec, Trigger, Windowing};
use crate::time::{Watermark, WindowKind, WindowSpec, ticks_of_millis, ticks_per_second};

/// How long windows stay open behind the frontier, in ticks; [`Watermark::NEVER`]: for ever. Over the source's watermark column
/// rows can be late, by the rule that the stage gets; over the windows of windows that have closed
/// none is, since the frontier is behind them.
pub(super) fn close_rule(
    options: CutOptions,
    notices: &mut Vec<String>,
    stage: &mut Open,
    window: &WindowNode,
) -> Result<i64> {
    if let Some(time) = event_time(stage, &window.time, &window.input) {
        return decide(options, stage, &time, window.spec);
    }
    if let Some(relation) = stage.on_source() {
        without_event_time(options, notices, relation)?;
        return Ok(Watermark::NEVER);
    }
    if options.emission == Emission::OnClose {
        return Err(Error::unsupported(
            "EMIT ON WINDOW CLOSE needs windows over window_time, window_start or window_end of the windows below",
        )
        .hint("Window by window_time, or use EMIT CHANGES."));
    }
    notices.push(
        "the windows are not over event time: they never close and are kept for ever".to_owned(),
    );
    Ok(Watermark::NEVER)
}

/// From now on rows are late when the windows that they are in by this event time have closed, unless
/// it has been decided further down which are. Gives how far behind the watermark rows to come may
/// be, in ticks.
pub(super) fn decide(
    options: CutOptions,
    stage: &mut Open,
    time: &EventTimeColumn,
    windows: WindowSpec,
) -> Result<i64> {
    if time.of.is_empty() {
        return Ok(time.behind);
    }
    let allowed = options.lateness(time_unit(&stage.input, time.column)?);
    for (source, time) in &time.of {
        stage.late_by(*source, LatenessRule { time: *time, windows: Some(windows), allowed });
    }
    Ok(allowed.max(time.behind))
}

/// What an expression over a plan on top is, if it is an event time, untouched.
pub(super) fn event_time(stage: &Open, expr: &Expr, plan: &LogicalPlan) -> Option<EventTimeColumn> {
    let Origin::Source(column) = trace(expr, plan) else { return None };
    if let Some(time) = stage.edge.event_time.iter().find(|time| time.column == column) {
        return Some(time.clone());
    }
    let closed = stage.edge.closed?;
    let which = closed.columns.iter().position(|at| *at == Some(column))?;
    let millisecond = ticks_of_millis(1, time_unit(&stage.input, column).ok()?).max(1);
    // What is to come has a later window_time than the rows that have come.
    let behind = if which == 0 { closed.spec.size() - millisecond } else { 0 };
    Some(EventTimeColumn { column, of: Vec::new(), behind })
}

/// Windows over a source that are not over its event time.
fn without_event_time(
    options: CutOptions,
    notices: &mut Vec<String>,
    relation: &Relation,
) -> Result<()> {
    let Some(watermark) = watermark_column(relation) else {
        if options.emission == Emission::OnClose {
            return Err(Error::unsupported(format!(
                "EMIT ON WINDOW CLOSE needs a watermark on stream \"{}\"",
                relation.name
            ))
            .hint(
                "Add WATERMARK FOR ts AS ts - INTERVAL '5 seconds' to CREATE STREAM, or use EMIT CHANGES.",
            ));
        }
        notices.push(format!(
            "stream \"{}\" has no watermark: the windows of this query never close and are kept for ever",
            relation.name
        ));
        return Ok(());
    };
    let name = &relation.columns[watermark].name;
    if options.emission == Emission::OnClose {
        return Err(Error::unsupported(format!(
            "EMIT ON WINDOW CLOSE needs windows over the watermark column \"{name}\""
        ))
        .hint(format!("Window by {name} itself, or use EMIT CHANGES.")));
    }
    notices.push(format!("the windows are not over the watermark column \"{name}\": they never close and are kept for ever"));
    Ok(())
}

/// A group column by which rows of closed windows are grouped by their windows once more.
pub(super) struct SameWindows {
    windows: ClosedWindows,
    /// Which of the aggregate's columns it is.
    group: usize,
    /// Which of [`WINDOW_COLUMNS`].
    which: usize,
}

pub(super) fn same_windows(stage: &Open, origins: &[Origin]) -> Option<SameWindows> {
    let windows = stage.edge.closed?;
    // Of windows that grow several have one start: only their ends tell them apart.
    let whiches = match windows.spec.kind {
        WindowKind::Cumulate { .. } => [1, 2, 0],
        WindowKind::Tumble { .. } | WindowKind::Hop { .. } => [0, 1, 2],
    };
    whiches.into_iter().find_map(|which| {
        let column = Origin::Source(windows.columns[which]?);
        let group = origins.iter().position(|origin| *origin == column)?;
        Some(SameWindows { windows, group, which })
    })
}

/// An aggregate over the rows of closed windows, again by these windows: it is given out when they
/// have all come. To the operator these are windows that do not overlap, one a slide; the other
/// columns of the windows are keys like any.
pub(super) fn plan_again(aggregate: &Aggregate, stage: Open, again: &SameWindows) -> Result<Open> {
    let SameWindows { windows, group, which } = again;
    let by = aggregate.group_expr[*group].clone();
    let unit = time_unit(&stage.input, windows.columns[*which].unwrap_or_default())?;
    let (spans, behind) = spans(windows.spec, *which, ticks_of_millis(1, unit).max(1));
    let time = if *which == 1 { just_before(by, unit) } else { by };
    let mut inputs = Inputs::default();
    let time = inputs.add(time);
    let mut keys = Vec::new();
    for (at, expr) in aggregate.group_expr.iter().enumerate().filter(|(at, _)| at != group) {
        keys.push((at, inputs.add(expr.clone())));
    }
    let calls = PlannedCall::all(aggregate, &mut inputs)?;
    let top = inputs.project(stage.plan.clone())?;
    let mut output: Vec<usize> = Vec::new();
    for at in 0..aggregate.group_expr.len() {
        output.push(match keys.iter().position(|key| key.0 == at) {
            Some(key) => 2 + key,
            None if *which == 2 => 2 + keys.len() + calls.len(),
            None => *which,
        });
    }
    output.extend((0..calls.len()).map(|i| 2 + keys.len() + i));
    let spec = AggregateSpec {
        input: Arc::clone(top.schema().inner()),
        keys: keys.iter().map(|key| key.1).collect(),
        standing: Vec::new(),
        aggregates: calls
            .into_iter()
            .map(|call| call.build(top.schema()))
            .collect::<Result<_>>()?,
        window: Some(Windowing { spec: spans, time, trigger: Trigger::OnClose, lateness: behind }),
    };
    let mut columns = [None; 3];
    for (which, column) in columns.iter_mut().enumerate() {
        let lower = windows.columns[which].map(Origin::Source);
        *column = aggregate.group_expr.iter().position(|e| Some(trace(e, &stage.plan)) == lower);
    }
    let mut edge = Edge::of_closed(ClosedWindows { spec: windows.spec, columns });
    let time = |(at, expr): (usize, &Expr)| {
        let Origin::Source(column) = trace(expr, &stage.plan) else { return None };
        let time = stage.edge.event_time.iter().find(|time| time.column == column)?;
        Some(EventTimeColumn { column: at, ..time.clone() })
    };
    edge.event_time.extend(aggregate.group_expr.iter().enumerate().filter_map(time));
    let operator = (Stateful::Aggregate { spec, output }, Frontier::Input);
    stage.with_step(top, operator, &aggregate.schema, edge)
}

/// The windows that do not overlap and in each of which lie these columns of the windows of one end
/// (of one start), and how far behind the frontier they close. The frontier is a millisecond before
/// the end of the next window to come, so it says when all rows with such an end (start) have come.
fn spans(windows: WindowSpec, which: usize, millisecond: i64) -> (WindowSpec, i64) {
    let (size, slide, offset) = (windows.size(), windows.slide(), windows.offset);
    let tumble = |size, offset| WindowSpec { kind: WindowKind::Tumble { size }, offset };
    match (windows.kind, which) {
        // The last of those that begin there ends there, too.
        (WindowKind::Cumulate { .. }, 0) => (tumble(size, offset), 0),
        (WindowKind::Cumulate { .. }, _) => (tumble(slide, offset), 0),
        (WindowKind::Tumble { .. } | WindowKind::Hop { .. }, 0) => {
            (tumble(slide, offset), size - millisecond)
        }
        (WindowKind::Tumble { .. } | WindowKind::Hop { .. }, _) => {
            // What is still to come ends a millisecond behind the frontier at the soonest.
            let behind = if which == 1 { 1 - millisecond } else { 0 };
            (tumble(slide, (offset + size).rem_euclid(slide)), behind)
        }
    }
}

/// The last time within the window that ends here.
fn just_before(end: Expr, unit: TimeUnit) -> Expr {
    let tick = IntervalMonthDayNano::new(0, 0, 1_000_000_000 / ticks_per_second(unit));
    end - Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(tick)), None)
}

/// The unit of a time column.
pub(super) fn time_unit(input: &DFSchemaRef, column: usize) -> Result<TimeUnit> {
    match input.field(column).data_type() {
        DataType::Timestamp(unit, _) => Ok(*unit),
        other => Err(Error::internal(format!("a watermark of type {other}"))),
    }
}
