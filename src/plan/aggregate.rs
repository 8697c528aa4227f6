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

use datafusion::arrow::datatypes::{DataType, IntervalMonthDayNano, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef, ScalarValue};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Aggregate, Expr, Filter, LogicalPlan, Projection};
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;

use super::pipeline::{Frontier, Stateful};
use super::placeholder::INPUT;
use super::stage::{
    ClosedWindows, CutOptions, Edge, Open, filter, find_window, joined_changes, rebuilt,
};
use super::window::WindowNode;
use crate::catalog::{Emission, Kind};
use crate::error::{Error, Result};
use crate::operators::lateness::LatenessRule;
use crate::operators::{AggregateCall, AggregateSpec, Trigger, Windowing};
use crate::time::{WINDOW_COLUMNS, WindowKind, WindowSpec, ticks_of_millis};

/// Where a column of the plan on top comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// It is this one of [`WINDOW_COLUMNS`].
    Window(usize),
    /// It is this column of what the plan is over, untouched.
    Source(usize),
    /// It is computed, or comes from a table.
    Other,
}

/// Puts the aggregate on what is below it; `notices` is what is said when the query is made.
pub(super) fn plan(
    options: CutOptions,
    notices: &mut Vec<String>,
    aggregate: Aggregate,
    stage: Open,
) -> Result<Open> {
    if aggregate.group_expr.iter().any(|e| matches!(e, Expr::GroupingSet(_))) {
        return Err(Error::unsupported(
            "GROUPING SETS, ROLLUP and CUBE in a continuous query are not supported yet",
        )
        .hint("Create one view for each grouping, or use them in a snapshot (without EMIT)."));
    }
    let origins: Vec<Origin> = aggregate.group_expr.iter().map(|e| trace(e, &stage.plan)).collect();
    let windowed = origins.iter().any(|origin| matches!(origin, Origin::Window(_)));
    let retracts = stage.edge.retracts;
    if retracts {
        refuse_over_changes(options, &stage, windowed)?;
    }
    match (find_window(&stage.plan).cloned(), windowed) {
        // Windows of rows that change are groups like any: they never close.
        (Some(window), true) if !retracts => {
            plan_windowed(options, notices, &aggregate, stage, &window, &origins)
        }
        (None, false) if let Some(again) = same_windows(&stage, &origins) => {
            plan_again(&aggregate, stage, &again)
        }
        (window, _) => plan_running(options, notices, &aggregate, stage, window.is_some()),
    }
}

/// Windows of rows that change cannot close, and a view whose rows do is not joined below.
fn refuse_over_changes(options: CutOptions, stage: &Open, windowed: bool) -> Result<()> {
    if stage.is_on_source() && stage.has_tables {
        return Err(joined_changes(&stage.source.relation.name));
    }
    if windowed && options.emission == Emission::OnClose {
        let rows = stage.rows_of();
        let message =
            format!("EMIT ON WINDOW CLOSE over {rows}, whose rows change, is not supported");
        return Err(Error::unsupported(message).hint("Use EMIT CHANGES."));
    }
    Ok(())
}

/// Rows that are taken back have no place in the order in which rows came.
fn refuse_unordered(spec: &AggregateSpec, rows: &str) -> Result<()> {
    for call in &spec.aggregates {
        let what = call.expr.fun().name();
        if ["first_value", "last_value", "nth_value"].contains(&what)
            && call.expr.order_bys().is_empty()
        {
            return Err(Error::unsupported(format!(
                "{what}() without ORDER BY over {rows}, whose rows change, is not supported"
            ))
            .hint(format!("Write {what}(… ORDER BY …).")));
        }
    }
    Ok(())
}

fn plan_running(
    options: CutOptions,
    notices: &mut Vec<String>,
    aggregate: &Aggregate,
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
    let notice = "this query keeps a row of state for every group it has ever seen";
    if !aggregate.group_expr.is_empty() && !notices.iter().any(|said| said == notice) {
        notices.push(notice.to_owned());
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
        aggregates: calls
            .into_iter()
            .map(|call| Ok(AggregateCall { retracts, ..call.build(top.schema())? }))
            .collect::<Result<_>>()?,
        window: None,
    };
    if retracts {
        refuse_unordered(&spec, &stage.rows_of())?;
    }
    let operator = Stateful::Aggregate { spec, output: (0..width).collect() };
    let edge = Edge { retracts: true, closed: None };
    stage.with_step(top, (operator, Frontier::Closed), &aggregate.schema, edge)
}

fn plan_windowed(
    options: CutOptions,
    notices: &mut Vec<String>,
    aggregate: &Aggregate,
    mut stage: Open,
    window: &WindowNode,
    origins: &[Origin],
) -> Result<Open> {
    if matches!(window.spec.kind, WindowKind::Cumulate { .. })
        && !origins.iter().any(|origin| matches!(origin, Origin::Window(1 | 2)))
    {
        return Err(Error::unsupported(
            "GROUP BY of CUMULATE without window_end in a continuous query is not supported yet",
        )
        .hint("Group by window_start and window_end, and aggregate that by window_start."));
    }
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
            Edge { retracts: false, closed: Some(ClosedWindows { spec: window.spec, columns }) }
        }
        Emission::OnChange => Edge { retracts: true, closed: None },
    };
    let operator = Stateful::Aggregate { spec, output };
    let mut stage = stage.with_step(top, (operator, Frontier::Closed), &aggregate.schema, edge)?;
    for predicate in lifted {
        stage.plan = filter(stage.plan, over_groups(predicate, aggregate, origins)?)?;
    }
    Ok(stage)
}

/// A group column by which rows of closed windows are grouped by their windows once more.
struct SameWindows {
    windows: ClosedWindows,
    /// Which of the aggregate's columns it is.
    group: usize,
    /// Which of [`WINDOW_COLUMNS`].
    which: usize,
}

fn same_windows(stage: &Open, origins: &[Origin]) -> Option<SameWindows> {
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
fn plan_again(aggregate: &Aggregate, stage: Open, again: &SameWindows) -> Result<Open> {
    let SameWindows { windows, group, which } = again;
    let by = aggregate.group_expr[*group].clone();
    let unit = time_unit(&stage.input, windows.columns[*which].unwrap_or_default())?;
    let (spans, behind) = spans(windows.spec, *which, ticks_of_millis(1, unit).max(1));
    let time = if *which == 1 { just_before(by) } else { by };
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
    let edge =
        Edge { retracts: false, closed: Some(ClosedWindows { spec: windows.spec, columns }) };
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
            (tumble(slide, (offset + size).rem_euclid(slide)), 0)
        }
    }
}

/// A time within the window that ends here.
fn just_before(end: Expr) -> Expr {
    let millisecond = IntervalMonthDayNano::new(0, 0, 1_000_000);
    end - Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(millisecond)), None)
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
    if !stage.is_on_source() {
        return options.emission == Emission::OnClose;
    }
    let Kind::Stream(stream) = &stage.source.relation.kind else {
        return options.emission == Emission::OnClose;
    };
    let watermark = stream.watermark.as_ref().map(|watermark| watermark.column);
    let source = match trace(&window.time, &stage.plan) {
        Origin::Source(source) => stage.source.columns.get(source).copied(),
        Origin::Window(_) | Origin::Other => None,
    };
    options.emission == Emission::OnClose || watermark.is_some() && watermark == source
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
    let lateness = close_rule(options, notices, &mut stage, &window)?;
    let windowing = |trigger| Windowing { spec: window.spec, time, trigger, lateness };
    let top = stage.plan.clone();
    let width = top.schema().fields().len();
    let (operator, closed) = match options.emission {
        Emission::OnClose => {
            let columns = [0, 1, 2].map(|which| Some(width + which));
            let closed = ClosedWindows { spec: window.spec, columns };
            (Stateful::Buffer { windowing: windowing(Trigger::OnClose) }, Some(closed))
        }
        Emission::OnChange => (Stateful::Assign { windowing: windowing(Trigger::OnChange) }, None),
    };
    let edge = Edge { retracts: stage.edge.retracts, closed };
    stage.with_step(top, (operator, Frontier::Closed), plan.schema(), edge)
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

/// How long windows stay open behind the frontier, in ticks. Over the source's watermark column
/// rows can be late, by the rule that the stage gets; over the windows of windows that have closed
/// none is, since the frontier is behind them.
fn close_rule(
    options: CutOptions,
    notices: &mut Vec<String>,
    stage: &mut Open,
    window: &WindowNode,
) -> Result<i64> {
    if stage.is_on_source() {
        stage.lateness = lateness_rule(options, notices, stage, window)?;
        return Ok(stage.lateness.map_or(0, |rule| rule.allowed));
    }
    let column = match trace(&window.time, &window.input) {
        Origin::Source(column) => Some(column),
        Origin::Window(_) | Origin::Other => None,
    };
    let closed = stage.edge.closed.filter(|_| column.is_some());
    let which = closed.and_then(|closed| closed.columns.iter().position(|at| *at == column));
    match (closed, column, which) {
        (Some(closed), Some(column), Some(0)) => {
            let unit = time_unit(&stage.input, column)?;
            Ok(closed.spec.size() - ticks_of_millis(1, unit).max(1))
        }
        (Some(_), _, Some(_)) => Ok(0),
        _ if options.emission == Emission::OnClose => Err(Error::unsupported(
            "EMIT ON WINDOW CLOSE needs windows over window_time, window_start or window_end of the windows below",
        )
        .hint("Window by window_time, or use EMIT CHANGES.")),
        _ => {
            notices.push(
                "the windows are not over event time: they never close and are kept for ever"
                    .to_owned(),
            );
            Ok(0)
        }
    }
}

/// Which rows of the source are late, if the window is over the source's watermark column.
fn lateness_rule(
    options: CutOptions,
    notices: &mut Vec<String>,
    stage: &Open,
    window: &WindowNode,
) -> Result<Option<LatenessRule>> {
    let relation = Arc::clone(&stage.source.relation);
    let watermark = match &relation.kind {
        Kind::Stream(stream) => stream.watermark.as_ref(),
        _ => None,
    };
    let Some(watermark) = watermark else {
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
        return Ok(None);
    };
    let source = match trace(&window.time, &window.input) {
        Origin::Source(source) if stage.source.columns.get(source) == Some(&watermark.column) => {
            source
        }
        _ => {
            let name = &relation.columns[watermark.column].name;
            if options.emission == Emission::OnClose {
                return Err(Error::unsupported(format!(
                    "EMIT ON WINDOW CLOSE needs windows over the watermark column \"{name}\""
                ))
                .hint(format!("Window by {name} itself, or use EMIT CHANGES.")));
            }
            notices.push(format!("the windows are not over the watermark column \"{name}\": they never close and are kept for ever"));
            return Ok(None);
        }
    };
    let unit = time_unit(&stage.input, source)?;
    Ok(Some(LatenessRule { time: source, windows: window.spec, allowed: options.lateness(unit) }))
}

fn time_unit(input: &DFSchemaRef, column: usize) -> Result<TimeUnit> {
    match input.field(column).data_type() {
        DataType::Timestamp(unit, _) => Ok(*unit),
        other => Err(Error::internal(format!("a watermark of type {other}"))),
    }
}

/// Follows a column down to where it comes from.
fn trace(expr: &Expr, plan: &LogicalPlan) -> Origin {
    let column = match expr {
        Expr::Alias(alias) => return trace(&alias.expr, plan),
        Expr::Column(column) => column,
        _ => return Origin::Other,
    };
    let Some(at) = plan.schema().maybe_index_of_column(column) else {
        return Origin::Other;
    };
    match plan {
        LogicalPlan::Projection(projection) => trace(&projection.expr[at], &projection.input),
        LogicalPlan::SubqueryAlias(alias) => trace(&column_at(&alias.input, at), &alias.input),
        LogicalPlan::Filter(filter) => trace(expr, &filter.input),
        LogicalPlan::Unnest(unnest) => match unnest.input.schema().maybe_index_of_column(column) {
            Some(below)
                if !unnest
                    .exec_columns
                    .contains(&Column::from(unnest.input.schema().qualified_field(below))) =>
            {
                trace(expr, &unnest.input)
            }
            _ => Origin::Other,
        },
        LogicalPlan::Join(join) => match trace(expr, &join.left) {
            Origin::Other => trace(expr, &join.right),
            found => found,
        },
        LogicalPlan::Extension(extension) => {
            match extension.node.as_any().downcast_ref::<WindowNode>() {
                Some(window) if at >= window.input_width() => {
                    Origin::Window(at - window.input_width())
                }
                Some(window) => trace(&column_at(&window.input, at), &window.input),
                None => Origin::Other,
            }
        }
        LogicalPlan::TableScan(scan) if scan.table_name.table() == INPUT => Origin::Source(at),
        _ => Origin::Other,
    }
}

fn column_at(plan: &LogicalPlan, at: usize) -> Expr {
    Expr::Column(Column::from(plan.schema().qualified_field(at)))
}

fn references_window(expr: &Expr, plan: &LogicalPlan) -> bool {
    expr.column_refs()
        .into_iter()
        .any(|c| matches!(trace(&Expr::Column(c.clone()), plan), Origin::Window(_)))
}

/// Whether an expression between the window function and the top computes with the window's
/// columns.
fn looks_into_window(plan: &LogicalPlan) -> bool {
    if let LogicalPlan::Extension(_) = plan {
        return false;
    }
    let inputs = plan.inputs();
    let here = match plan {
        LogicalPlan::Projection(projection) => projection.expr.iter().any(|expr| {
            let bare = matches!(expr.clone().unalias(), Expr::Column(_));
            !bare && references_window(expr, &projection.input)
        }),
        LogicalPlan::Filter(filter) => references_window(&filter.predicate, &filter.input),
        LogicalPlan::Join(join) => {
            let sides = [join.left.as_ref(), join.right.as_ref()];
            let references = |e: &Expr| sides.iter().any(|side| references_window(e, side));
            join.on.iter().any(|(l, r)| references(l) || references(r))
                || join.filter.iter().any(references)
        }
        _ => false,
    };
    here || inputs.into_iter().any(looks_into_window)
}

/// Takes the conditions that concern the window's columns alone out of the filters; they come back
/// over [`WINDOW_COLUMNS`].
fn lift_filters(plan: &LogicalPlan, lifted: &mut Vec<Expr>) -> Result<LogicalPlan> {
    if let LogicalPlan::Extension(_) = plan {
        return Ok(plan.clone());
    }
    let inputs =
        plan.inputs().into_iter().map(|i| lift_filters(i, lifted)).collect::<Result<Vec<_>>>()?;
    let LogicalPlan::Filter(filter) = plan else {
        return rebuilt(plan, inputs);
    };
    let mut kept = Vec::new();
    for conjunct in split_conjunction_owned(filter.predicate.clone()) {
        match over_window(&conjunct, &filter.input)? {
            Some(predicate) => lifted.push(predicate),
            None => kept.push(conjunct),
        }
    }
    let input =
        inputs.into_iter().next().ok_or_else(|| Error::internal("a filter without input"))?;
    match conjunction(kept) {
        Some(predicate) => Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?)),
        None => Ok(input),
    }
}

/// The condition with the window's columns under their own names, if it uses only those.
fn over_window(conjunct: &Expr, plan: &LogicalPlan) -> Result<Option<Expr>> {
    let columns = conjunct.column_refs();
    let all = !columns.is_empty()
        && columns
            .iter()
            .all(|c| matches!(trace(&Expr::Column((*c).clone()), plan), Origin::Window(_)));
    if !all {
        return Ok(None);
    }
    let renamed = conjunct.clone().transform(|expr| {
        Ok(match trace(&expr, plan) {
            Origin::Window(which) => {
                Transformed::yes(Expr::Column(Column::new_unqualified(WINDOW_COLUMNS[which])))
            }
            _ => Transformed::no(expr),
        })
    })?;
    Ok(Some(renamed.data))
}

/// A lifted condition over the aggregate's output.
fn over_groups(predicate: Expr, aggregate: &Aggregate, origins: &[Origin]) -> Result<Expr> {
    let mut missing = None;
    let renamed = predicate.transform(|expr| {
        let Expr::Column(column) = &expr else {
            return Ok(Transformed::no(expr));
        };
        let which = WINDOW_COLUMNS.iter().position(|name| *name == column.name);
        match which.and_then(|w| origins.iter().position(|origin| *origin == Origin::Window(w))) {
            Some(at) => Ok(Transformed::yes(Expr::Column(Column::from(
                aggregate.schema.qualified_field(at),
            )))),
            None => {
                missing = Some(column.name.clone());
                Ok(Transformed::new(expr, false, TreeNodeRecursion::Stop))
            }
        }
    })?;
    match missing {
        Some(name) => {
            Err(Error::unsupported(format!("a condition on {name} needs {name} in GROUP BY"))
                .hint("Group by window_start and window_end."))
        }
        None => Ok(renamed.data),
    }
}

/// The plan with the event time in place of each of the window's columns.
fn without_window(plan: &LogicalPlan) -> Result<LogicalPlan> {
    if let LogicalPlan::Extension(extension) = plan
        && let Some(window) = extension.node.as_any().downcast_ref::<WindowNode>()
    {
        let schema = plan.schema();
        let mut exprs: Vec<Expr> =
            (0..window.input_width()).map(|at| column_at(&window.input, at)).collect();
        for at in window.input_width()..schema.fields().len() {
            let (qualifier, field) = schema.qualified_field(at);
            exprs.push(window.time.clone().alias_qualified(qualifier.cloned(), field.name()));
        }
        return Ok(LogicalPlan::Projection(Projection::try_new(
            exprs,
            Arc::new(window.input.clone()),
        )?));
    }
    let inputs = plan.inputs().into_iter().map(without_window).collect::<Result<Vec<_>>>()?;
    rebuilt(plan, inputs)
}

/// The columns that the operator needs, each expression once.
#[derive(Default)]
struct Inputs {
    exprs: Vec<Expr>,
}

impl Inputs {
    fn add(&mut self, expr: Expr) -> usize {
        let expr = expr.unalias();
        match self.exprs.iter().position(|known| *known == expr) {
            Some(at) => at,
            None => {
                self.exprs.push(expr);
                self.exprs.len() - 1
            }
        }
    }

    /// The projection that yields them, named by position.
    fn project(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let exprs = self
            .exprs
            .iter()
            .enumerate()
            .map(|(i, expr)| expr.clone().alias(input_name(i)))
            .collect();
        Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
    }
}

fn input_name(at: usize) -> String {
    format!("__{at}")
}

fn input_column(at: usize) -> Expr {
    Expr::Column(Column::new_unqualified(input_name(at)))
}

/// An aggregate call whose arguments have become columns.
struct PlannedCall {
    name: String,
    function: AggregateFunction,
    args: Vec<usize>,
    filter: Option<usize>,
    distinct: bool,
}

impl PlannedCall {
    /// The calls of an aggregate.
    fn all(aggregate: &Aggregate, inputs: &mut Inputs) -> Result<Vec<PlannedCall>> {
        aggregate.aggr_expr.iter().map(|e| PlannedCall::new(e, inputs)).collect()
    }

    fn new(expr: &Expr, inputs: &mut Inputs) -> Result<PlannedCall> {
        let name = expr.schema_name().to_string();
        let Expr::AggregateFunction(function) = expr.clone().unalias() else {
            return Err(Error::internal(format!("{expr} is no aggregate")));
        };
        let params = function.params;
        let counts_rows = function.func.name() == "count"
            && !params.distinct
            && params
                .args
                .iter()
                .all(|arg| matches!(arg, Expr::Literal(value, _) if !value.is_null()));
        let mut args = Vec::new();
        let mut new_args = Vec::new();
        for arg in params.args {
            let is_literal = matches!(arg, Expr::Literal(..));
            if !counts_rows {
                let at = inputs.add(arg.clone());
                args.push(at);
                // A literal stays one: some aggregates read it when they are made (the delimiter of
                // string_agg).
                new_args.push(if is_literal { arg } else { input_column(at) });
            } else {
                new_args.push(arg);
            }
        }
        let mut order_by = Vec::new();
        for mut sort in params.order_by {
            let at = inputs.add(sort.expr);
            args.push(at);
            sort.expr = input_column(at);
            order_by.push(sort);
        }
        let filter = params.filter.map(|filter| inputs.add(*filter));
        let function = AggregateFunction {
            func: function.func,
            params: AggregateFunctionParams {
                args: new_args,
                distinct: params.distinct,
                filter: None,
                order_by,
                null_treatment: params.null_treatment,
            },
        };
        Ok(PlannedCall { name, function, args, filter, distinct: params.distinct })
    }

    fn build(self, schema: &DFSchemaRef) -> Result<AggregateCall> {
        let expr = Expr::AggregateFunction(self.function).alias(&self.name);
        let props = ExecutionProps::new();
        let context = PhysicalPlanningContext::default();
        let builder =
            LoweredAggregateBuilder::new(&expr, schema, schema.as_arrow(), &props, &context);
        let expr = builder.with_name(self.name).build()?.aggregate;
        let (args, filter, distinct) = (self.args, self.filter, self.distinct);
        Ok(AggregateCall { expr, args, filter, distinct, retracts: false })
    }
}
