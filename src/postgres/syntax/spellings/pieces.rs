//! What syntax trees are taken apart into and put together from.

use datafusion::sql::sqlparser::ast::helpers::attached_token::AttachedToken;
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, CaseWhen, CastKind, DataType, Expr, FunctionArg, FunctionArgExpr,
    FunctionArguments, ObjectName, Value,
};

pub(crate) fn text_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::EscapedStringLiteral(text) => Some(text),
            _ => None,
        },
        Expr::Nested(inner) => text_of(inner),
        _ => None,
    }
}

/// The name of a plain call in lower case, and its arguments.
pub(crate) fn function_named(expr: &Expr) -> Option<(String, Vec<Expr>)> {
    let Expr::Function(call) = expr else { return None };
    let arguments = match &call.args {
        FunctionArguments::None => Vec::new(),
        FunctionArguments::List(list) => plain(&list.args)?,
        FunctionArguments::Subquery(_) => return None,
    };
    Some((plain_name(&call.name)?, arguments))
}

/// A name without a schema, in lower case unless it is quoted.
pub(crate) fn plain_name(name: &ObjectName) -> Option<String> {
    let [part] = name.0.as_slice() else { return None };
    let ident = part.as_ident()?;
    Some(match ident.quote_style {
        None => ident.value.to_ascii_lowercase(),
        Some(_) => ident.value.clone(),
    })
}

/// Arguments without names.
pub(crate) fn plain(arguments: &[FunctionArg]) -> Option<Vec<Expr>> {
    let expr = |argument: &FunctionArg| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr.clone()),
        _ => None,
    };
    arguments.iter().map(expr).collect()
}

pub(crate) fn case_when(condition: Expr, result: Expr, other: Expr) -> Expr {
    Expr::Case {
        case_token: AttachedToken::empty(),
        end_token: AttachedToken::empty(),
        operand: None,
        conditions: vec![CaseWhen { condition, result }],
        else_result: Some(Box::new(other)),
    }
}

pub(crate) fn cast(expr: Expr, data_type: DataType) -> Expr {
    Expr::Cast { kind: CastKind::Cast, expr: Box::new(expr), data_type, array: false, format: None }
}

pub(crate) fn binary(left: Expr, op: BinaryOperator, right: Expr) -> Expr {
    Expr::BinaryOp { left: Box::new(left), op, right: Box::new(right) }
}

pub(crate) fn nested(expr: Expr) -> Expr {
    Expr::Nested(Box::new(expr))
}

pub(crate) fn number(text: &str) -> Expr {
    Expr::value(Value::Number(text.to_owned(), false))
}

pub(crate) fn text_value(text: &str) -> Expr {
    Expr::value(Value::SingleQuotedString(text.to_owned()))
}
