//! `FROM s CROSS JOIN UNNEST(s.tags) AS t (tag)`: the elements of an array beside their row.
//!
//! DataFusion plans it as a join with a subquery over no rows that reads a column of the other
//! side, and cannot run that. It is the same as UNNEST in a SELECT list, over the other side
//! itself:
//!
//! ```text
//!  Join ─ s                                            Projection s.*, tag
//!       └ t: Unnest ─ Projection outer(s.tags) ─ ()      └ Unnest ─ Projection s.*, s.tags ─ s
//! ```

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, JoinType, Result, TableReference};
use datafusion::logical_expr::{Expr, Join, LogicalPlan, LogicalPlanBuilder, Projection, Unnest};
use std::collections::HashMap;
use std::sync::Arc;

/// What a join with an UNNEST of the other side's columns is to be; `None` for any other join.
pub fn flattened(join: &Join) -> Result<Option<LogicalPlan>> {
    let is_cross = join.join_type == JoinType::Inner && join.on.is_empty() && join.filter.is_none();
    if !is_cross || !join.right.exists(|node| Ok(matches!(node, LogicalPlan::Unnest(_))))? {
        return Ok(None);
    }
    let Some(right) = pulled(&join.right, &join.left)? else {
        return Ok(None);
    };
    let mut columns = columns(&join.left);
    columns.extend(right.columns.into_iter().map(|c| c.expr.alias_qualified(c.relation, c.name)));
    Ok(Some(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(right.plan))?)))
}

fn columns(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema().iter().map(|field| Expr::Column(Column::from(field))).collect()
}

/// A plan with all columns of the left side, and how those of the right side are computed from it.
struct Pulled {
    plan: LogicalPlan,
    columns: Vec<Pull>,
}

struct Pull {
    expr: Expr,
    relation: Option<TableReference>,
    name: String,
}

/// The right side over the left one; `None` if it reads anything else.
fn pulled(right: &LogicalPlan, left: &LogicalPlan) -> Result<Option<Pulled>> {
    match right {
        LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => {
            Ok(Some(Pulled { plan: left.clone(), columns: Vec::new() }))
        }
        LogicalPlan::Subquery(subquery) => pulled(&subquery.subquery, left),
        LogicalPlan::SubqueryAlias(alias) => Ok(pulled(&alias.input, left)?.map(|mut inner| {
            inner.columns.iter_mut().for_each(|column| column.relation = Some(alias.alias.clone()));
            inner
        })),
        LogicalPlan::Projection(projection) => match pulled(&projection.input, left)? {
            Some(inner) => projected(projection, inner, left).map(Some),
            None => Ok(None),
        },
        LogicalPlan::Unnest(unnest) => match pulled(&unnest.input, left)? {
            Some(inner) => unnested(unnest, inner, left).map(Some),
            None => Ok(None),
        },
        _ => Ok(None),
    }
}

fn projected(projection: &Projection, inner: Pulled, left: &LogicalPlan) -> Result<Pulled> {
    let known: HashMap<&str, &Expr> =
        inner.columns.iter().map(|column| (column.name.as_str(), &column.expr)).collect();
    let columns = projection.expr.iter().zip(projection.schema.fields()).map(|(expr, field)| {
        let expr = expr.clone().unalias().transform_up(|part| {
            Ok(match &part {
                Expr::OuterReferenceColumn(_, column) if left.schema().has_column(column) => {
                    Transformed::yes(Expr::Column(column.clone()))
                }
                Expr::Column(column) => match known.get(column.name.as_str()) {
                    Some(expr) => Transformed::yes(Expr::clone(expr)),
                    None => Transformed::no(part),
                },
                _ => Transformed::no(part),
            })
        })?;
        Ok(Pull { expr: expr.data, relation: None, name: field.name().clone() })
    });
    let columns = columns.collect::<Result<_>>()?;
    Ok(Pulled { plan: inner.plan, columns })
}

fn unnested(unnest: &Unnest, inner: Pulled, left: &LogicalPlan) -> Result<Pulled> {
    let mut input = columns(left);
    input.extend(inner.columns.into_iter().map(|column| column.expr.alias(column.name)));
    let input = LogicalPlan::Projection(Projection::try_new(input, Arc::new(inner.plan))?);
    let lists = unnest.exec_columns.clone();
    let plan = LogicalPlanBuilder::from(input)
        .unnest_columns_with_options(lists, unnest.options.clone())?
        .build()?;
    let columns = unnest.schema.fields().iter().map(|field| Pull {
        expr: Expr::Column(Column::from_name(field.name())),
        relation: None,
        name: field.name().clone(),
    });
    Ok(Pulled { columns: columns.collect(), plan })
}
