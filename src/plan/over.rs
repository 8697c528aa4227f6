//! EMIT ON WINDOW CLOSE of OVER outside of windows: over rows that stay, in the order of their event
//! time.
//!
//! ```text
//!  OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING)
//!                                                ──────┬────     ────┬──────
//!                                      rows that are kept, rows that are waited for
//! ```
//! A row is answered when the watermark has passed all that its frames reach ([`super::reach`]), and
//! late when it is behind the watermark of its stream. What comes out stays and has the event time that
//! it is ordered by, so whatever closes may follow. Of a PARTITION BY with the event time in it each
//! part ends with its time, and any function may be asked.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{Column, DFSchema};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::{Sort as SortExpr, WindowFunction};
use datafusion::logical_expr::{
    Expr, ExprSchemable, LogicalPlan, Projection, Sort, Window, WindowFrameUnits,
    WindowFunctionDefinition, col,
};

use super::closing::{decide, event_time, time_unit};
use super::keys::{EVER_SEEN, can_be_key, is_asof, say_what_is_kept, with_keys};
use super::origin::column_at;
use super::pipeline::{Frontier, PerKeyPlan, Stateful};
use super::placeholder::placeholder_of;
use super::reach::{OverReach, TimeScale};
use super::stage::{CutOptions, Edge, EventTimeColumn, Open, Stage, filter, watermark_column};
use crate::error::{Error, Result};
use crate::operators::OverSpec;
use crate::operators::over::ASKED;
use crate::time::WindowSpec;

/// What the place of a row among those of its key is called.
const PLACE: &str = "__place";

/// The operator over a part.
pub(super) fn plan(
    options: CutOptions,
    notices: &mut Vec<String>,
    window: &Window,
    mut part: Open,
) -> Result<Stage> {
    if is_asof(window) {
        let what = "EMIT ON WINDOW CLOSE over ASOF JOIN is not supported";
        return Err(Error::unsupported(what).hint("Use EMIT CHANGES."));
    }
    let calls = calls_of(window)?;
    let ordered = OrderedByTime::by_event_time(&part, &calls)?;
    let reach = ordered.reach(&part, &calls)?;
    let keys = ordered.keys(&part, &calls)?;
    let behind = decide(options, &mut part, &ordered.time, WindowSpec::tumble(1))?;
    let later = (behind - ordered.time.behind).saturating_add(reach.ahead.ticks);
    let edge = Edge { event_time: ordered.times_after(&part, later), ..Edge::default() };
    say_what_stays(notices, window, reach, keys.is_empty());
    let spec = OverSpec {
        time: ordered.column,
        width: part.plan.schema().fields().len(),
        back: reach.back,
        ahead: reach.ahead,
        behind,
    };
    part.plan = with_keys(part.plan, &keys)?;
    let plan = asked(window, &part.plan, calls, spec)?;
    let (key, ports) = (keys.len(), vec![spec.width]);
    let asked = Box::new(PerKeyPlan { plan, key, ports, closes: None });
    let operator = (Stateful::Over { asked, spec }, Frontier::Closed);
    let stage = Open::over(vec![part], operator, &window.schema, edge)?;
    Ok(Stage::Open(Box::new(stage)))
}

/// The functions of a node, which are all over the same rows in the same order.
fn calls_of(window: &Window) -> Result<Vec<WindowFunction>> {
    let mut calls: Vec<WindowFunction> = Vec::new();
    for expr in &window.window_expr {
        let Expr::WindowFunction(call) = expr.clone().unalias() else {
            return Err(Error::internal("an OVER without a function"));
        };
        let is_other = |first: &WindowFunction| {
            first.params.partition_by != call.params.partition_by
                || first.params.order_by != call.params.order_by
        };
        if calls.first().is_some_and(is_other) {
            return Err(Error::internal("functions over different windows in one node"));
        }
        calls.push(*call);
    }
    Ok(calls)
}

/// The event time that rows are ordered by.
struct OrderedByTime {
    time: EventTimeColumn,
    /// Which column of the plan on top it is.
    column: usize,
    /// It is in PARTITION BY.
    parts: bool,
}

impl OrderedByTime {
    fn by_event_time(part: &Open, calls: &[WindowFunction]) -> Result<OrderedByTime> {
        if part.edge.retracts {
            return Err(Error::unsupported(format!(
                "EMIT ON WINDOW CLOSE of OVER over {}, whose rows change, is not supported",
                part.rows_of()
            ))
            .hint("Use EMIT CHANGES."));
        }
        let first = calls.first().map(|call| &call.params);
        let schema = part.plan.schema();
        let found = |expr: &Expr, parts: bool| {
            let Expr::Column(column) = expr.clone().unalias() else { return None };
            let time = event_time(part, expr, &part.plan)?;
            Some(OrderedByTime { time, column: schema.maybe_index_of_column(&column)?, parts })
        };
        let parted = first.and_then(|over| over.partition_by.iter().find_map(|by| found(by, true)));
        let by = first.and_then(|over| over.order_by.first()).filter(|by| by.asc);
        parted.or_else(|| found(&by?.expr, false)).ok_or_else(|| not_by_event_time(part))
    }

    /// How far all of them reach.
    fn reach(&self, part: &Open, calls: &[WindowFunction]) -> Result<OverReach> {
        if self.parts {
            return Ok(OverReach::NONE);
        }
        let unit = time_unit(&part.input, self.time.column)?;
        let kind = part.plan.schema().field(self.column).data_type();
        let has_zone = matches!(kind, DataType::Timestamp(_, Some(_)));
        let scale = TimeScale { unit, has_zone };
        calls.iter().try_fold(OverReach::NONE, |all, call| Ok(all.or(OverReach::of(call, scale)?)))
    }

    /// What rows are kept by.
    fn keys(&self, part: &Open, calls: &[WindowFunction]) -> Result<Vec<Expr>> {
        let by = calls.first().filter(|_| !self.parts).map(|call| &call.params.partition_by);
        let keys = by.cloned().unwrap_or_default();
        for key in &keys {
            let kind = key.get_type(part.plan.schema())?;
            if !can_be_key(&kind) {
                return Err(Error::unsupported(format!(
                    "EMIT ON WINDOW CLOSE of OVER (PARTITION BY a {kind}) is not supported"
                ))
                .hint("Cast it to NUMERIC or TEXT, or use EMIT CHANGES."));
            }
        }
        Ok(keys)
    }

    /// Which columns of what is given are event times, rows waiting so much longer: the one they are
    /// ordered by, and those of the windows that it is of.
    fn times_after(&self, part: &Open, later: i64) -> Vec<EventTimeColumn> {
        let windows = part.edge.closed.map(|closed| closed.columns);
        let windows = windows.filter(|columns| columns.contains(&Some(self.time.column)));
        let columns = 0..part.plan.schema().fields().len();
        let times = columns.filter_map(|column| {
            let known = event_time(part, &column_at(&part.plan, column), &part.plan)?;
            let is_it = known.column == self.time.column
                || windows.is_some_and(|columns| columns.contains(&Some(known.column)));
            let behind = known.behind.saturating_add(later);
            is_it.then_some(EventTimeColumn { column, of: Vec::new(), behind })
        });
        times.collect()
    }
}

fn not_by_event_time(part: &Open) -> Error {
    let missing = part.on_source().filter(|relation| watermark_column(relation).is_none());
    match missing {
        Some(relation) => Error::unsupported(format!(
            "EMIT ON WINDOW CLOSE of OVER needs a watermark on {} \"{}\"",
            relation.kind_name(),
            relation.name
        ))
        .hint("Add WATERMARK FOR ts AS ts - INTERVAL '5 seconds' to CREATE STREAM, or use EMIT CHANGES."),
        None => Error::unsupported(
            "EMIT ON WINDOW CLOSE of OVER that is neither in the order of event time nor within windows is not supported",
        )
        .hint("Have the watermark column first in ORDER BY, ascending, or window_start and window_end in PARTITION BY, or use EMIT CHANGES."),
    }
}

/// Says which rows are kept for ever.
fn say_what_stays(notices: &mut Vec<String>, window: &Window, reach: OverReach, is_whole: bool) {
    match reach.back {
        None => say_what_is_kept(notices, &LogicalPlan::Window(window.clone()), is_whole),
        Some(back) if !is_whole && (back.counts() || reach.ahead.counts()) => {
            let notice = format!("OVER keeps the last rows of every key {EVER_SEEN}");
            if !notices.contains(&notice) {
                notices.push(notice);
            }
        }
        Some(_) => {}
    }
}

/// The answer for the rows that are wanted, in the order of their event time.
fn asked(
    window: &Window,
    rows: &LogicalPlan,
    calls: Vec<WindowFunction>,
    spec: OverSpec,
) -> Result<LogicalPlan> {
    let kinds = [DataType::UInt64, DataType::Boolean];
    let marks = ASKED.iter().zip(kinds).map(|(name, kind)| Field::new(*name, kind, false));
    let marks = DFSchema::from_unqualified_fields(marks.collect(), Default::default())?;
    let leaf = placeholder_of(&Arc::new(rows.schema().join(&marks)?), 0);
    let mut columns: Vec<Expr> = (0..spec.width).map(|at| column_at(rows, at)).collect();
    let by_time = columns[spec.time].clone().sort(true, false);
    columns.extend(ASKED.map(col));
    let rows = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(leaf))?);
    let answered = answered(window, rows, calls, spec.width)?;
    let wanted = filter(answered, col(ASKED[1]))?;
    let given = window.schema.iter().map(|field| Expr::Column(Column::from(field))).collect();
    let expr = vec![by_time, number()];
    let in_time = LogicalPlan::Sort(Sort { expr, input: Arc::new(wanted), fetch: None });
    Ok(LogicalPlan::Projection(Projection::try_new(given, Arc::new(in_time))?))
}

/// All functions over the rows. Those of one place in the order are in the order in which they came:
/// for functions that count rows this is part of the order, and the others, to which it would make
/// equals different, come behind them and find the rows so.
fn answered(
    window: &Window,
    rows: LogicalPlan,
    calls: Vec<WindowFunction>,
    width: usize,
) -> Result<LogicalPlan> {
    let (mut counting, mut others) = (Vec::new(), Vec::new());
    let mut place = WindowFunction::new(row_number_udwf(), Vec::new());
    if let Some(first) = calls.first() {
        place.params.partition_by.clone_from(&first.params.partition_by);
        place.params.order_by.clone_from(&first.params.order_by);
        place.params.order_by.push(number());
    }
    for (mut call, field) in calls.into_iter().zip(window.schema.fields().iter().skip(width)) {
        let counts = counts_rows(&call);
        if counts {
            call.params.order_by.push(number());
        }
        let named = Expr::WindowFunction(Box::new(call)).alias(field.name());
        if counts { counting.push(named) } else { others.push(named) }
    }
    if counting.is_empty() {
        counting.push(Expr::WindowFunction(Box::new(place)).alias(PLACE));
    }
    let mut plan = rows;
    for exprs in [counting, others].into_iter().filter(|exprs| !exprs.is_empty()) {
        plan = LogicalPlan::Window(Window::try_new(exprs, Arc::new(plan))?);
    }
    Ok(plan)
}

/// Whether a function goes by single rows, and not by those that are equal in its order.
fn counts_rows(call: &WindowFunction) -> bool {
    match (&call.fun, call.fun.name()) {
        (WindowFunctionDefinition::AggregateUDF(_), _)
        | (_, "first_value" | "last_value" | "nth_value") => {
            call.params.window_frame.units == WindowFrameUnits::Rows
        }
        (_, name) => !matches!(name, "rank" | "dense_rank" | "percent_rank" | "cume_dist"),
    }
}

fn number() -> SortExpr {
    col(ASKED[0]).sort(true, false)
}
