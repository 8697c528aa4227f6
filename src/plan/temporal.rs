//! Conditions that become true or false as time passes: `ts > now() - INTERVAL '1 hour'`.
//!
//! ```text
//!  Filter: v > 0 AND ts <= now() AND now() - ts < '1 hour'
//!          ─────     ─────────       ────────────────────
//!          steady    rises           falls
//! ```
//! Whether a condition changes, and which way, is seen from its parts: `now()` rises, what does not
//! read it is steady, and comparisons, sums, differences and what keeps an order follow from these.
//! A condition that rises lets a row in at some moment, one that falls lets it go; when that is, is
//! found by asking the condition itself ([`TemporalFilter`](crate::operators::TemporalFilter)), so
//! months, dates and `date_trunc` need no rules of their own. `ts::date = current_date` is two of them, one
//! that rises and one that falls. A condition that moves to and fro
//! (`extract(hour FROM now()) = 8`) is not looked at again.
//!
//! With EMIT ON WINDOW CLOSE nothing is taken back, and a condition is what it is when the row comes.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, ScalarValue};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Between, BinaryExpr, Expr, ExprSchemable, Filter, Join, LogicalPlan, Operator, Projection, cast,
};
use datafusion::physical_expr::create_physical_expr;

use super::moment;
use super::origin::column_at;
use super::pipeline::{Frontier, Stateful};
use super::stage::{CutOptions, Edge, Open, Stage, filter, rebuilt};
use crate::catalog::Emission;
use crate::error::Result;
use crate::operators::{TemporalSpec, TimedCondition};
use crate::postgres::functions::{INTERVAL_SIZE, cast_of, sum_or_difference};
use crate::time::DAY_NANOS;

/// The column with the time that a condition is asked about.
const TIME: &str = "__moment";

/// What an expression is called that the optimizer computes once for several places.
const SHARED: &str = "__common_expr_";

/// What becomes of a value as time passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
    Steady,
    /// It grows, or becomes true.
    Rises,
    /// It shrinks, or becomes false.
    Falls,
}

impl Course {
    fn reversed(self) -> Course {
        match self {
            Course::Steady => Course::Steady,
            Course::Rises => Course::Falls,
            Course::Falls => Course::Rises,
        }
    }

    /// That of something that follows both.
    fn with(self, other: Course) -> Option<Course> {
        match (self, other) {
            (own, Course::Steady) => Some(own),
            (Course::Steady, other) => Some(other),
            (own, other) => (own == other).then_some(own),
        }
    }
}

/// The conditions of a filter, by what becomes of them.
#[derive(Default)]
pub(super) struct TimedConditions {
    arriving: Vec<Expr>,
    leaving: Vec<Expr>,
    others: Vec<Expr>,
}

impl TimedConditions {
    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.arriving.is_empty() && self.leaving.is_empty() && self.others.is_empty()
    }

    /// These and others.
    pub(super) fn and(mut self, others: TimedConditions) -> TimedConditions {
        self.arriving.extend(others.arriving);
        self.leaving.extend(others.leaving);
        self.others.extend(others.others);
        self
    }
}

/// A filter of which time changes a condition.
pub(super) struct TimedFilter {
    pub(super) conditions: TimedConditions,
    /// What it is over.
    pub(super) input: LogicalPlan,
    /// What stands above, the lowest first.
    pub(super) above: Vec<LogicalPlan>,
}

/// The conditions of a filter and what they are over, if time changes one of them.
pub(super) fn conditions(options: CutOptions, node: &LogicalPlan) -> Result<Option<TimedFilter>> {
    let LogicalPlan::Filter(node) = node else { return Ok(None) };
    if options.emission == Emission::OnClose {
        return Ok(None);
    }
    let (predicate, input, above) = beneath(node)?;
    if !moment::is_in(&predicate)? {
        return Ok(None);
    }
    let mut found = TimedConditions::default();
    for condition in split_conjunction_owned(predicate).into_iter().flat_map(parted) {
        match course(&condition) {
            Some(Course::Rises) => found.arriving.push(condition),
            Some(Course::Falls) => found.leaving.push(condition),
            Some(Course::Steady) | None => found.others.push(condition),
        }
    }
    let is_timed = !found.arriving.is_empty() || !found.leaving.is_empty();
    Ok(is_timed.then_some(TimedFilter { conditions: found, input, above }))
}

/// A plan without the filter in it that time changes, and the conditions over its columns; None: there
/// is none, or its columns are not all there.
pub(super) fn pulled_up(
    options: CutOptions,
    plan: &LogicalPlan,
) -> Result<Option<(LogicalPlan, TimedConditions)>> {
    if let Some(timed) = conditions(options, plan)? {
        let TimedFilter { mut conditions, mut input, above } = timed;
        if let Some(others) = conjunction(std::mem::take(&mut conditions.others)) {
            input = filter(input, others)?;
        }
        return Ok(above.is_empty().then_some((input, conditions)));
    }
    // Where each column of what is below is in the plan's.
    let place: Box<dyn Fn(usize) -> Option<usize>> = match plan {
        LogicalPlan::SubqueryAlias(_) => Box::new(Some),
        LogicalPlan::Projection(projection) => {
            let schema = projection.input.schema();
            let columns: Vec<Option<usize>> = projection
                .expr
                .iter()
                .map(|expr| match expr.clone().unalias() {
                    Expr::Column(column) => schema.maybe_index_of_column(&column),
                    _ => None,
                })
                .collect();
            Box::new(move |below| columns.iter().position(|column| *column == Some(below)))
        }
        _ => return Ok(None),
    };
    let Some(input) = plan.inputs().first().copied() else { return Ok(None) };
    let Some((below, found)) = pulled_up(options, input)? else { return Ok(None) };
    let mut is_whole = true;
    let mut renamed = |condition: Expr| -> Result<Expr> {
        let put = condition.transform_up(|part| {
            let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
            let at = input.schema().maybe_index_of_column(column).and_then(&place);
            is_whole &= at.is_some();
            Ok(at.map_or(Transformed::no(part), |at| Transformed::yes(column_at(plan, at))))
        })?;
        Ok(put.data)
    };
    let arriving = found.arriving.into_iter().map(&mut renamed).collect::<Result<_>>()?;
    let leaving = found.leaving.into_iter().map(&mut renamed).collect::<Result<_>>()?;
    let conditions = TimedConditions { arriving, leaving, others: Vec::new() };
    Ok(if is_whole { Some((rebuilt(plan, vec![below])?, conditions)) } else { None })
}

/// An inner join with its conditions on the time in a filter above it.
pub(super) fn above_join(join: Join) -> Result<LogicalPlan> {
    let mut join = join;
    let (mut timed, mut others) = (Vec::new(), Vec::new());
    if join.join_type == JoinType::Inner {
        for condition in join.filter.take().into_iter().flat_map(split_conjunction_owned) {
            let part = if moment::is_in(&condition)? { &mut timed } else { &mut others };
            part.push(condition);
        }
        join.filter = conjunction(others);
    }
    let join = LogicalPlan::Join(join);
    match conjunction(timed) {
        Some(timed) => filter(join, timed),
        None => Ok(join),
    }
}

/// Whether a join has a condition on the time.
pub(super) fn is_timed(join: &Join) -> Result<bool> {
    join.filter.as_ref().map_or(Ok(false), moment::is_in)
}

/// The predicate beneath the projections that compute something of the time for it; what is beneath
/// them, and they themselves, the lowest first.
fn beneath(node: &Filter) -> Result<(Expr, LogicalPlan, Vec<LogicalPlan>)> {
    let (mut predicate, mut input) = (node.predicate.clone(), node.input.as_ref().clone());
    let mut above = Vec::new();
    while let LogicalPlan::Projection(projection) = &input {
        let mut reads = false;
        for expr in &projection.expr {
            reads |= moment::is_in(expr)?;
        }
        if !reads {
            break;
        }
        predicate = computed(predicate, projection)?;
        above.push(LogicalPlan::Projection(without_shared(projection)?));
        input = projection.input.as_ref().clone();
    }
    above.reverse();
    Ok((predicate, input, above))
}

/// The projection without what it computes of the time for the conditions alone: what the optimizer
/// has found in several of them has a name of its own, and nobody else reads it.
fn without_shared(projection: &Projection) -> Result<Projection> {
    let mut exprs = projection.expr.clone();
    for (expr, field) in exprs.iter_mut().zip(projection.schema.fields()) {
        if field.name().starts_with(SHARED) && moment::is_in(expr)? {
            let nothing = ScalarValue::try_from(field.data_type())?;
            *expr = Expr::Literal(nothing, None).alias(field.name());
        }
    }
    Ok(Projection::try_new(exprs, Arc::clone(&projection.input))?)
}

/// The expression with what a projection computes in place of its columns.
fn computed(expr: Expr, projection: &Projection) -> Result<Expr> {
    let put = expr.transform_up(|part| {
        let Expr::Column(column) = &part else { return Ok(Transformed::no(part)) };
        Ok(match projection.schema.maybe_index_of_column(column) {
            Some(at) => Transformed::yes(projection.expr[at].clone().unalias()),
            None => Transformed::no(part),
        })
    })?;
    Ok(put.data)
}

/// BETWEEN is two conditions, and so is `ts::date = current_date`: one that becomes true and one that
/// becomes false.
fn parted(condition: Expr) -> Vec<Expr> {
    match condition {
        Expr::Between(Between { expr, negated: false, low, high }) => {
            vec![expr.as_ref().clone().gt_eq(*low), expr.lt_eq(*high)]
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right })
            if one_moves(&left, &right) =>
        {
            vec![left.as_ref().clone().gt_eq(right.as_ref().clone()), left.lt_eq(*right)]
        }
        other => vec![other],
    }
}

/// Whether time moves one of two values, one way, past the other.
fn one_moves(left: &Expr, right: &Expr) -> bool {
    let moves = |course| matches!(course, Some(Course::Rises | Course::Falls));
    is_steady(left) && moves(course(right)) || is_steady(right) && moves(course(left))
}

/// What becomes of an expression as time passes; None: that is not known.
fn course(expr: &Expr) -> Option<Course> {
    if !moment::is_in(expr).ok()? {
        return Some(Course::Steady);
    }
    if let Some((left, op, right)) = sum_or_difference(expr) {
        let (left, right) = (course(left)?, course(right)?);
        return left.with(if op == Operator::Minus { right.reversed() } else { right });
    }
    if let Some((expr, to)) = cast_of(expr) {
        return is_ordered_like_time(to).then(|| course(expr))?;
    }
    match expr {
        Expr::ScalarFunction(call) => match (moment::type_of(expr), call.func.name()) {
            (Some(DataType::Time32(_) | DataType::Time64(_)), _) => None,
            (Some(_), _) => Some(Course::Rises),
            (None, "date_trunc" | "date_bin") => {
                let (rounded, others) = (call.args.get(1)?, [call.args.first()?]);
                let are_steady = others.into_iter().chain(call.args.get(2)).all(is_steady);
                are_steady.then(|| course(rounded))?
            }
            (None, "date_part") => match call.args.first()? {
                Expr::Literal(part, _) if part.try_as_str().flatten() == Some("epoch") => {
                    course(call.args.get(1)?)
                }
                _ => None,
            },
            (None, INTERVAL_SIZE) => course(call.args.first()?),
            _ => None,
        },
        Expr::Alias(alias) => course(&alias.expr),
        Expr::Not(inner) => Some(course(inner)?.reversed()),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (left, right) = (course(left)?, course(right)?);
            match op {
                Operator::And | Operator::Or => left.with(right),
                Operator::Gt | Operator::GtEq => left.with(right.reversed()),
                Operator::Lt | Operator::LtEq => left.reversed().with(right),
                _ => None,
            }
        }
        _ => None,
    }
}

fn is_steady(expr: &Expr) -> bool {
    course(expr) == Some(Course::Steady)
}

/// Whether a cast to this type keeps the order of what has an order in time.
fn is_ordered_like_time(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 | DataType::Interval(_)
    ) || data_type.is_numeric()
}

/// Puts the operator on a part that has been visited without the conditions, if there are any.
pub(super) fn put_on(conditions: TimedConditions, stage: Stage) -> Result<Stage> {
    match stage {
        Stage::Open(stage) if !conditions.is_empty() => {
            Ok(Stage::Open(Box::new(plan(conditions, *stage)?)))
        }
        stage => Ok(stage),
    }
}

/// Puts the operator on a stage whose rows the conditions are about.
pub(super) fn plan(conditions: TimedConditions, mut stage: Open) -> Result<Open> {
    if let Some(others) = conjunction(conditions.others) {
        stage.plan = filter(stage.plan, others)?;
    }
    let schema = Arc::clone(stage.plan.schema());
    let time = Field::new(TIME, DataType::Timestamp(TimeUnit::Microsecond, None), false);
    let time = DFSchema::from_unqualified_fields(vec![time].into(), Default::default())?;
    let asked = schema.join(&time)?;
    let (props, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    let compiled =
        |expr: Expr, over: &DFSchema| create_physical_expr(&expr, over, &props, &planning);
    let timed = |condition: Expr| -> Result<TimedCondition> {
        Ok(match behind(&condition, &schema) {
            Some((time, after)) => TimedCondition::Behind(compiled(time, &schema)?, after),
            None => TimedCondition::Asked(compiled(asked_of(condition)?, &asked)?),
        })
    };
    // Nothing below closes by what comes out again when its time has come.
    let edge = Edge::of(stage.edge.retracts || !conditions.leaving.is_empty());
    let spec = TemporalSpec {
        arriving: conditions.arriving.into_iter().map(timed).collect::<Result<_>>()?,
        leaving: conditions.leaving.into_iter().map(timed).collect::<Result<_>>()?,
    };
    let top = stage.plan.clone();
    stage.with_step(top, (Stateful::Temporal(spec), Frontier::Closed), &schema, edge)
}

/// A time of the row, in microseconds, and how long behind it the condition changes, if it compares
/// that with now() and a fixed interval.
fn behind(condition: &Expr, schema: &DFSchema) -> Option<(Expr, i64)> {
    let Expr::BinaryExpr(BinaryExpr { left, op, right }) = condition else { return None };
    let (time, op, ahead) = difference(left, *op, right)
        .or_else(|| difference(right, op.swap()?, left))
        .or_else(|| match course(left)? {
            Course::Steady => Some((left.as_ref(), *op, ahead_of_now(right)?)),
            Course::Rises | Course::Falls => Some((right, op.swap()?, ahead_of_now(left)?)),
        })?;
    // In other units now() would be rounded.
    if !matches!(time.get_type(schema).ok()?, DataType::Timestamp(TimeUnit::Microsecond, _)) {
        return None;
    }
    let after = match op {
        // time > now + ahead becomes false at time - ahead.
        Operator::Gt | Operator::LtEq => 0_i64,
        Operator::GtEq | Operator::Lt => 1,
        _ => return None,
    };
    Some((cast(time.clone(), DataType::Int64), after.checked_sub(ahead)?))
}

/// `now() - time < '10 minutes'` and `time - now() < …` as a time that is compared with now(), and how
/// far that is ahead.
fn difference<'a>(size: &'a Expr, op: Operator, limit: &Expr) -> Option<(&'a Expr, Operator, i64)> {
    let Expr::Literal(ScalarValue::Int64(Some(limit)), _) = limit else { return None };
    let Expr::ScalarFunction(call) = size else { return None };
    let (INTERVAL_SIZE, [times]) = (call.func.name(), &call.args[..]) else { return None };
    let (left, Operator::Minus, right) = sum_or_difference(times)? else { return None };
    match course(left)? {
        Course::Steady => Some((left, op, ahead_of_now(right)?.checked_add(*limit)?)),
        Course::Rises | Course::Falls => {
            Some((right, op.swap()?, ahead_of_now(left)?.checked_sub(*limit)?))
        }
    }
}

/// How many microseconds an expression is ahead of now(), if it is that at any time.
fn ahead_of_now(expr: &Expr) -> Option<i64> {
    let is_exact = |kind: &DataType| {
        matches!(kind, DataType::Timestamp(TimeUnit::Microsecond | TimeUnit::Nanosecond, _))
    };
    if let Some(kind) = moment::type_of(expr) {
        return is_exact(kind).then_some(0);
    }
    if let Expr::Alias(alias) = expr {
        return ahead_of_now(&alias.expr);
    }
    if let Some((expr, to)) = cast_of(expr) {
        return is_exact(to).then(|| ahead_of_now(expr))?;
    }
    let (left, op, right) = sum_or_difference(expr)?;
    let Expr::Literal(ScalarValue::IntervalMonthDayNano(Some(interval)), _) = right else {
        return None;
    };
    let nanos =
        i128::from(interval.days) * i128::from(DAY_NANOS) + i128::from(interval.nanoseconds);
    if interval.months != 0 || nanos % 1_000 != 0 {
        return None;
    }
    let micros = i64::try_from(nanos / 1_000).ok()?;
    let ahead = ahead_of_now(left)?;
    if op == Operator::Minus { ahead.checked_sub(micros) } else { ahead.checked_add(micros) }
}

/// The condition about the time in a column.
fn asked_of(condition: Expr) -> Result<Expr> {
    let time =
        |as_type: &DataType| cast(Expr::Column(Column::new_unqualified(TIME)), as_type.clone());
    let put = condition.transform_down(|part| {
        // now() is in nanoseconds at first, in which there is no year 2263.
        let of = match cast_of(&part).filter(|(expr, _)| moment::type_of(expr).is_some()) {
            Some((_, to)) => to,
            None => match moment::type_of(&part) {
                Some(data_type) => data_type,
                None => return Ok(Transformed::no(part)),
            },
        };
        Ok(Transformed::new(time(of), true, TreeNodeRecursion::Jump))
    })?;
    Ok(put.data)
}
