//! Joins of rows that stay, of two streams or of what is made of them, in all kinds.
//!
//! Rows are kept by the columns that are equal, and where the condition bounds how far apart in event
//! time two rows may be ([`super::bounds`]), only as long as another can still come for them: then
//! rows behind the watermark of their stream are late, as they are for a window.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion::common::{DFSchema, JoinType};
use datafusion::logical_expr::{Expr, Join, LogicalPlan, Projection, col};

use super::bounds::{TimeBounds, time_bounds};
use super::closing::decide;
use super::keys::{KeyColumns, columns_of, say_what_is_kept, with_keys};
use super::pipeline::{Frontier, PerKeyPlan, Stateful};
use super::placeholder::placeholder_of;
use super::stage::{CutOptions, Edge, EventTimeColumn, Open, Stage};
use crate::catalog::Emission;
use crate::error::{Error, Result};
use crate::operators::append_join::MARKS;
use crate::operators::{JoinBounds, JoinSpec, Trigger};
use crate::time::WindowSpec;

/// Whether a join of these is planned here.
pub(super) fn is_of_rows_that_stay(join: &Join, inputs: &[Stage]) -> bool {
    let is_mark = matches!(join.join_type, JoinType::LeftMark | JoinType::RightMark);
    let stays = |input: &Stage| matches!(input, Stage::Open(part) if !part.edge.retracts);
    !is_mark && !join.null_aware && inputs.iter().all(stays)
}

/// A join of two such parts, whose rows belong together by these keys.
pub(super) fn plan(
    options: CutOptions,
    notices: &mut Vec<String>,
    join: &Join,
    [left, right]: [Open; 2],
    keys: &KeyColumns,
) -> Result<Stage> {
    let bounds = time_bounds(join, &left, &right);
    let mut sides = [left, right];
    let known = match &bounds {
        Some(found) => Some(bounded(options, &mut sides, found)?),
        None => None,
    };
    let trigger = match options.emission {
        Emission::OnClose => Trigger::OnClose,
        Emission::OnChange => Trigger::OnChange,
    };
    let spec = JoinSpec { kind: join.join_type, bounds: known, trigger };
    let waits = [0, 1].iter().any(|side| spec.gives_alone(*side));
    if waits && known.is_none() && trigger == Trigger::OnClose {
        return Err(Error::unsupported(
            "EMIT ON WINDOW CLOSE of a join that gives rows without a partner needs to know when none can come any more",
        )
        .hint("Bound the event times in its condition (b.ts BETWEEN a.ts AND a.ts + INTERVAL '1 hour'), join windows that are the same on both sides, or use EMIT CHANGES."));
    }
    if known.is_none() {
        let node = LogicalPlan::Join(join.clone());
        say_what_is_kept(notices, &node, keys.is_none());
    }
    let edge = Edge {
        retracts: spec.retracts(),
        event_time: bounds.map_or_else(Vec::new, |found| times_after(&sides, spec, &found)),
        ..Edge::default()
    };
    let (mut leaves, mut ports) = (Vec::new(), Vec::new());
    for (at, part) in sides.iter_mut().enumerate() {
        ports.push(part.plan.schema().fields().len());
        leaves.push(leaf(part, at, keys.of(at), spec)?);
    }
    let plan = pairs(join, leaves, spec)?;
    let key = keys.of(0).len();
    let asked = Box::new(PerKeyPlan { plan, key, ports, closes: None });
    let output = Arc::clone(join.schema.inner());
    let operator = (Stateful::AppendJoin { asked, spec, output }, Frontier::Input);
    let stage = Open::over(sides.into(), operator, &join.schema, edge)?;
    Ok(Stage::Open(Box::new(stage)))
}

/// Rows behind their watermark are late from now on, and what this says of rows to come.
fn bounded(options: CutOptions, sides: &mut [Open; 2], found: &TimeBounds) -> Result<JoinBounds> {
    let mut behind = [0; 2];
    for (at, side) in sides.iter_mut().enumerate() {
        behind[at] = decide(options, side, &found.times[at], WindowSpec::tumble(1))?;
    }
    Ok(JoinBounds { columns: found.columns, from: found.from, to: found.to, behind })
}

/// Which columns of what the join gives are event times.
fn times_after(sides: &[Open; 2], spec: JoinSpec, found: &TimeBounds) -> Vec<EventTimeColumn> {
    let Some(bounds) = spec.bounds else { return Vec::new() };
    let width = sides[0].plan.schema().fields().len();
    // A row may wait for a partner as long as the bounds say, and then comes out with it.
    let waits =
        [bounds.behind[1].saturating_add(found.to), bounds.behind[0].saturating_sub(found.from)];
    let time = |side: usize, column| EventTimeColumn {
        column,
        of: Vec::new(),
        behind: bounds.behind[side].max(waits[side]),
    };
    let [left, right] = found.columns;
    match spec.kind {
        JoinType::Inner => vec![time(0, left), time(1, width + right)],
        JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => vec![time(0, left)],
        JoinType::Right => vec![time(1, width + right)],
        JoinType::RightSemi | JoinType::RightAnti => vec![time(1, right)],
        JoinType::Full | JoinType::LeftMark | JoinType::RightMark => Vec::new(),
    }
}

/// The rows of a side in the plan that finds pairs: its columns, and the marks if it has any.
fn leaf(part: &mut Open, at: usize, keys: &[Expr], spec: JoinSpec) -> Result<LogicalPlan> {
    let mut columns = columns_of(&part.plan);
    part.plan = with_keys(part.plan.clone(), keys)?;
    let mut schema = part.plan.schema().as_ref().clone();
    for (name, kind) in MARKS.into_iter().zip([DataType::UInt64, DataType::Boolean]) {
        if spec.marks(at) && (kind == DataType::UInt64 || spec.gives_pairs()) {
            let field = DFSchema::from_unqualified_fields(
                vec![Field::new(name, kind, true)].into(),
                Default::default(),
            )?;
            schema = schema.join(&field)?;
            columns.push(col(name).alias(mark_name(name, at)));
        }
    }
    let leaf = placeholder_of(&Arc::new(schema), at);
    Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(leaf))?))
}

fn mark_name(name: &str, side: usize) -> String {
    format!("{name}_{side}")
}

/// The pairs, if they are given, and the marks of each side that has some.
fn pairs(join: &Join, leaves: Vec<LogicalPlan>, spec: JoinSpec) -> Result<LogicalPlan> {
    let [left, right] = <[LogicalPlan; 2]>::try_from(leaves)
        .map_err(|_| Error::internal("a join that has not two sides"))?;
    let given = |plan: &LogicalPlan| -> Vec<Expr> {
        let columns = columns_of(plan).into_iter().zip(plan.schema().fields());
        let own = columns.filter(|(_, field)| !MARKS.iter().any(|m| field.name().starts_with(m)));
        own.map(|(column, _)| column).collect()
    };
    let mut columns =
        if spec.gives_pairs() { [given(&left), given(&right)].concat() } else { Vec::new() };
    for side in [0, 1].into_iter().filter(|side| spec.marks(*side)) {
        columns.push(col(mark_name(MARKS[0], side)));
        if spec.gives_pairs() {
            columns.push(col(mark_name(MARKS[1], side)));
        }
    }
    let joined = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        join.on.clone(),
        join.filter.clone(),
        JoinType::Inner,
        join.join_constraint,
        join.null_equality,
        false,
    )?;
    let joined = Arc::new(LogicalPlan::Join(joined));
    Ok(LogicalPlan::Projection(Projection::try_new(columns, joined)?))
}
