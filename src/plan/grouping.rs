//! GROUPING SETS, ROLLUP and CUBE over rows that never end.
//!
//! Each row is taken once for each set, with NULL for what is not in the set, and then grouped by
//! all columns and the set's number like any other: the operators know nothing of sets. The number
//! is DataFusion's, by which `grouping()` is answered.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::{
    Aggregate, Expr, ExprSchemable, GroupingSet, LogicalPlan, LogicalPlanBuilder, Projection,
    in_list, when,
};

use super::origin::column_at;
use crate::error::{Error, Result};

/// The number of a row's set.
const SET: &str = "__set";

/// Whether an aggregate groups by several sets.
pub(super) fn has_sets(aggregate: &Aggregate) -> bool {
    matches!(aggregate.group_expr.first(), Some(Expr::GroupingSet(_)))
}

/// The aggregate by single columns, its own columns being the same; the plan that it is then over;
/// and the groups that are there without rows, which those of the empty set are, as a total without
/// GROUP BY is.
pub(super) fn by_columns(
    mut aggregate: Aggregate,
    plan: LogicalPlan,
) -> Result<(Aggregate, LogicalPlan, Vec<Vec<ScalarValue>>)> {
    let Some(Expr::GroupingSet(sets)) = aggregate.group_expr.first() else {
        return Err(Error::internal("no grouping sets"));
    };
    let exprs: Vec<Expr> = sets.distinct_expr().into_iter().cloned().collect();
    let numbers = numbers(&all_sets(sets), &exprs);
    let number_type = aggregate.schema.field(exprs.len()).data_type();
    let literals = numbers
        .iter()
        .map(|number| ScalarValue::UInt64(Some(*number)).cast_to(number_type))
        .collect::<Result<Vec<_>, _>>()?;
    let name = |at: usize| format!("__group_{at}");
    let mut columns: Vec<Expr> =
        (0..plan.schema().fields().len()).map(|at| column_at(&plan, at)).collect();
    let own = columns.len();
    columns.extend(exprs.iter().enumerate().map(|(at, e)| e.clone().unalias().alias(name(at))));
    let list = ScalarValue::new_list(&literals, number_type, true);
    columns.push(Expr::Literal(ScalarValue::List(list), None).alias(SET));
    let listed = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(plan))?);
    let each = LogicalPlanBuilder::from(listed).unnest_column(SET)?.build()?;

    let set = || Expr::Column(Column::new_unqualified(SET));
    let mut columns: Vec<Expr> = (0..own).map(|at| column_at(&each, at)).collect();
    let mut nulls = Vec::with_capacity(exprs.len());
    for at in 0..exprs.len() {
        let column = column_at(&each, own + at);
        let bit = exprs.len() - 1 - at;
        let without = numbers.iter().zip(&literals).filter(|(number, _)| **number >> bit & 1 == 1);
        let without: Vec<Expr> =
            without.map(|(_, literal)| Expr::Literal(literal.clone(), None)).collect();
        let null = ScalarValue::try_from(&column.get_type(each.schema())?)?;
        nulls.push(null.clone());
        columns.push(if without.is_empty() {
            column
        } else {
            let is_without = in_list(set(), without, false);
            when(is_without, Expr::Literal(null, None)).otherwise(column)?.alias(name(at))
        });
    }
    let nothing = (1_u64 << exprs.len()) - 1;
    let empty = numbers.iter().zip(literals).filter(|(number, _)| **number & nothing == nothing);
    let standing = empty.map(|(_, number)| nulls.iter().cloned().chain([number]).collect());
    let standing = standing.collect();
    columns.push(set());
    let top = LogicalPlan::Projection(Projection::try_new(columns, Arc::new(each))?);
    let keys = (0..exprs.len()).map(|at| Expr::Column(Column::new_unqualified(name(at))));
    aggregate.group_expr = keys.chain([set()]).collect();
    Ok((aggregate, top, standing))
}

/// The expressions of each set.
fn all_sets(sets: &GroupingSet) -> Vec<Vec<Expr>> {
    match sets {
        GroupingSet::GroupingSets(sets) => sets.clone(),
        GroupingSet::Rollup(exprs) => {
            (0..=exprs.len()).map(|length| exprs[..length].to_vec()).collect()
        }
        GroupingSet::Cube(exprs) => (0..1_usize << exprs.len())
            .map(|chosen| {
                let exprs = exprs.iter().enumerate().filter(|(at, _)| chosen >> at & 1 == 1);
                exprs.map(|(_, expr)| expr.clone()).collect()
            })
            .collect(),
    }
}

/// The number of each set: a bit for each expression, the last one lowest, that is 1 where it is not
/// in the set; above these, how often the same set stood before.
fn numbers(sets: &[Vec<Expr>], exprs: &[Expr]) -> Vec<u64> {
    let mut before: HashMap<u64, u64> = HashMap::new();
    let number = |set: &Vec<Expr>| {
        let bits = exprs.iter().fold(0, |bits, expr| bits << 1 | u64::from(!set.contains(expr)));
        let ordinal = before.entry(bits).or_default();
        *ordinal += 1;
        bits | (*ordinal - 1) << exprs.len()
    };
    sets.iter().map(number).collect()
}
