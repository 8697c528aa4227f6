//! A condition that reads no column stays above an aggregate that has a row whatever it reads: `SELECT
//! count(*) FROM t HAVING 2 = (SELECT 1)` has none.
//!
//! DataFusion pushes a condition below an aggregate if all of its columns are keys, which is so for one that
//! has no columns; without GROUP BY, or with the empty set among GROUPING SETS, the row of the whole is then
//! there again. So it is given the aggregate's columns to read; and so are constants beside such an aggregate,
//! which a condition further up may read: below the projection that they stand in, it has no columns.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRewriter};
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Expr, Filter, LogicalPlan, LogicalPlanBuilder, Projection,
    ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::Error;

/// What its first argument is, whatever the others are.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Held(Signature);

static HELD: LazyLock<ScalarUDF> =
    LazyLock::new(|| ScalarUDF::from(Held(Signature::variadic_any(Volatility::Immutable))));

impl ScalarUDFImpl for Held {
    fn name(&self) -> &str {
        "held"
    }

    fn signature(&self) -> &Signature {
        &self.0
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        types.first().cloned().ok_or_else(|| nothing_held().into())
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        args.arg_fields.first().cloned().ok_or_else(|| nothing_held().into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        args.args.into_iter().next().ok_or_else(|| nothing_held().into())
    }
}

fn nothing_held() -> Error {
    Error::internal("nothing is held")
}

fn held_beside(expr: Expr, input: &LogicalPlan) -> Expr {
    HELD.call(std::iter::once(expr).chain(input.schema().iter().map(Expr::from)).collect())
}

/// The plan with such conditions held where they are.
pub(super) fn held(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Filter(filter) = node else { return Ok(Transformed::no(node)) };
        if has_always_a_row(&filter.input).is_none() {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        }
        let parts = split_conjunction_owned(filter.predicate.clone());
        let (held, rest): (Vec<_>, Vec<_>) = parts.into_iter().partition(reads_nothing);
        let Some(condition) = conjunction(held) else {
            return Ok(Transformed::no(LogicalPlan::Filter(filter)));
        };
        let input = under(filter.input.as_ref().clone(), &condition)?;
        Ok(Transformed::yes(match conjunction(rest) {
            Some(rest) => LogicalPlan::Filter(Filter::try_new(rest, Arc::new(input))?),
            None => input,
        }))
    })
    .map(|plan| plan.data)
}

/// The plan with constants held beside such aggregates, where a condition above may read them.
pub(crate) fn with_held_constants(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.rewrite_with_subqueries(&mut UnderConditions { above: 0 }).map(|plan| plan.data)
}

struct UnderConditions {
    /// Nodes with a condition above the present one.
    above: usize,
}

impl TreeNodeRewriter for UnderConditions {
    type Node = LogicalPlan;

    fn f_down(&mut self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        self.above += usize::from(has_condition(&node));
        Ok(Transformed::no(node))
    }

    fn f_up(&mut self, node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
        self.above -= usize::from(has_condition(&node));
        let LogicalPlan::Projection(projection) = &node else { return Ok(Transformed::no(node)) };
        let is_constant = |expr: &Expr| {
            expr.column_refs().is_empty() && !expr.contains_outer() && !expr.is_volatile()
        };
        if self.above == 0
            || has_always_a_row(&projection.input).is_none()
            || !projection.expr.iter().any(is_constant)
        {
            return Ok(Transformed::no(node));
        }
        let names = NamePreserver::new_for_projection();
        let exprs = projection.expr.iter().map(|expr| {
            if !is_constant(expr) {
                return expr.clone();
            }
            let value = expr.clone().unalias();
            names.save(expr).restore(held_beside(value, &projection.input))
        });
        let held = Projection::try_new(exprs.collect(), Arc::clone(&projection.input))?;
        Ok(Transformed::yes(LogicalPlan::Projection(held)))
    }
}

fn has_condition(node: &LogicalPlan) -> bool {
    matches!(node, LogicalPlan::Filter(_) | LogicalPlan::Join(_))
}

/// The aggregate that a plan has the rows of, if it may have one over no rows.
fn has_always_a_row(plan: &LogicalPlan) -> Option<&Aggregate> {
    match plan {
        LogicalPlan::Projection(above) => has_always_a_row(&above.input),
        LogicalPlan::SubqueryAlias(above) => has_always_a_row(&above.input),
        LogicalPlan::Filter(above) => has_always_a_row(&above.input),
        LogicalPlan::Aggregate(aggregate) => {
            let has_empty_set = |expr: &Expr| match expr {
                Expr::GroupingSet(GroupingSet::GroupingSets(sets)) => {
                    sets.iter().any(Vec::is_empty)
                }
                Expr::GroupingSet(_) => true,
                _ => false,
            };
            let is_one =
                aggregate.group_expr.is_empty() || aggregate.group_expr.iter().any(has_empty_set);
            is_one.then_some(aggregate)
        }
        _ => None,
    }
}

/// What has another value with each run or each subquery, and no column.
fn reads_nothing(condition: &Expr) -> bool {
    let is_open = |part: &Expr| {
        Ok(matches!(part, Expr::ScalarSubquery(_) | Expr::Placeholder(_))
            || part.is_volatile_node())
    };
    let is_other = |part: &Expr| {
        Ok(matches!(part, Expr::Exists(_) | Expr::InSubquery(_) | Expr::SetComparison(_)))
    };
    condition.column_refs().is_empty()
        && !condition.contains_outer()
        && condition.exists(is_open).unwrap_or(false)
        && !condition.exists(is_other).unwrap_or(true)
}

/// The plan with the condition directly above its aggregate.
fn under(plan: LogicalPlan, condition: &Expr) -> Result<LogicalPlan> {
    if let LogicalPlan::Aggregate(_) = &plan {
        let call = held_beside(condition.clone(), &plan);
        return LogicalPlanBuilder::from(plan).filter(call)?.build();
    }
    let inputs = plan.inputs().into_iter().cloned();
    let inputs = inputs.map(|input| under(input, condition)).collect::<Result<Vec<_>>>()?;
    plan.with_new_exprs(plan.expressions(), inputs)
}
