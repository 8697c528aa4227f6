//! `i + 1` has the type of `i`: to Postgres a small integer constant is an INT, to DataFusion a
//! BIGINT.
//!
//! Only constants beside a SMALLINT or INT in arithmetic are narrowed, where the type of the result
//! depends on it; a driver that has asked for an int4 would otherwise be sent an int8.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator};

/// Narrows the constants of one operator.
pub fn narrow_constants(binary: BinaryExpr, schema: &DFSchema) -> Transformed<BinaryExpr> {
    let BinaryExpr { left, op, right } = binary;
    if matches!(op, Operator::BitwiseShiftLeft | Operator::BitwiseShiftRight) {
        let (left, right) = (narrowed(left), narrowed(right));
        return Transformed::yes(BinaryExpr { left, op, right });
    }
    let is_arithmetic = matches!(
        op,
        Operator::Plus
            | Operator::Minus
            | Operator::Multiply
            | Operator::Divide
            | Operator::Modulo
            | Operator::BitwiseAnd
            | Operator::BitwiseOr
            | Operator::BitwiseXor
    );
    if is_arithmetic {
        if let (Some(constant), true) = (narrow(&right), is_narrow(&left, schema)) {
            let left = narrow(&left).map_or(left, Box::new);
            return Transformed::yes(BinaryExpr { left, op, right: Box::new(constant) });
        }
        if let (Some(constant), true) = (narrow(&left), is_narrow(&right, schema)) {
            return Transformed::yes(BinaryExpr { left: Box::new(constant), op, right });
        }
    }
    Transformed::no(BinaryExpr { left, op, right })
}

fn narrowed(expr: Box<Expr>) -> Box<Expr> {
    narrow(&expr).map_or(expr, Box::new)
}

/// Functions whose result is of the type of their arguments.
const OF_INTEGERS: [&str; 4] = ["abs", "bit_not", "gcd", "lcm"];

/// Narrows the constants among the arguments of a function whose type depends on them.
pub fn narrow_arguments(mut call: ScalarFunction) -> Transformed<ScalarFunction> {
    if !OF_INTEGERS.contains(&call.func.name()) {
        return Transformed::no(call);
    }
    let mut is_changed = false;
    for argument in &mut call.args {
        if let Some(constant) = narrow(argument) {
            (*argument, is_changed) = (constant, true);
        }
    }
    Transformed::new_transformed(call, is_changed)
}

fn is_narrow(expr: &Expr, schema: &DFSchema) -> bool {
    // A constant beside a constant is narrowed in its turn: 1 + 1 is an INT.
    narrow(expr).is_some() || matches!(expr.get_type(schema), Ok(DataType::Int16 | DataType::Int32))
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
