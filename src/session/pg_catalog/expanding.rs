//! Functions that give rows, in FROM and in a SELECT list, as DataFusion has them: `unnest`,
//! `generate_series`.

use datafusion::sql::sqlparser::ast::{
    self, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, TableFactor,
};

use super::names::last;
use crate::sql::{function_call as call, ident_name, parse_expr, parse_query};

/// `_pg_expandarray(a)`: a row `(x, n)` for each element and its number.
fn expanded(expr: &Expr) -> Option<&Expr> {
    match expr {
        Expr::Nested(inner) => expanded(inner),
        Expr::Function(function) if last(&function.name) == "_pg_expandarray" => {
            match &function.args {
                FunctionArguments::List(list) => match list.args.as_slice() {
                    [FunctionArg::Unnamed(FunctionArgExpr::Expr(array))] => Some(array),
                    _ => None,
                },
                _ => None,
            }
        }
        _ => None,
    }
}

/// What is written of the rows of `_pg_expandarray`, with `unnest`.
pub(crate) fn unnested(expr: &Expr) -> Option<Expr> {
    if let Expr::CompoundFieldAccess { root, access_chain } = expr
        && let Some(array) = expanded(root)
        && let [ast::AccessExpr::Dot(Expr::Identifier(part))] = access_chain.as_slice()
    {
        return match ident_name(part).as_str() {
            "x" => Some(call("unnest", vec![array.clone()])),
            "n" => subscripts(array),
            _ => None,
        };
    }
    match expr {
        Expr::Function(_) => expanded(expr)
            .map(|array| call("unnest", vec![call("expandarray", vec![array.clone()])])),
        _ => None,
    }
}

/// A row for each element of an array: its number.
fn subscripts(array: &Expr) -> Option<Expr> {
    let numbers =
        parse_expr(&format!("generate_series(1, CAST(cardinality({array}) AS bigint))")).ok()?;
    Some(call("unnest", vec![numbers]))
}

/// A function of one value in FROM: a table of one row.
pub(crate) fn row_of(
    name: &str,
    args: &[FunctionArg],
    alias: Option<&ast::TableAlias>,
) -> Option<TableFactor> {
    let args = args.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let alias = alias.map_or_else(|| name.to_owned(), |alias| alias.name.to_string());
    let query =
        parse_query(&format!("SELECT 1 FROM (SELECT {name}({args}) AS {alias}) AS {alias}"))
            .ok()?;
    match *query.query.body {
        ast::SetExpr::Select(select) => select.from.into_iter().next().map(|from| from.relation),
        _ => None,
    }
}
