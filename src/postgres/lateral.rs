//! Subqueries in FROM that read columns of what stands beside them, where they are no join.
//!
//! ```text
//!  t, LATERAL (SELECT v FROM o WHERE o.k = t.k ORDER BY v LIMIT 2) x
//!  ─▶ t with the rows of x for each of its rows, as an array ─▶ UNNEST ─▶ their columns
//! ```
//! The array is a subquery that is [applied](super::subplan), as in the SELECT list. What is a join is
//! made one by DataFusion's rule ([`joinable`](super::coercion::joinable)); UNNEST of a column in an inner
//! join is left to it. One without FROM is only expressions over the row beside it.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchemaRef, ExprSchema, JoinType, Result, UnnestOptions};
use datafusion::execution::context::SessionState;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::functions_nested::expr_fn::cardinality;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Expr, Join, LogicalPlan, LogicalPlanBuilder, ScalarUDF, Subquery, lit, when,
};
use datafusion::optimizer::OptimizerRule;
use datafusion::optimizer::decorrelate_lateral_join::DecorrelateLateralJoin;

use super::coercion::joinable::{Use, is_join};
use super::functions::is_as_json;
use super::outer::{counted, is_of, uncovered};
use super::subplan::{SubqueryKind, applied, field_name};

/// The column with the rows.
const ROWS: &str = "__lateral";

/// The plan with its lateral subqueries that are no joins as arrays of rows.
pub fn as_arrays(plan: LogicalPlan, state: &SessionState) -> Result<LogicalPlan> {
    Ok(plan.transform_up_with_subqueries(|node| joined(node, state))?.data)
}

/// The plan with the lateral subqueries that stand in subqueries of its expressions taken apart: such a
/// subquery would be taken for one that reads columns of the query around it, and what the optimizer
/// makes a join of it may never see. To come before operators are rewritten, which it does (by
/// `rewrite`) within these subqueries alone.
pub fn in_subqueries(
    plan: LogicalPlan,
    state: &SessionState,
    rewrite: &dyn Fn(LogicalPlan) -> Result<LogicalPlan>,
) -> Result<LogicalPlan> {
    let apart = |plan: LogicalPlan| {
        let LogicalPlan::Subquery(mut subquery) = plan else { return Ok(Transformed::no(plan)) };
        if !has_lateral(&subquery.subquery)? {
            return Ok(Transformed::no(LogicalPlan::Subquery(subquery)));
        }
        let inner = in_subqueries(subquery.subquery.as_ref().clone(), state, rewrite)?;
        let inner = rewrite(inner)?.transform_up(|node| joined(node, state))?;
        subquery.subquery = Arc::new(inner.data);
        Ok(Transformed::yes(LogicalPlan::Subquery(subquery)))
    };
    Ok(plan.transform_down(|node| node.map_subqueries(apart))?.data)
}

/// The plan without lateral subqueries that have no relation before them: what these read are columns of
/// the query around, as any subquery does. All that are left say what they read.
pub fn alone(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut has_some = false;
    plan.apply_with_subqueries(|node| {
        has_some |= node.inputs().iter().any(|input| matches!(input, LogicalPlan::Subquery(_)));
        Ok(if has_some { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    counted(if has_some { without_lone(plan, false)? } else { plan })
}

/// `is_beside`: it is the right side of a join, and not alone.
fn without_lone(plan: LogicalPlan, is_beside: bool) -> Result<LogicalPlan> {
    let inside = |mut subquery: Subquery| {
        let inner = without_lone(Arc::unwrap_or_clone(subquery.subquery), false)?;
        subquery.subquery = Arc::new(inner);
        Ok(subquery)
    };
    let plan = match plan {
        LogicalPlan::Subquery(subquery) if is_beside => {
            return inside(subquery).map(LogicalPlan::Subquery);
        }
        LogicalPlan::Subquery(subquery) => {
            return without_lone(Arc::unwrap_or_clone(subquery.subquery), false);
        }
        other => other,
    };
    let passes =
        is_beside && matches!(plan, LogicalPlan::SubqueryAlias(_) | LogicalPlan::Projection(_));
    let is_join = matches!(plan, LogicalPlan::Join(_));
    let mut at = 0;
    let plan = plan.map_children(|child| {
        at += 1;
        without_lone(child, passes || is_join && at == 2).map(Transformed::yes)
    })?;
    let plan = plan.data.map_subqueries(|plan| match plan {
        LogicalPlan::Subquery(subquery) => {
            inside(subquery).map(|inner| Transformed::yes(LogicalPlan::Subquery(inner)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(plan.data)
}

fn has_lateral(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::Join(join) if lateral(&join.right).is_some());
        Ok(if found { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    })?;
    Ok(found)
}

fn joined(node: LogicalPlan, state: &SessionState) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Join(join) = node else { return Ok(Transformed::no(node)) };
    let mut join = conditioned_only(join);
    if lateral(&join.right).is_some() {
        // One within it would be in the way of taking this one apart.
        let right = join.right.as_ref().clone();
        let right = right.transform_up(|node| joined(node, state))?;
        join.right = Arc::new(right.data);
    }
    match replaced(&join, state)? {
        Some(plan) => Ok(Transformed::yes(plan)),
        // The optimizer does not look at all of a plan that has subqueries in its expressions as well.
        None if lateral(&join.right).is_some() => {
            DecorrelateLateralJoin::new().rewrite(LogicalPlan::Join(join), state)
        }
        None => Ok(Transformed::yes(LogicalPlan::Join(join))),
    }
}

/// The equal columns of USING and NATURAL as a condition, which is all that DataFusion looks at of a
/// join with a lateral subquery when it makes a join of that.
fn conditioned_only(mut join: Join) -> Join {
    if lateral(&join.right).is_some() {
        let equal = join.on.drain(..).map(|(left, right)| left.eq(right));
        join.filter = conjunction(join.filter.take().into_iter().chain(equal));
    }
    join
}

fn replaced(join: &Join, state: &SessionState) -> Result<Option<LogicalPlan>> {
    let Some((subquery, columns)) = lateral(&join.right) else { return Ok(None) };
    let is_outer = join.join_type == JoinType::Left;
    let has_condition = join.filter.as_ref().is_some_and(|filter| *filter != lit(true));
    if !is_outer && join.join_type != JoinType::Inner || !join.on.is_empty() {
        return Ok(None);
    }
    let is_near = is_of(subquery, join.left.schema());
    if is_near && is_join(&subquery.subquery, Use::Value)? {
        return Ok(None);
    }
    if is_outer && has_condition {
        let (subquery, columns) =
            (conditioned(join, subquery)?, 0..join.right.schema().fields().len());
        return unnested(join, &subquery, &columns.collect::<Vec<_>>(), state, true).map(Some);
    }
    let joined = match expressions(subquery, join)? {
        Some(values) => {
            let values = columns.iter().map(|at| values[*at].clone().unalias());
            beside(join, join.left.as_ref().clone(), values.collect())?
        }
        None if is_near
            && !is_outer
            && join.filter.is_none()
            && is_unnested(&subquery.subquery)? =>
        {
            return Ok(None);
        }
        None => match elements(subquery, join)? {
            Some(array) => kept(join, &columns, &array, is_outer)?,
            None => unnested(join, subquery, &columns, state, is_outer)?,
        },
    };
    let builder = LogicalPlanBuilder::from(joined);
    let joined = match &join.filter {
        Some(filter) if has_condition => builder.filter(filter.clone())?,
        Some(_) | None => builder,
    };
    joined.build().map(Some)
}

/// The lateral subquery that the right side of a join is, and which of its columns that gives.
fn lateral(plan: &LogicalPlan) -> Option<(&Subquery, Vec<usize>)> {
    match plan {
        LogicalPlan::Subquery(subquery) if !subquery.outer_ref_columns.is_empty() => {
            Some((subquery, (0..subquery.subquery.schema().fields().len()).collect()))
        }
        LogicalPlan::SubqueryAlias(alias) => lateral(&alias.input),
        LogicalPlan::Projection(projection) => {
            let (subquery, columns) = lateral(&projection.input)?;
            let column = |expr: &Expr| match expr.clone().unalias() {
                Expr::Column(column) => {
                    let at = projection.input.schema().maybe_index_of_column(&column)?;
                    columns.get(at).copied()
                }
                _ => None,
            };
            let picked = projection.expr.iter().map(column).collect::<Option<Vec<_>>>()?;
            Some((subquery, picked))
        }
        _ => None,
    }
}

/// What a subquery without FROM computes of the row beside it.
fn expressions(subquery: &Subquery, join: &Join) -> Result<Option<Vec<Expr>>> {
    let mut plan = subquery.subquery.as_ref();
    while let LogicalPlan::SubqueryAlias(alias) = plan {
        plan = &alias.input;
    }
    let LogicalPlan::Projection(projection) = plan else { return Ok(None) };
    match projection.input.as_ref() {
        LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => {}
        _ => return Ok(None),
    }
    projection.expr.iter().map(|expr| own(expr, join)).collect::<Result<_>>().map(Some)
}

/// An expression of the subquery over the row beside it; a column of a query further out stays one.
fn own(expr: &Expr, join: &Join) -> Result<Expr> {
    let left = join.left.schema();
    let put = expr.clone().transform(|part| match part {
        Expr::OuterReferenceColumn(_, column) if left.has_column(&column) => {
            Ok(Transformed::yes(Expr::Column(column)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(put.data)
}

/// An array of the row beside it, and the function that says that its elements are JSON.
struct ArrayBeside {
    array: Expr,
    as_json: Option<Arc<ScalarUDF>>,
}

/// The array of the row beside it whose elements a subquery is.
fn elements(subquery: &Subquery, join: &Join) -> Result<Option<ArrayBeside>> {
    let mut plan = subquery.subquery.as_ref();
    let mut as_json = None;
    loop {
        plan = match plan {
            LogicalPlan::SubqueryAlias(alias) => &alias.input,
            LogicalPlan::Projection(projection) if projection.expr.len() == 1 => {
                match projection.expr[0].clone().unalias() {
                    Expr::Column(_) => &projection.input,
                    Expr::ScalarFunction(call)
                        if is_as_json(&call.func) && matches!(call.args[..], [Expr::Column(_)]) =>
                    {
                        as_json = Some(call.func);
                        &projection.input
                    }
                    _ => return Ok(None),
                }
            }
            LogicalPlan::Unnest(unnest) if unnest.schema.fields().len() == 1 => {
                let LogicalPlan::Projection(array) = unnest.input.as_ref() else {
                    return Ok(None);
                };
                let is_alone = matches!(array.input.as_ref(), LogicalPlan::EmptyRelation(_));
                return match array.expr.as_slice() {
                    [array] if is_alone => {
                        let array = own(&array.clone().unalias(), join)?;
                        Ok(Some(ArrayBeside { array, as_json }))
                    }
                    _ => Ok(None),
                };
            }
            _ => return Ok(None),
        };
    }
}

/// The elements of an array beside the left side's columns; `keeps`: NULL where there are none.
fn kept(join: &Join, columns: &[usize], of: &ArrayBeside, keeps: bool) -> Result<LogicalPlan> {
    let array = when(cardinality(of.array.clone()).gt(lit(0)), of.array.clone()).end()?;
    let element = Expr::Column(Column::new_unqualified(ROWS));
    let element = match &of.as_json {
        Some(function) => function.call(vec![element]),
        None => element,
    };
    let elements = columns.iter().map(|_| element.clone());
    apart(join, array, elements.collect(), keeps)
}

/// The right side with the condition of the join in it: a left row without a partner that meets it
/// has none.
fn conditioned(join: &Join, subquery: &Subquery) -> Result<Subquery> {
    let mut outer = subquery.outer_ref_columns.clone();
    let condition = join.filter.clone().unwrap_or_else(|| lit(true)).transform(|part| {
        let Expr::Column(column) = &part else {
            if matches!(part, Expr::OuterReferenceColumn(..)) {
                outer.push(part.clone());
            }
            return Ok(Transformed::no(part));
        };
        if join.right.schema().has_column(column) {
            return Ok(Transformed::no(part));
        }
        let field = Arc::clone(join.left.schema().field_from_column(column)?);
        let reference = Expr::OuterReferenceColumn(field, column.clone());
        outer.push(reference.clone());
        Ok(Transformed::yes(reference))
    })?;
    let whole = uncovered(&join.right)?;
    let plan = LogicalPlanBuilder::from(whole).filter(condition.data)?.build()?;
    let spans = subquery.spans.clone();
    Ok(Subquery { subquery: Arc::new(plan), outer_ref_columns: outer, spans })
}

/// Whether it takes an array apart and does nothing else.
fn is_unnested(plan: &LogicalPlan) -> Result<bool> {
    let (mut unnests, mut does_more) = (false, false);
    plan.apply(|node| {
        match node {
            LogicalPlan::Unnest(_) => unnests = true,
            LogicalPlan::Projection(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::EmptyRelation(_) => {}
            _ => does_more = true,
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(unnests && !does_more)
}

/// The columns of the left side.
fn own_columns(schema: &DFSchemaRef) -> Vec<Expr> {
    schema.iter().map(|field| Expr::Column(Column::from(field))).collect()
}

/// These expressions beside the left side's columns, called as the right side's.
fn beside(join: &Join, input: LogicalPlan, values: Vec<Expr>) -> Result<LogicalPlan> {
    let mut exprs = own_columns(join.left.schema());
    for (value, (qualifier, field)) in values.into_iter().zip(join.right.schema().iter()) {
        exprs.push(value.alias_qualified(qualifier.cloned(), field.name()));
    }
    LogicalPlanBuilder::from(input).project(exprs)?.build()
}

/// The rows of the subquery as an array, taken apart; `keeps`: the left row stays if there are none.
fn unnested(
    join: &Join,
    subquery: &Subquery,
    columns: &[usize],
    state: &SessionState,
    keeps: bool,
) -> Result<LogicalPlan> {
    let rows = applied(state, subquery, SubqueryKind::Rows, None, join.left.schema())?;
    let row = Expr::Column(Column::new_unqualified(ROWS));
    let values = columns.iter().map(|at| get_field(row.clone(), field_name(*at)));
    apart(join, rows, values.collect(), keeps)
}

/// An array taken apart, and what is computed of an element, [`ROWS`], beside the left side's columns.
fn apart(join: &Join, array: Expr, values: Vec<Expr>, keeps: bool) -> Result<LogicalPlan> {
    let with_array = own_columns(join.left.schema()).into_iter().chain([array.alias(ROWS)]);
    let options = UnnestOptions::new().with_preserve_nulls(keeps);
    let elements = LogicalPlanBuilder::from(join.left.as_ref().clone())
        .project(with_array.collect::<Vec<_>>())?
        .unnest_column_with_options(Column::new_unqualified(ROWS), options)?
        .build()?;
    beside(join, elements, values)
}
