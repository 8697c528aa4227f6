//! Intervals as keys: 1 day and 24 hours are one group, one DISTINCT row and one partner in a join.
//!
//! DataFusion compares keys by their parts. So keys are put into one form first
//! (`functions::interval_key`); what is shown of a group is the first of its intervals as it came.
//! Comparisons are rewritten with the other operators, in [`rewrite`](super::rewrite); the keys of
//! continuous aggregates are made equal where they are kept.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::functions_aggregate::first_last::first_value_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunction};
use datafusion::logical_expr::{
    Aggregate, Distinct, Expr, ExprSchemable, Join, JoinConstraint, LogicalPlan, Projection,
    WindowFrameBound, cast, lit,
};
use datafusion::optimizer::AnalyzerRule;

use super::floats;
use crate::pgtypes::values::parse_interval;
use crate::postgres::functions::{interval_key, interval_size, micros_of};

/// Puts intervals that are keys into one form; for queries whose aggregates are DataFusion's.
#[derive(Debug)]
pub struct IntervalKeys;

impl AnalyzerRule for IntervalKeys {
    fn analyze(&self, plan: LogicalPlan, _: &ConfigOptions) -> Result<LogicalPlan> {
        let done = plan.transform_up_with_subqueries(|node| match node {
            LogicalPlan::Aggregate(aggregate) => grouped(aggregate),
            LogicalPlan::Distinct(Distinct::All(input)) => distinct(input),
            node => Ok(Transformed::no(node)),
        })?;
        Ok(done.data)
    }

    fn name(&self) -> &str {
        "interval_keys"
    }
}

fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    matches!(expr.get_type(schema), Ok(DataType::Interval(_)))
}

/// DISTINCT is GROUP BY all columns.
fn distinct(input: Arc<LogicalPlan>) -> Result<Transformed<LogicalPlan>> {
    let columns: Vec<Expr> = input.schema().columns().into_iter().map(Expr::Column).collect();
    if !columns.iter().any(|column| is_interval(column, input.schema())) {
        return Ok(Transformed::no(LogicalPlan::Distinct(Distinct::All(input))));
    }
    grouped(Aggregate::try_new(input, columns, Vec::new())?)
}

/// The aggregate by keys of one form, and above it the first interval of each group under the name
/// of its key.
fn grouped(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let schema = aggregate.input.schema();
    let is_key = |expr: &Expr| is_interval(expr, schema);
    if !aggregate.group_expr.iter().any(is_key) {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let mut aggregates = aggregate.aggr_expr.clone();
    let (mut keys, mut shown) = (Vec::new(), Vec::new());
    for (at, key) in aggregate.group_expr.iter().enumerate() {
        let (qualifier, field) = aggregate.schema.qualified_field(at);
        if is_key(key) {
            let first = format!("__first_{at}");
            let bare = key.clone().unalias();
            aggregates.push(first_value_udaf().call(vec![bare.clone()]).alias(&first));
            keys.push(interval_key(bare).alias(format!("__key_{at}")));
            let column = Expr::Column(Column::new_unqualified(first));
            shown.push(column.alias_qualified(qualifier.cloned(), field.name()));
        } else {
            keys.push(key.clone());
            shown.push(Expr::Column(Column::from((qualifier, field))));
        }
    }
    for at in aggregate.group_expr.len()..aggregate.schema.fields().len() {
        shown.push(Expr::Column(Column::from(aggregate.schema.qualified_field(at))));
    }
    let keyed =
        LogicalPlan::Aggregate(Aggregate::try_new(Arc::clone(&aggregate.input), keys, aggregates)?);
    Ok(Transformed::yes(LogicalPlan::Projection(Projection::try_new(shown, Arc::new(keyed))?)))
}

fn keyed(exprs: &mut [Expr], schema: &DFSchema) -> bool {
    let mut is_changed = false;
    for expr in exprs.iter_mut().filter(|expr| is_interval(expr, schema)) {
        *expr = interval_key(std::mem::take(expr));
        is_changed = true;
    }
    is_changed
}

/// `count(DISTINCT …)` of intervals, and of doubles, where there are two zeros that are equal.
pub fn counted(mut call: AggregateFunction, schema: &DFSchema) -> Transformed<Expr> {
    let is_counted = call.params.distinct && call.func.name() == "count";
    let mut is_changed = is_counted && keyed(&mut call.params.args, schema);
    if is_counted
        && let [argument] = call.params.args.as_mut_slice()
        && matches!(argument.get_type(schema), Ok(DataType::Float64 | DataType::Float32))
        && !matches!(argument, Expr::BinaryExpr(_))
    {
        // -0.0 + 0.0 is 0.0.
        *argument = std::mem::take(argument) + lit(0.0f32);
        is_changed = true;
    }
    Transformed::new_transformed(Expr::AggregateFunction(call), is_changed)
}

/// `PARTITION BY` and `ORDER BY` intervals; how far a frame goes is then a number as well.
pub fn framed(mut call: Box<WindowFunction>, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let mut is_changed = keyed(&mut call.params.partition_by, schema);
    for sort in call.params.order_by.iter_mut().filter(|sort| is_interval(&sort.expr, schema)) {
        sort.expr = interval_size(std::mem::take(&mut sort.expr));
        let frame = &mut call.params.window_frame;
        for bound in [&mut frame.start_bound, &mut frame.end_bound] {
            if let WindowFrameBound::Preceding(by) | WindowFrameBound::Following(by) = bound
                && let Some(text) = by.try_as_str().flatten()
            {
                *by = ScalarValue::Int64(Some(micros_of(parse_interval(text)?)));
            }
        }
        is_changed = true;
    }
    Ok(Transformed::new_transformed(Expr::WindowFunction(call), is_changed))
}

/// A join whose keys are intervals, compared by how long they are, or times of two types; USING, NATURAL, INTERSECT and EXCEPT come
/// here without an operator.
pub fn joined(mut join: Join) -> Transformed<Join> {
    let mut is_changed = false;
    for (left, right) in &mut join.on {
        if let (Ok(left_type), Ok(right_type)) =
            (left.get_type(join.left.schema()), right.get_type(join.right.schema()))
            && let Some(moment) = floats::common_moment([&left_type, &right_type].into_iter())
        {
            is_changed = true;
            for side in [&mut *left, &mut *right] {
                *side = cast(std::mem::take(side), moment.clone());
            }
        } else if is_interval(left, join.left.schema()) && is_interval(right, join.right.schema()) {
            is_changed = true;
            for side in [left, right] {
                *side = interval_key(std::mem::take(side));
            }
        }
    }
    if is_changed {
        // USING has columns only.
        join.join_constraint = JoinConstraint::On;
    }
    Transformed::new_transformed(join, is_changed)
}
