//! Plans the stateful operators of a pipeline: GROUP BY over the stream or over what another operator
//! gives, with or without a window.
//!
//! An operator evaluates no expressions: a projection put on top of the fragment below it computes
//! the group keys, the aggregates' arguments, their ORDER BY keys and FILTER conditions, once each,
//! as plain columns. `window_start` and `window_end` are not computed below the operator at all: it
//! is given the event time and works on slices. That is possible when nothing between the window
//! function and the GROUP BY looks into these columns; filters on them alone are moved above the
//! operator.

use std::sync::Arc;

use arrow::datatypes::TimeUnit;
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::TreeNode;
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan};

use super::calls::{Inputs, PlannedCall};
use super::closing::{close_rule, event_time, plan_again, same_windows, time_unit};
use super::grouping::{by_columns, has_sets};
use super::keys::EVER_SEEN;
use super::origin::{
    Origin, lift_filters, looks_into_window, over_groups, references_window, trace, without_window,
};
use super::pipeline::{Frontier, Stateful};
use super::stage::{ClosedWindows, CutOptions, Edge, EventTimeColumn, Open, filter, find_window};
use super::window::WindowNode;
use crate::catalog::Emission;
use crate::error::{Error, Result};
use crate::operators::{AggregateCall, AggregateSpec, Trigger, Windowing};
use crate::time::{WindowKind, WindowSpec, ticks_of_millis};

/// Puts the aggregate on what is below it; `notices` is what is said when the query is made.
pub(super) fn plan(
    options: CutOptions,
    notices: &mut Vec<String>,
    aggregate: Aggregate,
    mut stage: Open,
) -> Result<Open> {
    let (mut aggregate, mut standing) = (aggregate, Vec::new());
    if has_sets(&aggregate) {
        (aggregate, stage.plan, standing) = by_columns(aggregate, stage.plan)?;
    }
    let origins: Vec<Origin> = aggregate.group_expr.iter().map(|e| trace(e, &stage.plan)).collect();
    let windowed = origins.iter().any(|origin| matches!(origin, Origin::Window(_)));
    let retracts = stage.edge.retracts;
    if retracts {
        refuse_over_changes(options, &stage, windowed)?;
    }
    let window = find_window(&stage.plan).cloned();
    // Windows that grow from one start: their rows count once for each that they are in.
    let is_start_alone = matches!(&window, Some(node) if matches!(node.spec.kind, WindowKind::Cumulate { .. }))
        && !origins.iter().any(|origin| matches!(origin, Origin::Window(1 | 2)));
    // Without closing a window is a group like any, whatever is computed with it.
    let fits = |window: &WindowNode| {
        options.emission == Emission::OnClose
            || has_windows(&aggregate, &origins, &stage.plan, window).is_ok()
    };
    match (window, windowed) {
        // Windows of rows that change are groups like any: they never close.
        (Some(window), true) if !retracts && !is_start_alone && fits(&window) => {
            plan_windowed(options, notices, &aggregate, stage, &window, &origins)
        }
        (None, false) if let Some(again) = same_windows(&stage, &origins) => {
            plan_again(&aggregate, stage, &again)
        }
        (window, _) => {
            plan_running(options, notices, (&aggregate, standing), stage, window.is_some())
        }
    }
}

/// Windows of rows that change cannot close.
fn refuse_over_changes(options: CutOptions, stage: &Open, windowed: bool) -> Result<()> {
    if windowed && options.emission == Emission::OnClose {
        let rows = stage.rows_of();
        let message =
            format!("EMIT ON WINDOW CLOSE over {rows}, whose rows change, is not supported");
        return Err(Error::unsupported(message).hint("Use EMIT CHANGES."));
    }
    Ok(())
}

/// Whether it goes by the order in which rows came, of rows that are taken back: that is in no state
/// of an aggregate.
pub(super) fn needs_rows(aggregate: &Aggregate, stage: &Open) -> bool {
    let is_unordered = |expr: &Expr| {
        expr.exists(|part| {
            let Expr::AggregateFunction(call) = part else { return Ok(false) };
            let goes_by_order =
                ["first_value", "last_value", "nth_value"].contains(&call.func.name());
            Ok(goes_by_order && call.params.order_by.is_empty())
        })
    };
    stage.edge.retracts && aggregate.aggr_expr.iter().any(|e| is_unordered(e).unwrap_or(false))
}

fn plan_running(
    options: CutOptions,
    notices: &mut Vec<String>,
    (aggregate, standing): (&Aggregate, Vec<Vec<ScalarValue>>),
    stage: Open,
    over_window: bool,
) -> Result<Open> {
    if options.emission == Emission::OnClose {
        let error = Error::unsupported("EMIT ON WINDOW CLOSE needs a window in GROUP BY");
        return Err(if over_window || stage.edge.closed.is_some() {
            error.hint("Group by window_start and window_end, or use EMIT CHANGES.")
        } else {
            error.hint(
                "Select FROM TUMBLE(stream, time column, INTERVAL '1 minute') and group by window_start and window_end, or use EMIT CHANGES.",
            )
        });
    }
    let notice = format!("this query keeps a row of state for every group {EVER_SEEN}");
    if !aggregate.group_expr.is_empty() && !notices.contains(&notice) {
        notices.push(notice);
    }
    let mut inputs = Inputs::default();
    let keys: Vec<usize> = aggregate.group_expr.iter().map(|e| inputs.add(e.clone())).collect();
    let calls = PlannedCall::all(aggregate, &mut inputs)?;
    let retracts = stage.edge.retracts;
    let top = inputs.project(stage.plan.clone())?;
    let width = keys.len() + calls.len();
    let spec = AggregateSpec {
        input: Arc::clone(top.schema().inner()),
        keys,
        standing,
        aggregates: calls
            .into_iter()
            .map(|call| Ok(AggregateCall { retracts, ..call.build(top.schema())? }))
            .collect::<Result<_>>()?,
        window: None,
    };
    let operator = Stateful::Aggregate { spec, output: (0..width).collect() };
    let edge = Edge::of(true);
    stage.with_step(top, (operator, Frontier::Closed), &aggregate.schema, edge)
}

/// Whether the groups are those of windows and of keys, and what is computed of windows can be
/// computed of groups.
fn has_windows(
    aggregate: &Aggregate,
    origins: &[Origin],
    plan: &LogicalPlan,
    window: &WindowNode,
) -> Result<()> {
    let mut lifted = Vec::new();
    let plan = lift_filters(plan, &mut lifted)?;
    for predicate in lifted {
        over_groups(predicate, aggregate, origins)?;
    }
    time_group(aggregate, origins, window, looks_into(aggregate, origins, &plan)).map(drop)
}

fn plan_windowed(
    options: CutOptions,
    notices: &mut Vec<String>,
    aggregate: &Aggregate,
    mut stage: Open,
    window: &WindowNode,
    origins: &[Origin],
) -> Result<Open> {
    let mut lifted = Vec::new();
    stage.plan = lift_filters(&stage.plan, &mut lifted)?;
    let looked_into = looks_into(aggregate, origins, &stage.plan);
    let time = time_group(aggregate, origins, window, looked_into)?;
    let behind = close_rule(options, notices, &mut stage, window)?;
    if !looked_into {
        stage.plan = without_window(&stage.plan)?;
    }
    let mut inputs = Inputs::default();
    let time = inputs.add(time);
    let mut keys = Vec::new();
    for (expr, origin) in aggregate.group_expr.iter().zip(origins) {
        if !matches!(origin, Origin::Window(_)) {
            keys.push(inputs.add(expr.clone()));
        }
    }
    let calls = PlannedCall::all(aggregate, &mut inputs)?;
    let top = inputs.project(stage.plan.clone())?;
    let output = output_columns(aggregate, origins, keys.len());
    let trigger = match options.emission {
        Emission::OnClose => Trigger::OnClose,
        Emission::OnChange => Trigger::OnChange,
    };
    let spec = AggregateSpec {
        input: Arc::clone(top.schema().inner()),
        keys,
        standing: Vec::new(),
        aggregates: calls
            .into_iter()
            .map(|call| call.build(top.schema()))
            .collect::<Result<_>>()?,
        window: Some(Windowing { spec: window.spec, time, trigger, lateness: behind }),
    };
    let which = |which: usize| origins.iter().position(|origin| *origin == Origin::Window(which));
    let edge = match options.emission {
        Emission::OnClose => {
            let columns = [which(0), which(1), which(2)];
            Edge::of_closed(ClosedWindows { spec: window.spec, columns })
        }
        Emission::OnChange => Edge::of(true),
    };
    let operator = Stateful::Aggregate { spec, output };
    let mut stage = stage.with_step(top, (operator, Frontier::Closed), &aggregate.schema, edge)?;
    for predicate in lifted {
        stage.plan = filter(stage.plan, over_groups(predicate, aggregate, origins)?)?;
    }
    Ok(stage)
}

/// Whether anything but the grouping itself reads the window's columns.
fn looks_into(aggregate: &Aggregate, origins: &[Origin], plan: &LogicalPlan) -> bool {
    let mut keys = aggregate.group_expr.iter().zip(origins);
    looks_into_window(plan)
        || aggregate.aggr_expr.iter().any(|e| references_window(e, plan))
        || keys.any(|(e, origin)| *origin == Origin::Other && references_window(e, plan))
}

/// Whether windows without an aggregate need an operator: rows wait for their windows to close, or
/// are late for windows that have closed.
pub(super) fn closes(options: CutOptions, stage: &Open, window: &WindowNode) -> bool {
    options.emission == Emission::OnClose || event_time(stage, &window.time, &stage.plan).is_some()
}

/// Plans `SELECT … FROM TUMBLE(…) EMIT …` without an aggregate; `plan` is the window over the
/// stage.
pub(super) fn buffer(
    options: CutOptions,
    notices: &mut Vec<String>,
    window: WindowNode,
    plan: LogicalPlan,
    mut stage: Open,
) -> Result<Open> {
    // The window over the stage: its input is the placeholder, down to which columns are traced.
    let window = find_window(&plan).cloned().unwrap_or(window);
    let Expr::Column(column) = &window.time else {
        return Err(Error::internal("window over an expression"));
    };
    let time = stage.plan.schema().index_of_column(column)?;
    let is_timed = event_time(&stage, &window.time, &window.input).is_some();
    let lateness = close_rule(options, notices, &mut stage, &window)?;
    let windowing = |trigger| Windowing { spec: window.spec, time, trigger, lateness };
    let top = stage.plan.clone();
    let width = top.schema().fields().len();
    let mut edge = Edge::of(stage.edge.retracts);
    let operator = match options.emission {
        Emission::OnClose => {
            let columns = [0, 1, 2].map(|which| Some(width + which));
            edge.closed = Some(ClosedWindows { spec: window.spec, columns });
            Stateful::Buffer { windowing: windowing(Trigger::OnClose) }
        }
        Emission::OnChange => {
            if is_timed {
                let unit = time_unit(top.schema(), time)?;
                edge.event_time = open_windows(&window.spec, lateness, unit, width);
            }
            Stateful::Assign { windowing: windowing(Trigger::OnChange) }
        }
    };
    stage.with_step(top, (operator, Frontier::Closed), plan.schema(), edge)
}

/// What is known of the windows of rows that are still to come: they are open.
fn open_windows(
    windows: &WindowSpec,
    lateness: i64,
    unit: TimeUnit,
    first: usize,
) -> Vec<EventTimeColumn> {
    let before_end = [windows.size(), 0, ticks_of_millis(1, unit).max(1)];
    let columns = (first..).zip(before_end);
    let times = columns.map(|(column, before)| EventTimeColumn {
        column,
        of: Vec::new(),
        behind: lateness + before - 1,
    });
    times.collect()
}

/// The group expression from which the operator reads the event time.
fn time_group(
    aggregate: &Aggregate,
    origins: &[Origin],
    window: &WindowNode,
    looked_into: bool,
) -> Result<Expr> {
    let group = |which: usize| {
        let at = origins.iter().position(|origin| *origin == Origin::Window(which))?;
        Some(aggregate.group_expr[at].clone())
    };
    if !looked_into {
        // All three columns stand for the event time then.
        return group(0)
            .or_else(|| group(1))
            .or_else(|| group(2))
            .ok_or_else(|| Error::internal("no window in GROUP BY"));
    }
    // Otherwise the rows carry their window: one each for TUMBLE, whose start is an event time of
    // that window.
    match (window.spec.kind, group(0)) {
        (WindowKind::Tumble { .. }, Some(start)) => Ok(start),
        (WindowKind::Tumble { .. }, None) => {
            Err(Error::unsupported("this use of window columns needs window_start in GROUP BY")
                .hint("Group by window_start and window_end."))
        }
        _ => Err(Error::unsupported(
            "expressions over window_start and window_end below the GROUP BY of a HOP are not supported",
        )
        .hint("Group by window_start and window_end as they are, and compute with them in the SELECT list.")),
    }
}

/// For each column of the aggregate: its place in the operator's output `[start, end, keys…,
/// results…, window_time]`.
fn output_columns(aggregate: &Aggregate, origins: &[Origin], keys: usize) -> Vec<usize> {
    let mut output = Vec::new();
    let mut key = 0;
    for origin in origins {
        output.push(match origin {
            Origin::Window(which @ (0 | 1)) => *which,
            // It follows from the window's end; the runner appends it.
            Origin::Window(_) => 2 + keys + aggregate.aggr_expr.len(),
            Origin::Source(_) | Origin::Other => {
                key += 1;
                1 + key
            }
        });
    }
    output.extend((0..aggregate.aggr_expr.len()).map(|i| 2 + keys + i));
    output
}
