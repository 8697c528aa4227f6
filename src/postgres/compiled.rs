//! A logical expression made ready to be evaluated over batches, outside of a plan.

use std::sync::Arc;

use datafusion::common::DFSchemaRef;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_plan::PhysicalExpr;

use crate::error::Result;

/// The expression over batches with these columns; its types are coerced.
///
/// It is simplified before: some functions exist only as what they are simplified to (`coalesce` is
/// a CASE).
pub fn compiled(
    expr: Expr,
    schema: &DFSchemaRef,
    state: &SessionState,
) -> Result<Arc<dyn PhysicalExpr>> {
    let context = SimplifyContext::builder()
        .with_schema(Arc::clone(schema))
        .with_config_options(Arc::clone(state.config_options()))
        .with_query_execution_start_time(state.execution_props().query_execution_start_time)
        .build();
    let simple = ExprSimplifier::new(context).simplify(expr)?;
    Ok(state.create_physical_expr(simple, schema)?)
}
