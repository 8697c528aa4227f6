//! Grouping sets: how many a SELECT may ask for (CUBE of 16 columns asks for 65,536), and keys that are
//! computed.
//!
//! The limits and the words are Postgres' (`parse_agg.c`; manual, 7.2.4). Each set is a copy of the
//! keys of every row, so the rows come to such an aggregate in [portions](super::portions).

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result as DfResult};
use datafusion::logical_expr::expr::GroupingSet;
use datafusion::logical_expr::{Aggregate, Expr as Planned, LogicalPlan, LogicalPlanBuilder};
use datafusion::sql::sqlparser::ast::{Expr, GroupByExpr, Select};

use crate::error::{Error, Result, SqlState};
use crate::limits;

/// Refuses a SELECT with too many.
pub fn check_grouping_sets(select: &Select) -> Result<()> {
    let GroupByExpr::Expressions(exprs, _) = &select.group_by else { return Ok(()) };
    let mut sets: usize = 1;
    for expr in exprs {
        // Sets beside each other are combined, each with each.
        sets = sets.saturating_mul(match expr {
            Expr::Cube(elements) if elements.len() > limits::CUBE_ELEMENTS => {
                return Err(Error::new(
                    SqlState::TooManyColumns,
                    format!("CUBE is limited to {} elements", limits::CUBE_ELEMENTS),
                )
                .hint("List the sets that are wanted with GROUPING SETS."));
            }
            Expr::Cube(elements) => 1 << elements.len(),
            Expr::Rollup(elements) => elements.len() + 1,
            Expr::GroupingSets(sets) => sets.len(),
            _ => 1,
        });
    }
    if sets > limits::GROUPING_SETS {
        return Err(Error::new(
            SqlState::TooComplex,
            format!("too many grouping sets present (maximum {})", limits::GROUPING_SETS),
        ));
    }
    Ok(())
}
/// The plan with the keys of its grouping sets as columns: whatever else is made of their expressions, what
/// stands above finds them by their names, and a key in a set cannot be given one.
pub fn with_key_columns(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    plan.transform_down_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) => over_columns(aggregate),
        node => Ok(Transformed::no(node)),
    })
    .map(|plan| plan.data)
}

fn over_columns(aggregate: Aggregate) -> DfResult<Transformed<LogicalPlan>> {
    let computed = |key: &&Planned| !matches!(key, Planned::Column(_));
    let mut keys: Vec<(Planned, String)> = Vec::new();
    for expr in &aggregate.group_expr {
        if let Planned::GroupingSet(sets) = expr {
            let named = |key: &Planned| (key.clone(), key.schema_name().to_string());
            keys.extend(distinct(sets).into_iter().filter(computed).map(named));
        }
    }
    if keys.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let all = aggregate.input.schema().iter().map(Planned::from);
    let computed = keys.iter().map(|(key, name)| key.clone().alias(name));
    let below = LogicalPlanBuilder::from(aggregate.input.as_ref().clone())
        .project(all.chain(computed).collect::<Vec<_>>())?
        .build()?;
    let as_column = |expr: Planned| {
        expr.transform_down(|part| {
            let known = keys.iter().find(|(key, _)| *key == part);
            Ok(known.map_or_else(
                || Transformed::no(part.clone()),
                |(_, name)| Transformed::yes(Planned::Column(Column::new_unqualified(name))),
            ))
        })
        .map(|expr| expr.data)
    };
    let group = aggregate.group_expr.into_iter().map(as_column).collect::<DfResult<Vec<_>>>()?;
    let aggregates =
        aggregate.aggr_expr.into_iter().map(as_column).collect::<DfResult<Vec<_>>>()?;
    let above = Aggregate::try_new(Arc::new(below), group, aggregates)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(above)))
}

fn distinct(sets: &GroupingSet) -> Vec<&Planned> {
    let mut distinct: Vec<&Planned> = Vec::new();
    let all: Vec<&Planned> = match sets {
        GroupingSet::Rollup(keys) | GroupingSet::Cube(keys) => keys.iter().collect(),
        GroupingSet::GroupingSets(sets) => sets.iter().flatten().collect(),
    };
    for key in all {
        if !distinct.contains(&key) {
            distinct.push(key);
        }
    }
    distinct
}
