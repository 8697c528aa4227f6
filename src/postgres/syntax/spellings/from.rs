//! Functions in FROM.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    DataType, Expr, FunctionArg, Ident, ObjectName, TableAlias, TableAliasColumnDef, TableFactor,
    Value, Visitor,
};

use super::is_interval;
use super::pieces::{cast, plain, plain_name};
use crate::sql::function_call as call;

/// Looks for a column `value`.
pub(crate) struct NamesValue;

impl Visitor for NamesValue {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        let name = match expr {
            Expr::Identifier(name) => Some(name),
            Expr::CompoundIdentifier(parts) => parts.last(),
            _ => None,
        };
        if name.is_some_and(|name| name.value.eq_ignore_ascii_case("value")) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// Functions in FROM: `LATERAL unnest(…)` is UNNEST, and the column of `generate_series(…) AS g` is
/// g. Who asks for it by DataFusion's name, `value`, gets it by that.
pub(crate) fn table(factor: &mut TableFactor, names_value: bool) -> Option<TableFactor> {
    let unnest = |alias: &Option<TableAlias>, array_exprs| TableFactor::UNNEST {
        alias: alias.clone(),
        array_exprs,
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    };
    if let Some(numbered) = with_ordinality(factor) {
        return Some(numbered);
    }
    let (name, arguments, alias) = match factor {
        TableFactor::Function { name, args, alias, with_ordinality: false, .. } => {
            (&*name, &*args, alias)
        }
        TableFactor::Table { name, args: Some(args), alias, with_ordinality: false, .. } => {
            (&*name, &args.args, alias)
        }
        _ => return None,
    };
    let arguments = plain(arguments)?;
    match plain_name(name)?.as_str() {
        "unnest" => {
            // Its one column is called as it is there.
            if let (Some(alias), [_]) = (alias.as_mut(), arguments.as_slice())
                && alias.columns.is_empty()
            {
                alias
                    .columns
                    .push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
            }
            Some(unnest(alias, arguments))
        }
        "generate_series" => {
            let named = || TableAlias {
                explicit: true,
                name: Ident::new("generate_series"),
                columns: Vec::new(),
                at: None,
            };
            let alias = alias.get_or_insert_with(named);
            if alias.columns.is_empty() && !names_value {
                alias
                    .columns
                    .push(TableAliasColumnDef { name: alias.name.clone(), data_type: None });
            }
            // Of times it is an array.
            let alias = Some(alias.clone());
            arguments
                .last()
                .is_some_and(is_interval)
                .then(|| unnest(&alias, vec![call("generate_series", arguments)]))
        }
        _ => None,
    }
}

/// `unnest(a, b) WITH ORDINALITY AS t (x, y, n)` is `unnest(a, b, numbers) AS t (x, y, n)`, where the
/// numbers are as many as the longest array has elements.
fn with_ordinality(factor: &mut TableFactor) -> Option<TableFactor> {
    let (arrays, alias) = match factor {
        TableFactor::UNNEST { alias, array_exprs, with_ordinality: true, .. } => {
            (array_exprs.clone(), alias)
        }
        TableFactor::Function { name, args, alias, with_ordinality: true, .. } => {
            (arrays(name, args)?, alias)
        }
        TableFactor::Table { name, args: Some(args), alias, with_ordinality: true, .. } => {
            (arrays(name, &args.args)?, alias)
        }
        _ => return None,
    };
    let zero = || number("0");
    let lengths = arrays
        .iter()
        .map(|array| call("coalesce", vec![call("cardinality", vec![array.clone()]), zero()]));
    let length = cast(call("greatest", lengths.chain([zero()]).collect()), DataType::BigInt(None));
    let numbers = call("generate_series", vec![number("1"), length]);
    let named =
        || TableAlias { explicit: true, name: Ident::new("unnest"), columns: Vec::new(), at: None };
    let mut alias = alias.clone().unwrap_or_else(named);
    let column = |name: Ident| TableAliasColumnDef { name, data_type: None };
    // One that has no name of its own is called as it is there.
    while alias.columns.len() < arrays.len() {
        alias.columns.push(column(alias.name.clone()));
    }
    if alias.columns.len() == arrays.len() {
        alias.columns.push(column(Ident::new("ordinality")));
    }
    Some(TableFactor::UNNEST {
        alias: Some(alias),
        array_exprs: arrays.into_iter().chain([numbers]).collect(),
        with_offset: false,
        with_offset_alias: None,
        with_ordinality: false,
    })
}

/// The arrays whose elements a function in FROM gives.
fn arrays(name: &ObjectName, arguments: &[FunctionArg]) -> Option<Vec<Expr>> {
    let arguments = plain(arguments)?;
    match plain_name(name)?.as_str() {
        "unnest" => Some(arguments),
        "generate_series" => Some(vec![call("generate_series", arguments)]),
        _ => None,
    }
}

fn number(digits: &str) -> Expr {
    Expr::Value(Value::Number(digits.into(), false).into())
}
