//! A plan with some of its columns as something else, under the names that they have.

use std::sync::Arc;

use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};

/// The plan with what `change` makes of each column, by its number; `None`: it stays.
pub(super) fn with_columns(
    plan: &Arc<LogicalPlan>,
    change: impl Fn(usize, Expr) -> Option<Expr>,
) -> Result<LogicalPlan> {
    let columns = plan.schema().iter().enumerate().map(|(at, (relation, field))| {
        let column = Expr::Column(Column::from((relation, field)));
        match change(at, column.clone()) {
            Some(other) => other.alias_qualified(relation.cloned(), field.name()),
            None => column,
        }
    });
    Ok(LogicalPlan::Projection(Projection::try_new(columns.collect(), Arc::clone(plan))?))
}
