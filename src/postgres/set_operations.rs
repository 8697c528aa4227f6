//! EXCEPT ALL and INTERSECT ALL count: a row that is there three times, less one, is there twice.
//!
//! DataFusion makes them joins that ask of each row whether it is on the other side at all. Here the
//! equal rows of each side are numbered first, and a row is only met by the one of its number.
//! (PostgreSQL manual, 7.4 "Combining Queries".)

use std::sync::Arc;

use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, JoinType, NullEquality, Result};
use datafusion::functions_window::row_number::row_number_udwf;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder};

/// The plan, as it was made of a statement, with EXCEPT ALL and INTERSECT ALL that count.
pub fn counting(plan: LogicalPlan) -> Result<LogicalPlan> {
    let counting = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Join(join) if is_all(&join) => by_number(&join).map(Transformed::yes),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(counting.data)
}

/// Whether a join is an EXCEPT or INTERSECT: nothing else is a join of this kind before subqueries have
/// become some.
pub fn is_set_operation(join: &Join) -> bool {
    matches!(join.join_type, JoinType::LeftAnti | JoinType::LeftSemi)
        && join.null_equality == NullEquality::NullEqualsNull
        && join.filter.is_none()
        && join.on.len() == join.left.schema().fields().len()
}

/// Without ALL the rows of the left side are different.
fn is_all(join: &Join) -> bool {
    is_set_operation(join) && !matches!(*join.left, LogicalPlan::Distinct(_))
}

fn by_number(join: &Join) -> Result<LogicalPlan> {
    let (left, first) = numbered(&join.left, "__nth_left")?;
    let (right, second) = numbered(&join.right, "__nth_right")?;
    let mut on = join.on.clone();
    on.push((first, second));
    let counted = Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        None,
        join.join_type,
        join.join_constraint,
        join.null_equality,
        false,
    )?;
    LogicalPlanBuilder::from(LogicalPlan::Join(counted)).project(columns(&join.left))?.build()
}

/// The rows with their numbers among those that are equal, and that column.
fn numbered(side: &LogicalPlan, name: &str) -> Result<(LogicalPlan, Expr)> {
    let mut number = WindowFunction::new(row_number_udwf(), Vec::new());
    number.params.partition_by = columns(side);
    let number = Expr::from(number).alias(name);
    let plan = LogicalPlanBuilder::from(side.clone()).window(vec![number])?.build()?;
    Ok((plan, Expr::Column(Column::new_unqualified(name))))
}

fn columns(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().iter().map(|pair| Expr::Column(Column::from(pair))).collect()
}
