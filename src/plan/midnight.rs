//! Windows over a DATE column: a date is the midnight at which it begins.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Column, Result as DfResult};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, cast};

/// The column with the midnights.
const MIDNIGHT: &str = "__midnight";

/// A date as a time: the midnight at which it begins, in a column behind the others. Whether the time
/// is one.
pub(super) fn with_midnights(
    input: LogicalPlan,
    time: Expr,
) -> DfResult<(LogicalPlan, Expr, bool)> {
    let Expr::Column(column) = &time else { return Ok((input, time, false)) };
    let (qualifier, field) = input.schema().qualified_field_from_column(column)?;
    if *field.data_type() != DataType::Date32 {
        return Ok((input, time, false));
    }
    let qualifier = qualifier.cloned();
    let midnight = cast(time.clone(), DataType::Timestamp(TimeUnit::Microsecond, None));
    let columns = input.schema().iter().map(|pair| Expr::Column(Column::from(pair)));
    let midnight = midnight.alias_qualified(qualifier.clone(), MIDNIGHT);
    let exprs = columns.chain([midnight]).collect();
    let input = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(input))?);
    Ok((input, Expr::Column(Column::new(qualifier, MIDNIGHT)), true))
}

/// The plan without that column.
pub(super) fn without_midnights(plan: LogicalPlan) -> DfResult<LogicalPlan> {
    let columns = plan.schema().iter().filter(|(_, field)| field.name() != MIDNIGHT);
    let exprs = columns.map(|pair| Expr::Column(Column::from(pair))).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?))
}
