//! `i + 1` has the type of `i`: to Postgres a small integer constant is an INT, to DataFusion a BIGINT.
//!
//! Only constants beside a SMALLINT or INT in arithmetic are narrowed, where the type of the result depends on it; a
//! driver that has asked for an int4 would otherwise be sent an int8.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRewriter};
use datafusion::common::{DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};

/// Narrows the constants of a plan that has not been analysed yet.
pub fn narrow_constants(plan: LogicalPlan) -> Result<LogicalPlan> {
    let narrowed = plan.transform_up_with_subqueries(|node| {
        let mut schema = merge_schema(&node.inputs());
        if let LogicalPlan::Join(join) = &node {
            schema = join.schema.as_ref().clone();
        }
        let names = NamePreserver::new(&node);
        let rewritten = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.rewrite(&mut Narrower { schema: &schema })?;
            Ok(match rewritten.transformed {
                true => rewritten.update_data(|expr| name.restore(expr)),
                false => rewritten,
            })
        })?;
        match rewritten.transformed {
            true => rewritten.map_data(LogicalPlan::recompute_schema),
            false => Ok(rewritten),
        }
    })?;
    // A node above one whose types have changed has them in its schema as well.
    match narrowed.transformed {
        true => narrowed
            .data
            .transform_up(|node| node.recompute_schema().map(Transformed::yes))
            .map(|done| done.data),
        false => Ok(narrowed.data),
    }
}

struct Narrower<'a> {
    schema: &'a DFSchema,
}

impl TreeNodeRewriter for Narrower<'_> {
    type Node = Expr;

    fn f_up(&mut self, expr: Expr) -> Result<Transformed<Expr>> {
        let Expr::BinaryExpr(BinaryExpr { left, op, right }) = expr else {
            return Ok(Transformed::no(expr));
        };
        let is_arithmetic = matches!(
            op,
            Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo
        );
        if is_arithmetic {
            if let (Some(constant), true) = (narrow(&right), self.is_narrow(&left)) {
                let left = narrow(&left).map_or(left, Box::new);
                return Ok(Transformed::yes(binary(left, op, Box::new(constant))));
            }
            if let (Some(constant), true) = (narrow(&left), self.is_narrow(&right)) {
                return Ok(Transformed::yes(binary(Box::new(constant), op, right)));
            }
        }
        Ok(Transformed::no(binary(left, op, right)))
    }
}

impl Narrower<'_> {
    fn is_narrow(&self, expr: &Expr) -> bool {
        // A constant beside a constant is narrowed in its turn: 1 + 1 is an INT.
        narrow(expr).is_some() || matches!(expr.get_type(self.schema), Ok(DataType::Int16 | DataType::Int32))
    }
}

fn binary(left: Box<Expr>, op: Operator, right: Box<Expr>) -> Expr {
    Expr::BinaryExpr(BinaryExpr { left, op, right })
}

/// The constant as an INT, if it is a BIGINT that fits.
fn narrow(expr: &Expr) -> Option<Expr> {
    match expr {
        Expr::Literal(ScalarValue::Int64(Some(value)), metadata) => {
            let value = i32::try_from(*value).ok()?;
            Some(Expr::Literal(ScalarValue::Int32(Some(value)), metadata.clone()))
        }
        _ => None,
    }
}
