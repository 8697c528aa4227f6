//! Where the columns of the plan on top come from: the window, what the plan is over, or neither; and
//! what is done with conditions on the window's columns.

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Aggregate, Expr, Filter, LogicalPlan, Projection};
use std::sync::Arc;

use super::placeholder::INPUT;
use super::stage::rebuilt;
use super::window::WindowNode;
use crate::error::{Error, Result};
use crate::time::WINDOW_COLUMNS;

/// Where a column of the plan on top comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It is this one of [`WINDOW_COLUMNS`].
    Window(usize),
    /// It is this column of what the plan is over, untouched.
    Source(usize),
    /// It is computed, or comes from a table.
    Other,
}

/// Follows a column down to where it comes from.
pub(super) fn trace(expr: &Expr, plan: &LogicalPlan) -> Origin {
    let column = match expr {
        Expr::Alias(alias) => return trace(&alias.expr, plan),
        Expr::Column(column) => column,
        _ => return Origin::Other,
    };
    let Some(at) = plan.schema().maybe_index_of_column(column) else {
        return Origin::Other;
    };
    match plan {
        LogicalPlan::Projection(projection) => trace(&projection.expr[at], &projection.input),
        LogicalPlan::SubqueryAlias(alias) => trace(&column_at(&alias.input, at), &alias.input),
        LogicalPlan::Filter(filter) => trace(expr, &filter.input),
        LogicalPlan::Unnest(unnest) => match unnest.input.schema().maybe_index_of_column(column) {
            Some(below)
                if !unnest
                    .exec_columns
                    .contains(&Column::from(unnest.input.schema().qualified_field(below))) =>
            {
                trace(expr, &unnest.input)
            }
            _ => Origin::Other,
        },
        LogicalPlan::Join(join) => match trace(expr, &join.left) {
            Origin::Other => trace(expr, &join.right),
            found => found,
        },
        LogicalPlan::Extension(extension) => {
            match extension.node.as_any().downcast_ref::<WindowNode>() {
                Some(window) if at >= window.input_width() => {
                    Origin::Window(at - window.input_width())
                }
                Some(window) => trace(&column_at(&window.input, at), &window.input),
                None => Origin::Other,
            }
        }
        LogicalPlan::TableScan(scan) if scan.table_name.table() == INPUT => Origin::Source(at),
        _ => Origin::Other,
    }
}

/// This column of a plan.
pub(super) fn column_at(plan: &LogicalPlan, at: usize) -> Expr {
    Expr::Column(Column::from(plan.schema().qualified_field(at)))
}

pub(super) fn references_window(expr: &Expr, plan: &LogicalPlan) -> bool {
    expr.column_refs()
        .into_iter()
        .any(|c| matches!(trace(&Expr::Column(c.clone()), plan), Origin::Window(_)))
}

/// Whether an expression between the window function and the top computes with the window's
/// columns.
pub(super) fn looks_into_window(plan: &LogicalPlan) -> bool {
    if let LogicalPlan::Extension(_) = plan {
        return false;
    }
    let inputs = plan.inputs();
    let here = match plan {
        LogicalPlan::Projection(projection) => projection.expr.iter().any(|expr| {
            let bare = matches!(expr.clone().unalias(), Expr::Column(_));
            !bare && references_window(expr, &projection.input)
        }),
        LogicalPlan::Filter(filter) => references_window(&filter.predicate, &filter.input),
        LogicalPlan::Join(join) => {
            let sides = [join.left.as_ref(), join.right.as_ref()];
            let references = |e: &Expr| sides.iter().any(|side| references_window(e, side));
            join.on.iter().any(|(l, r)| references(l) || references(r))
                || join.filter.iter().any(references)
        }
        _ => false,
    };
    here || inputs.into_iter().any(looks_into_window)
}

/// Takes the conditions that concern the window's columns alone out of the filters; they come back
/// over [`WINDOW_COLUMNS`].
pub(super) fn lift_filters(plan: &LogicalPlan, lifted: &mut Vec<Expr>) -> Result<LogicalPlan> {
    if let LogicalPlan::Extension(_) = plan {
        return Ok(plan.clone());
    }
    let inputs =
        plan.inputs().into_iter().map(|i| lift_filters(i, lifted)).collect::<Result<Vec<_>>>()?;
    let LogicalPlan::Filter(filter) = plan else {
        return rebuilt(plan, inputs);
    };
    let mut kept = Vec::new();
    for conjunct in split_conjunction_owned(filter.predicate.clone()) {
        match over_window(&conjunct, &filter.input)? {
            Some(predicate) => lifted.push(predicate),
            None => kept.push(conjunct),
        }
    }
    let input =
        inputs.into_iter().next().ok_or_else(|| Error::internal("a filter without input"))?;
    match conjunction(kept) {
        Some(predicate) => Ok(LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(input))?)),
        None => Ok(input),
    }
}

/// The condition with the window's columns under their own names, if it uses only those.
fn over_window(conjunct: &Expr, plan: &LogicalPlan) -> Result<Option<Expr>> {
    let columns = conjunct.column_refs();
    let all = !columns.is_empty()
        && columns
            .iter()
            .all(|c| matches!(trace(&Expr::Column((*c).clone()), plan), Origin::Window(_)));
    if !all {
        return Ok(None);
    }
    let renamed = conjunct.clone().transform(|expr| {
        Ok(match trace(&expr, plan) {
            Origin::Window(which) => {
                Transformed::yes(Expr::Column(Column::new_unqualified(WINDOW_COLUMNS[which])))
            }
            _ => Transformed::no(expr),
        })
    })?;
    Ok(Some(renamed.data))
}

/// A lifted condition over the aggregate's output.
pub(super) fn over_groups(
    predicate: Expr,
    aggregate: &Aggregate,
    origins: &[Origin],
) -> Result<Expr> {
    let mut missing = None;
    let renamed = predicate.transform(|expr| {
        let Expr::Column(column) = &expr else {
            return Ok(Transformed::no(expr));
        };
        let which = WINDOW_COLUMNS.iter().position(|name| *name == column.name);
        match which.and_then(|w| origins.iter().position(|origin| *origin == Origin::Window(w))) {
            Some(at) => Ok(Transformed::yes(Expr::Column(Column::from(
                aggregate.schema.qualified_field(at),
            )))),
            None => {
                missing = Some(column.name.clone());
                Ok(Transformed::new(expr, false, TreeNodeRecursion::Stop))
            }
        }
    })?;
    match missing {
        Some(name) => {
            Err(Error::unsupported(format!("a condition on {name} needs {name} in GROUP BY"))
                .hint("Group by window_start and window_end."))
        }
        None => Ok(renamed.data),
    }
}

/// The plan with the event time in place of each of the window's columns.
pub(super) fn without_window(plan: &LogicalPlan) -> Result<LogicalPlan> {
    if let LogicalPlan::Extension(extension) = plan
        && let Some(window) = extension.node.as_any().downcast_ref::<WindowNode>()
    {
        let schema = plan.schema();
        let mut exprs: Vec<Expr> =
            (0..window.input_width()).map(|at| column_at(&window.input, at)).collect();
        for at in window.input_width()..schema.fields().len() {
            let (qualifier, field) = schema.qualified_field(at);
            exprs.push(window.time.clone().alias_qualified(qualifier.cloned(), field.name()));
        }
        return Ok(LogicalPlan::Projection(Projection::try_new(
            exprs,
            Arc::new(window.input.clone()),
        )?));
    }
    let inputs = plan.inputs().into_iter().map(without_window).collect::<Result<Vec<_>>>()?;
    rebuilt(plan, inputs)
}
