//! Expressions over the columns of one row: computed columns and DEFAULTs.
//!
//! They are compiled by the rules of a query, so that `x / 3` is the same number in a computed
//! column as in a SELECT.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, DFSchemaRef};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, Volatility};
use datafusion::physical_expr::expressions::cast;
use datafusion::physical_plan::PhysicalExpr;
use datafusion::sql::sqlparser::ast;

use super::placeholder::placeholder;
use crate::error::{Error, Result};
use crate::postgres::coercion::rewrite::rewrite_operators;
use crate::postgres::compiled::compiled;
use crate::postgres::routines::called::with_called;
use crate::postgres::syntax::naming::name_columns;
use crate::postgres::syntax::numbers::type_numbers;
use crate::postgres::syntax::spellings::rewrite_spellings;

/// An expression that is evaluated over batches of rows.
#[derive(Debug, Clone)]
pub struct RowExpr {
    /// Over a batch with the columns that it was compiled for.
    pub expr: Arc<dyn PhysicalExpr>,
    /// Type of its values.
    pub field: Field,
    /// Whether the same row always gives the same value.
    pub is_immutable: bool,
}

impl RowExpr {
    /// Compiles `expr` over rows with these columns.
    ///
    /// # Errors
    /// 42703, 42883, 42804 and their like, as in a query.
    pub fn new(state: &SessionState, mut expr: ast::Expr, columns: &Schema) -> Result<RowExpr> {
        let with_routines = with_called(&mut expr, state)?;
        let state = with_routines.as_ref().unwrap_or(state);
        name_columns(&mut expr);
        rewrite_spellings(&mut expr)?;
        type_numbers(&mut expr);
        let schema: DFSchemaRef = Arc::new(DFSchema::try_from(columns.clone())?);
        let expr = ast::ExprWithAlias { expr, alias: None };
        let expr = state.create_logical_expr_from_sql_expr(expr, &schema)?;
        let plan = LogicalPlanBuilder::from(placeholder(&schema)).project(vec![expr])?.build()?;
        let plan = rewrite_operators(plan, state)?;
        let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
        let LogicalPlan::Projection(projection) = plan else {
            return Err(Error::internal("a projection has become something else"));
        };
        let field = projection.schema.field(0).as_ref().clone();
        let expr = projection
            .expr
            .into_iter()
            .next()
            .ok_or_else(|| Error::internal("an expression is lost"))?;
        let is_immutable = is_immutable(&expr)?;
        Ok(RowExpr {
            expr: compiled(expr.unalias_nested().data, &schema, state)?,
            field,
            is_immutable,
        })
    }

    /// As values of another type, if need be.
    pub fn of_type(self, wanted: &DataType, columns: &Schema) -> Result<Arc<dyn PhysicalExpr>> {
        if self.field.data_type() == wanted {
            Ok(self.expr)
        } else {
            Ok(cast(self.expr, columns, wanted.clone())?)
        }
    }
}

fn is_immutable(expr: &Expr) -> Result<bool> {
    let mut is = true;
    expr.apply(|expr| {
        if let Expr::ScalarFunction(call) = expr
            && call.func.signature().volatility != Volatility::Immutable
        {
            is = false;
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(is)
}
