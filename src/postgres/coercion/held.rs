//! A condition that reads no column stays above an aggregate that has a row whatever it reads: `SELECT
//! count(*) FROM t HAVING 2 = (SELECT 1)` has none.
//!
//! DataFusion pushes a condition below an aggregate if all of its columns are keys, which is so for one that
//! has no columns; without GROUP BY, or with the empty set among GROUPING SETS, the row of the whole is then
//! there again. So it is given the aggregate's columns to read.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Aggregate, Expr, Filter, LogicalPlan, LogicalPlanBuilder, ScalarUDF, Signature, Volatility,
};

use crate::postgres::functions::Scalar;

static HELD: LazyLock<ScalarUDF> = LazyLock::new(|| {
    ScalarUDF::from(Scalar {
        name: "held",
        aliases: Vec::new(),
        signature: Signature::variadic_any(Volatility::Immutable),
        out: DataType::Boolean,
        call: |columns, _| Ok(Arc::clone(&columns[0])),
    })
});

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
    if let LogicalPlan::Aggregate(aggregate) = &plan {
        let columns = aggregate.schema.iter().map(Expr::from);
        let call = HELD.call(std::iter::once(condition.clone()).chain(columns).collect());
        return LogicalPlanBuilder::from(plan).filter(call)?.build();
    }
    let inputs = plan.inputs().into_iter().cloned();
    let inputs = inputs.map(|input| under(input, condition)).collect::<Result<Vec<_>>>()?;
    plan.with_new_exprs(plan.expressions(), inputs)
}
