//! Operators on JSON and JSONB, as they are planned from SQL: each is a function
//! (`functions/json`), of the family of its operands (Postgres manual, 9.16).
//!
//! A text constant beside JSONB is JSONB. Values of JSONB are compared by keys that are in their order;
//! JSON has no comparison.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Cast, ScalarFunction};
use datafusion::logical_expr::planner::{RawBinaryExpr, RawFieldAccessExpr};
use datafusion::logical_expr::{Expr, ExprSchemable, GetFieldAccess, lit};
use datafusion::sql::sqlparser::ast::BinaryOperator;

use crate::error::{Error, SqlState};
use crate::postgres::functions::{as_jsonb, json_function, json_order};
use crate::types::SqlType;

/// The SQL type of an expression, if it has one yet. What an operator of DataFusion's gives is no JSON,
/// and its type is not asked for: it may be a long chain.
fn type_of(expr: &Expr, schema: &DFSchema) -> Option<SqlType> {
    if matches!(expr, Expr::BinaryExpr(_)) {
        return Some(SqlType::Text);
    }
    if is_untyped(expr) {
        return Some(SqlType::Unknown);
    }
    // It is JSONB when the plan is done; until then DataFusion only knows that it is text.
    if alternatives(expr).iter().any(|one| type_of(one, schema) == Some(SqlType::Jsonb)) {
        return Some(SqlType::Jsonb);
    }
    Some(SqlType::from_field(expr.to_field(schema).ok()?.1.as_ref()))
}

/// What a CASE, or a function that chooses among its arguments, may give.
fn alternatives(expr: &Expr) -> Vec<&Expr> {
    match expr {
        Expr::Case(case) => {
            let results = case.when_then_expr.iter().map(|(_, result)| result.as_ref());
            results.chain(case.else_expr.as_deref()).collect()
        }
        Expr::ScalarFunction(call) if CHOOSE.contains(&call.func.name()) => {
            call.args.iter().collect()
        }
        _ => Vec::new(),
    }
}

const CHOOSE: [&str; 4] = ["coalesce", "nullif", "greatest", "least"];

/// A text constant, or a parameter.
fn is_untyped(expr: &Expr) -> bool {
    use datafusion::common::ScalarValue::{Null, Utf8};
    match expr {
        Expr::Literal(Utf8(_), metadata) => metadata.is_none(),
        Expr::Literal(Null, _) => true,
        Expr::Placeholder(placeholder) => placeholder.field.is_none(),
        _ => false,
    }
}

pub(super) fn no_operator(symbol: &str, left: &SqlType, right: &SqlType) -> Error {
    let named = |of: &SqlType| match of {
        SqlType::Decimal(_) => SqlType::Decimal(None),
        other => other.clone(),
    };
    let (left, right) = (named(left), named(right));
    let message = format!("operator does not exist: {left} {symbol} {right}");
    Error::new(SqlState::UndefinedFunction, message)
        .hint("No operator matches the given name and argument types; a cast may help.")
}

/// The operator as a function; `None` where it is none of JSON's.
pub(super) fn operator(expr: &RawBinaryExpr, schema: &DFSchema) -> Result<Option<Expr>> {
    use BinaryOperator as Op;
    if !is_candidate(&expr.op) {
        return Ok(None);
    }
    let types = (type_of(&expr.left, schema), type_of(&expr.right, schema));
    let (Some(left), Some(right)) = types else { return Ok(None) };
    let is_of_json_alone = matches!(
        expr.op,
        Op::Arrow
            | Op::LongArrow
            | Op::HashArrow
            | Op::HashLongArrow
            | Op::Question
            | Op::QuestionAnd
            | Op::QuestionPipe
            | Op::HashMinus
    );
    if !is_of_json_alone && !is_json(&left) && !is_json(&right) {
        return Ok(None);
    }
    let missing = || Err(no_operator(&expr.op.to_string(), &left, &right).into());
    let is_family = |of: &SqlType| matches!(of, SqlType::Jsonb | SqlType::Unknown);
    let name = match expr.op {
        Op::Arrow => "field",
        Op::LongArrow => "field_text",
        Op::HashArrow => "path",
        Op::HashLongArrow => "path_text",
        // All others are of JSONB.
        Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq => {
            return if is_family(&left) && is_family(&right) { compared(expr) } else { missing() };
        }
        Op::StringConcat | Op::AtArrow | Op::ArrowAt if !is_family(&left) || !is_family(&right) => {
            return if expr.op == Op::StringConcat { Ok(None) } else { missing() };
        }
        Op::AtQuestion | Op::AtAt => {
            return Err(Error::unsupported("paths of the SQL/JSON language are not supported")
                .hint("Take the value apart with -> and #>, or with jsonb_array_elements.")
                .into());
        }
        Op::Minus if left != SqlType::Jsonb => return Ok(None),
        Op::Minus if matches!(right, SqlType::Array(_)) => "delete_keys",
        Op::StringConcat => "concat",
        Op::AtArrow => "contains",
        Op::ArrowAt => "contained",
        Op::Minus => "delete",
        Op::HashMinus => "delete_path",
        Op::Question => "exists",
        Op::QuestionPipe => "exists_any",
        Op::QuestionAnd => "exists_all",
        _ => return Ok(None),
    };
    let is_path = name.starts_with("field") || name.starts_with("path");
    let is_key = matches!(name, "field" | "field_text" | "delete");
    let is_number = matches!(right, SqlType::Decimal(_) | SqlType::Real | SqlType::Double);
    let is_of_texts =
        matches!(name, "path" | "path_text" | "delete_path" | "exists_any" | "exists_all");
    let is_no_array = !matches!(right, SqlType::Array(_) | SqlType::Unknown);
    if left == SqlType::Json && !is_path || is_key && is_number || is_of_texts && is_no_array {
        return missing();
    }
    let family = if left == SqlType::Json { "json" } else { "jsonb" };
    let function = json_function(family, name)?;
    Ok(Some(function.call(vec![expr.left.clone(), expr.right.clone()])))
}

fn is_json(of: &SqlType) -> bool {
    matches!(of, SqlType::Json | SqlType::Jsonb)
}

/// Whether JSON has an operator of that name.
fn is_candidate(op: &BinaryOperator) -> bool {
    use BinaryOperator as Op;
    !matches!(op, Op::And | Op::Or | Op::Plus | Op::Multiply | Op::Divide | Op::Modulo | Op::PGExp)
}

/// A comparison of what is in the order of the values.
fn compared(expr: &RawBinaryExpr) -> Result<Option<Expr>> {
    use datafusion::logical_expr::{BinaryExpr, Operator};
    let op = match expr.op {
        BinaryOperator::Eq => Operator::Eq,
        BinaryOperator::NotEq => Operator::NotEq,
        BinaryOperator::Lt => Operator::Lt,
        BinaryOperator::LtEq => Operator::LtEq,
        BinaryOperator::Gt => Operator::Gt,
        BinaryOperator::GtEq => Operator::GtEq,
        _ => return Ok(None),
    };
    let key = |side: &Expr| Ok::<_, Error>(Box::new(json_order(side.clone())?));
    let (left, right) = (key(&expr.left)?, key(&expr.right)?);
    Ok(Some(Expr::BinaryExpr(BinaryExpr { left, op, right })))
}

/// A cast from JSON as a function that looks at the value; `None` for a cast from something else, and to
/// text or JSON.
pub(super) fn cast(cast: &Cast, schema: &DFSchema) -> Result<Option<Expr>> {
    let Some(from @ (SqlType::Json | SqlType::Jsonb)) = type_of(&cast.expr, schema) else {
        return Ok(None);
    };
    let to = SqlType::from_field(&cast.field);
    let name = match (&from, &to) {
        (_, SqlType::Row(_)) => return Ok(None),
        (_, to) if to.data_type() == DataType::Utf8 => return Ok(None),
        (
            SqlType::Jsonb,
            SqlType::SmallInt
            | SqlType::Int
            | SqlType::BigInt
            | SqlType::Real
            | SqlType::Double
            | SqlType::Boolean,
        ) => to.to_string(),
        (SqlType::Jsonb, SqlType::Decimal(_)) => "numeric".to_owned(),
        _ => {
            let message = format!("cannot cast type {from} to {to}");
            return Err(Error::new(SqlState::CannotCast, message)
                .hint("Take its text with ->> or #>> '{}', and cast that.")
                .into());
        }
    };
    let text = json_function("jsonb", "scalar")?.call(vec![cast.expr.as_ref().clone(), lit(name)]);
    let number = match to {
        // It is rounded.
        SqlType::SmallInt | SqlType::Int | SqlType::BigInt => {
            Expr::Cast(Cast::new(Box::new(text), DataType::Decimal256(75, 0)))
        }
        _ => text,
    };
    let cast = Cast { expr: Box::new(number), field: Arc::clone(&cast.field) };
    Ok(Some(Expr::Cast(cast)))
}

/// Whether an expression is of JSONB, which is in order by other bytes than those of its text.
pub(super) fn is_ordered_by_key(expr: &Expr, schema: &DFSchema) -> bool {
    type_of(expr, schema) == Some(SqlType::Jsonb)
}

/// CASE, COALESCE and NULLIF of JSONB are JSONB, of which DataFusion keeps the text alone.
pub(super) fn chosen<'e>(
    expr: Expr,
    mut values: impl Iterator<Item = &'e Expr>,
    schema: &DFSchema,
) -> Result<Transformed<Expr>> {
    if values.any(|value| is_ordered_by_key(value, schema)) {
        Ok(Transformed::yes(as_jsonb(expr)?))
    } else {
        Ok(Transformed::no(expr))
    }
}

/// `value[0][n]`, written as for an array; `None` where it is none of JSONB.
pub(super) fn subscripts(call: &ScalarFunction, schema: &DFSchema) -> Result<Option<Expr>> {
    let Some((value, places)) = call.args.split_first() else { return Ok(None) };
    if call.func.name() != "array_element" || type_of(value, schema) != Some(SqlType::Jsonb) {
        return Ok(None);
    }
    let part = |expr: Expr, key: &Expr| {
        let field_access = GetFieldAccess::ListIndex { key: Box::new(key.clone()) };
        let access = RawFieldAccessExpr { field_access, expr };
        Ok(subscript(&access, schema)?.unwrap_or(access.expr))
    };
    places.iter().try_fold(value.clone(), part).map(Some)
}

/// `value['key']`, `value[0]`; `None` where it is no value of JSON.
pub(super) fn subscript(access: &RawFieldAccessExpr, schema: &DFSchema) -> Result<Option<Expr>> {
    match type_of(&access.expr, schema) {
        Some(SqlType::Jsonb) => {}
        Some(SqlType::Json) => {
            let message = "cannot subscript type json because it does not support subscripting";
            return Err(Error::new(SqlState::TypeMismatch, message)
                .hint("Take a member with ->.")
                .into());
        }
        _ => return Ok(None),
    }
    // A number is a step as well: of a scalar, which `->` takes for an array of one, it is none.
    let step = match &access.field_access {
        GetFieldAccess::NamedStructField { name } => lit(name.clone()),
        GetFieldAccess::ListIndex { key } if key.get_type(schema)?.is_integer() => {
            Expr::Cast(Cast::new(key.clone(), DataType::Utf8))
        }
        GetFieldAccess::ListIndex { key } => key.as_ref().clone(),
        GetFieldAccess::ListRange { .. } => {
            let message = "jsonb subscript does not support slices";
            return Err(Error::new(SqlState::TypeMismatch, message)
                .hint("Take the elements apart with jsonb_array_elements.")
                .into());
        }
    };
    // A text constant would be read as a whole path.
    let path = datafusion::functions_nested::make_array::make_array(vec![step]);
    Ok(Some(json_function("jsonb", "path")?.call(vec![access.expr.clone(), path])))
}
