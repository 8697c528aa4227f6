//! Which queries compute little, so that they need not stand in line with those that compute much.
//!
//! A sort of a gigabyte falls into a thousand tasks, and whoever comes after it in the same queue
//! waits for all of them: a second, on two threads. A query over few rows is told by its plan: it
//! reads relations whose rows are counted, at the most [`limits::LIGHT_ROWS`] combinations of them,
//! and nothing in it makes much of little.

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, LogicalPlan, TableScan};

use super::functions::can_explode;
use super::piecewise::is_match;
use super::subplan::is_subplan;
use crate::limits;

/// Whether an optimized plan computes little. `weight_of`: how many rows a scan gives, if that is
/// known; large ones count as several.
pub fn is_light(plan: &LogicalPlan, weight_of: impl Fn(&TableScan) -> Option<usize>) -> bool {
    let (mut combinations, mut is_light) = (1_usize, true);
    // The closures never fail.
    let _ = plan.apply(|node| {
        let rows = match node {
            LogicalPlan::TableScan(scan) => weight_of(scan),
            LogicalPlan::Values(values) => Some(values.values.len()),
            LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::Aggregate(_)
            | LogicalPlan::Sort(_)
            | LogicalPlan::Limit(_)
            | LogicalPlan::Join(_)
            | LogicalPlan::Union(_)
            | LogicalPlan::Distinct(_)
            | LogicalPlan::Window(_)
            | LogicalPlan::SubqueryAlias(_) => Some(1),
            // Recursion, arrays that are taken apart, and whatever comes to be.
            _ => None,
        };
        combinations = combinations.saturating_mul(rows.unwrap_or(usize::MAX).max(1));
        is_light = combinations <= limits::LIGHT_ROWS && makes_little(node)?;
        Ok(if is_light { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
    });
    is_light
}

/// Whether no expression of a node makes much of one row.
fn makes_little(node: &LogicalPlan) -> Result<bool> {
    let mut is_little = true;
    node.apply_expressions(|expr| {
        expr.apply(|part| {
            is_little &= match part {
                Expr::ScalarFunction(call) => {
                    let name = call.func.name();
                    !can_explode(&call.func)
                        && !is_subplan(&call.func)
                        && !name.starts_with("regexp_")
                }
                // A pattern that is a constant is compiled once.
                Expr::BinaryExpr(binary) => {
                    !is_match(binary.op) || matches!(*binary.right, Expr::Literal(..))
                }
                Expr::GroupingSet(_) => false,
                _ => true,
            };
            Ok(if is_little { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        })
    })?;
    Ok(is_little)
}
