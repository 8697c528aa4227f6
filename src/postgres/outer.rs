//! Which columns a subquery reads of the queries around it, however far out these are.
//!
//! ```text
//!  FROM t … (SELECT … FROM o … (SELECT … FROM p WHERE p.n = o.n AND p.w > t.v))
//!            reads t.v ◀──────── reads o.n, t.v
//! ```
//! DataFusion notes what stands in a subquery's own expressions: not what a subquery in these reads over
//! its head, and of a LATERAL one in its FROM also what that reads of its neighbours. So they are
//! [counted] anew, from the innermost out. A subquery that reads no more than [the next query](is_of) may
//! be a join with that; any other is [applied](super::subplan) there, and what it reads further out is
//! then an outer column of that query, until whoever applies that knows its value.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, Spans};
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::planner::{
    PlannedRelation, RelationPlanner, RelationPlannerContext, RelationPlanning,
};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Sort, Subquery};
use datafusion::sql::sqlparser::ast::TableFactor;

use crate::error::Error;

/// The plan whose subqueries say what they read of the queries around them. One beside a relation that
/// reads nothing of it is a relation like any.
pub(super) fn counted(plan: LogicalPlan) -> Result<LogicalPlan> {
    let counted = plan.transform_up_with_subqueries(|node| {
        Ok(match node {
            LogicalPlan::Subquery(mut subquery) => {
                subquery.outer_ref_columns = outer_columns(&subquery.subquery)?;
                Transformed::yes(LogicalPlan::Subquery(subquery))
            }
            LogicalPlan::Join(mut join)
                if beside(&join.right)
                    .is_some_and(|subquery| subquery.outer_ref_columns.is_empty()) =>
            {
                join.right = Arc::new(uncovered(&join.right)?);
                Transformed::yes(LogicalPlan::Join(join))
            }
            LogicalPlan::Sort(sort) => sorted(sort)?,
            other => Transformed::no(other),
        })
    })?;
    Ok(counted.data)
}

/// Whether all that a subquery reads of the queries around it are columns of the next one, `around`.
pub(crate) fn is_of(subquery: &Subquery, around: &DFSchema) -> bool {
    subquery.outer_ref_columns.iter().all(|outer| named(outer).is_none_or(|c| around.has_column(c)))
}

/// The relation that a LATERAL subquery is beside another one, as if it were alone.
pub(super) fn uncovered(right: &LogicalPlan) -> Result<LogicalPlan> {
    let inner = right.clone().transform_down(|node| {
        Ok(match node {
            LogicalPlan::Subquery(inner) => {
                let inner = Arc::unwrap_or_clone(inner.subquery);
                Transformed::new(inner, true, TreeNodeRecursion::Stop)
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(inner.data)
}

/// The LATERAL subquery that the right side of a join is.
pub(crate) fn beside(right: &LogicalPlan) -> Option<&Subquery> {
    match right {
        LogicalPlan::Subquery(subquery) => Some(subquery),
        LogicalPlan::SubqueryAlias(alias) => beside(&alias.input),
        LogicalPlan::Projection(projection) => beside(&projection.input),
        _ => None,
    }
}

fn named(outer: &Expr) -> Option<&Column> {
    match outer {
        Expr::OuterReferenceColumn(_, column) => Some(column),
        _ => None,
    }
}

/// What the subquery that an expression is reads of the queries around it.
fn read_by(expr: &Expr) -> &[Expr] {
    match expr {
        Expr::ScalarSubquery(inner) => &inner.outer_ref_columns,
        Expr::InSubquery(list) => &list.subquery.outer_ref_columns,
        Expr::Exists(exists) => &exists.subquery.outer_ref_columns,
        Expr::SetComparison(comparison) => &comparison.subquery.outer_ref_columns,
        _ => &[],
    }
}

/// ORDER BY over the columns that its subqueries read, though they may not be selected.
fn sorted(sort: Sort) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Projection(selected) = sort.input.as_ref() else {
        return Ok(Transformed::no(LogicalPlan::Sort(sort)));
    };
    let mut missing: Vec<Expr> = Vec::new();
    for by in &sort.expr {
        by.expr.apply(|part| {
            for column in read_by(part).iter().filter_map(named) {
                let is_beside = selected.input.schema().has_column(column)
                    && !selected.schema.has_column(column);
                let column = Expr::Column(column.clone());
                if is_beside && !missing.contains(&column) {
                    missing.push(column);
                }
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    let columns = selected.expr.iter().chain(&missing).cloned().collect();
    match Projection::try_new(columns, Arc::clone(&selected.input)) {
        Ok(all) if !missing.is_empty() => {
            let own = selected.schema.columns().into_iter().map(Expr::Column).collect();
            let input = Arc::new(LogicalPlan::Projection(all));
            let sort = Arc::new(LogicalPlan::Sort(Sort { input, ..sort }));
            let selected = LogicalPlan::Projection(Projection::try_new(own, sort)?);
            Ok(Transformed::yes(selected))
        }
        // One of them has the name of what is selected.
        Ok(_) | Err(_) => Ok(Transformed::no(LogicalPlan::Sort(sort))),
    }
}

/// Refuses an aggregate whose arguments are columns of the queries around it alone: it is one of these.
/// Those that stand for a subquery (ARRAY, one row) are none that anybody has written.
pub(crate) fn check_aggregate(call: &AggregateFunction) -> Result<()> {
    let params = &call.params;
    let sorts = params.order_by.iter().map(|by| &by.expr);
    let read = || params.args.iter().chain(params.filter.as_deref()).chain(sorts.clone());
    let is_outer = params.args.iter().any(Expr::contains_outer)
        && !read().any(|expr| expr.any_column_refs() || expr.contains_scalar_subquery());
    if !is_outer || ["array_agg", "first_value"].contains(&call.func.name()) {
        return Ok(());
    }
    let what = "an aggregate that only reads columns of a query around its own is not supported";
    Err(Error::unsupported(what).hint("It is an aggregate of that query: write it there.").into())
}

/// LATERAL subqueries that read what stands beside them only by subqueries of their own: DataFusion takes
/// them for relations like any.
#[derive(Debug)]
pub(crate) struct LateralRelations;

impl RelationPlanner for LateralRelations {
    fn plan_relation(
        &self,
        relation: TableFactor,
        context: &mut dyn RelationPlannerContext,
    ) -> Result<RelationPlanning> {
        let TableFactor::Derived { lateral: true, subquery, alias, sample } = relation else {
            return Ok(RelationPlanning::Original(Box::new(relation)));
        };
        let alone = TableFactor::Derived { lateral: false, subquery, alias: None, sample };
        let mut plan = context.plan(alone)?;
        if plan.all_out_ref_exprs().is_empty() {
            let outer_ref_columns = outer_columns(&counted(plan.clone())?)?;
            if !outer_ref_columns.is_empty() {
                let (subquery, spans) = (Arc::new(plan), Spans::new());
                plan = LogicalPlan::Subquery(Subquery { subquery, outer_ref_columns, spans });
            }
        }
        Ok(RelationPlanning::Planned(Box::new(PlannedRelation::new(plan, alias))))
    }
}

/// What a plan reads of the queries around it; its subqueries have been counted.
fn outer_columns(plan: &LogicalPlan) -> Result<Vec<Expr>> {
    let mut found: Vec<Expr> = Vec::new();
    let mut add = |outer: &Expr| {
        if !found.contains(outer) {
            found.push(outer.clone());
        }
    };
    plan.apply(|node| {
        let inputs = node.inputs();
        let is_own = |outer: &Expr| {
            named(outer).is_some_and(|c| inputs.iter().any(|input| input.schema().has_column(c)))
        };
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if named(part).is_some() {
                    add(part);
                }
                read_by(part).iter().filter(|outer| !is_own(outer)).for_each(&mut add);
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        match node {
            LogicalPlan::Join(join) => {
                let outer = beside(&join.right).map(|inner| &inner.outer_ref_columns[..]);
                let is_left = |outer: &&Expr| {
                    named(outer).is_some_and(|column| join.left.schema().has_column(column))
                };
                outer.unwrap_or_default().iter().filter(|o| !is_left(o)).for_each(&mut add);
                Ok(TreeNodeRecursion::Continue)
            }
            // Its join has said what it reads.
            LogicalPlan::Subquery(_) => Ok(TreeNodeRecursion::Jump),
            _ => Ok(TreeNodeRecursion::Continue),
        }
    })?;
    Ok(found)
}
