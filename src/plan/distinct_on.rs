//! DISTINCT ON as what it is: the first row of each key.
//!
//! ```text
//!  SELECT DISTINCT ON (k) k, v … ORDER BY k, t
//!    ─▶ SELECT k, v FROM (SELECT *, row_number() OVER (PARTITION BY k ORDER BY t) AS n …) WHERE n = 1
//! ```
//! DataFusion makes a `first_value` of each column of it. Where rows change and some are equal in the
//! order, two of these may take theirs from different rows. Windows, whose groups an aggregate forgets
//! when they have closed, stay with that.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result as DfResult;
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{
    Distinct, DistinctOn, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder, lit,
};

use super::keys::can_be_key;
use super::origin::{Origin, trace};
use super::stage::CutOptions;
use crate::catalog::Emission;
use crate::error::Result;

/// What the place of a row among those of its key is called.
const PLACE: &str = "__place";

/// A plan that has not been optimized, with a rank for each DISTINCT ON.
pub(super) fn ranked(options: CutOptions, plan: LogicalPlan) -> Result<LogicalPlan> {
    if options.emission == Emission::OnClose {
        return Ok(plan);
    }
    let replaced = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Distinct(Distinct::On(on)) if is_by_key(&on)? => {
            Ok(Transformed::yes(first_of_each(on)?))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(replaced.data)
}

fn is_by_key(on: &DistinctOn) -> DfResult<bool> {
    for key in &on.on_expr {
        let is_window = matches!(trace(key, &on.input), Origin::Window(_));
        if is_window || !can_be_key(&key.get_type(on.input.schema())?) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn first_of_each(on: DistinctOn) -> DfResult<LogicalPlan> {
    let mut call = WindowFunction::new(row_number_udwf(), Vec::new());
    // The order begins with the key.
    let order = on.sort_expr.into_iter().flatten().skip(on.on_expr.len());
    call.params.order_by = order.collect();
    call.params.partition_by = on.on_expr;
    let numbered = LogicalPlanBuilder::from(Arc::unwrap_or_clone(on.input))
        .window(vec![Expr::from(call).alias(PLACE)])?;
    let first = numbered.filter(Expr::Column(Column::new_unqualified(PLACE)).eq(lit(1_u64)))?;
    let named = on.select_expr.into_iter().zip(on.schema.iter());
    let named = named.map(|(expr, (qualifier, field))| {
        expr.unalias().alias_qualified(qualifier.cloned(), field.name())
    });
    first.project(named)?.build()
}
