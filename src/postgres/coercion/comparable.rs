//! What is compared: intervals are so by how long they are, times of several types in that which they
//! have together, and what stands beside a CHAR without its blanks.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::InSubquery;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, Projection, ident};

use super::floats::unify_compared;
use super::texts;
use crate::postgres::functions;

/// Puts what is compared with each other into a form in which that is right; says whether it was not.
pub(super) fn made_comparable<'e>(
    sides: impl IntoIterator<Item = &'e mut Expr>,
    schema: &DFSchema,
) -> bool {
    let sides: Vec<&mut Expr> = sides.into_iter().collect();
    let is_interval = |side: &Expr| {
        matches!(side.get_type(schema), Ok(DataType::Interval(_) | DataType::Duration(_)))
    };
    if sides.iter().all(|side| is_interval(side)) {
        for side in sides {
            *side = functions::interval_size(std::mem::take(side));
        }
        return true;
    }
    let mut sides = sides;
    texts::compared(&mut sides, schema) || unify_compared(sides.into_iter(), schema)
}

/// What stands for the column of a subquery, among the columns around it.
const OTHER: &str = "__in";

/// IN of a subquery, with both sides as they are compared. DataFusion finds no column in VALUES that it could
/// join.
pub(super) fn in_subquery(mut list: InSubquery, schema: &DFSchema) -> Result<Expr> {
    if list.subquery.subquery.head_output_expr()?.is_none() {
        let rows = Arc::clone(&list.subquery.subquery);
        let columns = rows.schema().columns().into_iter().map(Expr::Column).collect();
        let selected = Projection::try_new(columns, rows)?;
        list.subquery.subquery = Arc::new(LogicalPlan::Projection(selected));
    }
    let plan = &list.subquery.subquery;
    let [column] = &plan.schema().columns()[..] else { return Ok(Expr::InSubquery(list)) };
    let other = plan.schema().field(0).as_ref().clone().with_name(OTHER).with_nullable(true);
    let mut schema = schema.clone();
    schema.merge(&DFSchema::from_unqualified_fields(vec![other].into(), HashMap::new())?);
    let (mut value, mut other) = (list.expr.as_ref().clone(), ident(OTHER));
    if made_comparable([&mut value, &mut other], &schema) {
        let other = other.transform_up(|part| {
            let is_it = part == ident(OTHER);
            Ok(Transformed::yes(if is_it { Expr::Column(column.clone()) } else { part }))
        })?;
        let other = other.data.alias(column.name.clone());
        let compared = Projection::try_new(vec![other], Arc::clone(plan))?;
        list.subquery.subquery = Arc::new(LogicalPlan::Projection(compared));
        list.expr = Box::new(value);
    }
    Ok(Expr::InSubquery(list))
}
